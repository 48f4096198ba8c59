"""Tests of L{txgear.broker.rows.written}."""

from __future__ import annotations

from collections.abc import Iterable

from txgear.broker.model import Job
from txgear.broker.rows.written import SETTLED, Written
from txgear.test.support.broker import DurableBrokerTestCase


class WrittenTests(DurableBrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.live: list[Job] = []
        self.ended: list[Job] = []
        broker = self.broker
        self.written = Written(
            broker.table, broker.archive, broker.timers, self.journal, self.settle, self.settle_ended
        )

    def settle(self, job: Job, now: float) -> None:
        self.live.append(job)

    def settle_ended(self, jobs: Iterable[Job], now: float) -> None:
        self.ended += jobs

    def test_the_last_of_those_that_live_comes_first(self) -> None:
        first, second, third = self.fixture.store(b"", b"", b"")
        self.written.add([second.number, first.number, third.number, 99], self.fixture.now)
        self.assertEqual((self.live, self.ended), ([third, second, first], []))

    def test_something_else_is_on_its_way(self) -> None:
        first, second = self.fixture.store(b"", b"")
        self.journal.unsettled.add(first.number)
        self.written.add([first.number, second.number], self.fixture.now)
        self.assertEqual(self.live, [second])

    def test_those_that_have_ended(self) -> None:
        self.fixture.set(retries=0)
        worker = self.fixture.worker(b"f")
        first, second = self.fixture.store(b"", b"")
        for job in (first, second):
            self.fails(worker, self.grabbed(worker, job))
        first.stored = False
        self.ended.clear()
        self.written.add([first.number, second.number], self.fixture.now)
        self.assertEqual((self.live, self.ended), ([], [second]))

    def test_there_is_nothing(self) -> None:
        self.journal.asked = 0
        self.written.work(self.fixture.now)
        self.assertEqual((len(self.written), self.live, self.ended), (0, [], []))

    def test_a_great_many_are_looked_at_in_several_turns(self) -> None:
        self.fixture.set(retries=0)
        worker = self.fixture.worker(b"f")
        for job in self.fixture.store(*[b""] * (2 * SETTLED + 1)):
            self.fails(worker, self.grabbed(worker, job))
        self.broker.store_events.written(list(self.broker.archive.jobs), self.fixture.now)
        for left in (SETTLED + 1, 1, 0):
            self.assertEqual(len(self.broker.archive.jobs), left)
            if left:
                self.assertEqual(self.broker.timers.deadline, self.fixture.now)
            self.broker.expire(self.fixture.now)
