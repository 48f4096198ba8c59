"""
Tests for L{txgear.net.servers}: what callers may write for a server.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet._resolver import SimpleResolverComplexifier
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
)
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from txgear.net.servers import server_list
from txgear.security.clienttls import ClientTLS, TLSEndpoint
from txgear.test.support.client import ScriptedServer


def expected(endpoint: Any) -> str:
    """Whose certificate is looked for."""
    assert isinstance(endpoint, TLSEndpoint)
    return endpoint.expected.text


class ServerListTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def resolve(self) -> list[str]:
        """Let names have addresses, another one each time; the names that have been asked for."""
        resolved: list[str] = []

        def look_up(name: str, timeout: object = None) -> Deferred[str]:
            resolved.append(name)
            return succeed(f"192.0.2.{len(resolved)}")

        names: Any = SimpleNamespace(getHostByName=look_up)
        self.reactor.nameResolver = SimpleResolverComplexifier(names)
        # Older releases of Twisted leave it to the test to say so.
        alsoProvides(self.reactor, IReactorPluggableNameResolver)
        return resolved

    def endpoint(self, server: str) -> Any:
        (found,) = server_list(self.reactor, server)
        self.assertEqual(server, found.name)
        return found.endpoint

    def test_addresses(self) -> None:
        """An address stands for itself, with the default port or one of its own."""
        for text, kind, host, port in (
            ("192.0.2.1", TCP4ClientEndpoint, "192.0.2.1", 4730),
            ("192.0.2.1:4731", TCP4ClientEndpoint, "192.0.2.1", 4731),
            ("::1", TCP6ClientEndpoint, "::1", 4730),
            ("[::1]", TCP6ClientEndpoint, "::1", 4730),
            ("[2001:db8::7]:4731", TCP6ClientEndpoint, "2001:db8::7", 4731),
        ):
            endpoint = self.endpoint(text)
            self.assertIsInstance(endpoint, kind)
            _ = endpoint.connect(Factory())
            self.assertEqual((host, port), self.reactor.tcpClients[-1][:2])

    def test_names(self) -> None:
        """A name is resolved at each attempt."""
        for text, port in (("gear.example", 4730), ("gear.example:4731", 4731)):
            endpoint = self.endpoint(text)
            self.assertIsInstance(endpoint, HostnameEndpoint)
            self.assertIn(f"gear.example:{port}", repr(endpoint))
        resolved = self.resolve()
        endpoint = self.endpoint("gear.example")
        for _ in range(2):
            _ = endpoint.connect(Factory())
        self.assertEqual(["gear.example"] * 2, resolved)
        self.assertEqual(["192.0.2.1", "192.0.2.2"], [client[0] for client in self.reactor.tcpClients])

    def test_endpoint_strings(self) -> None:
        """Anything else is an endpoint string."""
        self.assertIsInstance(self.endpoint("tcp:192.0.2.1:4730"), TCP4ClientEndpoint)
        self.assertIsInstance(self.endpoint("unix:/run/gear"), UNIXClientEndpoint)
        self.assertIsInstance(self.endpoint("tls:gear.example:4730"), TLSEndpoint)

    def test_objects(self) -> None:
        """An endpoint is taken as it is, alone or among others."""
        endpoint = ScriptedServer(self.reactor, "mine")
        (found,) = server_list(self.reactor, endpoint)
        self.assertEqual(("mine", endpoint), (found.name, found.endpoint))
        self.assertEqual(2, len(server_list(self.reactor, ["192.0.2.1", endpoint])))

    def test_addresses_of_handles(self) -> None:
        """How others call a server, before the handles that it gives."""
        for text, address in (
            ("192.0.2.1", "192.0.2.1:4730"),
            ("gear.example:4731", "gear.example:4731"),
            ("::1", "[::1]:4730"),
            ("tcp:192.0.2.1:4730", ""),
        ):
            (found,) = server_list(self.reactor, text)
            self.assertEqual(address, found.address)

    def test_tls(self) -> None:
        """Where it is asked for, the names and the addresses of servers are those of their certificates."""
        for text, name in (
            ("gear.example", "gear.example"),
            ("gear.example.:4731", "gear.example"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:db8::7]:4731", "2001:db8::7"),
        ):
            for tls in (True, ClientTLS()):
                (found,) = server_list(self.reactor, text, tls)
                self.assertEqual((text, name), (found.name, expected(found.endpoint)))
            (found,) = server_list(self.reactor, text, ClientTLS(name="other.example"))
            self.assertEqual("other.example", expected(found.endpoint))

    def test_tls_where_no_name_is_known(self) -> None:
        """The caller has to say one: nothing is sent to whoever answers there."""
        endpoint = ScriptedServer(self.reactor, "mine")
        for server, name in (("tcp:192.0.2.1:4730", "tcp:192.0.2.1:4730"), (endpoint, "mine")):
            self.assert_said(
                ValueError,
                f"the name in the certificate of {name} is not known: ClientTLS(name=...)",
                server,
                tls=True,
            )
            (found,) = server_list(self.reactor, server, ClientTLS(name="gear.example"))
            self.assertEqual("gear.example", expected(found.endpoint))

    def test_tls_strings(self) -> None:
        """The words of Twisted's own, by place and by name; a backslash takes the meaning from a sign."""
        for text, name in (
            ("tls:gear.example:4730", "gear.example"),
            ("TLS:host=gear.example:port=4730:timeout=5:bindAddress=192.0.2.9", "gear.example"),
            (r"tls:\:\:1:4730", "::1"),
            (r"tls:gear.example:4730:endpoint=unix\:/run/a\\=b", "gear.example"),
        ):
            self.assertEqual(name, expected(self.endpoint(text)))
        resolved = self.resolve()
        _ = self.endpoint("tls:gear.example:4731:5:192.0.2.9").connect(Factory())
        host, port, _, timeout, bind = self.reactor.tcpClients[-1]
        self.assertEqual(["gear.example"], resolved)
        self.assertEqual(("192.0.2.1", 4731, 5, ("192.0.2.9", 0)), (host, port, timeout, bind))

    def test_wrong_tls(self) -> None:
        for server, words in (
            ("tls:gear.example", "a host and a port are wanted"),
            ("tls::4730:host=", "a host and a port are wanted"),
            ("tls:gear.example:4730:verify=no", "'verify' is not known there"),
            ("tls:a:1:2:3:4:5:6:7:8", "'8' is not known there"),
            ("tls:a b:4730", "'a b' is a name that no certificate can have"),
            ("tls:gear.example:4730:trustRoots=/nosuch", "/nosuch: No such file or directory"),
            ("tls:gear.example:4730:privateKey=/nosuch", "a key is given, and no certificate"),
            ("tls:gear.example:4730:endpoint=nosuch\\:x", "nosuch:x"),
            ("ssl:gear.example:4730", "TLS is written 'tls:host:port', or 'host:port' with the argument tls"),
        ):
            self.assert_said(ValueError, words, server)
        for server in ("tls:gear.example:4730", "ssl:gear.example:4730:hostname=gear.example"):
            self.assert_said(ValueError, "'host:port'", server, tls=True)
        wrong: Any = "yes"
        self.assert_said(TypeError, "tls is str, not a bool or a ClientTLS", "gear.example", tls=wrong)
        nosuch = ClientTLS(ca="/nosuch")
        self.assert_said(ValueError, "/nosuch: No such file or directory", "gear.example", tls=nosuch)

    def assert_said(
        self,
        error: type[Exception],
        words: str,
        servers: Any,
        reactor: Any = None,
        tls: bool | ClientTLS = False,
    ) -> None:
        raised = self.assertRaises(error, server_list, reactor or self.reactor, servers, tls)
        self.assertIn(words, str(raised))

    def test_words(self) -> None:
        """The error says what is wanted."""
        host = "is neither a host, with a port from 1 to 65535 or without, nor an endpoint string"
        for text in (
            "gear.example:473O",
            "tcp:",
            "tcp:gear.example",
            "tls:gear.example:473O",
            "gear example",
        ):
            self.assert_said(ValueError, f"{text!r} {host}", text)
        for text in ("4731", ":4731"):
            self.assert_said(ValueError, f"{text!r}: a host is wanted as well, as 127.0.0.1:4731", text)
        for text in ("a,b", "a,b:4731", "a:4730, b:4731"):
            parts = [part.strip() for part in text.split(",")]
            self.assert_said(ValueError, f"several are a list of their own: {parts}", [text])
        wrong: tuple[Any, ...] = (4730, None, b"127.0.0.1")
        for servers in wrong:
            kind = type(servers).__name__
            self.assert_said(TypeError, f"servers is {kind}, not text, an endpoint, or a list", servers)
        for servers in (("127.0.0.1", 4730), [("127.0.0.1", 4730)], [b"127.0.0.1"], [None]):
            self.assert_said(TypeError, "a server is text, such as 'gear.example:4730', or an", servers)
        self.assert_said(TypeError, "reactor is str, not a reactor", "127.0.0.1", "127.0.0.1")

    def test_several_in_one_text(self) -> None:
        """They are as they would be in a list."""
        text = " a, b:4731 ,[::1]:4732,tcp:c:4730,tls:d:4730,, unix:/run/e\\,f"
        found = server_list(self.reactor, text)
        names = ["a", "b:4731", "[::1]:4732", "tcp:c:4730", "tls:d:4730", "unix:/run/e\\,f"]
        self.assertEqual([each.name for each in found], names)
        self.assertEqual([each.address for each in found], ["a:4730", "b:4731", "[::1]:4732", "", "", ""])
        last: Any = found[-1].endpoint
        self.assertEqual(last._path, "/run/e,f")
        self.assert_said(ValueError, "'no such:thing' is neither", "a,no such:thing")
        for text in ("", ",", " , "):
            self.assert_said(ValueError, "no server is given", text)

    def test_refused(self) -> None:
        """What is none of these is refused."""
        for bad in ("", ":4730", "host:0", "host:65536", "[::1]x", "[::1]:x", "[name]:1", "no such:thing"):
            self.assertRaises(ValueError, server_list, self.reactor, bad)
        self.assertRaises(ValueError, server_list, self.reactor, [])
