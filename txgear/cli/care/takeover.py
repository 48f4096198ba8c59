"""
The takeover of gearmand's rows as jobs of a store, each row once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from txgear.broker.keys import key_of
from txgear.broker.records import JobRecord, NewJob
from txgear.cli.base.output import printable
from txgear.cli.care.gearmandtable import Row
from txgear.errors import StoreRefused
from txgear.protocol.constants import MAX_FUNCTION, MAX_UNIQUE, NORMAL, PRIORITIES

CHUNK_ROWS: Final = 2000
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Rows, and bytes of their workloads, in one transaction at the most; a single row may have more bytes."""

EXAMPLES: Final = 3
"""Rows that are named, for each reason not to take them over."""

MOST_SHOWN: Final = 40
"""Characters of a name that are shown at the most."""

LAST_DUE: Final = 2**63 - 1
"""The latest time that a submit can name, in seconds since the epoch."""


class Store(Protocol):
    """The part of L{txgear.stores.sql.SqlStore} that is used here."""

    def reserve(self, count: int) -> int:
        """Set job numbers apart, and return the first."""

    def imported(self, digests: Sequence[bytes]) -> set[bytes]:
        """The digests, of these, of rows that were taken over before."""

    def take_over(self, new_jobs: Sequence[NewJob], digests: Sequence[bytes]) -> None:
        """Keep the jobs and note the digests, in one transaction."""


class InvalidRow(Exception):
    """A row cannot become a job; the text says why."""


class Content(NamedTuple):
    """
    What a row says of its job, in a form that does not depend on the database.
    """

    function: bytes
    unique: bytes
    priority: int
    due: int
    workload: bytes

    def digest(self) -> bytes:
        """32 bytes that are the same for rows with the same content only."""
        made = sha256()
        for part in (self.function, self.unique, b"%d" % self.priority, b"%d" % self.due, self.workload):
            made.update(len(part).to_bytes(8, "big"))
            made.update(part)
        return made.digest()

    def new_job(self, number: int, prefix: bytes) -> NewJob:
        """The job, for a store."""
        key = key_of(self.unique, self.workload)
        job = JobRecord(
            number=number,
            place=number,
            prefix=prefix,
            function=self.function,
            unique=self.unique,
            digest=key.to_bytes(16, "big") if isinstance(key, int) else None,
            reducer=b"",
            priority=self.priority,
            due=float(self.due),
            retries=0,
            size=len(self.workload),
        )
        return job, self.workload


@dataclass
class Report:
    """
    How many rows were taken over, and why others were not.

    @ivar taken: rows that have become jobs of the store.
    @ivar known: rows that were taken over before.
    @ivar reprioritized: rows, of those taken, with a priority that does not exist.
    @ivar refused: for each reason not to take rows over, how many these are, and names of the first.
    """

    taken: int = 0
    known: int = 0
    reprioritized: int = 0
    refused: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def refuse(self, reason: str, function: bytes | None, unique: bytes | None) -> None:
        """Count a row that is not taken over."""
        count, examples = self.refused.get(reason, (0, []))
        if len(examples) < EXAMPLES:
            examples.append(f"{shown(function)} {shown(unique)}")
        self.refused[reason] = (count + 1, examples)

    def lines(self) -> Iterator[str]:
        """The report, for a person to read."""
        yield f"{self.taken} taken over"
        if self.known:
            yield f"{self.known} already taken over before"
        if self.reprioritized:
            yield f"{self.reprioritized} of unknown priority, which is normal now"
        for reason, (count, examples) in self.refused.items():
            rest = ", ..." if count > len(examples) else ""
            yield f"{count} not taken, {reason}: function and unique {', '.join(examples)}{rest}"


def shown(name: bytes | None) -> str:
    """A name for a person to read, cut where it is long."""
    if name is None:
        return "NULL"
    text = f"'{printable(name.decode('utf-8', 'backslashreplace'))}'"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}...'"


def whole_number(value: object, column: str) -> int:
    """
    A whole number of a row. SQLite keeps values of any type in a column of numbers.

    @raise InvalidRow: it is no whole number.
    """
    try:
        return int(value)  # type: ignore[call-overload,no-any-return]
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRow(f"{column} is no number") from error


def content_of(row: Row) -> Content:
    """
    Read a row.

    @return: what it says; the priority may be one that does not exist.
    @raise InvalidRow: the server would not take such a job either.
    """
    function, unique, workload = row.function, row.unique or b"", row.data or b""
    if function is None:
        raise InvalidRow("there is no function")
    if len(function) > MAX_FUNCTION:
        raise InvalidRow(f"the function has more than {MAX_FUNCTION} bytes")
    if b"\0" in function:
        raise InvalidRow("there is a NUL in the function")
    if len(unique) > MAX_UNIQUE:
        raise InvalidRow(f"the unique has more than {MAX_UNIQUE} bytes")
    if b"\0" in unique:
        raise InvalidRow("there is a NUL in the unique")
    due = 0 if row.when is None else whole_number(row.when, "when_to_run")
    if due > LAST_DUE:
        raise InvalidRow("when_to_run is out of range")
    priority = NORMAL if row.priority is None else whole_number(row.priority, "priority")
    return Content(function, unique, priority, max(due, 0), workload)


class Takeover:
    """
    Takes rows over into a store.

    A row is taken over once, whatever has become of its job since then, and however
    often the command runs or is killed: the transaction that keeps the job notes the row.

    @ivar report: the rows so far.
    """

    def __init__(self, store: Store, prefix: bytes) -> None:
        """
        @param store: a store that is open.
        @param prefix: the start of the jobs' handles, without the colon.
        """
        self._store = store
        self._prefix = prefix
        self.report = Report()

    def take(self, rows: Iterable[Row]) -> None:
        """
        Take rows over, in their order.

        @raise txgear.errors.StoreUnavailable: the store is lost; the rows before are taken over.
        """
        chunk: list[Content] = []
        size = 0
        for row in rows:
            try:
                content = content_of(row)
            except InvalidRow as reason:
                self.report.refuse(str(reason), row.function, row.unique)
                continue
            if chunk and (len(chunk) == CHUNK_ROWS or size + len(content.workload) > CHUNK_BYTES):
                self._take(chunk)
                chunk, size = [], 0
            chunk.append(content)
            size += len(content.workload)
        if chunk:
            self._take(chunk)

    def _take(self, chunk: list[Content]) -> None:
        """Take rows over in one transaction; if the store refuses that, in one transaction for each row."""
        found: dict[bytes, Content] = {}
        for content in chunk:
            found.setdefault(content.digest(), content)
        for digest in self._store.imported(list(found)):
            del found[digest]
        self.report.known += len(chunk) - len(found)
        if not found:
            return
        fresh = list(found.items())
        number = self._store.reserve(len(fresh))
        try:
            self._write(fresh, number)
        except StoreRefused:
            for place, (digest, content) in enumerate(fresh):
                try:
                    self._write([(digest, content)], number + place)
                except StoreRefused as error:
                    self.report.refuse(str(error), content.function, content.unique)

    def _write(self, fresh: list[tuple[bytes, Content]], number: int) -> None:
        new_jobs = []
        unknown = 0
        for place, (_, content) in enumerate(fresh):
            if content.priority not in PRIORITIES:
                content = content._replace(priority=NORMAL)
                unknown += 1
            new_jobs.append(content.new_job(number + place, self._prefix))
        self._store.take_over(new_jobs, [digest for digest, _ in fresh])
        self.report.taken += len(fresh)
        self.report.reprioritized += unknown
