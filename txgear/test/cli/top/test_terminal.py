"""Tests of L{txgear.cli.top.terminal}: what keys are, and what is written."""

from __future__ import annotations

from rich.text import Text
from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.top.terminal import Painter, keys_of


class KeyTests(SynchronousTestCase):
    def test_keys(self) -> None:
        for text, keys in (
            ("q", ["q"]),
            ("\x1b[A\x1b[Bx", ["up", "down", "x"]),
            ("\x1bOH\x1b[5~", ["home", "page-up"]),
            ("\x1b", ["escape"]),
            ("\x1b\x1b[A", ["escape", "up"]),
            ("\r\n\t\x7f", ["enter", "enter", "tab", "backspace"]),
            ("é", ["é"]),
            ("\x00\x01", []),
            # Keys that mean nothing here: with a modifier, a function key, and a mouse's.
            ("\x1b[1;5Cq", ["q"]),
            ("\x1b[15~q", ["q"]),
            ("\x1b[", []),
        ):
            self.assertEqual(list(keys_of(text)), keys, ascii(text))


class PainterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.painter = Painter()

    def paint(self, *lines: str, width: int = 10) -> str:
        return self.painter.paint([Text(line) for line in lines], width, 3)

    def test_all_at_first(self) -> None:
        self.assertEqual(self.paint("one", "two"), "\x1b[2J\x1b[1;1Hone\x1b[K\x1b[2;1Htwo\x1b[K")

    def test_what_has_changed(self) -> None:
        self.paint("one", "two", "three")
        self.assertEqual(self.paint("one", "2", "three"), "\x1b[2;1H2\x1b[K")
        self.assertEqual(self.paint("one", "2", "three"), "")

    def test_a_full_line(self) -> None:
        """What would clear the rest of the line would take its last character."""
        self.paint("one")
        self.assertEqual(self.paint("0123456789"), "\x1b[1;1H0123456789")

    def test_another_size(self) -> None:
        self.paint("one")
        self.assertTrue(self.paint("one", width=11).startswith("\x1b[2J"))

    def test_it_shows_something_else(self) -> None:
        self.paint("one")
        self.painter.forget()
        self.assertIn("one", self.paint("one"))
