"""Tests of L{txgear.server.figurehistory}, without a store."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.counts import Counts
from txgear.broker.diagnosis.findings import Trend
from txgear.broker.model import Peer
from txgear.broker.statistics import MOST_COUNTED
from txgear.policies import CLASSIC, Policies
from txgear.server.figurehistory import FigureHistory
from txgear.server.figurerows import LENGTHS, RATES, TIMES
from txgear.test.support.clock import START
from txgear.test.support.server import ServerFixture


class HistoryTestCase(SynchronousTestCase):
    """@ivar history: of a server that has just started."""

    def setUp(self) -> None:
        self.use(ServerFixture())

    def use(self, fixture: ServerFixture) -> None:
        self.fixture = fixture
        self.server, self.clock = fixture.server, fixture.clock
        self.broker = self.server.broker
        # So that a step begins now, and an interval of five minutes as well.
        self.pass_time(-self.server.seconds() % 3600)
        self.history = FigureHistory(self.server)
        self.history.start()
        self.addCleanup(self.history.stop)

    def pass_time(self, seconds: float) -> None:
        while seconds > 0:
            step = min(seconds, 1.0)
            self.clock.advance(step)
            # What is done in pieces is done before the next second.
            for _ in range(300):
                self.clock.advance(0)
            seconds -= step

    @property
    def now(self) -> float:
        return self.server.seconds()

    def worker(self, *names: bytes) -> Peer:
        peer = Peer(7, "192.0.2.1")
        self.broker.connect(peer)
        for name in names:
            self.broker.can_do(peer, name, 0.0, self.now)
        return peer

    def submit(self, name: bytes = b"f", **rest: Any) -> None:
        self.broker.submit(None, name, b"", b"w", self.now, background=True, **rest)

    def do(self, worker: Peer, seconds: float = 0.0) -> None:
        """The worker does one job."""
        job = self.broker.grab(worker, self.now)
        assert job is not None
        if seconds:
            self.pass_time(seconds)
        self.broker.reports.work_complete(worker, job.kept_handle, b"", self.now)

    def figures(self, name: bytes | None = b"f", span: str = "hour") -> dict[str, Any]:
        series = self.history.total if name is None else self.history.by_name.get(name)
        return self.history.figures(series, span)


class ShapeTests(HistoryTestCase):
    def test_at_first_there_is_nothing(self) -> None:
        found = self.figures(None)
        self.assertEqual((found["start"], found["step"]), (None, 10))
        self.assertEqual(set(found), {"start", "step", *RATES, *LENGTHS, "oldest", *TIMES})
        self.assertEqual({len(value) for value in found.values() if isinstance(value, list)}, {0})

    def test_of_what_nothing_is_known_there_is_as_much(self) -> None:
        self.pass_time(30)
        found = self.figures(b"unknown")
        self.assertEqual((found["submitted"], found["wait_p50"]), ([0.0] * 3, [None] * 3))

    def test_an_hour_and_a_day(self) -> None:
        begun = self.now
        self.pass_time(600)
        hour, day = self.figures(None), self.figures(None, "day")
        self.assertEqual((hour["start"], hour["step"], len(hour["queued"])), (begun, 10, 60))
        self.assertEqual((day["start"], day["step"], len(day["queued"])), (begun, 300, 2))

    def test_no_more_than_an_hour(self) -> None:
        begun = self.now
        for _ in range(365):
            self.clock.advance(10)
            self.clock.advance(0)
        found = self.figures(None)
        self.assertEqual((found["start"], len(found["queued"])), (begun + 50, 360))
        self.assertEqual(len(self.figures(None, "day")["queued"]), 12)


class LateTests(HistoryTestCase):
    """A server whose web is off, and who is asked for the first time after days."""

    def test_what_was_before_is_in_no_step(self) -> None:
        self.history.stop()
        worker = self.worker(b"f")
        self.submit()
        self.submit()
        self.do(worker)
        for place in range(MOST_COUNTED):
            self.submit(b"%d" % place)
        late = self.history = FigureHistory(self.server)
        self.history.start()
        self.addCleanup(late.stop)
        self.pass_time(10)
        self.submit(b"%d" % (MOST_COUNTED - 1))
        self.do(worker)
        self.pass_time(10)
        self.assertEqual(self.figures()["submitted"], [0.0, 0.0])
        self.assertEqual(self.figures()["completed"], [0.0, 0.1])
        self.assertEqual(self.figures(None)["submitted"], [0.0, 0.1])
        others = self.history.figures(self.history.other, "hour")
        self.assertEqual(others["submitted"], [0.0, 0.1])


class LastHourTests(HistoryTestCase):
    def hour(self, figure: str, name: bytes = b"f") -> list[int | None]:
        return self.history.last_hour(self.history.by_name.get(name), figure)

    def test_one_figure_step_by_step(self) -> None:
        worker = self.worker(b"f")
        before = self.history.step
        self.submit()
        self.submit()
        self.pass_time(10)
        self.do(worker)
        self.pass_time(10)
        self.assertEqual(self.history.step, before + 2)
        nobody = [None] * 358
        self.assertEqual(self.hour("submitted"), [*nobody, 2, 0])
        self.assertEqual(self.hour("completed"), [*nobody, 0, 1])
        self.assertEqual(self.hour("queued"), [*nobody, 2, 1])

    def test_of_what_nothing_is_known_there_is_as_much(self) -> None:
        self.pass_time(20)
        self.assertEqual(self.hour("queued", b"unknown"), [*[None] * 358, 0, 0])


class FiguresTests(HistoryTestCase):
    def test_rates_and_lengths(self) -> None:
        worker = self.worker(b"f")
        for _ in range(5):
            self.submit()
        self.submit(delay=100.0)
        self.do(worker)
        self.broker.grab(worker, self.now)
        self.pass_time(10)
        self.do(worker)
        self.pass_time(10)
        for name in (b"f", None):
            found = self.figures(name)
            self.assertEqual((found["submitted"], found["completed"]), ([0.6, 0.0], [0.1, 0.1]))
            self.assertEqual((found["queued"], found["running"], found["delayed"]), ([3, 2], [1, 1], [1, 1]))
            self.assertEqual((found["workers"], found["oldest"]), ([1, 1], [10.0, 20.0]))

    def test_times(self) -> None:
        worker = self.worker(b"f")
        self.submit()
        self.pass_time(2)
        self.do(worker, seconds=5)
        self.pass_time(20)
        for name in (b"f", None):
            found = self.figures(name)
            waited, ran = found["wait_p50"][0], found["run_p99"][0]
            self.assertTrue(1.7 < waited < 2.3 and 4.3 < ran < 5.8, (waited, ran))
            self.assertEqual((found["wait_p50"][1], found["run_p99"][1]), (None, None))

    def test_failures_and_the_dead(self) -> None:
        policies = Policies([("f", CLASSIC.with_settings({"retries": {"fail": 0}}))])
        self.broker.operations.set_policies(policies, self.now)
        worker = self.worker(b"f")
        self.submit()
        job = self.broker.grab(worker, self.now)
        assert job is not None
        self.broker.reports.work_fail(worker, job.handle, self.now)
        self.pass_time(10)
        found = self.figures()
        self.assertEqual((found["failed"], found["dead"]), ([0.1], [1]))

    def test_of_five_minutes_the_highest(self) -> None:
        worker = self.worker(b"f")
        self.pass_time(100)
        for _ in range(30):
            self.submit()
        self.pass_time(20)
        for _ in range(30):
            self.do(worker)
        self.pass_time(200)
        for name in (b"f", None):
            found = self.figures(name, "day")
            self.assertEqual((found["queued"], found["submitted"], found["workers"]), ([30], [0.1], [1]))
            self.assertEqual((found["completed"], found["oldest"]), ([0.1], [20.0]))

    def test_a_server_that_was_stopped_for_a_while(self) -> None:
        """Or had other things to do: at those steps nobody looked."""
        self.pass_time(10)
        self.submit()
        self.clock.advance(45)
        self.pass_time(10)
        found = self.figures()
        self.assertEqual(found["submitted"], [0.0, None, None, None, 0.1, 0.0])

    def test_the_clock_is_set(self) -> None:
        """There is no hole: what was before is as long ago as it was."""
        begun = self.now
        self.pass_time(30)
        self.fixture.wall.ahead = 5000.0
        self.pass_time(30)
        found = self.figures(None)
        self.assertEqual((found["start"], len(found["queued"])), (begun + 5000.0, 6))
        self.assertNotIn(None, found["queued"])


class TrendTests(HistoryTestCase):
    """What a diagnosis is told."""

    def trend(self, name: bytes = b"f") -> Trend | None:
        return self.fixture.server.trend(name)

    def test_whether_more_come_than_end(self) -> None:
        self.assertIsNone(self.trend())
        worker = self.worker(b"f")
        for _ in range(5):
            self.submit()
        self.pass_time(20)
        for _ in range(2):
            self.do(worker)
        self.pass_time(20)
        self.assertEqual(self.trend(), Trend(300.0, 5, 2))
        self.assertIsNone(self.trend(b"g"))

    def test_what_is_longer_ago_does_not_count(self) -> None:
        self.submit()
        self.pass_time(280)
        self.submit()
        self.pass_time(40)
        self.assertEqual(self.trend(), Trend(300.0, 1, 0))


class NamesTests(HistoryTestCase):
    def test_who_does_nothing_has_no_history(self) -> None:
        self.broker.operations.create_function(b"idle")
        self.submit(b"f")
        self.pass_time(10)
        self.assertEqual(list(self.history.by_name), [b"f"])

    def test_who_has_gone_still_has_one(self) -> None:
        worker = self.worker(b"f")
        self.submit()
        self.do(worker)
        self.broker.disconnect(worker, self.now)
        self.assertEqual(list(self.broker.functions.by_name), [])
        self.pass_time(20)
        self.assertEqual(self.figures()["completed"], [0.1, 0.0])

    def test_for_a_day(self) -> None:
        worker = self.worker(b"f")
        self.broker.disconnect(worker, self.now)
        self.submit(b"g")
        self.pass_time(10)
        self.broker.statistics.by_name.pop(b"g")
        for _ in range(8700):
            self.clock.advance(10)
            self.clock.advance(0)
        self.assertEqual(list(self.history.by_name), [])

    def fill(self) -> list[bytes]:
        """As many functions as are counted by themselves."""
        names = [b"f%03d" % number for number in range(MOST_COUNTED)]
        for name in names:
            self.submit(name)
        return names

    def test_too_many_are_one(self) -> None:
        names = self.fill()
        for _ in range(3):
            self.submit(b"one more")
        self.pass_time(10)
        self.assertEqual(len(self.history.by_name), MOST_COUNTED)
        other = self.history.figures(self.history.other, "hour")
        self.assertEqual((other["submitted"], other["queued"]), ([0.3], [3]))
        self.assertEqual(self.figures(None)["queued"], [len(names) + 3])

    def test_one_that_makes_room_is_counted_once(self) -> None:
        """What it had done before is nothing new of the others'."""
        names = self.fill()
        self.pass_time(10)
        (job,) = (job for job in self.broker.table.jobs.values() if job.function.name == names[3])
        self.broker.operations.cancel(job.handle, self.now)
        self.submit(b"new")
        self.assertNotIn(names[3], self.broker.statistics.by_name)
        self.pass_time(20)
        other = self.history.figures(self.history.other, "hour")
        self.assertEqual((other["submitted"], other["failed"]), ([0.0, 0.0, 0.0], [0.0, 0.1, 0.0]))
        total = self.figures(None)
        self.assertEqual((total["submitted"], total["failed"]), ([100.0, 0.1, 0.0], [0.0, 0.1, 0.0]))
        self.assertNotIn(names[3], self.history.by_name)
        self.assertEqual(self.figures(b"new")["submitted"], [0.0, 0.1, 0.0])

    def test_one_that_comes_back_with_new_counts(self) -> None:
        names = self.fill()
        self.pass_time(10)
        by_name = self.broker.statistics.by_name
        self.broker.statistics.other.add(by_name[names[3]])
        counts = by_name[names[3]] = Counts()
        counts.submitted = 2
        self.pass_time(10)
        self.assertEqual(self.figures(names[3])["submitted"], [0.1, 0.2])
        self.assertEqual(self.history.figures(self.history.other, "hour")["submitted"], [0.0, 0.0])

    def test_one_that_makes_room_while_it_is_looked_at(self) -> None:
        names = self.fill()
        self.pass_time(9)
        (job,) = (job for job in self.broker.table.jobs.values() if job.function.name == names[3])
        self.broker.operations.cancel(job.handle, self.now)
        self.history._timer.cancel()
        self.clock.advance(1)
        look = self.history._look()
        for _ in range(5):
            next(look)
        self.submit(b"new")
        for _ in look:
            pass
        self.assertNotIn(names[3], self.broker.statistics.by_name)
        other = self.history.figures(self.history.other, "hour")
        self.assertEqual((other["submitted"], other["failed"]), ([0.0], [0.0]))
        self.assertEqual(self.figures(None)["submitted"], [100.0])


class LifeTests(HistoryTestCase):
    def test_it_is_at_rest_when_it_is_stopped(self) -> None:
        self.history.stop()
        self.history.stop()
        self.pass_time(30)
        self.assertIsNone(self.figures(None)["start"])

    def test_it_is_stopped_while_it_looks(self) -> None:
        self.submit()
        self.clock.advance(10)
        self.history.stop()
        self.server.stop()
        self.pass_time(30)
        self.assertLess(len(self.figures(None)["queued"]), 2)

    def test_a_defect_ends_it_and_nothing_else(self) -> None:
        self.history._lengths = None  # type: ignore[assignment, method-assign]
        self.submit()
        with capturedLogs() as logs:
            self.pass_time(30)
        self.assertEqual([formatEvent(event) for event in logs], ["the history of figures ends here"])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_a_timer_that_is_early(self) -> None:
        self.assertEqual(list(self.history._look()), [])
        self.assertIsNone(self.figures(None)["start"])
        self.assertGreaterEqual(self.now, START)
