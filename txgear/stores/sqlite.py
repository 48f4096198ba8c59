"""
SQLite: a file, with a write-ahead log and our lock file beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cache, lru_cache
from itertools import chain
from typing import Any, ClassVar, Final

from sqlalchemy import URL, Connection, Index, LargeBinary, cast, func, literal_column, select
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor, Dialect
from twisted.logger import Logger

from txgear.broker.records import KINDS, JobUpdate, StoreReport
from txgear.errors import StoreUnusable
from txgear.stores import durability
from txgear.stores.dialects import StoreDialect
from txgear.stores.filelock import DatabaseFile, FileLock
from txgear.stores.questions import TEXTS, Questions
from txgear.stores.schema import BY_LANE, BY_WAKE, REVISIONS, inserted_columns, jobs, workloads
from txgear.stores.sqlitekeys import BLOCK_BITS, SAY_EVERY
from txgear.stores.sqliterows import SQLiteQuestions, integers
from txgear.stores.statements import ROW_BYTES, WITH_WORKLOADS, Statements, kind_of, parameter, row_slices
from txgear.stores.verdicts import of_sqlite

BUSY_SECONDS: Final = 1.0
"""Seconds that a statement waits for another process; whoever calls the store tries again."""

LOG_BYTES: Final = 16 * 1024 * 1024
"""
Bytes to which the log is cut back after it has grown because somebody was reading for long. It usually has
some 4 MiB and the largest batch. It is not cut below that: blocks that are there already spare each commit
work of the file system.
"""

PRAGMAS: Final = (
    # Each commit is on the disk before the answer goes out.
    "PRAGMA synchronous = FULL",
    # Debian's SQLite overwrites what is deleted with zeros: with workloads of 10 kB that takes
    # ten times as long as the deletion itself.
    "PRAGMA secure_delete = OFF",
    f"PRAGMA journal_size_limit = {LOG_BYTES}",
)

SYNCHRONOUS: Final = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}
"""SQLite's names for the values of that pragma."""

OLDEST: Final = (3, 33)
"""The first version of SQLite that changes many rows by one statement."""

FEW: Final = 16
"""Workloads that are read as a column each: they may be large, and are copied less often so."""
MANY: Final = 16
"""Jobs from which on one statement that changes them takes less than one for each."""
NOTHING: Final[Any] = literal_column("x''")

FOREIGN_TABLES: Final = "its tables are not txgear's: name another file"
MISSING_TABLE: Final = "its tables are not all there: restore it from a backup, or name another file"
UNWRITABLE: Final = "let the server's user write the file and its folder"

ADVICE: Final = (
    ("not a database", "it is no SQLite database: move it away, or name another file"),
    ("malformed", "it is damaged: restore it from a backup, or move it away"),
    ("readonly", UNWRITABLE),
    ("unable to open", UNWRITABLE),
    ("no such table", MISSING_TABLE),
    ("no such", FOREIGN_TABLES),
    ("already exists", FOREIGN_TABLES),
)
"""
Parts of SQLite's messages where trying again does not help, and what to do. Messages, as Python has SQLite's
codes from 3.11 on only.
"""


UPDATED: Final = (
    *("number", "place", "due", "retries", "size", "state", "ended", "life", "lane", "wake"),
    "workload",
)
"""The columns that a JobUpdate sets, in its order; the first one says of which job, and the last is ours."""


class SQLiteStatements(Statements):
    """
    Statements that read many workloads as one row. For each row the
    driver gives up the interpreter's lock and waits for it again: beside a busy
    reactor, 256 workloads take 0.8 seconds as 256 rows, and 0.06 as one.

    Jobs are written, and changed, with what is the same of all of them only once. Each parameter costs as
    much as what SQLite does with it, and a third of them are enough for most jobs. Many are changed by one
    statement, for the same reason as they are read so.
    """

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._joined_text = cache(self._make_joined)
        self._new_columns = [column.name for column in inserted_columns(jobs)]
        self._alike_text = lru_cache(TEXTS)(self._make_alike)
        self._update_text = lru_cache(TEXTS)(self._make_update)

    def insert_jobs(
        self, cursor: DBAPICursor, columns: Sequence[Sequence[Any]], weights: Sequence[int]
    ) -> None:
        for run in row_slices(weights, self.most_bytes):
            same, names, others = told_apart(self._new_columns, (column[run] for column in columns))
            text = self._alike_text(run.stop - run.start, names)
            cursor.execute(text, (*same, *others))

    def update(
        self, cursor: DBAPICursor, updates: Sequence[JobUpdate], emptied: Collection[int] = ()
    ) -> None:
        weights = [ROW_BYTES + len(each.history or b"") for each in updates]
        for run in row_slices(weights, self.most_bytes):
            part = updates[run]
            columns: list[Sequence[Any]] = list(zip(*part, strict=True))
            if len(set(columns[0])) < max(len(part), MANY):
                # For a few that would take longer; and of two of one job the last one is not to be told.
                super().update(cursor, part, emptied)
                continue
            columns[-2:] = [kind_of(each) for each in part], [each.wake or each.due for each in part]
            columns.append([b"" if each.number in emptied else None for each in part])
            same, names, others = told_apart(UPDATED, columns)
            cursor.execute(self._update_text(run.stop - run.start, names), (*same, *others))

    def _make_alike(self, rows: int, names: Sequence[str]) -> str:
        """
        Insert jobs, with a parameter each for the columns in which they are alike, and then one for each job
        and each of these other columns.
        """
        values, every = _given(self._new_columns, names, rows)
        columns = ", ".join(self._new_columns)
        return f"INSERT INTO {jobs.name} ({columns}) SELECT {', '.join(values)} FROM {every}"  # noqa: S608

    @staticmethod
    def _make_update(rows: int, names: Sequence[str]) -> str:
        """Change jobs; the parameters are as when they are inserted."""
        values, every = _given(UPDATED[1:], names, rows)
        new = dict(zip(UPDATED[1:], values, strict=True))
        new["size"] = f"coalesce({new['size']}, size)"
        new["workload"] = f"coalesce({new['workload']}, workload)"
        new["lane"] = f"lane - (lane & {KINDS - 1}) + coalesce({new['lane']}, priority)"
        changes = ", ".join(f"{name} = {value}" for name, value in new.items())
        return f"UPDATE {jobs.name} SET {changes} FROM {every} WHERE number = column1"  # noqa: S608

    def workloads(self, cursor: DBAPICursor, numbers: Sequence[int]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for part in self.key_lists(numbers):
            if len(part) > FEW:
                self._add_joined(cursor, part, found)
                continue
            cursor.execute(self._workloads_text(len(part)), part)
            row: Sequence[bytes | None] = cursor.fetchall()[0]
            found.update(
                (number, value) for number, value in zip(part, row, strict=True) if value is not None
            )
        return found

    def _add_joined(self, cursor: DBAPICursor, numbers: tuple[int, ...], found: dict[int, bytes]) -> None:
        """The same of many, which come as one value: that takes a tenth of what so many columns do."""
        cursor.execute(self._joined_text(len(numbers)), numbers)
        kept, sizes, joined = cursor.fetchall()[0]
        start = 0
        for number, size in zip(integers(kept or ""), integers(sizes or ""), strict=True):
            found[number] = joined[start : start + size]
            start += size

    def _make_workloads(self, keys: int) -> str:
        one = (
            select(func.coalesce(jobs.c.workload, workloads.c.workload, NOTHING))
            .select_from(WITH_WORKLOADS)
            .where(jobs.c.number == parameter(jobs.c.number))
        )
        return self.text(select(*[one.scalar_subquery()] * keys))

    def _make_joined(self, keys: int) -> str:
        # A column may have anything in it, if somebody has changed the file.
        found = func.coalesce(jobs.c.workload, workloads.c.workload)
        workload = func.coalesce(cast(found, LargeBinary), NOTHING)
        return self.text(
            select(
                func.group_concat(jobs.c.number),
                func.group_concat(func.length(workload)),
                # As a text it would have to be UTF-8.
                cast(func.group_concat(workload, literal_column("''")), LargeBinary),
            )
            .select_from(WITH_WORKLOADS)
            .where(self.is_one_of(jobs.c.number, keys))
        )


def told_apart(
    names: Sequence[str], columns: Iterable[Sequence[Any]]
) -> tuple[list[Any], tuple[str, ...], Iterator[Any]]:
    """
    Find in which columns rows are alike.

    @param names: those of the columns. The first one is taken for one in which they are not, even if they
        are: numbers that are alike are refused then.
    @return: the value of each column in which they are; the names of the others; and their values, row by
        row.
    """
    same: list[Any] = []
    different: list[str] = []
    others: list[Sequence[Any]] = []
    for name, values in zip(names, columns, strict=True):
        first = values[0]
        # Of most of those that differ already the last one does.
        if others and first == values[-1] and values.count(first) == len(values):
            same.append(first)
        else:
            different.append(name)
            others.append(values)
    return same, tuple(different), chain.from_iterable(zip(*others, strict=True))


def _given(columns: Sequence[str], names: Sequence[str], rows: int) -> tuple[list[str], str]:
    """
    @param names: the columns of which each row has a value of its own, the first one of all among them.
    @return: each column's value, and the table of these values, as they stand in a statement.
    """
    given = {name: f"column{index}" for index, name in enumerate(names, 1)}
    row = f"({', '.join('?' * len(names))})"
    return [given.get(name, "?") for name in columns], f"(VALUES {', '.join([row] * rows)})"


class SQLite(StoreDialect):
    """
    A SQLite file. There are two locks: the lock file beside it, which names the process, and one on
    the file itself. SQLite's exclusive mode is not used, so that backups can be made while the server
    runs.
    """

    log = Logger()

    # The write lock is taken at the beginning: a transaction that reads first may not get it any more.
    begin = "BEGIN IMMEDIATE"
    statements_class = SQLiteStatements
    questions_class: ClassVar[type[Questions]] = SQLiteQuestions
    # Keys have a table.
    indexes: ClassVar[tuple[Index, ...]] = (BY_LANE, BY_WAKE)
    judge = staticmethod(of_sqlite)

    def __init__(self, path: str, own_folder: bool = False) -> None:
        """
        @param path: the file; a relative path starts at the process's folder of now.
        @param own_folder: whether the file's folder may be made.
        """
        # Absolute, as the process may change its folder; and without links, so that there is one lock.
        self._path = os.path.realpath(path)
        self._own_folder = own_folder
        self._lock = FileLock(f"{self._path}.lock")
        self._file = DatabaseFile(self._path)
        # The files that SQLite keeps beside it, as they were found after the first commit.
        self._companions: dict[str, os.stat_result] = {}
        super().__init__(
            f"sqlite:///{self._path}",
            URL.create("sqlite", database=self._path),
            # We begin transactions ourselves; and any thread may call, one at a time.
            {"isolation_level": None, "check_same_thread": False, "timeout": BUSY_SECONDS},
        )

    def prepare(self) -> None:
        """Make the file, and the folder if that is our own, for the server's user alone; take the locks."""
        if self._file.held:
            # A file that has gone is not made again.
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

    def set_up(self, connection: Connection) -> None:
        version = self.driver_module.sqlite_version_info
        if version < OLDEST:
            raise StoreUnusable(
                f"the SQLite of this Python is {'.'.join(map(str, version))}, and has to be "
                f"{'.'.join(map(str, OLDEST))} or newer: use another Python"
            )
        mode = connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar_one()
        if mode != "wal":
            raise StoreUnusable("SQLite cannot keep a write-ahead log there: name a file on a local disk")
        for pragma in PRAGMAS:
            connection.exec_driver_sql(pragma)
        self._companions.clear()

    def catch_up(
        self, driver: DBAPIConnection, transaction: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Put the keys of jobs into their table that a version before has written, or another run."""
        questions = self.questions
        assert isinstance(questions, SQLiteQuestions)
        more, blocks = True, 0
        while more:
            with transaction():
                cursor = self.cursor(driver)
                more = questions.place(cursor, at_once=True)
                cursor.close()
            blocks += more
            if more and not blocks % SAY_EVERY:
                self.log.info("the keys of {count} jobs were looked for", count=blocks << BLOCK_BITS)

    def check(self, driver: DBAPIConnection) -> None:
        try:
            self._file.check()
            for path in (f"{self._path}-wal", f"{self._path}-shm"):
                self._check_companion(path)
        except StoreUnusable:
            # SQLite still has the files open. The log is written into the database: nobody can say which
            # of them will be found again, and no other database is to meet this log.
            driver.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            raise
        if self._lock.lost:
            self._lock.take()
            self.log.warn("somebody has removed the lock file of {path}; it is made anew", path=self._path)

    def _check_companion(self, path: str) -> None:
        try:
            found = os.stat(path)
        except OSError:
            found = None
        if found is None or not os.path.samestat(found, self._companions.setdefault(path, found)):
            raise StoreUnusable(f"somebody has removed {path}, which belongs to it")

    def report(self, cursor: DBAPICursor) -> StoreReport:
        def ask(pragma: str) -> Any:
            cursor.execute(f"PRAGMA {pragma}")
            return cursor.fetchall()[0][0]

        cursor.execute("SELECT sqlite_version()")
        version = cursor.fetchall()[0][0]
        settings = {
            "journal_mode": str(ask("journal_mode")),
            "synchronous": SYNCHRONOUS.get(ask("synchronous"), "unknown"),
        }
        log_size = None
        with suppress(OSError):
            log_size = os.stat(f"{self._path}-wal").st_size
        return StoreReport(
            f"SQLite {version}",
            REVISIONS[-1],
            tuple(settings.items()),
            durability.of_sqlite(settings),
            ask("page_size") * ask("page_count"),
            log_size,
        )

    def leave(self) -> None:
        """Nothing: there is one file."""

    def release(self) -> None:
        self._file.release()
        self._lock.release()

    def message(self, error: BaseException) -> str:
        return str(error)

    def damaged(self, error: BaseException) -> bool:
        return "malformed" in str(error)

    def remedy(self, error: BaseException) -> str:
        return next((advice for message, advice in ADVICE if message in str(error)), "")
