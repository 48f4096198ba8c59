"""Tests of L{txgear.broker.expiry}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.expiry import expiry, set_expiry
from txgear.broker.history import Attempt, History
from txgear.broker.model import Function, Job
from txgear.policies import CLASSIC
from txgear.test.support.broker import BrokerFixture, make_job


class ExpiryTests(SynchronousTestCase):
    def setUp(self) -> None:
        fixture = BrokerFixture()
        fixture.set(expires=10)
        self.functions = fixture.broker.functions
        self.function = self.functions.get(b"f")

    def job(self, function: Function | None = None) -> Job:
        job = make_job(function or self.function)
        job.created = 100.0
        return job

    def set(self, job: Job) -> float:
        set_expiry(self.functions, job, 150.0)
        return 0.0 if job.history is None else job.history.expires

    def test_as_its_policy_says_since_it_was_submitted(self) -> None:
        self.assertEqual(self.set(self.job()), 110.0)

    def test_where_that_is_not_known_from_now_on(self) -> None:
        job = self.job()
        job.created = 0.0
        self.assertEqual(self.set(job), 160.0)

    def test_without_a_policy_never(self) -> None:
        job = self.job(self.functions.get(b"g"))
        self.assertEqual((self.set(job), job.history), (0.0, None))

    def test_nor_where_it_says_nothing(self) -> None:
        job = self.job()
        self.function.policy = CLASSIC.with_settings({"timeout": 3})
        self.assertEqual((self.set(job), job.history), (0.0, None))

    def test_by_settings_of_its_own(self) -> None:
        job = self.job(self.functions.get(b"g"))
        job.history = History({"expires": 3})
        self.assertEqual(self.set(job), 103.0)

    def test_one_that_has_been_tried_does_not(self) -> None:
        job = self.job()
        job.retries = 1
        self.assertEqual((self.set(job), job.history), (0.0, None))
        self.assertEqual(expiry(self.functions, job, self.function, 150.0), 0.0)

    def test_nor_one_whose_worker_has_failed(self) -> None:
        job = self.job()
        job.history = History()
        job.history.add_attempt(Attempt(1.0, 2.0, "fail", "worker", "why"))
        self.assertEqual(self.set(job), 0.0)

    def test_as_that_of_another_function(self) -> None:
        self.assertEqual(expiry(self.functions, self.job(), self.functions.get(b"g"), 150.0), 0.0)
