"""Tests of L{txgear.broker.rows.stock}: of jobs that are to be in memory together."""

from __future__ import annotations

from collections.abc import Sequence

from txgear.broker.records import ByNumber, InOrder, JobRecord
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase


class TogetherTests(DurableBrokerTestCase):
    """Several questions, and something that is done when all are answered."""

    def setUp(self) -> None:
        super().setUp()
        self.fixture.set(retries=0)
        worker = self.fixture.worker(b"f")
        self.numbers = []
        for _ in range(3):
            (job,) = self.fixture.store(b"four")
            self.fails(worker, self.grabbed(worker, job))
            self.numbers.append(job.number)
        self.broker.store_events.written(self.numbers, self.fixture.now)
        self.said: list[tuple[bool, list[int]]] = []
        self.found: list[list[int]] = []

    def then(self, answered: bool, now: float) -> None:
        self.said.append((answered, list(self.broker.archive.jobs)))

    def note(self, records: Sequence[JobRecord]) -> None:
        self.found.append([record.number for record in records])

    def load(self, *numbers: int) -> None:
        """Ask for each by a question of its own."""
        questions = [(ByNumber([number]), self.note) for number in numbers]
        self.broker.stock.load_all(questions, self.then, self.fixture.now)

    def test_they_are_there_until_it_is_done(self) -> None:
        first, second, _ = self.numbers
        self.load(first, second)
        self.journal.answer(self.fixture.now)
        self.assertEqual((self.said, self.found), ([], [[first]]))
        # What would let go of it otherwise does not.
        self.broker.store_events.written([first], self.fixture.now)
        self.broker.stock.load(InOrder(0, 9), lambda answered, now: None, self.fixture.now)
        self.fixture.answer()
        self.assertEqual((self.said, self.found), ([(True, [first, second])], [[first], [second]]))
        self.assertEqual((self.broker.archive.jobs, self.broker.archive.rows), ({}, 3))

    def test_one_that_two_wait_for(self) -> None:
        first, second, third = self.numbers
        self.load(first, second)
        self.load(first, third)
        for _ in range(3):
            self.journal.answer(self.fixture.now)
        self.assertEqual(list(self.broker.archive.jobs), [first])
        self.fixture.answer()
        self.assertEqual(self.said, [(True, [first, second]), (True, [first, third])])
        self.assertEqual(self.broker.archive.jobs, {})

    def test_one_that_is_forgotten_meanwhile(self) -> None:
        first, second, _ = self.numbers
        self.load(first, second)
        self.journal.answer(self.fixture.now)
        self.broker.operations.forget(b"H:test:%d" % first)
        self.fixture.answer()
        self.assertEqual(self.said, [(True, [second])])

    def test_one_answer_that_does_not_come(self) -> None:
        first, second, _ = self.numbers
        self.load(first, second)
        self.journal.answer(self.fixture.now)
        self.journal.asking.pop().done(None, {}, self.fixture.now)
        self.assertEqual((self.said, self.found), ([(False, [first])], [[first]]))
        self.assertEqual(self.broker.archive.jobs, {})

    def test_nothing(self) -> None:
        self.load()
        self.assertEqual(self.said, [(True, [])])


class NoStoreTests(BrokerTestCase):
    def test_all_are_there(self) -> None:
        said: list[bool] = []
        self.broker.stock.load_all(
            [(ByNumber([1]), lambda records: None)], lambda answered, now: said.append(answered), 0.0
        )
        self.assertEqual(said, [True])
