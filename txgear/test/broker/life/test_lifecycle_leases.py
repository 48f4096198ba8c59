"""Tests of L{txgear.broker.life.lifecycle}: how long an attempt may take, and its worker be silent."""

from __future__ import annotations

from math import inf
from typing import Any

from txgear.broker.counts import CANCEL
from txgear.broker.ended.archive import history_of
from txgear.broker.life.workreports import WorkReports
from txgear.broker.model import Job
from txgear.broker.states import CANCELLED, DEAD, FAILED, QUEUED, RUNNING
from txgear.errors import JobNotFound
from txgear.protocol.constants import JOB_WITHDRAWN
from txgear.test.support.broker import BrokerFixture, BrokerTestCase
from txgear.test.support.clock import START


class TimesTestCase(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f")

    def history(self, job: Job) -> list[str]:
        return [attempt.reason for attempt in history_of(job).attempts]


class TimeoutTests(TimesTestCase):
    def test_the_shorter_of_both_counts(self) -> None:
        for timeout, own, seconds in ((10, 0.0, 10), (10, 4.0, 4), (3, 4.0, 3), (0, 4.0, 4)):
            fixture = BrokerFixture()
            fixture.set(timeout=timeout)
            worker = fixture.worker(b"f", timeout=own)
            job = fixture.submit(None)
            self.assertIs(fixture.grab(worker), job)
            self.assertEqual(fixture.broker.timers.deadline, START + seconds)
            fixture.pass_time(seconds)
            self.assertEqual((job.state, job.retries), (QUEUED, 1))

    def test_without_one_there_is_none(self) -> None:
        self.fixture.set(concurrency=5)
        job = self.fixture.submit(None)
        self.grabbed(self.worker, job)
        self.assertEqual(self.broker.timers.deadline, inf)

    def test_it_ends_with_the_attempt(self) -> None:
        self.fixture.set(timeout=10, retries=5, backoff=0)
        job = self.fixture.submit(None)
        self.grabbed(self.worker, job)
        self.fixture.pass_time(9)
        self.fails(self.worker, job)
        self.grabbed(self.worker, job)
        self.fixture.pass_time(9)
        self.assertEqual(job.state, RUNNING)
        self.fixture.pass_time(1)
        self.assertEqual(self.history(job), ["fail", "timeout"])

    def test_no_beat_helps(self) -> None:
        worker = self.fixture.worker(b"f", extended=True)
        self.fixture.set(timeout=10, retries=1)
        job = self.fixture.submit(None)
        self.grabbed(worker, job)
        for _ in range(9):
            self.fixture.pass_time(1)
            self.broker.reports.beat(worker, job.handle, self.fixture.now)
        self.fixture.pass_time(1)
        self.assertEqual(self.history(job), ["timeout"])

    def test_the_worker_is_told_if_it_understands(self) -> None:
        for settings in ({"timeout": 10}, {"timeout": 10, "retries": 0}, {"timeout": 10, "retries": 1}):
            for extended in (False, True):
                fixture = BrokerFixture(retries=1)
                fixture.set(**settings)
                worker = fixture.worker(b"f", extended=extended)
                job = fixture.submit(None)
                fixture.grab(worker)
                fixture.pass_time(10)
                withdrawn = [(JOB_WITHDRAWN, job.handle, b"timeout")] if extended else []
                self.assertEqual(fixture.heard(worker), withdrawn)
                with self.assertRaises(JobNotFound):
                    fixture.broker.reports.work_complete(worker, job.handle, b"", fixture.now)

    def test_it_is_told_too_when_nobody_wants_the_job_any_more(self) -> None:
        worker = self.fixture.worker(b"f", timeout=5.0, extended=True)
        job = self.fixture.submit(self.client)
        self.grabbed(worker, job)
        self.fixture.leave(self.client)
        self.fixture.pass_time(5)
        self.assertEqual(self.fixture.heard(worker), [(JOB_WITHDRAWN, job.handle, b"timeout")])
        self.assertEqual(job.state, CANCELLED)


class LeaseTests(TimesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.worker = self.fixture.worker(b"f", extended=True)

    def start(self, **settings: Any) -> Job:
        self.fixture.set(**{"lease": 10, "retries": 5, "backoff": 0, **settings})
        job = self.fixture.submit(None)
        self.grabbed(self.worker, job)
        return job

    def beat(self, job: Job) -> None:
        self.broker.reports.beat(self.worker, job.handle, self.fixture.now)

    def test_silence_takes_the_job_away(self) -> None:
        job = self.start()
        self.assertEqual(history_of(job).lease, 10.0)
        self.fixture.pass_time(9.9)
        self.assertEqual(job.state, RUNNING)
        self.fixture.pass_time(0.1)
        self.assertEqual((job.state, self.history(job)), (QUEUED, ["silent"]))
        self.assertEqual(self.fixture.heard(self.worker), [(JOB_WITHDRAWN, job.handle, b"silent")])
        with self.assertRaises(JobNotFound):
            self.beat(job)

    def test_never_from_a_worker_that_beats(self) -> None:
        job = self.start()
        for _ in range(100):
            self.fixture.pass_time(9.9)
            self.beat(job)
        self.assertEqual((job.state, job.retries), (RUNNING, 0))
        self.assertEqual(self.fixture.heard(self.worker), [])
        self.fixture.pass_time(10)
        self.assertEqual(self.history(job), ["silent"])

    def test_whatever_it_says_of_the_job_counts(self) -> None:
        job = self.start()
        says: list[tuple[Any, ...]] = [
            (WorkReports.work_data, b"data"),
            (WorkReports.work_warning, b"careful"),
            (WorkReports.work_status, b"1", b"2", (1, 2)),
            (WorkReports.beat,),
        ]
        for say, *arguments in says:
            self.fixture.pass_time(9)
            say(self.broker.reports, self.worker, job.handle, *arguments, self.fixture.now)
        self.fixture.pass_time(9)
        self.assertEqual(job.state, RUNNING)

    def test_a_word_of_one_job_says_nothing_of_another(self) -> None:
        first, second = self.start(), self.fixture.submit(None)
        self.grabbed(self.worker, second)
        self.fixture.pass_time(6)
        self.beat(second)
        self.fixture.pass_time(6)
        self.assertEqual((first.state, second.state), (QUEUED, RUNNING))

    def test_workers_that_cannot_beat_have_none(self) -> None:
        self.worker = self.fixture.worker(b"f")
        job = self.start()
        self.assertEqual((history_of(job).lease, self.broker.timers.deadline), (0.0, inf))

    def test_nor_has_a_job_that_went_on_to_one(self) -> None:
        job = self.start()
        self.fixture.pass_time(10)
        plain = self.fixture.worker(b"f")
        self.grabbed(plain, job)
        self.assertEqual((history_of(job).lease, self.broker.timers.deadline), (0.0, inf))

    def test_where_there_is_none_a_beat_is_let_pass(self) -> None:
        job = self.start(lease=0)
        self.beat(job)
        self.assertEqual((history_of(job).lease, job.state), (0.0, RUNNING))
        self.fixture.pass_time(1000)
        self.assertEqual(job.state, RUNNING)

    def test_a_job_without_a_policy_has_none(self) -> None:
        job = self.fixture.submit(None)
        self.grabbed(self.worker, job)
        self.beat(job)
        self.assertEqual(history_of(job).lease, 0.0)

    def test_the_attempt_may_be_bounded_as_well(self) -> None:
        job = self.start(timeout=25)
        for _ in range(3):
            self.fixture.pass_time(8)
            self.beat(job)
        self.fixture.pass_time(0.9)
        self.assertEqual(job.state, RUNNING)
        self.fixture.pass_time(0.1)
        self.assertEqual(self.history(job), ["timeout"])

    def test_the_worker_of_a_bounded_attempt_may_be_silent(self) -> None:
        job = self.start(timeout=25)
        self.fixture.pass_time(10)
        self.assertEqual(self.history(job), ["silent"])

    def test_a_bound_that_is_shorter_than_the_lease(self) -> None:
        job = self.start(timeout=5)
        self.fixture.pass_time(5)
        self.assertEqual(self.history(job), ["timeout"])

    def test_silence_without_retries_counts_as_a_loss(self) -> None:
        self.fixture = BrokerFixture(retries=2)
        self.worker = self.fixture.worker(b"f", extended=True)
        job = self.start(retries={})
        self.fixture.pass_time(10)
        self.assertEqual(job.state, DEAD)
        self.fixture.set(lease=10)
        job = self.fixture.submit(None)
        for state in (QUEUED, FAILED):
            self.grabbed(self.worker, job)
            self.fixture.pass_time(10)
            self.assertEqual(job.state, state)

    def test_one_that_is_cancelled_is_withdrawn(self) -> None:
        job = self.start()
        self.fixture.cancel(job)
        self.assertEqual(self.fixture.heard(self.worker), [(JOB_WITHDRAWN, job.handle, CANCEL.encode())])
        self.assertEqual((job.state, self.fixture.next_call), (CANCELLED, inf))

    def test_a_worker_that_does_not_understand_is_not_told(self) -> None:
        self.worker = self.fixture.worker(b"f")
        job = self.start()
        self.fixture.cancel(job)
        self.assertEqual(self.fixture.heard(self.worker), [])
