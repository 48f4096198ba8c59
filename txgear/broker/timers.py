"""
The one timer of a server: what is to happen to jobs and functions, and when.

Spans are measured by the server's time, which nobody can set. What peers send, and what is kept and
shown, is the wall clock's. Where the two meet, L{Timers.offset} is between them.
"""

from __future__ import annotations

from math import inf
from typing import Final

from txgear.broker.model import Appointment, Function, Job
from txgear.broker.timerqueue import TimerQueue

LOOK_SECONDS: Final = 1.0
"""Between two looks at the wall clock, by whoever needs it: it may be set meanwhile."""


class Timers:
    """
    @ivar deadline: when the broker is to be called at the latest, by the server's time; infinite for
        not at all.
    @ivar offset: what the wall clock is ahead of the server's time, in seconds.
    """

    __slots__ = ("_appointments", "_queue", "deadline", "offset")

    def __init__(self) -> None:
        self.deadline = inf
        self.offset = 0.0
        self._queue: TimerQueue[Job | Function] = TimerQueue()
        # By the wall clock.
        self._appointments: TimerQueue[Appointment] = TimerQueue()

    def call_at(self, moment: float) -> None:
        """Have the broker called at this time, by the server's, or earlier."""
        self.deadline = min(self.deadline, moment)

    def add(self, item: Job | Function, due: float) -> None:
        """
        Something is to happen to this job or function, which waits for nothing yet.

        @param due: when, by the server's time.
        """
        self._queue.add(item, due)
        self.deadline = min(self.deadline, due)

    def discard(self, item: Job | Function) -> None:
        """Nothing is to happen to it any more."""
        self._queue.discard(item)

    def pop_due(self, now: float) -> Job | Function | None:
        """
        The earliest whose time has come, which waits for nothing any more.

        @return: C{None} if there is none, or if a great many have to be put in order before.
        """
        return self._queue.pop_due(now)

    # By the wall clock

    def wall(self, moment: float) -> float:
        """
        @param moment: by the server's time; 0.0 for never.
        @return: the same by the wall clock.
        """
        return moment and moment + self.offset

    def set_offset(self, offset: float, now: float) -> None:
        """
        The wall clock has been set: what waits for a time by it comes sooner or later than was
        thought, and nothing else does.

        @param offset: what it is ahead of the server's time from now on.
        """
        self.offset = offset
        self.call_at(now)

    def appoint(self, job: Job, due: float, now: float) -> None:
        """
        The job waits for a time by the wall clock.

        @param due: that time, in seconds since the epoch.
        """
        job.appointment = Appointment(job)
        self._appointments.add(job.appointment, due)
        self.call_at(min(due - self.offset, now + LOOK_SECONDS))

    def cancel(self, job: Job) -> None:
        """Whatever a job waited for is of no interest any more."""
        self._queue.discard(job)
        if job.appointment is not None:
            self._appointments.discard(job.appointment)
            job.appointment = None

    def pop_appointment(self, now: float) -> Job | None:
        """The job whose time by the wall clock has come first, as in L{pop_due}."""
        appointment = self._appointments.pop_due(now + self.offset)
        return None if appointment is None else appointment.job

    def next_due(self, now: float) -> float:
        """When something here comes next, or the wall clock is to be looked at, by the server's time."""
        due = self._queue.next_due()
        if self._appointments:
            return min(due, self._appointments.next_due() - self.offset, now + LOOK_SECONDS)
        return due

    def check(self, jobs: int, functions: int, appointments: int) -> None:
        """
        Is there one entry for each that waits?

        @param jobs: how many have a C{due}.
        @param functions: how many have one.
        @param appointments: how many jobs have one.
        @raise AssertionError: there is not.
        """
        assert len(self._queue) == jobs + functions, (len(self._queue), jobs, functions)
        assert len(self._appointments) == appointments, (len(self._appointments), appointments)
