"""
What is done to a great many jobs: some in each turn, so that others get theirs between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from txgear.broker.jobs import Job

BATCH: Final = 250
"""Jobs that one turn does something to at the most: milliseconds, whatever is done and however it is kept."""

Chore: TypeAlias = Generator[None, float, None]
"""
Does something to one job, or looks at some, between one C{yield} and the next. Each gives it the
time, in seconds; the first comes before all that is done.

What it has not come to yet may have changed meanwhile: it looks at each job anew.
"""


def one_by_one(jobs: Iterable[Job]) -> Iterator[Job]:
    """These, in order, each let go of as it comes: to free 100,000 at the end would be a long turn."""
    left = list(jobs)
    left.reverse()
    del jobs
    while left:
        yield left.pop()


class Chores:
    """Those that are not done, the one that is at work first."""

    def __init__(self) -> None:
        self._chores: deque[Chore] = deque()

    def __len__(self) -> int:
        return len(self._chores)

    def add(self, chore: Chore) -> None:
        """Do this later, after all others."""
        next(chore)
        self._chores.append(chore)

    def start(self, chore: Chore, now: float) -> None:
        """Do the first part of this at once, and what is left later."""
        next(chore)
        try:
            for _ in range(BATCH):
                chore.send(now)
        except StopIteration:
            return
        self._chores.append(chore)

    def work(self, now: float) -> None:
        """Do a part of what is left."""
        for _ in range(BATCH):
            if not self._chores:
                return
            try:
                self._chores[0].send(now)
            except StopIteration:
                self._chores.popleft()
