"""
The wall clock is set, by an hour: spans go on, and times come when it shows them.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Job, Peer
from txgear.broker.operators import inspection
from txgear.broker.operators.search import Search
from txgear.broker.records import PAUSED
from txgear.broker.sleepers import WAKE_SECONDS
from txgear.broker.states import DEAD, DELAYED, QUEUED, RUNNING
from txgear.protocol.constants import (
    CAN_DO,
    CAN_DO_TIMEOUT,
    GRAB_JOB,
    JOB_CREATED,
    NOOP,
    PRE_SLEEP,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_SCHED,
    WORK_FAIL,
)
from txgear.protocol.packets import request, response
from txgear.test.support.broker import BrokerFixture, BrokerTestCase
from txgear.test.support.clock import START
from txgear.test.support.fakejournal import FakeJournal
from txgear.test.support.server import ServerFixture

HOUR = 3600.0
AHEAD = (HOUR, -HOUR)
"""What the clock is set to, beside the server's time."""


class SpansTests(BrokerTestCase):
    """Each with a clock that is set in the middle of it."""

    def fixtures(self) -> Iterator[tuple[BrokerFixture, float]]:
        for ahead in AHEAD:
            self.fixture = BrokerFixture()
            yield self.fixture, ahead

    def both_sides(self, fixture: BrokerFixture, ahead: float, span: float) -> Iterator[bool]:
        """A moment before the span is over, the clock having been set, and a moment after."""
        fixture.pass_time(span / 2)
        fixture.set_clock(ahead)
        fixture.pass_time(span / 2 - 0.25)
        yield False
        fixture.pass_time(0.5)
        yield True

    def test_rate(self) -> None:
        for fixture, ahead in self.fixtures():
            fixture.set(rate="1/m")
            worker = fixture.worker(b"f")
            _, second = fixture.submit(None), fixture.submit(None)
            fixture.grab(worker)
            for over in self.both_sides(fixture, ahead, 60):
                self.assertIs(fixture.grab(worker), second if over else None)

    def test_backoff(self) -> None:
        for fixture, ahead in self.fixtures():
            fixture.set(retries=1, backoff=60)
            worker = fixture.worker(b"f")
            job = fixture.submit(None)
            fixture.grab(worker)
            fixture.broker.reports.work_fail(worker, job.handle, fixture.now)
            for over in self.both_sides(fixture, ahead, 60):
                self.assertEqual(job.state, QUEUED if over else DELAYED)

    def test_timeouts(self) -> None:
        for fixture, ahead in self.fixtures():
            fixture.set("g", timeout=60)
            worker = fixture.connect()
            fixture.broker.can_do(worker, b"f", 60, fixture.now)
            fixture.broker.can_do(worker, b"g", 0, fixture.now)
            jobs = [fixture.submit(None, b"f"), fixture.submit(None, b"g")]
            fixture.grab_all(worker)
            for over in self.both_sides(fixture, ahead, 60):
                self.assertEqual([job.state for job in jobs], [QUEUED if over else RUNNING] * 2)

    def test_lease(self) -> None:
        for fixture, ahead in self.fixtures():
            fixture.set(lease=60)
            worker = fixture.worker(b"f", extended=True)
            job = fixture.submit(None)
            fixture.grab(worker)
            fixture.pass_time(30)
            fixture.broker.reports.beat(worker, job.handle, fixture.now)
            for over in self.both_sides(fixture, ahead, 60):
                self.assertEqual(job.state, QUEUED if over else RUNNING)

    def test_workers_that_were_woken(self) -> None:
        for fixture, ahead in self.fixtures():
            sleepers = [fixture.sleeper(b"f") for _ in range(2)]
            fixture.submit(None)
            self.assertEqual(fixture.woken(), sleepers[:1])
            for over in self.both_sides(fixture, ahead, WAKE_SECONDS):
                self.assertEqual(fixture.woken(), sleepers[1:] if over else [])

    def test_expiry(self) -> None:
        """Of one that is queued, of one that has a delay, and of one that waits for a time by the clock."""
        for fixture, ahead in self.fixtures():
            fixture.set(expires=60)
            client = fixture.connect()
            fixture.submit(client)
            fixture.submit(client, delay=100.0)
            fixture.submit(client, due=START + 2 * HOUR)
            for over in self.both_sides(fixture, ahead, 60):
                self.assertEqual(
                    [kind for kind, *_ in fixture.heard(client)], [WORK_FAIL] * 3 if over else []
                )
            self.assertEqual(fixture.broker.table.jobs, {})
            fixture.broker.check()

    def test_delay(self) -> None:
        for fixture, ahead in self.fixtures():
            job = fixture.submit(None, delay=60.0)
            for over in self.both_sides(fixture, ahead, 60):
                self.assertEqual(job.state, QUEUED if over else DELAYED)

    def test_delay_of_one_that_is_on_its_way_to_the_store(self) -> None:
        for ahead in AHEAD:
            fixture = BrokerFixture(journal=FakeJournal())
            job = fixture.submit(None, delay=60.0)
            fixture.set_clock(ahead)
            fixture.commit()
            for over in self.both_sides(fixture, ahead, 60):
                self.assertEqual(job.state, QUEUED if over else DELAYED)

    def test_what_is_kept_of_ended_jobs(self) -> None:
        """A result, and that a unique is taken."""
        for fixture, ahead in self.fixtures():
            fixture.set(results={"keep": 60}, unique_for=60)
            worker = fixture.worker(b"f")
            job = fixture.submit(None, unique=b"u")
            fixture.grab(worker)
            fixture.broker.reports.work_complete(worker, job.handle, b"result", fixture.now)
            for over in self.both_sides(fixture, ahead, 60):
                self.assertIs(fixture.broker.archive.by_handle(job.handle), None if over else job)
                if not over:
                    self.assertIs(fixture.submit(None, unique=b"u"), job)


class TimesTests(BrokerTestCase):
    """What means a time by the wall clock."""

    def setUp(self) -> None:
        super().setUp()
        self.fixture = BrokerFixture(journal=FakeJournal())

    def fail_once(self) -> Job:
        worker = self.fixture.worker(b"f")
        job = self.fixture.submit(None)
        self.fixture.commit()
        self.fixture.grab(worker)
        self.fixture.broker.reports.work_fail(worker, job.handle, self.fixture.now)
        return job

    def test_set_forward(self) -> None:
        job = self.fixture.store(b"", due=START + 10)[0]
        self.fixture.set_clock(9)
        self.fixture.pass_time(0.5)
        self.assertEqual(job.state, DELAYED)
        self.fixture.set_clock(10)
        self.fixture.pass_time(0)
        self.assertEqual((job.state, job.appointment), (QUEUED, None))

    def test_set_back(self) -> None:
        job = self.fixture.store(b"", due=START + 10)[0]
        self.fixture.set_clock(-10)
        self.fixture.pass_time(19)
        self.assertEqual(job.state, DELAYED)
        self.fixture.pass_time(1)
        self.assertEqual(job.state, QUEUED)

    def test_a_time_that_is_over_by_the_clock(self) -> None:
        self.fixture.set_clock(HOUR)
        jobs = self.fixture.store(b"", due=START + HOUR) + self.fixture.store(b"", due=START + HOUR + 1)
        self.assertEqual([job.state for job in jobs], [QUEUED, DELAYED])

    def test_one_that_has_expired_when_its_time_comes(self) -> None:
        """It does not begin, although that has not been seen to yet."""
        self.fixture.set(expires=10)
        client = self.fixture.connect()
        job = self.fixture.submit(client, due=START + HOUR)
        self.fixture.now += 20
        self.fixture.set_clock(HOUR)
        self.fixture.pass_time(0)
        self.assertEqual(self.fixture.heard(client), [(WORK_FAIL, job.handle)])

    def test_what_waits_is_in_the_store_by_the_clock(self) -> None:
        """The next server, whose time is another, goes on from there."""
        for ahead in AHEAD:
            self.fixture = BrokerFixture(journal=FakeJournal())
            # No clock shows a time before 1970.
            self.fixture.now = later = START + HOUR
            self.fixture.set(retries=2, backoff=10)
            self.fixture.set_clock(ahead)
            self.fail_once()
            self.fixture.store(b"", delay=10.0)
            self.fixture.pass_time(1)
            jobs = self.fixture.restart()
            self.assertEqual([job.state for job in jobs], [DELAYED] * 2)
            self.assertEqual(
                [self.fixture.broker.lifecycle.begins(job) for job in jobs], [later + ahead + 10] * 2
            )
            self.fixture.pass_time(8.5)
            self.assertEqual([job.state for job in jobs], [DELAYED] * 2)
            self.fixture.pass_time(0.5)
            self.assertEqual([job.state for job in jobs], [QUEUED] * 2)

    def test_a_submit_that_joins_one_that_waits(self) -> None:
        """What is stored of it is its time by the clock, whatever it waits for."""
        self.fixture.set_clock(HOUR)
        client = self.fixture.connect()
        self.fixture.submit(client, unique=b"u", delay=10.0)
        self.fixture.submit(client, unique=b"v", due=START + HOUR + 10)
        for unique in (b"u", b"v"):
            self.fixture.submit(None, unique=unique)
            assert self.fixture.journal is not None
            self.assertEqual(self.fixture.journal.adding[-1].record.due, START + HOUR + 10)

    def test_what_is_kept_of_ended_jobs_is_by_the_clock(self) -> None:
        self.fixture.set(retries=0, dead={"keep": 100})
        self.fixture.set_clock(HOUR)
        number = self.fail_once().number
        assert self.fixture.journal is not None
        (record,) = self.fixture.journal.kept()
        wall = START + HOUR
        self.assertEqual((record.created, record.ended, record.due), (wall, wall, wall + 100))
        self.fixture.restart()
        self.fixture.recall()
        job = self.fixture.broker.archive.jobs[number]
        self.assertEqual((job.state, self.fixture.now), (DEAD, wall))
        self.assertEqual((job.created, job.since, job.due), (wall, wall, wall + 100))

    def test_what_operators_see_is_by_the_clock(self) -> None:
        """Also of what was before it was set, as if it had always been right."""
        self.fixture.set(retries=2, backoff=60, expires=600)
        job = self.fail_once()
        self.fixture.set_clock(HOUR)
        found = inspection.job(self.fixture.broker, Peer(0, ""), job, self.fixture.now)
        self.assertEqual(found["created"], "1970-01-01T01:16:40.000Z")
        self.assertEqual(found["begins"], "1970-01-01T01:17:40.000Z")
        # What was written down stays as it was.
        self.assertEqual(found["history"][0]["began"], "1970-01-01T00:16:40.000Z")
        (row,) = inspection.jobs(self.fixture.broker, Peer(0, ""), Search(), self.fixture.now)["jobs"]
        self.assertEqual(row["age"], 0.0)

    def test_since_when_a_function_is_paused(self) -> None:
        self.fixture.set_clock(HOUR)
        self.fixture.broker.operations.pause(b"f", self.fixture.now)
        assert self.fixture.journal is not None
        self.assertEqual(self.fixture.journal.stored_values[PAUSED, b"f"].value, START + HOUR)

    def test_a_great_many(self) -> None:
        """As many as one call does not get through."""
        jobs = self.fixture.store(*[b""] * 600, due=START + HOUR)
        self.fixture.set_clock(HOUR)
        self.fixture.broker.expire(self.fixture.now)
        self.assertEqual(self.fixture.broker.timers.deadline, self.fixture.now)
        self.fixture.pass_time(0)
        self.assertEqual({job.state for job in jobs}, {QUEUED})

    def test_a_great_many_that_wait_for_the_same_span(self) -> None:
        jobs = self.fixture.store(*[b""] * 600, delay=10.0)
        self.fixture.now += 10
        for _ in range(2):
            self.fixture.broker.expire(self.fixture.now)
            self.assertLessEqual(self.fixture.broker.timers.deadline, self.fixture.now)
        self.fixture.pass_time(0)
        self.assertEqual({job.state for job in jobs}, {QUEUED})


class ServerTests(SynchronousTestCase):
    """The server notices that the wall clock was set."""

    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.peer = self.fixture.connect()
        self.broker = self.fixture.server.broker

    def epoch(self, due: float) -> Job:
        self.peer.tell(request(SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % due, b""))
        return list(self.broker.table.jobs.values())[-1]

    def test_forward_within_a_second(self) -> None:
        job = self.epoch(START + HOUR)
        self.fixture.clock.advance(0.5)
        self.fixture.wall.ahead = HOUR
        self.fixture.clock.advance(0.5)
        self.assertEqual(job.state, QUEUED)

    def test_back_within_a_second(self) -> None:
        job = self.epoch(START + 10)
        self.fixture.wall.ahead = -HOUR
        for _ in range(20):
            self.fixture.clock.advance(1)
        self.assertEqual(job.state, DELAYED)
        self.fixture.wall.ahead = 0
        self.fixture.clock.advance(1)
        self.assertEqual(job.state, QUEUED)

    def test_at_once_where_a_time_is_named(self) -> None:
        self.fixture.wall.ahead = HOUR
        self.assertEqual(self.epoch(START + HOUR - 1).state, QUEUED)
        self.assertEqual(self.epoch(START + HOUR + 1).state, DELAYED)

    def test_the_next_minute_is_the_clocks(self) -> None:
        self.fixture.wall.ahead = 17
        self.peer.tell(request(SUBMIT_JOB_SCHED, b"f", b"", b"", b"", b"", b"", b"", b""))
        (job,) = self.broker.table.jobs.values()
        # The clock stands at 16 minutes and 57 seconds.
        self.assertEqual(self.broker.lifecycle.begins(job), 1020.0)
        self.fixture.clock.advance(3)
        self.assertEqual(job.state, QUEUED)

    def test_by_any_turn(self) -> None:
        """So that what is stored is right, where nothing waits for the clock."""
        self.fixture.clock.advance(1)
        self.fixture.wall.ahead = -HOUR
        self.peer.tell(request(SUBMIT_JOB_BG, b"f", b"", b""))
        self.assertEqual(self.broker.timers.offset, -HOUR)

    def test_readings_that_differ_by_little_are_of_one_clock(self) -> None:
        self.fixture.wall.ahead = 0.001
        self.assertEqual(self.fixture.server.wall_clock(), START)
        self.assertEqual(self.broker.timers.offset, 0.0)

    def test_spans_go_on(self) -> None:
        """A job's time at its worker, and a NOOP that is not answered, over the wire."""
        for ahead in AHEAD:
            self.setUp()
            worker, other, client = (self.fixture.connect() for _ in range(3))
            worker.tell(request(CAN_DO_TIMEOUT, b"f", b"60000"), request(PRE_SLEEP))
            other.tell(request(CAN_DO, b"f"), request(PRE_SLEEP))
            client.ask(request(SUBMIT_JOB_BG, b"f", b"", b""))
            self.assertEqual(worker.heard(), response(NOOP))
            self.fixture.clock.advance(WAKE_SECONDS / 2)
            self.fixture.wall.ahead = ahead
            self.fixture.clock.advance(WAKE_SECONDS / 2 - 0.25)
            self.assertEqual(other.heard(), b"")
            self.fixture.clock.advance(0.25)
            self.assertEqual(other.heard(), response(NOOP))
            worker.tell(request(GRAB_JOB))
            (job,) = self.broker.table.jobs.values()
            self.fixture.clock.advance(59)
            self.assertEqual(job.state, RUNNING)
            self.fixture.wall.ahead = 0.0
            self.fixture.clock.advance(1)
            self.assertEqual(job.state, QUEUED)

    def test_a_timer_that_was_right_does_not_fire_for_ever(self) -> None:
        """A step makes one empty call, no more."""
        self.epoch(START + 100)
        self.fixture.wall.ahead = -HOUR
        self.fixture.clock.advance(1)
        (timer,) = self.fixture.clock.getDelayedCalls()
        self.assertEqual(timer.getTime(), START + 2)

    def test_jobs_are_answered(self) -> None:
        self.fixture.wall.ahead = HOUR
        self.assertEqual(
            self.peer.ask(request(SUBMIT_JOB_EPOCH, b"f", b"", b"1", b"")),
            response(JOB_CREATED, b"H:test:1"),
        )
