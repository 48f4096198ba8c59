"""Tests of L{txgear.web.pages.filters}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import InvalidArgument
from txgear.protocol.textlines import text
from txgear.web.pages import filters
from txgear.web.pages.filters import Said

VALUES = (b"mail.*", b"a b", b"\\x41", b"\xff\x00\n", "\u202e\u00e4".encode(), b"a=b", b"<b>")


class FilterTests(SynchronousTestCase):
    def test_a_line_is_read_as_it_is_written(self) -> None:
        for value in VALUES:
            words = {"function": value, "text": b"x"}
            self.assertEqual(filters.of_line(filters.line(words)), words)
        self.assertEqual(
            filters.of_line("  Function=a   state=\tqueued ".replace("=\t", "=")),
            {
                "function": b"a",
                "state": b"queued",
            },
        )
        self.assertEqual(filters.of_line("text="), {})
        for wrong in ("mail", "a=b a=c", "x" * (filters.MOST_LINE + 1)):
            self.assertRaises(InvalidArgument, filters.of_line, wrong)

    def test_an_address_is_read_as_it_is_written(self) -> None:
        for value in VALUES:
            self.assertEqual(filters.of_values([("unique", text(value)), ("text", "")]), {"unique": value})
        self.assertEqual(filters.address("/jobs", {}), "/jobs")
        self.assertEqual(
            filters.address("/jobs", {"text": b"\xff &"}, of=None, after=3), "/jobs?text=%5Cxff+%26&after=3"
        )

    def test_each_value_is_judged_by_itself(self) -> None:
        words = {"older": b"soon", "text": b"x", "limit": b"3"}
        found = filters.problems(words, filters.known("jobs"))
        self.assertEqual(sorted(found), ["limit", "older"])
        self.assertIn("limit is not known", found["limit"])
        self.assertEqual(filters.problems({"text": b"x"}, filters.known("kept")), {})

    def test_in_words(self) -> None:
        self.assertEqual(filters.in_words({"function": b"*"}), [])
        self.assertEqual(
            filters.in_words({"function": b"m*", "state": b"queued,running"}),
            [Said("of functions that match", "m*"), Said("that are", "queued or running")],
        )
        for of in ("jobs", "dead", "kept"):
            for name in filters.known(of):
                self.assertEqual(len(filters.in_words({name: b"x"})), 1)

    def test_states(self) -> None:
        self.assertEqual(filters.state_choices("queued"), filters.state_choices(""))
        self.assertEqual(filters.state_choices("queued,running")[-1], "queued,running")
