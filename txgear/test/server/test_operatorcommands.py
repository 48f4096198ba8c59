"""Tests of L{txgear.server.operatorcommands}: what the log is told; test_textcommands has what they do."""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent

from txgear.protocol.constants import SET_CLIENT_ID
from txgear.protocol.packets import request
from txgear.server import operatorcommands
from txgear.test.server.test_textcommands import AdminTestCase


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

    def test_nothing_is_said_of_what_was_refused_or_looked_at(self) -> None:
        lines = (b"cancel job H:test:9", b"resume f", b"status", b"functions", b"purge", b"shutdown")
        self.assertEqual(self.noted(*lines), [])

    def test_a_flood_is_counted(self) -> None:
        said = self.noted(*[b"maxqueue f 1"] * 250)
        self.assertEqual(len(said), operatorcommands.MOST_LOGGED)
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
