"""Tests of L{txgear.server.operatorcommands}: what the log is told; test_textcommands has what they do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.logger import capturedLogs, formatEvent

from txgear.broker.tenants import Tenant
from txgear.protocol.constants import SET_CLIENT_ID
from txgear.protocol.packets import request
from txgear.security.audit import AuditLog
from txgear.server.notices import MOST_LOGGED
from txgear.test.support.textcommands import AdminTestCase


class NoteTests(AdminTestCase):
    def noted(self, *lines: bytes) -> list[str | None]:
        """What the log is told of these commands."""
        with capturedLogs() as events:
            for line in lines:
                self.operator.ask(line + b"\n")
        return [formatEvent(event) for event in events]

    def test_an_order_is_a_line(self) -> None:
        self.operator.tell(request(SET_CLIENT_ID, b"nagios\n\\x0a"))
        self.submit(b"f")
        self.submit(b"f")
        who = "192.0.2.1 (nagios\\x0a\\x5cx0a): "
        self.assertEqual(
            self.noted(b"pause f\\x5cxdebug", b"Cancel job H:test:1", b"purge f"),
            [who + "pause f\\x5cxdebug: OK", who + "Cancel job H:test:1: OK", who + "purge f: OK 1"],
        )

    def test_all_that_change_something(self) -> None:
        for line in (b"create function f", b"maxqueue f 1", b"drop function f", b"pause f", b"resume f"):
            self.assertEqual(self.noted(line), [f"192.0.2.1 (-): {line.decode()}: OK"])

    def test_an_identity_is_named(self) -> None:
        self.peer.tenant = Tenant("ops")
        self.assertEqual(self.noted(b"pause f"), ["192.0.2.1 (-), identity ops: pause f: OK"])

    def test_nothing_is_said_of_what_was_refused_or_looked_at(self) -> None:
        lines = (b"cancel job H:test:9", b"resume f", b"status", b"functions", b"purge", b"shutdown")
        self.assertEqual(self.noted(*lines), [])

    def test_a_flood_is_counted(self) -> None:
        said = self.noted(*[b"maxqueue f 1"] * 250)
        self.assertEqual(len(said), MOST_LOGGED)
        with capturedLogs() as events:
            self.fixture.clock.advance(60)
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["192.0.2.1 (-): maxqueue f 1: OK; 149 more like it in the last minute"],
        )

    def test_a_long_one_is_cut(self) -> None:
        (said,) = self.noted(b"pause " + b"f" * 8000)
        assert said is not None
        self.assertLess(len(said), 500)


class AuditTests(AdminTestCase):
    """What the audit log is told."""

    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp()).absolute()
        server = self.fixture.server
        server.audit = AuditLog(str(self.path), self.fixture.clock, server.wall_clock)
        self.addCleanup(server.audit.stop)

    def audited(self, line: bytes) -> list[dict[str, Any]]:
        """What is told of a command, without when and by whom."""
        before = len(self.path.read_text())
        self.operator.ask(line + b"\n")
        lines = [json.loads(text) for text in self.path.read_text()[before:].splitlines()]
        for found in lines:
            for name in ("time", "identity", "address", "descriptor", "client_id", "outcome"):
                del found[name]
        return lines

    def test_who(self) -> None:
        self.operator.tell(request(SET_CLIENT_ID, b"nagios"))
        self.operator.ask(b"pause f\n")
        (line,) = map(json.loads, self.path.read_text().splitlines())
        self.assertEqual(
            (line["outcome"], line["address"], line["client_id"]), ("done", "192.0.2.1", "nagios")
        )
        self.assertIsInstance(line["descriptor"], int)

    def test_each_command(self) -> None:
        """Each is told of by what it is about; a space at its end changes nothing."""
        self.submit(b"f")
        self.submit(b"f")
        for line, told in (
            (b"Create Function e", {"act": "create", "function": "e"}),
            (b"drop function e", {"act": "drop", "function": "e"}),
            (b"maxqueue f", {"act": "maxqueue", "function": "f"}),
            (b"maxqueue f 10 20 30", {"act": "maxqueue", "function": "f", "arguments": "10 20 30"}),
            (b"cancel job H:test:1", {"act": "cancel", "handle": "H:test:1"}),
            (b"pause f", {"act": "pause", "function": "f"}),
            (b"resume f", {"act": "resume", "function": "f"}),
        ):
            self.assertEqual(self.audited(line), [{**told, "answer": "OK"}], line)
        for line, told in (
            (b"purge f ", {"act": "purge", "function": "f", "answer": "OK 1"}),
            (b"requeue function f ", {"act": "requeue", "function": "f", "answer": "OK 0"}),
            (b"forget dead f", {"act": "forget", "function": "f", "answer": "OK 0"}),
        ):
            self.assertEqual(self.audited(line), [told], line)

    def test_the_function_without_a_name(self) -> None:
        self.assertEqual(self.audited(b"maxqueue "), [{"act": "maxqueue", "answer": "OK"}])

    def test_shutdown(self) -> None:
        self.fixture.server.settings = replace(self.fixture.server.settings, allow_shutdown=True)
        self.assertEqual(
            self.audited(b"shutdown graceful"), [{"act": "shutdown", "arguments": "graceful", "answer": "OK"}]
        )
        self.assertEqual(self.audited(b"shutdown"), [{"act": "shutdown", "answer": "OK"}])

    def test_nothing_is_told_of_what_was_not_done(self) -> None:
        for line in (b"cancel job H:test:9", b"resume f", b"status", b"functions", b"purge", b"shutdown"):
            self.assertEqual(self.audited(line), [])

    def test_a_flood_of_acts_is_there_in_full(self) -> None:
        for _ in range(2 * MOST_LOGGED):
            self.operator.ask(b"maxqueue f 1\n")
        self.assertEqual(len(self.path.read_text().splitlines()), 2 * MOST_LOGGED)
