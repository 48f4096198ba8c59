"""
How many jobs a store has in each lane: a table that is changed in the transactions that change the jobs.

What a batch changes is worked out from the rows themselves. So it is right, whatever a batch repeats, and
whatever it speaks of that is not there.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, select, update

from txgear.broker.records import KINDS, Lane, LaneCount
from txgear.stores.schema import jobs, lanes
from txgear.stores.statements import ROW_BYTES, parameter

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPICursor

    from txgear.stores.parts import Parts
    from txgear.stores.places import Tally
    from txgear.stores.statements import Statements

MOST_KNOWN: Final = 50_000
"""Lanes that are remembered to have a row."""
MOST_EMPTY: Final = 1000
"""Rows that are made until those of lanes without jobs are deleted; more where more lanes have jobs."""
TENANT_BYTES: Final = 1024
"""Bytes of a tenant's name at the most."""
LAST: Final = 2**63 - 1
NOTHING: Final = (None, 0, 0)


class LaneCounts:
    """
    Keeps the table. All that is remembered of it is which lanes have a row.
    """

    def __init__(self, statements: Statements, keyed: bool = False) -> None:
        """
        @param keyed: whether it matters which of the jobs that change have keys.
        """
        self._statements = statements
        self._keyed = keyed
        self._known: set[int] = set()
        # Our parts, where there may be others.
        self._ours: set[int] = set()
        self._made = 0
        self._sweep_at = 0
        self._sums_text = cache(self._make_sums)
        # That of one job, which MySQL has for many as well: no job is to wait until it is made.
        self._sums_text(1)
        self._count = statements.text(
            update(lanes)
            .values(
                jobs=lanes.c.jobs + parameter(lanes.c.jobs), bytes=lanes.c.bytes + parameter(lanes.c.bytes)
            )
            .where(lanes.c.lane == parameter(lanes.c.lane))
        )
        self._lanes = statements.text(
            select(
                *(lanes.c[name] for name in ("lane", "function", "tenant", "part", "jobs", "bytes"))
            ).where(lanes.c.lane.between(parameter(lanes.c.lane), parameter(lanes.c.lane)))
        )
        self._rows = statements.text(select(func.count()).select_from(lanes))
        self._sweep = statements.text(delete(lanes).where(lanes.c.jobs == parameter(lanes.c.jobs)))

    def forget(self, parts: Parts | None = None) -> None:
        """
        A transaction was rolled back, or there may have been others: nothing is known.

        @param parts: those that are ours from now on, if they are not as before.
        """
        self._known.clear()
        if parts is not None:
            self._ours = {part.part for part in parts.all} if parts.bounds else set()

    def all(self, cursor: DBAPICursor, parts: Parts) -> list[LaneCount]:
        """Each lane that has jobs in these parts, once for all of them."""
        found: dict[Lane, LaneCount] = {}
        ours = {part.part for part in parts.all}
        for number, function, tenant, part, count, size in self._read(cursor, 0, LAST):
            if count and part in ours:
                lane = Lane(function, tenant, number % KINDS)
                _, others, bytes_ = found.get(lane, NOTHING)
                found[lane] = LaneCount(lane, others + count, bytes_ + size)
        return list(found.values())

    def before(self, cursor: DBAPICursor, tally: Tally, numbers: Collection[int]) -> tuple[int, int]:
        """
        Jobs are about to be changed, or to be deleted.

        @param numbers: theirs, each once; of some there may be no jobs.
        @return: how many of them have no workloads in their own rows; and how many have keys, where that
            matters, otherwise 0.
        """
        bare = keyed = 0
        for lane, count, size, without, *keys in self._sums(cursor, numbers):
            tally.add(lane, -count, -size)
            bare += without
            keyed += sum(keys)
        return bare, keyed

    def after(self, cursor: DBAPICursor, tally: Tally, numbers: Collection[int]) -> None:
        """These were changed, and not deleted."""
        for lane, count, size, *_ in self._sums(cursor, numbers):
            tally.add(lane, count, size)

    def apply(self, cursor: DBAPICursor, tally: Tally) -> None:
        """
        Change the table, when all that is counted is done in the transaction.

        @param tally: is empty afterwards.
        """
        changes = tally.changes()
        tally.counts.clear()
        if not changes:
            return
        if self._made >= self._sweep_at:
            self._delete_empty(cursor)
        if unknown := [lane for _, _, lane in changes if lane not in self._known]:
            self._make(cursor, tally, unknown)
        cursor.executemany(self._count, changes)

    def _make(self, cursor: DBAPICursor, tally: Tally, unknown: list[int]) -> None:
        """Make the rows of lanes that have none."""
        there = self._statements.known(cursor, lanes, unknown)
        rows = []
        for lane in unknown:
            if lane not in there:
                base = lane - lane % KINDS
                function, tenant, part = tally.names.get(base) or self._names(cursor, base)
                owner = tenant.encode("utf-8", "surrogatepass")
                rows.append((lane, function, owner, lane % KINDS, 0, 0, part))
        weights = [ROW_BYTES + TENANT_BYTES + len(row[1]) for row in rows]
        self._statements.insert(cursor, lanes, rows, weights)
        self._made += len(rows)
        if len(self._known) + len(unknown) > MOST_KNOWN:
            self._known.clear()
        self._known.update(unknown)

    def _names(self, cursor: DBAPICursor, base: int) -> tuple[bytes, str, int]:
        """
        The function, the tenant and the part of lanes, to one of which jobs have come from one of another
        kind.
        """
        _, function, tenant, part, _, _ = self._read(cursor, base, base + KINDS - 1)[0]
        return function, tenant, part

    def _delete_empty(self, cursor: DBAPICursor) -> None:
        """Delete the rows of lanes without jobs; that is done again when as many have come as there are."""
        if self._ours:
            # Others know their rows to be there; and a condition without an index would lock all.
            rows = self._read(cursor, 0, LAST)
            empty = [row[0] for row in rows if not row[4] and row[3] in self._ours]
            self._statements.delete(cursor, lanes, empty)
        else:
            cursor.execute(self._sweep, (0,))
        self._known.clear()
        cursor.execute(self._rows)
        self._sweep_at = max(MOST_EMPTY, cursor.fetchall()[0][0])
        self._made = 0

    def _read(
        self, cursor: DBAPICursor, first: int, last: int
    ) -> list[tuple[int, bytes, str, int, int, int]]:
        cursor.execute(self._lanes, (first, last))
        return [
            (lane, bytes(function), bytes(tenant).decode("utf-8", "surrogatepass"), part, count, size)
            for lane, function, tenant, part, count, size in cursor.fetchall()
        ]

    def _sums(self, cursor: DBAPICursor, numbers: Collection[int]) -> list[tuple[int, ...]]:
        """
        Lanes of jobs; of each how many there are, their bytes, how many have no workloads in their own rows,
        and how many have keys if that matters.
        """
        found: list[tuple[int, ...]] = []
        for part in self._statements.key_lists(list(numbers)):
            cursor.execute(self._sums_text(len(part)), part)
            # Databases have types of their own for sums.
            found += [tuple(map(int, row)) for row in cursor.fetchall()]
        return found

    def _make_sums(self, keys: int) -> str:
        counts = [func.count(), func.sum(jobs.c.size), func.count() - func.count(jobs.c.workload)]
        if self._keyed:
            counts.append(func.count(jobs.c.ukey))
        return self._statements.text(
            select(jobs.c.lane, *counts)
            .where(self._statements.is_one_of(jobs.c.number, keys))
            .group_by(jobs.c.lane)
        )
