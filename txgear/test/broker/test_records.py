"""Tests of L{txgear.broker.records}."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.history import owned_by
from txgear.broker.records import (
    KEPT,
    WAITING,
    JobRecord,
    Lane,
    by_place,
    key_of_record,
    lane_of,
    last_of_each,
)
from txgear.broker.states import CANCELLED, DONE, FAILED
from txgear.protocol.constants import HIGH, NORMAL
from txgear.test.support.broker import record
from txgear.test.support.extras import PROPERTY, given, st


class LaneTests(SynchronousTestCase):
    """Where a store finds a job."""

    def test_of_what_can_be_handed_out_or_waits(self) -> None:
        self.assertEqual(lane_of(record(1, priority=HIGH)), Lane(b"f", "", HIGH))
        self.assertEqual(lane_of(record(1, due=5.0)), Lane(b"f", "", WAITING))

    def test_of_another_kind_and_on_an_account(self) -> None:
        kept = record(1, function=b"g", kind=KEPT, history=owned_by("web"))
        self.assertEqual(lane_of(kept), Lane(b"g", "web", KEPT))
        self.assertEqual(lane_of(record(1, history=b"{}")), Lane(b"f", "", NORMAL))

    def test_what_others_are_compared_with(self) -> None:
        found = [
            record(1),
            record(1, unique=b"u"),
            record(1, unique=b"-"),
            record(1, unique=b"-", digest=bytes(15) + b"\7"),
        ]
        self.assertEqual([key_of_record(each) for each in found], [None, b"u", None, 7])

    def test_of_those_that_have_ended_the_last_ones(self) -> None:
        """Of each function and key, done and otherwise; and all that can be joined."""
        jobs = [
            record(1, 20, unique=b"u", state=DONE),
            record(2, 21, unique=b"u", state=FAILED),
            record(3, 19, unique=b"u", state=DONE),
            record(4, 22, unique=b"u", state=CANCELLED),
            record(5, 23, unique=b"v", state=DONE),
            record(6, 24, unique=b"u", state=DONE, function=b"g"),
            record(7, unique=b"u"),
            record(8, unique=b"u"),
        ]
        for order in (jobs, jobs[::-1]):
            self.assertEqual(sorted(job.number for job in last_of_each(order)), [1, 4, 5, 6, 7, 8])


class ByPlaceTests(SynchronousTestCase):
    def order(self, *records: JobRecord) -> list[int]:
        return [record.number for record in by_place(records)]

    def test_those_that_never_moved_stay_in_the_order_of_their_numbers(self) -> None:
        self.assertEqual(self.order(), [])
        self.assertEqual(self.order(*map(record, (1, 2, 5, 9))), [1, 2, 5, 9])

    def test_those_that_were_put_behind_others_come_later(self) -> None:
        jobs = record(1, 4), record(2), record(3, 7), record(5), record(6, 9), record(8)
        self.assertEqual(self.order(*jobs), [2, 1, 5, 3, 8, 6])
        self.assertEqual(self.order(record(1, 5), record(2, 4), record(3), record(8)), [3, 2, 1, 8])

    def test_all_of_them_may_have_moved(self) -> None:
        self.assertEqual(self.order(record(1, 9), record(2, 7), record(3, 8)), [2, 3, 1])

    def test_two_of_one_place_are_both_there(self) -> None:
        self.assertEqual(self.order(record(1, 9), record(2, 9), record(9)), [9, 1, 2])

    def test_it_takes_no_more_than_it_must(self) -> None:
        """A million of them are never in memory at once."""
        taken = []

        def records() -> Iterator[JobRecord]:
            for number in range(1, 6):
                taken.append(number)
                yield record(number, 5 if number == 2 else None)

        jobs = by_place(records())
        self.assertEqual([next(jobs).number for _ in range(2)], [1, 3])
        self.assertEqual(taken, [1, 2, 3])

    @PROPERTY
    @given(st.sets(st.integers(1, 50)), st.data())
    def test_it_is_the_order_of_the_places(self, numbers: set[int], data: st.DataObject) -> None:
        """A place is a number that no job has, later than the job's own."""
        free = data.draw(st.permutations([number for number in range(1, 60) if number not in numbers]))
        moving = data.draw(st.sets(st.sampled_from(sorted(numbers)))) if numbers else set()
        jobs = []
        for number in sorted(numbers):
            place = next((place for place in free if place > number), None) if number in moving else None
            jobs.append(record(number, place))
            if place is not None:
                free.remove(place)
        self.assertEqual(list(by_place(jobs)), sorted(jobs, key=lambda job: job.place))
