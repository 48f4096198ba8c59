"""Tests of L{txgear.broker.life.lifecycle}: what becomes of a job that is the same as another server's."""

from __future__ import annotations

from txgear.broker.states import CANCELLED, QUEUED, RUNNING
from txgear.test.broker.life.test_lookups_elsewhere import ElsewhereTestCase


class JoinedTests(ElsewhereTestCase):
    def test_one_on_its_way(self) -> None:
        """Nothing is left of it, nor of its function."""
        job, _ = self.submitted()
        self.fixture.join(self.theirs())
        self.assertEqual((job.state, len(self.broker.table)), (CANCELLED, 0))
        self.assertNotIn(b"f", self.broker.functions.by_name)

    def test_of_a_function_with_workers(self) -> None:
        self.fixture.worker(b"f")
        self.submitted()
        self.fixture.join(self.theirs())
        self.assertIn(b"f", self.broker.functions.by_name)

    def test_one_that_is_waited_for(self) -> None:
        job, _ = self.submitted()
        self.fixture.submit(self.fixture.connect(), unique=b"u")
        self.fixture.join(self.theirs())
        self.assertEqual((job.background, job.state), (False, QUEUED))

    def test_one_that_runs(self) -> None:
        """It was of the foreground before."""
        worker = self.fixture.worker(b"f")
        job = self.fixture.submit(self.fixture.connect(), unique=b"u")
        self.fixture.grab(worker)
        self.submitted()
        self.fixture.join(self.theirs())
        self.assertEqual((job.background, job.state), (False, RUNNING))

    def test_one_that_nobody_waits_for_any_more(self) -> None:
        client = self.fixture.connect()
        job = self.fixture.submit(client, unique=b"u")
        self.submitted()
        self.fixture.leave(client)
        self.fixture.join(self.theirs())
        self.assertEqual((job.state, len(self.broker.table)), (CANCELLED, 0))

    def test_one_that_was_cancelled(self) -> None:
        job, _ = self.submitted()
        self.fixture.cancel(job)
        self.fixture.join(self.theirs())
        self.assertEqual((job.state, len(self.broker.archive)), (CANCELLED, 0))

    def test_one_that_is_done_and_kept(self) -> None:
        self.fixture.set(results={"keep": 10.0})
        worker = self.fixture.worker(b"f")
        job = self.fixture.submit(self.fixture.connect(), unique=b"u")
        self.fixture.grab(worker)
        self.submitted()
        self.complete(worker, job)
        self.assertEqual(len(self.broker.archive), 1)
        self.fixture.join(self.theirs())
        self.assertEqual(len(self.broker.archive), 0)
