"""
A job, its states, and the table of its legal moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from txgear.broker.history import Life
    from txgear.broker.queues import Function
    from txgear.broker.records import Storing
    from txgear.broker.sleepers import Peer
    from txgear.broker.uniques import Key
    from txgear.protocol.packets import Data

NEW: Final = 0
"""Made, and in no queue yet."""
STORING: Final = 1
"""On its way to the disk: not to be handed out before it is there."""
WAITING: Final = 2
"""Not to be handed out before its time, or (while the server drains) not at all."""
QUEUED: Final = 3
"""In a lane of its function's queue, for the first worker that grabs it."""
PAGED: Final = 4
"""Queued behind what fits into memory: it comes into the lane when its workload has been read."""
RUNNING: Final = 5
"""At a worker."""
DONE: Final = 6
"""The worker said that it is complete."""
FAILED: Final = 7
"""It ended without a result, and nothing is kept of it but that."""
DEAD: Final = 8
"""It ended without a result and has no attempt left; an operator may queue it again."""
CANCELLED: Final = 9
"""An operator did not want it any more, or nobody was left who did."""
EXPIRED: Final = 10
"""No worker had it in time."""

STATE_NAMES: Final = (
    "new",
    "storing",
    "waiting",
    "queued",
    "paged",
    "running",
    "done",
    "failed",
    "dead",
    "cancelled",
    "expired",
)

MOVES: Final[dict[int, tuple[int, ...]]] = {
    NEW: (STORING, WAITING, QUEUED, PAGED),
    STORING: (WAITING, QUEUED, PAGED, FAILED, CANCELLED),
    WAITING: (WAITING, QUEUED, PAGED, CANCELLED, EXPIRED),
    QUEUED: (WAITING, RUNNING, CANCELLED, EXPIRED),
    PAGED: (WAITING, QUEUED, FAILED, CANCELLED, EXPIRED),
    RUNNING: (WAITING, QUEUED, PAGED, DONE, FAILED, DEAD, CANCELLED),
    DONE: (),
    FAILED: (),
    DEAD: (WAITING, QUEUED, PAGED),
    CANCELLED: (),
    EXPIRED: (),
}
"""For each state the states that may follow it. What is not here is a defect in the broker."""


def _entering(target: int) -> dict[int, int]:
    return {state: target for state, following in MOVES.items() if target in following}


# One table for each state that is entered: C{job.state = TO_QUEUED[job.state]}
# is the move and its check in one look-up, a KeyError an illegal move.
TO_STORING: Final = _entering(STORING)
TO_WAITING: Final = _entering(WAITING)
TO_QUEUED: Final = _entering(QUEUED)
TO_PAGED: Final = _entering(PAGED)
TO_RUNNING: Final = _entering(RUNNING)
ENDINGS: Final = {state: _entering(state) for state in (DONE, FAILED, DEAD, CANCELLED, EXPIRED)}
"""The tables of the states that end a job, by state."""


class Appointment:
    """
    That a job is not to begin before a time by the wall clock.

    @ivar job: the job.
    @ivar due: the time, in seconds since the epoch; 0.0 where it waits for that no more.
    """

    __slots__ = ("due", "job")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.due = 0.0


class Crowd:
    """
    The clients of a job that has several, newest first; the same peer may be there several times.

    Any number of them may come and go: each costs the same.
    """

    __slots__ = ("_counter", "_joins", "_places")

    def __init__(self, first: Peer) -> None:
        self._counter = 0
        self._joins: dict[int, Peer] = {}  # in the order of their coming
        self._places: dict[Peer, list[int]] = {}
        self.add(first)

    def __len__(self) -> int:
        return len(self._joins)

    def __iter__(self) -> Iterator[Peer]:
        return reversed(self._joins.values())

    def add(self, client: Peer) -> None:
        """One more, or one once more."""
        self._counter += 1
        self._joins[self._counter] = client
        self._places.setdefault(client, []).append(self._counter)

    def remove(self, client: Peer) -> None:
        """This peer is none of them any more, however often it was there, if it was."""
        for place in self._places.pop(client, ()):
            del self._joins[place]


class Job:
    """
    One piece of work. A server may hold a million of them, hence the slots.

    @ivar number: its place in the order in which the server took jobs; no other job ever has it.
    @ivar place: its turn among the jobs of its function and priority: its
        number, or a later one once it was put behind the others.
    @ivar queue: the queue of its function.
    @ivar unique: what its first submitter called it; may be empty.
    @ivar key: what other submits are compared with, or C{None} if none may join.
    @ivar workload: what the worker gets; empty while only the store has it.
    @ivar size: bytes of the workload, wherever it is; of its result, where a job has ended with one.
    @ivar storing: the job on its way to the store, or C{None}.
    @ivar stored: whether the store has it.
    @ivar created: when it was submitted, by the server's time; 0.0 where that is not known.
    @ivar since: when it began to run, or ended; there for these states only.
    @ivar life: what it has beyond the classic protocol, or C{None}.
    @ivar record: what was its life, of a job that has ended and is kept; there for these only.
    @ivar priority: L{constants.HIGH}, C{NORMAL} or C{LOW}.
    @ivar reducer: the reducer's name for a worker that grabs with GRAB_JOB_ALL, or empty.
    @ivar background: true if it is to be done even when no client waits for it.
    @ivar clients: those who hear of it, newest first; the same peer may be there several times. Most jobs
        have one or none: only of several it is a L{Crowd}.
    @ivar worker: who runs it, or C{None}.
    @ivar retries: how many of its attempts have ended without a result and were followed by another.
    @ivar due: when it is tried again or its delay is over (L{WAITING}), its worker's time is over
        (L{RUNNING}), it expires, or (having ended) it is forgotten, by the server's time; 0.0 for never.
    @ivar appointment: the time by the wall clock for which it waits (L{WAITING}), or C{None}.
    @ivar numerator: the last progress that its worker told.
    @ivar denominator: what C{numerator} is a part of.
    """

    __slots__ = (
        "_handle",
        "_naming",
        "appointment",
        "background",
        "clients",
        "created",
        "denominator",
        "due",
        "key",
        "life",
        "number",
        "numerator",
        "place",
        "priority",
        "queue",
        "record",
        "reducer",
        "retries",
        "since",
        "size",
        "state",
        "stored",
        "storing",
        "unique",
        "worker",
        "workload",
    )

    def __init__(
        self,
        naming: bytes,
        number: int,
        queue: Function,
        unique: bytes,
        key: Key | None,
        workload: Data,
        priority: int,
        background: bool,
        reducer: bytes,
        created: float = 0.0,
    ) -> None:
        """
        @param naming: what its handle looks like, with C{%d} for the number.
        """
        self._naming = naming
        self._handle = b""
        self.number = self.place = number
        self.queue = queue
        self.unique = unique
        self.key = key
        self.workload = workload
        self.size = len(workload)
        self.storing: Storing | None = None
        self.stored = False
        self.priority = priority
        self.background = background
        self.reducer = reducer
        self.created = created
        self.life: Life | None = None
        self.since: float
        self.record: bytes
        self.state = NEW
        self.clients: tuple[()] | tuple[Peer] | Crowd = ()
        self.worker: Peer | None = None
        self.retries = 0
        self.due = 0.0
        self.appointment: Appointment | None = None
        self.numerator = 0
        self.denominator = 0

    @property
    def handle(self) -> bytes:
        """Its name on the wire; made when it is needed, as a long queue has millions of them."""
        return self._handle or self._naming % self.number

    def keep_handle(self, kept: bool) -> bytes:
        """
        Keep the handle ready, or no more: while it runs it is needed often.

        @return: the handle.
        """
        handle = self.handle
        self._handle = handle if kept else b""
        return handle

    def join(self, client: Peer) -> None:
        """One more waits for it."""
        clients = self.clients
        if not clients:
            self.clients = (client,)
        else:
            if isinstance(clients, tuple):
                clients = self.clients = Crowd(clients[0])
            clients.add(client)
        client.attached[self] = None

    def part(self, client: Peer) -> None:
        """A client does not wait for it any more, if it did."""
        clients = self.clients
        if isinstance(clients, Crowd):
            clients.remove(client)
        elif client in clients:
            self.clients = ()

    @property
    def loaded(self) -> bool:
        """Whether its workload is in memory."""
        return not self.size or bool(self.workload)

    @property
    def wanted(self) -> bool:
        """Whether anybody would miss it."""
        return self.background or bool(self.clients)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.state >= DONE

    def __repr__(self) -> str:
        return f"<Job {self.handle!r} of {self.queue.name!r}, {STATE_NAMES[self.state]}>"
