"""
Tests for L{txgear.cli.base.progress}.
"""

from __future__ import annotations

import re
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.progress import Bar, Progress
from txgear.test.cli.support import Terminal

UP_AND_CLEAR = "\x1b[1A\x1b[2K"


class ProgressTests(SynchronousTestCase):
    def shown(self, stream: StringIO, *bars: Bar, ticking: bool = False) -> str:
        with Progress(stream, ticking=ticking) as progress:
            progress.show(*bars)
            progress.show(*bars)
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())

    def test_nobody_sees_it(self) -> None:
        self.assertEqual(self.shown(StringIO(), Bar("acting", 6, 8)), "")
        self.assertEqual(self.shown(StringIO(), Bar("acting", 6, 8), ticking=True), "")

    def test_on_a_terminal(self) -> None:
        """The text stands there whatever it is, with what has failed."""
        for ticking in (False, True):
            found = self.shown(
                Terminal(), Bar("[bold]acting", 6, 8, "3 failed"), Bar("other", 1, 2), ticking=ticking
            )
            for text in ("[bold]acting", "6/8", "3 failed", "other", "1/2", "\u2501"):
                self.assertIn(text, found)

    def test_nobody_knows_how_much_it_is(self) -> None:
        """There is no bar then, also where there was one before."""
        found = self.shown(Terminal(), Bar("5 ended", failed="2 not done"))
        self.assertIn("5 ended", found)
        self.assertIn("2 not done", found)
        self.assertNotIn("\u2501", found)
        stream = Terminal()
        with Progress(stream, ticking=False) as progress:
            progress.show(Bar("a", 1, 2))
            self.assertIn("1/2", stream.getvalue())
            before = len(stream.getvalue())
            progress.show(Bar("b"))
            self.assertIn("b", stream.getvalue()[before:])
            self.assertNotIn("1/2", stream.getvalue()[before:])

    def test_nothing_is_left(self) -> None:
        """The line is cleared at the end, and when it is hidden; shown again it is there again."""
        stream = Terminal()
        with Progress(stream, ticking=False) as progress:
            progress.hide()
            self.assertEqual(stream.getvalue(), "")
            progress.show(Bar("a", 1, 2))
            progress.hide()
            self.assertTrue(stream.getvalue().endswith(UP_AND_CLEAR))
            before = len(stream.getvalue())
            progress.hide()
            self.assertEqual(len(stream.getvalue()), before)
            progress.show(Bar("a", 2, 2))
            self.assertIn("2/2", stream.getvalue()[before:])
        self.assertTrue(stream.getvalue().endswith(UP_AND_CLEAR))

    def test_say(self) -> None:
        """What is said stays; no markup is taken for style."""
        stream = Terminal()
        with Progress(stream, ticking=False) as progress:
            progress.say("[red]before")
            progress.show(Bar("a", 1, 2))
            progress.say("after", "bold")
        self.assertIn("[red]before\n", stream.getvalue())
        self.assertIn("after", stream.getvalue())
