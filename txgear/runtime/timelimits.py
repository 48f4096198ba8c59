"""
Soft time limits: a job that takes too long is told so by an exception, within its function.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from threading import Lock, get_ident
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.errors import TxgearError

LOOK_SECONDS: Final = 1.0
"""How often it is looked for jobs that have taken too long, at the least."""
LOOKS: Final = 10
"""How often it is looked in the time of a shorter limit."""
CHECKS: Final = 100
"""Turns of a loop in which the interpreter looks for what is to be raised; it does in each."""


class TimeLimit(TxgearError):
    """
    Raised within a function whose job takes longer than C{soft_time}. A function may catch it to tidy up, or
    even to return what it has. Nothing of it is raised a second time.
    """


class Limited(Protocol):
    """A job that can be told that its time is up."""

    def tell(self, seconds: float) -> None:
        """@param seconds: how long it might take."""


class TimeLimits:
    """
    The jobs that run, and the limit of all of them.

    It may be told of jobs from any thread. One timer does for all: a timer for each would cost more than many
    a job.
    """

    log = Logger()

    def __init__(self, reactor: IReactorTime, limit: float) -> None:
        """
        @param limit: seconds that a job may take.
        """
        self._clock = reactor
        self._limit = limit
        # In the order in which they began, which is the order in which their time is up.
        self._running: dict[Limited, float] = {}
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        looking = self._looking.start(min(LOOK_SECONDS, limit / LOOKS), now=False)
        _ = looking.addErrback(lambda failure: self.log.failure("time limits are not looked at", failure))

    def begin(self, job: Limited) -> None:
        """A job has begun."""
        self._running[job] = self._clock.seconds()

    def end(self, job: Limited) -> None:
        """A job has ended."""
        self._running.pop(job, None)

    def _look(self) -> None:
        due = self._clock.seconds() - self._limit
        # A copy, as threads begin and end jobs meanwhile.
        for job, began in list(self._running.items()):
            if began > due:
                break
            self.end(job)
            job.tell(self._limit)


class InLoop:
    """A job whose function has returned a Deferred: that is cancelled."""

    def __init__(self, running: Deferred[Any]) -> None:
        self._running = running
        self._told: TimeLimit | None = None

    def tell(self, seconds: float) -> None:
        """Part of L{Limited}."""
        self._told = _time_limit(seconds)
        self._running.cancel()

    def outcome(self, failure: Failure) -> Failure:
        """What a failure is called: a cancellation by us is a L{TimeLimit}."""
        if self._told is not None and failure.check(CancelledError):
            return Failure(self._told)
        return failure


class InThread:
    """
    A job whose function runs in this thread. The interpreter raises L{TimeLimit} there as soon as it executes
    Python again: a call of C code that takes long is not cut short.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._thread: int | None = get_ident()
        self._told: type[TimeLimit] | None = None

    def tell(self, seconds: float) -> None:
        """Part of L{Limited}."""
        with self._lock:
            if self._thread is not None:
                self._told = type("TimeLimit", (_ToldLimit,), {"text": _time_text(seconds)})
                _raise_in(self._thread, self._told)

    def run(self, call: Callable[[], Any]) -> Any:
        """
        Call something, which may be told until it returns.

        @raise TimeLimit: it was told, and has not caught that.
        """
        try:
            return call()
        finally:
            try:
                with self._lock:
                    thread, self._thread = self._thread, None
                if self._told is not None and thread is not None:
                    # It may not have heard it yet, and that must not come up elsewhere: it does here. It
                    # cannot be taken back: with that Python 3.11 stands still where something traces it.
                    _raise_in(thread, self._told)
                    for _ in range(CHECKS):
                        pass
            except TimeLimit:
                pass


class _ToldLimit(TimeLimit):
    """The interpreter makes the exception itself, of a class without arguments."""

    text = ""

    def __init__(self) -> None:
        super().__init__(self.text)


def _time_text(seconds: float) -> str:
    return f"it has taken longer than {seconds:g} second{'' if seconds == 1 else 's'}"


def _time_limit(seconds: float) -> TimeLimit:
    return TimeLimit(_time_text(seconds))


def _raise_in(thread: int, kind: type[BaseException]) -> None:
    """Have the interpreter raise an exception in a thread, in place of one that was not raised there yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))
