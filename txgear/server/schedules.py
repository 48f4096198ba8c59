"""
Schedules: cron lines that submit background jobs.

The store keeps the last time of a schedule together with its job, in one transaction. So no schedule runs
twice for one time, whatever happens in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from math import inf
from typing import Any, Final, NamedTuple, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from txgear.broker.broker import Broker
from txgear.broker.model import Job, Reply
from txgear.broker.records import SCHEDULED, StoredValue, shown_handle
from txgear.errors import ServerError
from txgear.protocol.constants import JOB_CREATED, NORMAL
from txgear.server.crontimes import UTC, times
from txgear.server.cronwords import Remark, in_words, remarks

RETRY: Final = 10.0
"""Seconds after which a job that was refused is submitted again, and the outcome of others is asked for."""
LONGEST_SLEEP: Final = 1.0
"""Seconds between two looks at the wall clock, which may be set; and a machine may be suspended."""

UPCOMING: Final = 5
"""Times that are worked out ahead, for who looks."""

_LOOKS_BACK: Final = (3600.0, 86400.0, 32 * 86400.0, 366 * 86400.0, inf)
"""
Spans in which the last missed time is looked for, one after the other: a line for each minute is not followed
through a year, and a time of last year is found.
"""


@dataclass(frozen=True)
class Schedule:
    """
    When to submit which job.

    @ivar name: tells it from others; its last time is kept under this name.
    @ivar cron: see L{txgear.server.crontimes.check_cron}.
    @ivar timezone: see L{txgear.server.crontimes.check_timezone}.
    @ivar function: the job's function.
    @ivar workload: the job's workload.
    @ivar unique: the job's unique: while the last job with it has not ended, no other is added.
    @ivar priority: the job's priority.
    """

    name: bytes
    cron: str
    function: bytes
    timezone: str = UTC
    workload: bytes = b""
    unique: bytes = b""
    priority: int = NORMAL

    def times(self, after: float) -> Iterator[float]:
        """When it runs, beginning after that time; see L{txgear.server.crontimes.times}."""
        return times(self.cron, self.timezone, after)

    def following(self, after: float) -> float:
        """The first time after this one; infinite if there is none."""
        return next(self.times(after), inf)

    def last(self, after: float, until: float) -> float | None:
        """The last of its times after C{after} that is not after C{until}, or C{None}."""
        for span in _LOOKS_BACK:
            found = None
            for seconds in self.times(max(after, until - span)):
                if seconds > until:
                    break
                found = seconds
            if found is not None or until - span <= after:
                return found
        return None

    def same_times(self, other: Schedule) -> bool:
        """Whether the other one runs at the same times."""
        return (self.cron, self.timezone) == (other.cron, other.timezone)


class Taker(Protocol):
    """What takes the jobs, and has the clock: L{txgear.server.jobserver.JobServer}."""

    broker: Broker
    clock: IReactorTime

    def seconds(self) -> float:
        """The server's time."""

    def wall_clock(self) -> float:
        """The time by the wall clock, in seconds since the epoch."""

    def end_turn(self) -> None:
        """A turn is over."""


class Run(NamedTuple):
    """
    A job that a schedule has brought.

    @ivar at: the time for which it was, or when somebody had it run, in seconds since the epoch.
    @ivar handle: the job's.
    @ivar joined: whether it was there before: the last job with its unique had not ended.
    @ivar by_hand: whether somebody had it run.
    """

    at: float
    handle: bytes
    joined: bool
    by_hand: bool


class Submitted(NamedTuple):
    """
    A schedule's job on its way to the store.

    @ivar at: the time for which it is.
    @ivar number: its number.
    @ivar handle: its handle.
    @ivar reply: will say what has become of it.
    """

    at: float
    number: int
    handle: bytes
    reply: Reply


class Outlook(NamedTuple):
    """
    What is to come of a schedule.

    @ivar schedule: which one.
    @ivar after: the time from which on, in seconds since the epoch, by the wall clock;
    @ivar times: the first times after that.
    @ivar words: its cron line in words.
    @ivar remarks: what comes of it when the clock is changed.
    """

    schedule: Schedule
    after: float
    times: list[float]
    words: str
    remarks: list[Remark]


class Scheduler:
    """
    Submits the jobs of schedules at their times.

    Where times were missed, because the server was down or busy or could not store the job, one job is
    submitted, for the last of them.

    @ivar schedules: those that are in force, by name.
    """

    log = Logger()

    def __init__(self, server: Taker) -> None:
        """
        @param server: takes the jobs, and has the clock.
        """
        self._server = server
        self.schedules: dict[bytes, Schedule] = {}
        # The last time for which each has run; of one that is new, from when on its times count.
        self._marks: dict[bytes, float] = {}
        self._submitted: dict[bytes, Submitted] = {}
        # The time for which a job was refused last, and why.
        self._refused: dict[bytes, tuple[float, str]] = {}
        # The last jobs since the start.
        self._runs: dict[bytes, Run] = {}
        self._outlooks: dict[bytes, Outlook] = {}
        # When each is due, by the server's time, as long as the wall clock is ahead of that by this offset.
        self._due: dict[bytes, float] = {}
        self._offset = 0.0
        self._timer: IDelayedCall | None = None
        self._running = False

    def start(self, schedules: Iterable[Schedule], marks: Iterable[StoredValue]) -> None:
        """
        Begin, with a job for each schedule that has missed a time. A new schedule begins with its next time.
        This is a turn of its own.

        @param schedules: each with a name of its own.
        @param marks: the values that the store has kept.
        """
        self._running = True
        self._marks = {mark.name: mark.value for mark in marks if mark.kind == SCHEDULED}
        self._put_in_force(schedules)
        self._submit_due()

    def replace(self, schedules: Iterable[Schedule]) -> None:
        """
        Put these in force in place of all others. One that is new, or has other times than before, begins
        with its next time. This is a turn of its own.
        """
        schedules = tuple(schedules)
        for schedule in schedules:
            old = self.schedules.get(schedule.name)
            if old is not None and not old.same_times(schedule):
                self._forget(schedule.name)
        self._put_in_force(schedules)
        self._submit_due()

    def last_and_next(self, name: bytes) -> tuple[float, float | None]:
        """
        Of a schedule that is in force, the time for which it has run last, or from which on its times count;
        and its next time, C{None} where there will be none. Both are in seconds since the epoch, by the wall
        clock.
        """
        self._take_outcome(name)
        last = self._marks[name]
        following = self.schedules[name].following(max(self._server.wall_clock(), last))
        return last, None if following == inf else following

    def last_run(self, name: bytes) -> Run | None:
        """The last job of a schedule since the start."""
        return self._runs.get(name)

    def shown(self, name: bytes) -> dict[str, Any]:
        """
        What is known of a schedule that is in force, as plain values: its settings, but for the workload, of
        which there is the C{size}; C{words}, its cron line in words; C{last}, the time for which it has run,
        or from which on its times count; C{upcoming}, the next times, and C{next}, the first of them, or
        C{None} where there will be none; C{remarks}, what comes of it when the clock is changed; C{run}, the
        last L{Run} since the start, or C{None}; and C{refused}, why the job for the last time was not taken,
        or C{None}. Times are in seconds since the epoch, by the wall clock.
        """
        schedule = self.schedules[name]
        self._take_outcome(name)
        outlook = self._outlook(schedule)
        at, why = self._refused.get(name, (-inf, None))
        return {
            "name": name,
            "cron": schedule.cron,
            "words": outlook.words,
            "timezone": schedule.timezone,
            "function": schedule.function,
            "unique": schedule.unique,
            "priority": schedule.priority,
            "size": len(schedule.workload),
            "last": self._marks[name],
            "next": next(iter(outlook.times), None),
            "upcoming": outlook.times,
            "remarks": outlook.remarks,
            "run": self._runs.get(name),
            "refused": why if at > self._marks[name] else None,
        }

    def _outlook(self, schedule: Schedule) -> Outlook:
        """Worked out once for all who look until the next time: some lines take milliseconds."""
        after = max(self._server.wall_clock(), self._marks[schedule.name])
        known = self._outlooks.get(schedule.name)
        if (
            known is None
            or known.schedule is not schedule
            or not known.after <= after < next(iter(known.times), inf)
        ):
            coming = list(islice(schedule.times(after), UPCOMING))
            said = remarks(schedule.cron, schedule.timezone, after)
            known = Outlook(schedule, after, coming, in_words(schedule.cron), said)
            self._outlooks[schedule.name] = known
        return known

    def run(self, name: bytes) -> tuple[Job, bool, float]:
        """
        Submit the job of a schedule at once, as its time would; that one stays as it is. The turn is not
        ended.

        @return: the job; whether it was there before, as the last one with its unique has not ended; and when
            that is, for L{take_back}.
        @raise KeyError: there is no such schedule.
        @raise ServerError: the job is not taken.
        """
        schedule = self.schedules[name]
        job, joined = self._submit_job(schedule)
        at = self._server.wall_clock()
        self._runs[name] = Run(at, job.handle, joined, True)
        return job, joined, at

    def take_back(self, name: bytes, at: float) -> None:
        """
        The store has not taken the job of a L{Run}: there was none.

        @param at: that of the run.
        """
        if name in self._runs and self._runs[name].at == at:
            del self._runs[name]

    def stop(self) -> None:
        """Submit no more jobs."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _put_in_force(self, schedules: Iterable[Schedule]) -> None:
        self.schedules = {schedule.name: schedule for schedule in schedules}
        now = self._server.wall_clock()
        put_value = self._server.broker.persistence.put_value
        for name in self._marks.keys() - self.schedules.keys():
            self._forget(name)
            put_value(StoredValue(SCHEDULED, name, 0.0))
        for name in self.schedules.keys() - self._marks.keys():
            self._marks[name] = now
            put_value(StoredValue(SCHEDULED, name, now))
        self._due = dict.fromkeys(self.schedules, -inf)
        for name in (self._outlooks.keys() | self._runs.keys()) - self.schedules.keys():
            self._outlooks.pop(name, None)
            self._runs.pop(name, None)

    def _forget(self, name: bytes) -> None:
        for known in (self._marks, self._submitted, self._refused):
            known.pop(name, None)

    def _submit_due(self) -> None:
        """Submit the jobs of schedules that are due, and set the timer for the next one."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._running and not self._server.broker.dispatcher.draining:
            wall = self._server.wall_clock()
            now = self._server.seconds()
            if self._server.broker.timers.offset != self._offset:
                self._offset = self._server.broker.timers.offset
                self._due = dict.fromkeys(self.schedules, -inf)
            for name, due in self._due.items():
                if due <= now:
                    self._due[name] = now + self._submit_missed(self.schedules[name], wall)
            if self._due:
                delay = min(max(min(self._due.values()) - now, 0.0), LONGEST_SLEEP)
                self._timer = self._server.clock.callLater(delay, self._submit_due)
        self._server.end_turn()

    def _submit_missed(self, schedule: Schedule, wall: float) -> float:
        """
        Submit the job of a schedule, if it has missed a time.

        @return: seconds until it is due again.
        """
        name = schedule.name
        if not self._take_outcome(name):
            return RETRY
        mark = self._marks[name]
        missed = schedule.last(mark, wall)
        if missed is not None and not self._submit(schedule, missed):
            return min(RETRY, schedule.following(wall) - wall)
        wait = schedule.following(max(mark, wall)) - wall
        return min(RETRY, wait) if name in self._submitted else wait

    def has_come(self, name: bytes, at: float, handle: bytes) -> None:
        """
        The job of a schedule is taken.

        @param at: the time for which it is, or when it was run by hand.
        @param handle: the job's; the store may have had it before, as another one.
        """
        run = self._runs.get(name)
        if run is not None and run.at == at and run.handle != handle:
            self._runs[name] = run._replace(handle=handle, joined=True)

    def _take_outcome(self, name: bytes) -> bool:
        """
        Learn what became of the last job of a schedule.

        @return: whether another one may be submitted.
        """
        if name not in self._submitted:
            return True
        at, number, own, reply = self._submitted[name]
        if reply.packet is None:
            return False
        del self._submitted[name]
        persistence = self._server.broker.persistence
        if reply.packet[0] == JOB_CREATED:
            self._marks[name] = at
            handle = bytes(reply.packet[1])
            self.has_come(name, at, handle)
            if persistence.clustered and handle != own:
                # It may have joined a job of another server, which is none of the schedule's.
                persistence.put_value(StoredValue(SCHEDULED, name, at, text=shown_handle(handle)))
        else:
            self.take_back(name, at)
            # The store may have the refused one's, if it took the job too late.
            mark = StoredValue(SCHEDULED, name, self._marks[name])
            if persistence.clustered:
                mark = mark._replace(number=number, text=shown_handle(own))
            persistence.put_value(mark)
            self._refuse(name, at, bytes(reply.packet[-1]).decode("utf-8", "replace"))
            # What is to be put back is to be there before the next one comes.
            return not persistence.clustered
        return True

    def _submit(self, schedule: Schedule, at: float) -> bool:
        """
        @return: whether the job was taken, or is on its way to the store.
        """
        try:
            job, joined = self._submit_job(schedule, (schedule.name, at))
        except ServerError as error:
            self._refuse(schedule.name, at, error.text)
            return False
        self._runs[schedule.name] = Run(at, job.handle, joined, False)
        if job.reply is not None:
            self._submitted[schedule.name] = Submitted(at, job.number, job.handle, job.reply)
        else:
            self._marks[schedule.name] = at
        return True

    def _submit_job(self, schedule: Schedule, noted: tuple[bytes, float] | None = None) -> tuple[Job, bool]:
        """
        @param noted: the schedule's name, and the time for which it is, to be remembered with the job.
        """
        broker = self._server.broker
        before = broker.table.last_number
        job = broker.submit(
            None,
            schedule.function,
            schedule.unique,
            schedule.workload,
            self._server.seconds(),
            schedule.priority,
            background=True,
            schedule=noted,
        )
        return job, job.number <= before

    def _refuse(self, name: bytes, at: float, reason: str) -> None:
        """Log that a job was not taken, once for each time."""
        if self._refused.get(name, (-inf, ""))[0] != at:
            self._refused[name] = at, reason
            self.log.error(
                "schedule {name}: the job for {at} is not taken: {reason};"
                " trying again every {seconds:g} s until the next time",
                name=name.decode("utf-8", "replace"),
                at=datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
                reason=reason,
                seconds=RETRY,
            )
