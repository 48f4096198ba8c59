"""
A store in a SQL database: SQLite, PostgreSQL, MySQL or MariaDB.

SQLAlchemy has the schema, the dialects and the connection, and Alembic the
revisions of the schema. What is done for each job goes to the driver itself.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Table, select, update
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from zope.interface import implementer

from txgear.broker.records import LAST_NUMBER, Batch, JobRecord, JobUpdate, NewJob, Result, StoredValue
from txgear.errors import StoreError, StoreRefused, StoreTaken, StoreUnavailable, StoreUnusable
from txgear.interfaces import IJobStore
from txgear.stores import leftovers, migrations, schema
from txgear.stores.dialects import StoreDialect
from txgear.stores.leftovers import Leftovers
from txgear.stores.statements import ROW_BYTES

LOCK_SECONDS: Final = 3.0
"""How long a database may take to notice that the last server is gone."""
LOCK_INTERVAL: Final = 0.1
"""Seconds between two attempts to take its lock."""

INSERTED: Final = len(schema.inserted(schema.jobs))
"""Fields of a job that its new row has."""

MOST_WORDS: Final = 300
"""Characters that are passed on of what a database says."""


@implementer(IJobStore)
class SqlStore:
    """
    Jobs in the tables of L{schema}, over one connection. Most methods are those
    of L{IJobStore}; L{imported} and L{take_over} are for moving in.
    """

    def __init__(self, dialect: StoreDialect) -> None:
        self.name = dialect.name
        self._dialect = dialect
        self._statements = dialect.statements
        self._driver: Any = dialect.engine.dialect.loaded_dbapi
        self._connection: Connection | None = None
        self._opening: int | None = None  # which of all openings is ours
        # Whether the last batch met with damage, and the jobs whose rows have it.
        self._suspicious = False
        self._damaged: set[int] = set()

    # Its life

    def open(self) -> None:
        """See L{IJobStore.open}."""
        self._drop()
        try:
            self._dialect.prepare()
            connection = self._connect()
            try:
                self._dialect.settle(connection)
                connection.commit()
                self._lock(connection)
                self._bring_up_to_date(connection)
            except BaseException:
                _hang_up(connection)
                raise
        except StoreTaken:
            raise
        except StoreUnusable as error:
            raise self._unusable(str(error)) from error
        except DBAPIError as error:
            raise self._not_opened(error.orig or error) from error
        self._connection = connection

    def _connect(self) -> Connection:
        try:
            return self._dialect.engine.connect()
        except DBAPIError:
            raise
        except (SQLAlchemyError, OSError, RuntimeError, TypeError, ValueError) as error:
            # An option in the URL that the driver does not have, a certificate that is not there.
            raise StoreUnusable(_in_short(str(error))) from error

    def _lock(self, connection: Connection) -> None:
        deadline = time.monotonic() + LOCK_SECONDS
        while not self._dialect.lock(connection):
            connection.rollback()
            if time.monotonic() >= deadline:
                raise StoreUnusable("it is in use by another server")
            time.sleep(LOCK_INTERVAL)
        connection.commit()

    def _bring_up_to_date(self, connection: Connection) -> None:
        """Make the tables, or what they lack, and see that they can be read and written."""
        if self._dialect.begin:
            connection.exec_driver_sql(self._dialect.begin)
        revision, newest = migrations.revision(connection), schema.REVISIONS[-1]
        if revision not in (None, *schema.REVISIONS):
            raise StoreUnusable(
                f"it was written by a newer txgear (its schema is {revision}, this one's is {newest}): "
                "install that one, or name another store"
            )
        if revision != newest:
            migrations.upgrade(connection)
        for table in schema.TABLES:
            connection.execute(select(table).limit(0)).all()
            # Not the whole row: one workload that is damaged is no reason not to begin.
            connection.execute(select(*table.primary_key.columns).limit(1)).all()
        self._count_opening(connection)

    def _count_opening(self, connection: Connection) -> None:
        """See whether anybody has been here since the last time; and write, as that must be possible."""
        openings = schema.numbers.c.openings
        found = connection.execute(select(openings)).scalars().all()
        if len(found) != 1:
            raise StoreUnusable(
                f"its table {schema.numbers} has {len(found)} rows instead of one: restore a backup"
            )
        if self._opening not in (None, found[0]):
            raise StoreTaken("another server has opened it while the connection was lost")
        opening = found[0] + 1 if self._opening is None else found[0]
        connection.execute(update(schema.numbers).values(openings=opening))
        connection.commit()
        self._opening = opening

    def _not_opened(self, cause: BaseException) -> StoreError:
        """What to raise for an error of the driver."""
        words = _in_short(self._dialect.words(cause))
        advice = self._dialect.hopeless(cause) or ("make room" if self._refuses(cause) else "")
        return self._unusable(f"{words}: {advice}") if advice else StoreUnavailable(words)

    def _unusable(self, reason: str) -> StoreUnusable:
        return StoreUnusable(f"the store {self.name} cannot be used: {reason}")

    def close(self, next_number: int | None) -> None:
        """See L{IJobStore.close}."""
        if self._connection is not None and next_number is not None:
            # If that fails, some numbers are never used, and nothing else is lost.
            with contextlib.suppress(StoreError), self._writing() as cursor:
                self._statements.advance(cursor, next_number)
        self._drop()
        self._opening = None
        self._dialect.release()

    def _drop(self) -> None:
        """Forget the connection, whatever state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _hang_up(connection)

    def leftovers(self, table: str) -> Leftovers:
        """
        See whether a gearmand has left jobs in this database. For the start, before others use the store.

        @param table: where it keeps them.
        """
        if self._connection is None:
            raise StoreUnavailable("the store is not open")
        return leftovers.look(self._connection, table)

    # Transactions

    @contextlib.contextmanager
    def _reading(self) -> Iterator[DBAPICursor]:
        """What is done here is committed, or undone; errors of the driver become ours."""
        driver = self._raw()
        try:
            cursor = self._dialect.cursor(driver)
            yield cursor
            cursor.close()
            driver.commit()
        except BaseException as error:
            undone = self._roll_back(driver)
            if not isinstance(error, self._driver.Error):
                raise
            words = _in_short(self._dialect.words(error))
            if undone and self._refuses(error):
                raise StoreRefused(words) from error
            self._drop()
            raise StoreUnavailable(words) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[DBAPICursor]:
        with self._reading() as cursor:
            if self._dialect.begin:
                cursor.execute(self._dialect.begin)
            yield cursor
        try:
            # After the commit, and before anybody is told of it.
            self._dialect.check(self._raw())
        except (StoreUnusable, self._driver.Error) as error:
            self._drop()
            raise StoreUnavailable(_in_short(str(error))) from error

    def _raw(self) -> DBAPIConnection:
        """The driver's connection."""
        if self._connection is None:
            raise StoreUnavailable("the store is not open")
        driver: DBAPIConnection = self._connection.connection.driver_connection  # type: ignore[assignment]
        return driver

    def _roll_back(self, driver: DBAPIConnection) -> bool:
        """Undo what is not committed; without the connection, the database does that."""
        try:
            driver.rollback()
        except self._driver.Error:
            self._drop()
            return False
        return True

    def _refuses(self, error: BaseException) -> bool:
        refusals = (self._driver.DataError, self._driver.IntegrityError)
        return isinstance(error, refusals) or self._dialect.refuses(error)

    # Writing

    def reserve(self, count: int) -> int:
        """See L{IJobStore.reserve}."""
        with self._writing() as cursor:
            first = self._statements.next(cursor)
            if first + count > LAST_NUMBER:
                raise StoreRefused("the job numbers are used up")
            self._statements.advance(cursor, first + count)
        return first

    def write(self, batch: Batch) -> None:
        """See L{IJobStore.write}."""
        self._check(batch.new_jobs, batch.results)
        if self._suspicious:
            self._find_damaged(batch)
        try:
            self._write(batch)
        except StoreUnavailable as error:
            self._suspicious = self._dialect.damaged(error)
            raise

    def _write(self, batch: Batch) -> None:
        statements = self._statements
        with self._writing() as cursor:
            self._add(cursor, batch.new_jobs)
            if batch.updates:
                statements.update(cursor, batch.updates)
            if batch.results:
                self._replace(cursor, batch.results)
            for table in (schema.jobs, schema.workloads):
                self._delete(cursor, table, batch.deleted)
            for table in (schema.jobs, schema.workloads, schema.results):
                self._delete(cursor, table, batch.deleted_all)
            if batch.values:
                statements.put_values(cursor, batch.values)

    def _replace(self, cursor: DBAPICursor, results: Sequence[Result]) -> None:
        """Results in place of workloads, or of earlier results."""
        numbers = [number for number, _ in results]
        for table in (schema.workloads, schema.results):
            self._delete(cursor, table, numbers)
        rows = [(number, result) for number, result in results if result]
        self._statements.insert(cursor, schema.results, rows, [ROW_BYTES + len(result) for _, result in rows])

    def _delete(self, cursor: DBAPICursor, table: Table, numbers: Sequence[int]) -> None:
        """Remove rows, but for those that cannot be: these belong to no job any more."""
        if self._damaged and table is not schema.jobs:
            numbers = [number for number in numbers if number not in self._damaged]
        self._statements.delete(cursor, table, numbers)

    def _find_damaged(self, batch: Batch) -> None:
        """
        The last batch was not written as something is damaged: what cannot be read cannot be removed either,
        and must not keep all that is to be written from being so.
        """
        self._suspicious = False
        for number in (*batch.deleted, *batch.deleted_all, *(number for number, _ in batch.results)):
            for read in (self._statements.workloads, self._statements.results):
                try:
                    with self._reading() as cursor:
                        read(cursor, [number])
                except StoreUnavailable as error:
                    if not self._dialect.damaged(error):
                        raise
                    self._damaged.add(number)
                    self.open()

    def take_over(self, new_jobs: Sequence[NewJob], digests: Sequence[bytes]) -> None:
        """
        Keep jobs that come from another server's queue, and note that they came, as one transaction.

        @param digests: 32 bytes for each row of that queue that is not to be taken over again.
        """
        self._check(new_jobs)
        with self._writing() as cursor:
            self._add(cursor, new_jobs)
            rows = [(digest,) for digest in digests]
            self._statements.insert(cursor, schema.imported, rows, [ROW_BYTES] * len(rows))

    def _check(self, new_jobs: Sequence[NewJob], results: Sequence[Result] = ()) -> None:
        """See to what the database itself would not just refuse."""
        most = self._dialect.largest
        if most is None:
            return
        for what, values in (("a workload", new_jobs), ("a result", results)):
            for _, value in values:
                if len(value) > most:
                    raise StoreRefused(
                        f"{what} of {len(value)} bytes is over the {most} that the database takes: "
                        f"{self._dialect.largest_why}"
                    )

    def _add(self, cursor: DBAPICursor, new_jobs: Sequence[NewJob]) -> None:
        jobs = [job[:INSERTED] for job, _ in new_jobs]
        weights = [ROW_BYTES + len(job.function) for job, _ in new_jobs]
        self._statements.insert(cursor, schema.jobs, jobs, weights)
        if histories := [history_of(job) for job, _ in new_jobs if job.history is not None]:
            self._statements.update(cursor, histories)
        rows = [(job.number, bytes(workload)) for job, workload in new_jobs if workload]
        self._statements.insert(
            cursor, schema.workloads, rows, [ROW_BYTES + len(workload) for _, workload in rows]
        )

    # Reading

    def replay(self, after: int, limit: int) -> list[JobRecord]:
        """See L{IJobStore.replay}."""
        with self._reading() as cursor:
            return self._statements.replay(cursor, after, limit)

    def workloads(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """See L{IJobStore.workloads}."""
        with self._reading() as cursor:
            return self._statements.workloads(cursor, numbers)

    def known(self, numbers: Sequence[int]) -> set[int]:
        """See L{IJobStore.known}."""
        with self._reading() as cursor:
            return self._statements.known(cursor, schema.jobs, numbers)

    def results(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """See L{IJobStore.results}."""
        with self._reading() as cursor:
            return self._statements.results(cursor, numbers)

    def values(self) -> list[StoredValue]:
        """See L{IJobStore.values}."""
        with self._reading() as cursor:
            return self._statements.values(cursor)

    def imported(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those of the digests that L{take_over} has noted."""
        with self._reading() as cursor:
            return self._statements.known(cursor, schema.imported, digests)


def history_of(job: JobRecord) -> JobUpdate:
    """What is left to be said of a job that has just been added."""
    return JobUpdate(job.number, job.place, job.due, job.retries, None, job.state, job.ended, job.history)


def _hang_up(connection: Connection) -> None:
    """Close a connection without another question to a server that may not answer."""
    connection.invalidate()
    connection.close()


def _in_short(words: str) -> str:
    """One line of a length that fits a log and a packet."""
    words = " ".join(words.split())
    return words if len(words) <= MOST_WORDS else words[:MOST_WORDS] + "..."
