"""
What a soak remembers: what was asked for, the jobs that it became, and who
said what of them.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from math import inf
from typing import Final
from zlib import crc32

FILLING: Final = random.Random(1).randbytes(1 << 20)
"""What workloads are cut from: all bytes, NUL included."""
LATE: Final = 3.0
"""Seconds by which a server's timer may be late."""
EARLY: Final = 0.05
"""Seconds by which a server's timer may be early: some round to what their event loop last saw."""
COMPLETE: Final = "complete"
FAIL: Final = "fail"
EXCEPTION: Final = "exception"
CANCEL: Final = "cancel"

PENDING: Final = "pending"
ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"
UNKNOWN: Final = "unknown"


@dataclass(eq=False)
class Work:
    """
    What somebody wants done; its workload begins with its number.

    @ivar filling: where the rest of the workload is cut from L{FILLING}, from and to.
    @ivar due: the wall clock's time before which it must not begin; 0.0 for at once.
    @ivar shared: whether several submits ask for it, by the unique C{-}.
    @ivar at: when it was last submitted.
    @ivar handle: the job that it became, where only one can be.
    """

    number: int
    function: bytes
    unique: bytes
    reducer: bytes
    filling: tuple[int, int]
    due: float = 0.0
    shared: bool = False
    at: float = 0.0
    handle: bytes = b""

    @property
    def workload(self) -> bytes:
        """What the worker is to get."""
        return b"%d %s" % (self.number, FILLING[slice(*self.filling)])

    @property
    def key(self) -> tuple[bytes, bytes] | None:
        """What makes two submits the same job."""
        if self.unique == b"-":
            return self.function, b"-%d" % self.number
        return (self.function, self.unique) if self.unique else None


@dataclass(eq=False)
class Submit:
    """One request of a client for a work; C{at} is when it was sent, at the earliest."""

    work: Work
    background: bool
    at: float


@dataclass(eq=False)
class Attach:
    """
    One client connection that waits for a job, maybe several times over.

    @ivar at: when the server said so.
    @ivar count: how many terminal packets it is to get.
    @ivar ended: how many it got.
    @ivar heard: for each assignment the number of its last news.
    """

    job: Job
    at: float
    count: int = 0
    ended: int = 0
    heard: dict[int, int] = field(default_factory=dict)


@dataclass(eq=False)
class Assignment:
    """
    A job at a worker.

    @ivar asked: when the worker asked for it; the server gave it later than that.
    @ivar got: when the worker got it; the server gave it earlier than that.
    @ivar timeout: seconds that the worker gave itself, or 0.0.
    @ivar lost: whether the worker has gone or said that it cannot do it.
    @ivar news: how many packets of news the worker has sent.
    @ivar first_news: when it sent the first.
    """

    number: int
    job: Job
    worker: str
    asked: float
    timeout: float
    got: float = field(default_factory=time.monotonic)
    lost: bool = False
    news: int = 0
    first_news: float = inf

    def overran(self, at: float) -> bool:
        """Whether the server must have taken the job back by then."""
        return self.timeout > 0 and at - self.got > self.timeout + LATE

    def may_be_lost(self, now: float) -> bool:
        """Whether the server may have taken the job back."""
        return self.lost or (self.timeout > 0 and now - self.asked >= self.timeout - EARLY)


@dataclass(eq=False)
class End:
    """
    An attempt to end a job.

    @ivar assignment: whose, or C{None} if it is the operator's.
    @ivar hopeless: whether it must be refused, as its worker does not have the job any more.
    @ivar told: whether a client heard of it.
    """

    job: Job
    kind: str
    assignment: Assignment | None
    hopeless: bool = False
    at: float = field(default_factory=time.monotonic)
    state: str = PENDING
    told: bool = False

    @property
    def payload(self) -> bytes:
        """What its packet carries: nobody else's does."""
        assignment, work = self.assignment, self.job.work
        if assignment is None or work is None or self.kind == FAIL:
            return b""
        if self.kind == EXCEPTION:
            return b"%d went wrong" % assignment.number
        workload = work.workload
        return b"%d %x %d %s" % (assignment.number, crc32(workload), self.hopeless, workload[::-1])


class Job:
    """
    One job of the server, by its handle.

    @ivar work: what it is made of, known once a worker got it.
    @ivar submits: how many of them were answered with its handle.
    @ivar background: whether one of these was a background one.
    @ivar waiting: terminal packets that clients which stay still want.
    @ivar since: from when on it waits for the next thing to happen.
    @ivar open: the assignments whose worker has not spoken its last word.
    """

    __slots__ = (
        "accepted",
        "accepted_at",
        "assigned",
        "background",
        "closed",
        "created",
        "ends",
        "function",
        "handle",
        "heard",
        "history",
        "key",
        "open",
        "overdue",
        "since",
        "submits",
        "waiting",
        "work",
    )

    def __init__(self, handle: bytes, function: bytes, now: float) -> None:
        self.handle = handle
        self.function = function
        self.key: tuple[bytes, bytes] | None = None
        self.work: Work | None = None
        self.submits = 0
        self.background = False
        self.waiting = 0
        self.created = inf
        self.since = now
        self.assigned: list[Assignment] = []
        self.open: list[Assignment] = []
        self.ends: list[End] = []
        self.accepted: End | None = None
        self.accepted_at = inf
        self.heard: set[str] = set()
        self.closed = False
        self.overdue = False
        self.history: list[tuple[float, str]] = []

    def note(self, text: str) -> None:
        """Add a line to its history."""
        self.history.append((time.monotonic(), text))

    @property
    def wanted(self) -> bool:
        """Whether the server must not drop it."""
        return self.background or self.waiting > 0

    @property
    def alive(self) -> bool:
        """Whether it cannot have ended yet."""
        return self.wanted and all(end.state == REFUSED for end in self.ends)

    @property
    def unfinished(self) -> bool:
        """Whether somebody still has to hear or do something about it."""
        if self.waiting or any(end.state == PENDING for end in self.ends):
            return True
        return self.background and all(end.state == REFUSED for end in self.ends)
