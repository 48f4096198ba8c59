"""
Tests for L{txgear.net.listeners}.
"""

from __future__ import annotations

import errno
from typing import Any, NoReturn

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError
from txgear.net.listeners import (
    ListenAddress,
    accept_waiting,
    listen,
    listen_addresses,
    open_endpoint,
    shown_address,
    tls_addresses,
)


class PlacesTests(SynchronousTestCase):
    """What C{--listen} names."""

    def test_default(self) -> None:
        """Without a word the server listens on loopback only, as far as the machine has it."""
        self.assertEqual(
            listen_addresses([]),
            [ListenAddress("127.0.0.1", optional=True), ListenAddress("::1", optional=True)],
        )

    def test_literals(self) -> None:
        """Address literals of both families are taken as they are, once each."""
        self.assertEqual(
            listen_addresses(["0.0.0.0", "::", "0.0.0.0"]), [ListenAddress("0.0.0.0"), ListenAddress("::")]
        )

    def test_name(self) -> None:
        """A name stands for all its addresses, none of them optional."""
        found = listen_addresses(["localhost"])
        self.assertIn(ListenAddress("127.0.0.1"), found)
        self.assertLessEqual({place.address for place in found}, {"127.0.0.1", "::1"})

    def test_endpoint(self) -> None:
        """What has a colon and is no address is an endpoint string."""
        self.assertEqual(listen_addresses(["unix:/run/txgear"]), [ListenAddress(endpoint="unix:/run/txgear")])

    def test_ports_of_their_own(self) -> None:
        """An address or a host with a port, as the client takes it."""
        self.assertEqual(
            listen_addresses(["127.0.0.1:4731", "[::1]:4732", "[::1]"]),
            [ListenAddress("127.0.0.1", port=4731), ListenAddress("::1", port=4732), ListenAddress("::1")],
        )
        self.assertIn(ListenAddress("127.0.0.1", port=1), listen_addresses(["localhost:1"]))
        for text in ("tcp:4731", "ssl:1:privateKey=k", "unix:/run/a.b:mode=600", "carrierpigeon:1"):
            self.assertEqual(listen_addresses([text]), [ListenAddress(endpoint=text)])

    def test_wrong_ports(self) -> None:
        for text in ("127.0.0.1:x", "[::1]:65536", "[::1]x", "gear.example:", "localhost:-1"):
            error = self.assertRaises(ConfigurationError, listen_addresses, [text])
            self.assertIn("is no port from 0 to 65535", str(error))
            self.assertIn(text, str(error))

    def test_unknown_name(self) -> None:
        """A name without an address is an error that says so."""
        error = self.assertRaises(ConfigurationError, listen_addresses, ["no-such-host.invalid"])
        self.assertIn("no-such-host.invalid", str(error))


class TlsPlacesTests(SynchronousTestCase):
    """What C{--tls-listen} names."""

    def test_places(self) -> None:
        self.assertEqual(tls_addresses([]), [])
        self.assertEqual(
            tls_addresses(["192.0.2.7:1", "[::1]:2", "unix:/run/txgear", "tcp:3:interface=192.0.2.7"]),
            [
                ListenAddress("192.0.2.7", port=1),
                ListenAddress("::1", port=2),
                ListenAddress(endpoint="unix:/run/txgear"),
                ListenAddress(endpoint="tcp:3:interface=192.0.2.7"),
            ],
        )

    def refusal(self, text: str) -> str:
        return str(self.assertRaises(ConfigurationError, tls_addresses, [text]))

    def test_no_port(self) -> None:
        """The port of the plain protocol is never meant."""
        for text, example in (("192.0.2.7", "192.0.2.7"), ("::1", "[::1]"), ("[::1]", "[::1]")):
            self.assertEqual(self.refusal(text), f"--tls-listen {text}: a port is wanted, as {example}:4731")
        self.assertIn("a port is wanted", self.refusal("gear.example"))
        self.assertIn("is no port from 0 to 65535", self.refusal("192.0.2.7:x"))

    def test_no_host(self) -> None:
        """Whom a port alone would be open to is for the operator to say."""
        for text in ("4731", ":4731"):
            wanted = f"cannot listen on {text}: a host is wanted as well, as 0.0.0.0:4731"
            self.assertEqual(self.refusal(text), wanted)
            error = self.assertRaises(ConfigurationError, listen_addresses, [text])
            self.assertEqual(str(error), wanted)

    def test_tls_twice(self) -> None:
        for text in ("ssl:4731:privateKey=k:certKey=c", "tls:/etc/txgear:tcp:4731"):
            self.assertEqual(
                self.refusal(text), f"--tls-listen {text}: it has TLS of its own, and is one for --listen"
            )


class RefusingReactor(MemoryReactorClock):
    """A reactor on which nothing can be bound."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        raise CannotListenError(interface, port, OSError(self.number, "the reason"))


class ListenTests(SynchronousTestCase):
    """Opening ports."""

    def test_ipv4(self) -> None:
        """A literal of IPv4 is bound with the port and the backlog."""
        reactor = MemoryReactorClock()
        factory = Factory()
        port = listen(reactor, ListenAddress("127.0.0.1"), 4730, 7, factory)
        self.assertEqual(reactor.tcpServers, [(4730, factory, 7, "127.0.0.1")])
        assert port is not None
        # The stand-in does not tell the address.
        self.assertEqual(shown_address(port), "0.0.0.0:4730")

    def test_its_own_port(self) -> None:
        """That of the place comes before the protocol's."""
        reactor = MemoryReactorClock()
        listen(reactor, ListenAddress("127.0.0.1", port=99), 4730, 7, Factory())
        self.assertEqual(reactor.tcpServers[0][0], 99)

    def test_words(self) -> None:
        """Where Twisted's error speaks of Python, ours speaks of the option."""
        for text, expected in (
            ("tcp:abc", "cannot listen on tcp:abc: 'abc' is no port from 0 to 65535"),
            ("tcp:port=abc", "cannot listen on tcp:port=abc: 'abc' is no port from 0 to 65535"),
            ("unix:/nosuch/s", "cannot listen on unix:/nosuch/s: there is no folder /nosuch"),
            ("ssl:1:privateKey=/nosuch/k", "No such file or directory: /nosuch/k"),
            ("gear:4780", "'gear'; of a host whose name has no dot the address is wanted"),
        ):
            error = self.assertRaises(
                ConfigurationError,
                listen,
                MemoryReactorClock(),
                ListenAddress(endpoint=text),
                1,
                7,
                Factory(),
            )
            self.assertIn(expected, str(error))

    def test_a_socket_that_may_not_be_made(self) -> None:
        """
        Its file is named. Twisted makes a link beside it that says the number of the process, and what the
        system says of a link begins with that.
        """

        class Reactor(MemoryReactorClock):
            def listenUNIX(self, *arguments: object, **named: object) -> NoReturn:  # noqa: N802
                raise PermissionError(errno.EACCES, "Permission denied", "4711", None, "/run/s.lock")

        error = self.assertRaises(
            ConfigurationError, listen, Reactor(), ListenAddress(endpoint="unix:/run/s"), 1, 7, Factory()
        )
        self.assertEqual(str(error), "cannot listen on unix:/run/s: Permission denied: /run/s.lock")

    def test_ipv6(self) -> None:
        """A literal of IPv6 is bound alike, and shown with brackets."""
        reactor = MemoryReactorClock()
        port = listen(reactor, ListenAddress("::1"), 4730, 7, Factory())
        self.assertEqual(reactor.tcpServers[0][3], "::1")
        assert port is not None
        self.assertEqual(shown_address(port), "[::1]:4730")

    def test_endpoint(self) -> None:
        """An endpoint string has its own port."""
        reactor = MemoryReactorClock()
        listen(reactor, ListenAddress(endpoint="tcp:99:interface=127.0.0.1"), 4730, 7, Factory())
        self.assertEqual(reactor.tcpServers[0][0], 99)

    def test_unix(self) -> None:
        """A UNIX socket is shown by its path."""
        port = listen(MemoryReactorClock(), ListenAddress(endpoint="unix:/tmp/of-txgear"), 4730, 7, Factory())
        assert port is not None
        self.assertIn("of-txgear", shown_address(port))

    def test_bad_endpoint(self) -> None:
        """What is no endpoint is an error in a line."""
        for text in ("bogus:1", "tcp:x:y:z", "tcp:port"):
            error = self.assertRaises(
                ConfigurationError,
                listen,
                MemoryReactorClock(),
                ListenAddress(endpoint=text),
                1,
                7,
                Factory(),
            )
            self.assertIn(f"cannot listen on {text}", str(error))

    def test_unknown_setting(self) -> None:
        """Python's words for it stand behind ours."""
        place = ListenAddress(endpoint="unix:/tmp/of-txgear:mod=660")
        error = self.assertRaises(ConfigurationError, listen, MemoryReactorClock(), place, 1, 7, Factory())
        self.assertIn("an endpoint string of this kind has other settings (", str(error))
        self.assertIn("'mod'", str(error))

    def test_taken(self) -> None:
        """A port that is taken is an error that names the place and the reason."""
        reactor = RefusingReactor(errno.EADDRINUSE)
        error = self.assertRaises(
            ConfigurationError, listen, reactor, ListenAddress("127.0.0.1"), 4730, 7, Factory()
        )
        self.assertEqual(str(error), "cannot listen on 127.0.0.1 port 4730: the reason")

    def test_lacking_default(self) -> None:
        """A default address that the machine lacks is passed over."""
        reactor = RefusingReactor(errno.EADDRNOTAVAIL)
        self.assertIs(listen(reactor, ListenAddress("::1", optional=True), 4730, 7, Factory()), None)

    def test_lacking(self) -> None:
        """An address that was asked for and is lacking is an error."""
        reactor = RefusingReactor(errno.EADDRNOTAVAIL)
        self.assertRaises(ConfigurationError, listen, reactor, ListenAddress("::1"), 4730, 7, Factory())

    def test_taken_default(self) -> None:
        """A default address that exists and is taken is an error, too."""
        reactor = RefusingReactor(errno.EADDRINUSE)
        self.assertRaises(
            ConfigurationError, listen, reactor, ListenAddress("::1", optional=True), 1, 7, Factory()
        )

    def test_slow_endpoint(self) -> None:
        """An endpoint that cannot say at once whether it listens is of no use: a start must fail or not."""

        class Slow:
            def listen(self, factory: Any) -> Deferred[Any]:
                return Deferred()

        error = self.assertRaises(RuntimeError, open_endpoint, Slow(), Factory())
        self.assertIn("at once", str(error))

    def test_who_waits_to_be_accepted(self) -> None:
        """They are, by ports that read; others have nobody waiting."""

        class Reading(FileDescriptor):
            reads = 0

            def doRead(self) -> None:
                self.reads += 1

        port: Any = Reading(MemoryReactorClock())
        other: Any = object()
        accept_waiting([port, other])
        self.assertEqual(port.reads, 1)
