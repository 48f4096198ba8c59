"""
For a server with a store and hardly any memory: what its peers know of the jobs, by what they sent and heard,
and what that allows. Where a job is, in memory or in the store alone, is nothing that can be seen from here.

What is on its way has no moment: a job is made between its submit and the answer. So an order is only held
against the server where it is certain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from txgear.broker.history import History
from txgear.broker.records import JobRecord
from txgear.broker.states import DEAD as ENDED_DEAD
from txgear.broker.states import DONE as ENDED_DONE
from txgear.protocol.constants import WORK_COMPLETE, WORK_FAIL
from txgear.test.support.server import FakePeer

QUEUED: Final = "queued"
DELAYED: Final = "delayed"
RIPE: Final = "ripe"
"""Its time has come, but the server may not have seen that."""
RUNNING: Final = "running"
DEAD: Final = "dead"
DONE: Final = "done"
"""It is done, and its unique stays taken."""
KEPT: Final = "kept"
"""It is over, and something of it is kept for who has its handle."""
GONE: Final = "gone"
LIVE: Final = (QUEUED, DELAYED, RIPE, RUNNING)
HOLDING: Final = (*LIVE, DONE)
"""States in which others join it, or are told of it."""

Key = tuple[bytes, bytes]
Order = tuple[int, int, int]
"""The life of the server, whether it was in this life, and when: a place in the store, or a moment."""


@dataclass(eq=False)
class Submit:
    """
    A submit without an answer.

    @ivar holders: the jobs that had its key at some time since.
    """

    peer: FakePeer
    at: int
    function: bytes
    unique: bytes
    workload: bytes
    priority: int
    background: bool
    due: float
    holders: set[bytes] = field(default_factory=set)

    @property
    def key(self) -> Key | None:
        """What it may join by."""
        return key_of(self.function, self.unique, self.workload)


def key_of(function: bytes, unique: bytes, workload: bytes) -> Key | None:
    """What jobs are joined by; C{None} for those that are not."""
    if unique != b"-":
        return (function, unique) if unique else None
    return (function, b"-" + workload) if workload else None


@dataclass(eq=False)
class Known:
    """
    A job that somebody was told of.

    @ivar early: when it came to its place at the earliest, and C{late} at the latest.
    @ivar moved: whether that was not when it was made.
    @ivar stores: whether it was made for the background, and came to its place once it was in the store;
        C{None} where that is not known.
    @ivar losses: how often a worker was lost with it.
    @ivar tries: attempts that have ended without a result.
    @ivar unsure: how many orders about it have not been answered.
    @ivar shared: whether another one had its key when it came back: it is not known which has it.
    @ivar ended: the type of the packet that told of its end.
    @ivar left: what it is after its end, if it was for the background.
    @ivar assumed: the submit that has made it, while only a worker has been told of it.
    """

    handle: bytes
    number: int
    function: bytes
    unique: bytes
    workload: bytes
    priority: int
    background: bool
    state: str
    early: Order
    late: Order
    due: float = 0.0
    moved: bool = False
    stores: bool | None = None
    worker: FakePeer | None = None
    clients: list[FakePeer] = field(default_factory=list)
    losses: int = 0
    tries: int = 0
    unsure: int = 0
    shared: bool = False
    ended: int = 0
    left: str = GONE
    assumed: Submit | None = None

    @property
    def key(self) -> Key | None:
        """What others join it by."""
        return key_of(self.function, self.unique, self.workload)

    def __str__(self) -> str:
        name = (
            f"{self.handle!r} of {self.function!r}, {self.unique!r}, priority {self.priority}, {self.state}"
        )
        return f"{name}, {self.losses} losses, {self.early} to {self.late}"

    @property
    def certain(self) -> bool:
        """Whether it is known all along that it can be handed out."""
        return self.state == QUEUED and not self.unsure and self.assumed is None

    def precedes(self, other: Known) -> bool:
        """Whether it comes first where both are of one lane."""
        same = self.stores is not None and self.stores is other.stores
        if same and not (self.moved or other.moved) and self.early[0] == other.early[0]:
            return self.number < other.number
        return self.late < other.early


class Ledger:
    """
    All that is known.

    @ivar moment: counts what happens.
    @ivar life: how often the server has started.
    """

    def __init__(self) -> None:
        self.moment = 0
        self.life = 0
        self.jobs: dict[bytes, Known] = {}
        self.open: list[Submit] = []
        self._used: set[int] = set()

    def now(self) -> Order:
        """The place of what happens now, behind all others."""
        self.moment += 1
        return self.life, 1, self.moment

    def of(self, *states: str) -> list[Known]:
        """The jobs in these states."""
        return [job for job in self.jobs.values() if job.state in states]

    def holders(self, key: Key | None) -> list[Known]:
        """Those that others join by this key; there may be one."""
        return [job for job in self.of(*HOLDING) if key is not None and job.key == key]

    def watch(self) -> None:
        """Something has happened: note who has the key of each submit that waits."""
        for submit in self.open:
            submit.holders.update(job.handle for job in self.holders(submit.key))

    # Submits

    def created(self, submit: Submit, handle: bytes) -> Known:
        """A submit was answered."""
        self.open.remove(submit)
        job = self.jobs.get(handle)
        if job is None:
            job = self._make(submit, handle)
        elif job.assumed is submit:
            job.assumed = None
        else:
            assert submit.key is not None, f"{handle!r} was given to a second submit"
            assert job.key == submit.key, f"{handle!r} has another unique"
            assert handle in submit.holders or job.state in HOLDING, (
                f"{handle!r} had ended before it was asked for again"
            )
        if submit.background and job.state != DONE:
            job.background = True
        return job

    def _make(self, submit: Submit, handle: bytes) -> Known:
        number = int(handle.rpartition(b":")[2])
        assert number not in self._used, f"{handle!r} is used twice"
        others = [job for job in self.holders(submit.key) if not (job.unsure or job.shared)]
        assert not others, f"{handle!r} is new, though {others[0]} has its unique"
        self._used.add(number)
        job = self.jobs[handle] = Known(
            handle,
            number,
            submit.function,
            submit.unique,
            submit.workload,
            submit.priority,
            submit.background,
            DELAYED if submit.due else QUEUED,
            (self.life, 1, submit.at),
            self.now(),
            submit.due,
            # Of one with a unique the store may be asked first, and it comes later than its number.
            stores=submit.background if submit.key is None else None,
        )
        return job

    def assume(self, handle: bytes, function: bytes, unique: bytes, workload: bytes) -> Known:
        """A worker has got a job whose answer stands behind others that are not known yet."""
        same = (function, unique, workload)
        for submit in self.open:
            if (submit.function, submit.unique, submit.workload) == same:
                job = self._make(submit, handle)
                job.assumed = submit
                return job
        raise AssertionError(f"a worker got {handle!r}, which nobody has submitted")

    # Workers

    def ready(self, functions: Iterable[bytes]) -> list[Known]:
        """Those of these functions that are certain to be there to be handed out."""
        return [job for job in self.jobs.values() if job.certain and job.function in functions]

    def begin(self, job: Known, worker: FakePeer, functions: Iterable[bytes], patient: bool) -> None:
        """
        A worker has got a job.

        @param functions: those that it can do.
        @param patient: whether nothing has been waited for so long that lower priorities go before it.
        """
        assert job.state in (QUEUED, RIPE) or (job.unsure and job.state in (DEAD, DELAYED)), (
            f"{job.handle!r} was handed out and is {job.state}"
        )
        assert job.function in functions
        for other in self.ready(functions):
            if job.state != QUEUED or job.unsure or job.assumed is not None or other is job:
                continue
            lane = (other.function, other.priority) == (job.function, job.priority)
            assert not (lane and other.precedes(job)), f"{job} came before {other}"
            higher = patient and other.priority < job.priority
            assert not higher, f"{job.handle!r} came before {other.handle!r}, of a higher priority"
        job.state, job.worker = RUNNING, worker

    def end(self, job: Known, kind: int) -> list[FakePeer]:
        """
        It is over.

        @param kind: the type of the packet that tells of it.
        @return: who is to be told.
        """
        told, job.clients = job.clients, []
        if job.assumed is not None and not job.assumed.background:
            told.append(job.assumed.peer)
        job.state, job.worker, job.ended = GONE, None, kind
        return told

    def requeue(self, job: Known, since: Order) -> None:
        """One that is dead, or waits, is put behind the others."""
        if job.state == DEAD:
            job.tries = job.losses = 0
            for other in self.holders(job.key):
                job.shared = other.shared = True
        self.put_behind(job, QUEUED, since)

    def put_behind(self, job: Known, state: str, since: Order | None = None) -> None:
        """
        It waits again, behind all others.

        @param since: when that may have been; by default it is now.
        """
        job.late = self.now()
        job.early, job.moved = since or job.late, True
        job.state, job.worker = state, None

    def ripen(self, wall: float) -> None:
        """The clock has gone on."""
        for job in self.of(DELAYED):
            if job.due <= wall:
                job.early = self.now()
                job.state = RIPE

    def settled(self) -> None:
        """The server has seen all, and has done what follows from it."""
        for job in self.of(RIPE):
            self.put_behind(job, QUEUED, job.early)
        assert not self.open, "every submit is answered"

    # The server starts again

    def start_again(
        self, kept: dict[int, JobRecord], workloads: dict[int, bytes], wall: float, exact: bool
    ) -> None:
        """
        Only what the store has is left.

        @param wall: when the next server starts, in seconds since the epoch.
        @param exact: whether the one before had nothing left to write.
        """
        self.life += 1
        before, self.jobs = self.jobs, {}
        known = {job.assumed for job in before.values()}
        made = [submit for submit in self.open if submit.background and submit not in known]
        self.open = []
        for number, record in sorted(kept.items()):
            handle = handle_of(number)
            job = before.pop(handle, None) or self._find(made, record, workloads[number])
            if record.state:
                holds = record.state == ENDED_DONE and job.key is not None
                job.state = DEAD if record.state == ENDED_DEAD else DONE if holds else KEPT
                job.ended = WORK_COMPLETE if record.state == ENDED_DONE else WORK_FAIL
            else:
                # One whose time came meanwhile may be where it was, or behind those that were there.
                job.state = DELAYED if record.due > wall else RIPE if record.due else QUEUED
                job.tries = (
                    0 if record.history is None else sum(History.from_bytes(record.history).counts.values())
                )
            job.due, job.priority = record.due, record.priority
            job.early = job.late = (self.life, 0, record.place)
            job.moved, job.background = True, True
            job.clients, job.worker, job.unsure, job.assumed = [], None, 0, None
            job.losses = record.retries
            self.jobs[handle] = job
        for job in before.values():
            lost = job.background and job.state != GONE
            assert not lost or job.unsure or job.assumed, f"{job.handle!r} is lost"
        for job in self.of(*HOLDING):
            job.shared = len(self.holders(job.key)) > 1
        assert not (exact and made), "what was written was answered"

    def _find(self, made: list[Submit], record: JobRecord, workload: bytes) -> Known:
        """The submit that has made a job whose handle nobody was told."""
        handle = handle_of(record.number)
        for submit in made:
            said = submit.function, submit.unique, submit.workload, submit.priority
            if said == (record.function, record.unique, workload, record.priority):
                made.remove(submit)
                return self._make(submit, handle)
        raise AssertionError(f"nobody has submitted {handle!r}")


def handle_of(number: int) -> bytes:
    """The handle of a job."""
    return b"H:test:%d" % number
