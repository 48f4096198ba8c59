"""Tests of L{txgear.broker.life.lookups}: submits of what another server has."""

from __future__ import annotations

from typing import Any

from txgear.broker.history import History, owned_by
from txgear.broker.model import Job, Peer, Reply
from txgear.broker.records import JobRecord, Naming
from txgear.broker.rights import SEE
from txgear.broker.states import CANCELLED, DEAD, DONE, QUEUED, RUNNING
from txgear.protocol.constants import ERROR, JOB_CREATED, WORK_COMPLETE
from txgear.test.support.broker import DurableBrokerTestCase, record
from txgear.test.support.clock import START

THEIRS = 10**12 + 5
"""The number of another server's job."""


class ElsewhereTestCase(DurableBrokerTestCase):
    clustered = True

    def theirs(self, **rest: Any) -> JobRecord:
        """Another server's job."""
        return record(THEIRS, unique=b"u", **rest)._replace(prefix=b"H:other")

    def submitted(self, **rest: Any) -> tuple[Job, Reply]:
        job = self.fixture.submit(None, unique=b"u", workload=b"work", **rest)
        assert job.reply is not None
        return job, job.reply

    def counts(self) -> tuple[int, int, int]:
        counts = self.broker.functions.statistics.by_name[b"f"]
        return counts.submitted, counts.joined, counts.elsewhere


class JoinedTests(ElsewhereTestCase):
    """Its name is that of another server's job."""

    def test_a_background_submit(self) -> None:
        job, reply = self.submitted()
        self.assertIs(self.fixture.join(self.theirs()), reply)
        self.assertEqual(reply.packet, (JOB_CREATED, b"H:other:%d" % THEIRS))
        self.assertEqual((job.state, job.reply, job.handle), (CANCELLED, None, b"H:other:%d" % THEIRS))
        self.assertEqual((len(self.broker.table), self.journal.deleted, self.journal.names), (0, [], {}))
        self.assertEqual(self.counts(), (1, 1, 1))
        self.assertNotIn(b"f", self.broker.functions.by_name)
        self.broker.check()

    def test_of_a_function_with_workers(self) -> None:
        worker = self.fixture.worker(b"f")
        self.submitted(due=START + 10)
        self.fixture.join(self.theirs())
        self.assertIn(b"f", self.broker.functions.by_name)
        self.assertIsNone(self.fixture.grab(worker))
        self.broker.check()

    def test_who_may_not_know_of_it(self) -> None:
        denied: list[Peer] = []
        self.broker.lookups.denied = lambda peer, error: denied.append(peer)
        stranger, other = self.fixture.tenant("eve", (SEE, b"f")), self.fixture.connect()
        _, reply = self.submitted()
        reply.peers += [other, stranger]
        self.fixture.join(self.theirs(history=owned_by("amy")))
        assert reply.others is not None
        self.assertEqual([packet[:2] for packet in reply.others.values()], [(ERROR, b"ACCESS_DENIED")])
        self.assertEqual((list(reply.others), denied), ([stranger], [stranger]))
        # Whose it is may.
        _, reply = self.submitted()
        reply.peers += [stranger]
        self.fixture.join(self.theirs(history=owned_by("eve")))
        self.assertIsNone(reply.others)

    def test_who_waits_here_waits_for_one_here(self) -> None:
        """It is no job of the background any more, and nobody is told of the other one."""
        client = self.fixture.connect()
        job, reply = self.submitted()
        self.fixture.submit(client, unique=b"u")
        self.fixture.join(self.theirs())
        self.assertEqual(reply.packet, (JOB_CREATED, job.handle))
        self.assertEqual((job.background, job.state, self.counts()), (False, QUEUED, (1, 1, 0)))
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.complete(worker, job)
        self.assertEqual(self.fixture.heard(client), [(WORK_COMPLETE, job.handle, b"done")])
        self.broker.check()

    def test_one_that_a_worker_has(self) -> None:
        """It was one of the foreground, and is again."""
        client, worker = self.fixture.connect(), self.fixture.worker(b"f")
        job = self.fixture.submit(client, unique=b"u")
        self.fixture.grab(worker)
        _, reply = self.submitted()
        self.fixture.join(self.theirs())
        self.assertEqual(reply.packet, (JOB_CREATED, b"H:other:%d" % THEIRS))
        self.assertEqual((job.background, job.state, job.reply), (False, RUNNING, None))
        self.fixture.leave(client)
        self.complete(worker, job)
        self.assertEqual((len(self.broker.table), self.journal.deleted), (0, []))
        self.broker.check()

    def test_one_that_nobody_waits_for_any_more(self) -> None:
        client = self.fixture.connect()
        job = self.fixture.submit(client, unique=b"u")
        _, reply = self.submitted()
        self.fixture.leave(client)
        self.fixture.join(self.theirs())
        self.assertEqual(reply.packet, (JOB_CREATED, b"H:other:%d" % THEIRS))
        self.assertEqual((job.state, len(self.broker.table)), (CANCELLED, 0))
        self.broker.check()

    def test_one_that_was_cancelled(self) -> None:
        job, reply = self.submitted()
        self.fixture.cancel(job)
        self.fixture.join(self.theirs())
        self.assertEqual(reply.packet, (JOB_CREATED, b"H:other:%d" % THEIRS))
        self.broker.check()

    def test_one_that_is_done(self) -> None:
        self.fixture.set(results={"keep": 10.0})
        client, worker = self.fixture.connect(), self.fixture.worker(b"f")
        job = self.fixture.submit(client, unique=b"u")
        self.fixture.grab(worker)
        self.submitted()
        self.complete(worker, job)
        self.assertEqual(len(self.broker.archive), 1)
        self.fixture.join(self.theirs())
        self.assertEqual(len(self.broker.archive), 0)
        self.broker.check()

    def test_the_other_one_is_done(self) -> None:
        """For as long as its name is taken that is the answer; then it is free."""
        for unique_for, taken in ((100.0, True), (10.0, False)):
            self.fixture.set(unique_for=unique_for)
            job, reply = self.submitted()
            history = History()
            history.complete = True
            self.fixture.join(self.theirs(state=DONE, ended=START - 20, history=history.to_bytes()))
            if taken:
                self.assertEqual(reply.packet, (JOB_CREATED, b"H:other:%d" % THEIRS))
                self.assertEqual(self.journal.names, {})
            else:
                self.assertEqual(self.journal.names, {THEIRS: Naming(THEIRS)})
                self.assertIsNone(reply.packet)
                self.fixture.commit()
                self.assertEqual(reply.packet, (JOB_CREATED, job.handle))
            self.broker.check()

    def test_one_of_which_the_store_was_asked(self) -> None:
        self.broker.table.rows += 1
        self.journal.hide(b"u")
        _, reply = self.submitted()
        self.fixture.answer()
        self.fixture.join(self.theirs())
        self.assertEqual(reply.packet, (JOB_CREATED, b"H:other:%d" % THEIRS))
        self.broker.table.rows -= 1
        self.broker.check()


class PassedTests(ElsewhereTestCase):
    """A schedule's job, for a time that is over."""

    def test_it_is_none(self) -> None:
        for handle in (b"H:other:7", b""):
            job, reply = self.submitted(schedule=(b"s", 5.0))
            self.fixture.passed(handle)
            self.assertEqual(reply.packet, (JOB_CREATED, handle or b"H:test:%d" % job.number))
            self.assertEqual((job.state, len(self.broker.table)), (CANCELLED, 0))
        self.assertEqual(self.counts(), (2, 0, 2))

    def test_somebody_else_wants_it(self) -> None:
        client = self.fixture.connect()
        job, reply = self.submitted(schedule=(b"s", 5.0))
        reply.peers.append(client)
        self.fixture.passed(b"H:other:7")
        self.assertIsNone(reply.packet)
        reply.peers.clear()
        self.fixture.submit(client, unique=b"u")
        self.fixture.passed(b"H:other:7")
        self.fixture.commit()
        self.assertEqual((reply.packet, job.stored), ((JOB_CREATED, job.handle), True))

    def test_what_is_noted_of_one_that_was_there(self) -> None:
        """Others may want to know which one it was."""
        (job,) = self.fixture.store(b"work", unique=b"u")
        self.fixture.submit(None, unique=b"u", schedule=(b"s", 5.0))
        (value,) = self.journal.stored_values.values()
        self.assertEqual((value.number, value.text), (0, job.handle.decode()))


class NamesTests(ElsewhereTestCase):
    """What other servers are told of names."""

    def stored(self, unique: bytes = b"u", workload: bytes = b"work") -> Job:
        (job,) = self.fixture.store(workload, unique=unique)
        return job

    def ended(self, unique: bytes = b"u") -> Job:
        job, worker = self.stored(unique), self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.complete(worker, job)
        return job

    def test_the_name_of_one_that_is_kept(self) -> None:
        self.fixture.set(results={"keep": 100.0})
        free, _ = self.ended(), self.ended(b"")
        self.assertEqual(self.journal.names, {free.number: Naming(free.number, b"f", None)})
        self.journal.names.clear()
        self.fixture.set(results={"keep": 100.0}, unique_for=10.0)
        taken = self.ended(b"v")
        self.assertEqual(self.journal.names, {taken.number: Naming(taken.number, b"f", b"v")})

    def test_a_dead_one_that_is_done_again(self) -> None:
        self.fixture.set(retries={"fail": 0}, dead={"keep": 100.0})
        jobs = [self.stored(), self.stored(b"")]
        worker = self.fixture.worker(b"f")
        for job in jobs:
            self.fixture.grab(worker)
            self.broker.reports.work_fail(worker, job.handle, self.fixture.now)
            self.assertEqual(job.state, DEAD)
        self.assertEqual(self.journal.names, {jobs[0].number: Naming(jobs[0].number, b"f", None)})
        self.broker.operations.requeue_all(b"f", self.fixture.now)
        self.fixture.pass_time(0)
        self.fixture.answer()
        self.assertEqual(self.journal.names, {jobs[0].number: Naming(jobs[0].number, b"f", b"u")})

    def test_one_of_another_function(self) -> None:
        job, other = self.stored(), self.stored(b"")
        for each in (job, other):
            self.broker.operations.move(each, b"g", self.fixture.now)
        self.assertEqual(self.journal.names, {job.number: Naming(job.number, b"g", b"u")})

    def test_another_workload(self) -> None:
        job, other = self.stored(b"-"), self.stored()
        for each in (job, other):
            self.broker.operations.correct(each, b"other", self.fixture.now)
        self.assertEqual(self.journal.names, {job.number: Naming(job.number, b"f", job.key)})

    def test_of_one_server_nothing_is_said(self) -> None:
        self.broker.persistence.clustered = False
        self.fixture.set(results={"keep": 100.0})
        self.ended()
        self.broker.operations.move(self.stored(), b"g", self.fixture.now)
        self.fixture.submit(self.fixture.connect(), unique=b"v")
        self.assertEqual(self.journal.names, {})

    def test_of_one_that_is_not_kept_nothing_is_said(self) -> None:
        job = self.fixture.submit(self.fixture.connect(), unique=b"u")
        self.broker.operations.move(job, b"g", self.fixture.now)
        self.assertEqual(self.journal.names, {})
