"""
Tests for L{txgear.net.systemdsockets}.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError
from txgear.net.listeners import listen_addresses
from txgear.net.ownports import AdoptedUnixPort, OwnPorts
from txgear.net.systemdsockets import Passed, listen, passed_sockets, single_sockets


class ChoiceTests(SynchronousTestCase):
    """Which sockets a string stands for."""

    def setUp(self) -> None:
        self.made = [
            socket.socket(family, kind)
            for family, kind in (
                (socket.AF_INET, socket.SOCK_STREAM),
                (socket.AF_INET6, socket.SOCK_STREAM),
                (socket.AF_UNIX, socket.SOCK_STREAM),
            )
        ]
        for sock in self.made:
            self.addCleanup(sock.close)
        names = ["gear", "gear", "local"]
        self.passed = [Passed(sock.fileno(), name) for sock, name in zip(self.made, names, strict=True)]

    def test_chosen(self) -> None:
        """A name stands for all sockets that have it, a domain for those of its kind."""
        for text, indexes in (
            ("systemd:name=gear", [0, 1]),
            ("systemd:name=local", [2]),
            ("systemd:domain=INET:name=gear", [0]),
            ("systemd:domain=INET6:name=gear", [1]),
            ("systemd:name=gear:domain=INET6", [1]),
            ("systemd:index=1", [1]),
            ("systemd:domain=UNIX:index=2", [2]),
            # As Twisted takes them, by their order.
            ("systemd:INET:0", [0]),
        ):
            chosen = [f"systemd:index={index}" for index in indexes]
            self.assertEqual(single_sockets(text, self.passed), chosen, text)

    def test_mistakes(self) -> None:
        for text, expected in (
            ("systemd:name=gears", "no socket of the name gears; there is gear, local"),
            ("systemd:index=3", "no socket has the index 3: systemd has passed 3"),
            ("systemd:index=-1", "no socket has the index -1"),
            ("systemd:domain=INET:index=1", "its domain is INET6, and not INET"),
            ("systemd:domain=UNIX:name=gear", "its domain is INET, INET6, and not UNIX"),
            ("systemd:domain=INET", "one of name=NAME and index=NUMBER is wanted"),
            ("systemd:", "is not understood"),
            ("systemd:name=", "'name=' is not understood"),
            ("systemd:port=1", "'port=1' is not understood"),
            ("systemd:name=gear:index=0", "one of name=NAME and index=NUMBER is wanted"),
        ):
            error = self.assertRaises(ConfigurationError, single_sockets, text, self.passed)
            self.assertIn(expected, str(error), text)

    def test_no_socket(self) -> None:
        """What is passed may be a pipe."""
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        passed = [Passed(read, "pipe")]
        error = self.assertRaises(ConfigurationError, single_sockets, "systemd:domain=INET:name=pipe", passed)
        self.assertEqual(str(error), "its domain is that of no socket, and not INET")
        for each in (read, write):
            reactor = MemoryReactorClock()
            passed = [Passed(each, "pipe")]
            error = self.assertRaises(
                ConfigurationError, listen, reactor, "systemd:index=0", Factory(), passed
            )
            self.assertEqual(str(error), "what systemd has passed as pipe is no socket")

    def test_not_by_systemd(self) -> None:
        """The tests are started by nobody who passes sockets."""
        self.assertEqual(passed_sockets(), [])
        error = self.assertRaises(ConfigurationError, single_sockets, "systemd:name=gear", [])
        self.assertIn("systemd has passed no socket", str(error))
        error = self.assertRaises(ConfigurationError, listen_addresses, ["systemd:name=gear"])
        self.assertTrue(str(error).startswith("cannot listen on systemd:name=gear: "), str(error))


class ListenTests(SynchronousTestCase):
    """Listening on what was passed."""

    def listening(self, family: int = socket.AF_INET, address: Any = ("127.0.0.1", 0)) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        self.addCleanup(sock.close)
        sock.bind(address)
        sock.listen()
        return sock

    def test_tcp(self) -> None:
        """The reactor adopts it; it blocks nobody, and the original stays open."""
        sock = self.listening()
        reactor: Any = MemoryReactorClock()
        factory = Factory()
        listen(reactor, "systemd:index=0", factory, [Passed(sock.fileno(), "gear")])
        [(_, family, adopted)] = reactor.adoptedPorts
        self.assertEqual((family, adopted), (socket.AF_INET, factory))
        self.assertFalse(os.get_blocking(sock.fileno()))
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), 1)

    def test_before_own_ports(self) -> None:
        """Headers of proxies are read there as well; the socket is not ours to hand over."""
        sock = self.listening()
        reactor: Any = MemoryReactorClock()
        ports = OwnPorts(reactor, lambda factory: Factory())
        factory = Factory()
        listen(ports, "systemd:index=0", factory, [Passed(sock.fileno(), "gear")])
        self.assertIsNot(reactor.adoptedPorts[0][2], factory)
        self.assertEqual(ports.sockets, [])

    def test_unix(self) -> None:
        """A Unix socket's file keeps its mode, and stays."""
        sock = self.listening(socket.AF_UNIX, f"\0txgear-test-{os.getpid()}")
        port = listen(MemoryReactorClock(), "systemd:index=0", Factory(), [Passed(sock.fileno(), "gear")])
        assert isinstance(port, AdoptedUnixPort)
        self.addCleanup(port.socket.close)

    def test_not_listening(self) -> None:
        """With Accept=yes systemd passes connections."""
        sock = socket.socket()
        self.addCleanup(sock.close)
        error = self.assertRaises(
            ConfigurationError,
            listen,
            MemoryReactorClock(),
            "systemd:index=0",
            Factory(),
            [Passed(sock.fileno(), "gear")],
        )
        self.assertIn("Accept=no", str(error))
