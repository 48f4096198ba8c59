"""
Tests for L{txgear.cli.look.identities}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.look.identities import COLUMNS

NAMED = {column.name: column for column in COLUMNS}


class QuotaTests(SynchronousTestCase):
    def test_it_is_shown_with_its_bound_and_counts_by_itself(self) -> None:
        row = {
            "bytes": {"used": 2048, "bound": 1 << 20},
            "queued": {"used": 3, "bound": None},
            "running": None,
        }
        self.assertEqual(NAMED["bytes"].text(row), "2.0K/1.0M")
        self.assertEqual(NAMED["bytes"].value(row), 2048)
        self.assertEqual(NAMED["most_bytes"].text(row), "1.0M")
        self.assertEqual(NAMED["queued"].text(row), "3")
        self.assertEqual(NAMED["most_queued"].text(row), "-")
        self.assertEqual(NAMED["running"].text(row), "-")
        self.assertEqual(NAMED["most_running"].text(row), "-")
