"""
How many of a function's jobs may start now: its rate, how many run at once, and
whether an operator has paused it.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from txgear.policies import Rate


class Bucket:
    """
    A bucket of tokens. It is kept as the time at which it will be full: nothing has to be done while it
    fills.

    @ivar rate: how fast tokens come, and how many it holds; C{None} for no bound.
    @ivar full: when it will be full, by the server's time, or when it was; without a rate it means nothing.
    @ivar interval: seconds in which a token comes; 0.0 without a rate.
    @ivar slack: seconds in which all come that it holds but one; 0.0 without a rate.
    """

    __slots__ = ("full", "interval", "rate", "slack")

    def __init__(self) -> None:
        self.rate: Rate | None = None
        self.interval = self.slack = 0.0
        self.full = -inf

    def take(self, now: float) -> bool:
        """Use up a token, if there is one."""
        if self.rate is None:
            return True
        full = self.full
        if full <= now:
            self.full = now + self.interval
        # As in opens, which is one call more on the way of each submit.
        elif now < full - self.slack:
            return False
        else:
            self.full = full + self.interval
        return True

    def tokens(self, rate: Rate, now: float) -> int:
        """
        How many are there.

        @param rate: its own.
        """
        if now < self.opens():
            return 0
        missing = max(self.full - now, 0.0) / rate.interval
        # At the very moment for which L{opens} was asked there is one, whatever the last digit says.
        return max(int(rate.burst - missing), 1)

    def opens(self) -> float:
        """When the next token is there, by the server's time; it may be over."""
        return -inf if self.rate is None else self.full - self.slack

    def started(self, now: float) -> bool:
        """
        A token is used up: something has started.

        @return: whether there is another.
        """
        # Without max, which is a call more for each job.
        full = self.full
        self.full = full = (now if full < now else full) + self.interval
        return full - self.slack <= now

    def set_rate(self, rate: Rate | None, now: float) -> None:
        """Let this rate hold from now on; tokens that are missing stay so, and come at the new rate."""
        if rate == self.rate:
            return
        if rate is None or self.rate is None:
            self.full = -inf
        else:
            missing = max(self.full - now, 0.0) / self.rate.interval
            self.full = now + min(missing, rate.burst) * rate.interval
        self.rate = rate
        self.interval = 0.0 if rate is None else rate.interval
        self.slack = 0.0 if rate is None else (rate.burst - 1) * rate.interval

    def refill(self, now: float) -> None:
        """Forget when the bucket was to be full, if it is by now."""
        if self.full <= now:
            self.full = -inf


class Throttle(Bucket):
    """
    What holds the jobs of one function back: its bucket has a token for each job that may start.

    @ivar paused: whether an operator wants no job to start.
    @ivar paused_since: since when, by the wall clock, in seconds since the epoch; 0.0 where nobody has.
    @ivar paused_by: who has; empty where that is not known.
    @ivar suspended: how many others want no job to start for now.
    @ivar concurrency: jobs that may run at once; C{None} for no bound.
    @ivar borrowed: whether it is that of all servers of a cluster, and this one may run so many as they have
        left to it: as long as they know that it lives.
    """

    __slots__ = ("borrowed", "concurrency", "paused", "paused_by", "paused_since", "suspended")

    def __init__(self) -> None:
        super().__init__()
        self.paused = False
        self.paused_since = 0.0
        self.paused_by = ""
        self.suspended = 0
        self.concurrency: int | None = None
        self.borrowed = False

    def pause(self, since: float, by: str) -> None:
        """
        An operator wants no job to start.

        @param since: since when, by the wall clock.
        @param by: who it is.
        """
        self.paused, self.paused_since, self.paused_by = True, since, by

    def resume(self) -> None:
        """No operator does any more."""
        self.paused, self.paused_since, self.paused_by = False, 0.0, ""

    @property
    def needed(self) -> bool:
        """Whether it holds anything back, ever."""
        bounded = self.concurrency is not None or self.rate is not None
        return bounded or self.paused or bool(self.suspended)

    def available(self, running: int, now: float) -> int | None:
        """
        How many jobs may start now.

        @param running: how many run.
        @return: C{None} for no bound.
        """
        if self.paused or self.suspended:
            return 0
        available = None if self.concurrency is None else max(self.concurrency - running, 0)
        if self.rate is not None:
            tokens = self.tokens(self.rate, now)
            available = tokens if available is None else min(available, tokens)
        return available
