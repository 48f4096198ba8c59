"""
Tests for L{txgear.cli.run.bar}.
"""

from __future__ import annotations

from io import StringIO

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.run.bar import EACH, Bar, drawn


class File(StringIO):
    """A file that is no terminal."""

    def fileno(self) -> int:
        raise OSError("no terminal")


class BarTests(SynchronousTestCase):
    """The line at the bottom."""

    def test_drawn(self) -> None:
        """The bar fills, whatever the worker counts, and no line is longer than the terminal."""
        self.assertEqual(drawn("half", 0.5, 80), "[" + "#" * 15 + "-" * 15 + "]  50 %  half")
        self.assertIn("100 %", drawn("too much", 7.0, 80))
        self.assertIn("  0 %", drawn("less", -1.0, 80))
        self.assertEqual(drawn("unknown", None, 80), "unknown")
        for width in range(1, 80):
            self.assertLessEqual(len(drawn("x" * 20, 0.5, width)), width)
            self.assertLessEqual(len(drawn("x" * 20, None, width)), width)

    def test_not_too_often(self) -> None:
        """Much that happens is drawn once."""
        clock, out = Clock(), File()
        bar = Bar(clock, out)
        for number in range(100):
            bar.show(f"{number} ended")
        self.assertEqual(out.getvalue(), "")
        clock.advance(EACH)
        self.assertEqual(out.getvalue(), "\r99 ended\x1b[K")
        clock.advance(10 * EACH)
        self.assertEqual(out.getvalue(), "\r99 ended\x1b[K")

    def test_out_of_the_way(self) -> None:
        """It is cleared for what else is written, and comes back."""
        clock, out = Clock(), File()
        bar = Bar(clock, out)
        bar.hide()
        bar.show("a")
        clock.advance(EACH)
        bar.hide()
        self.assertTrue(out.getvalue().endswith("\r\x1b[K"))
        clock.advance(EACH)
        self.assertTrue(out.getvalue().endswith("\ra\x1b[K"))

    def test_close(self) -> None:
        """Nothing of it is left, and nothing comes any more."""
        clock, out = Clock(), File()
        bar = Bar(clock, out)
        bar.show("a")
        clock.advance(EACH)
        bar.show("b")
        bar.close()
        said = out.getvalue()
        self.assertTrue(said.endswith("\r\x1b[K"))
        clock.advance(EACH)
        self.assertEqual((out.getvalue(), clock.getDelayedCalls()), (said, []))
