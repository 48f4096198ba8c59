"""What was seen of servers that share one database, and what must be true of it, whatever had happened.

Peers tell which jobs they were answered, got and ended, when and where; triggers in the database tell who
had which part, and whose connection has written which job. All times are those of one machine's clock, which
nobody sets: where servers are to see another one, only they do.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import inf
from typing import Final, NamedTuple

#: What can be wrong.
LOST: Final = "lost"
STALE: Final = "by an old owner"
UNIQUE: Final = "two of one unique"
OTHER: Final = "otherwise wrong"

#: What is counted.
ANSWERED: Final = "answered"
DONE: Final = "done"
REFUSED: Final = "refused"
TWICE: Final = "done twice"
GRABBED_TWICE: Final = "handed out twice"
TAKINGS: Final = "parts taken"
WRITES: Final = "writes judged"

#: How many details of one kind are kept.
SHOWN: Final = 10


class Grab(NamedTuple):
    """A job that a worker has got: at which server, and when."""

    handle: bytes
    server: str
    at: float

    @property
    def number(self) -> int:
        """The job's."""
        return int(self.handle.rpartition(b":")[2])


class Owned(NamedTuple):
    """A part has got an owner, or has none any more: then its name is empty, and so is the owner.

    :ivar first: the first job number of the part.
    :ivar end: the first one above those.
    :ivar at: when that was written.
    """

    part: int
    first: int
    end: int
    owner: bytes
    term: int
    name: str
    at: float


class Write(NamedTuple):
    """A job was added, changed or deleted.

    :ivar owner: who had its part, as the transaction saw it that has written this.
    :ivar own: whether that was written over the owner's connection.
    :ivar fenced: whether that transaction had changed the lease before; nothing where nobody can tell.
    """

    what: str
    number: int
    part: int
    owner: bytes
    term: int
    own: bool
    fenced: bool | None
    at: float


class Book:
    """What peers tell; they are threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: By handle, the server that has answered with it first, and when.
        self.answered: dict[bytes, tuple[str, float]] = {}
        #: By handle, what the job was to be.
        self.workloads: dict[bytes, bytes] = {}
        self.grabs: list[Grab] = []
        #: Ends after which the same server has answered something else.
        self.ends: Counter[bytes] = Counter()
        self.refused: Counter[str] = Counter()
        self.problems: list[tuple[str, str]] = []

    def wrong(self, kind: str, what: str) -> None:
        """Something is wrong."""
        with self._lock:
            self.problems.append((kind, what))

    def answer(self, handle: bytes, workload: bytes, server: str, at: float) -> None:
        """A client was answered with this handle."""
        with self._lock:
            self.answered.setdefault(handle, (server, at))
            self.workloads.setdefault(handle, workload)
            if self.workloads[handle] != workload:
                self.problems.append((OTHER, f"{handle!r} was given to two jobs"))

    def refuse(self, server: str, reason: str) -> None:
        """A submit was refused."""
        with self._lock:
            self.refused[f"{server}: {reason}"] += 1

    def grab(self, grab: Grab, workload: bytes) -> None:
        """A worker has got a job; its client may not have read the answer yet."""
        with self._lock:
            self.grabs.append(grab)
            if self.workloads.setdefault(grab.handle, workload) != workload:
                self.problems.append((OTHER, f"{grab.handle!r} has another workload than it was given"))

    def end(self, handle: bytes) -> None:
        """The server to which the end of a job was sent has answered what was sent after it."""
        with self._lock:
            self.ends[handle] += 1

    def elsewhere(self, numbers: Iterable[range], servers: Iterable[str], after: float) -> float | None:
        """When the first job with one of these numbers was got at another server than these."""
        ranges, there = list(numbers), set(servers)
        with self._lock:
            grabs = [grab for grab in self.grabs if grab.at > after and grab.server not in there]
        times = [grab.at for grab in grabs if any(grab.number in each for each in ranges)]
        return min(times, default=None)


def judge(
    book: Book, owned: Sequence[Owned], writes: Sequence[Write], left: int
) -> tuple[Counter[str], list[tuple[str, str]]]:
    """See to it that nothing was lost, and nothing was done or written by an old owner.

    :param owned: all that the leases have been, those of one part in their order.
    :param left: jobs that are in the database when all that was handed out has been done.
    :returns: what is counted, and what is wrong: its kind, and words for a person.
    """
    problems = list(book.problems)
    parts: defaultdict[int, list[Owned]] = defaultdict(list)
    for each in owned:
        parts[each.part].append(each)
    for part, terms in parts.items():
        problems += _terms(part, terms)
    problems += _grabs(book.grabs, parts)
    problems += _writes(writes, parts)
    problems += _uniques(book)
    for handle, (server, _) in book.answered.items():
        if not book.ends[handle]:
            problems.append((LOST, f"{handle!r} was answered by {server}, and never done"))
    if left:
        problems.append((LOST, f"{left} jobs are in the database, and nobody hands them out"))
    grabbed = Counter(grab.handle for grab in book.grabs)
    counts = Counter(
        {
            ANSWERED: len(book.answered),
            DONE: book.ends.total(),
            REFUSED: book.refused.total(),
            TWICE: sum(count > 1 for count in book.ends.values()),
            GRABBED_TWICE: sum(count > 1 for count in grabbed.values()),
            TAKINGS: sum(1 for each in owned if each.owner),
            WRITES: len(writes),
        }
    )
    kinds = Counter(kind for kind, _ in problems)
    counts.update({kind: kinds[kind] for kind in (LOST, STALE, UNIQUE, OTHER)})
    return counts, problems


def _uniques(book: Book) -> list[tuple[str, str]]:
    """Jobs that have the same unique, and so the same workload, were not there at the same time.

    Each was there from when a client had read its handle to when a worker first had it, at the least.
    """
    got: dict[bytes, float] = {}
    for grab in book.grabs:
        got[grab.handle] = min(grab.at, got.get(grab.handle, inf))
    there: defaultdict[bytes, list[tuple[float, float, bytes]]] = defaultdict(list)
    for handle, (_, at) in book.answered.items():
        if at < got.get(handle, inf):
            there[book.workloads[handle]].append((at, got.get(handle, inf), handle))
    problems = []
    for unique, jobs in there.items():
        for (_, end, first), (begin, _, second) in pairwise(sorted(jobs)):
            if begin < end:
                problems.append((UNIQUE, f"{first!r} and {second!r} of {unique!r}"))
    return problems


def _terms(part: int, terms: Sequence[Owned]) -> list[tuple[str, str]]:
    """Each owner of a part is a new one, and has a higher term than those before."""
    problems = []
    seen: set[bytes] = set()
    for before, after in pairwise(terms):
        seen.add(before.owner)
        if not after.owner:
            continue
        if after.term <= before.term or after.owner in seen:
            problems.append((STALE, f"part {part}: {after} follows {before}"))
    return problems


def _grabs(grabs: Sequence[Grab], parts: Mapping[int, Sequence[Owned]]) -> list[tuple[str, str]]:
    """Each job was handed out by the server that had its part."""
    problems = []
    starts = sorted((terms[0].first, part) for part, terms in parts.items())
    firsts = [first for first, _ in starts]
    for grab in grabs:
        place = bisect_right(firsts, grab.number) - 1
        terms = parts[starts[place][1]] if place >= 0 else ()
        if not terms or not terms[0].first <= grab.number < max(each.end for each in terms):
            problems.append((OTHER, f"{grab}: its number is in no part"))
            continue
        if not any(start <= grab.at <= end for start, end in _spans(terms, grab.server)):
            problems.append((STALE, f"{grab}, whose part was another one's: {terms}"))
    return problems


def _spans(terms: Sequence[Owned], server: str) -> Iterable[tuple[float, float]]:
    """From when to when a server had a part."""
    for before, after in pairwise([*terms, None]):
        assert before is not None
        if before.name == server:
            yield before.at, inf if after is None else after.at


def _writes(writes: Sequence[Write], parts: Mapping[int, Sequence[Owned]]) -> list[tuple[str, str]]:
    """Each job was written over the connection of the server that had its part."""
    problems = []
    for write in writes:
        known = {(each.owner, each.term) for each in parts.get(write.part, ())}
        if write.fenced is False:
            problems.append((STALE, f"{write}: its transaction has not changed the lease"))
        elif (write.owner, write.term) not in known:
            problems.append((STALE, f"{write}: nobody has ever been that owner"))
        elif not write.own:
            problems.append((STALE, f"{write}: another connection than the owner's"))
    return problems
