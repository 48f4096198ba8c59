"""
What workers do: which of them could take a job, and why the others could not.

A worker is looked at by what it has asked for and what it has been sent, not by the bytes that come from it:
one may answer each echo and never ask for a job.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from txgear.broker.model import Function, Job, Peer
    from txgear.broker.sleepers import Sleepers

SILENT_SECONDS: Final = 60.0
"""
Seconds after which a worker is silent that has no job and does not ask for one. A worker that works asks
again within milliseconds, or sleeps; the slowest libraries poll each ten seconds.
"""

MOST_IN_HAND: Final = 100
"""Jobs of one worker that are looked at for one of a function."""
MOST_NAMES: Final = 3
"""Workers of one condition that are named."""

PAUSED: Final = "paused"
"""It takes no job for now, as somebody told it. It may still have some."""
ABSENT: Final = "absent"
"""Its connection is lost; what it has stays its own for a while, as it may come back."""
UNUSED: Final = "unused"
"""It can be told what to do, and does no function now."""
ASLEEP: Final = "asleep"
"""It waits for a NOOP."""
WOKEN: Final = "woken"
"""It was sent a NOOP a moment ago, and has not asked yet."""
BUSY: Final = "busy"
"""It has a job, and did not ask for another."""
UNREAD: Final = "unread"
"""The server reads nothing of it for now: it adds to more than the store can take."""
LATE: Final = "late"
"""It was sent a NOOP, and has not asked in time: others are woken in its place."""
SILENT: Final = "silent"
"""It has no job, and has not asked for one in L{SILENT_SECONDS}."""
AWAKE: Final = "awake"
"""It has no job, and has asked for one not long ago."""

CONDITIONS: Final = (ABSENT, PAUSED, UNUSED, ASLEEP, WOKEN, BUSY, UNREAD, LATE, SILENT, AWAKE)
"""All of them. Of several that hold, the first counts: one with a job that sleeps could take another."""


def condition(peer: Peer, now: float) -> str:
    """How a worker is: one of L{CONDITIONS}."""
    if not peer.connected:
        return ABSENT
    if peer.paused:
        return PAUSED
    if not (peer.abilities or peer.running):
        return UNUSED
    if peer.asleep:
        return ASLEEP
    if peer.woken_for is not None:
        return WOKEN
    if peer.running:
        return BUSY
    if peer.unread:
        return UNREAD
    if 0.0 < peer.asked <= peer.missed:
        return LATE
    return SILENT if now - idle_since(peer) >= SILENT_SECONDS else AWAKE


def idle_since(peer: Peer) -> float:
    """Since when a worker has had no job and has not asked for one, by the server's time; of one without."""
    return max(peer.enrolled, peer.asked, peer.freed)


def silent(peer: Peer, now: float) -> bool:
    """Whether a peer that can do anything is neither asleep nor at work, and has not asked for so long."""
    return condition(peer, now) in (LATE, SILENT) and now - idle_since(peer) >= SILENT_SECONDS


@dataclass(slots=True)
class Headcount:
    """
    How many workers there are.

    @ivar known: that can do the function.
    @ivar asleep: of these, how many wait for a NOOP.
    @ivar busy: how many have a job, of whatever function; some may be asleep as well.
    @ivar silent: how many are L{silent}.
    """

    known: int = 0
    asleep: int = 0
    busy: int = 0
    silent: int = 0


def count_in(headcounts: dict[bytes, Headcount], total: Headcount, peer: Peer, now: float) -> int:
    """
    Count one worker for each function that it can do.

    @param headcounts: by the functions' names; those that are missing are added.
    @param total: that of all workers, in which it is counted once.
    @return: how many functions these are.
    """
    asleep, busy, is_silent = peer.asleep, bool(peer.running), silent(peer, now)
    found = [total]
    for function in peer.abilities:
        headcount = headcounts.get(function.name)
        if headcount is None:
            headcount = headcounts[function.name] = Headcount()
        found.append(headcount)
    for headcount in found:
        headcount.known += 1
        headcount.asleep += asleep
        headcount.busy += busy
        headcount.silent += is_silent
    return len(peer.abilities)


class Muster:
    """
    The workers of one function, as they are now.

    @ivar known: how many there are.
    @ivar seen: how many were looked at, the newest.
    @ivar here: of those that are L{BUSY}, how many have a job of this function.
    @ivar longest: by condition, for how many seconds one has been like that, the longest; of L{WOKEN},
        L{LATE} and L{SILENT}.
    @ivar names: of the same, what some of them are called.
    @ivar job: of the function's jobs that they have, the one that was handed out first; C{None} for none.
    """

    __slots__ = ("_counts", "here", "job", "known", "longest", "names", "seen")

    def __init__(self, function: Function, sleepers: Sleepers, now: float, most: int) -> None:
        """
        @param most: how many are looked at.
        """
        self.known = len(function.workers)
        self.seen = self.here = 0
        self.longest: dict[str, float] = {}
        self.names: dict[str, list[str]] = {}
        self.job: Job | None = None
        self._counts = dict.fromkeys(CONDITIONS, 0)
        for peer in islice(reversed(function.workers), most):
            self.seen += 1
            how = condition(peer, now)
            self._counts[how] += 1
            if peer.running:
                self.here += self._at_work(peer, function) and how == BUSY
            if how in (WOKEN, LATE, SILENT):
                since = {WOKEN: sleepers.woken_at, LATE: _missed, SILENT: idle_since}[how](peer)
                self.longest[how] = max(self.longest.get(how, 0.0), now - since)
                names = self.names.setdefault(how, [])
                if len(names) < MOST_NAMES:
                    names.append(peer.name)

    def _at_work(self, peer: Peer, function: Function) -> bool:
        """Whether a peer has a job of this function; the one that it has had for the longest counts."""
        for job in islice(peer.running.values(), MOST_IN_HAND):
            if job.function is function:
                if self.job is None or job.since < self.job.since:
                    self.job = job
                return True
        return False

    def __getitem__(self, how: str) -> int:
        """How many are like that, one of L{CONDITIONS}."""
        return self._counts[how]

    @property
    def able(self) -> int:
        """How many could take a job at once, or are about to ask."""
        return self[ASLEEP] + self[WOKEN] + self[AWAKE]


def _missed(peer: Peer) -> float:
    return peer.missed
