"""Tests of L{txgear.broker.broker}: each refusal of a submit says by a word of which kind it is."""

from __future__ import annotations

from typing import Any

from txgear.broker.tenants import Quota
from txgear.errors import (
    DRAINING,
    QUEUE_FULL,
    QUOTA_FULL,
    STORE_UNAVAILABLE,
    TOO_FAST,
    QueueError,
    server_error,
)
from txgear.policies import Rate
from txgear.test.support.broker import DurableBrokerTestCase


class WhyTests(DurableBrokerTestCase):
    def assert_refused(self, why: str, *arguments: Any, **rest: Any) -> None:
        with self.assertRaises(QueueError) as caught:
            self.fixture.submit(*arguments, **rest)
        self.assertEqual(caught.exception.why, why)

    def test_a_queue_that_is_full(self) -> None:
        for settings in ({"max_queue": 1}, {"max_bytes": 1}):
            self.fixture.set(**settings)
            client = self.fixture.connect()
            self.fixture.submit(client, workload=b"w")
            self.assert_refused(QUEUE_FULL, client, workload=b"w")
            self.fixture.leave(client)
        self.fixture.set()
        self.broker.operations.limit_function(b"f", (1, 1, 1))
        self.fixture.submit(None)
        self.assert_refused(QUEUE_FULL, None)

    def test_a_quota(self) -> None:
        client = self.fixture.tenant("web")
        for quota, why in (
            (Quota(queued=1), QUOTA_FULL),
            (Quota(bytes=1), QUOTA_FULL),
            (Quota(submits=Rate(1.0, 1)), TOO_FAST),
        ):
            self.fixture.quotas(web=quota)
            self.fixture.submit(client, workload=b"w")
            self.assert_refused(why, client, workload=b"w")
            self.fixture.leave(client)
            client = self.fixture.tenant("web")

    def test_a_server_that_drains(self) -> None:
        self.fixture.drain()
        self.assert_refused(DRAINING, None)

    def test_one_that_drains_and_has_an_heir(self) -> None:
        """It takes what the other one gets, and hands it out no more."""
        self.fixture.submit(None)
        self.broker.drain(self.fixture.now, True)
        job = self.fixture.submit(None)
        self.fixture.commit()
        self.assertTrue(job.stored)
        worker = self.fixture.worker()
        self.assertIsNone(self.broker.grab(worker, self.fixture.now))
        self.assert_refused(DRAINING, self.fixture.connect())

    def test_a_store_that_does_not_answer(self) -> None:
        self.journal.unavailable = "no"
        self.assert_refused(STORE_UNAVAILABLE, None)

    def test_a_store_that_another_server_may_have(self) -> None:
        """Who joins a job there relies on it; who joins one that is on its way hears of it with that."""
        stored = self.fixture.submit(None, unique=b"u")
        stored.stored = True
        self.fixture.submit(None, unique=b"v")
        self.broker.dispatcher.trust(self.fixture.now + 1.0, self.fixture.now)
        self.assertIs(self.fixture.submit(None, unique=b"u"), stored)
        self.broker.dispatcher.trust(self.fixture.now, self.fixture.now)
        self.fixture.submit(None, unique=b"v")
        self.journal.unavailable = "no"
        self.assert_refused(STORE_UNAVAILABLE, None, unique=b"u")

    def test_no_number_is_left(self) -> None:
        table = self.broker.table
        table.reserved = table.last_number
        self.assert_refused(STORE_UNAVAILABLE, None)

    def test_one_that_was_sent(self) -> None:
        """No packet has the word."""
        error = server_error(b"QUEUE_ERROR", b"Job queue is full")
        assert isinstance(error, QueueError)
        self.assertEqual((error.why, error.text), ("", "Job queue is full"))
