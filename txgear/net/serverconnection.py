"""
A connection to a job server: what the client's and the worker's have in common.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from txgear.errors import AccessDenied, ProtocolError, ServerError, server_error
from txgear.net.arguments import count, seconds
from txgear.net.login import Login
from txgear.net.servers import Server
from txgear.net.stream import Stream
from txgear.net.watchdog import ANSWER_SECONDS, HEARTBEAT_SECONDS, Watchdog
from txgear.protocol.constants import (
    ECHO_REQ,
    ECHO_RES,
    ERROR,
    EXTENSION_OPTION,
    LOGGED_IN,
    MALFORMED,
    MAX_PACKET,
    OPTION_REQ,
    OPTION_RES,
    RESPONSE_MAGIC,
    TEXT,
    WRONG_MAGIC,
)
from txgear.protocol.packets import Data, Decoder, Received, request
from txgear.security.clienttls import VerifiedTransport
from txgear.security.tlswords import tls_problem
from txgear.security.tokens import without_secrets

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


class _Gathering(AbstractContextManager[None]):
    """What L{ServerConnection.gathered} returns: one for each connection, as it is entered for every read."""

    __slots__ = ("_connection",)

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection._gathering += 1

    def __exit__(self, *_: object) -> None:
        connection = self._connection
        connection._gathering -= 1
        if not connection._gathering:
            connection._flush()


class ServerConnection(Stream):
    """
    A connection to a job server.

    It enters first: over TLS it waits until the server has shown who it is, and nothing leaves before;
    with a token it logs in. Then it begins with a greeting and an echo. When the echo is back, the connection
    is ready, and L{became_ready} is called. A L{Watchdog} drops it when the server does not answer.

    @ivar server: where it leads.
    @ivar ready: whether the first echo is back, or was before the connection ended.
    @ivar ended: why the connection has ended, in words; C{None} before.
    @ivar refusal: the server's error, where it did not let us in.
    """

    pause_from = UNBOUNDED
    drop_from = UNBOUNDED

    def __init__(
        self,
        clock: IReactorTime,
        server: Server,
        limits: Limits,
        greeting: list[bytes],
        login: Login | None = None,
    ) -> None:
        """
        @param greeting: the packets to send first, before the echo.
        @param login: logs in before that.
        """
        super().__init__(clock, Decoder(RESPONSE_MAGIC, limits.max_packet))
        self.server = server
        self.ready = False
        self.ended: str | None = None
        self.refusal: ServerError | None = None
        self._dropped: str | None = None
        self._waiting_for_end: list[Callable[[], object]] = []
        self._watchdog = Watchdog(
            clock,
            limits.heartbeat,
            limits.answer_timeout,
            self._ask_for_echo,
            self.unanswered,
            self._too_late,
        )
        self._heard = self._watchdog.heard
        self.waits_for_answer = self._watchdog.waits_for_answer
        self._login = login
        self._in_handshake = False
        self._key = 0  # the packet that lets us in; 0 for none
        self._entered = False
        # What is to be sent is gathered until it has entered.
        self._out = greeting[:]
        self._gathering = 1
        self._gather = _Gathering(self)

    @property
    def extended(self) -> bool:
        """Whether the server has granted L{EXTENSION_OPTION}."""
        return self.decoder.extended

    @property
    def usable(self) -> bool:
        """Whether something can be asked here: the server has answered, and the connection does not end."""
        return self.ready and not self.closing

    # What a subclass adds

    def became_extended(self) -> None:
        """The server has granted L{EXTENSION_OPTION}, and the greeting has been sent."""

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

    def gathered(self) -> AbstractContextManager[None]:
        """What is sent within leaves in one write."""
        return self._gather

    def write_gathered(self) -> None:
        """Write what has been gathered so far, although more will be."""
        if self._entered:
            self._flush()

    def _flush(self) -> None:
        if self._out:
            out, self._out = self._out, []
            self.write_chunks(out)

    def close(self, linger: bool = False) -> None:
        if not self._entered:
            self.abort()
            return
        self._flush()
        super().close(linger)

    # The way in

    def connectionMade(self) -> None:
        super().connectionMade()
        if ITCPTransport.providedBy(self.transport):
            # A packet must not wait for the acknowledgement of the one before, which the server delays.
            self.transport.setTcpNoDelay(True)
        self._watchdog.start()
        self._in_handshake = ISSLTransport.providedBy(self.transport)
        if not self._in_handshake:
            self._knock()

    def handshakeCompleted(self) -> None:
        """As in L{txgear.net.stream.Stream}: the server has shown its certificate."""
        super().handshakeCompleted()
        self._in_handshake = False
        if isinstance(self.transport, VerifiedTransport) and (problem := self.transport.look_again()):
            self._leave(problem)
        else:
            self._knock()

    def _knock(self) -> None:
        """The server is the right one: log in, if there is a token."""
        if self._login is None:
            self._enter()
        else:
            # A server that does not know tokens must not be sent one.
            self._key = OPTION_RES
            self.write_chunks([request(OPTION_REQ, EXTENSION_OPTION)])

    def packets_received(self, packets: Iterator[Received]) -> None:
        if self._key:
            for kind, arguments in packets:
                self._at_the_door(kind, arguments)
                if self.closing:
                    return
                if self._entered:
                    break
        super().packets_received(packets)

    def _at_the_door(self, kind: int, arguments: list[Data]) -> None:
        if kind == ERROR:
            code, text = map(bytes, arguments)
            error = server_error(code, without_secrets(text))
            if self._key == LOGGED_IN or isinstance(error, AccessDenied):
                self.refusal = error
                self._leave(f"did not let us in: {error}")
            else:
                self._leave(f"takes no tokens: {error}")
        elif kind != self._key:
            ServerConnection.packet_received(self, kind, arguments)
        elif kind == OPTION_RES:
            assert self._login is not None
            assert self.transport is not None
            self.decoder.extended = True
            self._key = LOGGED_IN
            self._login.begin(self.server, self.transport)
            self.write_chunks([self._login.packet])
        else:
            self._enter()

    def _enter(self) -> None:
        """Send the greeting, and the first echo."""
        self._key = 0
        self._entered = True
        self._ask_for_echo()
        if self.extended:
            self.became_extended()
        self._gathering -= 1
        self._flush()

    def _ask_for_echo(self) -> None:
        if self._entered:
            self.send(request(ECHO_REQ, _PROBE))

    # Twisted's hooks

    def dataReceived(self, data: bytes) -> None:
        self._heard()
        with self._gather:
            super().dataReceived(data)

    def resumeProducing(self) -> None:
        if not self.caught_up:
            self._watchdog.reads()
        super().resumeProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._watchdog.stop()
        super().connectionLost(reason)
        self._out.clear()
        self.ended = self._dropped or self._why(reason)
        self.went_down(self.ended)
        waiting, self._waiting_for_end = self._waiting_for_end, []
        for call in waiting:
            call()

    def _why(self, reason: Failure) -> str:
        """Why the connection was lost, in words."""
        problem = tls_problem(reason.value)
        if isinstance(self.transport, VerifiedTransport):
            # OpenSSL does not say why it failed.
            problem = self.transport.problem or problem
        if problem:
            return f"it {problem}"
        # Twisted has two texts for this one, which depend on who closes its half first.
        why = str(ConnectionDone()) if reason.check(ConnectionDone) else reason.getErrorMessage()
        if self._key == LOGGED_IN:
            # From where many wrong ones have come no answer comes.
            why += " (after the token was sent: it may be refused)"
        elif self._in_handshake:
            why += " (in the TLS handshake)"
        elif not self.ready and ISSLTransport.providedBy(self.transport):
            why += " (after the TLS handshake: it may want a certificate of this side, or another one)"
        return why

    # Packets that are the same for both

    def packet_received(self, kind: int, arguments: list[Data]) -> None:
        if kind == ECHO_RES:
            if not self.ready and arguments[0] == _PROBE:
                self.ready = True
                self._watchdog.proved()
                self.became_ready()
        elif kind == OPTION_RES:
            if bytes(arguments[0]) == EXTENSION_OPTION and not self.extended:
                self.decoder.extended = True
                self.became_extended()
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
            self._leave(why)

    def _too_late(self, why: str) -> None:
        self.drop(f"{why}, in the TLS handshake" if self._in_handshake else why)

    def _leave(self, why: str) -> None:
        """Give the connection up, without a word in the log: who owns it tells why it could not be made."""
        self._dropped = f"it {why}"
        self.abort()
