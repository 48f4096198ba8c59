"""
Tests for L{txgear.stores.leftovers}.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import StoreUnavailable
from txgear.stores import make_store


class LeftoversTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.realpath(self.mktemp())
        self.store = make_store(f"sqlite:///{self.path}")
        self.store.open()
        self.addCleanup(self.store.close, None)

    def run_sql(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            for statement in statements:
                other.execute(statement)

    def test_nothing(self) -> None:
        """No table, one that is somebody else's, and one that is empty."""
        self.assertEqual(self.store.leftovers("gearman_queue"), (0, 0))
        self.run_sql("CREATE TABLE queue (number int)", "INSERT INTO queue VALUES (1)")
        self.assertEqual(self.store.leftovers("queue"), (0, 0))

    def test_jobs(self) -> None:
        """Those that are there, and those that were taken over; the store is as it was."""
        self.run_sql(
            "CREATE TABLE 'odd name' (unique_key TEXT, function_name TEXT, priority INTEGER, data BLOB)",
            "INSERT INTO 'odd name' VALUES ('u', 'f', 1, x'00'), ('v', 'f', 1, x'00')",
        )
        self.assertEqual(self.store.leftovers("odd name"), (2, 0))
        self.store.take_over([], [b"d" * 32])
        self.assertEqual(self.store.leftovers("odd name"), (2, 1))
        self.assertEqual(self.store.reserve(1), 1)

    def test_not_open(self) -> None:
        self.store.close(None)
        self.assertRaises(StoreUnavailable, self.store.leftovers, "gearman_queue")
