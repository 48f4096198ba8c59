"""
Tests for L{txgear.runtime.outputlines}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.outputlines import LONGEST_LINE, TAIL, LastLine, Lines, Tail, progress


class LinesTests(SynchronousTestCase):
    def test_pieces(self) -> None:
        """However it arrives, lines are the same."""
        text = b"one\n\nthree\nlast"
        for strip, expected in ((False, [b"one\n", b"\n", b"three\n", b"last"]), (True, text.split(b"\n"))):
            for size in range(1, len(text) + 1):
                lines = Lines(strip)
                found = [
                    line for at in range(0, len(text), size) for line in lines.feed(text[at : at + size])
                ]
                self.assertEqual(expected, found + lines.end())

    def test_nothing_is_left_behind_a_line(self) -> None:
        """A text that ends with a line has no empty one behind it."""
        for strip in (False, True):
            lines = Lines(strip)
            lines.feed(b"a\n")
            self.assertEqual([], lines.end())

    def test_a_line_without_an_end(self) -> None:
        """It is handed on in pieces, and never held."""
        lines = Lines(True)
        found = lines.feed(b"x" * (2 * LONGEST_LINE + 5))
        self.assertEqual([LONGEST_LINE, LONGEST_LINE], [len(piece) for piece in found])
        self.assertEqual([b"xxxxxy"], lines.feed(b"y\n"))


class TailTests(SynchronousTestCase):
    def text(self, *pieces: bytes) -> bytes:
        tail = Tail()
        for piece in pieces:
            tail.feed(piece)
        return tail.text()

    def test_short(self) -> None:
        """All of it, without the last line end."""
        self.assertEqual(b"", self.text())
        self.assertEqual(b"a\nb", self.text(b"a\n", b"b\n"))

    def test_long(self) -> None:
        """Whole lines of the end; of one long line its end."""
        self.assertEqual(b"b" * 100 + b"\nc", self.text(b"a" * TAIL + b"\n", b"b" * 100 + b"\nc\n"))
        self.assertEqual(b"a" * (TAIL - 1), self.text(b"a" * 3 * TAIL, b"\n"))


class ProgressTests(SynchronousTestCase):
    def test_read(self) -> None:
        """Two forms, and nothing else."""
        for line, expected in (
            (b"3/10", (3, 10)),
            (b" 3 / 10 \r", (3, 10)),
            (b"30%", (30, 100)),
            (b"12.7 %", (12, 100)),
            (b"", None),
            (b"3", None),
            (b"-3/10", None),
            (b"3/10 x", None),
            (b"1" * 19 + b"/1", None),
            (b"\xff/10", None),
        ):
            self.assertEqual(expected, progress(line), line)

    def test_last_line(self) -> None:
        """Older ones are needless; a long one takes no memory."""
        last = LastLine()
        self.assertIsNone(last.feed(b"1/"))
        self.assertEqual(b"2/3", last.feed(b"3\n2/3\n3"))
        self.assertEqual(b"3/3", last.feed(b"/3\n"))
        self.assertIsNone(last.feed(b"x" * 1000000))
        self.assertEqual(64, len(last.feed(b"\n") or b""))
