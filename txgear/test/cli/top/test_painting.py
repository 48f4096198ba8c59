"""Tests of L{txgear.cli.top.painting}: what a terminal has to be told shows what is to be seen."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.top.painting import Line, Painter
from txgear.test.support.extras import needs, reason

if TYPE_CHECKING or not reason("pyte"):
    import pyte

WIDTH, HEIGHT = 30, 4


class LineTests(SynchronousTestCase):
    def test_parts(self) -> None:
        line = Line("one", "bold")
        line.append("")
        line.append("漢", "red")
        self.assertEqual((line.plain, line.cells), ("one漢", 5))
        line.fill(7, "reverse")
        self.assertEqual(line.parts, [("one", "bold reverse"), ("漢", "red reverse"), ("  ", "reverse")])

    def test_cut(self) -> None:
        for width, text in ((9, "one漢x"), (6, "one漢x"), (5, "one漢"), (4, "one "), (2, "on"), (0, "")):
            line = Line("one", "bold")
            line.append("漢x")
            line.cut(width)
            self.assertEqual(line.plain, text)


@needs("pyte")
class PainterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.painter = Painter()
        self.screen = pyte.Screen(WIDTH, HEIGHT)
        self.stream = pyte.Stream(self.screen)

    def paint(self, *lines: Line | str, width: int = WIDTH) -> str:
        made = self.painter.paint(
            [Line(line) if isinstance(line, str) else line for line in lines], width, HEIGHT
        )
        self.stream.feed(made)
        return made

    def seen(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    def test_all_at_first(self) -> None:
        self.assertEqual(self.paint("one", "two"), "\x1b[m\x1b[2J\x1b[1;1Hone\x1b[2;1Htwo")

    def test_what_has_changed(self) -> None:
        self.paint("queue 1234 run 7", "two")
        self.assertEqual(self.paint("queue 1235 run 7", "two"), "\x1b[1;10H5")
        self.assertEqual(self.paint("queue 1235 run 7", "two"), "")
        self.assertEqual(self.paint("queue 1235", "two"), "\x1b[1;11H\x1b[K")
        self.assertEqual(self.paint("queue 1235", ""), "\x1b[2;1H\x1b[K")
        self.assertEqual(self.paint("queue 1235"), "")

    def test_two_places_of_a_line(self) -> None:
        """What lies between is passed over, if that is shorter."""
        self.paint("1 ---------- 1 - 1")
        self.assertEqual(self.paint("2 ---------- 2 - 2"), "\x1b[1;1H2\x1b[12C2 - 2")

    def test_styles(self) -> None:
        line = Line("bad", "bold red")
        self.assertEqual(self.paint(line), "\x1b[m\x1b[2J\x1b[1;1H\x1b[1;31mbad\x1b[m")
        self.assertEqual(self.paint("bad"), "\x1b[1;1Hbad")

    def test_without_colours(self) -> None:
        """What is bold stays so, as that is no colour."""
        self.painter = Painter(colours=False)
        self.paint(Line("bad", "bold red"), Line("odd", "yellow"))
        first, second = self.screen.buffer[0][0], self.screen.buffer[1][0]
        self.assertEqual((first.fg, first.bold, second.fg), ("default", True, "default"))

    def test_another_size(self) -> None:
        self.paint("one")
        self.assertTrue(self.paint("one", width=11).startswith("\x1b[m\x1b[2J"))

    def test_it_shows_something_else(self) -> None:
        self.paint("one")
        self.painter.forget()
        self.assertIn("one", self.paint("one"))

    def test_whatever_was_there(self) -> None:
        """The screen is what it would be if all were written anew, styles as well."""
        chance = random.Random(7)
        styles = ("", "", "bold", "red", "reverse", "bold yellow reverse")
        texts = ("", " ", "x", "1234", "  7", "a longer one", "漢字", "é")
        for _ in range(400):
            lines = []
            for _ in range(chance.randrange(HEIGHT + 1)):
                line = Line()
                for _ in range(chance.randrange(4)):
                    line.append(chance.choice(texts), chance.choice(styles))
                line.cut(WIDTH)
                lines.append(line)
            self.paint(*lines)
            fresh = pyte.Screen(WIDTH, HEIGHT)
            pyte.Stream(fresh).feed(Painter().paint(lines, WIDTH, HEIGHT))
            self.assertEqual(self.screen.display, fresh.display)
            for row in range(HEIGHT):
                for column in range(WIDTH):
                    mine, wanted = self.screen.buffer[row][column], fresh.buffer[row][column]
                    self.assertEqual(mine, wanted, (row, column))

    def test_printed(self) -> None:
        self.assertEqual(self.painter.printed(Line("a", "red")), "\x1b[31ma\x1b[m")
