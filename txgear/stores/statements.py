"""
The statements of a SQL store, each for many rows at once.

Each statement has a cost that does not depend on its rows: a round trip to a
database server, or in SQLite several waits for the interpreter's lock, which the
reactor's thread may want as well. So nothing is done row by row.

SQLAlchemy writes the text of a statement, once for each of a few numbers of rows.
The text goes to the driver as it is, which recognises it and keeps it prepared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from sqlalchemy import (
    Column,
    Insert,
    Integer,
    Table,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.engine.interfaces import DBAPICursor, Dialect
from sqlalchemy.sql import ClauseElement

from txgear.broker.records import (
    KINDS,
    READY,
    SHARED,
    SLOTS,
    WAITING,
    HistoryChunk,
    JobChange,
    JobRecord,
    JobUpdate,
    StoredValue,
    Swap,
)
from txgear.stores.places import ukey_of
from txgear.stores.schema import (
    MAX_NOTE,
    history,
    imported,
    inserted_columns,
    jobs,
    numbers,
    results,
    stored_values,
    workloads,
)

if TYPE_CHECKING:
    from txgear.stores.parts import Parts

T = TypeVar("T")

MOST_ROWS: Final = 256
"""Rows of one statement at the most, a power of two."""

MOST_BYTES: Final = 4 * 1024 * 1024
"""Bytes of the rows of one statement at the most: beyond it, larger ones cost memory and save no time."""

ROW_BYTES: Final = 512
"""Bytes of a row at the most, without the name of a function, a workload and a result."""


Placed: TypeAlias = "tuple[int, int, int | None, float]"
"""The number of a job, and what it is found by: its lane, its key, and when something is to be done to it."""


WITH_WORKLOADS: Final = jobs.outerjoin(
    workloads, workloads.c.number == case((jobs.c.workload.is_(None), jobs.c.number))
)
"""Jobs, with the other table's rows of those alone that have no workload in their own."""


def row_slices(weights: Sequence[int], most_bytes: int) -> Iterator[slice]:
    """
    Divide rows among statements: a slice for each, whose number of rows is a power of two.

    @param weights: bytes of each row.
    @param most_bytes: bytes of the rows of one slice; a larger row has a slice of its own.
    """
    start = 0
    while start < len(weights):
        rows = min(1 << (len(weights) - start).bit_length() - 1, MOST_ROWS)
        while rows > 1 and sum(weights[start : start + rows]) > most_bytes:
            rows //= 2
        yield slice(start, start + rows)
        start += rows


def parameter(column: Column[Any]) -> Any:
    """A parameter of a column's type; parameters are told apart by their order, not by names."""
    return bindparam(None, type_=column.type, required=True)


@cache
def primary_key(table: Table) -> Column[Any]:
    """The column of a table's primary key; each has one."""
    return table.primary_key.columns[0]


class Statements:
    """
    The statements of a store, in the SQL of one dialect. Each method works on a
    cursor of the driver, in the transaction that is under way, and raises the
    driver's errors.

    @ivar dialect: SQLAlchemy's dialect.
    @ivar most_bytes: bytes of the rows of one statement at the most.
    """

    def __init__(self, dialect: Dialect) -> None:
        """
        @param dialect: one whose parameters are told apart by their order.
        """
        self.most_bytes = MOST_BYTES
        self.dialect = dialect
        self._next = self.text(select(numbers.c.next))
        self._advance = self.text(update(numbers).values(next=parameter(numbers.c.next)))
        changed = ("place", "due", "retries", "state", "ended", "history", "wake")
        kind = jobs.c.lane.op("&")(literal_column(str(KINDS - 1)))
        self._update = self.text(
            update(jobs)
            .values(
                **{name: parameter(jobs.c[name]) for name in changed},
                size=func.coalesce(parameter(jobs.c.size), jobs.c.size),
                lane=jobs.c.lane - kind + func.coalesce(parameter(jobs.c.priority), jobs.c.priority),
                workload=func.coalesce(parameter(jobs.c.workload), jobs.c.workload),
            )
            .where(jobs.c.number == parameter(jobs.c.number))
        )
        corrected = ("function", "priority", "digest", "ukey")
        self._change = self.text(
            update(jobs)
            .values(
                **{name: parameter(jobs.c[name]) for name in corrected},
                size=func.coalesce(parameter(jobs.c.size), jobs.c.size),
                # A job that is ready stays so, with its new priority.
                lane=parameter(jobs.c.lane)
                + case((kind < literal_column(str(WAITING)), parameter(jobs.c.priority)), else_=kind),
            )
            .where(jobs.c.number == parameter(jobs.c.number))
        )
        self._put_workload = self.text(
            update(jobs)
            .values(workload=parameter(jobs.c.workload))
            .where(jobs.c.number == parameter(jobs.c.number))
        )
        found_by = {name: parameter(jobs.c[name]) for name in ("lane", "ukey", "wake")}
        self._place = self.text(
            update(jobs).values(**found_by).where(jobs.c.number == parameter(jobs.c.number))
        )
        values = select(
            stored_values.c.kind, stored_values.c.name, stored_values.c.value, stored_values.c.text
        )
        self._values = self.text(values)
        shared: list[Any] = [literal_column(str(kind)) for kind in (*SHARED, SLOTS)]
        self._shared = self.text(values.where(stored_values.c.kind.in_(shared)))
        key, value = stored_values.c.digest, stored_values.c.value
        mine = key == parameter(key), value == parameter(value)
        new = {name: parameter(stored_values.c[name]) for name in ("value", "text")}
        self._swap = self.text(update(stored_values).values(**new).where(*mine))
        self._drop = self.text(delete(stored_values).where(*mine))
        self._insert_text = cache(self._make_insert)
        self._insert_missing_text = cache(self._make_insert_missing)
        self._delete_text = cache(self._make_delete)
        self._known_text = cache(self._make_known)
        self._replay_text = cache(self._make_replay)
        self._history_text = cache(self._make_history)
        self._noted_text = cache(self._make_noted)
        self._workloads_text = cache(self._make_workloads)
        self._results_text = cache(self._make_results)

    def text(self, clause: ClauseElement) -> str:
        """The text of a statement, as the driver takes it."""
        return str(clause.compile(dialect=self.dialect))

    def next(self, cursor: DBAPICursor) -> int:
        """The first job number that is not reserved."""
        cursor.execute(self._next)
        number: int = cursor.fetchall()[0][0]
        return number

    def advance(self, cursor: DBAPICursor, number: int) -> None:
        """Set the first job number that is not reserved."""
        cursor.execute(self._advance, (number,))

    def update(
        self, cursor: DBAPICursor, updates: Sequence[JobUpdate], emptied: Collection[int] = ()
    ) -> None:
        """
        Change jobs; those that are not there are passed over.

        @param emptied: the numbers of those whose rows have no workload any more.
        """
        # SQLAlchemy puts the columns in the order of the table, not of its arguments.
        rows = [
            (
                *each[1:8],
                kind_of(each),
                each.wake or each.due,
                b"" if each.number in emptied else None,
                each.number,
            )
            for each in updates
        ]
        cursor.executemany(self._update, rows)

    def put_workloads(self, cursor: DBAPICursor, rows: Sequence[tuple[int, bytes | None]]) -> None:
        """
        Have workloads in the rows of jobs.

        @param rows: the jobs' numbers, and what is to be there.
        """
        cursor.executemany(self._put_workload, [(workload, number) for number, workload in rows])

    def change(self, cursor: DBAPICursor, changes: Sequence[JobChange], parts: Parts) -> None:
        """Change what operators have changed of jobs, but for their workloads; as in L{update}."""
        rows = [
            (
                each.function,
                each.digest,
                each.priority,
                size_of(each),
                parts.places(each.number).base(each.function, each.tenant),
                each.priority,
                ukey_of(each),
                each.number,
            )
            for each in changes
        ]
        cursor.executemany(self._change, rows)

    def place(self, cursor: DBAPICursor, rows: Sequence[Placed]) -> None:
        """Say what jobs are found by."""
        cursor.executemany(self._place, [(lane, ukey, wake, number) for number, lane, ukey, wake in rows])

    def put_values(self, cursor: DBAPICursor, changed: Sequence[StoredValue]) -> None:
        """Keep values, each in place of the one of its kind and name; a value of 0.0 is removed."""
        rows = [(digest_of(each), each.kind, each.name, each.value, note_of(each)) for each in changed]
        self.delete(cursor, stored_values, [row[0] for row in rows])
        rows = [row for row in rows if row[3]]
        weights = [ROW_BYTES + MAX_NOTE + len(row[2]) for row in rows]
        self.insert(cursor, stored_values, rows, weights)

    def values(self, cursor: DBAPICursor) -> list[StoredValue]:
        """All values that are kept."""
        return self._read_values(cursor, self._values)

    def shared(self, cursor: DBAPICursor) -> list[StoredValue]:
        """Those that hold for all servers."""
        return self._read_values(cursor, self._shared)

    def swap(self, cursor: DBAPICursor, swap: Swap) -> bool:
        """Put a value in the place of another one, if that is there; whether it is done."""
        value, before = swap
        key = digest_of(value)
        if before and value.value:
            cursor.execute(self._swap, (value.value, note_of(value), key, before))
        elif before:
            cursor.execute(self._drop, (key, before))
        elif value.value:
            # Not by deleting it first: what another one has just put may be there by then.
            row = (key, value.kind, value.name, value.value, note_of(value))
            return self.insert_missing(cursor, stored_values, [row]) == 1
        else:
            return not self.known(cursor, stored_values, [key])
        return cursor.rowcount == 1

    @staticmethod
    def _read_values(cursor: DBAPICursor, text: str) -> list[StoredValue]:
        cursor.execute(text)
        return [
            StoredValue(kind, bytes(name), value, text=bytes(note or b"").decode("utf-8", "ignore"))
            for kind, name, value, note in cursor.fetchall()
        ]

    def insert(
        self, cursor: DBAPICursor, table: Table, rows: Sequence[tuple[Any, ...]], weights: Sequence[int]
    ) -> None:
        """
        Insert rows.

        @param weights: bytes of each row.
        """
        for count, parameters in self.row_lists(rows, weights):
            cursor.execute(self._insert_text(table, count), parameters)

    def insert_jobs(
        self, cursor: DBAPICursor, columns: Sequence[Sequence[Any]], weights: Sequence[int]
    ) -> None:
        """
        Insert jobs.

        @param columns: of each of the L{inserted_columns} the values of all jobs.
        @param weights: bytes of each row.
        """
        self.insert(cursor, jobs, list(zip(*columns, strict=True)), weights)

    def insert_missing(self, cursor: DBAPICursor, table: Table, rows: Sequence[tuple[Any, ...]]) -> int:
        """
        Insert those rows of which the keys have none; rows have no more than L{ROW_BYTES}.

        @return: how many.
        """
        inserted = 0
        for count, parameters in self.row_lists(rows, [ROW_BYTES] * len(rows)):
            cursor.execute(self._insert_missing_text(table, count), parameters)
            inserted += cursor.rowcount
        return inserted

    def claim(self, cursor: DBAPICursor, salt: bytes, numbers: Sequence[int]) -> int:
        """
        Insert the claims of new jobs of which there are none, from their rows: the database works out what
        stands for their names, as L{Claims<txgear.stores.claims.Claims>} does it for others. They are
        inserted in the order of their keys, as all servers do it: so none waits for another one that waits
        for it.

        @param salt: the store's.
        @param numbers: those of the jobs, at least one; all have names, and their rows are there.
        @return: how many; none where the database is not one that several servers can have.
        """
        return 0

    def delete(self, cursor: DBAPICursor, table: Table, keys: Sequence[Any]) -> None:
        """Delete the rows that have these keys."""
        self.delete_by(cursor, primary_key(table), keys)

    def delete_by(self, cursor: DBAPICursor, column: Column[Any], values: Sequence[Any]) -> None:
        """Delete the rows that have one of these values in a column, which has an index."""
        for part in self.key_lists(values):
            cursor.execute(self._delete_text(column, len(part)), part)

    def known(self, cursor: DBAPICursor, table: Table, keys: Sequence[Any]) -> set[Any]:
        """The keys, of those that are asked for, that have a row."""
        found: set[Any] = set()
        for part in self.key_lists(keys):
            cursor.execute(self._known_text(table, len(part)), part)
            found.update(key for (key,) in cursor.fetchall())
        return found

    def replay(self, cursor: DBAPICursor, after: int, limit: int) -> list[JobRecord]:
        """Jobs with numbers above C{after}, in the order of these; C{limit} of them at the most."""
        cursor.execute(self._replay_text(limit), (after,))
        return list(map(JobRecord._make, cursor.fetchall()))

    def workloads(self, cursor: DBAPICursor, numbers: Sequence[int]) -> dict[int, bytes]:
        """Workloads by number, without those of jobs that are not kept."""
        found: dict[int, bytes] = {}
        for part in self.key_lists(numbers):
            cursor.execute(self._workloads_text(len(part)), part)
            found.update((number, workload or b"") for number, workload in cursor.fetchall())
        return found

    def results(self, cursor: DBAPICursor, numbers: Sequence[int]) -> dict[int, bytes]:
        """Results by number, without those of jobs that have none."""
        found: dict[int, bytes] = {}
        for part in self.key_lists(numbers):
            cursor.execute(self._results_text(len(part)), part)
            found.update(cursor.fetchall())
        return found

    def put_history(self, cursor: DBAPICursor, chunks: Sequence[HistoryChunk]) -> None:
        """Keep chunks of the history, each in place of the one of its number."""
        self.delete(cursor, history, [number for number, _ in chunks])
        self.insert(cursor, history, chunks, [ROW_BYTES + len(chunk) for _, chunk in chunks])

    def history(self, cursor: DBAPICursor, after: int, limit: int) -> list[HistoryChunk]:
        """Chunks with numbers above C{after}, in the order of these; C{limit} of them at the most."""
        cursor.execute(self._history_text(limit), (after,))
        # In SQLite a column may have anything.
        return [
            (number, b"" if isinstance(chunk, (str, int, float)) else bytes(chunk))
            for number, chunk in cursor.fetchall()
        ]

    def noted(self, cursor: DBAPICursor, after: bytes, limit: int) -> list[bytes]:
        """Digests above C{after} of rows that were taken over, in their order; C{limit} at the most."""
        cursor.execute(self._noted_text(limit), (after,))
        return [bytes(digest) for (digest,) in cursor.fetchall()]

    # Texts of statements

    def is_one_of(self, key: Column[Any], keys: int) -> Any:
        """The condition that a key is in a list of C{keys} parameters."""
        return key.in_([parameter(key)] * keys)

    def key_lists(self, keys: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Divide keys into lists for L{is_one_of}; the last key is repeated up to a power of two."""
        for start in range(0, len(keys), MOST_ROWS):
            part = tuple(keys[start : start + MOST_ROWS])
            yield part + part[-1:] * ((1 << (len(part) - 1).bit_length()) - len(part))

    def row_lists(
        self, rows: Sequence[tuple[Any, ...]], weights: Sequence[int]
    ) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Divide rows among statements: of each how many rows its text has, and its parameters."""
        for run in row_slices(weights, self.most_bytes):
            yield run.stop - run.start, tuple(chain.from_iterable(rows[run]))

    def _make_insert(self, table: Table, rows: int) -> str:
        return self._with_rows(insert(table), table, rows)

    def _make_insert_missing(self, table: Table, rows: int) -> str:
        # With the strict mode of the session what does not fit would be cut all the same: nothing is as long.
        missing = insert(table).prefix_with("IGNORE", dialect="mysql")
        return self._with_rows(missing.prefix_with("OR IGNORE", dialect="sqlite"), table, rows)

    def _with_rows(self, statement: Insert, table: Table, rows: int) -> str:
        head, values, row = self.text(
            statement.values({column.key: parameter(column) for column in inserted_columns(table)})
        ).partition(" VALUES ")
        return head + values + ", ".join([row] * rows)

    def _make_delete(self, column: Column[Any], values: int) -> str:
        return self.text(delete(column.table).where(self.is_one_of(column, values)))

    def _make_known(self, table: Table, keys: int) -> str:
        return self.text(select(primary_key(table)).where(self.is_one_of(primary_key(table), keys)))

    def _make_replay(self, limit: int) -> str:
        """As they were written: of a job that is queued, or waits for its time, that is all that is said."""
        columns = list(jobs.columns)
        kind = jobs.c.lane.op("&")(literal_column(str(KINDS - 1)))
        queued = (kind < literal_column(str(WAITING))) | (
            (kind == literal_column(str(WAITING))) & (jobs.c.due != literal_column("0"))
        )
        return self._make_page(
            jobs,
            limit,
            *columns[: columns.index(jobs.c.lane)],
            # To MySQL the two are of different types, and it would answer with decimals.
            case((queued, literal_column(str(READY))), else_=cast(kind, Integer)),
            case((jobs.c.wake == jobs.c.due, literal_column("0.0")), else_=jobs.c.wake),
        )

    def _make_history(self, limit: int) -> str:
        return self._make_page(history, limit)

    def _make_noted(self, limit: int) -> str:
        return self._make_page(imported, limit)

    def _make_page(self, table: Table, limit: int, *columns: Any) -> str:
        """So many rows of a table, from a key on; with all columns, unless some are named."""
        key = primary_key(table)
        return self.text(
            select(*(columns or table.columns))
            .where(key > parameter(key))
            .order_by(key)
            .limit(literal_column(str(limit)))
            # Without it, SQLAlchemy adds one for SQLite, as a parameter.
            .offset(literal_column("0"))
        )

    def _make_workloads(self, keys: int) -> str:
        return self.text(
            select(jobs.c.number, func.coalesce(jobs.c.workload, workloads.c.workload))
            .select_from(WITH_WORKLOADS)
            .where(self.is_one_of(jobs.c.number, keys))
        )

    def _make_results(self, keys: int) -> str:
        return self.text(
            select(results.c.number, results.c.result).where(self.is_one_of(results.c.number, keys))
        )


def kind_of(update: JobUpdate) -> int | None:
    """The new kind of a job; C{None} if that is its priority."""
    if update.kind != READY:
        return update.kind
    return WAITING if update.due else None


def size_of(change: JobChange) -> int | None:
    """The new size of a job; C{None} if it has not changed."""
    return None if change.workload is None else len(change.workload)


def digest_of(value: StoredValue) -> bytes:
    """The key of a value's row."""
    return sha256(bytes([value.kind]) + value.name).digest()


def note_of(value: StoredValue) -> bytes | None:
    """The text of a value as its row has it: no longer than L{MAX_NOTE}, and C{None} where there is none."""
    return value.text.encode("utf-8", "backslashreplace")[:MAX_NOTE] or None
