"""
Rows of a gearmand become jobs of a store, each once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from txgear.broker.records import JobRecord, NewJob
from txgear.broker.uniques import key_of
from txgear.cli.gearmandtable import Row
from txgear.errors import StoreRefused
from txgear.protocol.constants import MAX_FUNCTION, MAX_UNIQUE, NORMAL, PRIORITIES

CHUNK_ROWS: Final = 2000
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Rows, and bytes of workloads, that are taken over in one transaction; a single row may have more bytes."""

EXAMPLES: Final = 3
"""Rows that are named for each reason not to take them."""

SHOWN: Final = 40
"""Characters of a name that are shown."""

LAST_DUE: Final = 2**63 - 1
"""The latest time that a submit could have named, in seconds since the epoch."""


class Store(Protocol):
    """What is asked of L{txgear.stores.sql.SqlStore} here."""

    def reserve(self, count: int) -> int:
        """Set numbers apart."""

    def imported(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those that were taken over before."""

    def take_over(self, additions: Sequence[NewJob], digests: Sequence[bytes]) -> None:
        """Keep the jobs, and note the digests, as one transaction."""


class Untakable(Exception):
    """This row cannot be a job; the text says why."""


class Content(NamedTuple):
    """
    What a row says of its job, in a form that is the same whatever database it comes from.
    """

    function: bytes
    unique: bytes
    priority: int
    due: int
    workload: bytes

    def digest(self) -> bytes:
        """32 bytes that tell this row from all others."""
        made = sha256()
        for part in (self.function, self.unique, b"%d" % self.priority, b"%d" % self.due, self.workload):
            made.update(len(part).to_bytes(8, "big"))
            made.update(part)
        return made.digest()

    def addition(self, number: int, prefix: bytes) -> NewJob:
        """The job, as a store takes it."""
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
    What became of the rows.

    @ivar taken: how many are jobs of the store now.
    @ivar known: how many were taken over before.
    @ivar reprioritized: how many of those taken had a priority that does not exist.
    @ivar refused: the others, by the reason: how many, and the names of the first.
    """

    taken: int = 0
    known: int = 0
    reprioritized: int = 0
    refused: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def refuse(self, reason: str, function: bytes | None, unique: bytes | None) -> None:
        """Note a row that is not taken."""
        count, examples = self.refused.get(reason, (0, []))
        if len(examples) < EXAMPLES:
            examples.append(f"{shown(function)} {shown(unique)}")
        self.refused[reason] = (count + 1, examples)

    def lines(self) -> Iterator[str]:
        """All that, for a person to read."""
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
    text = repr(name.decode("utf-8", "backslashreplace"))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}...'"


def whole(value: object, column: str) -> int:
    """
    A number of the row; SQLite keeps what it is given in columns of all types.

    @raise Untakable: it is no whole number.
    """
    try:
        return int(value)  # type: ignore[call-overload,no-any-return]
    except (TypeError, ValueError, OverflowError) as error:
        raise Untakable(f"{column} is no number") from error


def read(row: Row) -> Content:
    """
    @return: what the row says; its priority may be one that does not exist.
    @raise Untakable: the server would not take such a job either.
    """
    function, unique, workload = row.function, row.unique or b"", row.data or b""
    if function is None:
        raise Untakable("there is no function")
    if len(function) > MAX_FUNCTION:
        raise Untakable(f"the function has more than {MAX_FUNCTION} bytes")
    if b"\0" in function:
        raise Untakable("there is a NUL in the function")
    if len(unique) > MAX_UNIQUE:
        raise Untakable(f"the unique has more than {MAX_UNIQUE} bytes")
    if b"\0" in unique:
        raise Untakable("there is a NUL in the unique")
    due = 0 if row.when is None else whole(row.when, "when_to_run")
    if due > LAST_DUE:
        raise Untakable("when_to_run is out of range")
    priority = NORMAL if row.priority is None else whole(row.priority, "priority")
    return Content(function, unique, priority, max(due, 0), workload)


class Takeover:
    """
    Brings rows into a store.

    The same row is taken once, whatever became of its job meanwhile, and however
    often this runs or is killed: each is noted in the transaction that keeps its job.

    @ivar report: what has become of the rows so far.
    """

    def __init__(self, store: Store, prefix: bytes) -> None:
        """
        @param store: an open one.
        @param prefix: what the jobs' handles start with, without the colon.
        """
        self._store = store
        self._prefix = prefix
        self.report = Report()

    def take(self, rows: Iterable[Row]) -> None:
        """
        Take rows over, in their order.

        @raise txgear.errors.StoreUnavailable: the store has gone; what was taken so far is kept.
        """
        chunk: list[Content] = []
        size = 0
        for row in rows:
            try:
                content = read(row)
            except Untakable as reason:
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
        """One transaction, unless the store refuses it for a row of it: then one for each row."""
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
        additions = []
        unknown = 0
        for place, (_, content) in enumerate(fresh):
            if content.priority not in PRIORITIES:
                content = content._replace(priority=NORMAL)
                unknown += 1
            additions.append(content.addition(number + place, self._prefix))
        self._store.take_over(additions, [digest for digest, _ in fresh])
        self.report.taken += len(fresh)
        self.report.reprioritized += unknown
