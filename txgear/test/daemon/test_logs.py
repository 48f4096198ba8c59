"""
Tests for L{txgear.daemon.logs}.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.logs import LEVELS, LogFile
from txgear.errors import ConfigurationError
from txgear.protocol.textlines import LEVELS as GEARMAND_LEVELS


class LogFileTests(SynchronousTestCase):
    """The log file."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.log = LogFile(str(self.path), "WARNING")
        self.addCleanup(self.log.close)
        self.logger = Logger("here", observer=LogPublisher(self.log))

    def test_levels(self) -> None:
        """Every level of gearmand is one of ours."""
        self.assertEqual(tuple(LEVELS), GEARMAND_LEVELS)

    def test_filters(self) -> None:
        """Only events of the level and above are written, each as a line."""
        self.logger.info("not this")
        self.logger.warn("but {this}", this="that")
        lines = self.path.read_text().splitlines()
        self.assertEqual(len(lines), 1)
        self.assertIn("[here#warn] but that", lines[0])

    def test_appends(self) -> None:
        """What an earlier process wrote stays."""
        self.logger.error("one")
        again = LogFile(str(self.path), "ERROR")
        self.addCleanup(again.close)
        Logger("there", observer=LogPublisher(again)).error("two")
        self.assertEqual(len(self.path.read_text().splitlines()), 2)

    def test_reopen(self) -> None:
        """After the file was moved away, L{LogFile.reopen} goes on in a new one."""
        self.logger.error("old")
        moved = self.path.with_suffix(".1")
        os.rename(self.path, moved)
        self.log.reopen()
        self.logger.error("new")
        self.assertIn("old", moved.read_text())
        self.assertIn("new", self.path.read_text())

    def test_reopen_fails(self) -> None:
        """Where no new file can be made it goes on in the old one, and says why."""
        moved = self.path.with_suffix(".1")
        os.rename(self.path, moved)
        self.path.mkdir()
        error = self.assertRaises(ConfigurationError, self.log.reopen)
        self.assertIn(str(self.path), str(error))
        self.logger.error("still here")
        self.assertIn("still here", moved.read_text())

    def test_unopenable(self) -> None:
        """A file that cannot be opened is an error in a line."""
        error = self.assertRaises(ConfigurationError, LogFile, "/nowhere/at/all", "ERROR")
        self.assertEqual(str(error), "cannot open the log file /nowhere/at/all: No such file or directory")
