"""Tests of L{txgear.broker.life.lifecycle}: jobs that are stored, and what the journal is told of them."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from txgear.broker.model import AskedReply, Job, Peer, Reply
from txgear.broker.records import ByKey, JobRecord, JobUpdate
from txgear.broker.states import CANCELLED, DEAD, DELAYED, QUEUED, RUNNING, STORING
from txgear.errors import STORE_UNAVAILABLE, QueueError
from txgear.protocol.constants import ERROR, HIGH, JOB_CREATED, LOW, WORK_COMPLETE, WORK_FAIL
from txgear.protocol.packets import Pieces
from txgear.test.support.broker import BrokerFixture, DurableBrokerTestCase, queued, results_of
from txgear.test.support.clock import START


class StoringTests(DurableBrokerTestCase):
    """A background job that is on its way to the disk."""

    def test_it_is_handed_out_only_when_it_is_stored(self) -> None:
        worker, sleeper = self.fixture.worker(b"f"), self.fixture.sleeper(b"f")
        job = self.fixture.submit(None, workload=b"work")
        self.assertEqual((job.state, job.stored), (STORING, False))
        self.assertEqual(self.fixture.counts(), {b"f": (0, 1, 0, 2)})
        self.assertEqual(job.function.total, 1)
        self.assertIsNone(self.fixture.grab(worker))
        self.fixture.sleep(worker)
        self.assertEqual(self.fixture.outbox.take(), [])
        self.fixture.commit()
        self.assertEqual((job.state, job.stored, job.reply), (QUEUED, True, None))
        self.assertEqual(self.fixture.counts(), {b"f": (1, 0, 0, 2)})
        self.assertEqual(self.fixture.woken(), [sleeper])
        self.assertIs(self.fixture.grab(sleeper), job)
        self.assertEqual((job.workload, self.fixture.memory), (b"work", 4))

    def test_the_answer_waits_and_is_then_its_handle(self) -> None:
        job = self.fixture.submit(None)
        reply = job.reply_for(background=True)
        assert reply is not None
        self.assertIs(reply, job.reply)
        self.assertIsNone(reply.packet)
        self.fixture.commit()
        self.assertEqual(reply.packet, (JOB_CREATED, job.handle))
        self.assertIsNone(job.reply_for(background=True))

    def test_the_journal_is_told_all_that_is_to_be_kept(self) -> None:
        self.broker.submit(None, b"f\xff", b"u" * 64, b"w\0", START, LOW, True, START + 9, b"reducer")
        workload = Pieces([b"o", b"ne"])
        self.broker.submit(None, b"", b"-", workload, START, HIGH, True)
        digest = blake2b(b"one", digest_size=16).digest()
        first = JobRecord(1, 1, b"H:test", b"f\xff", b"u" * 64, None, b"reducer", LOW, START + 9, 0, 2, START)
        second = JobRecord(2, 2, b"H:test", b"", b"-", digest, b"", HIGH, 0.0, 0, 3, START)
        self.assertEqual(
            [(adding.record, adding.workload) for adding in self.journal.adding],
            [(first, b"w\0"), (second, workload)],
        )

    def test_when_it_is_to_begin(self) -> None:
        self.fixture.set_clock(100.0)
        for due, delay in ((START + 109.0, 0.0), (0.0, 9.0)):
            job = self.fixture.submit(None, due=due, delay=delay)
            self.assertEqual((job.state, self.broker.lifecycle.begins(job)), (STORING, START + 109.0))
        self.assertEqual(self.broker.lifecycle.begins(self.fixture.submit(None)), 0.0)

    def test_a_digest_has_16_bytes_whatever_its_value(self) -> None:
        """Some workload's digest begins with a zero."""
        for number in range(300):
            self.fixture.submit(None, unique=b"-", workload=b"%d" % number)
        digests = [adding.record.digest or b"" for adding in self.journal.adding]
        self.assertEqual({len(digest) for digest in digests}, {16})
        self.assertIn(0, {digest[0] for digest in digests})

    def test_all_who_join_it_wait_for_the_same_commit(self) -> None:
        client = self.fixture.connect()
        job = self.fixture.submit(None, unique=b"u")
        self.assertIs(self.fixture.submit(None, unique=b"u"), job)
        self.assertIs(self.fixture.submit(client, unique=b"u"), job)
        self.assertEqual(len(self.journal.adding), 1)
        for background in (True, False):
            self.assertIs(job.reply_for(background), job.reply)
        self.fixture.commit()
        for background in (True, False):
            self.assertIsNone(job.reply_for(background))
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.complete(worker, job)
        self.assertEqual(self.fixture.heard(client), [(WORK_COMPLETE, job.handle, b"done")])

    def test_those_who_join_when_it_is_stored_do_not_wait(self) -> None:
        (job,) = self.fixture.store(b"work", unique=b"u")
        self.fixture.submit(self.fixture.connect(), unique=b"u")
        self.fixture.submit(None, unique=b"u")
        self.assertEqual((self.journal.adding, job.reply), ([], None))

    def test_several_are_queued_in_the_order_of_their_commits(self) -> None:
        jobs = [self.fixture.submit(None) for _ in range(3)]
        self.fixture.commit(2)
        self.assertEqual(queued(jobs[0].function.lanes), jobs[:2])
        self.fixture.commit()
        self.assertEqual(queued(jobs[0].function.lanes), jobs)

    def test_foreground_jobs_are_not_stored(self) -> None:
        client, worker = self.fixture.connect(), self.fixture.worker(b"f")
        job = self.fixture.submit(client, workload=b"work")
        self.assertIsNone(job.reply_for(background=False))
        self.assertIs(self.fixture.grab(worker), job)
        self.fixture.leave(worker)
        self.fixture.grab(self.fixture.worker(b"f"))
        self.fixture.cancel(job)
        told = self.journal.adding, self.journal.updates, self.journal.deleted, self.fixture.memory
        self.assertEqual(told, ([], [], [], 0))

    def test_it_counts_for_the_limit_of_its_function(self) -> None:
        self.broker.operations.limit_function(b"f", (0, 1, 0))
        self.fixture.submit(None)
        self.assertRaises(QueueError, self.fixture.submit, None)

    def test_a_client_that_joined_it_may_go(self) -> None:
        client = self.fixture.connect()
        job = self.fixture.submit(None, unique=b"u")
        self.fixture.submit(client, unique=b"u")
        self.fixture.leave(client)
        self.assertEqual((job.state, job.clients), (STORING, ()))
        self.fixture.commit()
        self.assertIs(self.fixture.grab(self.fixture.worker(b"f")), job)

    def test_it_may_be_cancelled(self) -> None:
        client = self.fixture.connect()
        job = self.fixture.submit(None, unique=b"u", workload=b"work")
        self.fixture.submit(client, unique=b"u")
        reply = job.reply
        assert reply is not None
        self.fixture.cancel(job)
        self.assertEqual(self.fixture.heard(client), [(WORK_FAIL, job.handle)])
        self.assert_gone(job)
        self.assertEqual((self.fixture.counts(), self.journal.deleted), ({}, [job.number]))
        self.fixture.commit()
        self.assertEqual(reply.packet, (JOB_CREATED, job.handle))
        self.assertEqual((self.fixture.counts(), self.journal.kept(), self.fixture.memory), ({}, [], 0))

    def test_one_that_begins_later_may_be_cancelled(self) -> None:
        """Nothing is noted of it any more."""
        self.fixture.cancel(self.fixture.submit(None, delay=5.0))
        self.broker.check()
        self.fixture.commit()
        self.assertEqual(self.fixture.counts(), {})

    def test_one_that_was_cancelled_may_be_refused(self) -> None:
        job = self.fixture.submit(None)
        self.fixture.cancel(job)
        self.assertEqual(self.fixture.refuse("full").packet, (ERROR, b"QUEUE_ERROR", b"full"))
        self.assertEqual((self.fixture.counts(), self.journal.deleted), ({}, [job.number]))

    def test_without_a_journal_nothing_waits(self) -> None:
        fixture = BrokerFixture()
        job = fixture.submit(None)
        self.assertIsNone(job.reply_for(background=True))
        self.assertEqual((job.state, job.stored), (QUEUED, False))


class AskedTests(DurableBrokerTestCase):
    """Jobs on their way to the store that do not come there: see L{txgear.broker.life.lookups}."""

    def on_its_way(self, **rest: Any) -> tuple[Job, Reply]:
        job = self.fixture.submit(None, workload=b"work", **rest)
        assert job.reply is not None
        return job, job.reply

    def test_one_need_not_go_there(self) -> None:
        job, reply = self.on_its_way()
        self.broker.lifecycle.admit(job, self.fixture.now)
        self.assertEqual((reply.packet, job.reply, job.state), ((JOB_CREATED, job.handle), None, QUEUED))

    def test_one_behind_which_others_have_come(self) -> None:
        """It has its turn before those, whether or not it goes to the store."""
        client = self.fixture.connect()
        admitted, _ = self.on_its_way()
        stored, reply = self.on_its_way()
        del self.journal.adding[:]
        later = self.fixture.submit(client)
        self.broker.lifecycle.admit(admitted, self.fixture.now)
        stored.reply = AskedReply(reply.size)
        self.broker.lifecycle.stored([stored], self.fixture.now)
        self.assertEqual(queued(later.function.lanes), [admitted, stored, later])
        self.assertEqual((stored.workload, self.fixture.memory), (b"work", 4))

    def test_one_that_is_to_begin_later(self) -> None:
        for rest in ({"due": START + 10}, {"delay": 10.0}):
            job, _ = self.on_its_way(**rest)
            self.broker.lifecycle.admit(job, self.fixture.now)
            self.assertEqual(job.state, DELAYED)
            self.fixture.pass_time(10)
            self.assertEqual(job.state, QUEUED)

    def test_one_was_none_of_its_own(self) -> None:
        for rest in ({}, {"due": START + 10}, {"settings": {"timeout": 3}}):
            job, reply = self.on_its_way(**rest)
            told = self.outcome(job) if job.history is not None else [(CANCELLED, b"", b"", True)]
            self.broker.lifecycle.drop(job, b"H:test:99", self.fixture.now)
            self.assert_gone(job)
            self.assertEqual(job.handle, b"H:test:99")
            self.assertEqual((reply.packet, job.reply, job.state), (None, None, CANCELLED))
            self.assertEqual((told, self.journal.deleted), ([(CANCELLED, b"", b"", True)], []))
            # It was never counted.
            job.function.counts.submitted -= 1


class TurnedAwayTests(DurableBrokerTestCase):
    """A job of which the store does not say whether it is a new one. There is no room for any in memory."""

    queue_memory = 0

    def test_it_is_as_if_it_had_been_refused_when_it_came(self) -> None:
        for _ in range(3):
            self.fixture.submit(None, workload=b"work")
            self.fixture.commit()
        self.journal.hide(b"u")
        job = self.fixture.submit(None, unique=b"u", workload=b"work")
        reply, counts = job.reply, job.function.counts
        assert reply is not None
        self.journal.unavailable = "The store is away"
        asking = next(asking for asking in self.journal.asking if isinstance(asking.question, ByKey))
        asking.done(None, {}, self.fixture.now)
        self.journal.asking.remove(asking)
        self.assertEqual((reply.packet, job.reply), ((ERROR, b"QUEUE_ERROR", b"The store is away"), None))
        self.assert_gone(job)
        self.assertEqual((counts.submitted, counts.failed, counts.refused), (3, {}, {STORE_UNAVAILABLE: 1}))


class ForegroundMadeBackgroundTests(DurableBrokerTestCase):
    """A background submit that joins a foreground job has it stored then."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.job = self.fixture.submit(self.client, unique=b"u", workload=b"work")

    def insist(self) -> None:
        self.assertIs(self.fixture.submit(None, unique=b"u", workload=b"other"), self.job)

    def test_it_stays_where_it_is(self) -> None:
        self.insist()
        ((_, _, workload, reply),) = self.journal.adding
        self.assertEqual((self.job.state, workload), (QUEUED, b"work"))
        self.assertIs(self.job.reply_for(background=True), reply)
        self.assertIsNone(self.job.reply_for(background=False))
        self.fixture.commit()
        self.assertEqual(reply.packet, (JOB_CREATED, self.job.handle))
        self.assertEqual((self.job.state, self.job.stored, self.fixture.memory), (QUEUED, True, 4))

    def test_it_is_stored_once(self) -> None:
        self.insist()
        self.insist()
        self.assertEqual(len(self.journal.adding), 1)
        self.fixture.commit()
        self.insist()
        self.assertEqual(self.journal.adding, [])

    def test_it_may_run_before_it_is_stored(self) -> None:
        self.insist()
        worker = self.fixture.worker(b"f")
        self.assertIs(self.fixture.grab(worker), self.job)
        self.fixture.commit()
        self.assertEqual((self.job.state, self.job.stored, self.fixture.memory), (RUNNING, True, 4))
        self.complete(worker, self.job)
        self.assertEqual((self.journal.deleted, self.journal.kept(), self.fixture.memory), ([1], [], 0))

    def test_it_may_be_made_so_while_it_runs(self) -> None:
        self.fixture.grab(self.fixture.worker(b"f", timeout=5.0))
        self.insist()
        self.assertEqual(self.journal.adding[0].record.due, 0.0)
        self.fixture.commit()
        self.assertEqual((self.job.state, self.job.stored), (RUNNING, True))

    def test_it_may_end_before_it_is_stored(self) -> None:
        self.insist()
        reply = self.job.reply
        assert reply is not None
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.complete(worker, self.job)
        self.assertEqual(self.journal.deleted, [1])
        self.fixture.commit()
        self.assertEqual((reply.packet, self.fixture.memory), ((JOB_CREATED, self.job.handle), 0))
        self.assertEqual((self.journal.kept(), self.fixture.counts()), ([], {b"f": (0, 0, 0, 1)}))

    def test_its_result_is_in_memory_until_that_is_stored_itself(self) -> None:
        self.fixture.set(results=60)
        self.insist()
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.complete(worker, self.job, b"result")
        self.fixture.commit()
        self.assertEqual((self.job.stored, results_of(self.broker.archive)), (True, {1: b"result"}))
        self.broker.store_events.result_stored([1])
        self.assertEqual(results_of(self.broker.archive), {})

    def test_of_a_dead_one_the_workload_need_not_be_in_memory(self) -> None:
        self.fixture.set(retries=0)
        self.insist()
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.broker.reports.work_fail(worker, self.job.handle, self.fixture.now)
        self.assertEqual((self.job.state, self.job.workload), (DEAD, b"work"))
        self.fixture.commit()
        self.assertEqual((self.job.stored, self.job.workload), (True, b""))
        # As of one whose result is stored: it has none.
        self.broker.store_events.result_stored([1])
        self.assertIs(self.broker.archive.by_handle(self.job.handle), self.job)

    def test_it_outlives_its_clients_before_and_after_the_commit(self) -> None:
        self.insist()
        self.fixture.leave(self.client)
        self.assertEqual(self.job.state, QUEUED)
        self.fixture.commit()
        self.assertIs(self.fixture.grab(self.fixture.worker(b"f")), self.job)

    def test_what_has_become_of_it_is_kept_too(self) -> None:
        for _ in range(2):
            worker = self.fixture.worker(b"f")
            self.fixture.grab(worker)
            self.fixture.leave(worker)
        self.insist()
        record = self.journal.adding[0].record
        self.assertEqual((record.number, record.place, record.retries), (1, self.job.place, 2))
        self.assertEqual((self.job.place, self.journal.updates), (2, []))

    def test_the_time_that_it_waits_for_is_kept(self) -> None:
        later = self.fixture.submit(self.client, unique=b"later", due=START + 10)
        self.fixture.submit(None, unique=b"later")
        self.assertEqual(self.journal.adding[0].record.due, START + 10)
        self.fixture.commit()
        self.assertEqual(later.state, DELAYED)
        self.fixture.pass_time(10)
        self.assertEqual((later.state, self.journal.kept()[0].due), (QUEUED, 0.0))


class RefusedTests(DurableBrokerTestCase):
    """A job that could not be stored."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()

    def made_background(self) -> Job:
        job = self.fixture.submit(self.client, unique=b"u", workload=b"work")
        self.fixture.submit(None, unique=b"u")
        return job

    def test_it_never_was(self) -> None:
        job = self.fixture.submit(None, unique=b"u")
        reply = self.fixture.refuse("voll: £5")
        self.assertEqual(reply.packet, (ERROR, b"QUEUE_ERROR", "voll: £5".encode()))
        self.assert_gone(job)
        self.assertEqual((self.fixture.counts(), self.journal.deleted), ({}, []))
        self.assertIsNot(self.fixture.submit(None, unique=b"u"), job)

    def test_clients_that_joined_it_have_the_same_answer_and_no_other(self) -> None:
        job = self.fixture.submit(None, unique=b"u")
        self.fixture.submit(self.client, unique=b"u")
        reply = job.reply_for(background=False)
        self.assertIs(self.fixture.refuse(), reply)
        self.assert_gone(job)
        self.assertEqual((self.fixture.heard(self.client), self.client.attached), ([], {}))

    def test_a_foreground_job_goes_on_as_such(self) -> None:
        job = self.made_background()
        self.fixture.refuse()
        self.assertEqual((job.state, job.background, job.reply), (QUEUED, False, None))
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.complete(worker, job)
        self.assertEqual(self.fixture.heard(self.client), [(WORK_COMPLETE, job.handle, b"done")])
        self.assertEqual((self.journal.deleted, self.fixture.memory), ([], 0))

    def test_and_ends_when_its_client_goes(self) -> None:
        job = self.made_background()
        self.fixture.refuse()
        self.fixture.leave(self.client)
        self.assert_gone(job)
        self.assertEqual((self.fixture.counts(), self.journal.deleted), ({}, []))

    def test_or_at_once_if_that_has_gone(self) -> None:
        job = self.made_background()
        self.fixture.leave(self.client)
        self.fixture.refuse()
        self.assert_gone(job)
        self.assertEqual((self.fixture.counts(), self.journal.deleted), ({}, []))

    def test_but_not_while_it_runs(self) -> None:
        job = self.made_background()
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.fixture.leave(self.client)
        self.fixture.refuse()
        self.assertEqual((job.state, job.background), (RUNNING, False))
        self.fixture.leave(worker)
        self.assert_gone(job)
        self.assertEqual((self.journal.updates, self.journal.deleted), ([], []))

    def test_it_may_be_asked_for_again(self) -> None:
        job = self.made_background()
        self.fixture.refuse()
        for _ in range(2):
            worker = self.fixture.worker(b"f")
            self.fixture.grab(worker)
            self.fixture.leave(worker)
        self.fixture.submit(None, unique=b"u")
        self.fixture.commit()
        self.assertEqual((job.stored, job.background), (True, True))
        (kept,) = self.journal.kept()
        self.assertEqual((kept.number, kept.place, kept.retries), (1, job.place, 2))


class JournalRefusesTests(DurableBrokerTestCase):
    """No job can be stored at present."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.foreground = self.fixture.submit(self.client, unique=b"fore")
        (self.background,) = self.fixture.store(b"work", unique=b"back")
        self.journal.unavailable = "The store is locked"

    def assert_refused(self, function: bytes = b"f", unique: bytes = b"") -> None:
        lines, number, uniques = (
            self.fixture.counts(),
            self.broker.table.next_number,
            list(self.broker.table.uniques),
        )
        with self.assertRaisesRegex(QueueError, "^QUEUE_ERROR: The store is locked$"):
            self.fixture.submit(None, function, unique)
        self.assertEqual((self.fixture.counts(), self.broker.table.next_number), (lines, number))
        self.assertEqual((list(self.broker.table.uniques), len(self.broker.table.jobs)), (uniques, 2))
        self.assertEqual(self.journal.adding, [])

    def test_a_background_job_is_refused_before_anything_has_changed(self) -> None:
        self.assert_refused()
        self.assert_refused(unique=b"u")

    def test_a_function_that_nobody_uses_is_not_known_by_it(self) -> None:
        self.assert_refused(b"g")

    def test_so_is_one_that_joins_a_foreground_job(self) -> None:
        self.assert_refused(unique=b"fore")
        self.assertFalse(self.foreground.background)
        self.fixture.leave(self.client)
        self.assert_gone(self.foreground)

    def test_what_is_stored_may_be_joined(self) -> None:
        self.assertIs(self.fixture.submit(None, unique=b"back"), self.background)

    def test_what_is_on_its_way_may_be_joined(self) -> None:
        self.journal.unavailable = None
        job = self.fixture.submit(None, unique=b"u")
        self.journal.unavailable = "late"
        self.assertIs(self.fixture.submit(None, unique=b"u"), job)
        self.assertIs(job.reply_for(background=True), job.reply)

    def test_foreground_jobs_go_on(self) -> None:
        job = self.fixture.submit(self.client)
        self.assertEqual(job.state, QUEUED)

    def test_workers_go_on(self) -> None:
        worker = self.fixture.worker(b"f")
        self.assertEqual(self.fixture.grab_all(worker), [self.foreground, self.background])
        self.complete(worker, self.background)
        self.assertEqual(self.journal.deleted, [2])


class MoveTests(DurableBrokerTestCase):
    """What the journal is told of jobs that have come back."""

    def lose(self, job: Job) -> None:
        worker = self.fixture.worker(b"f")
        self.assertIs(self.fixture.grab(worker), job)
        self.fixture.leave(worker)

    def test_a_lost_job_is_counted_and_keeps_its_place_once(self) -> None:
        job, *others = self.fixture.store(b"1", b"2", b"3")
        self.lose(job)
        self.assertEqual(self.journal.updates, [JobUpdate(1, 1, 0.0, 1)])
        self.lose(job)
        self.assertEqual(self.journal.updates[1:], [JobUpdate(1, 4, 0.0, 2)])
        for other in others:
            worker = self.fixture.worker(b"f")
            self.fixture.grab(worker)
            self.complete(worker, other)
        self.lose(job)
        self.assertEqual(self.journal.updates[2:], [JobUpdate(1, 5, 0.0, 3)])
        self.assertEqual((job.place, job.retries), (5, 3))
        self.assertEqual(self.fixture.submit(None).number, 6)

    def test_one_that_runs_when_it_is_stored_counts_what_happens_on_the_way(self) -> None:
        client = self.fixture.connect()
        job = self.fixture.submit(client, unique=b"u")
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.fixture.submit(None, unique=b"u")
        self.fixture.leave(worker)
        self.assertEqual(self.journal.updates, [JobUpdate(job.number, 1, 0.0, 1)])
        self.fixture.commit()
        self.assertEqual(self.journal.kept()[0].retries, 1)

    def test_one_whose_worker_overran_its_time(self) -> None:
        (job,) = self.fixture.store(b"work")
        self.fixture.grab(self.fixture.worker(b"f", timeout=5.0))
        self.fixture.pass_time(5)
        self.assertEqual(self.journal.updates, [JobUpdate(job.number, job.number, 0.0, 1)])

    def test_one_whose_time_has_come_is_behind_those_that_are_there(self) -> None:
        later, now = self.fixture.submit(None, due=START + 10), self.fixture.submit(None)
        self.fixture.commit()
        self.assertEqual((later.state, now.state), (DELAYED, QUEUED))
        self.fixture.pass_time(10)
        self.assertEqual(self.journal.updates, [JobUpdate(1, 3, 0.0, 0)])
        self.assertEqual(queued(now.function.lanes), [now, later])

    def test_it_keeps_that_turn_when_its_worker_is_lost(self) -> None:
        later, now = self.fixture.submit(None, due=START + 10), self.fixture.submit(None)
        self.fixture.commit()
        self.fixture.pass_time(10)
        self.fixture.store(b"")
        workers = [self.fixture.worker(b"f") for _ in range(2)]
        self.assertEqual([self.fixture.grab(worker) for worker in workers], [now, later])
        for worker in workers:
            self.fixture.leave(worker)
        self.assertEqual(queued(now.function.lanes)[:2], [now, later])

    def test_a_time_that_came_while_it_was_on_its_way_is_over(self) -> None:
        job = self.fixture.submit(None, due=START + 10)
        self.fixture.pass_time(10)
        self.assertEqual((job.state, job.due), (STORING, 0.0))
        self.fixture.commit()
        # The store is told: otherwise it has a job that waits.
        self.assertEqual((job.state, self.journal.updates), (QUEUED, [JobUpdate(1, 1, 0.0, 0)]))

    def test_its_workload_is_dropped_until_then_and_read_again(self) -> None:
        (job,) = self.fixture.store(b"work", due=START + 10)
        self.assertEqual((job.state, job.workload, self.fixture.memory), (DELAYED, b"", 0))
        worker = self.fixture.worker(b"f")
        self.fixture.pass_time(10)
        self.assertIsNone(self.fixture.grab(worker))
        self.fixture.read()
        self.assertIs(self.fixture.grab(worker), job)
        self.assertEqual((job.workload, self.fixture.memory), (b"work", 4))

    def test_without_a_journal_the_turn_is_the_same(self) -> None:
        fixture = BrokerFixture()
        jobs = [fixture.submit(None) for _ in range(2)]
        for _ in range(2):
            worker = fixture.worker(b"f")
            fixture.grab(worker)
            fixture.leave(worker)
        self.assertEqual([jobs[0].place, queued(jobs[0].function.lanes)], [3, jobs[::-1]])


class EndTests(DurableBrokerTestCase):
    """The journal is told once that a job has ended, however it did."""

    def setUp(self) -> None:
        super().setUp()
        self.fixture = BrokerFixture(retries=2, journal=self.journal)
        self.worker = self.fixture.worker(b"f")

    def assert_told(self, job: Job) -> None:
        self.assert_gone(job)
        self.assertEqual(self.journal.deleted, [job.number])
        self.assertEqual((self.journal.kept(), self.fixture.memory), ([], 0))

    def running(self) -> Job:
        (job,) = self.fixture.store(b"work", unique=b"u")
        self.assertIs(self.fixture.grab(self.worker), job)
        return job

    def test_done(self) -> None:
        job = self.running()
        self.complete(self.worker, job)
        self.assert_told(job)

    def test_failed(self) -> None:
        job = self.running()
        self.broker.reports.work_fail(self.worker, job.handle, self.fixture.now)
        self.assert_told(job)

    def test_failed_with_a_reason(self) -> None:
        job = self.running()
        self.broker.reports.work_exception(self.worker, job.handle, b"why", self.fixture.now)
        self.broker.reports.work_fail(self.worker, job.handle, self.fixture.now)
        self.assert_told(job)

    def test_cancelled_while_it_runs(self) -> None:
        job = self.running()
        self.fixture.cancel(job)
        self.fixture.leave(self.worker)
        self.assert_told(job)

    def test_cancelled_while_it_is_queued(self) -> None:
        (job,) = self.fixture.store(b"work")
        self.fixture.cancel(job)
        self.assert_told(job)

    def test_cancelled_while_it_waits_for_its_time(self) -> None:
        (job,) = self.fixture.store(b"work", due=START + 10)
        self.fixture.cancel(job)
        self.assert_told(job)

    def test_given_up(self) -> None:
        job = self.running()
        self.fixture.leave(self.worker)
        self.assertEqual(self.journal.deleted, [])
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.fixture.leave(worker)
        self.assert_told(job)

    def test_a_client_that_joined_and_went_ends_nothing(self) -> None:
        client = self.fixture.connect()
        job = self.running()
        self.fixture.submit(client, unique=b"u")
        self.fixture.leave(client)
        self.assertEqual((job.state, self.journal.deleted), (RUNNING, []))


class GoesOnTests(DurableBrokerTestCase):
    """A foreground job whose client does not wait for its end, and wants it all the same."""

    def submitted(self) -> tuple[Peer, Job]:
        client = self.fixture.connect()
        return client, self.fixture.submit(client, workload=b"work")

    def go_on(self, client: Peer, job: Job) -> None:
        self.broker.lifecycle.go_on_without(job, client, self.fixture.now)

    def test_it_is_stored_and_outlives_its_client(self) -> None:
        client, job = self.submitted()
        self.go_on(client, job)
        reply = job.reply_for(background=True)
        assert reply is not None
        self.assertIsNone(reply.packet)
        self.fixture.commit()
        self.assertEqual(reply.packet, (JOB_CREATED, job.handle))
        self.assertEqual((client.attached, job.clients, job.stored), ({}, (), True))
        self.fixture.leave(client)
        self.assertEqual(self.journal.deleted, [])
        self.assertIs(self.fixture.grab(self.fixture.worker(b"f")), job)

    def test_one_that_runs(self) -> None:
        client, job = self.submitted()
        worker = self.fixture.worker(b"f")
        self.grabbed(worker, job)
        self.go_on(client, job)
        self.fixture.commit()
        self.complete(worker, job)
        self.assertEqual(self.fixture.heard(client), [])
        self.assertEqual(self.journal.deleted, [job.number])

    def test_one_that_is_a_background_job_already(self) -> None:
        client = self.fixture.connect()
        job = self.fixture.submit(None, unique=b"u")
        self.fixture.commit()
        self.assertIs(self.fixture.submit(client, unique=b"u"), job)
        self.go_on(client, job)
        self.assertEqual((self.journal.adding, job.clients), ([], ()))

    def test_one_that_cannot_be_stored(self) -> None:
        """Its client waits for it as before."""
        client, job = self.submitted()
        self.journal.unavailable = "no"
        with self.assertRaises(QueueError) as caught:
            self.go_on(client, job)
        self.assertEqual(caught.exception.why, STORE_UNAVAILABLE)
        self.assertEqual((job.background, list(client.attached)), (False, [job]))

    def test_one_that_the_store_refuses(self) -> None:
        """Nobody is left who wants it."""
        client, job = self.submitted()
        self.go_on(client, job)
        reply = self.fixture.refuse("too large")
        self.assertEqual(reply.packet, (ERROR, b"QUEUE_ERROR", b"too large"))
        self.assert_gone(job)

    def test_while_the_server_drains(self) -> None:
        """Like other background jobs it is kept for the next start, unless somebody else waits for it."""
        client, other = self.fixture.connect(), self.fixture.connect()
        job = self.fixture.submit(client, unique=b"u")
        self.fixture.submit(other, unique=b"u")
        self.fixture.drain()
        self.go_on(client, job)
        self.assertEqual(job.state, QUEUED)
        self.go_on(other, job)
        self.assertEqual(job.state, DELAYED)
