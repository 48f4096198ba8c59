"""
What is done to a great many jobs, in pieces: some in each turn, so that others get theirs between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")

BATCH: Final = 250
"""Jobs that one turn does something to at the most: milliseconds, whatever is done and however it is kept."""

BulkTask: TypeAlias = Generator[None, float, None]
"""
Does something to one job, or looks at some, between one C{yield} and the next. Each gives it the
time, in seconds; the first comes before all that is done.

What it has not come to yet may have changed meanwhile: it looks at each job anew.
"""


def one_by_one(items: Iterable[T]) -> Iterator[T]:
    """These, in order, each let go of as it comes: to free 100,000 at the end would be a long turn."""
    left = list(items)
    left.reverse()
    del items
    while left:
        yield left.pop()


class BulkTasks:
    """The tasks that are not done, the one that is at work first."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: deque[BulkTask] = deque()

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: BulkTask) -> None:
        """Do this later, after all others."""
        next(task)
        self._tasks.append(task)

    def start(self, task: BulkTask, now: float) -> None:
        """Do the first piece of this at once, and what is left later."""
        next(task)
        try:
            for _ in range(BATCH):
                task.send(now)
        except StopIteration:
            return
        self._tasks.append(task)

    def turn(self) -> None:
        """Let the next one be at work, and the one that was be behind all others."""
        self._tasks.rotate(-1)

    def work(self, now: float, steps: int = BATCH) -> None:
        """Do a piece of what is left: so many steps at the most."""
        for _ in range(steps):
            if not self._tasks:
                return
            try:
                self._tasks[0].send(now)
            except StopIteration:
                self._tasks.popleft()
