"""Tests of L{txgear.broker.ports}."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.ports import Asking, Reading
from txgear.broker.records import ByNumber, JobRecord
from txgear.test.support.broker import record


class ReadingTests(SynchronousTestCase):
    def test_who_wants_it_is_told_what_was_read(self) -> None:
        told: list[bytes | None] = []
        for result in (True, False):
            reading = Reading(7, result, told.append)
            self.assertEqual((reading.number, reading.result), (7, result))
            reading.done(b"read")
        self.assertEqual(told, [b"read"] * 2)


class AskingTests(SynchronousTestCase):
    def test_who_asks_is_told_what_was_found(self) -> None:
        told: list[tuple[Sequence[JobRecord] | None, Mapping[int, bytes], float]] = []
        question = ByNumber([1])
        asking = Asking(question, lambda *found: told.append(found), 10)
        self.assertEqual((asking.question, asking.most_bytes), (question, 10))
        asking.done([record(1)], {1: b"work"}, 5.0)
        self.assertEqual(told, [([record(1)], {1: b"work"}, 5.0)])

    def test_workloads_come_only_where_they_are_asked_for(self) -> None:
        self.assertEqual(Asking(ByNumber([1]), lambda *found: None).most_bytes, 0)
