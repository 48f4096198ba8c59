"""
A connection to a job server: what the client's and the worker's have in common.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from txgear.errors import ProtocolError
from txgear.net.arguments import count, seconds
from txgear.net.servers import Server
from txgear.net.stream import Stream
from txgear.net.watchdog import ANSWER_SECONDS, HEARTBEAT_SECONDS, Watchdog
from txgear.protocol.constants import (
    ECHO_REQ,
    ECHO_RES,
    EXTENSION_OPTION,
    MALFORMED,
    MAX_PACKET,
    OPTION_RES,
    RESPONSE_MAGIC,
    TEXT,
    WRONG_MAGIC,
)
from txgear.protocol.packets import Data, Decoder, request

UNBOUNDED: Final = sys.maxsize
"""
What waits to be written was in the caller's memory already, and a peer that
stops reading what it is sent while it waits to be read would wait for ever.
"""
_PROBE: Final = b"txgear"


class Limits(NamedTuple):
    """
    How patient a connection is with its server.

    @ivar heartbeat: seconds of silence after which it asks for an echo, and then seconds
        without one after which it gives the server up.
    @ivar answer_timeout: seconds that a live server may leave a request without its answer.
    @ivar max_packet: bytes of the largest body that is taken.
    """

    heartbeat: float = HEARTBEAT_SECONDS
    answer_timeout: float = ANSWER_SECONDS
    max_packet: int = MAX_PACKET

    @classmethod
    def checked(cls, heartbeat: float, answer_timeout: float, max_packet: int) -> Limits:
        """
        What a caller has given.

        @raise ValueError: one makes no sense.
        @raise TypeError: one is of a wrong type.
        """
        return cls(
            seconds("heartbeat", heartbeat, positive=True),
            seconds("answer_timeout", answer_timeout, positive=True),
            count("max_packet", max_packet),
        )


class ServerConnection(Stream):
    """
    A connection to a job server.

    It begins with a greeting and an echo. When the echo is back, the connection is ready, and
    L{became_ready} is called. A L{Watchdog} drops it when the server does not answer.

    @ivar server: where it leads.
    @ivar ready: whether the first echo is back, or was before the connection ended.
    @ivar ended: why the connection has ended, in words; C{None} before.
    """

    pause_from = UNBOUNDED
    drop_from = UNBOUNDED

    def __init__(self, clock: IReactorTime, server: Server, limits: Limits, greeting: list[bytes]) -> None:
        """
        @param greeting: the packets to send first, before the echo.
        """
        super().__init__(clock, Decoder(RESPONSE_MAGIC, limits.max_packet))
        self.server = server
        self.ready = False
        self.ended: str | None = None
        self._dropped: str | None = None
        self._waiting_for_end: list[Callable[[], object]] = []
        self._greeting = greeting
        self._watchdog = Watchdog(
            clock,
            limits.heartbeat,
            limits.answer_timeout,
            lambda: self.send(request(ECHO_REQ, _PROBE)),
            self.unanswered,
            self.drop,
        )
        self._heard = self._watchdog.heard
        self.waits_for_answer = self._watchdog.waits_for_answer
        self._out: list[bytes] = []
        self._gathering = 0

    @property
    def extended(self) -> bool:
        """Whether the server has granted L{EXTENSION_OPTION}."""
        return self.decoder.extended

    @property
    def usable(self) -> bool:
        """Whether something can be asked here: the server has answered, and the connection does not end."""
        return self.ready and not self.closing

    # What a subclass adds

    def became_ready(self) -> None:
        """The server has answered for the first time."""

    def went_down(self, reason: str) -> None:
        """
        The connection has ended.

        @param reason: why, in words.
        """

    def unanswered(self) -> None:
        """A live server has left a request without an answer; the connection will be dropped."""

    # Writing

    def send(self, *chunks: bytes) -> None:
        """Write these, or put them with the others that are being gathered."""
        self._out += chunks
        if not self._gathering:
            self._flush()

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """What is sent within leaves in one write."""
        self._gathering += 1
        try:
            yield
        finally:
            self._gathering -= 1
            if not self._gathering:
                self._flush()

    def _flush(self) -> None:
        if self._out:
            out, self._out = self._out, []
            self.write_chunks(out)

    def close(self, linger: bool = False) -> None:
        self._flush()
        super().close(linger)

    # Twisted's hooks

    def connectionMade(self) -> None:
        super().connectionMade()
        if ITCPTransport.providedBy(self.transport):
            # A packet must not wait for the acknowledgement of the one before, which the server delays.
            self.transport.setTcpNoDelay(True)
        with self.gathered():
            self.send(*self._greeting)
            self._watchdog.start()

    def dataReceived(self, data: bytes) -> None:
        self._heard()
        with self.gathered():
            super().dataReceived(data)

    def resumeProducing(self) -> None:
        if not self.caught_up:
            self._watchdog.reads()
        super().resumeProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._watchdog.stop()
        super().connectionLost(reason)
        self._out.clear()
        # Twisted has two texts for this one, which depend on who closes its half first.
        why = str(ConnectionDone()) if reason.check(ConnectionDone) else reason.getErrorMessage()
        self.ended = self._dropped or why
        self.went_down(self.ended)
        waiting, self._waiting_for_end = self._waiting_for_end, []
        for call in waiting:
            call()

    # Packets that are the same for both

    def packet_received(self, kind: int, arguments: list[Data]) -> None:
        if kind == ECHO_RES:
            if not self.ready and arguments[0] == _PROBE:
                self.ready = True
                self._watchdog.proved()
                self.became_ready()
        elif kind == OPTION_RES:
            if bytes(arguments[0]) == EXTENSION_OPTION:
                self.decoder.extended = True
        elif kind in (TEXT, WRONG_MAGIC, MALFORMED):
            self.drop("does not speak the protocol of Gearman's servers")

    def protocol_broken(self, error: ProtocolError) -> None:
        self.drop(f"sent what cannot be taken: {error}")

    # The end

    def at_end(self, call: Callable[[], object]) -> None:
        """Call this when the connection has ended."""
        self._waiting_for_end.append(call)

    def drop(self, why: str) -> None:
        """
        Give the connection up.

        @param why: what the server does or is, in words.
        """
        if not self.closing:
            self.log.warn("{server} {why}; connection dropped", server=self.server.name, why=why)
            self._dropped = f"it {why}"
            self.abort()
