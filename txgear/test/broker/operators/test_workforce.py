"""Tests of L{txgear.broker.operators.workforce}."""

from __future__ import annotations

from txgear.broker.model import Peer
from txgear.broker.operators.workforce import (
    ABSENT,
    ASLEEP,
    AWAKE,
    BUSY,
    LATE,
    MOST_IN_HAND,
    MOST_NAMES,
    PAUSED,
    SILENT,
    SILENT_SECONDS,
    UNREAD,
    UNUSED,
    WOKEN,
    Headcount,
    Muster,
    condition,
    count_in,
    idle_since,
    silent,
)
from txgear.broker.sleepers import WAKE_SECONDS
from txgear.test.support.broker import BrokerTestCase


class WorkforceTestCase(BrokerTestCase):
    def how(self, peer: Peer) -> str:
        return condition(peer, self.fixture.now)

    def is_silent(self, peer: Peer) -> bool:
        return silent(peer, self.fixture.now)


class ConditionTests(WorkforceTestCase):
    def test_one_that_says_nothing(self) -> None:
        worker = self.fixture.worker(b"f")
        self.fixture.now += SILENT_SECONDS - 1
        self.assertEqual((self.how(worker), self.is_silent(worker)), (AWAKE, False))
        self.fixture.now += 1
        self.assertEqual((self.how(worker), self.is_silent(worker)), (SILENT, True))

    def test_its_time_begins_with_what_it_can_do(self) -> None:
        worker = self.fixture.connect()
        self.fixture.now += 1000
        self.broker.can_do(worker, b"f", 0.0, self.fixture.now)
        enrolled = self.fixture.now
        self.fixture.now += SILENT_SECONDS - 1
        self.broker.can_do(worker, b"g", 0.0, self.fixture.now)
        self.assertEqual((self.how(worker), idle_since(worker)), (AWAKE, enrolled))
        self.broker.reset_abilities(worker, self.fixture.now)
        self.broker.can_do(worker, b"f", 0.0, self.fixture.now)
        self.assertEqual(idle_since(worker), self.fixture.now)

    def test_one_that_does_nothing_now(self) -> None:
        """It has jobs of a function that it has given back, and then none."""
        worker = self.fixture.worker(b"f", extended=True)
        job = self.grabbed(worker, self.fixture.submit(None))
        self.broker.cant_do(worker, b"f", self.fixture.now)
        self.assertEqual(self.how(worker), BUSY)
        self.complete(worker, job)
        self.assertEqual(self.how(worker), UNUSED)
        self.fixture.leave(worker)
        self.assertEqual(self.how(worker), ABSENT)

    def test_one_that_asks(self) -> None:
        worker = self.fixture.worker(b"f")
        for _ in range(3):
            self.fixture.now += SILENT_SECONDS - 1
            self.fixture.grab(worker)
            self.assertEqual(self.how(worker), AWAKE)

    def test_one_that_sleeps(self) -> None:
        worker = self.fixture.sleeper(b"f")
        self.fixture.now += 86400
        self.assertEqual((self.how(worker), self.is_silent(worker)), (ASLEEP, False))

    def test_one_that_takes_none(self) -> None:
        worker = self.fixture.worker(b"f")
        self.grabbed(worker, self.fixture.submit(None))
        self.broker.dispatcher.set_paused(worker, True, self.fixture.now)
        self.fixture.now += 86400
        self.assertEqual((self.how(worker), self.is_silent(worker)), (PAUSED, False))

    def test_one_at_work(self) -> None:
        worker = self.fixture.worker(b"f")
        job = self.grabbed(worker, self.fixture.submit(None))
        self.fixture.now += 86400
        self.assertEqual((self.how(worker), self.is_silent(worker)), (BUSY, False))
        # It is not silent all at once when that ends.
        self.complete(worker, job)
        self.assertEqual(self.how(worker), AWAKE)
        self.fixture.now += SILENT_SECONDS
        self.assertEqual(self.how(worker), SILENT)

    def test_one_that_sleeps_with_a_job(self) -> None:
        worker = self.fixture.worker(b"f")
        self.grabbed(worker, self.fixture.submit(None))
        self.fixture.sleep(worker)
        self.assertEqual(self.how(worker), ASLEEP)

    def test_one_that_is_woken(self) -> None:
        worker = self.fixture.sleeper(b"f")
        self.fixture.pass_time(100)
        self.fixture.submit(None)
        self.assertEqual(self.how(worker), WOKEN)
        self.fixture.pass_time(WAKE_SECONDS)
        self.assertEqual((self.how(worker), self.is_silent(worker)), (LATE, True))
        self.fixture.sleep(worker)
        self.assertEqual(self.how(worker), WOKEN)
        self.fixture.grab(worker)
        self.assertEqual(self.how(worker), BUSY)

    def test_one_that_is_late_is_silent_after_a_while(self) -> None:
        worker = self.fixture.sleeper(b"f")
        self.fixture.submit(None)
        self.fixture.pass_time(WAKE_SECONDS)
        self.assertEqual((self.how(worker), self.is_silent(worker)), (LATE, False))
        self.fixture.pass_time(SILENT_SECONDS)
        self.assertTrue(self.is_silent(worker))

    def test_one_that_is_not_read_cannot_be_heard(self) -> None:
        worker = self.fixture.worker(b"f")
        worker.unread = True
        self.fixture.now += 86400
        self.assertEqual((self.how(worker), self.is_silent(worker)), (UNREAD, False))


class HeadcountTests(WorkforceTestCase):
    def test_each_counts_for_all_that_it_can_do(self) -> None:
        quiet, _, busy = (
            self.fixture.worker(b"f"),
            self.fixture.sleeper(b"f", b"g"),
            self.fixture.worker(b"f"),
        )
        self.fixture.pass_time(SILENT_SECONDS)
        self.broker.operations.pause(b"g", self.fixture.now)
        self.fixture.submit(None)
        self.grabbed(busy, next(iter(self.broker.table.jobs.values())))
        self.fixture.sleep(busy)
        headcounts: dict[bytes, Headcount] = {}
        total = Headcount()
        counted = [count_in(headcounts, total, peer, self.fixture.now) for peer in self.broker.peers]
        self.assertEqual(counted, [1, 2, 1])
        self.assertEqual(total, Headcount(3, 1, 1, 1))
        self.assertEqual(headcounts, {b"f": Headcount(3, 1, 1, 1), b"g": Headcount(1)})
        self.assertTrue(self.is_silent(quiet))

    def test_those_who_can_do_nothing_count_nowhere(self) -> None:
        headcounts: dict[bytes, Headcount] = {}
        self.assertEqual(count_in(headcounts, Headcount(), self.fixture.connect(), self.fixture.now), 0)
        self.assertEqual(headcounts, {})


class MusterTests(WorkforceTestCase):
    def muster(self, most: int = 100) -> Muster:
        function = self.broker.functions.by_name[b"f"]
        return Muster(function, self.broker.sleepers, self.fixture.now, most)

    def test_nobody(self) -> None:
        self.broker.operations.create_function(b"f")
        muster = self.muster()
        self.assertEqual(
            (muster.known, muster.seen, muster.here, muster.able, muster.job), (0, 0, 0, 0, None)
        )

    def test_the_newest_are_looked_at(self) -> None:
        self.fixture.sleeper(b"f")
        for _ in range(3):
            self.fixture.worker(b"f")
        muster = self.muster(3)
        self.assertEqual((muster.known, muster.seen, muster[AWAKE], muster[ASLEEP]), (4, 3, 3, 0))
        self.assertEqual(muster.able, 3)

    def test_for_how_long_and_who(self) -> None:
        for name in (b"a", b"b", b"c", b"d"):
            self.fixture.worker(b"f").client_id = name
            self.fixture.pass_time(10)
        self.fixture.pass_time(SILENT_SECONDS)
        muster = self.muster()
        self.assertEqual((muster[SILENT], muster.longest), (4, {SILENT: SILENT_SECONDS + 40}))
        self.assertEqual(muster.names, {SILENT: ["d", "c", "b"]})
        self.assertEqual(len(muster.names[SILENT]), MOST_NAMES)

    def test_those_who_were_woken(self) -> None:
        first, _ = self.fixture.sleeper(b"f"), self.fixture.sleeper(b"f")
        self.fixture.submit(None)
        self.fixture.pass_time(WAKE_SECONDS)
        # Another was woken in its place.
        self.fixture.pass_time(1)
        muster = self.muster()
        self.assertEqual((muster[LATE], muster[WOKEN]), (1, 1))
        self.assertEqual(muster.longest, {LATE: WAKE_SECONDS + 1, WOKEN: 1.0})
        self.assertEqual(self.how(first), LATE)

    def test_the_job_that_has_run_for_the_longest(self) -> None:
        one, other, third = (self.fixture.worker(b"f", b"g") for _ in range(3))
        self.grabbed(one, self.fixture.submit(None, b"g"))
        self.fixture.now += 1
        first = self.grabbed(other, self.fixture.submit(None))
        self.fixture.now += 1
        self.grabbed(one, self.fixture.submit(None))
        self.grabbed(third, self.fixture.submit(None, b"g"))
        muster = self.muster()
        self.assertEqual((muster[BUSY], muster.here), (3, 2))
        self.assertIs(muster.job, first)
        self.fixture.sleep(other)
        muster = self.muster()
        self.assertEqual((muster[BUSY], muster.here), (2, 1))
        self.assertIs(muster.job, first)

    def test_of_one_with_a_great_many_jobs_not_all_are_looked_at(self) -> None:
        worker = self.fixture.worker(b"f", b"g")
        for _ in range(MOST_IN_HAND):
            self.grabbed(worker, self.fixture.submit(None, b"g"))
        self.grabbed(worker, self.fixture.submit(None))
        muster = self.muster()
        self.assertEqual((muster[BUSY], muster.here, muster.job), (1, 0, None))
