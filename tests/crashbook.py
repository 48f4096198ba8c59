"""The book of a crash test: what was asked of the server, what came of it, and whether that may be.

Clients and workers tell it what they sent and got, each in its own thread. A job is known by its handle; what
it holds is known from the submit that it answered, or, if the answer was lost in a crash, from its fields.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import inf
from typing import Final, NamedTuple

#: Seconds after which a completion that the server was sent must have outlived a crash. They end when the
#: last submit was sent that it has taken: until then it surely ran, and had its store. Where the machine has
#: other work a process may stand still for a second before it is killed.
SETTLED: Final = 1.0

#: Seconds by which a job may come before its time: event loops round.
EARLY: Final = 0.05

#: Ended jobs that are looked for again after each restart.
REMEMBERED: Final = 5000

#: Violations that are shown in full.
SHOWN: Final = 20

# What can be wrong.
LOST: Final = "lost"
DUPLICATE: Final = "duplicates"
RETURNED: Final = "came back late"
CHANGED: Final = "changed"
ORDER: Final = "out of order"
TWICE: Final = "unique twice"
NUMBER: Final = "number used twice"
OTHER: Final = "other"


class Ledger:
    """What a crash test found, told by many threads.

    :ivar counts: the figures, and how often each kind of wrong was found.
    :ivar details: the first few of what was wrong.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.counts: Counter[str] = Counter()
        self.details: list[str] = []

    def wrong(self, what: str, detail: object) -> None:
        """Note that something is not as it must be."""
        with self._lock:
            self.counts[what] += 1
            if len(self.details) < SHOWN:
                self.details.append(f"{what}: {detail}")


class Content(NamedTuple):
    """All that a worker gets of a job; instead of the workload its size and digest."""

    function: bytes
    unique: bytes
    reducer: bytes
    size: int
    digest: bytes

    @property
    def key(self) -> tuple[bytes, bytes] | None:
        """By what jobs are joined: the function, and the unique or what stands for it; C{None} for none."""
        if self.unique != b"-":
            return (self.function, self.unique) if self.unique else None
        return (self.function, b"-" + self.digest) if self.size else None

    def __str__(self) -> str:
        names = " ".join(repr(name[:20]) for name in (self.function, self.unique, self.reducer))
        return f"{names}, {self.size} bytes"


def content(function: bytes, unique: bytes, reducer: bytes, workload: bytes) -> Content:
    """The content of a job with these fields."""
    return Content(function, unique, reducer, len(workload), blake2b(workload, digest_size=16).digest())


@dataclass(eq=False)
class Ask:
    """One submit.

    :ivar priority: 0 for high, 1 for normal, 2 for low.
    :ivar due: seconds since the epoch, or 0.
    :ivar alive: what the `last_kept` of the book was when it was sent.
    """

    content: Content
    priority: int
    due: int
    background: bool
    client: int
    sent: float = field(default_factory=time.monotonic)
    alive: float = 0.0


@dataclass(eq=False)
class Record:
    """A job that the server has named.

    :ivar asks: the submits that were answered with its handle.
    :ivar kept: whether it must outlive the server: somebody was answered for the background.
    :ivar seen: what a worker got, and when it first did, in seconds since the epoch.
    :ivar first: the submit that made it, once that is certain.
    :ivar holder: the worker that has it.
    :ivar ended: when a worker said that it is done, by the monotonic clock.
    :ivar retries: how often a worker was lost with it before the last restart.
    :ivar losses: when workers were lost with it since.
    :ivar behind: the highest number before it, once it was put behind the others.
    :ivar bounds: between which numbers its turn is, since the last restart.
    """

    handle: bytes
    number: int
    asks: list[Ask] = field(default_factory=list)
    kept: bool = False
    seen: Content | None = None
    seen_at: float = inf
    first: Ask | None = None
    holder: object = None
    ended: float | None = None
    retries: int = 0
    losses: list[float] = field(default_factory=list)
    behind: int = 0
    bounds: tuple[float, float] = (0, inf)

    def __str__(self) -> str:
        asked = self.first or (self.asks[0] if self.asks else None)
        return f"{self.handle.decode(errors='backslashreplace')} ({asked.content if asked else self.seen})"


class Book(Ledger):
    """All jobs of one run over many lives of the server."""

    def __init__(self) -> None:
        super().__init__()
        self._jobs: dict[bytes, Record] = {}
        self._gone: dict[bytes, None] = {}
        self._pending: set[Ask] = set()
        # Submits without an answer, whose jobs may be there or not.
        self._open: dict[Content, list[Ask]] = {}
        # Submits that were refused, whose jobs must not be there; only a crash just then excuses them.
        self._refused: dict[Content, list[Ask]] = {}
        # The job that has a key, and of those that were new while one had theirs: which one that was.
        self._named: dict[tuple[bytes, bytes], Record] = {}
        self._beside: list[tuple[Record, Record]] = []
        self._highest = 0
        self._highest_before = 0
        self._last_of_client: dict[int, int] = {}
        #: When the last submit was sent whose job the store has taken, by the monotonic clock.
        self.last_kept = 0.0

    # Clients

    def asking(self, ask: Ask) -> None:
        """A submit is about to be sent."""
        with self._lock:
            ask.sent, ask.alive = time.monotonic(), self.last_kept
            self._pending.add(ask)
            self.counts["submits"] += 1

    def answered(self, ask: Ask, handle: bytes) -> None:
        """It was answered with a handle."""
        with self._lock:
            self._pending.discard(ask)
            if handle in self._gone:
                self.wrong(NUMBER, f"{handle!r} was given to a second job, {ask.content}")
                return
            record = self._record(handle)
            if ask.background:
                self.counts["answered"] += 1
                record.kept = True
                if not ask.content.unique:
                    # It has joined no job that was kept already.
                    self.last_kept = max(self.last_kept, ask.sent)
            if record.asks:
                self.counts["joined"] += 1
                known = record.asks[0]
                if known.content[:2] != ask.content[:2] or not ask.content.unique:
                    self.wrong(NUMBER, f"{record} was given to a second job, {ask.content}")
                if record.ended is not None and record.ended < ask.alive - SETTLED:
                    self.wrong(OTHER, f"{record} had ended when it was joined")
            else:
                if record.number <= self._last_of_client.get(ask.client, 0) and not ask.content.unique:
                    self.wrong(ORDER, f"{record} has a lower number than one submitted before it")
                self._last_of_client[ask.client] = record.number
                if (key := ask.content.key) is not None:
                    before = self._named.get(key)
                    if before is not None and before.kept and before.ended is None:
                        # Its worker may be about to tell that it has ended.
                        self._beside.append((before, record))
                    self._named[key] = record
            record.asks.append(ask)

    def refused(self, ask: Ask) -> None:
        """It was answered with an error, as no store was there."""
        with self._lock:
            self._pending.discard(ask)
            if ask.background:
                self._refused.setdefault(ask.content, []).append(ask)
            self.counts["refused"] += 1

    # Workers

    def assigned(self, worker: object, handle: bytes, got: Content) -> Record:
        """A worker got a job."""
        with self._lock:
            record = self._record(handle)
            if handle in self._gone:
                self.wrong(RETURNED, f"{record} was handed out after it had ended for good")
            if record.holder is not None:
                self.wrong(DUPLICATE, f"{record} was handed out while another worker had it")
            if record.ended is not None:
                self.wrong(DUPLICATE, f"{record} was handed out after it had ended")
            if record.seen is None:
                record.seen, record.seen_at = got, time.time()
            elif record.seen != got:
                self.wrong(CHANGED, f"{record} came as {got}")
            record.holder = worker
            return record

    def ended(self, record: Record) -> None:
        """The worker has said that the job is done."""
        with self._lock:
            record.holder = None
            record.ended = time.monotonic()
            self.counts["completed"] += 1

    def losing(self, record: Record) -> None:
        """The worker is about to be lost with the job."""
        with self._lock:
            record.holder = None
            record.losses.append(time.monotonic())
            if record.retries + len(record.losses) > 1:
                record.behind = self._highest
            self.counts["workers lost"] += 1

    # The server's ends and beginnings

    def killed(self) -> None:
        """The server was killed, and all have told what they had to tell."""
        with self._lock:
            foreground: dict[Content, list[Ask]] = {}
            for ask in self._pending:
                pool = self._open if ask.background else foreground
                pool.setdefault(ask.content, []).append(ask)
            self._pending.clear()
            for record in self._jobs.values():
                record.holder = None
                self._settle(record, foreground)
            for before, record in self._beside:
                if before.ended is None:
                    self.wrong(TWICE, f"{record} was new while {before} was there")
            self._beside.clear()
            self._last_of_client.clear()

    def restarted(self, rows: Iterable[tuple[bytes, int]], at: float) -> list[bytes]:
        """The server is there again, with these jobs and their counts of lost workers.

        :param at: from when on completions need not have been written, by the monotonic clock.
        :return: the handles that must be known.
        """
        with self._lock:
            found: dict[bytes, int] = {}
            for handle, retries in rows:
                if handle in found:
                    self.wrong(DUPLICATE, f"{handle!r} is there twice")
                found[handle] = retries
            for record in list(self._jobs.values()):
                self._look_for(record, found, at)
            for handle in found.keys() & self._gone.keys():
                self.wrong(RETURNED, f"{handle!r} is there though it had ended for good")
            strangers = [handle for handle in found if handle not in self._jobs and handle not in self._gone]
            unanswered = sum(map(len, [*self._open.values(), *self._refused.values()]))
            if len(strangers) > unanswered:
                self.wrong(DUPLICATE, f"{len(strangers)} jobs nobody knows, {unanswered} submits unanswered")
            self._highest_before = 0
            for handle in strangers:
                record = self._record(handle)
                record.kept = True
                self._begin_life(record, found[handle], exact=True)
            self._highest_before = self._highest
            while len(self._gone) > REMEMBERED:
                del self._gone[next(iter(self._gone))]
            return list(found)

    def _look_for(self, record: Record, found: dict[bytes, int], at: float) -> None:
        """What became of a job that was known before the crash."""
        there = record.handle in found
        if record.ended is not None:
            if not there:
                self._forget(record)
                return
            if record.ended < at - SETTLED:
                self.wrong(RETURNED, f"{record} had ended {at - record.ended:.2f} s before the crash")
            self.counts["came back"] += 1
            record.ended = None
            record.kept = True
        elif not record.kept:
            if not there:
                self._forget(record)
                return
            # A submit that joined it for the background was not answered any more.
            keys = [ask.content[:2] for asks in self._open.values() for ask in asks]
            if not record.asks or record.asks[0].content[:2] not in keys:
                self.wrong(OTHER, f"{record} is there though nobody wanted it kept")
            record.kept = True
        elif not there:
            self.wrong(LOST, record)
            self._forget(record)
            return
        retries = found[record.handle]
        most = record.retries + len(record.losses)
        least = record.retries + sum(loss < at - SETTLED for loss in record.losses)
        if not least <= retries <= most:
            self.wrong(CHANGED, f"{record} has {retries} retries, not {least} to {most}")
        if retries:
            self.counts["retried and there"] += 1
        self._begin_life(record, retries, exact=retries == most)

    def _begin_life(self, record: Record, retries: int, exact: bool) -> None:
        record.retries = retries
        record.losses.clear()
        if not exact:
            # The server does not know of the last loss.
            record.behind = record.number
        record.bounds = (record.behind, inf) if retries > 1 else (record.number, record.number)

    def drained(self, order: Sequence[Record], left: Collection[bytes], now: float) -> None:
        """A single worker has emptied the server, from a restart on, while nobody submitted.

        :param order: what it got, as it came.
        :param left: the handles that are there still.
        :param now: when it ended, in seconds since the epoch.
        """
        with self._lock:
            lanes: dict[tuple[bytes, int], tuple[float, Record | None]] = {}
            for record in order:
                self._settle(record, {})
                ask = record.first
                if ask is None:
                    continue
                low, high = (record.number, inf) if ask.due else record.bounds
                bound, before = lanes.get((ask.content.function, ask.priority), (0, None))
                if high < bound:
                    self.wrong(ORDER, f"{record} came after {before}")
                if low > bound:
                    lanes[ask.content.function, ask.priority] = (low, record)
            self.counts["drained"] += len(order)
            self.counts["before higher ones"] += _inversions(order)
            for record in list(self._jobs.values()):
                if record.handle not in left:
                    if record.ended is None:
                        self.wrong(LOST, f"{record}: no worker got it")
                    continue
                if record.ended is not None:
                    self.wrong(OTHER, f"{record} is there though it has ended")
                waits = [ask.due for ask in record.asks] or [
                    ask.due for asks in self._open.values() for ask in asks
                ]
                if max(waits, default=0) < now:
                    self.wrong(OTHER, f"{record} was not handed out")
            # What was not answered and is not there by now never will be, unless its time is to come.
            later = {key: [ask for ask in asks if ask.due > now] for key, asks in self._open.items()}
            self._open = {key: asks for key, asks in later.items() if asks}

    # Means

    def _record(self, handle: bytes) -> Record:
        record = self._jobs.get(handle)
        if record is None:
            number = int(handle.rpartition(b":")[2])
            record = self._jobs[handle] = Record(handle, number)
            if number <= self._highest_before:
                self.wrong(NUMBER, f"{handle!r} is new, and not above {self._highest_before}")
            self._highest = max(self._highest, number)
        return record

    def _forget(self, record: Record) -> None:
        """It has ended, and the server does not know it any more."""
        del self._jobs[record.handle]
        for ask in record.asks[:1]:
            if (key := ask.content.key) is not None and self._named.get(key) is record:
                del self._named[key]
        self._gone[record.handle] = None

    def _settle(self, record: Record, foreground: dict[Content, list[Ask]]) -> None:
        """Find the submit that made a job, once a worker has seen it."""
        if record.first is not None or record.seen is None:
            return
        for ask in record.asks:
            if ask.content == record.seen:
                record.first = ask
                break
        else:
            for pool in (self._open, foreground, self._refused):
                if asks := pool.get(record.seen):
                    record.first = asks.pop()
                    record.kept = record.kept or record.first.background
                    self.counts["refused yet there"] += pool is self._refused
                    if not asks:
                        del pool[record.seen]
                    break
            else:
                kind = CHANGED if record.asks else DUPLICATE
                self.wrong(kind, f"{record} came as {record.seen}")
                return
        if record.seen_at < record.first.due - EARLY:
            self.wrong(OTHER, f"{record} came {record.first.due - record.seen_at:.2f} s before its time")


def _inversions(order: Sequence[Record]) -> int:
    """How many came before one of a higher priority, whose workload may have been in the store alone."""
    highest: dict[bytes, int] = {}
    count = 0
    for record in reversed(order):
        ask = record.first
        if ask is not None and not ask.due:
            waiting = highest.get(ask.content.function, ask.priority)
            count += waiting < ask.priority
            highest[ask.content.function] = min(waiting, ask.priority)
    return count
