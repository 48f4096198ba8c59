"""
How many processes a group is to have: grown by the age of the oldest job that waits, and shrunk when some had
nothing to do for long. There is no clock here and no process: it is told what there is, and says what is
wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from txgear.broker.words import number, verb

SETTLE_SECONDS: Final = 5.0
"""
How long more processes are given to show what they do before others are added, at the most: jobs that have
waited for long go on being the oldest for a while. It is less where C{grow_after} is.
"""


class Load(NamedTuple):
    """
    What waits for workers.

    @ivar waiting: jobs that would be handed out if there were workers enough.
    @ivar oldest: seconds that the oldest of them has waited; C{None} where there is none.
    @ivar running: jobs at workers, of whatever group and machine.
    """

    waiting: int
    oldest: float | None
    running: int


def total(loads: Iterable[Load]) -> Load | None:
    """
    The load of several functions, or of several servers, together.

    @return: C{None} where there is none of them: nobody knows.
    """
    found = list(loads)
    if not found:
        return None
    ages = [load.oldest for load in found if load.oldest is not None]
    return Load(
        sum(load.waiting for load in found), max(ages, default=None), sum(load.running for load in found)
    )


class Change(NamedTuple):
    """
    What is to be done.

    @ivar wanted: how many processes there are to be. Where there are more, idle ones are to leave.
    @ivar why: the reason in words; empty where nothing changes.
    """

    wanted: int
    why: str = ""


class Scaling:
    """
    The number of processes of one group.

    It grows when the oldest job has waited for C{grow_after}: by as many as are ready, as far as there are
    jobs for them; then these are given L{SETTLE_SECONDS}. It shrinks when for all of C{shrink_after} no job
    had waited for half of C{grow_after}, and there was always some process that was idle: of these that were,
    half leave, and it begins anew. So neither a job that waits for a moment nor a process that is idle for a
    moment changes anything.
    """

    def __init__(
        self, least: int, most: int, grow_after: float, shrink_after: float, concurrency: int
    ) -> None:
        """
        @param least: how many there are at the least.
        @param most: how many there are at the most.
        @param concurrency: how many jobs each does at once.
        """
        self._least = least
        self._most = most
        self._grow_after = grow_after
        self._shrink_after = shrink_after
        self._concurrency = concurrency
        self._settled_at = 0.0
        # Since when there was always an idle process, how many there were at each look, and how many were
        # wanted.
        self._idle_since: float | None = None
        self._always_idle = 0
        self._wanted = 0

    def look(self, now: float, load: Load | None, wanted: int, ready: int, idle: int) -> Change:
        """
        Look at what there is; once a second or so.

        @param load: of all functions of the group; C{None} where no server tells, and so nothing changes.
        @param wanted: how many processes there are to be. Somebody else may have changed it; that holds for
            as long as the load does not want otherwise.
        @param ready: how many processes work, of those that are not about to leave.
        @param idle: how many of these have no job.
        """
        if wanted != self._wanted:
            self._wanted, self._idle_since = wanted, None
        if load is None:
            self._idle_since = None
            return Change(wanted)
        age = load.oldest
        if age is not None and age >= self._grow_after:
            self._idle_since = None
            return self._grow(now, load.waiting, age, ready, idle)
        calm = age is None or age < self._grow_after / 2
        if not (calm and idle and wanted > self._least):
            self._idle_since = None
            return Change(wanted)
        if self._idle_since is None:
            self._idle_since, self._always_idle = now, idle
        self._always_idle = min(self._always_idle, idle)
        if now - self._idle_since < self._shrink_after:
            return Change(wanted)
        return self._shrink(now, idle)

    def _grow(self, now: float, waiting: int, age: float, ready: int, idle: int) -> Change:
        # Those that are started already, or idle, will take some of what waits.
        starting = max(self._wanted - ready, 0)
        more = min(
            -(-waiting // self._concurrency) - idle - starting,
            max(ready, 1) - starting,
            self._most - self._wanted,
        )
        if more <= 0 or now < self._settled_at:
            return Change(self._wanted)
        self._settled_at = now + min(self._grow_after, SETTLE_SECONDS)
        self._wanted += more
        jobs = f"{number(waiting, 'job')} {verb(waiting, 'waits', 'wait')}"
        return Change(self._wanted, f"{jobs}, the oldest for {age:.1f} s")

    def _shrink(self, now: float, idle: int) -> Change:
        always = self._always_idle
        less = min(-(-always // 2), self._wanted - self._least)
        self._wanted -= less
        self._idle_since, self._always_idle = now, idle - less
        were = verb(always, "was", "were")
        return Change(self._wanted, f"{always} {were} idle for {self._shrink_after:g} s, or more")
