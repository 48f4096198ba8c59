"""Tests of L{txgear.daemon.webport}."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.webport import has_tls, hosts, is_local, origins, url, web_place
from txgear.errors import ConfigurationError
from txgear.net.listeners import ListenAddress


class FakePort:
    """An open port."""

    def __init__(self, address: Any) -> None:
        self.address = address

    def getHost(self) -> Any:
        return self.address


def port(host: str) -> Any:
    kind = IPv6Address if ":" in host else IPv4Address
    return FakePort(kind("TCP", host, 4780))


UNIX: Any = FakePort(UNIXAddress("/run/web"))


class PlaceTests(SynchronousTestCase):
    def test_off(self) -> None:
        self.assertIsNone(web_place({"web": ""}))

    def test_default(self) -> None:
        """For this machine; and the server goes on where that cannot be."""
        place = web_place({"web": None})
        assert place is not None
        self.assertEqual(place.places, [ListenAddress(endpoint="tcp:4780:interface=127.0.0.1")])
        self.assertEqual((place.tls, place.names, place.optional), (False, (), True))

    def test_named(self) -> None:
        for text, found, names in (
            ("192.0.2.1:80", [ListenAddress("192.0.2.1", port=80)], ("192.0.2.1",)),
            ("[::1]:80", [ListenAddress("::1", port=80)], ("::1",)),
            ("tcp:80:interface=::1", [ListenAddress(endpoint="tcp:80:interface=::1")], ()),
            ("unix:/run/web", [ListenAddress(endpoint="unix:/run/web")], ()),
        ):
            for before, tls in (("", False), ("tls:", True)):
                place = web_place({"web": before + text})
                self.assertEqual(place, (found, tls, names, False), text)
                self.assertEqual(has_tls({"web": before + text}), tls)
        self.assertFalse(has_tls({"web": None}))

    def test_a_name(self) -> None:
        """A host's name is all its addresses, and one that may be asked for."""
        place = web_place({"web": "localhost:4781"})
        assert place is not None
        self.assertIn(ListenAddress("127.0.0.1", port=4781), place.places)
        self.assertEqual(place.names, ("localhost",))

    def test_wrong(self) -> None:
        for text, why in (
            ("127.0.0.1", "--web 127.0.0.1: a port is wanted as well, as 127.0.0.1:4780"),
            ("::1", "a port is wanted as well"),
            ("tls:", "--web tls:: a port is wanted as well"),
            ("4781", "--web 4781: a host is wanted as well, as 127.0.0.1:4781"),
            ("tls::4781", "--web tls::4781: a host is wanted as well, as 127.0.0.1:4781"),
            ("http://127.0.0.1:4781/", "it takes no URL; write 127.0.0.1:4781"),
            ("https://[::1]:4781", "it takes no URL; write tls:[::1]:4781"),
            ("http:", "it takes no URL; write 127.0.0.1:4780"),
            ("127.0.0.1:65536", "'65536' is no port from 0 to 65535"),
            ("ssl:4780:privateKey=k", "write tls:HOST:PORT, with --tls-cert and --tls-key"),
        ):
            error = self.assertRaises(ConfigurationError, web_place, {"web": text})
            self.assertIn(why, str(error))
            self.assertIn("--web", str(error))

    def test_hosts_and_origins(self) -> None:
        options = {"web-host": ["Gear.example"], "web-origin": ["https://gear.example:443"]}
        self.assertEqual(hosts(options), ("gear.example",))
        self.assertEqual(origins(options), ("https://gear.example",))


class OpenPortTests(SynchronousTestCase):
    def test_is_local(self) -> None:
        for host, local in (
            ("127.0.0.1", True),
            ("127.1.2.3", True),
            ("::1", True),
            ("0.0.0.0", False),
            ("::", False),
            ("192.0.2.1", False),
            ("a.name", False),
        ):
            self.assertEqual(is_local(port(host)), local, host)
        self.assertTrue(is_local(UNIX))
        self.assertFalse(is_local(FakePort(object())))  # type: ignore[arg-type]

    def test_url(self) -> None:
        self.assertEqual(url(port("127.0.0.1"), False), "http://127.0.0.1:4780/")
        self.assertEqual(url(port("::1"), True), "https://[::1]:4780/")
        self.assertEqual(url(UNIX, False), "unix:/run/web")
