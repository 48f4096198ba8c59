"""Tests of L{txgear.runtime.scaling}."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.scaling import Change, Load, Scaling, total
from txgear.test.support.extras import PROPERTY, given, st

IDLE = Load(0, None, 0)


class TotalTests(SynchronousTestCase):
    def test_nobody_knows(self) -> None:
        self.assertIsNone(total([]))

    def test_the_oldest_of_all(self) -> None:
        self.assertEqual(total([IDLE, IDLE]), IDLE)
        self.assertEqual(total([Load(1, 2.5, 1), IDLE, Load(2, 7.0, 3)]), Load(3, 7.0, 4))


class ScalingTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.begin()

    def begin(
        self,
        least: int = 1,
        most: int = 8,
        grow_after: float = 5.0,
        shrink_after: float = 60.0,
        concurrency: int = 1,
        wanted: int = 1,
    ) -> None:
        self.scaling = Scaling(least, most, grow_after, shrink_after, concurrency)
        self.now_wanted = wanted

    def look(self, now: float, load: Load | None, ready: int, idle: int = 0) -> Change:
        change = self.scaling.look(now, load, self.now_wanted, ready, idle)
        self.now_wanted = change.wanted
        return change

    def wanted(self, now: float, load: Load | None, ready: int, idle: int = 0) -> int:
        return self.look(now, load, ready, idle).wanted


class GrowTests(ScalingTestCase):
    def test_the_age_decides(self) -> None:
        """However many wait."""
        self.assertEqual(self.look(1, Load(1000, 4.999, 1), 1), Change(1))
        self.assertEqual(
            self.look(2, Load(1000, 5.0, 1), 1), Change(2, "1,000 jobs wait, the oldest for 5.0 s")
        )

    def test_as_many_again_when_these_had_their_time(self) -> None:
        load = Load(1000, 60.0, 1)
        self.assertEqual(self.wanted(10, load, 1), 2)
        self.assertEqual(self.wanted(14.9, load, 2), 2)
        self.assertEqual(self.wanted(15, load, 2), 4)
        self.assertEqual(self.wanted(20, load, 4), 8)
        self.assertEqual(self.wanted(25, load, 8), 8)

    def test_no_longer_than_the_age(self) -> None:
        """Whoever wants it to grow at once does not wait for long; and one who is patient, not for ever."""
        for after, pause in ((0.0, 0.0), (1.0, 1.0), (600.0, 5.0)):
            self.begin(grow_after=after)
            load = Load(1000, 600.0, 1)
            self.assertEqual(self.wanted(10, load, 1), 2)
            self.assertEqual(self.wanted(10 + pause, load, 2), 4)

    def test_no_more_than_there_are_jobs_for(self) -> None:
        self.begin(wanted=4)
        self.assertEqual(self.wanted(10, Load(2, 9.0, 4), 4), 6)
        self.begin(wanted=4, concurrency=8)
        self.assertEqual(self.wanted(10, Load(9, 9.0, 4), 4), 6)
        self.assertEqual(self.wanted(20, Load(9, 9.0, 4), 6), 8)

    def test_those_that_will_take_some(self) -> None:
        """They are idle, or about to be ready."""
        self.begin(wanted=4)
        self.assertEqual(self.wanted(10, Load(2, 9.0, 2), 4, 2), 4)
        self.assertEqual(self.wanted(20, Load(2, 9.0, 2), 2), 4)
        self.assertEqual(self.wanted(30, Load(3, 9.0, 2), 4, 1), 6)

    def test_not_more_at_once_than_are_ready(self) -> None:
        """Where none gets ready not ever more are started; where one does not, it holds up no others."""
        load = Load(1000, 60.0, 1)
        self.begin(wanted=2, most=100)
        self.assertEqual(self.wanted(10, load, 0), 2)
        self.assertEqual(self.wanted(20, load, 1), 2)
        self.begin(wanted=10, most=100)
        self.assertEqual(self.wanted(30, load, 9), 18)

    def test_more_than_are_wanted(self) -> None:
        """Some that were to leave are busy still; so nothing is made of them."""
        self.begin(wanted=2)
        self.assertEqual(self.wanted(10, Load(1000, 60.0, 1), 4), 6)

    def test_from_none(self) -> None:
        self.begin(least=0, wanted=0)
        self.assertEqual(self.wanted(1, Load(50, 4.0, 0), 0), 0)
        self.assertEqual(self.wanted(2, Load(50, 5.0, 0), 0), 1)
        self.assertEqual(self.wanted(9, Load(50, 12.0, 0), 0), 1)


class ShrinkTests(ScalingTestCase):
    def test_half_of_those_that_were_always_idle(self) -> None:
        """The others stay for as long again."""
        self.begin(wanted=8)
        self.assertEqual(self.wanted(100, IDLE, 8, 7), 8)
        self.assertEqual(self.wanted(130, IDLE, 8, 2), 8)
        self.assertEqual(self.wanted(159.9, IDLE, 8, 8), 8)
        self.assertEqual(self.look(160, IDLE, 8, 8), Change(7, "2 were idle for 60 s, or more"))
        self.assertEqual(self.look(219.9, IDLE, 7, 7), Change(7))
        self.assertEqual(self.wanted(220, IDLE, 7, 7), 3)
        self.assertEqual(self.wanted(280, IDLE, 3, 3), 1)
        self.assertEqual(self.wanted(1000, IDLE, 1, 1), 1)

    def test_a_moment_without_an_idle_one(self) -> None:
        self.begin(wanted=2)
        self.wanted(100, IDLE, 2, 2)
        self.wanted(150, IDLE, 2, 0)
        self.assertEqual(self.wanted(160, IDLE, 2, 2), 2)
        self.assertEqual(self.wanted(219, IDLE, 2, 2), 2)
        self.assertEqual(self.wanted(220, IDLE, 2, 2), 1)

    def test_a_job_that_waits(self) -> None:
        """One that waits for less than half of what makes it grow is no reason to keep all."""
        for age, wanted in ((2.49, 1), (2.5, 2)):
            self.begin(wanted=2)
            self.wanted(100, IDLE, 2, 2)
            self.wanted(130, Load(1, age, 0), 2, 2)
            self.assertEqual(self.wanted(160, IDLE, 2, 2), wanted)

    def test_nobody_tells(self) -> None:
        """Nothing changes as long as no server does, and the time counts anew."""
        self.begin(wanted=2)
        self.wanted(100, IDLE, 2, 2)
        self.assertEqual(self.wanted(130, None, 2, 2), 2)
        self.assertEqual(self.wanted(500, None, 2, 2), 2)
        self.assertEqual(self.wanted(501, IDLE, 2, 2), 2)
        self.assertEqual(self.wanted(561, IDLE, 2, 2), 1)

    def test_not_below_the_least(self) -> None:
        self.begin(least=3, wanted=4)
        self.wanted(100, IDLE, 4, 4)
        self.assertEqual(self.wanted(160, IDLE, 4, 4), 3)
        self.assertEqual(self.wanted(1000, IDLE, 3, 3), 3)

    def test_to_none(self) -> None:
        self.begin(least=0, wanted=1, shrink_after=0)
        self.assertEqual(self.look(101, IDLE, 1, 1), Change(0, "1 was idle for 0 s, or more"))


class SteeredTests(ScalingTestCase):
    def test_one_more(self) -> None:
        """It stays for as long as one that was started for the load."""
        self.begin(wanted=2)
        self.wanted(100, IDLE, 2, 2)
        self.now_wanted = 3
        self.assertEqual(self.wanted(159, IDLE, 3, 3), 3)
        self.assertEqual(self.wanted(218, IDLE, 3, 3), 3)
        self.assertEqual(self.wanted(219, IDLE, 3, 3), 1)

    def test_beyond_the_bounds(self) -> None:
        """What somebody wants is left alone; the load does not go on from there."""
        self.begin(least=2, most=4, wanted=1)
        self.assertEqual(self.wanted(100, IDLE, 1, 1), 1)
        self.assertEqual(self.wanted(1000, IDLE, 1, 1), 1)
        self.now_wanted = 6
        self.assertEqual(self.wanted(1001, Load(100, 60.0, 1), 6), 6)
        self.begin(least=2, most=4, wanted=1)
        self.assertEqual(self.wanted(1001, Load(100, 60.0, 1), 1), 2)


class WaveTests(SynchronousTestCase):
    """A group under a load, second by second: jobs of some seconds, processes that take a while to start."""

    JOB, START = 2, 3

    def run_load(self, arrivals: Sequence[int]) -> tuple[list[int], int]:
        """
        @param arrivals: how many jobs come in each second.
        @return: how many processes there were in each second, and how many jobs are left.
        """
        scaling = Scaling(1, 10, 5.0, 20.0, 1)
        queue: list[int] = []
        # Of each process: until when it starts, and until when it is busy.
        children: dict[int, list[float]] = {0: [0, 0]}
        history, wanted, born = [], 1, 1
        for now, arrived in enumerate(arrivals):
            queue += [now] * arrived
            for child in children.values():
                if queue and max(child) <= now:
                    queue.pop(0)
                    child[1] = now + self.JOB
            load = Load(len(queue), now - queue[0] if queue else None, 0)
            ready = [name for name, (begins, _) in children.items() if begins <= now]
            idle = [name for name in ready if children[name][1] <= now]
            wanted = scaling.look(now, load, wanted, len(ready), len(idle)).wanted
            for name in idle[: max(len(children) - wanted, 0)]:
                del children[name]
            while len(children) < wanted:
                children[born] = [now + self.START, 0]
                born += 1
            history.append(len(children))
        return history, len(queue)

    def test_a_wave(self) -> None:
        """It grows in few steps, and goes back when all is over, without a step up in between."""
        history, left = self.run_load([100] + [0] * 200)
        self.assertEqual((max(history), history[-1], left), (10, 1, 0))
        self.assertLess(history.index(10), 30)
        top = history.index(10)
        self.assertEqual(history[top:], sorted(history[top:], reverse=True))

    def test_a_steady_load(self) -> None:
        """It finds what is needed, and stays there: no up and down."""
        history, left = self.run_load([2] * 600)
        self.assertLessEqual(left, 2 * 6)
        settled = history[200:]
        self.assertEqual(max(settled) - min(settled), 0, settled)
        self.assertIn(settled[0], range(4, 9))

    def test_a_trickle(self) -> None:
        """One job now and then is no reason for a second process."""
        history, left = self.run_load([1, 0, 0, 0] * 100)
        self.assertEqual((set(history), left), ({1}, 0))


class RulesTests(SynchronousTestCase):
    """What holds whatever comes."""

    @PROPERTY
    @given(
        bounds=st.tuples(st.integers(0, 3), st.integers(3, 9), st.sampled_from([0.0, 1.0, 5.0])),
        looks=st.lists(
            st.tuples(
                st.none() | st.tuples(st.integers(1, 50), st.sampled_from([0.1, 0.6, 1.0, 3.0, 5.0, 60.0])),
                st.integers(0, 10),
                st.integers(0, 10),
                st.sampled_from([0.5, 1.0, 7.0]),
            ),
            max_size=60,
        ),
    )
    def test_rules(
        self,
        bounds: tuple[int, int, float],
        looks: list[tuple[tuple[int, float] | None, int, int, float]],
    ) -> None:
        least, most, grow_after = bounds
        scaling = Scaling(least, most, grow_after, 10.0, 2)
        now, wanted, unchanged = 1000.0, least, 1000.0
        for waits, ready, idle, passes in looks:
            now += passes
            ready = min(ready, wanted)
            idle = min(idle, ready)
            load = IDLE if waits is None else Load(*waits, ready)
            change = scaling.look(now, load, wanted, ready, idle)
            self.assertTrue(least <= change.wanted <= most)
            self.assertEqual(change.wanted != wanted, change.why != "")
            if change.wanted > wanted:
                self.assertGreaterEqual(load.oldest or 0.0, grow_after)
                self.assertLessEqual(change.wanted - wanted, max(ready, 1))
                self.assertLess(2 * (change.wanted - wanted - 1 + idle), load.waiting)
            elif change.wanted < wanted:
                self.assertLess(load.oldest or 0.0, max(grow_after / 2, 0.001))
                self.assertLessEqual(wanted - change.wanted, idle)
                self.assertGreaterEqual(now - unchanged, 10.0)
            if change.wanted != wanted:
                wanted, unchanged = change.wanted, now
