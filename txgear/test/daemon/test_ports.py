"""
Tests for L{txgear.daemon.ports}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.ports import Port, tls_port, wanted_ports
from txgear.errors import ConfigurationError
from txgear.plugins.gear import gear
from txgear.plugins.http import http


class Old:
    """A module of another package, from before there was TLS."""

    name = "old"
    port_option = "old-port"


class WantedTests(SynchronousTestCase):
    """Which ports are opened."""

    def wanted(self, *listen: str, tls: tuple[str, ...] = (), http_tls: int | None = None) -> list[str]:
        """The ports in short, of three modules."""
        options = {
            "listen": list(listen),
            "tls-listen": list(tls),
            "port": 1,
            "http-port": 2,
            "http-tls-port": http_tls,
            "old-port": 3,
        }
        modules: Any = [gear, http, Old]
        return [self.short(port) for port in wanted_ports(modules, options)]

    def short(self, port: Port) -> str:
        place, number = port.place, port.number if port.place.port is None else port.place.port
        where = place.endpoint or f"{place.address} {number}"
        return f"{port.module.name} {where}{' TLS' * port.tls}{' ?' * place.optional}"

    LOOPBACK_GEAR = ("gear 127.0.0.1 1 ?", "gear ::1 1 ?")
    LOOPBACK_HTTP = ("http 127.0.0.1 2 ?", "http ::1 2 ?")
    LOOPBACK_OLD = ("old 127.0.0.1 3 ?", "old ::1 3 ?")

    def test_nothing_said(self) -> None:
        """Everything is on loopback."""
        self.assertEqual(self.wanted(), [*self.LOOPBACK_GEAR, *self.LOOPBACK_HTTP, *self.LOOPBACK_OLD])

    def test_plain(self) -> None:
        """Addresses are for all; what has a port of its own is for the Gearman protocol."""
        self.assertEqual(
            self.wanted("192.0.2.1", "192.0.2.2:9", "unix:/run/s"),
            [
                *("gear 192.0.2.1 1", "gear 192.0.2.2 9", "gear unix:/run/s"),
                *("http 192.0.2.1 2", "old 192.0.2.1 3"),
            ],
        )

    def test_tls_alone(self) -> None:
        """There is no plain port of Gearman's protocol; what has no port with TLS is on loopback."""
        self.assertEqual(
            self.wanted(tls=("192.0.2.1:8", "[2001:db8::1]:9", "unix:/run/s")),
            [
                *("gear 192.0.2.1 8 TLS", "gear 2001:db8::1 9 TLS", "gear unix:/run/s TLS"),
                *self.LOOPBACK_HTTP,
                *self.LOOPBACK_OLD,
            ],
        )

    def test_side_by_side(self) -> None:
        self.assertEqual(
            self.wanted("192.0.2.1", tls=("192.0.2.1:8", "192.0.2.1:9"), http_tls=7),
            [
                *("gear 192.0.2.1 1", "gear 192.0.2.1 8 TLS", "gear 192.0.2.1 9 TLS"),
                *("http 192.0.2.1 2", "http 192.0.2.1 7 TLS"),
                "old 192.0.2.1 3",
            ],
        )

    def test_http_over_tls(self) -> None:
        """It is where C{--tls-listen} is, else on loopback; and there is no plain port of it."""
        self.assertEqual(
            self.wanted(tls=("192.0.2.1:8",), http_tls=0)[1:], ["http 192.0.2.1 0 TLS", *self.LOOPBACK_OLD]
        )
        loopback = ["http 127.0.0.1 7 TLS ?", "http ::1 7 TLS ?"]
        self.assertEqual(self.wanted(tls=("unix:/run/s",), http_tls=7)[1:3], loopback)
        self.assertEqual(self.wanted(http_tls=7), [*self.LOOPBACK_GEAR, *loopback, *self.LOOPBACK_OLD])

    def test_mistakes(self) -> None:
        self.assertRaises(ConfigurationError, self.wanted, "127.0.0.1:x")
        self.assertRaises(ConfigurationError, self.wanted, tls=("127.0.0.1",))

    def test_modules_without(self) -> None:
        """A module may know nothing of TLS."""
        old: Any = Old
        self.assertIsNone(tls_port(old, {}))
        self.assertIsNone(tls_port(gear, {}))
        self.assertEqual(tls_port(http, {"http-tls-port": 7}), 7)
