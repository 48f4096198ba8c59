"""
Turns that are short, however much one peer asks for in one go.

A read of 64 KiB holds thousands of requests, and some of them bring a thousand
times their own size. What a turn does not get through in some milliseconds is
gone on with in later ones, a piece in each, and everybody else is served
between. The peer is not read meanwhile, and the order of its answers is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Cooperator, SchedulerStopped
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from txgear.errors import ProtocolError
from txgear.net.batchedreads import BatchedReads
from txgear.net.stream import BEHIND, CROWDED, PAUSE_FROM, Stream
from txgear.protocol.packets import Decoder, Received
from txgear.server.budget import Budget

TURN_SECONDS: Final = 0.005
"""How long one peer's requests may take in one turn: several of these in a row are no stall to others."""
TURN_BYTES: Final = PAUSE_FROM // 16
"""Bytes that one turn may bring its peer: to copy them takes a millisecond or two."""
LOOK_EVERY: Final = 16
"""Requests between two looks at the time: most take some microseconds, the slowest half a millisecond."""

Steps = Iterator["Deferred[None] | None"]
"""Something done in pieces; a Deferred says when to go on."""


def cooperator(clock: IReactorTime, seconds: Callable[[], float]) -> Cooperator:
    """What does the work that is put off: for L{TURN_SECONDS} in each turn of the reactor."""

    def slice_ends() -> Callable[[], bool]:
        end = seconds() + TURN_SECONDS
        return lambda: seconds() >= end

    return Cooperator(slice_ends, lambda tick: clock.callLater(0, tick))


class ShortTurns(Stream):
    """
    The server's end of a connection. A subclass's C{packets_received} looks at
    the time now and then, and hands what is left to L{postpone}.
    """

    __slots__ = (
        "_arrived",
        "_before_postponed",
        "_budget",
        "_cooperator",
        "_dropped",
        "_half_closed",
        "_is_behind",
        "_lost",
        "_postponed",
        "_wake",
    )

    def __init__(
        self,
        clock: IReactorTime,
        decoder: Decoder,
        reads: BatchedReads | None,
        cooperator: Cooperator,
        budget: Budget,
    ) -> None:
        """
        @param cooperator: does what is put off.
        @param budget: bounds what has not arrived whole.
        """
        super().__init__(clock, decoder, reads)
        self._cooperator = cooperator
        self._budget = budget
        self._postponed: Iterator[Received] | None = None
        self._before_postponed: Steps | None = None
        self._arrived: list[bytes] = []
        self._is_behind = False
        self._half_closed = False
        self._lost = False
        self._dropped = False
        self._wake: Deferred[None] | None = None

    def postpone(self, packets: Iterator[Received], first: Steps | None = None) -> None:
        """
        This turn has been long enough: go on with its packets in a later one.

        @param first: what is to be done before.
        """
        self._postponed, self._before_postponed = packets, first
        if not self._is_behind:
            self._is_behind = True
            self.stop_reading(BEHIND)
            # A transport that is paused may still give what it has taken from the socket before: TLS does.
            self.dataReceived = self._arrived.append  # type: ignore[method-assign, assignment]
            # What is done at the end may stop the cooperator: not within a task of its own.
            done: Any = self._cooperator.cooperate(self._go_through_postponed()).whenDone()
            done.addCallbacks(lambda task: self._postponed_is_done(), self._failed)
            done.addErrback(lambda failure: self.log.failure("a connection failed", failure))

    def _go_through_postponed(self) -> Steps:
        while not self._dropped and (self._postponed is not None or self._arrived):
            if self._stopped & ~BEHIND and not self._lost:
                yield self._until_woken()
                continue
            if self._before_postponed is not None:
                first, self._before_postponed = self._before_postponed, None
                yield from first
                continue
            packets, self._postponed = self._postponed, None
            if packets is None:
                data = b"".join(self._arrived)
                self._arrived.clear()
                packets = self.decoder.feed(data)
            self.take_turn(packets)
            yield None

    def take_turn(self, packets: Iterator[Received]) -> None:
        """
        One more turn, just as C{dataReceived} takes one: that has it all for itself, as one call more for
        each read costs two hundredths of a job.

        @param packets: what an earlier turn has left.
        """
        try:
            self.packets_received(packets)
        except ProtocolError as error:
            self.break_off(error)
        finally:
            self.turn_ended()
        if self.decoder.needed or self._unfinished:
            self.unfinished(self.decoder.held)

    def break_off(self, error: ProtocolError) -> None:
        """As in L{Stream}: what has arrived after it is not gone through."""
        self._dropped = True
        super().break_off(error)

    def _postponed_is_done(self) -> None:
        self._is_behind = False
        del self.dataReceived
        if self._lost:
            self.peer_gone()
        elif self._half_closed:
            self.readConnectionLost()
        else:
            self.go_on_reading(BEHIND)

    def _failed(self, failure: Failure) -> None:
        """A defect of ours costs the one connection, as in the reactor."""
        if failure.check(SchedulerStopped):
            return
        self.log.failure("a connection failed", failure)
        self.abort()
        self._postponed_is_done()

    def _until_woken(self) -> Deferred[None]:
        """When to look again whether there is still a reason to wait."""
        self._wake = Deferred()
        return self._wake

    def wake(self) -> None:
        """What was waited for may have come."""
        if self._wake is not None:
            wake, self._wake = self._wake, None
            wake.callback(None)

    def until_caught_up(self) -> Steps:
        """Wait until the peer has been written all that it was sent, or is gone."""
        while not (self.caught_up or self.closing):
            self.when_caught_up(self.wake)
            yield self._until_woken()

    def go_on_reading(self, reason: int) -> None:
        """As in L{Stream}; what is read no further may be gone on with."""
        super().go_on_reading(reason)
        self.wake()

    # What has not arrived whole

    def unfinished(self, held: int) -> None:
        """As in L{Stream}; the budget hears of it."""
        super().unfinished(held)
        if not self.closing:
            self._budget.holds(self, held)

    @property
    def missing(self) -> int:
        """Part of L{txgear.server.budget.Holder}."""
        return self.decoder.missing

    @property
    def is_read(self) -> bool:
        """Part of L{txgear.server.budget.Holder}."""
        return not self._stopped

    def wait_for_memory(self) -> None:
        """Part of L{txgear.server.budget.Holder}."""
        self.stop_reading(CROWDED)

    def go_on(self) -> None:
        """Part of L{txgear.server.budget.Holder}."""
        self.go_on_reading(CROWDED)

    def drop(self, why: str) -> None:
        """Part of L{txgear.server.budget.Holder}."""
        self.complain(LogLevel.info, "{peer} {why}; connection dropped", why=why)
        self.abort()

    # The end

    def readConnectionLost(self) -> None:
        """The peer sends no more: it is sent what it asked for, and that is the end."""
        if self._is_behind and not self.closing:
            self._half_closed = True
        else:
            self.input_over()

    def input_over(self) -> None:
        """The peer sends no more, and all that it sent has been gone through."""
        super().readConnectionLost()

    def close(self, linger: bool = False) -> None:
        """As in L{Stream}: what has not been gone through is dropped."""
        self._forget_postponed()
        super().close(linger)

    def abort(self) -> None:
        """As in L{Stream}."""
        self._forget_postponed()
        super().abort()

    def _forget_postponed(self) -> None:
        self._dropped = True
        self._postponed = self._before_postponed = None
        self._arrived.clear()
        self._budget.holds(self, 0)
        self.wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is gone. What was read of it is still gone through: a
        client that submits and leaves wants it done.
        """
        super().connectionLost(reason)
        self._lost = True
        if self._unfinished:
            self._budget.holds(self, 0)
        if self._is_behind:
            self.wake()
        else:
            self.peer_gone()

    def peer_gone(self) -> None:
        """The connection is gone, and there is nothing left to do for it."""
