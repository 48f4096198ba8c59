"""Tests of L{txgear.broker.wakings}: when the store is asked for what has its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import JobRecord, Waking
from txgear.broker.timers import Timers
from txgear.broker.wakings import AHEAD, CROWDED_AHEAD, PAGE, PATIENCE, Wakings
from txgear.test.support.broker import make_job, record

NOW = 100.0


class FakeRows:
    """
    Jobs that are not in memory.

    @ivar asked: the questions that are not answered, each with what is called with the answer.
    """

    def __init__(self) -> None:
        self.may_wake = True
        self.crowded = False
        self.asked: list[tuple[Waking, Callable[[Sequence[JobRecord] | None, float], None]]] = []

    def wake(self, question: Waking, then: Callable[[Sequence[JobRecord] | None, float], None]) -> None:
        self.asked.append((question, then))


class WakingsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rows = FakeRows()
        self.timers = Timers()
        self.wakings = Wakings(self.rows, self.timers)

    def asked(self, now: float) -> Waking:
        """It is time, and this is the question."""
        self.assertEqual(self.wakings.expire(now), inf)
        ((question, _),) = self.rows.asked
        return question

    def answer(self, records: Sequence[JobRecord] | None, now: float) -> None:
        ((_, then),) = self.rows.asked
        self.rows.asked.clear()
        then(records, now)

    def read(self, now: float) -> None:
        """All that comes next is in memory."""
        self.asked(now)
        self.answer([], now)

    def test_the_first_question_is_for_all_that_comes_soon(self) -> None:
        self.assertEqual(self.asked(NOW), Waking(NOW + AHEAD, (-inf, 0), PAGE))

    def test_there_is_one_at_a_time(self) -> None:
        self.asked(NOW)
        self.asked(NOW + 100)

    def test_none_where_nothing_may_have_its_time(self) -> None:
        self.rows.may_wake = False
        self.assertEqual((self.wakings.expire(NOW), self.rows.asked), (inf, []))

    def test_none_while_the_server_drains(self) -> None:
        self.wakings.stop()
        self.assertEqual((self.wakings.expire(NOW), self.rows.asked), (inf, []))

    def test_what_is_here_comes_first(self) -> None:
        self.timers.add(make_job(), NOW - 1)
        self.assertEqual((self.wakings.expire(NOW), self.rows.asked), (NOW - 1, []))

    def test_the_next_is_asked_for_half_the_time_before(self) -> None:
        self.read(NOW)
        self.assertEqual(self.timers.deadline, NOW)
        self.assertEqual((self.wakings.expire(NOW), self.rows.asked), (NOW + AHEAD / 2, []))
        later = NOW + AHEAD / 2
        self.assertEqual(self.asked(later), Waking(later + AHEAD, (NOW + AHEAD, 0), PAGE))

    def test_where_there_is_no_room_it_is_later(self) -> None:
        self.rows.crowded = True
        self.assertEqual(self.asked(NOW).until, NOW + CROWDED_AHEAD)
        self.answer([], NOW)
        self.assertEqual(self.wakings.expire(NOW), NOW + CROWDED_AHEAD / 2)

    def test_times_are_those_of_the_wall_clock(self) -> None:
        self.timers.set_offset(1000.0, NOW)
        self.assertEqual(self.asked(NOW).until, NOW + 1000.0 + AHEAD)
        self.answer([], NOW)
        self.assertEqual(self.wakings.expire(NOW), NOW + AHEAD / 2)

    def test_a_full_page_is_followed_by_the_next(self) -> None:
        self.asked(NOW)
        self.answer([record(number, wake=NOW + 3) for number in range(1, PAGE + 1)], NOW)
        self.assertEqual(self.asked(NOW), Waking(NOW + AHEAD, (NOW + 3, PAGE), PAGE))

    def test_a_store_that_does_not_answer_is_asked_again_after_a_while(self) -> None:
        self.asked(NOW)
        self.answer(None, NOW + 2)
        self.assertEqual(self.timers.deadline, NOW + 2)
        again = NOW + 2 + PATIENCE
        self.assertEqual((self.wakings.expire(NOW + 2), self.rows.asked), (again, []))
        self.assertEqual(self.asked(again), Waking(again + AHEAD, (-inf, 0), PAGE))

    def test_one_that_leaves_the_memory_and_comes_before_that_is_asked_for_again(self) -> None:
        self.read(NOW)
        self.wakings.left(NOW + 4)
        self.assertEqual(self.asked(NOW), Waking(NOW + AHEAD, (NOW + 4 - CROWDED_AHEAD, 0), PAGE))

    def test_also_one_that_a_page_has_passed(self) -> None:
        self.asked(NOW)
        self.answer([record(number, wake=NOW + 3) for number in range(1, PAGE + 1)], NOW)
        self.wakings.left(NOW + 2)
        self.assertEqual(self.asked(NOW).after, (NOW + 2 - CROWDED_AHEAD, 0))

    def test_also_one_that_leaves_while_the_store_is_asked_for_what_comes_after_it(self) -> None:
        self.read(NOW)
        later = NOW + AHEAD / 2
        self.asked(later)
        for wake in (later + 2, later + 3, later + AHEAD + 1):
            self.wakings.left(wake)
        self.answer([], later)
        self.assertEqual(self.asked(later), Waking(later + AHEAD, (later + 2 - CROWDED_AHEAD, 0), PAGE))
        self.answer([], later)
        self.assertEqual(self.wakings.expire(later), later + AHEAD / 2)

    def test_one_that_comes_later_or_never_changes_nothing(self) -> None:
        self.read(NOW)
        self.wakings.left(NOW + AHEAD + 1)
        self.wakings.left(0.0)
        self.assertEqual((self.wakings.expire(NOW), self.rows.asked), (NOW + AHEAD / 2, []))
