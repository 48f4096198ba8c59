"""
SQLite: a file, and beside it a write-ahead log, and our lock.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from sqlalchemy import URL, Connection, func, literal_column, select
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from twisted.logger import Logger

from txgear.errors import StoreUnusable
from txgear.stores.dialects import StoreDialect
from txgear.stores.filelock import FileLock, OwnFile
from txgear.stores.schema import jobs, workloads
from txgear.stores.statements import Statements, parameter

BUSY_SECONDS: Final = 1.0
"""How long a statement waits for another process; whoever calls the store tries again."""

LOG_BYTES: Final = 16 * 1024 * 1024
"""
Bytes above which the log gives space back that it took while somebody read for long. It has some 4 MiB, and
the largest batch; below that, blocks that are there already spare each commit work of the file system.
"""

PRAGMAS: Final = (
    # Each commit is on the disk before the answer goes out.
    "PRAGMA synchronous = FULL",
    # Debian's SQLite would fill with zeros what is deleted: with workloads of 10 kB that takes
    # ten times as long as the deletion itself.
    "PRAGMA secure_delete = OFF",
    f"PRAGMA journal_size_limit = {LOG_BYTES}",
)

OTHERS: Final = "its tables are not txgear's: name another file"
UNWRITABLE: Final = "let the server's user write the file and its folder"

ADVICE: Final = (
    ("not a database", "it is no SQLite database: move it away, or name another file"),
    ("malformed", "it is damaged: restore it from a backup, or move it away"),
    ("readonly", UNWRITABLE),
    ("unable to open", UNWRITABLE),
    ("no such", OTHERS),
    ("already exists", OTHERS),
)
"""What SQLite says where trying again is no use, and what to do. Its codes can be had from Python 3.11 on."""


class OneRow(Statements):
    """
    Workloads as the columns of one row. Each row is a call that gives up the
    interpreter's lock and waits for it again: beside a busy reactor, 256
    workloads take 0.8 seconds as rows, and 0.06 as one.
    """

    def workloads(self, cursor: DBAPICursor, numbers: Sequence[int]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for part in self.lists(numbers):
            cursor.execute(self._workloads_text(len(part)), part)
            row: Sequence[bytes | None] = cursor.fetchall()[0]
            found.update(
                (number, value) for number, value in zip(part, row, strict=True) if value is not None
            )
        return found

    def _make_workloads(self, keys: int) -> str:
        one = (
            select(func.coalesce(workloads.c.workload, literal_column("x''")))
            .select_from(jobs.outerjoin(workloads, workloads.c.number == jobs.c.number))
            .where(jobs.c.number == parameter(jobs.c.number))
        )
        return self.text(select(*[one.scalar_subquery()] * keys))


class SQLite(StoreDialect):
    """
    A file. The locks are one beside it, which says whose it is, and one on the file itself; not
    SQLite's own exclusive mode, so that backups can be made while the server runs.
    """

    log = Logger()

    # At once: a transaction that reads before it writes may find that it is too late for that.
    begin = "BEGIN IMMEDIATE"
    kind_of_statements = OneRow

    def __init__(self, path: str, own_folder: bool = False) -> None:
        """
        @param path: the file; a relative one is looked for from where the process is now.
        @param own_folder: whether its folder is made where there is none.
        """
        # The process may go to another folder; and who comes by a link must meet the same lock.
        self._path = os.path.realpath(path)
        self._own_folder = own_folder
        self._lock = FileLock(f"{self._path}.lock")
        self._file = OwnFile(self._path)
        # What SQLite has beside it, once it is there, as it was when the file was opened.
        self._beside: dict[str, os.stat_result] = {}
        super().__init__(
            f"sqlite:///{self._path}",
            URL.create("sqlite", database=self._path),
            # Transactions begin where we say so; and any thread may call, one at a time.
            {"isolation_level": None, "check_same_thread": False, "timeout": BUSY_SECONDS},
        )

    def prepare(self) -> None:
        """Make the file, and the folder if it is our own, for the server's user alone, and take the locks."""
        if self._file.held:
            # Nothing is made where the file has gone.
            self._file.check()
        try:
            folder = os.path.dirname(self._path)
            if self._own_folder:
                os.makedirs(folder, mode=0o700, exist_ok=True)
            elif not os.path.isdir(folder):
                raise StoreUnusable(f"there is no folder {folder}: make it, or name another file")
            self._lock.take()
            self._file.take()
        except OSError as error:
            raise StoreUnusable(f"cannot make {error.filename}: {error.strerror}") from error

    def settle(self, connection: Connection) -> None:
        mode = connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar_one()
        if mode != "wal":
            raise StoreUnusable("SQLite cannot keep a write-ahead log there: name a file on a local disk")
        for pragma in PRAGMAS:
            connection.exec_driver_sql(pragma)
        self._beside.clear()

    def check(self, driver: DBAPIConnection) -> None:
        try:
            self._file.check()
            for path in (f"{self._path}-wal", f"{self._path}-shm"):
                self._check_beside(path)
        except StoreUnusable:
            # SQLite has all of it open still. What the log has is brought into the file, as nobody can
            # say which of them will be found again, and no other file is to meet this log.
            driver.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            raise
        if self._lock.lost:
            self._lock.take()
            self.log.warn("somebody has removed the lock file of {path}; it is made anew", path=self._path)

    def _check_beside(self, path: str) -> None:
        try:
            found = os.stat(path)
        except OSError:
            found = None
        if found is None or not os.path.samestat(found, self._beside.setdefault(path, found)):
            raise StoreUnusable(f"somebody has removed {path}, which belongs to it")

    def lock(self, connection: Connection) -> bool:
        # That is done with the file.
        return True

    def release(self) -> None:
        self._file.release()
        self._lock.release()

    def words(self, error: BaseException) -> str:
        return str(error)

    def damaged(self, error: BaseException) -> bool:
        return "malformed" in str(error)

    def refuses(self, error: BaseException) -> bool:
        # The disk, and a value.
        return any(words in str(error) for words in ("is full", "too big"))

    def hopeless(self, error: BaseException) -> str:
        return next((advice for words, advice in ADVICE if words in str(error)), "")
