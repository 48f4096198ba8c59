"""
Restarting without refusing a connection: a server hands its sockets over to the next one.

A running server listens on a Unix socket. A new one that is started with the same path finds it there
(L{txgear.daemon.predecessor}), is passed the sockets, checks all that can be checked, and has the old one
end. Meanwhile connections wait in the sockets, which never close. Until the new server has started, the old
one keeps them, too: if the new one fails, or is killed, the old one starts again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from txgear._version import __version__
from txgear.daemon.predecessor import (
    ANSWER_SECONDS,
    PID_FILE,
    PROTOCOL,
    PidFileOffer,
    Predecessor,
    find_predecessor,
    is_ours,
    peer_uid,
)
from txgear.errors import ConfigurationError
from txgear.net.ownports import AdoptedUnixPort, OwnSocket, listen_on_unix_socket

MODE: Final = 0o600
"""Mode of the socket: it is for the server's user."""
BACKLOG: Final = 16
"""New servers that may wait."""


class Offer(NamedTuple):
    """
    What a server hands over.

    @ivar store: the name of its store, C{None} if it has none.
    @ivar sockets: on which it listens.
    @ivar pid_file: its pid file, C{None} if it has none.
    """

    store: str | None
    sockets: list[OwnSocket]
    pid_file: PidFileOffer | None = None


class Giver(Protocol):
    """
    A server that hands over.
    """

    def offer(self) -> Offer:
        """
        What there is to hand over. The server serves on.

        @raise ConfigurationError: it cannot hand over now.
        """

    def give_way(self, released: Callable[[], None]) -> Deferred[None]:
        """
        Stop, and keep the sockets.

        @raise ConfigurationError: it cannot hand over any more. It serves on.
        @param released: called when the store is closed; some peers may not have hung up yet.
        @return: a Deferred that fires with C{None} when all is over.
        """

    def go_on(self) -> None:
        """The successor has failed: start again on the sockets."""

    def leave(self, has_pid_file: bool) -> None:
        """
        The successor has started: end.

        @param has_pid_file: whether the pid file is its own now.
        """


class HandOver:
    """
    One server's part in it: first it may have a predecessor, later a successor.

    @ivar predecessor: the server whose place we take, until we have started.
    @ivar successor: the server that takes our place, from the moment that it has said who it is.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        path: str,
        giver: Giver,
        find: Callable[[str], Predecessor | None] = find_predecessor,
    ) -> None:
        """
        @param path: of the Unix socket.
        @param giver: the server.
        @param find: looks for a server at the path.
        """
        self.reactor = reactor
        self.giver = giver
        self._path = path
        self._find = find
        self.predecessor: Predecessor | None = None
        self.successor: HandOverConnection | None = None
        self._kept: list[OwnSocket] | None = None
        self._port: AdoptedUnixPort | None = None
        self._file: os.stat_result | None = None

    # The new server

    def find(self) -> list[OwnSocket]:
        """
        Look for a server that runs.

        @return: the sockets on which it listens; or those that were kept, if it is ourselves that go on.
        @raise ConfigurationError: there is one, and it does not hand over.
        """
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return kept
        self.predecessor = self._find(self._path)
        if self.predecessor is None:
            return []
        self.log.info("taking over from process {pid}", pid=self.predecessor.pid)
        return self.predecessor.sockets

    def has_store(self, name: str | None) -> bool:
        """Whether the other server has the store of this name."""
        return self.predecessor is not None and self.predecessor.store == name

    def take_over(self) -> None:
        """
        Have the other server end. From here on nobody accepts until we have started.

        @raise ConfigurationError: it does not let go of its store.
        """
        if self.predecessor is not None:
            self.predecessor.end()

    def listen(self) -> None:
        """
        Be found by the next server, in the place of the one that is there.

        @raise ConfigurationError: that cannot be.
        """
        self._close_port()
        ours = f"{self._path}.{os.getpid()}"
        try:
            with suppress(FileNotFoundError):
                os.unlink(ours)
            with listen_on_unix_socket(ours, MODE, BACKLOG) as sock:
                self._port = AdoptedUnixPort(sock, HandOverFactory(self), self.reactor)
                self._port.startListening()
            self._file = os.stat(ours)
            # So there is a server at the path at any moment.
            os.rename(ours, self._path)
        except OSError as error:
            raise ConfigurationError(f"--handover {self._path}: {error.strerror or error}") from error

    def started(self, has_pid_file: bool) -> None:
        """
        We serve: the other one may go.

        @param has_pid_file: whether its pid file is ours now.
        """
        if self.predecessor is not None:
            predecessor, self.predecessor = self.predecessor, None
            predecessor.done(has_pid_file)

    def not_started(self) -> None:
        """We cannot start: the other one goes on."""
        self._close_port()
        if self.predecessor is not None:
            predecessor, self.predecessor = self.predecessor, None
            predecessor.give_up()

    # The old server

    def keep(self, sockets: list[OwnSocket]) -> None:
        """Have these when we go on."""
        self._kept = sockets

    def close(self) -> None:
        """We end, and nobody takes our place: be found no more."""
        with suppress(FileNotFoundError):
            # It is another server's already, if one has just started.
            if self._file is not None and os.path.samestat(os.stat(self._path), self._file):
                os.unlink(self._path)
        self._close_port()

    def _close_port(self) -> None:
        if self._port is not None:
            port, self._port = self._port, None
            port.stopListening()

    def left(self, has_pid_file: bool) -> None:
        """The successor has started. The path is its own."""
        self._close_port()
        self.giver.leave(has_pid_file)


class HandOverFactory(Factory):
    """Makes a L{HandOverConnection} for each new server."""

    noisy = False

    def __init__(self, handover: HandOver) -> None:
        self._handover = handover

    def buildProtocol(self, addr: IAddress | None) -> HandOverConnection:
        return HandOverConnection(self._handover)


class HandOverConnection(LineOnlyReceiver):
    """
    One new server, as the old one sees it.
    """

    delimiter = b"\n"
    log = Logger()

    def __init__(self, handover: HandOver) -> None:
        self._handover = handover
        self._pid = 0
        self._timer: IDelayedCall | None = None
        self._stopping: Deferred[None] | None = None
        self._is_done = False

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if not is_ours(peer_uid(transport.getHandle())):
            self.log.warn("somebody who is another user wants to take over; connection closed")
            transport.loseConnection()
            return
        self._timer = self._handover.reactor.callLater(ANSWER_SECONDS, self._overdue)

    def _overdue(self) -> None:
        self._timer = None
        self.transport.loseConnection()  # type: ignore[union-attr]

    def lineReceived(self, line: bytes) -> None:
        """Another line has come."""
        try:
            message = json.loads(line)
            if self._timer is not None:
                self._greeted(message["handover"], int(message["pid"]))
            elif self._handover.successor is self and self._stopping is None and message["end"]:
                self._end()
            elif self._stopping is not None and message["done"]:
                self._done(bool(message["pid_file"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            self.log.warn("what wants to take over is no txgear; connection closed")
            self.transport.loseConnection()  # type: ignore[union-attr]

    def _greeted(self, protocol: object, pid: int) -> None:
        assert self._timer is not None
        self._timer.cancel()
        self._timer = None
        self._pid = pid
        other = self._handover.successor
        if protocol != PROTOCOL:
            self._refuse(f"the server there, txgear {__version__}, hands over in another way: stop it first")
            return
        if other is not None:
            self._refuse(f"process {other._pid} takes over at this moment")
            return
        try:
            offer = self._handover.giver.offer()
        except ConfigurationError as error:
            self._refuse(str(error))
            return
        self._handover.successor = self
        self._pass_on(offer)

    def _refuse(self, why: str) -> None:
        self._send(refused=why)
        self.transport.loseConnection()  # type: ignore[union-attr]

    def _send(self, **message: Any) -> None:
        self.transport.write(json.dumps(message).encode("ascii") + b"\n")  # type: ignore[union-attr]

    def _pass_on(self, offer: Offer) -> None:
        """Send the sockets, and what they are for."""
        self._send(
            handover=PROTOCOL,
            version=__version__,
            pid=os.getpid(),
            store=offer.store,
            sockets=len(offer.sockets),
            pid_file=int(offer.pid_file is not None),
        )
        for own in offer.sockets:
            self._send_descriptor(own.socket.fileno(), *own.place)
        if offer.pid_file is not None:
            self._send_descriptor(offer.pid_file.descriptor, PID_FILE, offer.pid_file.path, 0)

    def _send_descriptor(self, descriptor: int, kind: str, where: str, port: int) -> None:
        # It goes with the bytes that are written next.
        self.transport.sendFileDescriptor(descriptor)  # type: ignore[union-attr]
        self._send(kind=kind, where=where, port=port)

    def _end(self) -> None:
        try:
            stopping = self._handover.giver.give_way(lambda: self._send(released=True))
        except ConfigurationError as error:
            self._refuse(str(error))
            return
        self.log.info("process {pid} takes over", pid=self._pid)
        self._stopping = stopping.addErrback(
            lambda failure: self.log.failure("a defect in the end of the server", failure)
        )

    def _done(self, has_pid_file: bool) -> None:
        self._is_done = True
        self.transport.loseConnection()  # type: ignore[union-attr]
        # Peers that have not hung up have some time still.
        assert self._stopping is not None
        _ = self._stopping.addCallback(lambda stopped: self._handover.left(has_pid_file))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_done or self._handover.successor is not self:
            return
        self._handover.successor = None
        if self._stopping is None:
            self.log.warn("process {pid} does not take over after all", pid=self._pid)
            return
        self.log.error("process {pid} has not taken over; going on", pid=self._pid)
        _ = self._stopping.addCallback(lambda stopped: self._handover.giver.go_on())
