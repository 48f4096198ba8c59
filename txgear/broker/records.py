"""
What a store keeps of jobs: the records.

Only jobs that are to be done whether or not a client waits are kept, and of
them what a server that starts again must know: that they were submitted, what
became of their place and their attempts, and that they ended, with what is to
be known of that. That a worker has grabbed one is not noted: a restart hands it out again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Final, NamedTuple, TypeAlias

from txgear.protocol.packets import Data

LAST_NUMBER: Final = 10**18 - 1
"""The last number that a job can have: a database keeps it, and a handle has room for it."""


UNREADABLE_SECONDS: Final = 60.0
"""
Seconds for which a job is delayed whose workload cannot be read: that the disk is mended, or the line
faster, is noticed soon, and a read that may cost the connection is rare.
"""


class JobRecord(NamedTuple):
    """
    All that is kept of a job but its workload, in the order of a store's columns. All times are by the
    wall clock: the next server has no other time in common with this one.

    @ivar number: what tells it from all others, in its handle too; never used
        twice; 1 to L{LAST_NUMBER}.
    @ivar place: its turn among the jobs of its function and priority: its
        number, or a later one if it was put behind the others.
    @ivar prefix: what its handle starts with, without the colon.
    @ivar function: its function, 0 to 8191 bytes.
    @ivar unique: what its first submitter called it, 0 to 64 bytes.
    @ivar digest: 16 bytes that stand for the workload where the unique is
        C{-} and the workload is not empty; otherwise C{None}.
    @ivar reducer: 0 to 64 bytes.
    @ivar priority: L{txgear.protocol.constants.HIGH}, C{NORMAL} or C{LOW}.
    @ivar due: seconds since the epoch before which it must not begin, or 0.0; of one that has
        ended, when it is to be forgotten.
    @ivar retries: how often a worker was lost with it.
    @ivar size: bytes of its workload; of its result, where it has ended with one.
    @ivar created: when it was submitted, in seconds since the epoch; 0.0 where that is not known.
    @ivar state: how it has ended (L{txgear.broker.states}), or 0.
    @ivar ended: when it did, in seconds since the epoch, or 0.0.
    @ivar history: L{txgear.broker.history.History.to_bytes}, or C{None} where there is nothing to say.
    """

    number: int
    place: int
    prefix: bytes
    function: bytes
    unique: bytes
    digest: bytes | None
    reducer: bytes
    priority: int
    due: float
    retries: int
    size: int
    created: float = 0.0
    state: int = 0
    ended: float = 0.0
    history: bytes | None = None


NewJob: TypeAlias = "tuple[JobRecord, Data]"
"""A job that is to be kept, with its workload."""


Result: TypeAlias = "tuple[int, bytes]"
"""A job's number, and its result."""


class JobUpdate(NamedTuple):
    """
    What has changed of a kept job; the fields mean what they do in L{JobRecord}.

    @ivar size: C{None} where it is what it was.
    """

    number: int
    place: int
    due: float
    retries: int
    size: int | None = None
    state: int = 0
    ended: float = 0.0
    history: bytes | None = None


class StoredValue(NamedTuple):
    """
    Something to remember that is no job.

    @ivar kind: what it is: L{PAUSED} or L{SCHEDULED}.
    @ivar name: of which function, or which schedule.
    @ivar value: what it is to be from now on, not negative; 0.0 is the same as none.
    @ivar number: the job with which it is kept, together or not at all; 0 for none.
    """

    kind: int
    name: bytes
    value: float
    number: int = 0


PAUSED: Final = 1
"""A function is paused: since when."""
SCHEDULED: Final = 2
"""A schedule has run: for which time."""


class Batch(NamedTuple):
    """
    Changes that are kept together or not at all. They are carried out in the order of the fields but
    for C{results}, which come after the updates and before anything is deleted.

    @ivar new_jobs: jobs that the store does not have yet, and that have not ended.
    @ivar updates: what has changed of jobs that are kept; of one that is not kept it means nothing.
    @ivar deleted: numbers of jobs that are to be kept no more, and that have no results; a number that
        is not kept means nothing, and one may stand here twice.
    @ivar results: numbers of kept jobs that have ended, each once, with the result that is to be kept
        in place of their workload, or of an earlier result.
    @ivar deleted_all: like C{deleted}, of jobs that may have results.
    @ivar values: what else is to be kept, each kind and name once.
    """

    new_jobs: Sequence[NewJob]
    updates: Sequence[JobUpdate]
    deleted: Sequence[int]
    results: Sequence[Result] = ()
    deleted_all: Sequence[int] = ()
    values: Sequence[StoredValue] = ()


def by_place(records: Iterable[JobRecord]) -> Iterator[JobRecord]:
    """
    Jobs in the order of their places, which is how they are to be queued.

    @param records: jobs in the order of their numbers; only those that were put
        behind others have a place that is not their number, and theirs is later.
    """
    moved: list[tuple[int, JobRecord]] = []
    for record in records:
        if record.place != record.number:
            heappush(moved, (record.place, record))
            continue
        while moved and moved[0][0] < record.number:
            yield heappop(moved)[1]
        yield record
    while moved:
        yield heappop(moved)[1]
