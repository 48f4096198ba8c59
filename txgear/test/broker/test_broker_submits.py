"""Tests of L{txgear.broker.broker}: what a submit may say beside what is to be done."""

from __future__ import annotations

from typing import Any

from txgear.broker.history import History
from txgear.broker.model import Job
from txgear.broker.records import SCHEDULED, StoredValue
from txgear.broker.states import DEAD
from txgear.errors import InvalidArgument, QueueError
from txgear.protocol.traces import Trace
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase
from txgear.test.support.clock import START

TRACE = Trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=1")


class SettingsTests(BrokerTestCase):
    """Settings of one job."""

    def setUp(self) -> None:
        super().setUp()
        self.worker = self.fixture.worker(b"f")

    def test_those_that_make_no_sense_are_refused(self) -> None:
        for settings, text in (
            ({"retry": 1}, "retry: there is no such setting"),
            ({"retries": -1}, "retries: a whole number"),
            ({"rate": "1/s"}, "rate: there is no such setting"),
        ):
            with self.assertRaises(InvalidArgument) as caught:
                self.fixture.submit(None, b"g", settings=settings)
            self.assertIn(text, caught.exception.text)
        self.assertEqual(self.broker.functions.by_name.keys(), {b"f"})

    def test_of_one_that_joins_another_they_are_let_pass(self) -> None:
        job = self.fixture.submit(None, unique=b"u")
        self.assertIs(self.fixture.submit(None, unique=b"u", settings={"retries": 5}), job)
        self.assertIsNone(job.history)

    def test_they_are_over_those_of_the_function(self) -> None:
        self.fixture.set(timeout=100, retries=0)
        job = self.fixture.submit(None, settings={"timeout": 5})
        self.grabbed(self.worker, job)
        self.fixture.pass_time(5)
        self.assertEqual(job.state, DEAD)


class TraceTests(DurableBrokerTestCase):
    """Where the work on a job belongs."""

    def test_it_is_kept(self) -> None:
        job = self.fixture.submit(None, trace=TRACE)
        history = job.history
        assert history is not None
        self.assertEqual((history.trace, history.settings), (TRACE, {}))
        [adding] = self.journal.adding
        self.assertEqual(History.from_bytes(adding.record.history or b"").trace, TRACE)

    def test_of_one_that_joins_another_it_is_let_pass(self) -> None:
        job = self.fixture.submit(None, unique=b"u")
        self.assertIs(self.fixture.submit(None, unique=b"u", trace=TRACE), job)
        self.assertIsNone(job.history)


class ScheduleTests(DurableBrokerTestCase):
    """That a schedule has run is remembered with its job."""

    def submit(self, when: float, **rest: Any) -> Job:
        return self.fixture.submit(None, schedule=(b"nightly", when), **rest)

    def assert_marked(self, when: float, number: int) -> None:
        mark = StoredValue(SCHEDULED, b"nightly", when, number)
        self.assertEqual(self.journal.stored_values, {(SCHEDULED, b"nightly"): mark})

    def test_with_a_job_of_its_own(self) -> None:
        self.assert_marked(START, self.submit(START).number)

    def test_with_the_one_that_it_joins_until_that_is_stored(self) -> None:
        job = self.submit(START, unique=b"u")
        self.assertIs(self.submit(START + 1, unique=b"u"), job)
        self.assert_marked(START + 1, job.number)
        self.fixture.commit()
        self.submit(START + 2, unique=b"u")
        self.assert_marked(START + 2, 0)

    def test_alone_where_the_unique_is_still_taken(self) -> None:
        self.fixture.set(unique_for=60)
        worker = self.fixture.worker(b"f")
        (job,) = self.fixture.store(b"work", unique=b"u")
        self.complete(worker, self.grabbed(worker, job))
        self.assertIs(self.submit(START, unique=b"u"), job)
        self.assert_marked(START, 0)

    def test_not_if_it_is_refused(self) -> None:
        self.fixture.set(max_queue=1)
        self.fixture.store(b"work")
        with self.assertRaises(QueueError):
            self.submit(START)
        self.assertEqual(self.journal.stored_values, {})
