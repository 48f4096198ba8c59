"""
Schedules: cron lines that submit background jobs.

The store keeps the last time of a schedule together with its job, in one transaction. So no schedule runs
twice for one time, whatever happens in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from math import inf
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from txgear.broker.model import Reply
from txgear.broker.records import SCHEDULED, StoredValue
from txgear.errors import ServerError
from txgear.protocol.constants import JOB_CREATED, NORMAL
from txgear.server.crontimes import UTC, times

if TYPE_CHECKING:
    from txgear.server.jobserver import JobServer

RETRY: Final = 10.0
"""Seconds after which a job that was refused is submitted again, and the outcome of others is asked for."""
LONGEST_SLEEP: Final = 1.0
"""Seconds between two looks at the wall clock, which may be set; and a machine may be suspended."""

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


class Scheduler:
    """
    Submits the jobs of schedules at their times.

    Where times were missed, because the server was down or busy or could not store the job, one job is
    submitted, for the last of them.

    @ivar schedules: those that are in force, by name.
    """

    log = Logger()

    def __init__(self, server: JobServer) -> None:
        """
        @param server: takes the jobs, and has the clock.
        """
        self._server = server
        self.schedules: dict[bytes, Schedule] = {}
        # The last time for which each has run; of one that is new, from when on its times count.
        self._marks: dict[bytes, float] = {}
        # The time for which a job is on its way to the store, and the reply that will say what became of it.
        self._submitted: dict[bytes, tuple[float, Reply]] = {}
        # The time for which a job was refused last.
        self._refused: dict[bytes, float] = {}
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

    def listed(self) -> list[dict[str, Any]]:
        """
        All that are in force, in the order of the file, as plain values: the settings of each; C{last}, the
        time for which it has run, or from which on its times count; and C{next}, C{None} where there will
        be none. Both are in seconds since the epoch, by the wall clock.
        """
        now = self._server.wall_clock()
        found = []
        for name, schedule in self.schedules.items():
            self._take_outcome(name)
            following = schedule.following(max(now, self._marks[name]))
            found.append(
                {
                    "name": name,
                    "cron": schedule.cron,
                    "timezone": schedule.timezone,
                    "function": schedule.function,
                    "last": self._marks[name],
                    "next": None if following == inf else following,
                }
            )
        return found

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

    def _take_outcome(self, name: bytes) -> bool:
        """
        Learn what became of the last job of a schedule.

        @return: whether that is known, or there is no such job.
        """
        if name not in self._submitted:
            return True
        at, reply = self._submitted[name]
        if reply.packet is None:
            return False
        del self._submitted[name]
        if reply.packet[0] == JOB_CREATED:
            self._marks[name] = at
        else:
            # The store may have the refused one's, if it took the job too late.
            self._server.broker.persistence.put_value(StoredValue(SCHEDULED, name, self._marks[name]))
            self._refuse(name, at, bytes(reply.packet[-1]).decode("utf-8", "replace"))
        return True

    def _submit(self, schedule: Schedule, at: float) -> bool:
        """
        @return: whether the job was taken, or is on its way to the store.
        """
        try:
            job = self._server.broker.submit(
                None,
                schedule.function,
                schedule.unique,
                schedule.workload,
                self._server.seconds(),
                schedule.priority,
                background=True,
                schedule=(schedule.name, at),
            )
        except ServerError as error:
            self._refuse(schedule.name, at, error.text)
            return False
        if job.reply is not None:
            self._submitted[schedule.name] = at, job.reply
        else:
            self._marks[schedule.name] = at
        return True

    def _refuse(self, name: bytes, at: float, reason: str) -> None:
        """Log that a job was not taken, once for each time."""
        if self._refused.get(name) != at:
            self._refused[name] = at
            self.log.error(
                "schedule {name}: the job for {at} is not taken: {reason};"
                " trying again every {seconds:g} s until the next time",
                name=name.decode("utf-8", "replace"),
                at=datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
                reason=reason,
                seconds=RETRY,
            )
