"""
Tests for L{txgear.cli.run.working}: what it says of a job. What it does is in C{tests/test_cli_work.py}.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.run.working import line_of
from txgear.runtime.commandjobs import FAILED, Account
from txgear.runtime.processes import Ending

JOB: Any = SimpleNamespace(handle=b"H:vm:7", function=b"resize \xff")


class LineTests(SynchronousTestCase):
    def test_done(self) -> None:
        """How much went in and out."""
        account = Account(JOB, 5, seconds=12.0, output=2048, ending=Ending(0, None))
        self.assertEqual("H:vm:7 resize \\xff: done after 12s: 5 in, 2.0K out", line_of(account))

    def test_failed(self) -> None:
        """Why."""
        account = Account(JOB, 5, FAILED, "ended by SIGKILL", 12.0, ending=Ending(None, 9))
        self.assertEqual("H:vm:7 resize \\xff: failed after 12s: ended by SIGKILL", line_of(account))
