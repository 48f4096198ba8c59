"""Tests of L{txgear.protocol.textlines}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import InvalidArgument, ProtocolError, QueueError
from txgear.protocol import textlines
from txgear.test.support.extras import PROPERTY, given, st


class WordsTests(SynchronousTestCase):
    def test_spaces_part_them(self) -> None:
        for line, words in (
            (b"status", [b"status"]),
            (b"drop function f", [b"drop", b"function", b"f"]),
            (b" status", [b"", b"status"]),
            (b"maxqueue f ", [b"maxqueue", b"f", b""]),
            (b"", [b""]),
            (b"a\tb", [b"a\tb"]),
        ):
            self.assertEqual(textlines.words(line), words)

    def test_five_at_the_most(self) -> None:
        self.assertEqual(len(textlines.words(b"maxqueue f 1 2 3")), 5)
        with self.assertRaisesRegex(ProtocolError, "more than 5 words"):
            textlines.words(b"maxqueue f 1 2 3 4")

    def test_sixteen_of_its_own_commands(self) -> None:
        line = b"JOBS" + b" a=b" * 15
        self.assertEqual(len(textlines.words(line, {b"jobs"})), 16)
        with self.assertRaisesRegex(ProtocolError, "more than 16 words"):
            textlines.words(line + b" a=b", {b"jobs"})
        with self.assertRaisesRegex(ProtocolError, "more than 5 words"):
            textlines.words(line, {b"dead"})

    def test_http_is_none(self) -> None:
        """What a web page has a browser post is not to be carried out line by line."""
        for line in (
            b"POST / HTTP/1.1",
            b"GET /status HTTP/1.0",
            b"options * HTTP/1.1",
            b"Host: here",
        ):
            with self.assertRaisesRegex(ProtocolError, "HTTP, which is not spoken on this port"):
                textlines.words(line)
        self.assertEqual(textlines.words(b"show post"), [b"show", b"post"])

    def test_escapes(self) -> None:
        for word, raw in (
            (b"a\\x20b\\x0A", b"a b\n"),
            (b"App\\Jobs\\xMail", b"App\\Jobs\\xMail"),
            (b"\\x5cx20", b"\\x20"),
            (b"\\x2", b"\\x2"),
        ):
            self.assertEqual(textlines.unescaped(word), raw)

    def test_pairs(self) -> None:
        self.assertEqual(
            textlines.pairs([b"State=queued", b"text=a\\x20b=c", b"", b"worker="]),
            {"state": b"queued", "text": b"a b=c", "worker": b""},
        )

    def test_words_that_are_no_pairs(self) -> None:
        for words, problem in (
            ([b"state"], "state: one value is wanted, as in state=value"),
            ([b"a=1", b"A=2"], "a: one value"),
            ([b"\xff"], r"\\xff: one value"),
        ):
            with self.assertRaisesRegex(InvalidArgument, problem):
                textlines.pairs(words)


class AnswerTests(SynchronousTestCase):
    def test_a_list_ends_with_a_dot(self) -> None:
        self.assertEqual(textlines.listing([]), b".\n")
        self.assertEqual(textlines.listing([b"a", b"", b"b"]), b"a\n\nb\n.\n")

    def test_columns_are_parted_by_tabs(self) -> None:
        self.assertEqual(textlines.row(b"f", 0, 12), b"f\t0\t12")

    def test_a_value_ends_with_lf_and_the_rest_with_crlf(self) -> None:
        self.assertEqual(textlines.ok("1.1"), b"OK 1.1\n")
        self.assertEqual(textlines.OK, b"OK\r\n")
        self.assertEqual(
            textlines.unknown_command(b"do it\x07"),
            b"ERR UNKNOWN_COMMAND Unknown+server+commanddo it\\x07\r\n",
        )
        self.assertEqual(
            textlines.incomplete(b"drop"),
            b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+drop\r\n",
        )

    def test_a_refusal_is_one_line(self) -> None:
        self.assertEqual(
            textlines.refused(QueueError("no\r\nroom left")), b"ERR QUEUE_ERROR no\\x0d\\x0aroom+left\r\n"
        )

    def test_plain_values(self) -> None:
        for value, shown in (
            (None, b"-"),
            ("", b"-"),
            ("-", b"\\x2d"),
            ("a b\t", b"a b\\x09"),
            ("\xe4", b"\xc3\xa4"),
            (True, b"yes"),
            (False, b"no"),
            (7, b"7"),
            (7.0, b"7"),
            (0.25, b"0.25"),
            ({"a": 1, "b": ["\xe4", 0.5]}, b'{"a":1,"b":["\xc3\xa4",0.5]}'),
        ):
            self.assertEqual(textlines.column(value), shown)

    def test_names_that_can_be_said(self) -> None:
        for value, shown in (("", b"-"), ("-", b"\\x2d"), ("a b", b"a\\x20b"), ("\x7f\n", b"\\x7f\\x0a")):
            self.assertEqual(textlines.column(value, name=True), shown)

    def test_names_cannot_forge_lines_or_columns(self) -> None:
        self.assertEqual(textlines.shown(b"a b\n\t\0\x7f\xc3\xa4"), b"a b\\x0a\\x09\\x00\\x7f\xc3\xa4")
        self.assertEqual(textlines.shown_word(b"a b\n"), b"a\\x20b\\x0a")

    def test_what_no_line_has(self) -> None:
        """Line ends and controls of Unicode, what is no UTF-8, and what would be read as an escape."""
        for raw, shown in (
            (b"a\xc2\x85b\xe2\x80\xa8c\xe2\x80\xa9", b"a\\xc2\\x85b\\xe2\\x80\\xa8c\\xe2\\x80\\xa9"),
            (b"\xc2\x9b2J", b"\\xc2\\x9b2J"),
            (b"caf\xe9", b"caf\\xe9"),
            (b"\\x09", b"\\x5cx09"),
            (b"\\\\x09", b"\\\\x5cx09"),
            (b"App\\Xmas\\xmas", b"App\\Xmas\\xmas"),
        ):
            self.assertEqual((textlines.shown(raw), textlines.shown_word(raw)), (shown, shown))

    def test_a_dot_that_is_no_end(self) -> None:
        self.assertEqual(list(map(textlines.shown_alone, (b".", b"..", b""))), [b"\\x2e", b"..", b""])

    @PROPERTY
    @given(st.binary(max_size=12) | st.text("\\x5cfF0. \t\x85\u2028\xe9", max_size=12).map(str.encode))
    def test_all_that_is_shown_can_be_told_from_it(self, raw: bytes) -> None:
        """So no two look alike; and nothing can be taken for the end of a line or of the list."""
        for show in (textlines.shown, textlines.shown_word, textlines.shown_alone):
            shown = show(raw)
            self.assertEqual(textlines.unescaped(shown), raw)
            self.assertLessEqual(len(shown.decode("utf-8").splitlines()), 1)
        self.assertNotEqual(textlines.shown_alone(raw), b".")
        self.assertNotIn(b" ", textlines.shown_word(raw))


class LimitsTests(SynchronousTestCase):
    def test_what_maxqueue_sets(self) -> None:
        for values, limits in (
            ([], (0, 0, 0)),
            ([b"7"], (7, 7, 7)),
            ([b"7", b"8"], (7, 8, 0)),
            ([b"7", b"8", b"9"], (7, 8, 9)),
            ([b"-1"], (0, 0, 0)),
            ([b"many"], (0, 0, 0)),
            ([b"0", b"", b"3"], (0, 0, 3)),
        ):
            self.assertEqual(textlines.limits(values), limits)
