"""Tests of L{txgear.broker.rows.wakings}."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TypeAlias

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import JobRecord, Waking
from txgear.broker.rows.wakings import AHEAD, CROWDED_AHEAD, FAR, PAGE, PATIENCE, Wakings
from txgear.broker.timers import LOOK_SECONDS, Timers

WALL = 1_000_000.0
"""What the wall clock shows at the server's time 0."""

Then: TypeAlias = "Callable[[Sequence[JobRecord] | None, float], None]"


def row(number: int, wake: float, due: float = 0.0) -> JobRecord:
    return JobRecord(number, number, b"H:test", b"f", b"", None, b"", 1, due, 0, 0, wake=wake)


class FakeRows:
    """
    What the store has, and what it is asked.

    @ivar asked: the question that is to be answered, and whether the rows found come into memory.
    @ivar questions: how many were asked.
    """

    def __init__(self) -> None:
        self.may_wake = True
        self.crowded = False
        self.rows: list[JobRecord] = []
        self.asked: tuple[Waking, bool, Then] | None = None
        self.questions = 0
        self.taken_in: list[int] = []

    def wake(self, question: Waking, then: Then) -> None:
        self._ask(question, True, then)

    def find(self, question: Waking, then: Then) -> None:
        self._ask(question, False, then)

    def _ask(self, question: Waking, taking: bool, then: Then) -> None:
        assert self.asked is None, "one question at a time"
        self.asked = question, taking, then
        self.questions += 1

    def look(self) -> list[JobRecord]:
        """What is found now."""
        assert self.asked is not None
        until, after, limit = self.asked[0]
        order = sorted(((record.wake or record.due, record.number), record) for record in self.rows)
        return [record for key, record in order if after < key and key[0] <= until][:limit]

    def answer(self, now: float, found: list[JobRecord] | None) -> None:
        """The store has answered."""
        assert self.asked is not None
        (_, taking, then), self.asked = self.asked, None
        if taking:
            self.taken_in += [record.number for record in found or ()]
        then(found, now)


class WakingsTests(SynchronousTestCase):
    """What is asked when, and what is in memory in time."""

    def setUp(self) -> None:
        self.stock = FakeRows()
        self.timers = Timers()
        self.timers.offset = WALL
        self.wakings = Wakings(self.stock, self.timers)

    def pass_time(self, start: float, end: float) -> None:
        """The server looks when it was told to; the store answers at once."""
        now = start
        while now < end:
            again = self.wakings.expire(now)
            while self.stock.asked is not None:
                self.stock.answer(now, self.stock.look())
                again = self.wakings.expire(now)
            now = max(again, now + 0.001)

    def test_nothing_that_may_wake(self) -> None:
        self.stock.may_wake = False
        self.assertEqual(self.wakings.expire(0.0), inf)
        self.assertIsNone(self.stock.asked)

    def test_what_is_due_in_memory_comes_first(self) -> None:
        class Item:
            due = 0.0

        item = Item()
        self.timers.add(item, 5.0)  # type: ignore[arg-type]
        self.assertEqual(self.wakings.expire(6.0), 5.0)
        self.assertIsNone(self.stock.asked)

    def test_what_comes_near_is_taken_in(self) -> None:
        self.stock.rows = [row(1, WALL + 4), row(2, 0.0, WALL + AHEAD), row(3, WALL + 100)]
        self.assertEqual(self.wakings.expire(0.0), inf)
        assert self.stock.asked is not None
        self.assertEqual(self.stock.asked[:2], (Waking(WALL + AHEAD, (-inf, 0), PAGE), True))
        # Not while it is being asked.
        self.assertEqual(self.wakings.expire(0.0), inf)
        self.stock.answer(0.0, self.stock.look())
        self.assertEqual(self.stock.taken_in, [1, 2])
        self.assertEqual(self.timers.deadline, 0.0)
        self.assertEqual(self.wakings.expire(0.0), LOOK_SECONDS)
        self.assertEqual(self.wakings.expire(AHEAD / 2 - 0.5), AHEAD / 2)

    def test_where_nothing_comes_soon_the_store_is_left_alone(self) -> None:
        self.stock.rows = [row(3, WALL + 1000)]
        self.pass_time(0.0, 900.0)
        self.assertEqual((self.stock.questions, self.stock.taken_in), (2, []))
        self.pass_time(900.0, 1000.0 - 1.0)
        self.assertEqual(self.stock.taken_in, [3])
        self.stock.rows = []
        self.pass_time(1000.0, 1100.0)
        questions = self.stock.questions
        self.pass_time(1100.0, 5000.0)
        self.assertEqual(self.stock.questions, questions)

    def test_others_come_whose_times_may_be_any(self) -> None:
        """As when the jobs of another server are ours from now on, while the store is asked or not."""
        self.stock.rows = [row(3, WALL + 1000)]
        self.pass_time(0.0, 100.0)
        self.stock.rows.append(row(4, WALL + 101))
        self.wakings.forget()
        self.assertEqual(self.wakings.expire(100.0), inf)
        self.stock.rows.append(row(5, WALL - 7))
        self.wakings.forget()
        self.stock.answer(100.0, [row(4, WALL + 101)])
        self.pass_time(100.0, 101.0)
        self.assertEqual(sorted({*self.stock.taken_in}), [4, 5])

    def test_the_time_is_never_before_now(self) -> None:
        """What was found at first has its time in a moment."""
        self.wakings.expire(0.0)
        self.stock.answer(0.0, [])
        assert self.stock.asked is not None
        self.assertEqual(self.stock.asked[:2], (Waking(FAR, (WALL + AHEAD, 0), 1), False))
        self.stock.answer(0.0, [row(1, WALL + AHEAD + 0.1)])
        self.assertEqual(self.wakings.expire(AHEAD / 2 - 0.1), AHEAD / 2)

    def test_the_wall_clock_may_be_set(self) -> None:
        self.stock.rows = [row(3, WALL + 1000)]
        self.pass_time(0.0, 10.0)
        self.timers.offset += 985.0
        self.pass_time(10.0 + LOOK_SECONDS, 12.0)
        self.assertEqual(self.stock.taken_in, [3])

    def test_a_page_at_a_time(self) -> None:
        self.stock.rows = [row(number, WALL + 1 + number / 1000) for number in range(1, PAGE + 11)]
        self.wakings.expire(0.0)
        self.stock.answer(0.0, self.stock.look())
        self.wakings.expire(0.0)
        assert self.stock.asked is not None
        self.assertEqual(self.stock.asked[0].after, (WALL + 2, PAGE))
        self.stock.answer(0.0, self.stock.look())
        self.assertEqual(self.stock.taken_in, list(range(1, PAGE + 11)))

    def test_some_of_a_page_has_left_again(self) -> None:
        self.stock.rows = [row(number, WALL + 3) for number in range(1, PAGE + 11)]
        self.wakings.expire(0.0)
        self.stock.answer(0.0, self.stock.look())
        self.wakings.left(WALL + 3)
        self.wakings.expire(0.0)
        self.stock.answer(0.0, self.stock.look())
        self.assertEqual(self.stock.taken_in, list(range(1, PAGE + 1)) * 2)

    def test_where_it_is_crowded_less_is_taken_in(self) -> None:
        self.stock.crowded = True
        self.wakings.expire(0.0)
        assert self.stock.asked is not None
        self.assertEqual(self.stock.asked[0].until, WALL + CROWDED_AHEAD)

    def test_one_that_leaves(self) -> None:
        """Before what is in memory: it is looked for in time."""
        self.pass_time(0.0, 20.0)
        self.timers.deadline = inf
        self.stock.rows = [row(1, WALL + 60)]
        self.wakings.left(0.0)
        self.assertEqual(self.timers.deadline, inf)
        self.wakings.left(WALL + 60)
        self.assertEqual(self.timers.deadline, 60 - 2 * CROWDED_AHEAD)
        self.pass_time(20.0, self.timers.deadline)
        self.assertEqual(self.stock.taken_in, [1])

    def test_one_that_leaves_when_all_was_in_memory(self) -> None:
        """Nobody looks then."""
        self.stock.may_wake = False
        self.wakings.expire(0.0)
        self.stock.may_wake = True
        self.stock.rows = [row(1, WALL + 60)]
        self.wakings.left(WALL + 60)
        self.pass_time(self.timers.deadline, 59.9)
        self.assertEqual(self.stock.taken_in, [1])

    def test_one_that_leaves_while_the_store_is_asked(self) -> None:
        """What is in memory up to some time is so without it."""
        for answers in (0, 1):
            self.setUp()
            self.wakings.expire(0.0)
            for _ in range(answers):
                self.stock.answer(0.0, [])
            self.wakings.left(WALL + 5)
            while self.stock.asked is not None:
                self.stock.answer(0.0, [])
            self.stock.rows = [row(1, WALL + 5)]
            self.pass_time(0.0, 4.9)
            self.assertEqual(self.stock.taken_in, [1])

    def test_a_store_that_does_not_answer(self) -> None:
        self.wakings.expire(0.0)
        self.stock.answer(1.0, None)
        self.assertEqual(self.wakings.expire(1.5), 1.0 + PATIENCE)
        self.assertEqual(self.wakings.expire(1.0 + PATIENCE), inf)
        self.assertIsNotNone(self.stock.asked)

    def test_nor_says_what_comes_next(self) -> None:
        """It is asked again as if that came soon."""
        self.wakings.expire(0.0)
        self.stock.answer(0.0, [])
        self.stock.answer(0.0, None)
        self.assertEqual(self.wakings.expire(AHEAD / 2 - 0.5), AHEAD / 2)
        self.assertEqual(self.wakings.expire(AHEAD / 2), inf)

    def test_a_server_that_drains(self) -> None:
        self.wakings.stop()
        self.assertEqual(self.wakings.expire(0.0), inf)
        self.assertIsNone(self.stock.asked)
