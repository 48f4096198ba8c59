"""Tests of L{txgear.stores.sqlite}: whose the file is, and what others do to it while the server runs."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import StoreUnavailable, StoreUnusable
from txgear.stores import make_store
from txgear.stores.filelock import FLOCK_IS_SEPARATE
from txgear.stores.sql import SqlStore
from txgear.stores.sqlite import LOG_BYTES
from txgear.test.support.batches import adding, addition, deleting

OPEN = "import sys; from txgear.stores import make_store; make_store('sqlite:///' + sys.argv[1]).open()"
"""Another server, which has its own process: a lock of POSIX's is a process's."""

BEGIN = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"


class FileTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = os.path.realpath(self.mktemp())
        os.mkdir(self.folder)
        self.path = os.path.join(self.folder, "jobs.sqlite")
        self.store = self.make_store(self.path)
        self.store.open()
        self.store.write(adding(addition(1, b"one"), addition(2)))

    def make_store(self, path: str) -> SqlStore:
        store = make_store(f"sqlite:///{path}")
        self.addCleanup(lambda: store.close(None))
        return store

    def move(self, *suffixes: str, to: str = "away") -> None:
        """Move these files to another folder."""
        os.makedirs(os.path.join(self.folder, to), exist_ok=True)
        for suffix in suffixes:
            os.rename(self.path + suffix, os.path.join(self.folder, to, "jobs.sqlite" + suffix))

    def move_back(self, *suffixes: str) -> None:
        for suffix in suffixes:
            os.rename(os.path.join(self.folder, "away", "jobs.sqlite" + suffix), self.path + suffix)

    def lost(self, message: str) -> None:
        """A write finds that something has gone, and the store cannot be opened again."""
        with self.assertRaises(StoreUnavailable) as caught:
            self.store.write(adding(addition(3)))
        self.assertIn(message, str(caught.exception))
        with self.assertRaises(StoreUnavailable):
            self.store.write(adding(addition(4)))
        with self.assertRaises(StoreUnusable) as again:
            self.store.open()
        self.assertIn(message, str(again.exception))

    def starts(self, path: str) -> str:
        """Another server is started on a file; what it says, empty if it has it."""
        ran = subprocess.run(
            [sys.executable, "-c", OPEN, path], capture_output=True, text=True, check=False, timeout=60
        )
        self.assertEqual(bool(ran.returncode), bool(ran.stderr))
        return ran.stderr.strip().rpartition("\n")[2]


class GoneTests(FileTestCase):
    """The file is not where it was."""

    def test_removed(self) -> None:
        for name in os.listdir(self.folder):
            os.unlink(os.path.join(self.folder, name))
        self.lost(f"somebody has removed {self.path}")
        # Nothing is made in its place.
        self.assertFalse(os.path.exists(self.path))
        # What had been answered can still be saved.
        with open(f"/proc/self/fd/{self.store._dialect._file._descriptor}", "rb") as file:  # type: ignore[attr-defined]
            saved = file.read()
        self.store.close(None)
        with open(self.path, "wb") as file:
            file.write(saved)
        self.store.open()
        self.assertEqual(self.store.workloads([1, 2]), {1: b"one", 2: b""})

    def test_moved_and_brought_back(self) -> None:
        for suffixes in (("",), ("", "-wal", "-shm")):
            self.move(*suffixes)
            self.lost(f"somebody has removed {self.path}")
            self.move_back("")
            self.store.open()
            # The third may have been written before that was noticed.
            self.assertEqual(self.store.known([1, 2, 3, 4]), {1, 2, 3})
            self.store.write(deleting([3]))
            self.assertEqual(self.store.workloads([1, 2]), {1: b"one", 2: b""})

    def test_the_folder_has_another_name(self) -> None:
        os.rename(self.folder, f"{self.folder}-away")
        self.lost(f"somebody has removed {self.path}")
        self.assertFalse(os.path.exists(self.folder))
        os.rename(f"{self.folder}-away", self.folder)
        self.store.open()
        self.assertEqual(self.store.known([1, 2]), {1, 2})

    def test_replaced(self) -> None:
        """A backup in its place is not what the server knows of."""
        with closing(sqlite3.connect(f"{self.path}-copy")) as copy, closing(sqlite3.connect(self.path)) as it:
            it.backup(copy)
        os.replace(f"{self.path}-copy", self.path)
        self.lost(f"another file is at the place of {self.path}")
        self.store.close(None)
        self.store.open()
        self.assertEqual(self.store.known([1, 2, 3]), {1, 2})

    def test_its_log_is_removed(self) -> None:
        """What had been committed to it is brought into the file, and the store goes on with a new one."""
        for suffix in ("-wal", "-shm"):
            os.unlink(self.path + suffix)
            with self.assertRaises(StoreUnavailable) as caught:
                self.store.write(adding(addition(3, b"three")))
            self.assertIn(f"somebody has removed {self.path}{suffix}", str(caught.exception))
            self.store.open()
            self.assertEqual(self.store.workloads([1, 2, 3]), {1: b"one", 2: b"", 3: b"three"})
            self.store.write(deleting([3]))
        self.store.close(None)
        self.store.open()
        self.assertEqual(self.store.known([1, 2, 3]), {1, 2})

    def test_nothing_is_looked_at_before_it_is_opened(self) -> None:
        self.store.close(None)
        os.unlink(self.path)
        self.store.open()
        self.assertEqual(self.store.known([1, 2]), set())


class TakenTests(FileTestCase):
    """A second server is refused, however it comes."""

    def setUp(self) -> None:
        super().setUp()
        if not FLOCK_IS_SEPARATE:
            self.skipTest("flock and fcntl are one kind of lock here")

    def assert_held(self) -> None:
        """The store is as it was, with SQLite's own locks on it."""
        self.store.write(adding(addition(5)))
        self.store.write(deleting([5]))
        driver = self.store._driver_connection()
        driver.cursor().execute("BEGIN IMMEDIATE")
        # In a process of its own: this one's locks are no hindrance to itself.
        other = subprocess.run(
            [sys.executable, "-c", BEGIN, self.path], capture_output=True, text=True, check=False, timeout=60
        )
        self.assertIn("database is locked", other.stderr)
        driver.rollback()

    def test_by_the_same_name(self) -> None:
        self.assertIn(f"in use by another server, process {os.getpid()}", self.starts(self.path))
        self.assert_held()

    def test_without_the_lock_file(self) -> None:
        os.unlink(f"{self.path}.lock")
        self.assertIn("it is in use by another server, which has", self.starts(self.path))
        self.assert_held()

    def test_by_a_hard_link(self) -> None:
        link = os.path.join(self.folder, "link.sqlite")
        os.link(self.path, link)
        self.assertIn("it is in use by another server, which has", self.starts(link))
        self.assert_held()

    def test_by_a_folder_that_is_mounted_elsewhere_or_linked(self) -> None:
        os.symlink(self.folder, f"{self.folder}-link")
        self.assertIn("in use by another server", self.starts(f"{self.folder}-link/jobs.sqlite"))
        self.assert_held()

    def test_after_the_file_was_moved(self) -> None:
        self.move("")
        self.assertIn(
            "it is in use by another server", self.starts(os.path.join(self.folder, "away/jobs.sqlite"))
        )

    def test_the_lock_file_is_made_anew(self) -> None:
        """By the holder, when it notices; whose it is stands in it again."""
        os.unlink(f"{self.path}.lock")
        with capturedLogs() as events:
            self.store.write(adding(addition(3)))
            self.store.write(adding(addition(4)))
        self.assertEqual(
            [formatEvent(event) for event in events],
            [f"somebody has removed the lock file of {self.path}; it is made anew"],
        )
        self.assertIn(f"process {os.getpid()}, which holds", self.starts(self.path))

    def test_it_is_given_up_at_the_end(self) -> None:
        self.store.close(None)
        self.assertEqual(self.starts(self.path), "")

    def test_it_is_given_up_where_another_one_is_in_the_way(self) -> None:
        """A start that was refused leaves nothing behind."""
        link = os.path.join(self.folder, "link.sqlite")
        os.link(self.path, link)
        self.starts(link)
        self.store.close(None)
        self.assertEqual(self.starts(link), "")


class LogTests(FileTestCase):
    """The write-ahead log."""

    def size(self) -> int:
        return os.stat(f"{self.path}-wal").st_size

    def test_it_gives_space_back_that_it_took_while_somebody_read(self) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM txgear_jobs").fetchall()
            for number in range(10, 10 + 2 * LOG_BYTES // 2**20):
                self.store.write(adding(addition(number, bytes(2**20))))
            self.assertGreater(self.size(), LOG_BYTES * 3 // 2)
            reader.execute("COMMIT")
        for number in range(1000, 1003):
            self.store.write(adding(addition(number)))
        self.assertLessEqual(self.size(), LOG_BYTES)
