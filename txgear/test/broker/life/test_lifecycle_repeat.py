"""Tests of L{txgear.broker.life.lifecycle}: what is said of a job that has ended and is still known."""

from __future__ import annotations

from txgear.broker.model import Job
from txgear.protocol.constants import WORK_COMPLETE, WORK_DATA, WORK_FAIL
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase, Heard


class RepeatTests(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f", b"g")
        self.fixture.set("*", results=60, unique_for=60)

    def do(self, function: bytes = b"f", data: bytes = b"") -> Job:
        """A background job, done."""
        job = self.fixture.submit(None, function, unique=b"u")
        if self.fixture.journal is not None:
            self.fixture.commit()
        self.grabbed(self.worker, job)
        if data:
            self.data(self.worker, job, data)
        self.complete(self.worker, job)
        return job

    def repeated(self, job: Job) -> list[Heard]:
        self.broker.repeat(self.client, job)
        return self.fixture.heard(self.client)

    def test_its_data_and_its_result(self) -> None:
        job = self.do(data=b"data")
        told = [(WORK_DATA, job.handle, b"data"), (WORK_COMPLETE, job.handle, b"done")]
        self.assertEqual(self.repeated(job), told)

    def test_its_result_alone(self) -> None:
        job = self.do()
        self.assertEqual(self.repeated(job), [(WORK_COMPLETE, job.handle, b"done")])

    def test_that_it_is_gone(self) -> None:
        self.fixture.set("*", results={"keep": 60, "bytes": 1}, unique_for=60)
        job = self.do()
        self.assertEqual(self.repeated(job), [(WORK_FAIL, job.handle)])


class StoredRepeatTests(DurableBrokerTestCase, RepeatTests):
    """The store has it."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.fixture.connect()
        self.worker = self.fixture.worker(b"f", b"g")
        self.fixture.set("*", results=60, unique_for=60)

    def repeated(self, job: Job) -> list[Heard]:
        self.broker.store_events.result_stored([job.number])
        self.broker.repeat(self.client, job)
        self.journal.answer_readings()
        return self.fixture.heard(self.client)

    def test_who_has_gone_meanwhile_is_told_nothing(self) -> None:
        job = self.do()
        self.broker.store_events.result_stored([job.number])
        self.broker.repeat(self.client, job)
        self.fixture.leave(self.client)
        self.journal.answer_readings()
        self.assertEqual(self.fixture.heard(self.client), [])

    def test_something_else_than_it_brought_is_not_passed_off_as_that(self) -> None:
        job = self.do()
        self.journal.results[job.number] = b"other than that"
        self.assertEqual(self.repeated(job), [(WORK_FAIL, job.handle)])
