"""Tests of L{txgear.broker.rows.together}."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Job
from txgear.broker.records import JobRecord
from txgear.broker.rows.together import Together
from txgear.test.support.broker import make_job, record

NOW = 5.0


class FakeHolder:
    """@ivar held: the numbers of those that are in memory."""

    def __init__(self) -> None:
        self.held: list[int] = []

    def hold_all(self, records: Sequence[JobRecord], now: float) -> list[Job]:
        self.held += [record.number for record in records]
        return [make_job(number=record.number) for record in records]

    def release_all(self, jobs: Sequence[Job], now: float) -> None:
        for job in jobs:
            self.held.remove(job.number)


class TogetherTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stock = FakeHolder()
        self.found: list[tuple[list[int], list[int]]] = []
        self.said: list[tuple[bool, float, list[int]]] = []
        self.together = Together(self.stock, 2, self.then)

    def then(self, answered: bool, now: float) -> None:
        self.said.append((answered, now, list(self.stock.held)))

    def told(self, records: Sequence[JobRecord]) -> None:
        self.found.append(([record.number for record in records], list(self.stock.held)))

    def answer(self, records: Sequence[JobRecord] | None, now: float = NOW) -> None:
        self.together.answered(self.told, records, {}, now)

    def test_all_are_held_until_it_is_done(self) -> None:
        self.answer([record(1), record(2)])
        self.assertEqual((self.found, self.said), ([([1, 2], [1, 2])], []))
        self.answer([record(3)], NOW + 1)
        self.assertEqual(self.found[1:], [([3], [1, 2, 3])])
        self.assertEqual((self.said, self.stock.held), ([(True, NOW + 1, [1, 2, 3])], []))

    def test_one_answer_does_not_come(self) -> None:
        for order in (([record(1)], None), (None, [record(1)])):
            self.setUp()
            for records in order:
                self.answer(records)
            self.assertEqual((self.found, self.said), ([([1], [1])], [(False, NOW, [1])]))
            self.assertEqual(self.stock.held, [])
