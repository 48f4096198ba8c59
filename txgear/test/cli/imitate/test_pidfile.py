"""
Tests for L{txgear.cli.imitate.pidfile}.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.imitate.pidfile import pidfile


class PidfileTests(SynchronousTestCase):
    def test_file(self) -> None:
        """It is there as long as it is wanted, in the place of another."""
        path = Path(self.mktemp())
        path.write_text("old")
        with pidfile(str(path)):
            self.assertEqual(path.read_text(), f"{os.getpid()}\n")
        self.assertFalse(path.exists())

    def test_taken_away(self) -> None:
        path = Path(self.mktemp())
        with pidfile(str(path)):
            path.unlink()
        self.assertFalse(path.exists())

    def test_none(self) -> None:
        with pidfile(""):
            self.assertFalse(os.path.exists(""))

    def test_impossible(self) -> None:
        with self.assertRaises(OSError), pidfile(os.path.join(self.mktemp(), "pid")):
            self.fail("it was made")
