"""
Tests for L{txgear.cli.run.submitview}.
"""

from __future__ import annotations

import sys
from io import BytesIO, StringIO, TextIOWrapper

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.run.submitjobs import Wanted
from txgear.cli.run.submittickets import Summary, Ticket
from txgear.cli.run.submitview import NAMED, TextView, about, for_terminal, handles, payload, totals


def ticket(number: int, handle: bytes | None, place: str = "") -> Ticket:
    """A job that is under way."""
    made = Ticket(number, Wanted(b"f", place=place))
    made.handle = handle
    return made


class WordTests(SynchronousTestCase):
    """What is said of jobs."""

    def test_about(self) -> None:
        """The place and the handle, as far as there are any."""
        self.assertEqual(about(ticket(1, None)), "")
        self.assertEqual(about(ticket(1, b"H:vm:1")), "H:vm:1: ")
        self.assertEqual(about(ticket(1, b"H:vm:1", "line 7")), "line 7: H:vm:1: ")

    def test_handles(self) -> None:
        """Some of them, and how many more there are."""
        many = [ticket(number, b"H:%d" % number) for number in range(NAMED + 5)]
        self.assertEqual(handles(many[:2]), "H:0, H:1")
        self.assertTrue(handles(many).endswith(f"H:{NAMED - 1} and 5 more"))

    def test_totals(self) -> None:
        """What there is none of is left out, but for the three that everybody looks for."""
        counts = {"done": 3, "failed": 0, "refused": 1, "lost": 0, "overdue": 0, "unsent": 0}
        self.assertEqual(
            totals(Summary(counts, 2, 2.0)),
            "3 done, 0 failed, 1 refused, 0 lost, 2 under way in 2.00 s, 2.0 jobs/s",
        )
        self.assertIn("0.0 jobs/s", totals(Summary(counts, 0, 0.0)))

    def test_payload(self) -> None:
        """Text, or base64 where it is none."""
        self.assertEqual(payload("ü\n".encode()), {"text": "ü\n"})
        self.assertEqual(payload(b"\xff\0"), {"base64": "/wA="})

    def test_for_terminal(self) -> None:
        """Only ends of lines and tabs are left."""
        self.assertEqual(for_terminal(b"a\tb\nc\r\n"), b"a\tb\nc\\x0d\n")
        self.assertEqual(for_terminal("ü\x1b[2J\x9b".encode() + b"\xff"), "ü\\x1b[2J\\xc2\\x9b\\xff".encode())


class TextViewTests(SynchronousTestCase):
    """What people read."""

    def test_a_failure_of_several_lines(self) -> None:
        """As with a traceback, each is a line that says which job it is about, and does no more."""
        said = StringIO()
        self.patch(sys, "stderr", said)
        self.patch(sys, "stdout", TextIOWrapper(BytesIO()))
        view = TextView(Clock(), "txgear submit", prefix=False, verbose=False, as_handles=False)
        why = "ValueError: no\x1b[2J picture\nTraceback (most recent call last):\n  File"
        view.not_done(ticket(1, b"H:vm:1"), "failed", why)
        view.not_done(ticket(2, b"H:vm:2"), "failed", "")
        view.not_done(ticket(3, b"H:vm:3"), "refused", "full")
        self.assertEqual(
            said.getvalue().splitlines(),
            [
                "txgear submit: H:vm:1: failed: ValueError: no\\x1b[2J picture",
                "txgear submit: H:vm:1: Traceback (most recent call last):",
                "txgear submit: H:vm:1:   File",
                "txgear submit: H:vm:2: failed",
                "txgear submit: H:vm:3: the server refused it: full",
            ],
        )
