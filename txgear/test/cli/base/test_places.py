"""Tests of L{txgear.cli.base.places}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.places import Place, TLSFiles, place_of
from txgear.cli.base.statuses import MISUSED, CommandError

TLS = TLSFiles(ca="ca.pem")


class PlaceTests(SynchronousTestCase):
    def test_what_is_understood(self) -> None:
        for text, place in (
            ("gear", ("gear", 4730, "")),
            ("gear.example:4731", ("gear.example", 4731, "")),
            ("127.0.0.1:1", ("127.0.0.1", 1, "")),
            ("::1", ("::1", 4730, "")),
            ("[::1]", ("::1", 4730, "")),
            ("[::1]:65535", ("::1", 65535, "")),
            ("tcp:gear:4731", ("gear", 4731, "")),
            ("tcp:port=1:host=\\:\\:1", ("::1", 1, "")),
            ("unix:/run/gear.sock", ("", 4730, "/run/gear.sock")),
            ("unix:path=/a\\:b", ("", 4730, "/a:b")),
        ):
            found = place_of(text)
            self.assertEqual(
                ((found.host, found.port, found.path), found.name, found.tls), (place, text, None)
            )

    def test_tls(self) -> None:
        self.assertEqual(place_of("gear:1", TLS), Place("gear:1", "gear", 1, tls=TLS))
        named = TLSFiles(name="gear.example")
        self.assertEqual(place_of("unix:/s", named), Place("unix:/s", path="/s", tls=named))
        found = place_of("tls:gear:1:certificate=c.pem:privateKey=k.pem:trustRoots=ca.pem")
        self.assertEqual(found.tls, TLSFiles("ca.pem", "c.pem", "k.pem"))
        self.assertEqual(place_of("tls:gear:1").tls, TLSFiles())

    def test_what_is_not_understood(self) -> None:
        for text, says in (
            ("", "is no server"),
            (":4730", "a host is wanted as well, as 127.0.0.1:4730"),
            ("4730", "a host is wanted as well"),
            ("gear:0", "'0' is no port from 1 to 65535"),
            ("gear:65536", "'65536' is no port"),
            ("gear:99999999999999999999", "is no port"),
            ("gear: 1", "' 1' is no port"),
            ("127.0.0.1:473O", "'473O' is no port from 1 to 65535"),
            ("http://gear/", "http: is none of tcp:, unix:, tls:"),
            ("a b", "is no server"),
            ("[::1", "is none of"),
            ("[gear]:1", "is no server"),
            ("[::1]:x", "is no server"),
            ("[::1]x", "is no server"),
            ("ssl:gear:1", "ssl: is none of tcp:, unix:, tls:"),
            ("unix:", "a path is wanted"),
            ("tcp:gear", "a host and a port are wanted"),
            ("tcp:gear:x", "a host and a port are wanted"),
            ("tcp:gear:1:2:3:4", "a word too many"),
            ("tcp:gear:1:timeout=3", "a word too many"),
            ("tcp:gear:1:colour=red", "a word too many"),
            ("x" * 100_000 + ":y", "'y' is no port"),
        ):
            error = self.assertRaises(CommandError, place_of, text)
            self.assertEqual(error.status, MISUSED, text[:50])
            self.assertIn(says, error.text, text[:50])
        self.assertIn("--tls-name", self.assertRaises(CommandError, place_of, "unix:/s", TLS).text)
        self.assertIn("by itself", self.assertRaises(CommandError, place_of, "tls:gear:1", TLS).text)
