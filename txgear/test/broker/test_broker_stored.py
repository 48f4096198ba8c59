"""Tests of L{txgear.broker.broker}: numbers, and how a server ends whose jobs are stored."""

from __future__ import annotations

from txgear.broker.model import Peer
from txgear.broker.records import JobUpdate
from txgear.broker.states import DELAYED, QUEUED, RUNNING
from txgear.errors import QueueError
from txgear.protocol.constants import NORMAL
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase
from txgear.test.support.clock import START
from txgear.test.support.fakejournal import FakeJournal


class NumberTests(DurableBrokerTestCase):
    """Numbers are reserved in the store before they are used."""

    def numbers(self, count: int) -> list[int]:
        return [self.fixture.submit(self.fixture.connect()).number for _ in range(count)]

    def test_they_begin_where_they_are_reserved(self) -> None:
        self.broker.store_events.reserve(2**40, 100)
        self.assertEqual((self.broker.table.next_number, self.broker.store_events.numbers_left), (2**40, 100))
        self.assertEqual(self.numbers(2), [2**40, 2**40 + 1])
        self.assertEqual(
            (self.broker.table.next_number, self.broker.store_events.numbers_left), (2**40 + 2, 98)
        )
        job = self.broker.table.by_handle(b"H:test:%d" % 2**40)
        assert job is not None
        self.assertEqual(job.number, 2**40)

    def test_more_that_follow_are_added(self) -> None:
        self.broker.store_events.reserve(5, 2)
        self.numbers(1)
        self.broker.store_events.reserve(7, 2)
        self.assertEqual((self.numbers(3), self.broker.store_events.numbers_left), ([6, 7, 8], 0))

    def test_more_that_do_not_follow_are_used_at_once(self) -> None:
        self.broker.store_events.reserve(5, 2)
        self.numbers(1)
        self.broker.store_events.reserve(10, 2)
        self.assertEqual((self.numbers(2), self.broker.store_events.numbers_left), ([10, 11], 0))

    def test_without_any_no_job_is_taken_and_nothing_changed(self) -> None:
        self.broker.store_events.reserve(5, 1)
        client = self.fixture.connect()
        job = self.fixture.submit(client, unique=b"u")
        for each in (client, None):
            with self.assertRaisesRegex(
                QueueError, "^QUEUE_ERROR: No job numbers are left until the store answers$"
            ):
                self.fixture.submit(each, b"g", b"v")
        self.assertEqual((self.fixture.counts(), client.attached), ({b"f": (1, 0, 0, 0)}, {job: None}))
        self.assertIs(self.fixture.submit(client, unique=b"u"), job)
        self.broker.store_events.reserve(6, 1)
        self.assertEqual(self.numbers(1), [6])

    def test_a_turn_behind_all_others_takes_one(self) -> None:
        self.broker.store_events.reserve(5, 10)
        self.numbers(2)
        for _ in range(2):
            worker = self.fixture.worker(b"f")
            self.fixture.grab(worker)
            self.fixture.leave(worker)
        self.assertEqual(self.broker.table.next_number, 8)


class DrainTests(DurableBrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f")

    def test_a_job_that_is_stored_now_stays_stored(self) -> None:
        job = self.fixture.submit(None, workload=b"work")
        self.fixture.drain()
        self.assertTrue(self.broker.drained)
        self.fixture.commit()
        self.assertEqual((job.state, self.fixture.counts()), (DELAYED, {b"f": (0, 1, 0, 1)}))
        self.assertIsNone(self.fixture.grab(self.worker))
        self.assertTrue(self.broker.drained)
        self.assertEqual(
            ([job.number], []), ([kept.number for kept in self.journal.kept()], self.journal.deleted)
        )

    def test_a_client_that_waits_for_it_is_waited_for(self) -> None:
        job = self.fixture.submit(None, unique=b"u")
        self.fixture.submit(self.client, unique=b"u")
        self.fixture.drain()
        self.assertFalse(self.broker.drained)
        self.fixture.commit()
        self.assertFalse(self.broker.drained)
        self.assertIs(self.fixture.grab(self.worker), job)
        self.complete(self.worker, job)
        self.assertTrue(self.broker.drained)

    def test_unless_it_goes(self) -> None:
        job = self.fixture.submit(None, unique=b"u")
        self.fixture.submit(self.client, unique=b"u")
        self.fixture.drain()
        self.fixture.leave(self.client)
        self.assertTrue(self.broker.drained)
        self.fixture.commit()
        self.assertEqual(job.state, DELAYED)

    def test_or_the_job_cannot_be_stored(self) -> None:
        self.fixture.submit(None, unique=b"u")
        self.fixture.submit(self.client, unique=b"u")
        self.fixture.drain()
        self.fixture.refuse()
        self.assertTrue(self.broker.drained)
        self.assertEqual(self.fixture.counts(), {b"f": (0, 0, 0, 1)})

    def test_a_foreground_job_set_aside_that_cannot_be_stored_is_given_up(self) -> None:
        job = self.fixture.submit(self.client, unique=b"u")
        self.fixture.submit(None, unique=b"u")
        self.fixture.drain()
        self.fixture.leave(self.client)
        self.assertEqual(job.state, DELAYED)
        self.fixture.refuse()
        self.assert_gone(job)

    def test_what_happens_is_still_told(self) -> None:
        job, later = self.fixture.submit(None), self.fixture.submit(None, due=START + 10)
        self.fixture.commit()
        self.fixture.grab(self.worker)
        self.fixture.drain()
        self.fixture.leave(self.worker)
        self.fixture.pass_time(10)
        self.assertEqual((job.state, later.state), (DELAYED, DELAYED))
        self.assertEqual(self.journal.updates, [JobUpdate(1, 1, 0.0, 1), JobUpdate(2, 3, 0.0, 0)])


class HaltedTests(DurableBrokerTestCase):
    """The server ends: who is hung up on loses nothing."""

    def gone(self, *peers: Peer) -> None:
        self.broker.halted = True
        for peer in peers:
            self.fixture.leave(peer)
        self.assertEqual(self.broker.peers, {})

    def test_jobs_stay_as_they_are(self) -> None:
        client, worker = self.fixture.connect(), self.fixture.worker(b"f")
        (stored,) = self.fixture.store(b"work")
        foreground = self.fixture.submit(client)
        running = self.fixture.grab(worker)
        assert running is not None
        self.gone(worker, client)
        self.assertIs(running, stored)
        self.assertEqual((running.state, running.retries, foreground.state), (RUNNING, 0, QUEUED))
        self.assertEqual((self.journal.updates, self.journal.deleted), ([], []))
        self.assertEqual(self.fixture.outbox.take(), [])

    def test_what_is_on_its_way_may_be_stored_yet(self) -> None:
        client = self.fixture.connect()
        self.fixture.submit(None, unique=b"u")
        self.fixture.submit(client, unique=b"u")
        self.gone(client)
        self.fixture.commit()
        self.assertEqual(len(self.journal.kept()), 1)


class WithoutJournalTests(BrokerTestCase):
    def test_nothing_is_told_and_nothing_is_counted(self) -> None:
        client, worker = self.fixture.connect(), self.fixture.worker(b"f")
        job = self.fixture.submit(client, unique=b"u")
        self.fixture.submit(None, unique=b"u")
        self.assertEqual((job.background, job.reply), (True, None))
        self.fixture.grab(worker)
        self.fixture.leave(worker)
        self.fixture.cancel(job)
        self.assert_gone(job)


class FakeJournalTests(DurableBrokerTestCase):
    """What the other tests believe."""

    def test_what_is_kept_is_what_was_told(self) -> None:
        one, other = self.fixture.store(b"1", b"2")
        self.fixture.submit(None)
        worker = self.fixture.worker(b"f")
        self.fixture.grab_all(worker)
        self.complete(worker, other)
        self.fixture.leave(worker)
        self.assertEqual([(kept.number, kept.retries) for kept in self.journal.kept()], [(1, 1)])
        self.assertEqual(one.priority, NORMAL)
        self.assertEqual(FakeJournal().kept(), [])
