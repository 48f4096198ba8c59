"""
Tests for L{txgear.cli.probe.trace}.
"""

from __future__ import annotations

import sys
from io import StringIO
from typing import Any

from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from txgear import cli
from txgear.cli.probe.trace import start
from txgear.cli.probe.traceproxy import Seen
from txgear.errors import TxgearError


class StartTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.lines: list[Seen] = []

    def start(self, *words: str) -> list[Any]:
        server, *rest = words
        listening = rest[-1] if rest else "127.0.0.1:4731"
        return list(start(server, listening, self.reactor, self.lines.append))

    def refusal(self, *words: str) -> str:
        return str(self.assertRaises(TxgearError, self.start, *words))

    def test_where(self) -> None:
        """It listens on loopback beside Gearman's own port, and elsewhere on request."""
        self.assertEqual(len(self.start("127.0.0.1")), 1)
        self.start("127.0.0.1", "--listen", "127.0.0.1:5000")
        self.start("127.0.0.1", "--listen", "127.0.0.2")
        where = [(server[3], server[0]) for server in self.reactor.tcpServers]
        self.assertEqual(where, [("127.0.0.1", 4731), ("127.0.0.1", 5000), ("127.0.0.2", 4731)])

    def test_who_connects_is_connected_to_the_server(self) -> None:
        for number, (server, port) in enumerate(
            (("127.0.0.1", 4730), ("127.0.0.1:4740", 4740), ("tcp:127.0.0.1:4741", 4741)), 1
        ):
            self.start(server)
            factory: Any = self.reactor.tcpServers[-1][1]
            factory.buildProtocol(None).makeConnection(StringTransport())
            self.assertEqual(self.reactor.tcpClients[-1][:2], ("127.0.0.1", port))
            self.assertEqual(len(self.lines), number)

    def test_addresses_that_make_no_sense(self) -> None:
        self.assertIn("neither a host", self.refusal("127.0.0.1:0"))
        self.assertIn("no TLS here", self.refusal("tls:gear.example:4730"))
        self.assertIn("no TLS here", self.refusal("127.0.0.1", "--listen", "ssl:4731"))
        self.assertIn("cannot listen on 127.0.0.1:x", self.refusal("127.0.0.1", "--listen", "127.0.0.1:x"))
        self.assertEqual(self.lines, [])

    def test_a_mistake_is_one_line(self) -> None:
        err = StringIO()
        self.patch(sys, "stderr", err)
        self.assertEqual(cli.main(["trace", "127.0.0.1", "stray"]), 2)
        self.assertIn("stray", err.getvalue())
        self.assertEqual(len(err.getvalue().splitlines()), 1)
