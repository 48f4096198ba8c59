"""
What a job has beyond the classic protocol: settings of its own, the history of
its attempts, and what is kept when it has ended. Most jobs have none of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from txgear.errors import InvalidArgument, PolicyError
from txgear.policies import CLASSIC, from_stored, to_stored
from txgear.protocol.packets import Data
from txgear.protocol.textlines import text
from txgear.protocol.traces import Trace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from txgear.broker.tenants import Tenant
    from txgear.policies import Policies, Policy

MOST_ATTEMPTS: Final = 50
"""Attempts that are remembered in full, the newest; of older ones only how many there were."""
MOST_TEXT: Final = 2000
"""Characters that are kept of the message of the last attempt."""
MOST_EARLIER: Final = 200
"""Characters that are kept of the messages of earlier attempts: all are written anew with each one."""
MOST_COPIES: Final = 5
"""Copies of a job that it knows of, the newest: what is kept of it is written anew with each one."""


class Attempt(NamedTuple):
    """
    One attempt that ended without a result.

    @ivar began: when the worker got the job, by the wall clock, in seconds since the epoch.
    @ivar ended: when it ended.
    @ivar reason: how: one of L{txgear.policies.REASONS}.
    @ivar worker: who had it: its client id, or where it came from.
    @ivar text: the message that it sent.
    """

    began: float
    ended: float
    reason: str
    worker: str
    text: str


class Aside(NamedTuple):
    """
    That a dead job is set aside.

    @ivar review: the name of what it is in.
    @ivar since: when that was begun, by the wall clock, in seconds since the epoch.
    @ivar by: who did that, for people to read; empty where it is not known.
    """

    review: str
    since: float
    by: str


# Made once: of each job that is kept there is a record. It is read as what it is: json.loads looks for its
# encoding each time.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_decode = json.JSONDecoder().decode

Watcher = Callable[[int, bytes, bytes, bool], None]
"""
Called once when a job has ended: with how (its state), what its worker had sent before, its
result or the message of its failure, and whether that is all of it.
"""


Follower = Callable[[int, "tuple[Data, ...]"], None]
"""
Called each time a job's worker says something of it that its clients hear, with the type of that packet and
its arguments; with JOB_ASSIGN and none when an attempt begins, and with RESTARTED and none when one has ended
and another is to come.
"""


@lru_cache(1024)
def owned_by(tenant: str) -> bytes:
    """What a store keeps of a job of which there is nothing to say but on whose account it is."""
    return _encode({"tenant": tenant}).encode("utf-8", "surrogatepass")


@lru_cache(1024)
def owner_of(kept: bytes) -> str | None:
    """
    @param kept: what a store has of a job.
    @return: the name of the tenant on whose account it is.
    @raise ValueError: it is not what L{History.to_bytes} or L{owned_by} made.
    """
    if b'"tenant"' not in kept:
        return None
    record = json.loads(kept)
    owner = record.get("tenant") if isinstance(record, dict) else 0
    if owner is None or isinstance(owner, str):
        return owner
    raise ValueError("not the history of a job")


@lru_cache(4096)
def ended_as(tenant: str | None, size: int) -> bytes:
    """
    What a store keeps of a job that has ended, and of which there is nothing to say but that its result is
    kept: the same as L{History.to_bytes}, without the history. Many jobs share it.

    @param tenant: the name of the one on whose account the job is; C{None} for nobody's.
    @param size: bytes of its result.
    """
    if not size:
        return b"{}" if tenant is None else owned_by(tenant)
    start = b"{" if tenant is None else owned_by(tenant)[:-1] + b","
    return b'%b"result":[0,%d,true]}' % (start, size)


def check_settings(settings: Mapping[str, Any]) -> None:
    """
    @raise InvalidArgument: these are no settings that a job can have.
    """
    try:
        CLASSIC.with_settings(settings, for_job=True)
    except PolicyError as error:
        raise InvalidArgument(str(error)) from error


class History:
    """
    @ivar settings: what its submitter set for it, by name; empty for nothing.
    @ivar trace: where its submitter says that the work on it belongs; C{None} for nowhere.
    @ivar attempts: those that ended without a result, the newest last.
    @ivar counts: how many there were, by reason.
    @ivar expires: when it ends unless a worker has had it, by the server's time; 0.0 for never.
    @ivar counted: whether it is among those that L{txgear.broker.table.JobTable} has counted.
    @ivar overdue: when the attempt that is under way has taken too long; 0.0 for never.
    @ivar lease: seconds that its worker may be silent; 0.0 for no bound.
    @ivar beat: when its worker was last heard of.
    @ivar data: what its worker has sent with WORK_DATA, if results are kept.
    @ivar collected: bytes of it; C{None} once a part of it was not kept.
    @ivar data_size: bytes of C{data}, of a job that has ended.
    @ivar result_size: bytes of its result, or of the message of its failure.
    @ivar complete: whether data and result are kept; false when they were too large, or have made room
        for others; C{None} where none were to be kept.
    @ivar aside: in which review it is, of a dead job; C{None} for none.
    @ivar own: what its settings made of its function's policy.
    @ivar watchers: who wants to know when it has ended.
    @ivar followers: who wants to know all that happens to it, or C{None} for nobody.
    @ivar copy_of: the handle, as it is shown, of the job that this one was made from; empty for none.
    @ivar copies: those of the last L{MOST_COPIES} jobs that were made from this one, the newest last.
    """

    __slots__ = (
        "aside",
        "attempts",
        "beat",
        "collected",
        "complete",
        "copies",
        "copy_of",
        "counted",
        "counts",
        "data",
        "data_size",
        "expires",
        "followers",
        "lease",
        "overdue",
        "own",
        "result_size",
        "settings",
        "trace",
        "watchers",
    )

    def __init__(self, settings: Mapping[str, Any] | None = None, trace: Trace | None = None) -> None:
        self.settings = settings or {}
        self.trace = trace
        self.attempts: list[Attempt] = []
        self.counts: dict[str, int] = {}
        self.expires = 0.0
        self.counted = False
        self.overdue = 0.0
        self.lease = 0.0
        self.beat = 0.0
        self.data: list[Data] = []
        self.collected: int | None = 0
        self.data_size = 0
        self.result_size = 0
        self.complete: bool | None = True
        self.aside: Aside | None = None
        self.own: tuple[Policy, Policies, Policy] | None = None
        self.watchers: dict[object, Watcher] = {}
        self.followers: dict[object, Follower] | None = None
        self.copy_of = ""
        self.copies: tuple[str, ...] = ()

    def policy(self, base: Policy, policies: Policies) -> Policy:
        """
        What holds for its job: that is asked at each packet of it, and found out once.

        @param base: its function's.
        @param policies: what the operator has set.
        """
        if not self.settings:
            return base
        own = self.own
        if own is None or own[0] is not base or own[1] is not policies:
            own = self.own = base, policies, base.with_job_settings(self.settings, policies.ceiling)
        return own[2]

    def add_attempt(self, attempt: Attempt) -> None:
        """One more has ended without a result."""
        if self.attempts:
            last = self.attempts[-1]
            self.attempts[-1] = last._replace(text=_shortened(last.text, MOST_EARLIER))
        self.counts[attempt.reason] = self.counts.get(attempt.reason, 0) + 1
        self.attempts.append(attempt)
        del self.attempts[:-MOST_ATTEMPTS]

    def add_copy(self, handle: str) -> None:
        """One more job was made from this one."""
        self.copies = (*self.copies, handle)[-MOST_COPIES:]

    def collect(self, data: Data, most: int) -> None:
        """
        Keep a part of the result.

        @param most: bytes at which nothing is kept any more; 0 for no bound.
        """
        if self.collected is None:
            return
        self.collected += len(data)
        if most and self.collected > most:
            self.discard_data()
        else:
            self.data.append(data)

    def discard_data(self) -> None:
        """A part of the result is not kept: then the others are not either."""
        self.collected = None
        self.data = []

    def restart(self) -> None:
        """Another attempt begins: the data of the last one is void."""
        self.data = []
        self.collected = 0
        self.overdue = self.lease = 0.0

    def take_data(self) -> bytes | None:
        """What its worker has sent before the result, joined; C{None} if that is not all."""
        data, self.data = self.data, []
        return None if self.collected is None else b"".join(map(bytes, data))

    def notify(self, outcome: int, data: bytes, result: bytes, complete: bool) -> None:
        """Tell those who wait for the end; nobody waits for it, or follows it, any more."""
        watchers, self.watchers, self.followers = self.watchers, {}, None
        for watcher in watchers.values():
            watcher(outcome, data, result, complete)

    def tell(self, kind: int, *arguments: Data) -> None:
        """Tell those who follow it."""
        if self.followers is not None:
            for follower in list(self.followers.values()):
                follower(kind, arguments)

    def to_bytes(self, tenant: Tenant | None = None) -> bytes | None:
        """
        What a store keeps of it, C{None} if that is nothing.

        @param tenant: on whose account its job is.
        """
        record: dict[str, Any] = {} if tenant is None else {"tenant": tenant.name}
        if self.settings:
            record["settings"] = to_stored(self.settings)
        if self.trace is not None:
            record["trace"] = self.trace
        if self.counts:
            record["counts"] = self.counts
        if self.attempts:
            record["attempts"] = self.attempts
        if self.data_size or self.result_size or not self.complete:
            record["result"] = [self.data_size, self.result_size, self.complete]
        if self.copy_of:
            record["copy_of"] = self.copy_of
        if self.copies:
            record["copies"] = self.copies
        if self.aside is not None:
            record["review"] = self.aside
        return _encode(record).encode("utf-8", "surrogatepass") if record else None

    @classmethod
    def from_bytes(cls, kept: bytes) -> History:
        """
        The other way round; whose job it is L{owner_of} tells.

        @raise ValueError: it is not what L{to_bytes} made.
        """
        record = _decode(str(kept, "utf-8", "surrogatepass"))
        try:
            trace = record.get("trace")
            history = cls(from_stored(record.get("settings", {})))
            history.trace = None if trace is None else Trace.checked(*trace)
            history.counts = {str(reason): int(number) for reason, number in record.get("counts", {}).items()}
            history.attempts = [Attempt(*attempt) for attempt in record.get("attempts", [])]
            history.data_size, history.result_size, history.complete = record.get("result", [0, 0, True])
            history.copy_of = str(record.get("copy_of", ""))
            history.copies = tuple(map(str, record.get("copies", ())))
            if "review" in record:
                name, since, by = record["review"]
                history.aside = Aside(str(name), float(since), str(by))
        except (AttributeError, TypeError) as error:
            raise ValueError(f"not the history of a job: {error}") from error
        return history


def as_text(message: Data) -> str:
    """A worker's message when it failed, as L{text} of a bounded length."""
    return _shortened(text(bytes(message)[: MOST_TEXT * 4]), MOST_TEXT)


def _shortened(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 3] + "..."
