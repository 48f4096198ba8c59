"""
The questions that a SQL store is asked, each by an index: what is not found is not read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache, lru_cache
from heapq import merge
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sqlalchemy import Column, ColumnElement, Index, Select, and_, case, func, literal_column, or_, select

from txgear.broker.keys import HASH_BITS, hash_of
from txgear.broker.records import (
    KINDS,
    ByKey,
    ByNumber,
    InLane,
    InOrder,
    JobChange,
    JobRecord,
    LastInLane,
    Question,
    Waking,
    WithUnique,
    key_of_record,
    last_of_each,
    record_of,
)
from txgear.broker.states import DONE
from txgear.stores.places import SEGMENTS, segment_of
from txgear.stores.schema import BY_KEY, BY_LANE, BY_WAKE, jobs
from txgear.stores.statements import parameter

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPICursor

    from txgear.stores.parts import Parts
    from txgear.stores.statements import Statements

PROBES: Final = 64
"""Segments that are looked for in one go."""
FEW_SEGMENTS: Final = 64
"""Segments that may have come since they were looked for, without their being looked for anew."""

TEXTS: Final = 64
"""Texts that are remembered of each statement, of which there is one for each bound."""

FORCE: Final = {"mysql": "FORCE INDEX ({})"}
"""
How a database is told to use an index, where that can be: it knows little of tables that grow and shrink as a
queue does.
"""


def _place(job: JobRecord) -> int:
    return job.place


def number(value: int) -> Any:
    """A number as it stands in the text of a statement."""
    return literal_column(str(value))


class Questions:
    """
    Asks them. What it remembers is in which segments there are keys.

    @cvar ukey: the column that has the numbers of keys in their order.
    @cvar brings_workloads: whether workloads come with jobs that are read by their lanes.
    """

    brings_workloads: ClassVar[bool] = True

    ukey: ClassVar[Column[Any]] = jobs.c.ukey

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        # Those that have come since the last look, too.
        self._segments: set[int] = set()
        self._look_at = 0
        self._lane_text = lru_cache(TEXTS)(self._make_lane)
        self._last_text = self._make_lane(1, False, last=True)
        self._waking_text = lru_cache(TEXTS)(self._make_waking)
        self._order_text = lru_cache(TEXTS)(self._make_order)
        self._numbers_text = cache(self._make_numbers)
        self._keys_text = cache(self._make_keys)
        self._unique_text = lru_cache(TEXTS)(self._make_unique)
        self._hashes_text = lru_cache(TEXTS)(self._make_hashes)
        probe = select(func.min(self.ukey)).where(self.ukey >= parameter(self.ukey))
        self._probes = statements.text(select(*[self.by(BY_KEY, probe).scalar_subquery()] * PROBES))

    # Segments

    @property
    def few_segments(self) -> bool:
        """Whether there may be some more: each costs every look-up a step."""
        return self._look_at <= 2 * FEW_SEGMENTS

    def came(self, cursor: DBAPICursor, numbers: Sequence[int], ukeys: Sequence[int | None]) -> None:
        """
        Jobs are about to be inserted.

        @param numbers: theirs; there may be none.
        @param ukeys: what L{txgear.stores.places} makes of their keys.
        """
        self._look(cursor)
        self._segments.update({ukey >> HASH_BITS for ukey in ukeys if ukey is not None})

    def changed(self, cursor: DBAPICursor, changes: Sequence[JobChange]) -> None:
        """Jobs are about to get other keys."""
        self._look(cursor)
        self._segments.update(segment_of(change.number) for change in changes)

    def gone(self, cursor: DBAPICursor, numbers: Collection[int]) -> None:
        """Jobs were deleted."""

    def forget(self) -> None:
        """There may have been others: look anew where there are keys."""
        self._segments.clear()
        self._look_at = 0

    def segments(self, cursor: DBAPICursor) -> list[int]:
        """In which segments there may be keys: those where there are any, and some in which there were."""
        self._look(cursor)
        return sorted(self._segments)

    def _look(self, cursor: DBAPICursor) -> None:
        """Forget those where there are no keys any more, from time to time."""
        if len(self._segments) >= self._look_at:
            self._segments = self._find_segments(cursor)
            self._look_at = len(self._segments) + FEW_SEGMENTS

    def _find_segments(self, cursor: DBAPICursor) -> set[int]:
        found: set[int] = set()
        start = 0
        while start < SEGMENTS:
            probes = (min(start + probe, SEGMENTS - 1) for probe in range(PROBES))
            cursor.execute(self._probes, tuple(probe << HASH_BITS for probe in probes))
            new = [key >> HASH_BITS for key in cursor.fetchall()[0] if key is not None]
            found.update(new)
            if len(new) < PROBES:
                break
            start = max(new) + 1
        return found

    # Questions

    def rows(
        self,
        cursor: DBAPICursor,
        parts: Parts,
        question: Question,
        workloads: dict[int, bytes] | None = None,
    ) -> list[JobRecord]:
        """See L{IJobStore.rows<txgear.interfaces.IJobStore.rows>}."""
        if isinstance(question, ByNumber):
            return self._by_numbers(cursor, parts, question.numbers)
        if isinstance(question, ByKey):
            return self._by_keys(cursor, parts, question.keys)
        if isinstance(question, WithUnique):
            return self._with_unique(cursor, parts, question)
        if isinstance(question, InLane):
            return self._in_lane(cursor, parts, question, workloads if self.brings_workloads else None)
        if isinstance(question, LastInLane):
            function = question.lane.function
            last = [
                self.read(cursor, self._last_text, (lane, function)) for lane in parts.lanes(question.lane)
            ]
            return sorted(chain.from_iterable(last), key=_place)[-1:]
        if isinstance(question, Waking):
            return self._waking(cursor, parts, question)
        return self._in_order(cursor, parts, question)

    def read(
        self,
        cursor: DBAPICursor,
        text: str,
        parameters: Sequence[Any],
        workloads: dict[int, bytes] | None = None,
    ) -> list[JobRecord]:
        """
        Read rows with all columns.

        @param workloads: those that are in the rows are put here, if these have that column, too.
        """
        cursor.execute(text, parameters)
        rows = cursor.fetchall()
        if workloads is None:
            return list(map(record_of, rows))
        workloads.update((row[0], row[-1]) for row in rows if row[-1] is not None)
        return [record_of(row[:-1]) for row in rows]

    def _by_numbers(self, cursor: DBAPICursor, parts: Parts, numbers: Sequence[int]) -> list[JobRecord]:
        return self.anywhere(cursor, [number for number in numbers if number in parts])

    def anywhere(self, cursor: DBAPICursor, numbers: Sequence[int]) -> list[JobRecord]:
        """The jobs with these numbers, in whichever parts."""
        found: list[JobRecord] = []
        for part in self._statements.key_lists(list(dict.fromkeys(numbers))):
            found += self.read(cursor, self._numbers_text(len(part)), part)
        return found

    def of_anybody(
        self, cursor: DBAPICursor, numbers: Sequence[int], uniques: Collection[bytes]
    ) -> list[JobRecord]:
        """
        Jobs in whichever part: those with these numbers, and as with L{ByKey} those with these uniques. There
        may be keys where there were none at the last look.
        """
        found: list[JobRecord] = []
        for part in self._statements.key_lists(list(dict.fromkeys(numbers))):
            found += self.read(cursor, self._numbers_text(len(part)), part)
        if wanted := set(uniques):
            segments = sorted(self._find_segments(cursor))
            named: list[JobRecord] = []
            for part in self._ukeys(segments, wanted):
                named += self.read(cursor, self._keys_text(len(part)), part)
            found += last_of_each(job for job in named if job.unique in wanted)
        return list(dict.fromkeys(found))

    def _by_keys(self, cursor: DBAPICursor, parts: Parts, keys: Sequence[bytes | int]) -> list[JobRecord]:
        wanted = set(keys)
        found: list[JobRecord] = []
        for part, by_number in self.named(cursor, wanted):
            found += self.read(cursor, self._keys_text(len(part), by_number), part)
        ours = (job for job in found if job.number in parts)
        return last_of_each(job for job in ours if key_of_record(job) in wanted)

    def _with_unique(self, cursor: DBAPICursor, parts: Parts, question: WithUnique) -> list[JobRecord]:
        unique, after, limit = question
        found: list[JobRecord] = []
        for part, by_number in self.named(cursor, {unique}):
            text = self._unique_text(len(part), limit, len(parts.bounds), by_number)
            found += self.read(cursor, text, (*part, unique, after, *parts.bounds))
        return sorted(found, key=_place)[:limit]

    def _in_lane(
        self, cursor: DBAPICursor, parts: Parts, question: InLane, workloads: dict[int, bytes] | None
    ) -> list[JobRecord]:
        lane, after, limit = question
        text = self._lane_text(limit, workloads is not None)
        found = [
            self.read(cursor, text, (each, after, lane.function), workloads) for each in parts.lanes(lane)
        ]
        return found[0] if len(found) == 1 else list(islice(merge(*found, key=_place), limit))

    def _in_order(self, cursor: DBAPICursor, parts: Parts, question: InOrder) -> list[JobRecord]:
        after, limit = question
        found: list[JobRecord] = []
        text = self._order_text(limit)
        for part in parts.all:
            if part.end > after and len(found) < limit:
                found += self.read(cursor, text, (max(after, part.first - 1), part.end - 1))
        return found[:limit]

    def named(
        self, cursor: DBAPICursor, keys: Collection[bytes | int]
    ) -> Iterator[tuple[tuple[int, ...], bool]]:
        """
        Where jobs with these keys are to be looked for: lists for one statement each, and whether they are of
        the jobs' numbers and not of the keys'.
        """
        for part in self._ukeys(self.segments(cursor), keys):
            yield part, False

    def _ukeys(self, segments: Sequence[int], keys: Collection[bytes | int]) -> Iterator[tuple[int, ...]]:
        """Where jobs with these keys are to be looked for, in lists for one statement each."""
        hashes = sorted(set(map(hash_of, keys)))
        ukeys = [segment << HASH_BITS | each for segment in segments for each in hashes]
        return self._statements.key_lists(ukeys)

    def _waking(self, cursor: DBAPICursor, parts: Parts, question: Waking) -> list[JobRecord]:
        until, (time, last), limit = question
        bounds = parts.bounds
        found: list[JobRecord] = []
        if 0.0 < time <= until:
            text = self._waking_text(limit, True, len(bounds))
            found = self.read(cursor, text, (time, last, *bounds))
        if len(found) < limit and time < until:
            text = self._waking_text(limit, False, len(bounds))
            found += self.read(cursor, text, (max(time, 0.0), until, *bounds))[: limit - len(found)]
        return found

    def hashes(self, cursor: DBAPICursor, parts: Parts, after: int, limit: int) -> list[int]:
        """See L{IJobStore.hashes<txgear.interfaces.IJobStore.hashes>}."""
        cursor.execute(self._hashes_text(limit, len(parts.bounds)), (after, *parts.bounds))
        return [key for (key,) in cursor.fetchall()]

    # Texts

    def by(self, index: Index, query: Select[Any]) -> Select[Any]:
        """Have a question answered by an index, whatever the database knows of the table."""
        name = self._statements.dialect.name
        if name not in FORCE:
            return query
        return query.with_hint(jobs, FORCE[name].format(index.name), name)

    def columns(self) -> list[Any]:
        """The columns of a L{JobRecord}."""
        last = list(jobs.columns).index(jobs.c.lane)
        kind = jobs.c.lane.op("&")(number(KINDS - 1)).label("kind")
        return [*list(jobs.columns)[:last], kind, jobs.c.wake]

    def _page(
        self, index: Index | None, limit: int, where: Sequence[Any], order: Sequence[Any], *more: Any
    ) -> str:
        query = select(*self.columns(), *more).where(*where).order_by(*order)
        if index is not None:
            query = self.by(index, query)
        # Without an offset SQLAlchemy adds one for SQLite, as a parameter.
        return self._statements.text(query.limit(number(limit)).offset(number(0)))

    def _make_lane(self, limit: int, with_workloads: bool, last: bool = False) -> str:
        columns = jobs.c
        where = [columns.lane == parameter(columns.lane), columns.function == parameter(columns.function)]
        if last:
            return self._page(BY_LANE, limit, where, (columns.place.desc(),))
        where.insert(1, columns.place > parameter(columns.place))
        return self._page(
            BY_LANE, limit, where, (columns.place,), *([columns.workload] if with_workloads else [])
        )

    @staticmethod
    def _within(bounds: int) -> list[ColumnElement[bool]]:
        """The condition that a number is within so many bounds, two by two; none is for all numbers."""
        key = jobs.c.number
        each = (and_(key >= parameter(key), key < parameter(key)) for _ in range(bounds // 2))
        return [or_(*each)] if bounds else []

    def _make_waking(self, limit: int, same: bool, bounds: int) -> str:
        wake, key = jobs.c.wake, jobs.c.number
        if same:
            where: tuple[Any, ...] = (wake == parameter(wake), key > parameter(key))
        else:
            where = (wake > parameter(wake), wake <= parameter(wake))
        # A part of the table is in that index.
        return self._page(BY_WAKE, limit, (*where, wake > number(0), *self._within(bounds)), (wake, key))

    def _make_order(self, limit: int) -> str:
        key = jobs.c.number
        return self._page(None, limit, (key > parameter(key), key <= parameter(key)), (key,))

    def _make_numbers(self, keys: int) -> str:
        return self._statements.text(
            select(*self.columns()).where(self._statements.is_one_of(jobs.c.number, keys))
        )

    def has_key(self, keys: int) -> ColumnElement[bool]:
        """The condition that a job has one of so many keys, by their numbers."""
        found: ColumnElement[bool] = self._statements.is_one_of(jobs.c.ukey, keys)
        return found

    def _is_named(self, keys: int, by_number: bool) -> ColumnElement[bool]:
        found: ColumnElement[bool] = self._statements.is_one_of(jobs.c.number, keys)
        return found if by_number else self.has_key(keys)

    def _make_keys(self, keys: int, by_number: bool = False) -> str:
        """A unique that is used again and again may be that of very many that have ended."""
        columns = jobs.c
        done = columns.state == number(DONE)
        outcome = case((columns.state == number(0), number(0)), (done, number(1)), else_=number(2))
        # Those of one function, and on one account, differ in these bits of their lanes only.
        lane = columns.lane - columns.lane.op("&")(number(KINDS - 1))
        same = (columns.uniq, columns.digest, lane, outcome)
        turn = func.row_number().over(partition_by=same, order_by=columns.place.desc()).label("turn")
        query = select(*self.columns(), turn).where(self._is_named(keys, by_number))
        found = self.by(BY_KEY, query).subquery()
        last = or_(found.c.turn == number(1), found.c.state == number(0))
        return self._statements.text(select(*list(found.c)[:-1]).where(last))

    def _make_unique(self, keys: int, limit: int, bounds: int, by_number: bool = False) -> str:
        columns = jobs.c
        where = (
            self._is_named(keys, by_number),
            columns.uniq == parameter(columns.uniq),
            columns.place > parameter(columns.place),
            *self._within(bounds),
        )
        return self._page(BY_KEY, limit, where, (columns.place,))

    def _make_hashes(self, limit: int, bounds: int) -> str:
        key = jobs.c.ukey
        where = (key > parameter(key), *self._within(bounds))
        query = self.by(BY_KEY, select(key).where(*where).order_by(key))
        return self._statements.text(query.limit(number(limit)).offset(number(0)))
