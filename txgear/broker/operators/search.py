"""
What operators look for among jobs, functions and connections, and the page that they get of it.

Making a page takes milliseconds, however many jobs there are: it may have no rows and still say where the
next one begins.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from txgear.broker.ended.deadgroups import DEAD_REASONS
from txgear.broker.rights import knows
from txgear.broker.states import DELAYED, QUEUED, RUNNING, STATE_NAMES, STORING
from txgear.errors import InvalidArgument, PolicyError
from txgear.protocol.constants import MAX_FUNCTION
from txgear.protocol.packets import Data, decimal
from txgear.protocol.textlines import text
from txgear.quantities import duration

if TYPE_CHECKING:
    from txgear.broker.model import Function, Job, Peer

MOST_ROWS: Final = 200
"""Jobs of one page at the most."""
DEFAULT_ROWS: Final = 50
"""Jobs of one page where nothing else is asked for."""
MOST_SEARCHED: Final = 1 << 20
"""Bytes of a workload in which a text is looked for, its first."""
MOST_WILD: Final = 100
"""
Characters of a pattern that stand for others. The end of each is looked for: ten thousand take seconds.
"""
_WILD: Final = (b"*", b"?", b"[")
LIVE_STATES: Final = tuple(STATE_NAMES[state] for state in (DELAYED, STORING, QUEUED, RUNNING))
"""How a job can be that has not ended; one that is paged is queued, as far as an operator goes."""


class Bounds(NamedTuple):
    """
    What one page may cost.

    @ivar work: jobs that are looked at, and what else takes as long as that, a microsecond or so.
    @ivar numbers: that are tried, most of jobs that have ended long ago; some milliseconds.
    @ivar few: jobs that are rather sorted than looked up by all numbers that they could have.
    @ivar rows: jobs that the store is asked for at once: to look at them takes some milliseconds.
    @ivar lanes: of the store that are read for one page; of more, each page reads some.
    """

    work: int = 10_000
    numbers: int = 100_000
    few: int = 10_000
    rows: int = 500
    lanes: int = 200


BOUNDS: Final = Bounds()
"""Those of a server at work."""


def _pattern(value: bytes) -> re.Pattern[bytes]:
    if sum(map(value.count, _WILD)) > MOST_WILD:
        raise InvalidArgument(f"function is a pattern with at most {MOST_WILD} of the characters * ? [")
    # Byte by byte, as the patterns of policies are matched.
    return re.compile(fnmatch.translate(value.decode("latin-1")).encode("latin-1"))


EVERY: Final = _pattern(b"*")
"""Matches every function."""


def _some_of(name: str, known: Collection[str]) -> Callable[[bytes], frozenset[str]]:
    def parse(value: bytes) -> frozenset[str]:
        found = frozenset(text(value).lower().split(","))
        if not found.issubset(known):
            raise InvalidArgument(f"{name} is one or more of {', '.join(known)}, parted by commas")
        return found

    return parse


def _older(value: bytes) -> float:
    try:
        return duration(text(value))
    except PolicyError as error:
        raise InvalidArgument(f"older: {error.problem}") from error


def _after(value: bytes) -> int:
    if not value.isdigit():
        raise InvalidArgument("after is the number that the last page gave for the next")
    return decimal(value)


def _limit(value: bytes) -> int:
    if not (value.isdigit() and 1 <= decimal(value) <= MOST_ROWS):
        raise InvalidArgument(f"limit is a number from 1 to {MOST_ROWS}")
    return decimal(value)


def _yes_or_no(name: str) -> Callable[[bytes], bool]:
    def parse(value: bytes) -> bool:
        if value.lower() not in (b"yes", b"no"):
            raise InvalidArgument(f"{name} is yes or no")
        return value.lower() == b"yes"

    return parse


_PARSERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "function": _pattern,
    "state": _some_of("state", LIVE_STATES),
    "reason": _some_of("reason", DEAD_REASONS),
    "review": text,
    "worker": text,
    "id": text,
    "group": text,
    "host": text,
    "quickack": _yes_or_no("quickack"),
    "older": _older,
    "text": bytes,
    "unique": bytes,
    "after": _after,
    "behind": bytes,
    "limit": _limit,
    "paused": _yes_or_no("paused"),
}

OF_JOBS: Final = ("function", "unique", "state", "worker", "older", "text", "after", "limit")
"""What C{jobs} can be asked for."""
OF_DEAD: Final = ("function", "unique", "reason", "review", "text", "after", "limit")
"""What C{dead} can be asked for."""
OF_ENDED: Final = ("function", "unique", "text", "after", "limit")
"""What C{kept} can be asked for."""
OF_FUNCTIONS: Final = ("function", "paused")
"""What C{functions} can be asked for."""
OF_WORKERS: Final = ("function", "worker", "id", "group", "host", "after", "limit")
"""What L{txgear.broker.operators.workers.workers} can be asked for."""
OF_CONNECTIONS: Final = ("worker", "quickack", "after", "limit")
"""What L{txgear.broker.operators.connections.connections} can be asked for."""


@dataclass(frozen=True)
class Search:
    """
    Which jobs are wanted, or functions, or connections; all of it holds for each of them.

    @ivar function: matches the names of their functions.
    @ivar unique: what their first submitters called them; empty for anything.
    @ivar state: how they are.
    @ivar reason: how the last attempts of the dead ended; empty for anyhow.
    @ivar review: in which review the dead are; empty for those in none.
    @ivar worker: stands in the name of the worker that has them; empty for whether or not one has them.
    @ivar id: what they are called, as workers; empty for anything.
    @ivar group: the group of workers that they belong to; empty for any.
    @ivar host: the machine that they run on; empty for any.
    @ivar quickack: whether they are acknowledged at once; C{None} for whether or not.
    @ivar older: seconds since they were submitted, at the least.
    @ivar text: stands in what is known of them (see C{jobs}, C{dead} and C{kept}); empty for anything.
    @ivar after: their numbers are higher than this one.
    @ivar behind: their names come after this one, byte by byte.
    @ivar limit: how many at the most.
    @ivar paused: whether an operator has paused them; C{None} for whether or not.
    """

    function: re.Pattern[bytes] = EVERY
    unique: bytes = b""
    state: frozenset[str] = frozenset(LIVE_STATES)
    reason: frozenset[str] = frozenset()
    review: str = ""
    worker: str = ""
    id: str = ""
    group: str = ""
    host: str = ""
    quickack: bool | None = None
    older: float = 0.0
    text: bytes = b""
    after: int = 0
    behind: bytes = b""
    limit: int = DEFAULT_ROWS
    paused: bool | None = None

    @classmethod
    def parse(cls, words: Mapping[str, bytes], known: Collection[str]) -> Search:
        """
        @param words: what is asked for, by name: C{function} (a pattern in the shell's manner), C{unique},
            C{state} and C{reason} (one or more, parted by commas), C{review}, C{worker}, C{id}, C{group},
            C{host}, C{quickack} (yes or no), C{older} (see L{duration}), C{text}, C{after}, C{behind},
            C{limit} and C{paused} (yes or no).
        @param known: the names that may be there.
        @raise InvalidArgument: one may not, or has a value that makes no sense.
        """
        for name in words:
            if name not in known:
                raise InvalidArgument(f"{name} is not known; there are {', '.join(known)}")
            if len(words[name]) > MAX_FUNCTION:
                raise InvalidArgument(f"{name} has at most {MAX_FUNCTION} bytes")
        return cls(**{name: _PARSERS[name](value) for name, value in words.items()})

    def functions(self, peer: Peer) -> Callable[[Function], bool]:
        """
        @param peer: who asks.
        @return: tells whether a function is wanted, and the peer may know of it; each is looked at once.
        """
        matches = self.function.fullmatch
        if peer.rights is None:
            return cache(lambda function: matches(function.name) is not None)
        return cache(lambda function: matches(function.name) is not None and knows(peer, function))


# Pages

NONE: Final[Mapping[int, Job]] = {}
"""No jobs."""

Look: TypeAlias = "Callable[[Job], tuple[int, dict[str, Any] | None]]"
"""Looks at a job: how much work that was, and its row if it is wanted."""


class Rows(NamedTuple):
    """
    Jobs that are not in memory, beside those that are.

    @ivar jobs: by number, those of which the numbers are not higher than
    @ivar last: this. Of those in memory none of which it is are looked at either.
    @ivar moved: by place, those in memory whose places are not their numbers: where they are given, all are
        by their places. C{None} if they are by their numbers.
    """

    jobs: Mapping[int, Job]
    last: int
    moved: Mapping[int, Job] | None = None


def page(
    jobs: Mapping[int, Job],
    last: int,
    search: Search,
    look: Look,
    bounds: Bounds,
    rows: Mapping[int, Job] = NONE,
    moved: Mapping[int, Job] | None = None,
) -> dict[str, Any]:
    """
    Some of these jobs, by their numbers, or by their places: see L{Rows}.

    Many are not sorted for each page: a dict knows at once whether a job of a number is in it, and of a
    long queue nearly all are that could be. Only where a great many numbers have none, as when
    another server has begun with higher ones, all are looked through for the next: that is done soonest
    by a plain loop, as they need not be in the order of their numbers.

    @param last: the highest number that any has, or may have.
    @param rows: some more.
    """
    found: list[dict[str, Any]] = []
    work = 0
    after = first = search.after
    few = len(jobs) <= bounds.few
    stop = min(first + bounds.numbers, last)
    elsewhere = moved or NONE
    for number in sorted({*jobs, *rows, *elsewhere}) if few else range(first + 1, stop + 1):
        if not first < number <= last:
            continue
        job = jobs.get(number)
        if job is None or (moved is not None and job.place != number):
            job = rows.get(number) or elsewhere.get(number)
        if job is None:
            continue
        if len(found) == search.limit or work >= bounds.work:
            return {"jobs": found, "next": after}
        after = number
        done, row = look(job)
        work += done
        if row is not None:
            found.append(row)
    if few or stop >= last:
        return {"jobs": found, "next": None}
    if after > first:
        return {"jobs": found, "next": stop}
    following = last + 1
    for number in chain(jobs, rows, elsewhere):
        if number < following and number > stop:
            following = number
    return {"jobs": found, "next": None if following > last else following - 1}


def page_by_place(
    jobs: Iterable[Job], last: int, limit: int, look: Look, bounds: Bounds
) -> tuple[list[dict[str, Any]], int | None]:
    """
    Some of these jobs, by their places.

    @param last: those with higher ones are not looked at.
    @param limit: rows at the most.
    @return: the rows; and the place of the last that was looked at, C{None} if that were all.
    """
    found: list[dict[str, Any]] = []
    work = after = 0
    for job in sorted(jobs, key=attrgetter("place")):
        if job.place > last:
            break
        if len(found) == limit or work >= bounds.work:
            return found, after
        after = job.place
        done, row = look(job)
        work += done
        if row is not None:
            found.append(row)
    return found, None


def searching(data: Data) -> int:
    """How much work it is to look for a text there."""
    return 3 + (min(len(data), MOST_SEARCHED) >> 10)


def contains(data: Data, wanted: bytes) -> bool:
    """Whether these bytes stand in the first part of the others."""
    if isinstance(data, bytes):
        return data.find(wanted, 0, MOST_SEARCHED) >= 0
    head, size = [], 0
    for chunk in data.chunks:
        head.append(chunk)
        size += len(chunk)
        if size >= MOST_SEARCHED:
            break
    return b"".join(head).find(wanted, 0, MOST_SEARCHED) >= 0
