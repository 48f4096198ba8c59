"""Tests of L{txgear.broker.life.copies}: jobs that are made from others."""

from __future__ import annotations

from typing import Any

from txgear.broker.ended.archive import history_of
from txgear.broker.model import Job
from txgear.broker.states import DEAD, DELAYED, DONE, QUEUED, RUNNING, STORING
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase


class CopiesTests(BrokerTestCase):
    def link(self, original: Job, copy: Job) -> None:
        self.broker.operations.link_copy(original, copy)

    def linked(self, original: Job, *copies: Job) -> None:
        """Each knows of the other."""
        handles = tuple(copy.handle.decode() for copy in copies)
        self.assertEqual(history_of(original).copies, handles)
        for copy in copies:
            self.assertEqual(history_of(copy).copy_of, original.handle.decode())

    def test_of_one_that_is_queued(self) -> None:
        original, copy, other = (self.fixture.submit(None) for _ in range(3))
        self.link(original, copy)
        self.link(original, other)
        self.linked(original, copy, other)

    def test_of_one_that_runs(self) -> None:
        """What it brings is kept as ever."""
        self.fixture.set(results=60)
        worker = self.fixture.worker(b"f")
        original = self.fixture.submit(None)
        self.grabbed(worker, original)
        self.assertEqual(original.state, RUNNING)
        copy = self.fixture.submit(None)
        self.link(original, copy)
        self.complete(worker, original)
        self.assertEqual(original.state, DONE)
        self.linked(original, copy)
        self.assertTrue(history_of(original).complete)

    def test_of_one_that_is_dead(self) -> None:
        """That is known when it is queued again, too."""
        self.fixture.set(retries=0)
        worker = self.fixture.worker(b"f")
        original = self.fixture.submit(None)
        self.fails(worker, self.grabbed(worker, original))
        self.assertEqual(original.state, DEAD)
        copy = self.fixture.submit(None)
        self.link(original, copy)
        self.linked(original, copy)
        self.broker.operations.requeue(original.handle, self.fixture.now)
        self.linked(original, copy)
        self.assertEqual(len(history_of(original).attempts), 1)
        self.broker.operations.cancel(original.handle, self.fixture.now)

    def test_of_one_of_which_nothing_is_known_any_more(self) -> None:
        original, copy = self.fixture.submit(None), self.fixture.submit(None)
        self.broker.operations.cancel(original.handle, self.fixture.now)
        self.link(original, copy)
        self.assertEqual(history_of(copy).copy_of, original.handle.decode())


class StoredCopiesTests(DurableBrokerTestCase):
    def restarted(self, *jobs: Job) -> list[Job]:
        """The same in a server that starts again."""
        self.fixture.restart()
        self.fixture.recall()
        known = {**self.broker.table.jobs, **self.broker.archive.jobs}
        return [known[job.number] for job in jobs]

    def submit(self, **rest: Any) -> Job:
        return self.fixture.submit(None, **rest)

    def test_it_outlives_the_server(self) -> None:
        original = self.submit()
        self.fixture.commit()
        copy = self.submit(settings={"timeout": 3})
        self.broker.operations.link_copy(original, copy)
        self.fixture.commit()
        original, copy = self.restarted(original, copy)
        self.assertEqual(history_of(original).copies, ("H:test:2",))
        self.assertEqual(history_of(copy).copy_of, "H:test:1")
        self.assertEqual(history_of(copy).settings, {"timeout": 3})

    def test_one_that_is_dead(self) -> None:
        self.fixture.set(retries=0)
        worker = self.fixture.worker(b"f")
        original = self.submit()
        self.fixture.commit()
        self.fails(worker, self.grabbed(worker, original))
        copy = self.submit()
        self.broker.operations.link_copy(original, copy)
        self.fixture.commit()
        original, copy = self.restarted(original, copy)
        handle = copy.handle.decode()
        self.assertEqual((original.state, history_of(original).copies), (DEAD, (handle,)))

    def test_their_times_stay_as_they_were(self) -> None:
        """Be they by the wall clock, or spans."""
        self.broker.timers.set_offset(100.0, self.fixture.now)
        wall = self.fixture.now + 100.0
        original = self.submit(due=wall + 50.0)
        self.fixture.commit()
        for waits in ({"due": wall + 70.0}, {"delay": 70.0}):
            copy = self.submit(**waits)
            self.assertEqual((copy.state, self.broker.lifecycle.begins(copy)), (STORING, wall + 70.0))
            self.broker.operations.link_copy(original, copy)
            self.fixture.commit()
            self.assertEqual((copy.state, self.broker.lifecycle.begins(copy)), (DELAYED, wall + 70.0))
            due = {update.number: update.due for update in self.journal.updates}
            self.assertEqual((due[original.number], due[copy.number]), (wall + 50.0, wall + 70.0))

    def test_one_that_begins_at_once(self) -> None:
        original = self.submit()
        self.fixture.commit()
        copy = self.submit()
        self.broker.operations.link_copy(original, copy)
        self.fixture.commit()
        self.assertEqual((copy.state, [update.due for update in self.journal.updates]), (QUEUED, [0.0, 0.0]))
