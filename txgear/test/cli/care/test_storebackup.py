"""
Tests for L{txgear.cli.care.storebackup}.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.statuses import CommandError
from txgear.cli.care.storebackup import back_up
from txgear.stores import make_store
from txgear.test.support.batches import adding, addition


class BackUpTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "jobs ?#%.sqlite"
        self.target = self.folder / "copy"
        self.store = make_store(f"sqlite:///{self.path}")
        self.store.open()
        self.addCleanup(self.store.close, None)
        self.store.write(adding(*(addition(number, b"w" * 5000) for number in range(1, 301))))

    def refusal(self) -> str:
        """Why there is none; nothing of it is left."""
        before = sorted(os.listdir(self.folder))
        error = self.assertRaises(CommandError, back_up, str(self.path), str(self.target))
        self.assertEqual(sorted(os.listdir(self.folder)), before)
        return str(error)

    def test_a_store_that_is_used(self) -> None:
        """The copy has what is in the log, is one file for its owner alone, and opens as a store."""
        self.assertEqual(back_up(str(self.path), str(self.target)), 300)
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith("copy")], ["copy"])
        self.assertEqual(stat.S_IMODE(self.target.stat().st_mode), 0o600)
        copy = make_store(f"sqlite:///{self.target}")
        copy.open()
        self.addCleanup(copy.close, None)
        self.assertEqual(copy.replay(0, 1000), self.store.replay(0, 1000))
        self.assertEqual(copy.workloads([300]), {300: b"w" * 5000})
        # And the server has not noticed.
        self.store.write(adding(addition(301)))

    def test_nothing_is_written_over(self) -> None:
        self.target.write_text("mine")
        self.assertIn("File exists", self.refusal())
        self.assertEqual(self.target.read_text(), "mine")
        self.target.unlink()
        (self.folder / "copy.part").write_text("mine")
        self.assertIn("copy.part: File exists", self.refusal())

    def test_what_is_no_store(self) -> None:
        self.store.close(None)
        self.path.write_bytes(b"something else")
        self.assertIn("file is not a database", self.refusal())
        self.path.unlink()
        with closing(sqlite3.connect(self.path)) as other:
            other.execute("CREATE TABLE t (x)")
        self.assertIn("has no tables of txgear's", self.refusal())

    def test_a_folder_that_is_not_there(self) -> None:
        self.target = self.folder / "none" / "copy"
        self.assertIn("No such file or directory", self.refusal())
