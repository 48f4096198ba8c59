"""
Tests for L{txgear.cli.run.letters}.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.cli.run.letters import pid_in, server_name


class LetterTests(SynchronousTestCase):
    """The letters of C{gearman}."""

    def test_server_name(self) -> None:
        """An IPv6 address stands in brackets."""
        self.assertEqual(server_name("gear.example", 4730), "gear.example:4730")
        self.assertEqual(server_name("::1", 4731), "[::1]:4731")

    def test_pid_file(self) -> None:
        """It is there as long as the command runs, and may be cleared away by somebody else."""
        path = Path(self.mktemp())
        with pid_in(str(path)):
            self.assertEqual(path.read_text(), f"{os.getpid()}\n")
        self.assertFalse(path.exists())
        with pid_in(str(path)):
            path.unlink()
        self.assertFalse(path.exists())

    def test_pid_file_that_cannot_be_written(self) -> None:
        """The command does not begin."""
        error = self.assertRaises(CommandError, pid_in(self.mktemp() + "/none/x").__enter__)
        self.assertEqual(error.status, MISUSED)
