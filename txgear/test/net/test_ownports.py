"""
Tests for L{txgear.net.ownports}.
"""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.net.ownports import AdoptedUnixPort, OwnPorts, OwnSocket, Place, unix_place


class FakeListener:
    """
    A socket that listens, without one.

    @ivar backlog: what was said last.
    """

    def __init__(self, family: int = socket.AF_INET, name: str = "") -> None:
        self.family = family
        self.name = name
        self.backlog = 0
        self.closed = False
        self.copies: list[FakeListener] = []

    def fileno(self) -> int:
        return -1 if self.closed else 77

    def listen(self, backlog: int) -> None:
        self.backlog = backlog

    def dup(self) -> FakeListener:
        self.copies.append(FakeListener(self.family, self.name))
        return self.copies[-1]

    def setblocking(self, blocking: bool) -> None: ...

    def getsockname(self) -> str:
        return self.name

    def shutdown(self, how: int) -> None:
        """Others listen on it as well, and it would end for all."""
        assert self.closed
        raise OSError(errno.EBADF, "closed")

    def close(self) -> None:
        self.closed = True


def own(place: Place, listener: Any, is_owner: bool = True) -> OwnSocket:
    return OwnSocket(place, listener, is_owner)


class InheritedTests(SynchronousTestCase):
    """Sockets that listen already are taken by whoever asks for their places."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.wrapped: list[IProtocolFactory] = []

    def wrap(self, factory: IProtocolFactory) -> IProtocolFactory:
        self.wrapped.append(factory)
        return Factory()

    def test_places(self) -> None:
        """A place is an address and the port that was asked for; several of one place are taken in order."""
        sockets = [FakeListener(), FakeListener(), FakeListener(), FakeListener(socket.AF_INET6)]
        places = [
            Place("tcp", "127.0.0.1", 0),
            Place("tcp", "127.0.0.1", 0),
            Place("tcp", "0.0.0.0", 4730),
            Place("tcp", "::1", 4730),
        ]
        ports = OwnPorts(self.reactor, None, list(map(own, places, sockets)))
        factory = Factory()
        ports.listenTCP(4730, factory, 9)
        ports.listenTCP(0, factory, 5, "127.0.0.1")
        ports.listenTCP(4730, factory, 7, "::1")
        self.assertEqual([each.backlog for each in sockets], [5, 0, 9, 7])
        self.assertEqual([each.place for each in ports.sockets], [places[2], places[0], places[3]])
        self.assertEqual([each.place for each in ports.inherited], [places[1]])
        self.assertEqual(
            self.reactor.adoptedPorts,
            [(77, socket.AF_INET, factory), (77, socket.AF_INET, factory), (77, socket.AF_INET6, factory)],
        )

    def test_all_of_ipv6(self) -> None:
        ports = OwnPorts(self.reactor, None, [own(Place("tcp", "::", 1), FakeListener(socket.AF_INET6))])
        ports.listen_on_all_ipv6(1, Factory(), 9)
        self.assertEqual(len(self.reactor.adoptedPorts), 1)

    def test_wrapped(self) -> None:
        """What listens is made of the whole of a port, TLS included."""
        ports = OwnPorts(self.reactor, self.wrap, [own(Place("tcp", "0.0.0.0", 1), FakeListener())])
        factory = Factory()
        ports.listenSSL(1, factory, CertificateOptions())
        [outermost] = self.wrapped
        assert isinstance(outermost, TLSMemoryBIOFactory)
        self.assertIs(outermost.wrappedFactory, factory)
        self.assertIsNot(self.reactor.adoptedPorts[0][2], outermost)

    def test_bare(self) -> None:
        """What reads headers by itself listens as it is; its socket is one of the others."""
        ports = OwnPorts(self.reactor, self.wrap, [own(Place("tcp", "0.0.0.0", 1), FakeListener())])
        factory = Factory()
        ports.bare().listenTCP(1, factory)
        self.assertEqual(self.reactor.adoptedPorts, [(77, socket.AF_INET, factory)])
        self.assertEqual((len(ports.sockets), ports.inherited), (1, []))

    def test_others(self) -> None:
        """Whatever else is asked is the reactor's."""
        self.assertEqual(OwnPorts(self.reactor).seconds(), 0.0)

    def test_close(self) -> None:
        """All are closed, those as well that nobody has asked for."""
        sockets = [FakeListener(), FakeListener()]
        places = [Place("tcp", "0.0.0.0", 1), Place("tcp", "0.0.0.0", 2)]
        ports = OwnPorts(self.reactor, None, list(map(own, places, sockets)))
        ports.listenTCP(2, Factory())
        ports.close()
        self.assertEqual([each.closed for each in sockets], [True, True])
        self.assertEqual((ports.sockets, ports.inherited), ([], []))


class NewTests(SynchronousTestCase):
    """What cannot be bound."""

    def test_not_ours(self) -> None:
        ports = OwnPorts(MemoryReactorClock())
        error = self.assertRaises(CannotListenError, ports.listenTCP, 0, Factory(), interface="203.0.113.7")
        self.assertEqual(error.socketError.errno, errno.EADDRNOTAVAIL)
        self.assertEqual(ports.sockets, [])

    def test_no_address(self) -> None:
        ports = OwnPorts(MemoryReactorClock())
        self.assertRaises(CannotListenError, ports.listenTCP, 0, Factory(), interface="no-such-host.invalid")

    def test_no_folder(self) -> None:
        self.assertRaises(
            CannotListenError, OwnPorts(MemoryReactorClock()).listenUNIX, "/nosuch/s", Factory()
        )


class UnixTests(SynchronousTestCase):
    """Unix sockets have files."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="txgear-")
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "s"
        self.path.touch(0o600)
        self.reactor: Any = MemoryReactorClock()
        self.listener = FakeListener(socket.AF_UNIX, str(self.path))

    def ports(self, is_owner: bool) -> OwnPorts:
        return OwnPorts(self.reactor, None, [own(unix_place(str(self.path)), self.listener, is_owner)])

    def test_mode(self) -> None:
        """The file is left as it is while the socket listens, and when the port is closed."""
        ports = self.ports(True)
        self.assertTrue(ports.inherits(unix_place(str(self.path))))
        port = ports.listenUNIX(str(self.path), Factory())
        assert isinstance(port, AdoptedUnixPort)
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.assertIn(port, self.reactor.readers)
        port.stopReading()
        port.connectionLost(Failure(Exception()))
        self.assertEqual([copy.closed for copy in self.listener.copies], [True])
        self.assertFalse(self.listener.closed)
        self.assertTrue(self.path.exists())
        ports.close()
        self.assertTrue(self.listener.closed)
        self.assertFalse(self.path.exists())

    def test_somebody_else_s(self) -> None:
        """Who has only inherited the socket leaves the file."""
        ports = self.ports(False)
        ports.listenUNIX(os.fsencode(self.path), Factory())
        ports.close()
        self.assertTrue(self.path.exists())

    def test_gone(self) -> None:
        """Somebody may have removed the file already."""
        self.path.unlink()
        self.ports(True).close()

    def test_abstract(self) -> None:
        """A name without a file is taken as it is."""
        self.assertEqual(unix_place("\0name"), Place("unix", "\0name"))
        own(unix_place("\0name"), self.listener).close()
        self.assertEqual(unix_place("s"), Place("unix", os.path.abspath("s")))
