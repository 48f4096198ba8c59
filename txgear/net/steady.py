"""
Timers that are right whatever happens to the wall clock and to the process.

The timers of Twisted's reactors are measured by the wall clock: when that is set forward, they run
too early. And after a pause of our own (a function that blocked, SIGSTOP, a machine that slept) a
reactor calls all timers that are due before it reads what has come meanwhile. So a watchdog
would take its own pause for the silence of the other side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

LATE: Final = 0.1
"""Seconds by which a timer may be late before we take it that we stood still; a busy turn takes less."""


def steady(reactor: IReactorTime) -> IReactorTime:
    """
    The timers of a reactor, made steady.

    A timer that was set before the clock is set back runs late by as much, as nothing wakes the
    reactor before; L{txgear.net.monotonic} changes that for the whole reactor.

    @return: for one of Twisted's reactors a L{Steady}; anything else, a test's C{Clock} above all, is
        taken for steady itself.
    """
    return Steady(reactor) if isinstance(reactor, ReactorBase) else reactor


@implementer(IReactorTime)
class Steady:
    """
    A reactor's timers, measured by a clock that nobody sets.

    No timer runs before its time. One that is late by more than L{LATE} runs a turn of the reactor later,
    so that what lies in the sockets is read first.
    """

    def __init__(self, reactor: IReactorTime, now: Callable[[], float] = time.monotonic) -> None:
        """
        @param now: seconds, from any beginning.
        """
        self._reactor = reactor
        self._now = now

    def seconds(self) -> float:
        return self._now()

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> IDelayedCall:
        return _Call(self._reactor, self._now, delay, partial(callable, *args, **kwargs))

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        return self._reactor.getDelayedCalls()


@implementer(IDelayedCall)
class _Call:
    def __init__(
        self, reactor: IReactorTime, now: Callable[[], float], delay: float, call: Callable[[], object]
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._call = call
        self._time = now() + delay
        self._timer: IDelayedCall = reactor.callLater(delay, self._due)

    def _due(self) -> None:
        late = self._now() - self._time
        if late < 0:
            self._timer = self._reactor.callLater(-late, self._due)
        elif late > LATE:
            self._timer = self._reactor.callLater(0, self._call)
        else:
            self._call()

    def getTime(self) -> float:
        return self._time

    def cancel(self) -> None:
        self._timer.cancel()

    def delay(self, secondsLater: float) -> None:
        self.reset(self._time + secondsLater - self._now())

    def reset(self, secondsFromNow: float) -> None:
        self._timer.cancel()
        self._time = self._now() + secondsFromNow
        self._timer = self._reactor.callLater(secondsFromNow, self._due)

    def active(self) -> bool:
        return bool(self._timer.active())
