"""
Tests for L{txgear.runtime.control}: messages out of bytes.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.config import GroupTable, RuntimeTable
from txgear.runtime.control import (
    MOST_LINE,
    MOST_TEXT,
    Answer,
    Asked,
    ControlError,
    Failed,
    FailJobs,
    FromChild,
    Leave,
    Leaving,
    Left,
    Lines,
    Loaded,
    Ready,
    Task,
    ToChild,
    cut,
    line,
)


class LinesTests(SynchronousTestCase):
    def test_to_a_child(self) -> None:
        """All that a child is told comes out as it went in, in pieces of any size."""
        table = RuntimeTable(group={"g": GroupTable(modules=("m",), environment={"A": "b"}, hard_time=1.5)})
        said = [
            Task(number=1, id="g-1", key="k", runtime="r", group="g", table=table),
            Leave("because"),
            FailJobs("it stops"),
            Answer(1, True, "4 \N{CYCLONE}"),
        ]
        text = b"".join(map(line, said))
        for size in (1, 7, len(text)):
            lines = Lines(ToChild)
            heard = []
            for place in range(0, len(text), size):
                heard += lines.take(text[place : place + size])
            self.assertEqual(said, heard)

    def test_from_a_child(self) -> None:
        """All that one says."""
        said = [Loaded(["f"]), Ready(), Failed("no"), Leaving(True), Asked(1, "grow"), Left()]
        self.assertEqual(said, Lines(FromChild).take(b"".join(map(line, said))))

    def test_nonsense(self) -> None:
        """What is no message, or one that goes the other way, is told as such."""
        for text in (b"\n", b"{}\n", b"\xff\n", b'{"type":"ready","x":\n', line(Leave("because"))):
            self.assertRaises(ControlError, Lines(FromChild).take, text)

    def test_endless(self) -> None:
        """A message that does not end takes no more memory than one that may be."""
        lines = Lines(FromChild)
        self.assertEqual([], lines.take(b"x" * MOST_LINE))
        self.assertRaises(ControlError, lines.take, b"x")


class CutTests(SynchronousTestCase):
    def test_short(self) -> None:
        """A text that fits."""
        self.assertEqual("a" * MOST_TEXT, cut("a" * MOST_TEXT))

    def test_long(self) -> None:
        """The end of one that does not."""
        self.assertEqual("..." + "b" * MOST_TEXT, cut("a" + "b" * MOST_TEXT))
