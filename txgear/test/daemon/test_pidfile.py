"""
Tests for L{txgear.daemon.pidfile}.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.pidfile import PidFile, is_another_twistd
from txgear.errors import ConfigurationError


class PidFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.file = PidFile(str(self.path))
        self.addCleanup(self.file.release)

    def refusal(self) -> str:
        return str(self.assertRaises(ConfigurationError, self.file.take))

    def test_its_life(self) -> None:
        """It holds our number, and goes with us; to release it twice is once."""
        self.file.take()
        self.assertEqual(self.path.read_text(), str(os.getpid()))
        self.file.release()
        self.assertFalse(self.path.exists())
        self.file.release()

    def test_stale(self) -> None:
        """Our own number, that of a process that runs something else, one of nobody, or nothing at all."""
        for text in (str(os.getpid()), "1", "999999999\n", ""):
            self.path.write_text(text)
            self.file.take()
            self.assertEqual(self.path.read_text(), str(os.getpid()))
            self.file.release()

    def test_held(self) -> None:
        """A server that lives keeps its file, and is named."""
        self.file.take()
        error = self.assertRaises(ConfigurationError, PidFile(str(self.path)).take)
        self.assertIn(f"another server runs, process {os.getpid()},", str(error))
        self.assertEqual(self.path.read_text(), str(os.getpid()))

    def test_something_else(self) -> None:
        """A file that is somebody's own is not overwritten."""
        self.path.write_text("PORT=4730")
        self.assertIn("is no pid file", self.refusal())
        self.assertEqual(self.path.read_text(), "PORT=4730")

    def test_unwritable(self) -> None:
        """No folder, and a folder in its place, are lines."""
        self.assertIn(
            "No such file", str(self.assertRaises(ConfigurationError, PidFile("/nowhere/pid").take))
        )
        self.path.mkdir()
        self.assertIn("cannot write the pid file", self.refusal())

    def test_replaced(self) -> None:
        """A file that somebody has put in the place of ours is left alone."""
        self.file.take()
        self.path.unlink()
        self.path.write_text("1")
        self.file.release()
        self.assertEqual(self.path.read_text(), "1")

    def test_unremovable(self) -> None:
        """Where we may not remove it by now, it is left empty, and the next start takes it."""
        self.patch(os, "unlink", os.rmdir)
        self.file.take()
        self.file.release()
        self.assertEqual(self.path.read_text(), "")
        PidFile(str(self.path)).take()

    def test_another_twistd(self) -> None:
        """That of another program under twistd, which holds no lock, is not ours to overwrite."""
        processes = Path(self.mktemp())
        for pid, words, expected in (
            (1, ["python", "/usr/bin/twistd", "-n", "-y", "web.tac"], True),
            (2, ["python", "/usr/bin/twistd", "-n", "txgear"], False),
            (3, ["sleep", "60"], False),
        ):
            (processes / str(pid)).mkdir(parents=True)
            (processes / str(pid) / "cmdline").write_text("\0".join(words) + "\0")
            self.assertIs(is_another_twistd(pid, processes), expected)
        self.assertFalse(is_another_twistd(4, processes))
