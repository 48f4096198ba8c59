"""Tests of L{txgear.broker.life.draining}."""

from __future__ import annotations

from math import inf

from txgear.broker.paging import JOB_BYTES
from txgear.broker.states import DELAYED
from txgear.errors import QueueError
from txgear.protocol.constants import HIGH, NORMAL
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase
from txgear.test.support.clock import START


class DrainTests(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f")

    def test_no_new_job_is_taken(self) -> None:
        job = self.fixture.submit(None, unique=b"u")
        self.fixture.drain()
        for unique in (b"u", b""):
            with self.assertRaisesRegex(QueueError, "^QUEUE_ERROR: The server is shutting down$"):
                self.fixture.submit(self.client, unique=unique)
        self.assertEqual(job.clients, ())

    def test_only_what_clients_wait_for_is_handed_out(self) -> None:
        background = self.fixture.submit(None)
        foreground = self.fixture.submit(self.client)
        self.fixture.drain()
        self.assertEqual(self.fixture.grab_all(self.worker), [foreground])
        self.assertEqual(background.state, DELAYED)
        self.assertFalse(self.broker.drained)
        self.complete(self.worker, foreground)
        self.assertTrue(self.broker.drained)

    def test_running_jobs_end(self) -> None:
        job = self.fixture.submit(None)
        self.fixture.grab(self.worker)
        self.assertFalse(self.broker.drained)
        self.fixture.drain()
        self.assertFalse(self.broker.drained)
        self.complete(self.worker, job)
        self.assertTrue(self.broker.drained)

    def test_a_background_job_that_is_lost_waits_for_good(self) -> None:
        job = self.fixture.submit(None)
        self.fixture.grab(self.worker)
        self.fixture.drain()
        self.fixture.leave(self.worker)
        self.assertEqual(job.state, DELAYED)
        self.assertTrue(self.broker.drained)
        self.assertIsNone(self.fixture.grab(self.fixture.worker(b"f")))

    def test_so_does_one_whose_clients_have_left(self) -> None:
        job = self.fixture.submit(self.client, unique=b"u")
        self.fixture.submit(None, unique=b"u")
        self.fixture.drain()
        self.assertFalse(self.broker.drained)
        self.fixture.leave(self.client)
        self.assertEqual(job.state, DELAYED)
        self.assertTrue(self.broker.drained)

    def test_so_does_one_whose_time_comes(self) -> None:
        job = self.fixture.submit(None, due=START + 10)
        self.fixture.drain()
        self.fixture.pass_time(10)
        self.assertEqual((job.state, self.broker.timers.deadline), (DELAYED, inf))
        self.assertEqual(self.fixture.counts(), {b"f": (0, 1, 0, 1)})

    def test_one_that_waits_for_good_may_be_cancelled(self) -> None:
        job = self.fixture.submit(None)
        self.fixture.drain()
        self.fixture.cancel(job)
        self.assert_gone(job)

    def test_an_empty_server_is_drained_at_once(self) -> None:
        self.assertFalse(self.broker.drained)
        self.fixture.drain()
        self.assertTrue(self.broker.drained)

    def test_a_function_that_is_paused_is_not_waited_for(self) -> None:
        job = self.fixture.submit(self.client)
        self.assertFalse(self.broker.drained)
        self.fixture.drain()
        self.assertFalse(self.broker.drained)
        self.broker.operations.pause(b"f", self.fixture.now)
        self.assertTrue(self.broker.drained)
        self.broker.operations.resume(b"f", self.fixture.now)
        self.assertFalse(self.broker.drained)
        self.complete(self.worker, self.grabbed(self.worker, job))
        self.assertTrue(self.broker.drained)

    def test_what_a_client_waits_for_that_cannot_be_handed_out_yet(self) -> None:
        """Only what is to be tried again, and would be lost."""
        self.fixture.set(retries=1, backoff=60)
        again, kept = (self.fixture.submit(self.client, unique=unique) for unique in (b"again", b"kept"))
        self.fixture.submit(None, unique=b"kept")
        first_time = self.fixture.submit(self.client, due=START + 60)
        for job in (again, kept):
            self.fails(self.worker, self.grabbed(self.worker, job))
        self.assertEqual({job.state for job in (again, kept, first_time)}, {DELAYED})
        self.fixture.drain()
        self.assertFalse(self.broker.drained)
        self.fixture.cancel(again)
        self.assertTrue(self.broker.drained)

    def test_twice_is_once(self) -> None:
        self.fixture.submit(self.client)
        for _ in range(2):
            self.fixture.drain()
        self.assertFalse(self.broker.dispatcher.has_heir)
        self.assertEqual(self.fixture.counts(), {b"f": (1, 0, 0, 1)})


class RowsTests(DurableBrokerTestCase):
    """What is not in memory."""

    queue_memory = JOB_BYTES

    def test_they_wait_for_good(self) -> None:
        """That is how they are counted, and nothing of them is read."""
        for priority in (HIGH, HIGH, NORMAL):
            self.fixture.store(b"1", b"2", priority=priority)
        self.fixture.read_all()
        function = self.broker.functions.get(b"f")
        self.assertNotEqual(function.lanes.rows_count, 0)
        self.fixture.drain()
        self.assertEqual((function.waiting, function.total, function.lanes.rows_count), (6, 6, 0))
        self.assertEqual([list(ring) for ring in self.broker.dispatcher.rings], [[], [], []])
        self.assertTrue(self.broker.drained)
        self.assertIsNone(self.fixture.grab(self.fixture.worker(b"f")))
