"""
Ports on sockets of our own making.

Endpoints ask a reactor to listen. L{OwnPorts} stands before the real one: it makes the socket itself, or
takes one that was inherited from another process, and gives the reactor a duplicate. A socket that Twisted
makes is shut down when its port closes, for every process that has it; one that it has adopted is not.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from twisted.internet.abstract import isIPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.tcp import Port as TcpPort
from twisted.internet.unix import Port as UnixPort
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

TCP: Final = "tcp"
UNIX: Final = "unix"


class Place(NamedTuple):
    """
    Where a socket was asked to listen.

    @ivar kind: L{TCP} or L{UNIX}.
    @ivar where: the IP address, or the path.
    @ivar port: the TCP port, 0 for any that is free.
    """

    kind: str
    where: str
    port: int = 0


class OwnSocket:
    """
    A socket that listens.

    @ivar place: where it was asked to.
    @ivar socket: the socket; not blocking.
    @ivar is_owner: whether a Unix socket's file goes when the socket is closed.
    """

    def __init__(self, place: Place, sock: socket.socket, is_owner: bool = True) -> None:
        self.place = place
        self.socket = sock
        self.is_owner = is_owner

    def close(self) -> None:
        """Listen no more, in this process."""
        path = self.place.where
        if self.place.kind == UNIX and self.is_owner and not path.startswith("\0"):
            with suppress(FileNotFoundError):
                os.unlink(path)
        self.socket.close()


class OwnPorts:
    """
    What endpoints take for a reactor. Whatever it does not do itself is the real one's.

    @ivar sockets: those that were opened, in order.
    @ivar inherited: those that nobody has asked for yet.
    """

    def __init__(
        self,
        reactor: Any,
        wrap: Callable[[IProtocolFactory], IProtocolFactory] | None = None,
        inherited: Iterable[OwnSocket] = (),
    ) -> None:
        """
        @param wrap: makes of each factory, TLS included, the one that listens.
        @param inherited: sockets that listen already. One that is asked for by its place is used.
        """
        self._reactor = reactor
        self._wrap = wrap
        self.sockets: list[OwnSocket] = []
        self.inherited = list(inherited)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def bare(self) -> OwnPorts:
        """The same, but factories listen as they are."""
        same = OwnPorts(self._reactor)
        same.sockets, same.inherited = self.sockets, self.inherited
        return same

    def _outermost(self, factory: IProtocolFactory) -> IProtocolFactory:
        return factory if self._wrap is None else self._wrap(factory)

    def inherits(self, place: Place) -> bool:
        """Whether a socket for this place is there already."""
        return any(own.place == place for own in self.inherited)

    def _inherit(self, place: Place) -> OwnSocket | None:
        for own in self.inherited:
            if own.place == place:
                self.inherited.remove(own)
                return own
        return None

    # What endpoints call

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """Part of C{IReactorTCP}."""
        return self._listen_tcp(port, factory, backlog, interface, only_ipv6=False)

    def listen_on_all_ipv6(self, port: int, factory: IProtocolFactory, backlog: int) -> IListeningPort:
        """Listen on all addresses of IPv6 and on none of IPv4."""
        return self._listen_tcp(port, factory, backlog, "::", only_ipv6=True)

    def listenSSL(  # noqa: N802
        self,
        port: int,
        factory: IProtocolFactory,
        contextFactory: Any,  # noqa: N803
        backlog: int = 50,
        interface: str = "",
    ) -> IListeningPort:
        """Part of C{IReactorSSL}."""
        return self.listenTCP(port, TLSMemoryBIOFactory(contextFactory, False, factory), backlog, interface)

    def listenUNIX(  # noqa: N802
        self,
        address: str | bytes,
        factory: IProtocolFactory,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,  # noqa: N803
    ) -> IListeningPort:
        """Part of C{IReactorUNIX}; there is no lock beside the socket."""
        path = os.fsdecode(address)
        place = unix_place(path)
        own = self._inherit(place) or self._open(
            place, lambda: listen_on_unix_socket(place.where, mode, backlog)
        )
        return self._use(own, factory, backlog)

    def adopt(self, sock: socket.socket, factory: IProtocolFactory) -> IListeningPort:
        """As L{adopt}. The socket is somebody else's, and none of L{sockets}."""
        return adopt(self._reactor, sock, self._outermost(factory))

    def _listen_tcp(
        self, port: int, factory: IProtocolFactory, backlog: int, interface: str, *, only_ipv6: bool
    ) -> IListeningPort:
        family = socket.AF_INET6 if isIPv6Address(interface) else socket.AF_INET
        try:
            found = socket.getaddrinfo(
                interface or None, port, family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE
            )
        except OSError as error:
            raise CannotListenError(interface, port, error) from error
        address = found[0][4]
        place = Place(TCP, str(address[0]), port)
        own = self._inherit(place) or self._open(
            place, lambda: listen_on_tcp(family, address, backlog, only_ipv6=only_ipv6)
        )
        return self._use(own, factory, backlog)

    def _open(self, place: Place, make: Callable[[], socket.socket]) -> OwnSocket:
        try:
            return OwnSocket(place, make())
        except OSError as error:
            raise CannotListenError(place.where, place.port, error) from error

    def _use(self, own: OwnSocket, factory: IProtocolFactory, backlog: int) -> IListeningPort:
        self.sockets.append(own)
        # One that was inherited may have had another backlog.
        own.socket.listen(backlog)
        return self.adopt(own.socket, factory)

    # The end

    def own_all(self) -> None:
        """
        Be who removes the files, too, of the sockets that were inherited; and close those that nobody has
        asked for.
        """
        for own in (*self.sockets, *self.inherited):
            own.is_owner = True
        for own in self.inherited:
            own.close()
        self.inherited.clear()

    def leave(self) -> None:
        """Close all sockets, and leave their files: they are another process's now."""
        for own in self.sockets:
            own.is_owner = False
        self.close()

    def close(self, some: Iterable[OwnSocket] | None = None) -> None:
        """
        Close sockets whose ports are closed by now.

        @param some: which; by default all, those as well that nobody has asked for.
        """
        for own in (*self.sockets, *self.inherited) if some is None else some:
            own.close()
        if some is None:
            self.sockets.clear()
            self.inherited.clear()
        else:
            self.sockets = [own for own in self.sockets if own not in some]


def unix_place(path: str) -> Place:
    """The place of a Unix socket; a relative path starts at the process's folder of now."""
    return Place(UNIX, path if path.startswith("\0") else os.path.abspath(path))


def listen_on_tcp(family: int, address: Any, backlog: int, *, only_ipv6: bool = False) -> socket.socket:
    """
    Make a TCP socket that listens.

    @param address: as C{bind} takes it.
    @param only_ipv6: whether one of all IPv6 addresses leaves those of IPv4 to others.
    @raise OSError: it cannot.
    """
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if only_ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def listen_on_unix_socket(path: str, mode: int, backlog: int) -> socket.socket:
    """
    Make a Unix socket that listens.

    @param mode: of its file.
    @raise OSError: it cannot.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(path)
        if not path.startswith("\0"):
            os.chmod(path, mode)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def adopt(reactor: Any, sock: socket.socket, factory: IProtocolFactory) -> IListeningPort:
    """
    Have a reactor accept connections of a socket that listens.

    @param reactor: the reactor, or L{OwnPorts} before it.
    @param sock: stays open when the port is closed.
    """
    if isinstance(reactor, OwnPorts):
        return reactor.adopt(sock, factory)
    if sock.family == socket.AF_UNIX:
        port = AdoptedUnixPort(sock, factory, reactor)
        port.startListening()
        return port
    opened: IListeningPort = reactor.adoptStreamPort(sock.fileno(), sock.family, factory)
    return opened


class AdoptedUnixPort(UnixPort):
    """
    A Unix socket that somebody else has made. Twisted's own way to adopt one lets everybody connect to it
    (mode 0666), whatever mode its file had, and removes the file in the end.
    """

    def __init__(self, sock: socket.socket, factory: IProtocolFactory, reactor: Any) -> None:
        super().__init__(sock.getsockname(), factory, reactor=reactor)
        self._adopted = sock

    def startListening(self) -> None:
        self.factory.doStart()  # type: ignore[union-attr]
        self.socket = self._adopted.dup()
        self.socket.setblocking(False)
        self.fileno = self.socket.fileno  # type: ignore[method-assign]
        self.connected = True
        self.numberAccepts = 100
        self.startReading()

    def connectionLost(self, reason: Failure) -> None:
        # Closed by now, it is not shut down: others may listen on it.
        self.socket.close()
        TcpPort.connectionLost(self, reason)
