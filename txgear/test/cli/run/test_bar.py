"""
Tests for L{txgear.cli.run.bar}.
"""

from __future__ import annotations

from io import StringIO

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.progress import EACH, Bar
from txgear.cli.run.bar import BarLater
from txgear.test.cli.support import Terminal


class BarLaterTests(SynchronousTestCase):
    """The line at the bottom."""

    def setUp(self) -> None:
        self.clock, self.out = Clock(), Terminal()
        self.bar = BarLater(self.clock, self.out)

    def drawn(self) -> str:
        """What has been written since this was called last."""
        said = self.out.getvalue()
        self.out.seek(0)
        self.out.truncate()
        return said

    def test_nobody_sees_it(self) -> None:
        """Where there is no terminal nothing is drawn, nor is there anything to do later."""
        out = StringIO()
        bar = BarLater(self.clock, out)
        bar.show(Bar("a"))
        bar.hide()
        self.assertEqual((bar.wanted, self.clock.getDelayedCalls()), (False, []))
        bar.close()
        self.assertEqual(out.getvalue(), "")

    def test_not_too_often(self) -> None:
        """Much that happens is drawn once."""
        for number in range(100):
            self.bar.show(Bar(f"{number} ended"))
        self.assertEqual(self.drawn(), "")
        self.clock.advance(EACH)
        self.assertEqual(self.drawn().count(" ended"), 1)
        self.clock.advance(10 * EACH)
        self.assertEqual(self.drawn(), "")

    def test_out_of_the_way(self) -> None:
        """It is cleared for what else is written, and comes back."""
        self.bar.hide()
        self.assertEqual((self.drawn(), self.clock.getDelayedCalls()), ("", []))
        self.bar.show(Bar("a"))
        self.clock.advance(EACH)
        self.drawn()
        self.bar.hide()
        self.assertTrue(self.drawn().endswith("\x1b[2K"))
        self.bar.hide()
        self.assertEqual(self.drawn(), "")
        self.clock.advance(EACH)
        self.assertIn("a", self.drawn())

    def test_close(self) -> None:
        """Nothing of it is left, and nothing comes any more."""
        self.bar.show(Bar("a"))
        self.clock.advance(EACH)
        self.bar.show(Bar("b"))
        self.bar.close()
        self.assertTrue(self.drawn().endswith("\x1b[2K"))
        self.clock.advance(EACH)
        self.assertEqual((self.drawn(), self.clock.getDelayedCalls()), ("", []))
