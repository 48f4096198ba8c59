"""Tests of L{txgear.broker.broker}: what peers say of jobs that have a policy or a history."""

from __future__ import annotations

from txgear.broker.archive import history_of
from txgear.broker.records import SCHEDULED
from txgear.broker.states import DEAD, DELAYED
from txgear.errors import JobNotFound
from txgear.protocol.constants import WORK_DATA
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase


class VerbTests(BrokerTestCase):
    def test_a_job_by_its_unique(self) -> None:
        """Of a function, or the one that had it last."""
        self.fixture.set("*", results=60)
        worker = self.fixture.worker(b"f", b"g")
        self.assertIsNone(self.broker.named(b"f", b"u"))
        job, other = (self.fixture.submit(None, name, unique=b"u") for name in (b"f", b"g"))
        for _ in range(2):
            self.assertIs(self.broker.named(b"f", b"u"), job)
            self.assertIs(self.broker.named(b"", b"u"), other)
            self.assertIsNone(self.broker.named(b"h", b"u"))
            for running in self.fixture.grab_all(worker):
                self.complete(worker, running)

    def test_a_worker_beats(self) -> None:
        self.fixture.set(lease=5)
        worker = self.fixture.worker(b"f", extended=True)
        job = self.grabbed(worker, self.fixture.submit(None))
        self.assertEqual(self.broker.lease(job), 5.0)
        self.fixture.pass_time(4)
        self.broker.beat(worker, job.handle, self.fixture.now)
        self.fixture.pass_time(4)
        self.data(worker, job, b"nobody keeps this")
        self.assertEqual((job.worker, history_of(job).collected), (worker, None))
        with self.assertRaises(JobNotFound):
            self.broker.beat(worker, b"H:test:9", self.fixture.now)

    def test_a_job_of_the_classic_protocol_has_no_lease(self) -> None:
        job = self.grabbed(self.fixture.worker(b"f"), self.fixture.submit(None))
        self.assertEqual(self.broker.lease(job), 0.0)

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
        self.broker.work_retry(worker, job.handle, 5.0, b"busy", self.fixture.now)
        self.assertEqual((job.state, job.due), (DELAYED, self.fixture.now + 5.0))
        self.fails(worker, job)
        with self.assertRaises(JobNotFound):
            self.broker.work_retry(worker, job.handle, 5.0, b"busy", self.fixture.now)
        self.fixture.pass_time(5.0)
        self.grabbed(worker, job)
        self.broker.work_retry(worker, job.handle, 5.0, b"busy still", self.fixture.now)
        self.assertEqual([attempt.text for attempt in history_of(job).attempts], ["busy", "busy still"])
        self.assertEqual(job.state, DEAD)


class DurableVerbTests(DurableBrokerTestCase):
    def test_what_an_answer_waits_for(self) -> None:
        job = self.fixture.submit(None)
        self.assertIs(job.reply_for(background=False), job.reply)
        self.assertIsNotNone(job.reply)
        self.fixture.commit()
        self.assertIsNone(job.reply_for(background=True))

    def test_a_schedule_whose_job_is_still_done(self) -> None:
        """Its time is over all the same."""
        self.fixture.set(unique_for=60)
        worker = self.fixture.worker(b"f")
        self.fixture.store(b"w", unique=b"u")
        job = self.fixture.grab(worker)
        assert job is not None
        self.complete(worker, job)
        for schedule in (None, (b"nightly", 17.0)):
            self.assertIs(self.fixture.submit(None, unique=b"u", schedule=schedule), job)
        value = self.journal.stored_values[SCHEDULED, b"nightly"]
        self.assertEqual((value.value, value.number), (17.0, 0))
