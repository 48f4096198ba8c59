"""
What a job's moves tell the disk: the records, and who takes them.

Only jobs that are to be done whether or not a client waits are kept, and of
them what a server that starts again must know: that they were submitted, what
became of their place and their attempts, and that they ended, with what is to
be known of that. That a worker has grabbed one is not noted: a restart hands it out again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from txgear.protocol.packets import Data

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from txgear.broker.jobs import Job


LAST_NUMBER: Final = 10**18 - 1
"""The last number that a job can have: a database keeps it, and a handle has room for it."""


UNREADABLE_SECONDS: Final = 60.0
"""
Seconds for which a job is set aside whose workload cannot be read: that the disk is mended, or the line
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
    @ivar state: how it has ended (L{txgear.broker.jobs}), or 0.
    @ivar ended: when it did, in seconds since the epoch, or 0.0.
    @ivar history: L{txgear.broker.history.Life.to_bytes}, or C{None} where there is nothing to say.
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
"""A job's number, and what it brought."""


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


class Storing:
    """
    A job on its way to the disk; it holds the place of the answers to those who submitted it.

    @ivar job: the job.
    @ivar addition: what is to be kept, as it was when it was submitted.
    @ivar begins: when the delay is over that it was submitted with, by the server's time; 0.0 for none.
    @ivar answer: the packet for each of them (its type, then its arguments)
        once the outcome is known, C{None} before.
    """

    __slots__ = ("addition", "answer", "begins", "job")

    def __init__(self, job: Job, addition: NewJob, begins: float = 0.0) -> None:
        self.job = job
        self.addition = addition
        self.begins = begins
        self.answer: tuple[int | Data, ...] | None = None

    @property
    def size(self) -> int:
        """Bytes of the workload that waits with the answer."""
        return self.addition[0].size


class Reading:
    """
    Something of a job that is to be read from the store.

    @ivar number: the job's.
    @ivar result: whether its result is wanted; otherwise its workload.
    @ivar done: called once with the bytes; with C{None} if they are not there, or the store does not answer.
    """

    __slots__ = ("done", "number", "result")

    def __init__(self, number: int, result: bool, done: Callable[[bytes | None], None]) -> None:
        self.number = number
        self.result = result
        self.done = done


class Journal(Protocol):
    """
    Carries changes to the store, in order. No call waits: what has become of it, the broker is told
    later, as a L{JournalListener}.
    """

    @property
    def unavailable(self) -> str | None:
        """Why no job can be kept at present, for the client to read; C{None} if all is well."""

    def retry_soon(self) -> None:
        """A job was to be kept, and was refused: the store had better be tried again soon."""

    @property
    def crowded(self) -> bool:
        """Whether so much is on its way that those who add to it had better not be read for now."""

    def has_room(self, size: int) -> bool:
        """
        Whether a result of this many bytes may be kept: while the store does not answer, they have
        a bound. If not, it is counted as one that is not kept.
        """

    @property
    def backlogged(self) -> bool:
        """Whether what is done to a great many jobs had better go on later: the changes only gather."""

    def add(self, storing: Storing) -> None:
        """Keep this job."""

    def update(self, update: JobUpdate) -> None:
        """A kept job, or one that is on its way, has changed."""

    def delete(self, number: int) -> None:
        """Keep this job no more, which has no result; it is kept or on its way."""

    def delete_all(self, number: int) -> None:
        """Keep this job no more, nor its result; it is kept or on its way."""

    def put_result(self, number: int, result: bytes) -> None:
        """Keep this in place of the workload of a job that has ended; its update has been told."""

    def put_value(self, value: StoredValue) -> None:
        """Keep something that is no job."""

    def read(self, reading: Reading) -> None:
        """Read the result or the workload of one kept job."""

    def load(self, jobs: list[Job]) -> None:
        """Read the workloads of these jobs; one such list at a time."""


class JournalListener(Protocol):
    """
    What a L{Journal} tells the broker, and asks it. Each call is made outside of the broker's turns.
    """

    @property
    def numbers_left(self) -> int:
        """How many jobs can be taken before L{reserve} is called again."""

    @property
    def next_number(self) -> int:
        """The first number that no job has had."""

    @property
    def unreadable(self) -> Collection[Job]:
        """The jobs that are set aside as their workloads cannot be read."""

    def reserve(self, first: int, count: int) -> None:
        """So many job numbers, from the first on, are this server's."""

    def stored(self, storing: Storing, now: float) -> None:
        """A job is in the store."""

    def refused(self, storing: Storing, reason: str, now: float) -> None:
        """
        A job could not be stored.

        @param reason: why, for those who submitted it.
        """

    def result_stored(self, numbers: Iterable[int]) -> None:
        """The results of these jobs are in the store."""

    def result_refused(self, number: int) -> None:
        """The store does not keep the result of this job."""

    def loaded(
        self,
        workloads: Iterable[tuple[Job, bytes | None]],
        now: float,
        unreadable: Iterable[Job] = (),
        more: bool = False,
    ) -> None:
        """
        Some of the jobs that were to be loaded have been read, in their order.

        @param workloads: the jobs with theirs, C{None} for one that the store does not have.
        @param unreadable: jobs whose workloads the store has, and cannot read.
        @param more: whether others are still to come.
        """


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
