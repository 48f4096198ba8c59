"""
Tests for L{txgear.cli.run.runtimecheck}: the words for a group. What it finds is in C{tests/test_cli_run.py}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.run.runtimecheck import processes
from txgear.runtime.config import GroupTable


class ProcessesTests(SynchronousTestCase):
    def test_words(self) -> None:
        for group, words in (
            (GroupTable(processes=1), "1 process, one job at once"),
            (GroupTable(processes=4, concurrency=2), "4 processes, 2 jobs at once"),
            (GroupTable(min=0, max=3, start="fork"), "0 to 3 processes, one job at once, forked"),
        ):
            self.assertEqual(processes(group), words)
