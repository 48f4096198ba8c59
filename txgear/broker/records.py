"""
Records: what a store keeps of jobs, and the changes that it is given.

A store keeps background jobs only, and of them what a server that starts again has
to know: that they were submitted, their place in the queue, their attempts, and how
they ended. It does not know that a worker has grabbed a job: after a restart such a
job is handed out again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias, cast

from txgear.broker.history import owner_of
from txgear.broker.states import DONE
from txgear.errors import StoreRefused
from txgear.protocol.constants import UNIQUE_FROM_WORKLOAD
from txgear.protocol.packets import Data

LAST_NUMBER: Final = 10**18 - 1
"""The highest number of a job: it fits an integer of a database, and a handle."""


UNREADABLE_SECONDS: Final = 60.0
"""
Seconds for which a job is delayed whose workload cannot be read. They are few enough to notice soon that the
disk or the line is repaired, and enough for reads that may cost the connection to be rare.
"""


READY: Final = -1
"""The kind of a job that can be handed out: its priority. Those are in the order of their places."""
WAITING: Final = 3
"""The kind of a job whose time is still to come."""
KEPT: Final = 4
"""The kind of a job that has ended otherwise than dead, and counts for the bounds of what is kept."""
NAMED: Final = 5
"""The kind of one that is known for its unique only, and counts for none."""
ASIDE: Final = 6
"""The kind of a dead job that is in a review."""
DEAD: Final = 8
"""The kind of a dead job: this, and the index of why in L{txgear.broker.ended.deadgroups.DEAD_REASONS}."""
OWN: Final = 16
"""Is part of the kind of a job that has ended and is kept by settings of its own."""
KINDS: Final = 32
"""All kinds are below this."""


class Lane(NamedTuple):
    """
    Jobs that a store counts together, and finds in the order of their places.

    @ivar function: the name of their function.
    @ivar tenant: on whose account they are; empty for nobody's.
    @ivar kind: their kind, as a L{JobRecord} has it when it is read.
    """

    function: bytes
    tenant: str
    kind: int


class LaneCount(NamedTuple):
    """
    How many jobs a lane has.

    @ivar lane: the lane.
    @ivar jobs: how many.
    @ivar bytes: the sum of their sizes.
    """

    lane: Lane
    jobs: int
    bytes: int


class JobRecord(NamedTuple):
    """
    A job without its workload. The fields are in the order of a store's columns. Times are by the wall
    clock, which is the only one that the next server has in common with this one.

    @ivar number: the number of the job, which is in its handle, too; 1 to L{LAST_NUMBER}, and never
        used twice.
    @ivar place: its turn among the jobs of its function and priority: its number, or a higher one if
        it was put behind others.
    @ivar prefix: the start of its handle, without the colon.
    @ivar function: the name of its function, 0 to 8191 bytes.
    @ivar unique: its unique, 0 to 64 bytes.
    @ivar digest: 16 bytes that stand for the workload, where the unique is C{-} and the workload is not
        empty; otherwise C{None}.
    @ivar reducer: its reducer, 0 to 64 bytes.
    @ivar priority: L{txgear.protocol.constants.HIGH}, C{NORMAL} or C{LOW}.
    @ivar due: seconds since the epoch before which the job must not begin, or 0.0; of a job that has
        ended, when it is to be forgotten.
    @ivar retries: how often a worker was lost with it.
    @ivar size: bytes of its workload; of its result, if it has ended with one.
    @ivar created: seconds since the epoch when it was submitted; 0.0 where that is not known.
    @ivar state: how it has ended (L{txgear.broker.states}), or 0.
    @ivar ended: seconds since the epoch when it ended, or 0.0.
    @ivar history: L{txgear.broker.history.History.to_bytes} or L{owned_by<txgear.broker.history.owned_by>},
        or C{None} where there is nothing to say.
    @ivar kind: what it is counted as, and in which order it is found: L{READY}, L{WAITING}, L{KEPT},
        L{NAMED}, L{ASIDE} or one of the L{DEAD}, the last ones with L{OWN} or without. A store answers with
        the priority for L{READY}.
    @ivar wake: seconds since the epoch when something is to be done to it though nobody asks for it: it may
        begin, it expires, or it is to be forgotten; 0.0 where that is C{due}.
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
    kind: int = READY
    wake: float = 0.0


record_of: Final = cast("Callable[[Iterable[Any]], JobRecord]", partial(tuple.__new__, JobRecord))
"""A L{JobRecord} of all its fields. C{_make} is a call more, which is felt where it is done for each job."""


def handle_of(record: JobRecord) -> bytes:
    """A job's handle."""
    return b"%b:%d" % (record.prefix, record.number)


def shown_handle(handle: bytes) -> str:
    """A handle as the text of a L{StoredValue}."""
    return handle.decode("utf-8", "backslashreplace")


def lane_of(record: JobRecord) -> Lane:
    """In which lane a job is."""
    owner = None if record.history is None else owner_of(record.history)
    kind = record.kind
    if kind == READY:
        kind = WAITING if record.due else record.priority
    return Lane(record.function, owner or "", kind)


def key_of_record(record: JobRecord) -> bytes | int | None:
    """What others are compared with who may join a job; C{None} if none may."""
    if record.unique != UNIQUE_FROM_WORKLOAD:
        return record.unique or None
    return None if record.digest is None else int.from_bytes(record.digest, "big")


def last_of_each(records: Iterable[JobRecord]) -> list[JobRecord]:
    """Those of them that L{ByKey} is about; all have keys."""
    found: list[JobRecord] = []
    last: dict[tuple[bytes | int | None, bytes, bool], JobRecord] = {}
    for record in records:
        if not record.state:
            found.append(record)
            continue
        name = key_of_record(record), record.function, record.state == DONE
        if name not in last or last[name].place < record.place:
            last[name] = record
    return [*found, *last.values()]


NewJob: TypeAlias = "tuple[JobRecord, Data]"
"""A new job, with its workload."""


Result: TypeAlias = "tuple[int, bytes]"
"""A job's number, and its result."""


class JobUpdate(NamedTuple):
    """
    The fields of a kept job that can change, with their new values; they mean the same as in
    L{JobRecord}.

    @ivar size: C{None} if it has not changed.
    """

    number: int
    place: int
    due: float
    retries: int
    size: int | None = None
    state: int = 0
    ended: float = 0.0
    history: bytes | None = None
    kind: int = READY
    wake: float = 0.0


update_of: Final = cast("Callable[[Iterable[Any]], JobUpdate]", partial(tuple.__new__, JobUpdate))
"""A L{JobUpdate} of all its fields; see L{record_of}."""


class JobChange(NamedTuple):
    """
    The fields of a kept job that only an operator changes, all of them as they are from now on; they mean the
    same as in L{JobRecord}.

    @ivar workload: its new workload, whose length is the job's C{size} as well; C{None} if both are as they
        were.
    @ivar unique: its unique, and
    @ivar tenant: on whose account it is: these do not change, and say where it is found.
    """

    number: int
    function: bytes
    priority: int
    digest: bytes | None
    workload: bytes | None = None
    unique: bytes = b""
    tenant: str = ""


# What is asked of a store


class ByNumber(NamedTuple):
    """The jobs with these numbers."""

    numbers: Sequence[int]


class ByKey(NamedTuple):
    """
    The jobs that others may join by these keys, of whatever function; see L{txgear.broker.keys.key_of}. Of
    those that have ended, which may be any number, two of each function: the last one that is done, and
    the last one that is not.
    """

    keys: Sequence[bytes | int]


class WithUnique(NamedTuple):
    """
    The first jobs with a unique, of whatever function and whether or not they have ended, in the order of
    their places.

    @ivar unique: the unique, which is neither empty nor C{-}.
    @ivar after: their places are higher than this.
    @ivar limit: how many at the most; fewer are found only if there are no more.
    """

    unique: bytes
    after: int
    limit: int


class InLane(NamedTuple):
    """
    The first jobs of a lane, in the order of their places.

    @ivar after: their places are higher than this.
    @ivar limit: how many at the most; fewer are found only if there are no more.
    """

    lane: Lane
    after: int
    limit: int


class LastInLane(NamedTuple):
    """The last job of a lane: the one with the highest place."""

    lane: Lane


class Waking(NamedTuple):
    """
    The jobs of which C{wake}, or C{due} where that is 0.0, is not 0.0, in the order of that and of their
    numbers.

    @ivar until: it is not later than this.
    @ivar after: this time and number come before theirs.
    @ivar limit: how many at the most; fewer are found only if there are no more.
    """

    until: float
    after: tuple[float, int]
    limit: int


class InOrder(NamedTuple):
    """
    Jobs of all kinds in the order of their numbers.

    @ivar after: their numbers are higher than this.
    @ivar limit: how many at the most; fewer are found only if there are no more.
    """

    after: int
    limit: int


Question: TypeAlias = "ByNumber | ByKey | WithUnique | InLane | LastInLane | Waking | InOrder"
"""Which jobs somebody wants to know of."""


class StoredValue(NamedTuple):
    """
    A number that a store keeps beside the jobs.

    @ivar kind: L{PAUSED}, L{SCHEDULED}, L{SIGNING_KEY}, L{SIGNED_OUT}, L{LIMITED} or L{SLOTS}.
    @ivar name: what it is about.
    @ivar value: the value, not negative; 0.0 is the same as no value.
    @ivar number: the new job without which the value must not be kept; 0 for none. Where several servers have
        the store, and that job is not one of the batch, the value takes the place only of one that was kept
        with it.
    @ivar text: what is said beside it; a store may keep no more than the first 1,000 bytes of it.
    """

    kind: int
    name: bytes
    value: float
    number: int = 0
    text: str = ""


PAUSED: Final = 1
"""The value is the time since when a function is paused, the text by whom; the name is the function's."""
SCHEDULED: Final = 2
"""
The value is the time for which a schedule has run last, the name is the schedule's. Where several servers
have the store, the text is the handle of its job, and a time takes the place of an earlier one only.
"""
SIGNING_KEY: Final = 3
"""The text is a key of the server, the value when it was made."""
SIGNED_OUT: Final = 4
"""A session of a browser that has ended before its time: the name says which, the value when it began."""
LIMITED: Final = 5
"""The text is what C{maxqueue} has set, a number for each priority; the name is that of the function."""
SLOTS: Final = 6
"""
Which servers may run the jobs of a function of which fewer may run at once than there are servers. The name
is the function's, the text says which (L{txgear.cluster.slots}), the value is another one with each change.
"""

SHARED: Final = (PAUSED, SIGNING_KEY, SIGNED_OUT, LIMITED)
"""What holds for all servers that have the same store."""


HistoryChunk: TypeAlias = "tuple[int, bytes]"
"""A piece of the history of figures: its number, at least 1, and what is in it."""


class StoreReport(NamedTuple):
    """
    What a store says of itself.

    @ivar database: what it is made of, with the version.
    @ivar schema: the revision of its tables.
    @ivar settings: those that decide what outlives a crash, as they are in force, by the database's own names
        for them.
    @ivar doubts: sentences: why what was answered could be lost all the same. Without any it is durable.
    @ivar size: bytes of the database; C{None} if that is not known.
    @ivar log_size: bytes of the log that is to become part of it; C{None} if that is not known.
    @ivar promise: on how many machines it is at present, in words; empty where it is one alone.
    """

    database: str
    schema: str
    settings: tuple[tuple[str, str], ...]
    doubts: tuple[str, ...]
    size: int | None = None
    log_size: int | None = None
    promise: str = ""


class Lease(NamedTuple):
    """
    Which server has a part of a store. It lives as long as this changes.

    @ivar part: the number of the part.
    @ivar owner: random, anew with each taking; empty where it was let go of.
    @ivar term: one more with each taking.
    @ivar beat: one more with each change of the store by its owner.
    @ivar name: what its owner is called, for people.
    @ivar address: where clients and workers reach it; empty where that was not said.
    @ivar is_ours: whether this server has it.
    @ivar server: random, the same in all parts of its owner; empty where nobody has it, or a server that
        knows of no others.
    @ivar status: what that has said of itself, in the part that its new jobs come to; empty in others.
    @ivar first: the first job number that may be in the part.
    @ivar end: the first one above those.
    """

    part: int
    owner: bytes
    term: int
    beat: int
    name: str = ""
    address: str = ""
    is_ours: bool = False
    server: bytes = b""
    status: bytes = b""
    first: int = 0
    end: int = 0


class Taken(NamedTuple):
    """
    What is in a part of a store that was taken over.

    @ivar lanes: how many jobs each lane has.
    @ivar aside: those of the dead that are set aside.
    """

    lanes: list[LaneCount]
    aside: list[JobRecord]


class Swap(NamedTuple):
    """
    A value that takes the place of another one, if that is there still.

    @ivar value: the new one; 0.0 for none.
    @ivar before: what the value of this kind and name is; 0.0 if there is none.
    """

    value: StoredValue
    before: float


class Naming(NamedTuple):
    """
    By which name a kept job is known to all servers that have the store: others that are submitted with it
    are the same job.

    @ivar number: the job's number.
    @ivar function: the name of its function.
    @ivar key: see L{txgear.broker.keys.key_of}; C{None} where its name is free for others.
    """

    number: int
    function: bytes = b""
    key: bytes | int | None = None


class Batch(NamedTuple):
    """
    Changes that a store makes in one transaction: new jobs first, then what operators have changed, then
    updates, then results, and then deletions.

    @ivar new_jobs: jobs that are not kept yet, and have not ended.
    @ivar updates: changes of kept jobs; one of a job that is not kept has no effect.
    @ivar deleted: numbers of jobs that have no results and are to be deleted, with their workloads. A
        number may be repeated; one that is not kept has no effect.
    @ivar results: results of kept jobs that have ended, one for each job. A result replaces the workload,
        or an earlier result.
    @ivar deleted_all: like C{deleted}, for jobs that may have results, which are deleted as well.
    @ivar values: values, each kind and name once.
    @ivar changes: what operators have changed of kept jobs, one for each job; one of a job that is not kept
        has no effect.
    @ivar names: for a store that several servers have: by which names jobs are known from now on, one for
        each job, unless another has that name. A new job has the name that its record says, unless it is
        here.
    """

    new_jobs: Sequence[NewJob]
    updates: Sequence[JobUpdate]
    deleted: Sequence[int]
    results: Sequence[Result] = ()
    deleted_all: Sequence[int] = ()
    values: Sequence[StoredValue] = ()
    changes: Sequence[JobChange] = ()
    names: Sequence[Naming] = ()


class DoneElsewhere(StoreRefused):
    """
    Some new jobs of a batch are not to be kept, as other servers have done what they are for. Nothing of the
    batch is kept; without them it can be.

    @ivar joined: by number those whose names other jobs have, and these jobs: each has not ended, or is done.
    @ivar passed: by number those for a time of a schedule where another job was for that or a later one, and
        the handle of that; empty where it is not known.
    """

    def __init__(self, joined: Mapping[int, JobRecord], passed: Mapping[int, bytes]) -> None:
        super().__init__(joined, passed)
        self.joined = dict(joined)
        self.passed = dict(passed)

    def __str__(self) -> str:
        return "other servers have some of it"
