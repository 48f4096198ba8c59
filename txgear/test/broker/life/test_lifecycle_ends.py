"""Tests of L{txgear.broker.life.lifecycle}: what is told of an attempt's end, and what is kept of a job's."""

from __future__ import annotations

from collections.abc import Callable

from txgear.broker.ended.archive import history_of
from txgear.broker.life.lifecycle import UNREAD_SECONDS
from txgear.broker.model import Job
from txgear.broker.records import UNREADABLE_SECONDS
from txgear.broker.states import DELAYED, DONE, QUEUED, RUNNING
from txgear.policies import SILENT, TIMEOUT
from txgear.protocol.constants import JOB_ASSIGN, RESTARTED, WORK_DATA, WORK_FAIL, WORK_STATUS, WORK_WARNING
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase


class WatchTests(BrokerTestCase):
    def test_a_watcher_hears_of_the_end_once(self) -> None:
        job = self.fixture.submit(None)
        ends = self.outcome(job)
        unwatch = self.broker.watch(job, lambda *end: self.fail("nobody wants to know any more"))
        unwatch(self.fixture.now)
        unwatch(self.fixture.now)
        worker = self.fixture.worker(b"f")
        self.complete(worker, self.grabbed(worker, job))
        self.assertEqual(ends, [(DONE, b"", b"done", True)])


class DoneTests(BrokerTestCase):
    """What is kept of a job that is done, and nothing else of which is to be said."""

    def done(self, unique: bytes = b"u", **settings: object) -> tuple[object, ...]:
        """How such a job is kept: its result, for how long, and whether that is all of it."""
        self.fixture.set(**settings)
        job = self.fixture.submit(None, unique=unique)
        worker = self.fixture.worker(b"f")
        self.complete(worker, self.grabbed(worker, job))
        self.broker.check()
        self.assertEqual((job.state, worker.running, job.function.counts.completed), (DONE, {}, 1))
        if job.number not in self.broker.archive.jobs:
            return ()
        return bytes(job.workload), job.due - self.fixture.now, history_of(job).complete

    def test_its_result(self) -> None:
        self.assertEqual(self.done(results=60), (b"done", 60.0, True))

    def test_a_result_for_which_there_is_just_room(self) -> None:
        self.assertEqual(self.done(results={"keep": 60, "bytes": 4}), (b"done", 60.0, True))

    def test_a_result_that_is_too_large(self) -> None:
        self.assertEqual(self.done(results={"keep": 60, "bytes": 3}), (b"", 60.0, False))

    def test_its_unique_stays_taken_for_longer(self) -> None:
        self.assertEqual(self.done(results=60, unique_for=90), (b"done", 90.0, True))

    def test_nothing(self) -> None:
        self.assertEqual(self.done(retries=3), ())
        self.assertEqual(self.broker.archive.jobs, {})


class FollowTests(BrokerTestCase):
    """Those who want to know all that happens to a job."""

    def test_a_follower_hears_what_clients_hear_and_how_attempts_go(self) -> None:
        self.fixture.set(retries=1)
        job = self.fixture.submit(None)
        told: list[tuple[object, ...]] = []
        unfollow = self.broker.lifecycle.follow(job, lambda kind, arguments: told.append((kind, *arguments)))
        for worker in (self.fixture.worker(b"f"), self.fixture.worker(b"f")):
            self.grabbed(worker, job)
            handle = job.handle
            self.broker.reports.work_data(worker, handle, b"some", self.fixture.now)
            self.broker.reports.work_status(worker, handle, b"1", b"2", (1, 2), self.fixture.now)
            self.broker.reports.work_warning(worker, handle, b"oh", self.fixture.now)
            said = [
                (JOB_ASSIGN,),
                (WORK_DATA, handle, b"some"),
                (WORK_STATUS, handle, b"1", b"2"),
                (WORK_WARNING, handle, b"oh"),
            ]
            self.assertEqual(told[:4], said)
            del told[:4]
            if job.retries == 0:
                self.broker.reports.work_fail(worker, handle, self.fixture.now)
                self.assertEqual(told.pop(), (RESTARTED,))
                self.fixture.pass_time(60)
        unfollow(self.fixture.now)
        unfollow(self.fixture.now)
        self.broker.reports.work_data(worker, handle, b"more", self.fixture.now)
        self.assertEqual(told, [])

    def test_each_of_several_is_told_and_may_leave_meanwhile(self) -> None:
        job = self.fixture.submit(None)
        told: list[int] = []
        leave: list[Callable[[float], None]] = []

        def first(kind: int, arguments: object) -> None:
            told.append(1)
            leave[0](self.fixture.now)

        leave.append(self.broker.lifecycle.follow(job, first))
        self.broker.lifecycle.follow(job, lambda kind, arguments: told.append(2))
        worker = self.fixture.worker(b"f")
        self.grabbed(worker, job)
        handle = job.handle
        self.broker.reports.work_data(worker, handle, b"some", self.fixture.now)
        self.assertEqual(told, [1, 2, 2])


class TakenBackTests(BrokerTestCase):
    """A worker that is there and has taken too long, or says nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.told: list[tuple[Job, str, float]] = []
        self.broker.lifecycle.witness = self

    def damaged(self, handle: bytes, why: str) -> None:
        raise AssertionError(handle)

    def missing(self, function: bytes, count: int) -> None:
        raise AssertionError(function)

    def taken_back(self, job: Job, reason: str, now: float) -> None:
        """We are the witness."""
        self.assertEqual(job.state, RUNNING)
        self.told.append((job, reason, now))

    def test_whoever_watches_is_told_why(self) -> None:
        for reason, settings in ((TIMEOUT, {"timeout": 5}), (SILENT, {"lease": 5})):
            self.fixture.set(**settings)
            job = self.fixture.submit(self.fixture.connect())
            self.grabbed(self.fixture.worker(b"f", extended=True), job)
            self.fixture.pass_time(5)
            self.assertEqual(self.told.pop(), (job, reason, self.fixture.now))
            self.fixture.cancel(job)

    def test_not_while_what_it_said_has_not_been_read(self) -> None:
        worker = self.fixture.worker(b"f", timeout=5.0)
        job = self.fixture.submit(None)
        self.grabbed(worker, job)
        worker.unread = True
        self.fixture.pass_time(5)
        self.assertEqual((job.state, job.due), (RUNNING, self.fixture.now + UNREAD_SECONDS))
        worker.unread = False
        self.fixture.pass_time(UNREAD_SECONDS)
        self.assertEqual((job.state, len(self.told)), (QUEUED, 1))


class RestartedTests(BrokerTestCase):
    def test_who_has_had_data_and_understands_it_is_told_that_they_are_void(self) -> None:
        self.fixture.set(retries=1, backoff=0, results=60)
        old, new = self.fixture.connect(), self.fixture.connect()
        new.restarts = True
        worker = self.fixture.worker(b"f")
        for data in (b"", b"data"):
            self.fixture.submit(None, unique=b"u")
            job = self.fixture.submit(old, unique=b"u")
            self.fixture.submit(new, unique=b"u")
            self.grabbed(worker, job)
            if data:
                self.data(worker, job, data)
            self.fails(worker, job)
            sent = self.fixture.outbox.take()
            heard = {peer: [message for receiver, message in sent if receiver is peer] for peer in (old, new)}
            both = [(WORK_DATA, job.handle, data)] if data else []
            self.assertEqual(heard, {old: both, new: [*both, (RESTARTED, job.handle)] if data else both})
            self.fixture.cancel(job)
            self.fixture.outbox.take()


class KeptTests(DurableBrokerTestCase):
    """What is kept of a job that is done."""

    def setUp(self) -> None:
        super().setUp()
        self.worker = self.fixture.worker(b"f")

    def do(self, data: bytes = b"") -> Job:
        """A job that is done."""
        (job,) = self.fixture.store(b"work", unique=b"u")
        self.grabbed(self.worker, job)
        if data:
            self.data(self.worker, job, data)
        self.complete(self.worker, job)
        return job

    def assert_kept(self, job: Job, complete: bool | None, result: bytes) -> None:
        self.assertIs(history_of(job).complete, complete)
        self.assertEqual(self.journal.results[job.number], result)

    def test_its_data_and_its_result(self) -> None:
        self.fixture.set(results=60)
        job = self.do(b"data")
        self.assert_kept(job, True, b"datadone")
        self.assertEqual((history_of(job).data_size, history_of(job).result_size), (4, 4))

    def test_its_unique_alone(self) -> None:
        self.fixture.set(unique_for=60)
        self.assert_kept(self.do(), None, b"")

    def test_what_is_too_large_is_not(self) -> None:
        self.fixture.set(results={"keep": 60, "bytes": 5})
        self.assert_kept(self.do(b"data"), False, b"")
        self.broker.archive.forget(next(iter(self.broker.archive.jobs.values())))
        self.assert_kept(self.do(b"datadata"), False, b"")

    def test_nor_what_the_store_has_no_room_for(self) -> None:
        self.fixture.set(results=60)
        self.journal.room = 3
        self.assert_kept(self.do(), False, b"")

    def test_who_brings_more_than_the_store_can_take_is_read_no_more_for_now(self) -> None:
        self.fixture.set(results=60)
        self.journal.crowded = True
        for times, data in enumerate((b"", b"data"), 1):
            self.do(data)
            self.assertEqual(self.fixture.outbox.paused, [self.worker] * times)
            self.fixture.commit()
            self.broker.archive.forget(next(iter(self.broker.archive.jobs.values())))


class UnreadableTests(DurableBrokerTestCase):
    queue_memory = 0

    def test_those_who_wait_are_told_and_it_is_tried_again(self) -> None:
        """Nobody knows for how long it cannot be read."""
        client = self.fixture.connect()
        job = self.fixture.submit(None, unique=b"u", workload=b"work")
        self.fixture.submit(client, unique=b"u")
        self.fixture.commit()
        self.fixture.worker(b"f")
        self.journal.loading = None
        self.broker.store_events.loaded([], self.fixture.now, [job])
        self.assertEqual(self.fixture.heard(client), [(WORK_FAIL, job.handle)])
        self.assertEqual((job.state, job.due), (DELAYED, self.fixture.now + UNREADABLE_SECONDS))
        self.assertEqual((client.attached, tuple(job.clients)), ({}, ()))
