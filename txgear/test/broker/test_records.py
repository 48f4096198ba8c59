"""Tests of L{txgear.broker.records}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.history import owned_by
from txgear.broker.records import (
    KEPT,
    WAITING,
    DoneElsewhere,
    Lane,
    handle_of,
    key_of_record,
    lane_of,
    last_of_each,
    shown_handle,
)
from txgear.broker.states import CANCELLED, DONE, FAILED
from txgear.protocol.constants import HIGH, NORMAL
from txgear.test.support.broker import record


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


class HandleTests(SynchronousTestCase):
    """Handles, from what a store has."""

    def test_of_a_record(self) -> None:
        self.assertEqual(handle_of(record(7, prefix=b"H:desk")), b"H:desk:7")

    def test_as_a_text(self) -> None:
        self.assertEqual(
            [shown_handle(each) for each in (b"H:desk:7", b"H:\xff:7")], ["H:desk:7", "H:\\xff:7"]
        )


class DoneElsewhereTests(SynchronousTestCase):
    """What other servers have done."""

    def test_it_is_kept_as_it_was(self) -> None:
        joined, passed = {1: record(9)}, {2: b"H:desk:8"}
        error = DoneElsewhere(joined, passed)
        joined.clear()
        passed.clear()
        self.assertEqual((error.joined, error.passed), ({1: record(9)}, {2: b"H:desk:8"}))
        self.assertEqual(str(error), "other servers have some of it")
