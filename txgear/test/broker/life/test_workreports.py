"""Tests of L{txgear.broker.life.workreports}."""

from __future__ import annotations

from txgear.broker.ended.archive import history_of
from txgear.broker.model import Peer
from txgear.broker.states import DEAD, DELAYED
from txgear.errors import JobNotFound
from txgear.protocol.constants import (
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.test.support.broker import BrokerTestCase


class ClassicTests(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f")
        self.job = self.fixture.submit(self.client)
        self.handle = self.job.handle
        self.fixture.grab(self.worker)

    def answers(self, worker: Peer, handle: bytes) -> list[tuple[str, JobNotFound]]:
        """What comes of each kind of answer that is out of place."""
        complaints = []
        for kind, arguments in (
            ("work_data", (b"",)),
            ("work_warning", (b"",)),
            ("work_status", (b"1", b"2", (1, 2))),
            ("work_complete", (b"",)),
            ("work_fail", ()),
            ("work_exception", (b"",)),
        ):
            with self.assertRaises(JobNotFound) as caught:
                getattr(self.broker.reports, kind)(worker, handle, *arguments, self.fixture.now)
            complaints.append((kind, caught.exception))
        return complaints

    def assert_not_found(self, worker: Peer, handle: bytes) -> None:
        self.assertEqual(
            [(kind, complaint.text) for kind, complaint in self.answers(worker, handle)],
            [
                ("work_data", "Job does not exist on server"),
                ("work_warning", "Job does not exist on server"),
                ("work_status", "Job given in work result not found"),
                ("work_complete", "Job given in work result not found"),
                ("work_fail", "Job given in work result not found"),
                ("work_exception", "An exception was received for a job that does not exist"),
            ],
        )
        self.assertEqual(self.fixture.outbox.take(), [])

    def test_they_are_passed_on_in_order(self) -> None:
        self.broker.reports.work_data(self.worker, self.handle, b"part", self.fixture.now)
        self.broker.reports.work_warning(self.worker, self.handle, b"careful", self.fixture.now)
        self.broker.reports.work_status(self.worker, self.handle, b"01", b"2", (1, 2), self.fixture.now)
        self.broker.reports.work_complete(self.worker, self.handle, b"all", self.fixture.now)
        self.assertEqual(
            self.fixture.heard(self.client),
            [
                (WORK_DATA, self.handle, b"part"),
                (WORK_WARNING, self.handle, b"careful"),
                (WORK_STATUS, self.handle, b"01", b"2"),
                (WORK_COMPLETE, self.handle, b"all"),
            ],
        )
        self.assert_gone(self.job)

    def test_progress_is_kept(self) -> None:
        self.broker.reports.work_status(self.worker, self.handle, b"1", b"2", (1, 2), self.fixture.now)
        job = self.broker.table.by_handle(self.handle)
        assert job is not None
        self.assertEqual(job.progress, (1, 2))

    def test_a_failure_is_final(self) -> None:
        self.broker.reports.work_fail(self.worker, self.handle, self.fixture.now)
        self.assertEqual(self.fixture.heard(self.client), [(WORK_FAIL, self.handle)])
        self.assert_gone(self.job)

    def test_an_exception_is_final_and_told_to_those_who_asked_for_it(self) -> None:
        asked, did_not = self.fixture.connect(exceptions=True), self.fixture.connect()
        job = self.fixture.submit(asked, unique=b"u")
        self.fixture.submit(did_not, unique=b"u")
        self.fixture.grab(self.worker)
        self.broker.reports.work_exception(self.worker, job.handle, b"why", self.fixture.now)
        self.assertEqual(
            self.fixture.outbox.take(),
            [(did_not, (WORK_FAIL, job.handle)), (asked, (WORK_EXCEPTION, job.handle, b"why"))],
        )
        self.assert_gone(job)

    def test_a_failure_said_after_an_exception_is_let_pass_once(self) -> None:
        self.broker.reports.work_exception(self.worker, self.handle, b"why", self.fixture.now)
        self.broker.reports.work_fail(self.worker, self.handle, self.fixture.now)
        self.assertEqual(self.fixture.heard(self.client), [(WORK_FAIL, self.handle)])
        self.assert_not_found(self.worker, self.handle)

    def test_stale_answers_are_not_found(self) -> None:
        self.broker.reports.work_complete(self.worker, self.handle, b"", self.fixture.now)
        self.fixture.outbox.take()
        self.assert_not_found(self.worker, self.handle)

    def test_answers_of_another_worker_are_not_found(self) -> None:
        self.assert_not_found(self.fixture.worker(b"f"), self.handle)
        self.assert_not_found(self.client, self.handle)

    def test_answers_to_what_was_not_grabbed_are_not_found(self) -> None:
        self.assert_not_found(self.worker, self.fixture.submit(None).handle)
        for handle in (
            b"",
            b"H:test:0",
            b"H:test:01",
            self.handle + b"\0",
            b"H:fast:1",
            b"H:test:" + b"9" * 99,
        ):
            self.assert_not_found(self.worker, handle)


class BeyondTests(BrokerTestCase):
    """Of jobs that have a policy or a history."""

    def test_a_worker_beats(self) -> None:
        self.fixture.set(lease=5)
        worker = self.fixture.worker(b"f", extended=True)
        job = self.grabbed(worker, self.fixture.submit(None))
        self.assertEqual(history_of(job).lease, 5.0)
        self.fixture.pass_time(4)
        self.broker.reports.beat(worker, job.handle, self.fixture.now)
        self.fixture.pass_time(4)
        self.data(worker, job, b"nobody keeps this")
        self.assertEqual((job.worker, history_of(job).collected), (worker, None))
        with self.assertRaises(JobNotFound):
            self.broker.reports.beat(worker, b"H:test:9", self.fixture.now)

    def test_a_job_of_the_classic_protocol_has_no_lease(self) -> None:
        job = self.grabbed(self.fixture.worker(b"f"), self.fixture.submit(None))
        self.assertEqual(history_of(job).lease, 0.0)

    def test_data_of_a_job_whose_result_is_not_kept(self) -> None:
        """It is passed on; should a policy come that keeps results, a part of this one is missing."""
        client, worker = self.fixture.connect(), self.fixture.worker(b"f")
        job = self.grabbed(worker, self.fixture.submit(client))
        self.data(worker, job, b"part")
        self.assertEqual(self.fixture.heard(client), [(WORK_DATA, job.handle, b"part")])
        self.assertIsNone(history_of(job).collected)

    def test_data_of_a_job_whose_result_is_kept(self) -> None:
        self.fixture.set(results=60)
        worker = self.fixture.worker(b"f")
        job = self.grabbed(worker, self.fixture.submit(None))
        self.data(worker, job, b"one ")
        self.complete(worker, job, b"two")
        self.assertEqual(self.brought(job), b"one two")

    def test_a_worker_asks_for_another_attempt(self) -> None:
        """After a time of its own; it may say that the job has failed as well."""
        self.fixture.set(retries=1, backoff=60)
        worker = self.fixture.worker(b"f")
        job = self.grabbed(worker, self.fixture.submit(None))
        self.broker.reports.work_retry(worker, job.handle, 5.0, b"busy", self.fixture.now)
        self.assertEqual((job.state, job.due), (DELAYED, self.fixture.now + 5.0))
        self.fails(worker, job)
        with self.assertRaises(JobNotFound):
            self.broker.reports.work_retry(worker, job.handle, 5.0, b"busy", self.fixture.now)
        self.fixture.pass_time(5.0)
        self.grabbed(worker, job)
        self.broker.reports.work_retry(worker, job.handle, 5.0, b"busy still", self.fixture.now)
        self.assertEqual([attempt.text for attempt in history_of(job).attempts], ["busy", "busy still"])
        self.assertEqual(job.state, DEAD)
