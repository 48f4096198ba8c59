"""
What stored jobs are found by: the numbers of their lanes, and of their keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

from txgear.broker.history import owner_of
from txgear.broker.keys import HASH_BITS, hash_of, hashes_of
from txgear.broker.records import KINDS, READY, WAITING, JobChange, JobRecord, Lane, NewJob
from txgear.protocol.constants import UNIQUE_FROM_WORKLOAD
from txgear.stores.schema import inserted_columns, jobs

SEGMENT_BITS: Final = 11
"""
Jobs whose numbers differ in these last bits only have their keys in the same segment of an index. New keys
come to the last one, so that a commit changes few pages of it, however many jobs there are.
"""
WIDE_BITS: Final = 14
"""
The same where there are many segments already, as a key is looked for in each: a commit changes more pages
then, 81 for 512 jobs instead of 49, which the cache still has room for. With one bit more it is 117, with one
less a key is looked for twice as long. In which segment a key is nobody needs to know.
"""
SEGMENTS: Final = 1 << (63 - HASH_BITS)
"""So many there are; later ones are the first ones again."""

NARROW: Final = SEGMENTS - 1
WIDE: Final = NARROW & -(1 << (WIDE_BITS - SEGMENT_BITS))

MOST_LANES: Final = 20_000
"""Functions, on whosever account, whose numbers are remembered."""

COPIED: Final = len(inserted_columns(jobs)) - 4
"""Fields of a L{JobRecord}, from the first, that an insert takes as they are."""


def segment_of(number: int) -> int:
    """In which segment the key of a job with this number is, where there are many."""
    return number >> SEGMENT_BITS & WIDE


class Tally:
    """
    What a transaction changes.

    @ivar counts: jobs and bytes more, by the numbers of lanes.
    @ivar names: functions, tenants and parts, by the numbers of their lanes without the kind: of all that may
        be new.
    """

    __slots__ = ("counts", "names")

    def __init__(self) -> None:
        self.counts: dict[int, list[int]] = {}
        self.names: dict[int, tuple[bytes, str, int]] = {}

    def add(self, lane: int, jobs: int, size: int) -> None:
        """So many jobs more are in a lane, with so many bytes; either may be negative."""
        try:
            count = self.counts[lane]
        except KeyError:
            self.counts[lane] = [jobs, size]
        else:
            count[0] += jobs
            count[1] += size

    def changes(self) -> list[tuple[int, int, int]]:
        """Jobs more, bytes more, and the lane: of those that change."""
        return [(jobs, size, lane) for lane, (jobs, size) in self.counts.items() if jobs or size]


class Places:
    """
    Gives numbers to lanes, below 2**63: the last bits are the kind, those before stand for the function and
    the tenant. Never 0.
    """

    def __init__(self, salt: bytes, part: int = 1) -> None:
        """
        @param salt: the part's own 16 bytes: whoever does not know them cannot find two functions with the
            same number.
        @param part: the number of the part of the store; see L{txgear.stores.parts}.
        """
        self._salt = salt
        self._part = part
        self._bases: dict[tuple[bytes, str], int] = {}

    def base(self, function: bytes, tenant: str) -> int:
        """The number of a lane without its kind."""
        found = self._bases.get((function, tenant))
        if found is None:
            owner = tenant.encode("utf-8", "surrogatepass")
            name = b"%d:%b%b" % (len(owner), owner, function)
            hashed = int.from_bytes(blake2b(name, digest_size=8, key=self._salt).digest(), "big")
            found = max(hashed >> 6, 1) * KINDS
            if len(self._bases) >= MOST_LANES:
                self._bases.clear()
            self._bases[function, tenant] = found
        return found

    def lane(self, lane: Lane) -> int:
        """The number of a lane."""
        return self.base(lane.function, lane.tenant) + lane.kind

    def new_columns(
        self, new_jobs: Sequence[NewJob], tally: Tally, *, narrow: bool = False
    ) -> list[Sequence[Any]]:
        """
        What is to be written of new jobs, which are counted. It is done column by column, as that takes less
        than half of what it takes job by job.

        @param new_jobs: at least one.
        @param narrow: whether there are few segments.
        @return: of each of L{inserted_columns} but the workload the values of all jobs.
        """
        columns = list(zip(*[job for job, _ in new_jobs], strict=True))
        # What each has as one column.
        jobs: Any = JobRecord._make(columns)
        # Nearly all are of one lane, or of a few.
        named = list(zip(jobs.function, jobs.history, jobs.kind, jobs.priority, map(bool, jobs.due)))  # noqa: B905
        numbered = {each: self._named(*each, tally) for each in set(named)}
        if len(numbered) == 1:
            lanes = [*numbered.values()] * len(named)
            tally.add(lanes[0], len(lanes), sum(jobs.size))
        else:
            lanes = [numbered[each] for each in named]
            for lane, size in zip(lanes, jobs.size, strict=True):
                tally.add(lane, 1, size)
        segments = NARROW if narrow else WIDE
        ukeys: list[int | None]
        if b"" in jobs.unique or UNIQUE_FROM_WORKLOAD in jobs.unique:
            ukeys = [ukey_of(job, segments) for job, _ in new_jobs]
        else:
            ukeys = [
                (number >> SEGMENT_BITS & segments) << HASH_BITS | hashed
                for number, hashed in zip(jobs.number, hashes_of(jobs.unique), strict=True)
            ]
        wakes = [wake or due for wake, due in zip(jobs.wake, jobs.due, strict=True)]
        return [*columns[:COPIED], lanes, ukeys, wakes]

    def _named(
        self, function: bytes, history: bytes | None, kind: int, priority: int, delayed: bool, tally: Tally
    ) -> int:
        """The number of a job's lane, whose names are noted."""
        if kind == READY:
            kind = WAITING if delayed else priority
        tenant = tenant_of(history)
        base = self.base(function, tenant)
        tally.names[base] = function, tenant, self._part
        return base + kind

    def count(self, job: JobRecord, tally: Tally) -> int:
        """Count a job, and return the number of its lane."""
        lane = self._named(job.function, job.history, job.kind, job.priority, bool(job.due), tally)
        tally.add(lane, 1, job.size)
        return lane

    def name_change(self, change: JobChange, tally: Tally) -> None:
        """Say in which lanes a job may be that has changed."""
        base = self.base(change.function, change.tenant)
        tally.names[base] = change.function, change.tenant, self._part


def ukey_of(job: JobRecord | JobChange, segments: int = WIDE) -> int | None:
    """
    What a job is found by for its key; C{None} if it has none.

    @param segments: L{WIDE}, or L{NARROW} where there are few.
    """
    key: bytes | int | None = job.unique
    if not key:
        return None
    if key == UNIQUE_FROM_WORKLOAD:
        if job.digest is None:
            return None
        key = int.from_bytes(job.digest, "big")
    return (job.number >> SEGMENT_BITS & segments) << HASH_BITS | hash_of(key)


def tenant_of(history: bytes | None) -> str:
    """On whose account a job is, by what is kept of it; empty for nobody's, and where that cannot be read."""
    if history is None:
        return ""
    try:
        return owner_of(history) or ""
    except ValueError:
        # It is for those who take the job up to say so.
        return ""
