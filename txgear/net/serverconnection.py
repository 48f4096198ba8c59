"""
What the client and the worker share: a connection that knows whether its server still lives.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from txgear.errors import ProtocolError
from txgear.net.arguments import count, seconds
from txgear.net.servers import Server
from txgear.net.stream import Stream
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

ATTEMPT_SECONDS: Final = 10.0
"""
How long one attempt to connect may take, and then the server's first answer: a
host that is gone must not keep us from the next one.
"""
HEARTBEAT_SECONDS: Final = 30.0
"""
Silence after which the server is asked for an echo, and then how long it may take for it. It
is below the minute after which the first NAT boxes and load balancers forget a connection.
"""
PAUSE: Final = 0.5
"""
The part of a heartbeat by which the watcher may be late before we take it that we stood still
ourselves: a function blocked, the process was stopped, the machine slept.
"""
ANSWER_SECONDS: Final = 60.0
"""
How long a server that is alive may leave a request without its answer. A store
that is busy takes seconds; gearmand leaves some requests unanswered for ever.
"""
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

    It begins with a greeting and an echo. When the echo is
    back, the server is known to live, and L{became_ready} is called. From then
    on silence is broken by another echo, and a server that does not answer is
    dropped: TCP alone does not notice a host without power for hours.

    What counts is the time since the echo was sent, not since the server was last heard: we may
    have stood still meanwhile. The clock must be L{steady<txgear.net.steady.steady>}, so that all that
    has come in such a pause is read before the server is judged.

    @ivar server: where it leads.
    @ivar ready: the first echo is back.
    @ivar ended: why the connection has ended, in words; C{None} before.
    @ivar extended: the server has granted L{EXTENSION_OPTION}.
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
        self._heartbeat = limits.heartbeat
        self._answer_timeout = limits.answer_timeout
        self._watcher: IDelayedCall | None = None
        self._due = 0.0
        self._alive_at = 0.0
        self._echo_at: float | None = None
        self._patience = ATTEMPT_SECONDS
        self._spared = False
        self._asked_at: float | None = None
        self._out: list[bytes] = []
        self._gathering = 0

    @property
    def extended(self) -> bool:
        return self.decoder.extended

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

    def waits_for_answer(self, waits: bool) -> None:
        """Start anew to measure how long the server takes for an answer, or stop."""
        self._asked_at = self._clock.seconds() if waits else None

    # Twisted's hooks

    def connectionMade(self) -> None:
        super().connectionMade()
        if ITCPTransport.providedBy(self.transport):
            # A packet must not wait for the acknowledgement of the one before, which the server delays.
            self.transport.setTcpNoDelay(True)
        self._alive_at = self._clock.seconds()
        self._ask_for_echo(*self._greeting)
        self._watch_again()

    def dataReceived(self, data: bytes) -> None:
        self._lives()
        with self.gathered():
            super().dataReceived(data)

    def resumeProducing(self) -> None:
        if not self.caught_up:
            # A large workload on a slow line: it is being read, if not answered.
            self._lives()
            if self._asked_at is not None:
                self._asked_at = self._alive_at
        super().resumeProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._watcher is not None:
            watcher, self._watcher = self._watcher, None
            watcher.cancel()
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
                self._patience = self._heartbeat
                self._lives()
                self._watch_again()
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

    def _lives(self) -> None:
        self._alive_at = self._clock.seconds()
        if self.ready:
            self._echo_at = None
            self._spared = False

    def _ask_for_echo(self, *before: bytes) -> None:
        self._echo_at = self._clock.seconds()
        self.send(*before, request(ECHO_REQ, _PROBE))

    def _watch_again(self) -> None:
        """Look again when something may be overdue, and often enough for what will be asked meanwhile."""
        now = self._clock.seconds()
        due = self._alive_at + self._heartbeat if self._echo_at is None else self._echo_at + self._patience
        due = min(due, (now if self._asked_at is None else self._asked_at) + self._answer_timeout)
        if self._watcher is not None:
            self._watcher.cancel()
        self._due = max(due, now)
        self._watcher = self._clock.callLater(self._due - now, self._watch)

    def _watch(self) -> None:
        self._watcher = None
        # What follows is reckoned as in L{_watch_again}, or rounding would have us look again and again.
        now = self._clock.seconds()
        if now - self._due > PAUSE * self._heartbeat:
            self._forgive(now)
        if self._asked_at is not None and now >= self._asked_at + self._answer_timeout:
            self.unanswered()
            self.drop(f"left a request unanswered for {self._answer_timeout:g} seconds")
        elif self._echo_at is not None and now >= self._echo_at + self._patience:
            self.drop(f"did not answer within {self._patience:g} seconds")
        else:
            if self._echo_at is None and now >= self._alive_at + self._heartbeat:
                self._ask_for_echo()
            self._watch_again()

    def _forgive(self, now: float) -> None:
        """
        We stood still; so may have the server, or the line between. What it owes us has more time:
        the pause for an answer, and for an echo all of it, but only once.
        """
        if self._asked_at is not None:
            self._asked_at += now - self._due
        if self._echo_at is not None and not self._spared:
            self._spared = True
            self._echo_at = now
