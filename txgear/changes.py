"""
What a job's moves tell the disk: the records, and who takes them.

Only jobs that are to be done whether or not a client waits are kept, and of
them what a server that starts again must know: that they were submitted, what
became of their place and their count of lost workers, and that they ended.
That a worker has grabbed one is not noted: a restart hands it out again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from txgear.wire import Data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from txgear.jobs import Job


class StoredJob(NamedTuple):
    """
    All that is kept of a job but its workload, in the order of a store's columns.

    @ivar number: what tells it from all others, in its handle too; never used
        twice; 1 to 2**63 - 1.
    @ivar place: its turn among the jobs of its function and priority: its
        number, or a later one if it was put behind the others.
    @ivar prefix: what its handle starts with, without the colon.
    @ivar function: its function, 0 to 8191 bytes.
    @ivar unique: what its first submitter called it, 0 to 64 bytes.
    @ivar digest: 16 bytes that stand for the workload where the unique is
        C{-} and the workload is not empty; otherwise C{None}.
    @ivar reducer: 0 to 64 bytes.
    @ivar priority: L{txgear.constants.HIGH}, C{NORMAL} or C{LOW}.
    @ivar due: seconds since the epoch before which it must not begin, or 0.0.
    @ivar retries: how often a worker was lost with it.
    @ivar size: bytes of its workload.
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


Addition: TypeAlias = "tuple[StoredJob, Data]"
"""A job that is to be kept, with its workload."""


class Move(NamedTuple):
    """
    What has changed of a kept job; the fields mean what they do in L{StoredJob}.
    """

    number: int
    place: int
    due: float
    retries: int


class Batch(NamedTuple):
    """
    Changes that are kept together or not at all.

    @ivar additions: jobs that are new, carried out first.
    @ivar moves: what has changed of jobs that are kept, carried out next; of one that
        is not kept it means nothing.
    @ivar ends: the numbers of jobs that are to be kept no more, carried out
        last; a number that is not kept means nothing, and one may stand here twice.
    """

    additions: Sequence[Addition]
    moves: Sequence[Move]
    ends: Sequence[int]


class Storing:
    """
    A job on its way to the disk; it holds the place of the answers to those who submitted it.

    @ivar job: the job.
    @ivar addition: what is to be kept, as it was when it was submitted.
    @ivar answer: the packet for each of them (its type, then its arguments)
        once the outcome is known, C{None} before.
    """

    __slots__ = ("addition", "answer", "job")

    def __init__(self, job: Job, addition: Addition) -> None:
        self.job = job
        self.addition = addition
        self.answer: tuple[int | Data, ...] | None = None


class Journal(Protocol):
    """
    Whoever carries changes to the disk, in order. Nothing here waits: what
    comes of it is told to the broker later, by C{stored}, C{refused} and C{loaded}.
    """

    @property
    def refusal(self) -> str | None:
        """Why no job can be kept at present, for the client to read; C{None} if all is well."""

    def add(self, storing: Storing) -> None:
        """Keep this job."""

    def move(self, move: Move) -> None:
        """A kept job, or one that is on its way, has changed."""

    def end(self, number: int) -> None:
        """Keep this job no more; it is kept or on its way."""

    def load(self, jobs: list[Job]) -> None:
        """Read the workloads of these jobs, one such list at a time."""


def by_place(records: Iterable[StoredJob]) -> Iterator[StoredJob]:
    """
    Jobs in the order of their places, which is how they are to be queued.

    @param records: jobs in the order of their numbers; only those that were put
        behind others have a place that is not their number, and theirs is later.
    """
    moved: list[tuple[int, StoredJob]] = []
    for record in records:
        if record.place != record.number:
            heappush(moved, (record.place, record))
            continue
        while moved and moved[0][0] < record.number:
            yield heappop(moved)[1]
        yield record
    while moved:
        yield heappop(moved)[1]
