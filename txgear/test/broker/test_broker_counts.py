"""Tests of L{txgear.broker.broker}: what is counted, and where."""

from __future__ import annotations

from txgear.broker import records as kinds
from txgear.broker.counts import Counts, bucket
from txgear.broker.history import History
from txgear.broker.records import JobRecord
from txgear.broker.rights import SEE, SUBMIT
from txgear.broker.states import DEAD
from txgear.errors import AccessDenied, ArgumentTooLarge, InvalidArgument, QueueError
from txgear.protocol.constants import MAX_UNIQUE
from txgear.test.support.broker import BrokerFixture, BrokerTestCase, DurableBrokerTestCase


class CountedTestCase(BrokerTestCase):
    def counts(self, name: bytes = b"f") -> Counts:
        return self.broker.statistics.by_name[name]

    def times(self, histogram: list[int]) -> dict[int, int]:
        """What is in a histogram, by buckets."""
        return {index: number for index, number in enumerate(histogram) if number}


class SubmitTests(CountedTestCase):
    def test_one_that_is_taken(self) -> None:
        self.fixture.submit(self.fixture.connect())
        self.fixture.submit(None, b"g")
        self.assertEqual((self.counts().submitted, self.counts(b"g").submitted), (1, 1))

    def test_one_that_joins(self) -> None:
        client = self.fixture.connect()
        for _ in range(3):
            self.fixture.submit(client, unique=b"u")
        self.assertEqual((self.counts().submitted, self.counts().joined), (1, 2))

    def test_one_that_is_done_already(self) -> None:
        self.fixture.set(unique_for=60, results=60)
        worker = self.fixture.worker(b"f")
        self.complete(worker, self.grabbed(worker, self.fixture.submit(None, unique=b"u")))
        self.fixture.submit(None, unique=b"u")
        counts = self.counts()
        self.assertEqual((counts.submitted, counts.joined, counts.completed), (1, 1, 1))

    def test_refusals(self) -> None:
        """By a word; of a function of which nothing is known they count for the others."""
        self.fixture.worker(b"f")
        self.broker.operations.limit_function(b"f", (1, 1, 1))
        self.fixture.submit(None)
        self.assertRaises(QueueError, self.fixture.submit, None)
        self.assertRaises(ArgumentTooLarge, self.fixture.submit, None, unique=b"u" * (MAX_UNIQUE + 1))
        self.assertRaises(InvalidArgument, self.fixture.submit, None, settings={"nonsense": 1})
        self.assertEqual(
            self.counts().refused, {"queue_full": 1, "argument_too_large": 1, "invalid_argument": 1}
        )
        denied = self.fixture.tenant("web", (SUBMIT, b"g"))
        self.assertRaises(AccessDenied, self.fixture.submit, denied, b"g")
        self.assertEqual(self.broker.statistics.other.refused, {"access_denied": 1})
        self.assertNotIn(b"g", self.broker.statistics.by_name)

    def test_a_join_that_is_refused(self) -> None:
        self.fixture.submit(None, unique=b"u")
        denied = self.fixture.tenant("web", (SEE, b"f"))
        self.assertRaises(AccessDenied, self.fixture.submit, denied, unique=b"u")
        self.assertEqual((self.counts().joined, self.counts().refused), (0, {"access_denied": 1}))


class EndTests(CountedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.worker = self.fixture.worker(b"f")

    def test_done(self) -> None:
        job = self.grabbed(self.worker, self.fixture.submit(None))
        self.fixture.now += 5.0
        self.complete(self.worker, job)
        counts = self.counts()
        self.assertEqual((counts.completed, counts.failed, counts.ended), (1, {}, self.fixture.now))

    def test_done_and_kept(self) -> None:
        self.fixture.set(results=60)
        self.complete(self.worker, self.grabbed(self.worker, self.fixture.submit(None)))
        self.assertEqual((self.counts().completed, self.counts().ended), (1, self.fixture.now))

    def test_failed(self) -> None:
        self.fails(self.worker, self.grabbed(self.worker, self.fixture.submit(None)))
        job = self.grabbed(self.worker, self.fixture.submit(None))
        self.broker.reports.work_exception(self.worker, job.handle, b"why", self.fixture.now)
        self.assertEqual(self.counts().failed, {"fail": 1, "exception": 1})
        self.assertEqual((self.counts().ended, self.counts().retried), (self.fixture.now, 0))

    def test_lost_and_tried_again(self) -> None:
        self.fixture.submit(None)
        self.fixture.grab(self.worker)
        self.fixture.leave(self.worker)
        counts = self.counts()
        self.assertEqual((counts.retried, counts.failed, counts.ended), (1, {}, 0.0))

    def test_dead(self) -> None:
        """An operator has it done again: it comes and ends once more."""
        self.fixture.set(retries={"fail": 0})
        job = self.fixture.submit(None)
        self.fails(self.worker, self.grabbed(self.worker, job))
        self.assertEqual((job.state, self.counts().failed), (DEAD, {"fail": 1}))
        self.broker.operations.requeue(job.handle, self.fixture.now)
        self.complete(self.worker, self.grabbed(self.worker, job))
        counts = self.counts()
        self.assertEqual((counts.submitted, counts.requeued, counts.completed), (1, 1, 1))

    def test_cancelled(self) -> None:
        self.fixture.cancel(self.fixture.submit(None))
        self.assertEqual(self.counts().failed, {"cancelled": 1})

    def test_abandoned(self) -> None:
        """While it is queued, and while it runs: then it counts when its attempt has ended."""
        waiting, running = self.fixture.connect(), self.fixture.connect()
        self.fixture.submit(running)
        self.fixture.grab(self.worker)
        self.fixture.submit(waiting)
        self.fixture.leave(waiting)
        self.assertEqual(self.counts().failed, {"abandoned": 1})
        self.fixture.leave(running)
        self.fixture.leave(self.worker)
        self.assertEqual(self.counts().failed, {"abandoned": 2})

    def test_expired(self) -> None:
        self.fixture.set(expires=10)
        self.fixture.submit(None)
        self.fixture.pass_time(11.0)
        self.assertEqual(self.counts().failed, {"expired": 1})


class TimesTests(CountedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.worker = self.fixture.worker(b"f")

    def test_it_waits_and_runs(self) -> None:
        job = self.fixture.submit(None)
        self.fixture.now += 3.0
        self.fixture.grab(self.worker)
        self.fixture.now += 0.5
        self.complete(self.worker, job)
        counts = self.counts()
        self.assertEqual((counts.waited, counts.ran), (3.0, 0.5))
        self.assertEqual(self.times(counts.waits), {bucket(3.0): 1})
        self.assertEqual(self.times(counts.runs), {bucket(0.5): 1})

    def test_it_waits_from_its_time_on(self) -> None:
        self.fixture.submit(None, delay=100.0)
        self.fixture.pass_time(102.0)
        self.fixture.grab(self.worker)
        self.assertEqual(self.counts().waited, 2.0)

    def test_each_attempt_waits_and_runs(self) -> None:
        self.fixture.set(retries={"fail": 1}, backoff=10)
        job = self.fixture.submit(None)
        self.fixture.now += 1.0
        self.fixture.grab(self.worker)
        self.fixture.now += 2.0
        self.fails(self.worker, job)
        self.fixture.pass_time(14.0)
        self.fixture.grab(self.worker)
        counts = self.counts()
        self.assertEqual((counts.waited, counts.ran, counts.retried), (5.0, 2.0, 1))
        self.assertEqual(self.times(counts.waits), {bucket(1.0): 1, bucket(4.0): 1})

    def test_since_when_a_job_waits(self) -> None:
        """The oldest of all priorities; of nothing that is not ready."""
        function = self.fixture.submit(None, delay=100.0).function
        self.assertEqual(function.waiting_since, 0.0)
        first = self.fixture.now = self.fixture.now + 1.0
        for priority in (2, 0, 1, 0):
            self.fixture.submit(None, priority=priority)
            self.fixture.now += 1.0
        self.assertEqual(function.waiting_since, first)
        for _ in range(3):
            self.fixture.grab(self.worker)
            self.assertEqual(function.waiting_since, first)
        self.fixture.grab(self.worker)
        self.assertEqual(function.waiting_since, 0.0)


class PeerTests(CountedTestCase):
    def test_when_it_asked_last(self) -> None:
        worker = self.fixture.worker(b"f")
        self.assertEqual(worker.asked, 0.0)
        self.fixture.grab(worker)
        self.assertEqual(worker.asked, self.fixture.now)
        self.fixture.now += 5.0
        self.fixture.sleep(worker)
        self.assertEqual(worker.asked, self.fixture.now)

    def test_when_the_last_worker_went(self) -> None:
        one, other = self.fixture.worker(b"f", b"g"), self.fixture.worker(b"f")
        self.fixture.now += 5.0
        self.fixture.leave(one)
        self.assertEqual((self.counts().worker_left, self.counts(b"g").worker_left), (0.0, self.fixture.now))
        self.fixture.now += 5.0
        self.broker.cant_do(other, b"f", self.fixture.now)
        self.assertEqual(self.counts().worker_left, self.fixture.now)
        # And it is known when nothing else is.
        self.assertNotIn(b"f", self.broker.functions.by_name)


class DurableTests(DurableBrokerTestCase, CountedTestCase):
    def test_what_the_store_refuses(self) -> None:
        self.fixture.submit(None)
        self.fixture.refuse()
        counts = self.counts()
        self.assertEqual((counts.submitted, counts.failed), (1, {"not_stored": 1}))
        self.assertEqual(counts.refused, {"store_refused": 1})

    def test_what_the_store_refuses_while_somebody_waits(self) -> None:
        client = self.fixture.connect()
        self.fixture.submit(client, unique=b"u")
        self.fixture.submit(None, unique=b"u")
        self.fixture.refuse()
        counts = self.counts()
        self.assertEqual((counts.joined, counts.failed, counts.refused), (1, {}, {"store_refused": 1}))

    def test_what_the_store_refuses_when_nobody_waits_any_more(self) -> None:
        client = self.fixture.connect()
        self.fixture.submit(client, unique=b"u")
        self.fixture.submit(None, unique=b"u")
        self.fixture.leave(client)
        self.fixture.refuse()
        self.assertEqual(self.counts().failed, {"abandoned": 1})

    def test_what_it_has_lost(self) -> None:
        self.fixture = BrokerFixture(journal=self.journal, queue_memory=0)
        (job,) = self.fixture.store(b"workload")
        self.journal.lose(job)
        self.fixture.worker(b"f")
        self.fixture.read()
        self.assertEqual(self.counts().failed, {"unreadable": 1})

    def test_what_is_found_there(self) -> None:
        """It has waited since it was submitted; since when it could begin nobody knows."""
        then = self.fixture.now
        self.fixture.store(b"one", b"two", function=b"f")
        self.fixture.store(b"later", function=b"g", due=then + 30.0)
        self.fixture.store(b"much later", function=b"h", due=then + 300.0)
        self.fixture.now += 60.0
        self.fixture.restart()
        self.fixture.pass_time(0)
        self.assertEqual((self.counts().restored, self.counts().submitted), (2, 0))
        since = {name: function.waiting_since for name, function in self.broker.functions.by_name.items()}
        self.assertEqual(since, {b"f": then, b"g": self.fixture.now, b"h": 0.0})

    def test_what_is_found_there_and_has_been_tried(self) -> None:
        """Nobody knows since when it waits."""
        self.fixture.store(b"one")
        worker = self.fixture.worker(b"f")
        self.fixture.set(retries={"fail": 3})
        job = self.fixture.grab(worker)
        assert job is not None
        self.fails(worker, job)
        self.fixture.now += 60.0
        self.fixture.restart()
        self.fixture.pass_time(0)
        self.assertEqual(self.broker.functions.by_name[b"f"].waiting_since, self.fixture.now)

    def test_what_is_found_there_and_has_ended(self) -> None:
        history = History().to_bytes(None) or b"{}"
        record = JobRecord(
            7,
            7,
            b"H:test",
            b"f",
            b"",
            None,
            b"",
            1,
            self.fixture.now + 9e9,
            0,
            0,
            0.0,
            DEAD,
            1.0,
            history,
            kinds.DEAD,
        )
        self.journal.put(record)
        self.fixture.restart()
        self.assertEqual((self.counts().restored, self.counts().failed), (0, {}))
