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


class BorrowTests(SynchronousTestCase):
    """A file that goes from a server to the next one."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.old, self.new = PidFile(str(self.path)), PidFile(str(self.path))
        self.addCleanup(self.old.release)
        self.addCleanup(self.new.release)
        self.old.take()

    def borrow(self) -> None:
        assert self.old.descriptor is not None
        self.assertTrue(self.new.borrow(os.dup(self.old.descriptor)))
        self.assertTrue(self.new.is_borrowed)

    def assert_held(self) -> None:
        self.assertRaises(ConfigurationError, PidFile(str(self.path)).take)

    def test_handed_over(self) -> None:
        """It is locked all the time, and goes with the new server."""
        self.borrow()
        self.path.write_text("1")
        self.new.confirm()
        self.assertEqual(self.path.read_text(), str(os.getpid()))
        self.old.leave()
        self.old.release()
        self.assert_held()
        self.new.release()
        self.assertFalse(self.path.exists())

    def test_not_started(self) -> None:
        """A new server that has only borrowed it leaves it; the old one writes its number anew."""
        self.borrow()
        self.new.release()
        self.assertIsNone(self.new.descriptor)
        self.assert_held()
        self.path.write_text("1")
        self.old.confirm()
        self.assertEqual(self.path.read_text(), str(os.getpid()))

    def test_another_file(self) -> None:
        """A server with a file of its own takes no other one."""
        other = PidFile(self.mktemp())
        assert self.old.descriptor is not None
        duplicate = os.dup(self.old.descriptor)
        self.assertFalse(other.borrow(duplicate))
        self.assertRaises(OSError, os.fstat, duplicate)
        self.assertFalse(other.is_borrowed)
        other.confirm()
        self.assertFalse(os.path.exists(other.path))

    def test_removed(self) -> None:
        """If the old server has removed it meanwhile, it is made anew."""
        self.borrow()
        self.old.release()
        self.new.confirm()
        self.assertEqual(self.path.read_text(), str(os.getpid()))
        self.assert_held()
