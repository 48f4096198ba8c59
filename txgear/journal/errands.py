"""
What somebody else than the broker wants of the store: one call after the other, between those for jobs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from twisted.internet.interfaces import IReactorTime

from txgear.journal.link import CLOSED, LAST_RETRY, TAKEN, Link

T = TypeVar("T")


class Errand(NamedTuple):
    """
    Something to be done at the store.

    @ivar call: called with the store on its thread.
    @ivar done: called with what that returns, and with when it began and ended, by the clock.
    @ivar failed: called if it fails, or is given up; with whether the store was called.
    """

    call: Callable[[Any], Any]
    done: Callable[[Any, float, float], None]
    failed: Callable[[bool], None]


class Pauses:
    """
    How long somebody waits with an errand that has failed and is to be run again: twice as long each time
    that the store was called for it in vain, as after each of these it is opened again. Where the store is
    known to be away that costs nothing, and the first one after an outage is to be soon.
    """

    __slots__ = ("_failures", "_shortest")

    def __init__(self, shortest: float) -> None:
        """
        @param shortest: seconds after the first failure; the longest pause is L{LAST_RETRY}.
        """
        self._shortest = shortest
        self._failures = 0

    def succeeded(self) -> None:
        """The errand is done."""
        self._failures = 0

    def failed(self, was_called: bool) -> float:
        """
        The errand has failed.

        @param was_called: whether the store was called for it.
        @return: seconds until it is to be run again.
        """
        seconds = self._shortest * 2.0 ** min(self._failures, 10) if was_called else self._shortest
        self._failures = self._failures + 1 if was_called else 0
        return min(seconds, LAST_RETRY)


class Errands:
    """
    Those that wait. Each is carried out before any further read or write of jobs, however many of those wait.
    """

    def __init__(self, link: Link, clock: IReactorTime, turn_ended: Callable[[], None]) -> None:
        """
        @param turn_ended: called when there is something to be done.
        """
        self._link = link
        self._clock = clock
        self._turn_ended = turn_ended
        self._waiting: deque[Errand] = deque()

    def run(
        self,
        call: Callable[[Any], T],
        done: Callable[[T, float, float], None],
        failed: Callable[[bool], None],
    ) -> None:
        """
        Have something done at the store, as soon as it can be called. That says nothing of writes: neither is
        the lease renewed by it, nor are submits refused where it fails. A store that is away is tried soon.

        @param call: called with the store on its thread.
        @param done: called in a turn of the server's with what that returns, and with when it began and
            ended, by the clock.
        @param failed: called if it fails, or the store is lost before; with whether the store was called.
        """
        self._waiting.append(Errand(call, done, failed))
        if self._link.state in (CLOSED, TAKEN):
            self.drop()
            return
        if self._link.unavailable is not None:
            self.drop()
            self._link.retries.soon()
        self._turn_ended()

    @property
    def ready(self) -> bool:
        return bool(self._waiting)

    def start(self) -> None:
        """Carry out the first; it is L{ready}, and the link is open."""
        errand = self._waiting.popleft()
        began = self._clock.seconds()

        def done(result: Any) -> None:
            self._link.tell(errand.done, result, began, self._clock.seconds())

        self._link.call(errand.call, done, lambda: self._link.tell(errand.failed, True), is_read=True)

    def drop(self) -> None:
        """The store does not answer: nobody is kept waiting."""
        waiting, self._waiting = self._waiting, deque()
        for errand in waiting:
            self._link.tell(errand.failed, False)
