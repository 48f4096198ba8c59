"""
Tests for L{txgear.server.schedules}.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from math import inf
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import PAUSED, SCHEDULED, StoredValue
from txgear.broker.states import STORING
from txgear.errors import StoreRefused, StoreUnavailable
from txgear.policies import Policies, Policy
from txgear.protocol.constants import CAN_DO, GRAB_JOB, HIGH, NORMAL, WORK_COMPLETE
from txgear.protocol.packets import request
from txgear.server.schedules import LONGEST_SLEEP, RETRY, Schedule, Scheduler
from txgear.test.support.clock import START
from txgear.test.support.journal import FaultyStore
from txgear.test.support.server import DurableServerTestCase, ServerFixture, submit

BERLIN = "Europe/Berlin"


def at(text: str) -> float:
    """A time in UTC, in seconds since the epoch."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


def shown(seconds: float | None) -> str | None:
    """The other way round."""
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M}"


def schedule(cron: str = "* * * * *", zone: str = "UTC", *, name: bytes = b"s", **fields: bytes) -> Schedule:
    return Schedule(name, cron, fields.pop("function", b"f"), zone, **fields)  # type: ignore[arg-type]


def listed(scheduler: Scheduler) -> list[dict[str, Any]]:
    """What is known of all that are in force."""
    return [scheduler.shown(name) for name in scheduler.schedules]


class LastTests(SynchronousTestCase):
    """The times that were missed."""

    def test_last(self) -> None:
        """The last of the times that were missed, however long that was."""
        for cron, after, until, expected in (
            ("* * * * *", "2026-01-01", "2026-01-01 00:00:59", None),
            ("* * * * *", "2026-01-01", "2026-01-01 00:01", "2026-01-01 00:01"),
            ("* * * * *", "2016-01-01", "2026-01-01 00:00:30", "2026-01-01 00:00"),
            ("0 3 * * *", "2025-12-24", "2026-01-01 02:59", "2025-12-31 03:00"),
            ("0 3 * * *", "2026-01-01 03:00", "2026-01-02 02:59", None),
            ("0 3 1 * *", "2025-12-24", "2026-01-31 12:00", "2026-01-01 03:00"),
            ("0 3 1 6 *", "2020-01-01", "2026-05-31", "2025-06-01 03:00"),
            ("0 3 29 2 *", "2020-01-01", "2027-05-31", "2024-02-29 03:00"),
            ("0 3 29 2 *", "2024-03-01", "2027-05-31", None),
        ):
            self.assertEqual(shown(schedule(cron).last(at(after), at(until))), expected, cron)

    def test_no_time_left(self) -> None:
        """Where there is none within the library's fifty years, it never comes."""
        never = Schedule(b"s", "0 0 */31 2 SUN#2", b"f")
        self.assertEqual(never.following(START), inf)
        self.assertIsNone(never.last(START, at("2000-01-01")))


class SchedulerTests(SynchronousTestCase):
    """Jobs by the clock, on a server that keeps nothing."""

    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.clock, self.broker = self.fixture.clock, self.fixture.server.broker
        self.scheduler = Scheduler(self.fixture.server)

    def start(self, *schedules: Schedule, marks: Iterable[StoredValue] = ()) -> None:
        self.scheduler.start(schedules, marks)

    def taken(self) -> list[tuple[bytes, bytes]]:
        """The functions and workloads of the jobs so far, which are gone then."""
        jobs = list(self.broker.table.jobs.values())
        found = [(job.function.name, bytes(job.workload)) for job in jobs]
        for job in jobs:
            self.broker.operations.cancel(job.handle, self.clock.seconds())
        return found

    def advance_to(self, seconds: float) -> None:
        self.clock.advance(seconds - self.clock.seconds())

    def run_to(self, seconds: float) -> None:
        """Let time pass, as it does."""
        while self.clock.seconds() < seconds:
            self.clock.advance(min(1.0, seconds - self.clock.seconds()))

    def test_job(self) -> None:
        """At its time there is one background job, with all that the schedule says."""
        self.start(
            Schedule(b"s", "* * * * *", b"report", workload=b"all", unique=b"u", priority=HIGH),
        )
        self.run_to(1019.9)
        self.assertEqual(self.broker.table.jobs, {})
        self.run_to(1020)
        (job,) = self.broker.table.jobs.values()
        self.assertEqual(
            (job.function.name, job.workload, job.unique, job.priority, job.background, job.clients),
            (b"report", b"all", b"u", HIGH, True, ()),
        )
        self.assertEqual(Schedule(b"s", "* * * * *", b"f").priority, NORMAL)

    def test_listed(self) -> None:
        """What operators see of those in force; of one that never comes again, too."""
        never = Schedule(b"never", "0 0 */31 2 SUN#2", b"g")
        self.start(schedule(), never)
        self.run_to(1030)
        self.assertEqual(
            [(found["name"], found["last"], found["next"]) for found in listed(self.scheduler)],
            [(b"s", 1020.0, 1080.0), (b"never", START, None)],
        )
        self.assertEqual(
            {name: listed(self.scheduler)[1][name] for name in ("cron", "timezone", "function")},
            {"cron": "0 0 */31 2 SUN#2", "timezone": "UTC", "function": b"g"},
        )

    def test_workers_hear_of_it(self) -> None:
        """A submit by the clock is a turn: who sleeps is woken, without anything else happening."""
        self.start(schedule())
        worker = self.fixture.connect()
        worker.tell(request(CAN_DO, b"f") + request(4))
        worker.heard()
        self.run_to(1020)
        self.assertEqual(worker.heard(), b"\0RES\0\0\0\6\0\0\0\0")

    def test_each_time(self) -> None:
        """Each time once; several schedules side by side, with one timer."""
        self.start(schedule(), schedule("*/2 * * * *", name=b"t", function=b"g"))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        taken = []
        for minute in range(17, 22):
            self.run_to(minute * 60 + 30)
            taken.append([function for function, _ in self.taken()])
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.assertEqual(taken, [[b"f"], [b"f", b"g"], [b"f"], [b"f", b"g"], [b"f"]])

    def test_unique(self) -> None:
        """While the last job has not ended, no other is added."""
        self.start(schedule(unique=b"u"))
        self.run_to(1150)
        self.assertEqual(len(self.broker.table.jobs), 1)
        self.taken()
        self.run_to(1200)
        self.assertEqual(len(self.broker.table.jobs), 1)

    def test_none(self) -> None:
        """Without schedules there is no timer."""
        self.start()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.scheduler.stop()

    def test_looks_at_the_clock(self) -> None:
        """Sleeps are short: when the clock was put forward, that is noticed."""
        self.start(schedule("0 0 1 1 *"))
        (timer,) = self.clock.getDelayedCalls()
        self.assertEqual(timer.getTime(), START + LONGEST_SLEEP)
        self.clock.advance(at("2026-05-01"))
        self.assertEqual(len(self.taken()), 1)

    def test_wall_clock_put_forward(self) -> None:
        """It is the wall clock that counts: what it passes over has run for its last time within a second."""
        self.start(schedule("0 * * * *"))
        self.fixture.wall.ahead = 2 * 3600.0
        self.clock.advance(LONGEST_SLEEP)
        self.assertEqual(len(self.taken()), 1)
        self.assertEqual(listed(self.scheduler)[0]["last"], 7200.0)
        self.assertEqual(listed(self.scheduler)[0]["next"], 10800.0)
        self.fixture.wall.ahead = 0.0
        for _ in range(9000):
            self.clock.advance(1)
        self.assertEqual(self.taken(), [], "no time comes twice")
        self.clock.advance(800)
        self.assertEqual(len(self.taken()), 1)

    def test_wall_clock_put_back(self) -> None:
        """The next time comes when the clock shows it."""
        self.start(schedule("0 * * * *"))
        self.fixture.wall.ahead = -600.0
        self.clock.advance(LONGEST_SLEEP)
        self.run_to(3600 + 599)
        self.assertEqual(self.taken(), [])
        self.run_to(3600 + 600)
        self.assertEqual(len(self.taken()), 1)

    def test_refused_and_the_wall_clock_put_back(self) -> None:
        """A job that was refused is due again when the clock shows its time again, and not before."""
        self.broker.operations.limit_function(b"f", (1, 1, 1))
        first = self.broker.submit(None, b"f", b"", b"", START, background=True)
        self.start(schedule())
        with capturedLogs():
            self.run_to(1020)
            self.fixture.wall.ahead = -600.0
            self.clock.advance(LONGEST_SLEEP)
            self.broker.operations.cancel(first.handle, self.clock.seconds())
            self.clock.advance(RETRY)
        self.assertEqual(self.taken(), [])
        self.fixture.wall.ahead = 0.0
        self.clock.advance(LONGEST_SLEEP)
        self.assertEqual(len(self.taken()), 1)

    def test_clock_put_back(self) -> None:
        """No time comes twice when the clock is put back."""
        self.start(schedule(), marks=[StoredValue(SCHEDULED, b"s", 1200.0)])
        self.run_to(1230)
        self.assertEqual(self.taken(), [])
        self.run_to(1260)
        self.assertEqual(len(self.taken()), 1)

    def test_missed(self) -> None:
        """Of several times that were missed only the last counts, at the start and later."""
        self.start(schedule(), marks=[StoredValue(SCHEDULED, b"s", 60.0), StoredValue(PAUSED, b"s", 990.0)])
        self.assertEqual(len(self.taken()), 1)
        self.clock.advance(600)
        self.assertEqual(len(self.taken()), 1)
        self.run_to(1619)
        self.assertEqual(self.taken(), [])
        self.run_to(1620)
        self.assertEqual(len(self.taken()), 1)

    def test_nothing_missed(self) -> None:
        """One that has run for its last time, or is new, begins with its next time."""
        self.start(schedule(), schedule(name=b"t"), marks=[StoredValue(SCHEDULED, b"s", 960.0)])
        self.assertEqual(self.taken(), [])
        self.run_to(1020)
        self.assertEqual(len(self.taken()), 2)

    def test_drain(self) -> None:
        """A server that drains takes nothing."""
        self.start(schedule())
        self.successResultOf(self.fixture.server.drain())
        with capturedLogs() as events:
            self.run_to(1100)
            self.scheduler.replace([schedule("*/2 * * * *")])
            self.run_to(1300)
        self.assertEqual(self.broker.table.jobs, {})
        self.assertEqual(events, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """After L{Scheduler.stop} nothing comes, whatever is said then."""
        self.start(schedule())
        self.scheduler.stop()
        self.scheduler.stop()
        self.scheduler.replace([schedule("*/2 * * * *")])
        self.clock.advance(600)
        self.assertEqual(self.broker.table.jobs, {})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_replace(self) -> None:
        """Those that are gone run no more, those that stay keep their times, those that are new begin."""
        self.start(schedule(name=b"goes"), schedule("*/2 * * * *", name=b"stays"))
        self.run_to(1025)
        self.assertEqual(len(self.taken()), 1)
        self.scheduler.replace(
            [schedule("*/2 * * * *", name=b"stays", workload=b"other"), schedule(name=b"new", workload=b"n")]
        )
        self.assertEqual(list(self.scheduler.schedules), [b"stays", b"new"])
        self.assertEqual(self.taken(), [])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.run_to(1080)
        self.assertEqual(self.taken(), [(b"f", b"other"), (b"f", b"n")])

    def test_replace_in_time(self) -> None:
        """What is due at the moment of a reload is not lost by it, nor done twice."""
        self.start(schedule())
        self.clock.rightNow = 1020.0
        self.scheduler.replace([schedule()])
        self.scheduler.replace([schedule()])
        self.assertEqual(len(self.taken()), 1)

    def test_other_times(self) -> None:
        """A schedule that is to run at other times now has not missed any of them."""
        self.start(schedule("0 5 * * *"))
        self.advance_to(at("1970-01-03 12:00"))
        self.taken()
        self.scheduler.replace([schedule("0 11 * * *")])
        self.assertEqual(self.taken(), [])
        self.scheduler.replace([schedule("0 11 * * *", "Asia/Tokyo")])
        self.assertEqual(self.taken(), [])
        self.advance_to(at("1970-01-04 02:00"))
        self.assertEqual(len(self.taken()), 1)

    def test_removed_and_back(self) -> None:
        """One that was away has missed nothing meanwhile."""
        self.start(schedule())
        self.scheduler.replace([])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(600)
        self.scheduler.replace([schedule()])
        self.assertEqual(self.taken(), [])

    def test_full(self) -> None:
        """A job that is not taken is submitted again and again, until it is; the log hears of it once."""
        self.broker.operations.set_policies(Policies([("f", Policy(max_queue=1))]), START)
        self.start(schedule("*/5 * * * *", workload=b"new"))
        line = self.fixture.connect()
        line.tell(submit(b"old"))
        with capturedLogs() as events:
            self.run_to(1200 + 3 * RETRY)
        (said,) = [formatEvent(event) for event in events]
        self.assertEqual(
            said,
            "schedule s: the job for 1970-01-01 00:20 UTC is not taken: Job queue is full: max_queue is 1;"
            " trying again every 10 s until the next time",
        )
        self.assertEqual(self.taken(), [(b"f", b"old")])
        self.run_to(1200 + 4 * RETRY)
        self.assertEqual(self.taken(), [(b"f", b"new")])
        self.run_to(1499)
        self.assertEqual(self.taken(), [])

    def test_full_until_the_next_time(self) -> None:
        """When the next time comes, the last one is given up; there is one job at most."""
        self.broker.operations.set_policies(Policies([("f", Policy(max_queue=1))]), START)
        self.start(schedule())
        line = self.fixture.connect()
        line.tell(submit(b"old"))
        with capturedLogs() as events:
            self.run_to(1085)
        self.assertEqual(len(events), 2)
        self.taken()
        self.run_to(1139)
        self.assertEqual(self.taken(), [(b"f", b"")])


class StoredSchedulerTests(DurableServerTestCase):
    """Jobs by the clock on a server with a store."""

    def start(self, *schedules: Schedule, now: float = START) -> None:
        """Start the server, again if it was there: the old one is left as after a kill."""
        self.begin()
        self.clock.advance(now - START)
        self.scheduler = Scheduler(self.fixture.server)
        self.scheduler.start(schedules, self.store.values())
        self.thread.run_all()

    def start_again(self, *schedules: Schedule) -> None:
        """L{start} where the time is now."""
        self.start(*schedules, now=self.clock.seconds())

    def run_to(self, seconds: float) -> None:
        self.run_on(seconds - self.clock.seconds())

    def marks(self) -> dict[bytes, float]:
        """What would be remembered after a crash."""
        return {mark.name: mark.value for mark in self.store.values() if mark.kind == SCHEDULED}

    def test_first_sight(self) -> None:
        """That a schedule was seen is remembered: what it misses from then on is made up for."""
        self.start(schedule("0 1 * * *"))
        self.run_on(1)
        self.assertEqual(self.marks(), {b"s": START})
        self.clock.advance(at("1970-01-03 00:00"))
        self.start_again(schedule("0 1 * * *"))
        self.assertEqual(len(self.store.kept), 1)
        self.assertEqual(self.marks(), {b"s": at("1970-01-02 01:00")})

    def test_listed(self) -> None:
        """As soon as the job is kept, its time is the last one."""
        self.start(schedule())
        self.clock.advance(1020 - START)
        self.assertEqual([found["last"] for found in listed(self.scheduler)], [START])
        self.thread.run_all()
        self.assertEqual([found["last"] for found in listed(self.scheduler)], [1020.0])

    def test_the_store_has_it_already(self) -> None:
        """The last job is that one, and the time has had its job."""
        self.begin_anew(queue_memory=0)
        self.scheduler = Scheduler(self.fixture.server)
        self.scheduler.start([schedule(unique=b"u")], [])
        self.client.tell(submit(), submit(unique=b"u"))
        self.run_to(1021)
        (found,) = listed(self.scheduler)
        self.assertEqual(
            (found["last"], found["run"].handle, found["run"].joined), (1020.0, b"H:test:2", True)
        )
        self.run_on(1)
        self.assertEqual((sorted(self.store.kept), self.marks()), ([1, 2], {b"s": 1020.0}))

    def test_one_transaction(self) -> None:
        """The job and what is remembered of it are in one batch."""
        self.start(schedule())
        self.run_to(1019)
        self.store.batches.clear()
        self.run_to(1021)
        (batch,) = self.store.batches
        ((job, _),) = batch.new_jobs
        self.assertEqual(batch.values, [StoredValue(SCHEDULED, b"s", 1020.0, job.number)])

    def test_restart(self) -> None:
        """Whenever the server is killed, no time has two jobs, and none has none."""
        for killed in (1019.0, 1020.0, 1020.5, 1031.0, 1059.0):
            for written in (False, True):
                self.store = FaultyStore()
                self.start(schedule("*/10 * * * *"), schedule(name=b"t", function=b"g"))
                self.run_to(1010)
                self.clock.advance(killed - 1010)
                if written:
                    self.thread.run_all()
                self.start_again(schedule("*/10 * * * *"), schedule(name=b"t", function=b"g"))
                self.run_to(1070)
                self.assertEqual([job.function for job in self.store.kept.values()], [b"g"], killed)
                self.assertEqual(self.marks()[b"t"], 1020.0)

    def test_removed(self) -> None:
        """What is not in the file any more is not remembered."""
        self.start(schedule(), schedule(name=b"t"))
        self.run_on(1)
        self.start_again(schedule())
        self.run_on(1)
        self.assertEqual(self.marks(), {b"s": START})
        self.scheduler.replace([])
        self.run_on(1)
        self.assertEqual(self.marks(), {})

    def test_store_away(self) -> None:
        """While the store is away nothing is taken; when it is back, the last time is made up for, once."""
        self.start(schedule("*/10 * * * *"))
        self.run_to(1190)
        self.store.fail("write", StoreUnavailable("gone"), times=1000)
        self.store.fail("open", StoreUnavailable("gone"), times=1000)
        with capturedLogs() as events:
            self.run_to(1240)
        said = [
            formatEvent(event)
            for event in events
            if event["log_namespace"] == "txgear.server.schedules.Scheduler"
        ]
        (line,) = said
        self.assertIn("schedule s: the job for 1970-01-01 00:20 UTC is not taken: ", line)
        self.assertEqual(self.store.kept, {})
        self.store.mend()
        self.run_to(1270)
        self.assertEqual(len(self.store.kept), 1)
        self.assertEqual(self.marks(), {b"s": 1200.0})
        self.run_to(1790)
        self.assertEqual(len(self.store.kept), 1)

    def test_refused(self) -> None:
        """A job that the store will not keep is submitted again, and not remembered before it is."""
        self.start(schedule("*/10 * * * *", workload=b"long"))
        self.run_on(1)
        self.store.too_large = 3
        with capturedLogs() as events:
            self.run_to(1200 + 2.5 * RETRY)
        _, line = [formatEvent(event) for event in events]
        self.assertIn("not taken: A workload of 4 bytes is too large; trying again", line)
        self.assertEqual(self.marks(), {b"s": START})
        self.store.too_large = 4
        self.run_to(1200 + 3.5 * RETRY)
        self.assertEqual(len(self.store.kept), 1)
        self.assertEqual(self.marks(), {b"s": 1200.0})
        self.run_to(1790)
        self.assertEqual(len(self.store.kept), 1)

    def test_slow_store(self) -> None:
        """While a job is on its way, the schedule waits for what becomes of it."""
        self.start(schedule(function=b"g"))
        self.run_to(1010)
        self.clock.advance(10)
        (job,) = self.fixture.server.broker.table.jobs.values()
        self.assertEqual(job.state, STORING)
        self.clock.advance(4)
        self.scheduler.replace([schedule(function=b"g")])
        self.assertEqual(len(self.fixture.server.broker.table.jobs), 1)
        self.run_to(1079)
        self.assertEqual(len(self.store.kept), 1)
        self.run_to(1081)
        self.assertEqual(len(self.store.kept), 2)

    def test_too_slow_store(self) -> None:
        """A job that is kept after all, when it had been refused, is taken out: there is one, not two."""
        self.start(schedule("*/10 * * * *"))
        self.run_to(1190)
        self.clock.advance(10)
        with capturedLogs() as events:
            self.clock.advance(6)
            self.clock.advance(6)
        self.assertIn("not taken: The store has not answered for 5 seconds", formatEvent(events[-1]))
        self.run_to(1790)
        (kept,) = self.store.kept.values()
        self.assertGreater(kept.created, 1200.0)
        self.assertEqual(self.marks(), {b"s": 1200.0})

    def test_joins(self) -> None:
        """Where the unique is taken, the one that has it counts, and that is remembered."""
        self.start(schedule(unique=b"u"))
        self.client.tell(submit(b"w", b"f", b"u"))
        self.run_to(1030)
        self.assertEqual(len(self.store.kept), 1)
        self.assertEqual(self.marks(), {b"s": 1020.0})

    def test_ended(self) -> None:
        """A job that ends before it is looked at again was taken."""
        self.start(schedule("*/10 * * * *"))
        self.run_to(1201)
        self.client.tell(request(CAN_DO, b"f") + request(GRAB_JOB))
        (job,) = self.fixture.server.broker.table.jobs.values()
        self.client.tell(request(WORK_COMPLETE, job.handle, b""))
        self.run_to(1790)
        self.assertEqual(self.store.kept, {})
        self.assertEqual(self.marks(), {b"s": 1200.0})

    def test_refused_by_a_store_that_is_full(self) -> None:
        """A refusal does not cost other jobs of the same batch what is remembered with them."""
        self.start(schedule(workload=b"long"), schedule(name=b"t"))
        self.run_on(1)
        self.store.fail("write", StoreRefused("full"))
        self.store.too_large = 3
        with capturedLogs():
            self.run_to(1021)
        self.assertEqual(self.marks(), {b"s": START, b"t": 1020.0})
