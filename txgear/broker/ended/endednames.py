"""
Jobs that have ended, by their uniques: several may have the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from txgear.broker.states import DONE
from txgear.broker.uniques import Key, Uniques

if TYPE_CHECKING:
    from txgear.broker.model import Function, Job


def _end(job: Job) -> float:
    return job.since


def _place(job: Job) -> int:
    return job.place


class EndedNames:
    """
    Those that are in memory.

    @ivar last: of each function and key the one that ended last.
    """

    __slots__ = ("_older", "last")

    def __init__(self) -> None:
        self.last: Uniques[Job] = Uniques()
        # Where several have one name those that ended before the last one, in that order.
        self._older: dict[tuple[Function, Key], list[Job]] = {}

    def __len__(self) -> int:
        return len(self.last) + sum(map(len, self._older.values()))

    def add(self, job: Job, key: Key) -> None:
        """One more, which is the last that ended."""
        last = self.last.find(job.function, key)
        if last is not None:
            self.last.remove(key, last)
            self._older.setdefault((job.function, key), []).append(last)
        self.last.add(key, job)

    def sort(self, function: Function, key: Key) -> None:
        """One more was added that did not end after all others: of jobs that a store has places say that."""
        older = self._older.get((function, key))
        if older is not None:
            last = self.last.find(function, key)
            assert last is not None
            self.last.remove(key, last)
            *older[:], last = sorted([*older, last], key=_place)
            self.last.add(key, last)

    def remove(self, job: Job, key: Key) -> None:
        """One less, which is there."""
        if not self._older and self.last.jobs.get(key) is job:
            # As nearly each.
            del self.last.jobs[key]
            return
        place = job.function, key
        older = self._older.get(place, [])
        if self.last.find(*place) is not job:
            older.remove(job)
        else:
            self.last.remove(key, job)
            if older:
                self.last.add(key, older.pop())
        if not older:
            self._older.pop(place, None)

    def find(self, function: Function, key: Key) -> Job | None:
        """The job of this function and key that ended last."""
        return self.last.find(function, key)

    def find_done(self, function: Function, key: Key) -> Job | None:
        """The same, of those that were done."""
        last = self.last.find(function, key)
        if last is None or last.state == DONE:
            return last
        return next(
            (job for job in reversed(self._older.get((function, key), [])) if job.state == DONE), None
        )

    def newest(self, unique: bytes, wanted: Callable[[Job], bool] | None = None) -> Job | None:
        """
        The one with this unique that ended last, of whatever function.

        @param wanted: whether a job counts; by default each does.
        """
        found = self.last.jobs.get(unique)
        if found is None:
            return None
        several = reversed(found) if isinstance(found, list) else (found,)
        return max(several if wanted is None else filter(wanted, several), key=_end, default=None)

    def named(self, unique: bytes) -> list[Job]:
        """All with this unique, of whatever function."""
        return [
            job
            for last in self.last.named(unique)
            for job in (last, *self._older.get((last.function, unique), ()))
        ]
