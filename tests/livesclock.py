"""The schedules of the second crash test, as the store has them while no server runs.

Cron knows no less than a minute. So between two lives of the server what is remembered of a schedule's last
time is set to an earlier one, and the next start has something to make up for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Final

from crashbook import CHANGED, DUPLICATE, LOST, OTHER, SETTLED, Ledger
from livespeers import SINGLE, TICKS
from txgear.broker.records import SCHEDULED, Batch, JobRecord, StoredValue
from txgear.stores import make_store
from txgear.stores.sql import SqlStore

MINUTE: Final = 60.0

#: Minutes by which it is put back, at the most.
MOST_MINUTES: Final = 3000

#: When a server is up that is killed before it was seen to be.
NEVER: Final = inf


def minute(moment: float) -> float:
    """The beginning of a moment's minute."""
    return moment // MINUTE * MINUTE


@dataclass
class Memory:
    """What is known of one schedule.

    :ivar numbers: of the jobs that are there.
    :ivar mark: the last time for which it has run.
    :ivar times: all for which it has since the mark was set back, known from when the jobs were submitted.
    """

    numbers: set[int] = field(default_factory=set)
    mark: float = 0.0
    times: set[float] = field(default_factory=set)


class Schedules:
    """Two schedules of each minute: one has a job each time, the other never more than one."""

    def __init__(self, url: str, book: Ledger, randomness: Random) -> None:
        self._url = url
        self._book = book
        self._random = randomness
        self._known = {TICKS: Memory(), SINGLE: Memory()}

    def set_back(self, now: float) -> None:
        """Have them miss some minutes."""
        for name, known in self._known.items():
            known.mark = minute(now) - MINUTE * self._random.randint(1, MOST_MINUTES)
            known.times.clear()
            with self._store() as store:
                store.write(Batch((), (), (), values=[StoredValue(SCHEDULED, name, known.mark)]))
        self._book.counts["set back"] += 1

    def examine(self, started: float, up: float, ended: float, done: set[int] | None = None) -> None:
        """A server has run and does no more: look at what there is. All times are in seconds since the epoch.

        :param started: when it was started.
        :param up: when it was seen to be up; infinite if it was not.
        :param ended: when it was killed.
        :param done: the numbers of the jobs that were done meanwhile.
        """
        with self._store() as store:
            records = [record for record in _all(store) if record.function in self._known]
            marks = {mark.name: mark.value for mark in store.values() if mark.kind == SCHEDULED}
        for name, known in self._known.items():
            mark = marks.get(name, 0.0)
            jobs = {record.number: record for record in records if record.function == name}
            if missing := known.numbers - jobs.keys() - (done or set()):
                self._book.wrong(LOST, f"jobs {missing} of the schedule {name!r}")
            new = [jobs[number].created for number in sorted(jobs.keys() - known.numbers)]
            known.numbers = set(jobs)
            self._book.counts["scheduled"] += len(new)
            said = f"the schedule {name!r}, {mark:.0f} after {known.mark:.0f}, has new jobs of {new}"
            if not (mark == known.mark or (minute(started) <= mark <= ended and mark % MINUTE == 0)):
                self._book.wrong(CHANGED, said)
            if ended - up > SETTLED and mark < minute(started):
                self._book.wrong(LOST, f"{said}, and none for what it had missed")
            if up == NEVER:
                self._book.counts["at start: " + ("submitted" if mark > known.mark else "not yet")] += 1
            if name == SINGLE:
                if len(jobs) > 1:
                    self._book.wrong(DUPLICATE, f"{said}, {len(jobs)} in all")
            else:
                self._compare_times(known, mark, new, said)
            known.mark = mark

    def _compare_times(self, known: Memory, mark: float, new: list[float], said: str) -> None:
        """A job for each time, and one only; the last of them is what is remembered."""
        for time in map(minute, new):
            if time in known.times:
                self._book.wrong(DUPLICATE, f"{said}, the second one for {time:.0f}")
            known.times.add(time)
        if mark != max(known.times, default=known.mark):
            self._book.wrong(OTHER, f"{said}: the mark and the job are not kept together")

    @contextmanager
    def _store(self) -> Iterator[SqlStore]:
        store = make_store(self._url)
        store.open()
        try:
            yield store
        finally:
            store.close(None)

    @property
    def numbers(self) -> set[int]:
        """Of all jobs that are there."""
        return set().union(*(known.numbers for known in self._known.values()))


def _all(store: SqlStore) -> list[JobRecord]:
    found: list[JobRecord] = []
    while len(part := store.replay(found[-1].number if found else 0, 10_000)) == 10_000:
        found += part
    return found + part
