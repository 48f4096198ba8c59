"""
Tests for L{txgear.cli.imitate.stdio}.
"""

from __future__ import annotations

import os
import pty

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.imitate.stdio import BUFFER, Stdio


class StdioTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reading, self.writing = os.pipe()
        self.complaints, self.complaining = os.pipe()
        for descriptor in (self.reading, self.complaints, self.complaining):
            self.addCleanup(os.close, descriptor)
        self.stdio = Stdio(self.writing, self.complaining)

    def test_kept(self) -> None:
        """What is printed comes after what is written, unless the buffer is full or flushed."""
        self.stdio.print(b"one\n")
        self.stdio.write(b"two\n")
        self.stdio.flush()
        self.stdio.print(b"x" * (BUFFER + 1))
        self.stdio.write(b"three")
        self.stdio.flush()
        os.close(self.writing)
        self.assertEqual(os.read(self.reading, 2 * BUFFER), b"two\none\n" + b"x" * BUFFER + b"threex")

    def test_terminal(self) -> None:
        """There each line goes at once."""
        os.close(self.writing)
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        stdio = Stdio(theirs, self.complaining)
        stdio.print(b"a line\nhalf")
        stdio.write(b"|")
        said = b""
        while not said.endswith(b"|"):
            said += os.read(ours, 100)
        self.assertEqual(said, b"a line\r\n|")

    def test_nobody_reads(self) -> None:
        """A write fails; what is kept is lost with a word."""
        os.close(self.writing)
        self.assertRaises(OSError, self.stdio.write, b"x")
        self.stdio.print(b"x")
        self.stdio.flush()
        self.stdio.complain(b"!")
        self.assertEqual(os.read(self.complaints, 100), b"gearman: write (Bad file descriptor)\n!")

    def test_nobody_hears(self) -> None:
        """A complaint that cannot be written is lost."""
        os.close(self.writing)
        Stdio(1, self.writing).complain(b"x")
