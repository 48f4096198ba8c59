"""
Short turns, however much one peer asks for in one go.

A read of 64 KiB holds thousands of requests, and some answers are a thousand times as large as the request.
A turn that has taken some milliseconds postpones the rest of its packets. Later turns take a piece each, and
other peers are served between them. The peer is not read meanwhile, and the order of its answers is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Cooperator, SchedulerStopped
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from txgear.errors import ProtocolError
from txgear.net.batchedreads import BatchedReads
from txgear.net.stream import BEHIND, CROWDED, PAUSE_FROM, Stream, Traffic
from txgear.protocol.packets import Decoder, Received
from txgear.server.budget import Budget

TURN_SECONDS: Final = 0.005
"""How long one peer's requests may take in one turn. Others do not notice several such turns in a row."""
TURN_BYTES: Final = PAUSE_FROM // 16
"""Bytes of answers that one turn may write for its peer: copying them takes a millisecond or two."""
PATIENT_SECONDS: Final = 0.002
"""The same for work that is done for nobody in particular, or that takes long in any case."""
LOOK_EVERY: Final = 16
"""Requests between two looks at the time: most take some microseconds, the slowest half a millisecond."""

Steps = Iterator["Deferred[None] | None"]
"""Work that is done in pieces. A piece that yields a Deferred is followed by the next when that has fired."""


def cooperator(clock: IReactorTime, seconds: Callable[[], float], turn: float = TURN_SECONDS) -> Cooperator:
    """
    A L{Cooperator} for postponed work.

    @param turn: for how many seconds it works in each turn of the reactor.
    """

    def slice_ends() -> Callable[[], bool]:
        end = seconds() + turn
        return lambda: seconds() >= end

    return Cooperator(slice_ends, lambda tick: clock.callLater(0, tick))


class ShortTurns(Stream):
    """
    The server's end of a connection, in short turns.

    A subclass's C{packets_received} looks at the time now and then, and passes the packets that are left to
    L{postpone}.
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
        traffic: Traffic | None = None,
    ) -> None:
        """
        @param cooperator: does postponed work.
        @param budget: bounds the memory of packets that have not arrived whole.
        @param traffic: see L{Stream}.
        """
        super().__init__(clock, decoder, reads, traffic)
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
        End this turn, and handle the rest of its packets in later ones.

        @param packets: the rest.
        @param first: work that comes before them.
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
                self._traffic.received += len(data)
                packets = self.decoder.feed(data)
            self.take_turn(packets)
            yield None

    def repeat(self, kind: int) -> None:
        """
        Handle a request once more, before all others that are postponed.

        @param kind: its type; it has no arguments.
        """
        once_more: Received = kind, []
        self._postponed = chain([once_more], self._postponed or ())

    def take_turn(self, packets: Iterator[Received]) -> None:
        """
        Take a turn with postponed packets.

        C{dataReceived} has the same lines for itself: a call more for each read costs two hundredths of a
        job.
        """
        try:
            self.packets_received(packets)
        except ProtocolError as error:
            self.break_off(error)
        finally:
            self.turn_ended()
        if self.decoder.needed or self._unfinished:
            self.unfinished(self.decoder.buffered)

    def break_off(self, error: ProtocolError) -> None:
        """As in L{Stream}; postponed packets are dropped."""
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
        """Abort the connection over an exception of ours, as the reactor does."""
        if failure.check(SchedulerStopped):
            return
        self.log.failure("a connection failed", failure)
        self.abort()
        self._postponed_is_done()

    def _until_woken(self) -> Deferred[None]:
        """A Deferred that L{wake} fires."""
        self._wake = Deferred()
        return self._wake

    def wake(self) -> None:
        """Look again whether postponed work can go on."""
        if self._wake is not None:
            wake, self._wake = self._wake, None
            wake.callback(None)

    def until_caught_up(self) -> Steps:
        """Wait until all that was written has left, or the connection ends."""
        while not (self.caught_up or self.closing):
            self.when_caught_up(self.wake)
            yield self._until_woken()

    def go_on_reading(self, reason: int) -> None:
        """As in L{Stream}; postponed work may go on."""
        super().go_on_reading(reason)
        self.wake()

    # What has not arrived whole

    def unfinished(self, held: int) -> None:
        """As in L{Stream}; the budget counts the bytes."""
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
        """The peer sends no more. The connection ends when the peer has been sent what it asked for."""
        if self._is_behind and not self.closing:
            self._half_closed = True
        else:
            self.input_over()

    def input_over(self) -> None:
        """The peer sends no more, and all its packets have been handled."""
        super().readConnectionLost()

    def close(self, linger: bool = False) -> None:
        """As in L{Stream}; postponed packets are dropped."""
        self._forget_postponed()
        super().close(linger)

    def abort(self) -> None:
        """As in L{Stream}; postponed packets are dropped."""
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
        The connection is gone. Packets that were read are still handled: a client that submits and leaves
        wants its jobs done.
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
        """The connection is gone, and all its packets have been handled."""
