"""
Whether a child is due to be renewed, or to be killed, and why. Pure: what is known of it is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from txgear.broker.words import number
from txgear.runtime.config import GroupTable
from txgear.runtime.status import Running

STUCK_SECONDS: Final = 60.0
"""
How long the event loop of a child that does no job may stand still: it takes no jobs then, and nobody else
would notice.
"""


STILL_SECONDS: Final = 10.0
"""How long it may stand still, and still count as ready."""


class Seen(NamedTuple):
    """
    What is known of a child. Times are by the monotonic clock.

    @ivar now: the moment.
    @ivar started: when it was started.
    @ivar turned: when its event loop turned last.
    @ivar done: jobs that it has ended.
    @ivar idle_since: since when it has had no job; 0.0 while it has one.
    @ivar memory: bytes that it has, with all that it has started; 0 where nobody knows.
    @ivar running: its jobs.
    @ivar in_reach: whether a server is there that can give it jobs.
    """

    now: float
    started: float
    turned: float = 0.0
    done: int = 0
    idle_since: float = 0.0
    memory: int = 0
    running: Sequence[Running] = ()
    in_reach: bool = True

    @property
    def is_idle(self) -> bool:
        """Whether it has no job: one that has begun is seen at once, that there was none a second later."""
        return bool(self.idle_since) and not self.running

    @property
    def gets_jobs(self) -> bool:
        """Whether jobs come to it, once it is ready: it has a server, and moves, or has a job in hand."""
        return self.in_reach and (self.now - self.turned <= STILL_SECONDS or bool(self.running))


def due(table: GroupTable, part: float, seen: Seen) -> str:
    """
    Why a child is to be renewed, in words; empty if it is not.

    @param part: from 0 to 1: the bounds of jobs, age and idle time are this part of what the table says.
    """
    if table.max_jobs is not None and seen.done >= max(table.max_jobs * part, 1):
        return f"it has done {number(seen.done, 'job')}"
    age = seen.now - seen.started
    if table.max_age is not None and age >= table.max_age * part:
        return f"it is {age:.0f} s old"
    idle = seen.now - seen.idle_since if seen.is_idle else 0.0
    if table.max_idle is not None and idle >= table.max_idle * part > 0:
        return f"it has had nothing to do for {idle:.0f} s"
    if table.soft_memory is not None and seen.memory > table.soft_memory:
        return f"it has {mebibytes(seen.memory)} of memory, and may have {mebibytes(table.soft_memory)}"
    return ""


def deadly(table: GroupTable, seen: Seen) -> str:
    """Why a child is to be killed now, in words; empty if it is not."""
    if table.hard_memory is not None and seen.memory > table.hard_memory:
        return (
            f"its process was killed: it had {mebibytes(seen.memory)} of memory,"
            f" and hard_memory is {mebibytes(table.hard_memory)}"
        )
    if table.hard_time is not None:
        for job in seen.running:
            if seen.now - job.since > table.hard_time:
                return (
                    f"its process was killed: job {_text(job.handle)} of {_text(job.function)} has run for"
                    f" {seen.now - job.since:.1f} s, and hard_time is {table.hard_time:g} s"
                )
    still = seen.now - seen.turned if seen.turned else 0.0
    if still > STUCK_SECONDS and not seen.running:
        return f"its process was killed: its event loop has stood still for {still:.0f} s"
    return ""


def mebibytes(count: int) -> str:
    """Bytes, as the file has them."""
    return f"{count / 2**20:.0f}M"


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
