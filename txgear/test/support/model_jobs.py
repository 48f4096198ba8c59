"""
What the models know of jobs, and of what is set for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import inf
from typing import Any, Final, NamedTuple

from txgear.broker.model import Job, Peer
from txgear.broker.states import DEAD, DELAYED

Key = tuple[bytes, bytes, bytes]
"""What other submits are compared with: function, unique, and the workload where that is it."""


@dataclass(eq=False)
class ModelJob:
    """What the model knows of a job that has not ended."""

    job: Job
    function: bytes
    unique: bytes
    workload: bytes
    priority: int
    key: Key | None
    background: bool
    clients: list[Peer] = field(default_factory=list)
    state: int = DELAYED
    worker: Peer | None = None
    retries: int = 0
    due: tuple[float, int] | None = None
    at: tuple[float, int] | None = None
    begins: float = 0.0
    place: int = 0
    storing: bool = False
    stored: bool = False
    loaded: bool = True
    unreadable: bool = False
    kept_due: float = 0.0
    created: float = 0.0
    kept_created: float = 0.0
    returned: bool = False
    tenant: str | None = None
    left: bool = False

    def __post_init__(self) -> None:
        self.first_key = self.key

    @property
    def size(self) -> int:
        return len(self.workload)

    @property
    def digest(self) -> bytes | None:
        if self.unique != b"-" or self.first_key is None:
            return None
        return blake2b(self.first_key[2], digest_size=16).digest()

    @property
    def takes_memory(self) -> bool:
        return self.stored and self.loaded


def renamed(key: Key | None, function: bytes) -> Key | None:
    """The same in another function."""
    return None if key is None else (function, key[1], key[2])


Settings = Mapping[str, Any]
PolicyRules = Sequence[tuple[str, Settings]]
Attempt = tuple[float, float, str, str, str]

DEFAULTS: Final[Settings] = {
    "retries": None,
    "backoff": {"kind": "exponential", "first": 10.0, "most": 3600.0},
    "dead": {"keep": 30 * 86400.0, "jobs": 100_000, "bytes": 2**30},
    "results": None,
}
"""What holds where nothing is set; of all others nothing holds."""


class History(NamedTuple):
    """What a store has of a job's life."""

    settings: Settings
    counts: Mapping[str, int]
    attempts: list[Attempt]
    data_size: int
    result_size: int
    complete: bool | None
    review: str | None = None


class End(NamedTuple):
    """What somebody hears who waits for a job's end."""

    who: int
    outcome: int
    data: bytes
    result: bytes
    complete: bool


@dataclass(eq=False)
class PolicyJob(ModelJob):
    """
    The same with its whole life, and what is known of it when that is over.

    @ivar expires: when it ends unless it has begun, 0.0 for never; as the store has it: C{kept_expires}.
    @ivar beyond: whether anything is known of it that no classic job has.
    @ivar sent: what its worker has sent; C{missed} if not all of it was kept.
    @ivar ended: when it did, and C{brought} what is kept of that; C{until} when. C{kept_end}: both, as
        the store has them.
    @ivar counted: whether it counts for the bounds.
    @ivar review: in which review it is, or C{None}.
    @ivar shelved: grows with each that comes to count, or is put back.
    """

    settings: Settings = field(default_factory=dict)
    expires: float = 0.0
    kept_expires: float = 0.0
    beyond: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    attempts: list[Attempt] = field(default_factory=list)
    began: float = 0.0
    overdue: float = inf
    lease: float = 0.0
    beat: float = 0.0
    sent: list[bytes] = field(default_factory=list)
    missed: bool = False
    watchers: list[int] = field(default_factory=list)
    ended: float = 0.0
    until: float = 0.0
    kept_end: tuple[float, float] = (0.0, 0.0)
    brought: bytes = b""
    data_size: int = 0
    complete: bool | None = True
    counted: bool = True
    review: str | None = None
    shelved: int = 0

    @property
    def name(self) -> tuple[bytes, bytes] | None:
        """What it is found by once it has ended."""
        return (self.function, self.unique) if self.key is not None and self.unique != b"-" else None

    @property
    def kept_size(self) -> int:
        """Of what is kept now that it has ended."""
        return self.size if self.state == DEAD else len(self.brought)

    def life(self) -> History:
        sizes = self.data_size, len(self.brought) - self.data_size
        return History(self.settings, dict(self.counts), self.attempts, *sizes, self.complete, self.review)


@dataclass
class BulkTask:
    """What is done to several jobs when time passes."""

    function: bytes
    what: str
    jobs: list[PolicyJob]
    holds: bool = False
    spared: list[ModelJob] = field(default_factory=list)
    last: int = 0
