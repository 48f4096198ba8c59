"""
What a broker does whose store has more jobs than fit into its memory, as far as anybody sees it: which jobs
there are, which may be handed out next, and what is told of them. Where a job is, is no business of it.
And what may happen to both.

L{txgear.test.broker.test_broker_machine_rows} holds the broker against it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from txgear.broker.model import Peer
from txgear.protocol.constants import PRIORITIES

STORING, WAITING, READY, RUNNING = "storing", "waiting", "ready", "running"

FUNCTIONS = (b"f", b"g")
PEERS = tuple(range(4))
PLACES = tuple(range(12))
LONG = b"x" * 150
TENANTS = (None, None, "a", "b")
BOUNDS: tuple[dict[str, int], ...] = ({}, {}, {"a": 1}, {"a": 2, "b": 1})

ROWS_EVENTS: dict[str, tuple[int, dict[str, Iterable[Any]]]] = {
    "come": (1, {"tenant": TENANTS}),
    "go": (1, {"index": PEERS}),
    "can_do": (3, {"index": PEERS, "name": FUNCTIONS}),
    "cant_do": (1, {"index": PEERS, "name": FUNCTIONS}),
    "submit": (
        6,
        {
            "index": PEERS,
            "name": FUNCTIONS,
            "workload": (b"", b"one", LONG),
            "priority": PRIORITIES,
            "background": (True, True, False),
            "delay": (0.0, 0.0, 0.0, 0.5, 5.0, 200.0),
        },
    ),
    "submit_named": (
        10,
        {
            "index": PEERS,
            "name": FUNCTIONS,
            "unique": (b"u", b"v", b"w"),
            "priority": PRIORITIES,
            "background": (True, True, False),
        },
    ),
    "flood": (
        4,
        {
            "index": PEERS,
            "name": FUNCTIONS,
            "workload": (b"", b"one", LONG),
            "priority": PRIORITIES,
            "count": (3, 8),
            "written": (True, True, False),
            "delay": (0.0, 0.0, 0.0, 0.0, 4.0),
        },
    ),
    "grab": (10, {"index": PEERS}),
    "sleep": (4, {"index": PEERS}),
    "answer": (5, {"index": PEERS, "what": ("work_complete", "work_complete", "work_fail")}),
    "lose": (3, {"index": PEERS, "name": FUNCTIONS}),
    "cancel": (2, {"which": PLACES}),
    "reprioritise": (3, {"which": PLACES, "priority": PRIORITIES}),
    "move": (3, {"which": PLACES, "name": FUNCTIONS}),
    "correct": (2, {"which": PLACES, "workload": (b"", b"two", LONG)}),
    "pause": (1, {"name": FUNCTIONS}),
    "resume": (2, {"name": FUNCTIONS}),
    "set_quotas": (1, {"bounds": BOUNDS}),
    "set_turns": (1, {"turns": (True, False)}),
    "write": (5, {"ends": (True, False), "elsewhere": (False, True)}),
    "find": (8, {"most": (1, 2, 100), "ends": (True, True, False), "lost": (False,) * 7 + (True,)}),
    "load": (4, {"ends": (True, False)}),
    "end": (4, {}),
    "settle": (2, {}),
    "restart": (1, {}),
    "take_over": (
        2,
        {
            "name": FUNCTIONS,
            "priority": PRIORITIES,
            "count": (1, 3, 12),
            "lower": (True, False),
            "delay": (0.0, 0.0, 4.0),
        },
    ),
    "lapse": (1, {}),
    "trust": (3, {"seconds": (1.0, 1000.0)}),
    "pass_time": (3, {"seconds": (0.5, 3.0, 200.0)}),
}
"""What may happen, how often that is tried, and with what."""


@dataclass(eq=False)
class RowJob:
    """
    A job that has not ended.

    @ivar place: its turn by the store, and
    @ivar order: by when it came into its lane; where both say so, one is before another.
    @ivar came: the same, or an earlier one if the store was asked meanwhile: by when it would have come.
    @ivar returned: whether it is before all that have never been handed out.
    @ivar stored: whether the store has it.
    """

    number: int
    handle: bytes
    function: bytes
    priority: int
    workload: bytes
    background: bool
    tenant: str | None
    unique: bytes = b""
    clients: list[Peer] = field(default_factory=list)
    state: str = READY
    place: int = 0
    order: int = 0
    came: int = 0
    returned: bool = False
    stored: bool = False
    retries: int = 0
    due: float = 0.0
    worker: Peer | None = None

    def is_before(self, other: RowJob) -> bool:
        """Whether the other one must not be handed out before this one; both are of one lane."""
        if self.returned != other.returned:
            return self.returned
        if self.returned:
            return self.place < other.place
        return self.order < other.came and self.place < other.place


class RowsModel:
    """
    @ivar jobs: those that have not ended, by number.
    @ivar last_number: the last number or place that was given out.
    @ivar paused: functions of which nothing is handed out.
    @ivar bounds: how many jobs of a tenant may be at workers; only of those that have a bound.
    """

    def __init__(self) -> None:
        self.jobs: dict[int, RowJob] = {}
        self.last_number = 0
        self.paused: set[bytes] = set()
        self.bounds: dict[str, int] = {}
        self._arrivals = 0

    def next_number(self) -> int:
        self.last_number += 1
        return self.last_number

    def arrive(self, job: RowJob) -> None:
        """It can be handed out, and is behind all others."""
        self._arrivals += 1
        job.state, job.returned, job.worker, job.due = READY, False, None, 0.0
        job.order = job.came = self._arrivals

    def arrive_late(self, job: RowJob) -> None:
        """The same of one that the store need not have, but was asked for."""
        came = job.came
        self.arrive(job)
        job.came = came

    def ask(self, job: RowJob) -> None:
        """The store is asked about it."""
        job.came = self._arrivals + 1

    def same(self, job: RowJob) -> list[RowJob]:
        """The others that have its name."""
        if not job.unique:
            return []
        name = job.function, job.unique
        others = [other for other in self.jobs.values() if other is not job]
        return [other for other in others if (other.function, other.unique) == name]

    def put_last(self, job: RowJob) -> None:
        job.place = self.next_number()

    def held(self, tenant: str | None) -> bool:
        """Whether as many of its jobs are at workers as may be."""
        if tenant is None or tenant not in self.bounds:
            return False
        running = sum(job.state == RUNNING and job.tenant == tenant for job in self.jobs.values())
        return running >= self.bounds[tenant]

    def ready(self, function: bytes, priority: int) -> list[RowJob]:
        """What may be handed out of one lane, some time."""
        if function in self.paused:
            return []
        return [
            job
            for job in self.jobs.values()
            if (job.function, job.priority, job.state) == (function, priority, READY)
            and not self.held(job.tenant)
        ]

    def is_next(self, job: RowJob) -> bool:
        """Whether no other of its lane and its tenant is before it."""
        return not any(
            other.tenant == job.tenant and other.is_before(job)
            for other in self.ready(job.function, job.priority)
        )

    def grab(self, job: RowJob, worker: Peer) -> None:
        job.state, job.worker = RUNNING, worker

    def lose(self, job: RowJob) -> bool:
        """
        Its worker is gone.

        @return: whether it is done again.
        """
        if not (job.background or job.clients):
            return False
        job.retries += 1
        if job.retries > 1:
            self.put_last(job)
        self.arrive(job)
        job.returned = job.retries == 1
        return True

    def end(self, job: RowJob) -> None:
        del self.jobs[job.number]
