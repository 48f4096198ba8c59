"""
A reactor whose time is not the wall clock's.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from twisted.internet.base import ReactorBase


def use_monotonic_clock(reactor: Any) -> None:
    """
    Have a reactor measure time by a clock that nobody can set.

    Twisted's C{reactor.seconds} is C{time.time}, and C{callLater} counts by it: when the clock is set
    back by an hour, nothing that waits for a time happens for an hour; when it is set forward, all
    timers that end within the hour go off at once. From this call on C{seconds} counts on from the
    wall clock's reading, but by the system's monotonic clock. Timers that are set already keep their
    times. What is wanted by the wall clock is asked of C{time.time}.

    The job server does this to its own reactor. A program that has a L{txgear.Client} or a
    L{txgear.Worker} does it once, before it runs the reactor, or later in the reactor's thread; to do
    it twice is to do it once.

    @param reactor: one of Twisted's.
    @raise TypeError: it is another one, or has a clock of its own.
    """
    known = vars(reactor).get("seconds")
    if isinstance(known, _Steady):
        return
    if not isinstance(reactor, ReactorBase) or reactor.seconds is not ReactorBase.seconds:
        raise TypeError(f"{type(reactor).__name__} is no reactor of Twisted's, or has a clock of its own")
    steady = _Steady(reactor.seconds())
    reactor.seconds = steady
    for call in reactor.getDelayedCalls():
        # What it was set to is the same moment by either; what it is moved to is to be as well.
        call.seconds = steady  # type: ignore[attr-defined]


class _Steady:
    """Seconds that count on from a reading of the wall clock."""

    __slots__ = ("_start",)

    def __init__(self, reading: float) -> None:
        self._start = reading - monotonic()

    def __call__(self) -> float:
        return self._start + monotonic()
