"""Tests of L{txgear.web.origins}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError
from txgear.web.origins import Authority, Hosts, Origins, authority, host_name, named_origin


class AuthorityTests(SynchronousTestCase):
    def test_read(self) -> None:
        for text, found in (
            ("Gear.Example", Authority("gear.example", None)),
            ("gear.example.:80", Authority("gear.example", 80)),
            ("127.0.0.1:4780", Authority("127.0.0.1", 4780)),
            ("[::1]:4780", Authority("::1", 4780)),
            ("[0:0::0:1]", Authority("::1", None)),
            ("[::ffff:127.0.0.1]", Authority("127.0.0.1", None)),
            ("a:", Authority("a", None)),
            ("", Authority("", None)),
        ):
            self.assertEqual(authority(text), found, text)

    def test_nonsense(self) -> None:
        for text in (
            "a b",
            "a/b",
            "u@a",
            "a:b",
            "a:1:2",
            "::1",
            "[::1",
            "a:65536",
            "a:999999",
            "a\x00 ",
            "[a]b",
        ):
            self.assertIsNone(authority(text), text)


class HostsTests(SynchronousTestCase):
    def test_own_address(self) -> None:
        hosts = Hosts(())
        self.assertTrue(hosts.has("192.0.2.1", "192.0.2.1"))
        self.assertTrue(hosts.has("192.0.2.1", "::ffff:192.0.2.1"))
        for host in ("192.0.2.2", "localhost", "127.0.0.1", "evil.example", ""):
            self.assertFalse(hosts.has(host, "192.0.2.1"), host)

    def test_loopback(self) -> None:
        """By all the forms of localhost, on whichever address of it; and so on a Unix socket."""
        for local in ("127.0.0.1", "::1", "::ffff:127.0.0.1", None):
            for host in ("localhost", "127.0.0.1", "127.8.8.8", "::1"):
                self.assertTrue(Hosts(()).has(host, local), host)
            for host in ("evil.example", "localhost.evil.example", "192.0.2.1", "0.0.0.0", "localhost1", ""):
                self.assertFalse(Hosts(()).has(host, local), host)

    def test_named(self) -> None:
        hosts = Hosts(("Gear.example", "2001:DB8::1"))
        for host in ("gear.example", "2001:db8::1"):
            self.assertTrue(hosts.has(host, "192.0.2.1"))
        self.assertFalse(hosts.has("a.gear.example", "192.0.2.1"))

    def test_option(self) -> None:
        for text, found in (("Gear.Example", "gear.example"), ("[::1]", "::1"), ("10.0.0.1", "10.0.0.1")):
            self.assertEqual(host_name(text), found)
        for text in ("", "*.example", "a:80", "http://a", "a/b", "a b", "ä.example"):
            error = self.assertRaises(ConfigurationError, host_name, text)
            self.assertIn("a host's name or address is wanted, without a port", str(error))


class OriginsTests(SynchronousTestCase):
    def test_option(self) -> None:
        for text, found in (
            ("https://Gear.Example", "https://gear.example"),
            ("http://a:80", "http://a"),
            ("http://a:443", "http://a:443"),
            ("https://[::1]:3000", "https://[::1]:3000"),
        ):
            self.assertEqual(named_origin(text), found)
        for text in (
            "*",
            "null",
            "a.example",
            "ftp://a",
            "https://",
            "https://a/",
            "https://a/b",
            "http://u@a",
            "https://*.a b",
            "http://ä",
        ):
            error = self.assertRaises(ConfigurationError, named_origin, text)
            self.assertIn(f"--web-origin {text}: an origin is wanted", str(error))

    def test_named(self) -> None:
        origins = Origins(("https://a.example", "http://localhost:3000"))
        self.assertTrue(origins.any)
        for text in ("https://a.example", "https://A.example:443", "http://localhost:3000"):
            self.assertTrue(origins.has(text), text)
        for other in (None, "null", "http://a.example", "https://a.example:444", "https://b.a.example", "x"):
            self.assertFalse(origins.has(other), other)
        self.assertFalse(Origins(()).any)

    def may(self, origin: str | None, site: str | None, host: str | None, secure: bool = False) -> bool:
        asked = None if host is None else authority(host)
        return Origins(("https://named.example",)).may_change(origin, site, asked, secure)

    def test_programs(self) -> None:
        self.assertTrue(self.may(None, None, "a"))
        self.assertTrue(self.may(None, None, None))

    def test_own_pages(self) -> None:
        for origin, host in (
            ("http://a:4780", "a:4780"),
            ("http://a", "a"),
            ("https://a", "a"),
            ("http://[::1]:80", "[::1]"),
            ("https://a", "a:443"),
        ):
            self.assertTrue(self.may(origin, None, host), origin)
            self.assertTrue(self.may(origin, "same-origin", host), origin)

    def test_other_pages(self) -> None:
        for origin, host in (
            ("http://evil", "a"),
            ("http://a:81", "a"),
            ("http://a", "a:4780"),
            ("null", "a"),
            ("file://", "a"),
            ("http://a", None),
            ("", "a"),
        ):
            self.assertFalse(self.may(origin, None, host), origin)
        for site in ("cross-site", "same-site", "Cross-Site", "x"):
            self.assertFalse(self.may("http://a", site, "a"))
            self.assertFalse(self.may(None, site, "a"))
        self.assertTrue(self.may(None, "none", "a"))

    def test_named_pages(self) -> None:
        self.assertTrue(self.may("https://named.example", "cross-site", "a"))

    def test_tls(self) -> None:
        """Whoever is between can make a page of http."""
        self.assertFalse(self.may("http://a", "same-origin", "a", secure=True))
        self.assertTrue(self.may("https://a", "same-origin", "a", secure=True))
