"""Tests of L{txgear.broker.persistence}: what of a job is told to the journal."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.history import Attempt, History
from txgear.broker.model import AskedReply, Job
from txgear.broker.paging import Pager
from txgear.broker.persistence import Persistence
from txgear.broker.records import (
    KEPT,
    LIMITED,
    OWN,
    PAUSED,
    WAITING,
    JobChange,
    JobRecord,
    JobUpdate,
    StoredValue,
)
from txgear.broker.states import DEAD, DONE
from txgear.broker.table import JobTable
from txgear.broker.tenants import Tenant
from txgear.broker.timers import Timers
from txgear.errors import STORE_UNAVAILABLE, QueueError
from txgear.policies import FAIL
from txgear.protocol.constants import LOW, NORMAL
from txgear.test.support.broker import make_job
from txgear.test.support.fakejournal import FakeJournal


class KeptTestCase(SynchronousTestCase):
    """The wall clock is 100 seconds ahead; 50 bytes of workloads are kept in memory."""

    def setUp(self) -> None:
        self.journal = FakeJournal()
        self.pager = Pager(50, JobTable(b"H:test"), self.journal.load)
        timers = Timers()
        timers.set_offset(100.0, 0.0)
        self.persistence = Persistence(self.journal, self.pager, b"H:test", timers)

    def stored(self, workload: bytes = b"four", number: int = 1) -> Job:
        """A job that the store has, with its workload in memory."""
        job = make_job(number=number, workload=workload)
        job.stored = True
        self.persistence.count_workload(job)
        return job


class JobTests(KeptTestCase):
    def test_what_is_kept_of_a_job(self) -> None:
        """Its times are by the wall clock."""
        job = make_job(number=7, unique=b"u", priority=LOW, workload=b"four")
        job.place, job.retries, job.created, job.reducer = 9, 2, 5.0, b"r"
        self.persistence.add(job, 130.0)
        ((_, record, workload, reply),) = self.journal.adding
        kept = JobRecord(7, 9, b"H:test", b"f", b"u", None, b"r", LOW, 130.0, 2, 4, 105.0, 0, 0.0, None)
        self.assertEqual((record, workload), (kept, b"four"))
        self.assertEqual((reply, reply.size), (job.reply, 4))

    def test_a_unique_that_stands_for_the_workload(self) -> None:
        job = make_job()
        job.key = 258
        self.persistence.add(job)
        self.assertEqual(self.journal.adding[0].record.digest, bytes(14) + b"\1\2")

    def test_what_operators_change(self) -> None:
        """Of a job that is kept, or on its way."""
        job = self.stored()
        job.key, job.priority = 258, LOW
        self.persistence.change(job)
        self.persistence.change(job, b"new")
        on_its_way, other = make_job(number=2), make_job(number=3)
        self.persistence.add(on_its_way)
        self.persistence.change(on_its_way)
        self.persistence.change(other)
        digest = bytes(14) + b"\1\2"
        self.assertEqual(
            self.journal.changes,
            [
                JobChange(1, b"f", LOW, digest),
                JobChange(1, b"f", LOW, digest, b"new"),
                JobChange(2, b"f", NORMAL, None),
            ],
        )
        self.journal.unavailable = "away"
        for each in (job, on_its_way):
            error = self.assertRaises(QueueError, self.persistence.check_change, each)
            self.assertEqual((error.text, error.why), ("away", STORE_UNAVAILABLE))
        self.persistence.check_change(other)
        self.assertEqual(self.journal.asked, 2)
        self.journal.unavailable = None
        self.persistence.check_change(job)

    def test_its_history(self) -> None:
        job = make_job()
        job.history = history = History({"retries": 3})
        self.persistence.add(job)
        self.assertEqual(self.journal.adding[0].record.history, history.to_bytes())
        history.add_attempt(Attempt(1.0, 2.0, FAIL, "worker", "why"))
        self.persistence.update(job)
        self.assertEqual(self.journal.updates[0].history, history.to_bytes())

    def test_on_whose_account_it_is(self) -> None:
        """That stays with it whatever becomes of it; a classic job has nothing else."""
        job = make_job()
        job.tenant = Tenant("web")
        self.persistence.add(job)
        self.persistence.update(job)
        job.history = History({"timeout": 3})
        self.persistence.update(job)
        kept = [self.journal.adding[0].record.history, *(move.history for move in self.journal.updates)]
        self.assertEqual(kept, [b'{"tenant":"web"}'] * 2 + [b'{"tenant":"web","settings":{"timeout":3}}'])

    def test_one_that_may_be_there_already_is_told_later(self) -> None:
        """And nothing is said of it before."""
        job = make_job(workload=b"four")
        reply = job.reply = AskedReply(4)
        self.persistence.add(job)
        self.persistence.update(job)
        self.persistence.delete(job)
        self.assertEqual((self.journal.adding, self.journal.updates, self.journal.deleted), ([], [], []))
        reply.asked = False
        self.persistence.add(job)
        self.persistence.update(job)
        self.assertIs(self.journal.adding[0].reply, reply)
        self.assertEqual(len(self.journal.updates), 1)

    def test_while_the_store_is_away_none_is_taken(self) -> None:
        """And it had better be tried again soon."""
        self.journal.unavailable = "it is away"
        job = make_job()
        error = self.assertRaises(QueueError, self.persistence.add, job)
        self.assertEqual((error.text, job.reply, self.journal.asked), ("it is away", None, 1))

    def test_a_move(self) -> None:
        job = self.stored()
        job.place, job.retries = 9, 2
        self.persistence.update(job)
        self.persistence.update(job, 30.0)
        self.assertEqual(
            self.journal.updates, [JobUpdate(1, 9, 0.0, 2), JobUpdate(1, 9, 130.0, 2, kind=WAITING)]
        )

    def test_when_something_is_to_be_done_to_it(self) -> None:
        """It expires, where that comes before its time."""
        job = self.stored()
        job.history = History()
        job.history.expires = 20.0
        for due in (0.0, 10.0, 30.0):
            self.persistence.update(job, due)
        self.assertEqual([move.wake for move in self.journal.updates], [120.0, 0.0, 120.0])

    def test_one_that_is_on_its_way_moves_as_well(self) -> None:
        job = make_job()
        self.persistence.add(job)
        self.persistence.update(job)
        self.assertEqual(len(self.journal.updates), 1)

    def test_the_end(self) -> None:
        job = self.stored()
        self.persistence.delete(job)
        self.assertEqual((self.journal.deleted, job.workload, self.pager.used), ([1], b"", 0))

    def test_what_is_kept_of_one_that_has_ended(self) -> None:
        job = self.stored()
        job.state, job.since, job.due, job.size, job.archived = DONE, 10.0, 70.0, 6, b"{}"
        self.persistence.update_ended(job, KEPT, b"result")
        self.assertEqual(self.journal.updates, [JobUpdate(1, 1, 170.0, 0, 6, DONE, 110.0, b"{}", KEPT)])
        self.assertEqual(self.journal.results, {1: b"result"})
        job.since = 0.0
        self.persistence.update_ended(job, KEPT | OWN)
        self.assertEqual(
            self.journal.updates[1:], [JobUpdate(1, 1, 170.0, 0, 6, DONE, 0.0, b"{}", KEPT | OWN)]
        )
        self.assertEqual(self.journal.results, {1: b"result"})
        self.persistence.delete_all(job)
        self.assertEqual((self.journal.deleted_all, self.journal.results), ([1], {}))


class NotKeptTests(KeptTestCase):
    def tell_all(self, persistence: Persistence, job: Job) -> None:
        """All that can be told of a job that nobody adds."""
        persistence.update(job)
        persistence.check_change(job)
        persistence.change(job, b"new")
        persistence.update_ended(job, KEPT, b"result")
        persistence.delete(job)
        persistence.delete_all(job)
        persistence.drop_workload(job)
        persistence.yield_room(job)

    def test_nothing_is_told_of_a_job_that_is_not_kept(self) -> None:
        self.tell_all(self.persistence, job := make_job(workload=b"four"))
        journal = self.journal
        self.assertEqual(
            (journal.updates, journal.deleted, journal.deleted_all, journal.results), ([], [], [], {})
        )
        self.assertEqual((job.workload, self.pager.used), (b"four", 0))

    def test_without_a_journal_nothing_is_kept(self) -> None:
        persistence = Persistence(None, None, b"H:test", Timers())
        job = make_job(workload=b"four")
        job.stored = True
        persistence.add(job)
        self.tell_all(persistence, job)
        persistence.count_workload(job)
        persistence.put_value(StoredValue(PAUSED, b"f", 1.0))
        self.assertEqual((job.reply, job.workload), (None, b"four"))
        self.assertEqual((persistence.backlogged, persistence.crowded), (False, False))
        self.assertTrue(persistence.has_room(10**12))
        told: list[bytes | None] = []
        persistence.read(job, told.append)
        self.assertEqual(told, [None])


class StoreTests(KeptTestCase):
    """How the store is."""

    def test_whether_it_has_caught_up(self) -> None:
        for there in (True, False):
            self.journal.backlogged = self.journal.crowded = there
            self.assertEqual((self.persistence.backlogged, self.persistence.crowded), (there, there))

    def test_why_nothing_can_be_kept_and_since_when(self) -> None:
        self.assertIsNone(self.persistence.trouble)
        self.journal.unavailable, self.journal.unavailable_since = "it is gone", 7.0
        self.assertEqual(self.persistence.trouble, ("it is gone", "it is gone", 7.0))
        self.journal.detail = "db1: no route"
        self.assertEqual(self.persistence.trouble, ("it is gone", "db1: no route", 7.0))
        self.assertFalse(self.persistence.closing)
        # Where the server ends that is why, and no trouble of the store's.
        self.journal.closing = True
        self.assertEqual((self.persistence.closing, self.persistence.trouble), (True, None))
        self.assertFalse(Persistence(None, None, b"H:test", Timers()).closing)
        self.assertIsNone(Persistence(None, None, b"H:test", Timers()).trouble)

    def test_room_for_a_result(self) -> None:
        self.journal.room = 10
        self.assertEqual([self.persistence.has_room(size) for size in (10, 11)], [True, False])

    def test_what_is_no_job(self) -> None:
        value = StoredValue(PAUSED, b"f", 1.0)
        self.persistence.put_value(value)
        self.assertEqual(list(self.journal.stored_values.values()), [value])

    def test_what_other_servers_are_to_know(self) -> None:
        value = StoredValue(LIMITED, b"f", 1.0, text="1 1 1")
        self.persistence.share(value)
        self.assertEqual(list(self.journal.stored_values.values()), [value])
        Persistence(None, None, b"H:test", Timers()).share(value)


class WorkloadTests(KeptTestCase):
    def test_there_may_be_no_room_for_it(self) -> None:
        job = self.stored(b"x" * 60)
        self.persistence.yield_room(job)
        self.assertEqual((job.workload, self.pager.used), (b"", 0))
        job = self.stored(number=2)
        self.persistence.yield_room(job)
        self.assertEqual((job.workload, self.pager.used), (b"four", 4))

    def test_what_is_read(self) -> None:
        """Of the dead the workload, of others that have ended the result."""
        job = self.stored()
        for state, result in ((job.state, False), (DEAD, False), (DONE, True)):
            job.state = state
            self.persistence.read(job, lambda found: None)
            self.assertEqual((self.journal.reading[-1].number, self.journal.reading[-1].result), (1, result))

    def test_of_one_that_is_not_stored_nothing_is(self) -> None:
        told: list[bytes | None] = []
        self.persistence.read(make_job(workload=b"four"), told.append)
        self.assertEqual((told, self.journal.reading), ([None], []))
