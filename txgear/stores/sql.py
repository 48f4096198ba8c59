"""
A store in a SQL database: SQLite, PostgreSQL, MySQL or MariaDB.

SQLAlchemy provides the schema, the dialects and the connection, and Alembic the
revisions of the schema. What is done for each job goes to the driver directly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, select, update
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from zope.interface import alsoProvides, implementer

from txgear.broker.records import (
    LAST_NUMBER,
    Batch,
    HistoryChunk,
    JobRecord,
    LaneCount,
    NewJob,
    Question,
    Result,
    StoredValue,
    StoreReport,
)
from txgear.errors import StoreError, StoreRefused, StoreTaken, StoreUnavailable, StoreUnusable
from txgear.interfaces import IHistoryStore, ILeasedStore, IPatientStore, IReportingStore
from txgear.stores import leftovers, migrations, schema
from txgear.stores.batchwriter import BatchWriter
from txgear.stores.dialects import OPTIONS, READ_ONLY, StoreDialect
from txgear.stores.filling import Filling
from txgear.stores.holdings import Holdings
from txgear.stores.lanecounts import LaneCounts
from txgear.stores.leases import TIMES, Times, prepare
from txgear.stores.leftovers import Leftovers
from txgear.stores.parts import WHOLE, Parts
from txgear.stores.repeats import MOST_REPEATS, Repeats, Undone
from txgear.stores.serverdialect import ServerDialect
from txgear.stores.tenure import BEAT_SECONDS
from txgear.stores.verdicts import Verdict

T = TypeVar("T")

OPENING_ADVICE: Final = {Verdict.REFUSED: "make room", Verdict.READ_ONLY: READ_ONLY}
"""What somebody has to do before the store can be opened."""

MOST_CHARACTERS: Final = 300
"""Characters of a database's message that are passed on at the most."""


class UsedUp(StoreRefused):
    """There are not as many job numbers left as are to be reserved."""


@implementer(IHistoryStore, IReportingStore, IPatientStore)
class SqlStore:
    """
    A store with the tables of L{schema}, over one connection. Most methods are
    those of L{IHistoryStore} and L{IReportingStore}; L{leftovers}, L{imported} and L{take_over} are for the
    move from another server. Where its database has a lease it is an L{ILeasedStore} as well.

    @ivar beat_seconds: see L{ILeasedStore}.
    """

    beat_seconds = BEAT_SECONDS

    def __init__(self, dialect: StoreDialect, repeats: Repeats | None = None, times: Times = TIMES) -> None:
        """
        @param repeats: runs a transaction again that another one has undone.
        @param times: what leases are judged by.
        """
        self.name = dialect.name
        self._times = times
        self._repeats = repeats or Repeats(times.sleep, times.chance.random)
        self._dialect = dialect
        self._statements = dialect.statements
        self._questions = dialect.questions
        self._lanes = LaneCounts(dialect.statements)
        self._writer = BatchWriter(dialect, self._lanes)
        self._salt = b""
        self._parts = Parts(self._salt)
        self._driver: Any = dialect.driver_module
        self._connection: Connection | None = None
        # A file has a lock, which L{StoreDialect.prepare} takes.
        self._holdings = Holdings(dialect, times=times) if isinstance(dialect, ServerDialect) else None
        if self._holdings is not None:
            alsoProvides(self, ILeasedStore)
        # The end of the numbers that we have reserved.
        self._reserved = 0
        # Whether the last batch met damaged rows.
        self._damage_seen = False

    @property
    def timeout(self) -> float:
        """See L{IPatientStore}."""
        return self._dialect.timeout

    # Open and close

    def open(self, existing: bool = False) -> None:
        """
        See L{IJobStore.open}.

        @param existing: whether there have to be tables of txgear's already; otherwise they are made.
        """
        try:
            self._repeats.run(lambda: self._open(existing))
        except Undone as undone:
            raise StoreUnavailable(str(undone)) from undone

    def _open(self, existing: bool) -> None:
        self._disconnect()
        try:
            self._dialect.prepare()
            connection = self._connect()
            try:
                self._dialect.set_up(connection)
                connection.commit()
                self._check_revision(connection, existing)
                self._move_in(connection)
            except BaseException:
                _close_at_once(connection)
                self._dialect.leave()
                raise
        except StoreTaken:
            raise
        except StoreUnusable as error:
            raise self._unusable(str(error)) from error
        except DBAPIError as error:
            raise self._open_error(error.orig or error) from error
        except self._driver.Error as error:
            # What is done for each job goes to the driver directly.
            raise self._open_error(error) from error
        self._connection = connection

    def _move_in(self, connection: Connection) -> None:
        """Have the store, and see that it can be used."""
        if isinstance(self._dialect, ServerDialect) and self._holdings is not None:
            prepare(self._dialect, connection, self._times)
            self._holdings.have_all(driver_of(connection))
        self._bring_up_to_date(connection)

    def _connect(self) -> Connection:
        try:
            return self._dialect.engine.connect()
        except DBAPIError:
            raise
        except TypeError as error:
            # The driver does not have that argument.
            raise StoreUnusable(f"{one_line(str(error))}: {OPTIONS}") from error
        except (SQLAlchemyError, OSError, RuntimeError, ValueError) as error:
            # A certificate that is not there.
            raise StoreUnusable(one_line(str(error))) from error

    def _check_revision(self, connection: Connection, existing: bool) -> None:
        revision, newest = migrations.revision(connection), schema.REVISIONS[-1]
        connection.rollback()
        if revision not in (None, *schema.REVISIONS):
            raise StoreUnusable(
                f"it was written by a newer txgear (its schema is {revision}, this one's is {newest}): "
                "install that one, or name another store"
            )
        if existing and revision is None:
            raise StoreUnusable("no txgear has ever kept jobs there")

    @contextlib.contextmanager
    def _transaction(self, connection: Connection) -> Iterator[None]:
        """A transaction of the opening, in SQLAlchemy's words."""
        if self._dialect.begin:
            connection.exec_driver_sql(self._dialect.begin)
        if self._holdings is not None:
            driver = driver_of(connection)
            cursor = self._dialect.cursor(driver)
            self._dialect.begin_work(cursor)
            self._holdings.fence(driver, cursor)
        yield
        connection.commit()
        if self._holdings is not None:
            self._holdings.committed()

    def _bring_up_to_date(self, connection: Connection) -> None:
        """Make the tables, or bring them to the newest revision; see that they can be read and written."""
        with self._transaction(connection):
            if migrations.revision(connection) != schema.REVISIONS[-1]:
                migrations.upgrade(connection)
            for table in schema.TABLES:
                connection.execute(select(table).limit(0)).all()
                # Only the key: a damaged workload is no reason not to start.
                connection.execute(select(*table.primary_key.columns).limit(1)).all()
            self._keep_numbers(connection)
        self._find_places(connection)

    def _keep_numbers(self, connection: Connection) -> None:
        """
        Set our numbers apart, which the database may have forgotten: after a failover it may be as it was
        before. This shows that the tables can be written, too.

        @raise StoreUnusable: the table of numbers is damaged.
        """
        found = connection.execute(select(schema.numbers.c.next)).scalars().all()
        if len(found) != 1:
            raise StoreUnusable(
                f"its table {schema.numbers} has {len(found)} rows instead of one: restore a backup"
            )
        if self._holdings is not None and (home := self._holdings.parts[-1]) != WHOLE:
            cursor = self._dialect.cursor(driver_of(connection))
            first = self._holdings.next(cursor, home)
            self._holdings.advance(cursor, home, max(first, min(self._reserved, home.end)))
        else:
            connection.execute(update(schema.numbers).values(next=max(found[0], self._reserved)))

    def _find_places(self, connection: Connection) -> None:
        """Know how lanes are numbered; and where a version before has written jobs, give them their lanes."""
        salt, filled = connection.execute(select(schema.numbers.c.salt, schema.numbers.c.filled)).one()
        connection.rollback()
        self._salt = bytes(salt)
        self._spread()
        if filled is not None:
            transaction = partial(self._transaction, connection)
            Filling(self._dialect, connection, transaction, self._parts.home, self._lanes).run(filled)
        self._dialect.catch_up(driver_of(connection), partial(self._transaction, connection))

    def _spread(self) -> None:
        """There are other parts than before, or others may have changed ours."""
        self._parts = Parts(self._salt, self._holdings.parts if self._holdings is not None else (WHOLE,))
        self._lanes.forget(self._parts)
        self._questions.forget()

    def _open_error(self, cause: BaseException) -> StoreError | Undone:
        """The exception for an error of the driver while the store is opened."""
        message = one_line(self._dialect.message(cause))
        verdict = self._dialect.verdict(cause)
        if verdict in MOST_REPEATS:
            return Undone(message, verdict)
        advice = self._dialect.remedy(cause) or OPENING_ADVICE.get(verdict, "")
        return self._unusable(f"{message}: {advice}") if advice else StoreUnavailable(message)

    def _unusable(self, reason: str) -> StoreUnusable:
        return StoreUnusable(f"the store {self.name} cannot be used: {reason}")

    def close(self, next_number: int | None) -> None:
        """See L{IJobStore.close}."""
        if self._connection is not None and not (next_number is None and self._holdings is None):
            # If it fails, some numbers are never used, and the next server has to wait; nothing else is lost.
            with contextlib.suppress(StoreError):
                self._writing(partial(self._let_go, next_number))
        self._disconnect()
        self._reserved = 0
        if self._holdings is not None:
            self._holdings.end()
        self._dialect.release()

    def _let_go(self, next_number: int | None, cursor: DBAPICursor) -> None:
        if next_number is not None:
            self._advance(cursor, next_number)
        if self._holdings is not None:
            self._holdings.let_go(cursor)

    def _disconnect(self) -> None:
        """Close the connection, whatever state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _close_at_once(connection)

    def leftovers(self, table: str) -> Leftovers:
        """
        Count the jobs that a gearmand has left in this database. To be called at the start, before the
        store is used.

        @param table: the name of gearmand's table.
        """
        if self._connection is None:
            raise StoreUnavailable("the store is not open")
        return leftovers.count_leftovers(self._connection, table)

    # Transactions

    def _reading(self, work: Callable[[DBAPICursor], T]) -> T:
        """Do something in a transaction that changes nothing; see L{_run}."""
        return self._run(work, writes=False)

    def _writing(self, work: Callable[[DBAPICursor], T]) -> T:
        """Do something in a transaction that may write; see L{_run}."""
        result = self._run(work, writes=True)
        try:
            # After the commit, and before anybody hears of it.
            self._dialect.check(self._driver_connection())
        except (StoreUnusable, self._driver.Error) as error:
            self._disconnect()
            raise StoreUnavailable(one_line(str(error))) from error
        return result

    def _run(self, work: Callable[[DBAPICursor], T], *, writes: bool) -> T:
        """
        Do something in a transaction. It is committed, or rolled back on an error; errors of the driver
        become ours.

        @param work: all of it, from the beginning: it is called again where another transaction has undone
            this one.
        """
        try:
            return self._repeats.run(lambda: self._attempt(work, writes=writes))
        except Undone as undone:
            if undone.verdict is Verdict.DUPLICATE:
                raise StoreRefused(str(undone)) from undone
            self._disconnect()
            raise StoreUnavailable(str(undone)) from undone

    def _attempt(self, work: Callable[[DBAPICursor], T], *, writes: bool) -> T:
        driver = self._driver_connection()
        cursor: DBAPICursor | None = None
        committing = False
        try:
            # Not even that can be had of a connection that is closed.
            cursor = self._dialect.transaction(driver)
            self._dialect.begin_work(cursor)
            if writes and self._dialect.begin:
                cursor.execute(self._dialect.begin)
            if writes and self._holdings is not None:
                self._holdings.fence(driver, cursor)
            result = work(cursor)
            # What the dialect sends with it may be what fails.
            committing = True
            self._dialect.commit(driver, cursor)
            if writes and self._holdings is not None:
                self._holdings.committed()
        except BaseException as error:
            # First of all: after a conflict the next statement and the COMMIT may be answered as if all were
            # well.
            usable = self._roll_back(driver)
            if usable and cursor is not None:
                # An exception keeps it, and it keeps SQLite's file open that was closed: the locks of this
                # process are no more in order then.
                with contextlib.suppress(self._driver.Error):
                    cursor.close()
            self._lanes.forget()
            self._questions.forget()
            if not isinstance(error, self._driver.Error):
                raise
            message = one_line(self._dialect.message(error))
            verdict = self._dialect.verdict(error, committing=committing)
            if usable and verdict in MOST_REPEATS:
                raise Undone(message, verdict) from error
            if usable and verdict is Verdict.REFUSED:
                raise StoreRefused(message) from error
            self._disconnect()
            raise StoreUnavailable(message) from error
        return result

    def _driver_connection(self) -> DBAPIConnection:
        """The driver's connection."""
        if self._connection is None:
            raise StoreUnavailable("the store is not open")
        return driver_of(self._connection)

    def _roll_back(self, driver: DBAPIConnection) -> bool:
        """
        Roll back.

        @return: whether the connection can still be used.
        """
        try:
            driver.rollback()
        except self._driver.Error:
            self._disconnect()
            return False
        return True

    # Writing

    def reserve(self, count: int) -> int:
        """See L{IJobStore.reserve}."""

        def work(cursor: DBAPICursor) -> int:
            home, holdings = self._parts.all[-1], self._holdings
            if holdings is None or home == WHOLE:
                first = self._statements.next(cursor)
            else:
                first = holdings.next(cursor, home)
            if first + count > min(home.end - 1, LAST_NUMBER):
                raise UsedUp("the job numbers are used up")
            self._advance(cursor, first + count)
            return first

        first = self._writing(work)
        self._reserved = max(self._reserved, first + count)
        return first

    def _advance(self, cursor: DBAPICursor, number: int) -> None:
        """Set the first number that is not reserved."""
        home = self._parts.all[-1]
        if self._holdings is None or home == WHOLE:
            self._statements.advance(cursor, number)
        elif home.first <= number:
            # Others were of a part before.
            self._holdings.advance(cursor, home, number)

    def renew(self) -> None:
        """See L{ILeasedStore.renew}; nothing where there is no lease."""
        if self._holdings is not None:
            self._writing(lambda cursor: None)

    def see_alone(self) -> None:
        """
        See that no other server has begun to use the store; a lease keeps off those that know of no others.

        @raise StoreTaken: one has.
        """
        if self._holdings is not None:
            self._writing(self._holdings.see_alone)

    def write(self, batch: Batch) -> None:
        """See L{IJobStore.write}."""
        self._writer.check(batch.new_jobs, batch.results, batch.changes)
        if self._parts.bounds:
            batch = self._parts.ours(batch)
        if self._damage_seen:
            self._find_damaged(batch)
        try:
            self._writing(lambda cursor: self._writer.write(cursor, self._parts, batch))
        except StoreUnavailable as error:
            self._damage_seen = self._dialect.damaged(error)
            raise

    def _find_damaged(self, batch: Batch) -> None:
        """
        Find the jobs of a batch whose rows are damaged, after a batch could not be written for damage. A row
        that cannot be read cannot be deleted either, and must not keep the whole batch from being written.
        """
        self._damage_seen = False
        replaced = [number for number, _ in batch.results]
        replaced += [change.number for change in batch.changes if change.workload is not None]
        for number in (*batch.deleted, *batch.deleted_all, *replaced):
            for read in (self._statements.workloads, self._statements.results):
                try:
                    self._reading(lambda cursor: read(cursor, [number]))  # noqa: B023 - at once
                except StoreUnavailable as error:
                    if not self._dialect.damaged(error):
                        raise
                    self._writer.damaged.add(number)
                    self.open()

    def take_over(
        self, new_jobs: Sequence[NewJob], digests: Sequence[bytes], results: Sequence[Result] = ()
    ) -> None:
        """
        Keep jobs from another server's queue, and note that they were taken over, in one transaction.

        @param new_jobs: unlike those of L{write} they may have ended.
        @param digests: 32 bytes for each row of that queue that is not to be taken over again.
        @param results: of those that have ended with one.
        """
        self._writer.check(new_jobs, results)
        self._writing(lambda cursor: self._writer.take_over(cursor, self._parts, new_jobs, digests, results))

    # Reading

    def replay(self, after: int, limit: int) -> list[JobRecord]:
        """See L{IJobStore.replay}."""

        def work(cursor: DBAPICursor) -> list[JobRecord]:
            found: list[JobRecord] = []
            for part in self._parts.all:
                if len(found) < limit:
                    start = max(after, part.first - 1)
                    page = self._statements.replay(cursor, start, limit - len(found))
                    found += [job for job in page if job.number < part.end]
            return found

        return self._reading(work)

    def lanes(self) -> list[LaneCount]:
        """See L{IJobStore.lanes}."""

        def work(cursor: DBAPICursor) -> list[LaneCount]:
            # What is asked once the first batch, on which clients wait, is not to ask.
            self._questions.segments(cursor)
            return self._lanes.all(cursor, self._parts)

        return self._reading(work)

    def rows(self, question: Question, workloads: dict[int, bytes] | None = None) -> list[JobRecord]:
        """See L{IJobStore.rows}."""
        return self._reading(lambda cursor: self._questions.rows(cursor, self._parts, question, workloads))

    def hashes(self, after: int, limit: int) -> list[int]:
        """See L{IJobStore.hashes}."""
        return self._reading(lambda cursor: self._questions.hashes(cursor, self._parts, after, limit))

    def workloads(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """See L{IJobStore.workloads}."""
        return self._reading(lambda cursor: self._statements.workloads(cursor, numbers))

    def known(self, numbers: Sequence[int]) -> set[int]:
        """See L{IJobStore.known}."""
        return self._reading(lambda cursor: self._statements.known(cursor, schema.jobs, numbers))

    def results(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """See L{IJobStore.results}."""
        return self._reading(lambda cursor: self._statements.results(cursor, numbers))

    def values(self) -> list[StoredValue]:
        """See L{IJobStore.values}."""
        return self._reading(self._statements.values)

    # The history of figures

    def put_history(self, chunks: Sequence[HistoryChunk], deleted: Sequence[int]) -> None:
        """See L{IHistoryStore.put_history}."""

        def work(cursor: DBAPICursor) -> None:
            self._statements.delete(cursor, schema.history, deleted)
            self._statements.put_history(cursor, chunks)

        self._writing(work)

    def history(self, after: int, limit: int) -> list[HistoryChunk]:
        """See L{IHistoryStore.history}."""
        return self._reading(lambda cursor: self._statements.history(cursor, after, limit))

    # What it is

    def report(self) -> StoreReport:
        """See L{IReportingStore.report}."""
        return self._reading(self._dialect.report)

    # The move from another server

    def imported(self, digests: Sequence[bytes]) -> set[bytes]:
        """The digests, of those that are asked for, that L{take_over} has noted."""
        return self._reading(lambda cursor: self._statements.known(cursor, schema.imported, digests))

    def noted(self, after: bytes, limit: int) -> list[bytes]:
        """
        Digests that L{take_over} has noted, by and by.

        @param after: one of them, or nothing for the beginning.
        @param limit: digests to return at the most; they are in their order.
        """
        return self._reading(lambda cursor: self._statements.noted(cursor, after, limit))


def driver_of(connection: Connection) -> DBAPIConnection:
    """The driver's connection."""
    driver: DBAPIConnection = connection.connection.driver_connection  # type: ignore[assignment]
    return driver


def _close_at_once(connection: Connection) -> None:
    """Close a connection without asking the server again, which may not answer."""
    connection.invalidate()
    connection.close()


def one_line(message: str) -> str:
    """A message as one line that fits a log and a packet."""
    message = " ".join(message.split())
    return message if len(message) <= MOST_CHARACTERS else message[:MOST_CHARACTERS] + "..."
