"""
A buffer of changes to kept jobs: what has gathered, and what of it one batch takes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice

from txgear.broker.records import Batch, JobChange, JobUpdate, Naming, NewJob, StoredValue
from txgear.journal.batches import MOST_BYTES, MOST_ROWS, fitting


class WriteBuffer:
    """
    Changes that nobody waits for.

    None of these can grow without end while the store is away: of each job that is kept there is one update,
    one change, one result and one deletion at the most, and while it is away no job and no new workload is
    taken; of values there is one for each function and schedule. Results are bounded in bytes by whoever adds
    them.

    @ivar updates: by job number.
    @ivar deleted: see L{Batch}; numbers, in this order.
    @ivar results: by job number.
    @ivar deleted_all: likewise.
    @ivar values: by kind and name.
    @ivar changes: by job number.
    @ivar names: likewise.
    @ivar bytes: of the results, and of the workloads of changes.
    """

    __slots__ = ("bytes", "changes", "deleted", "deleted_all", "names", "results", "updates", "values")

    def __init__(self) -> None:
        self.updates: dict[int, JobUpdate] = {}
        self.deleted: dict[int, None] = {}
        self.results: dict[int, bytes] = {}
        self.deleted_all: dict[int, None] = {}
        self.values: dict[tuple[int, bytes], StoredValue] = {}
        self.changes: dict[int, JobChange] = {}
        self.names: dict[int, Naming] = {}
        self.bytes = 0

    def __len__(self) -> int:
        changes = len(self.updates) + len(self.deleted) + len(self.results)
        return changes + len(self.deleted_all) + len(self.values) + len(self.changes) + len(self.names)

    def __contains__(self, number: int) -> bool:
        """Whether anything of this job is here."""
        return (
            number in self.updates
            or number in self.deleted
            or number in self.changes
            or number in self.results
            or number in self.deleted_all
        )

    def others(self, numbers: set[int]) -> set[int]:
        """Those of these jobs of which nothing is here."""
        for part in (self.updates, self.deleted, self.changes, self.results, self.deleted_all):
            if part:
                numbers = numbers.difference(part)
        return numbers

    def put_result(self, number: int, result: bytes) -> None:
        """Keep this result, in place of an earlier one."""
        if number in self.results:
            self.drop_result(number)
        self.results[number] = result
        self.bytes += len(result)

    def drop_result(self, number: int) -> None:
        """There is no result to be kept of this job any more."""
        self.bytes -= len(self.results.pop(number, b""))

    def put_change(self, change: JobChange) -> None:
        """Change this, too. An earlier change of the job has a new workload that it may not have."""
        earlier = self.changes.pop(change.number, None)
        if earlier is not None and earlier.workload is not None:
            if change.workload is None:
                change = change._replace(workload=earlier.workload)
            self.bytes -= len(earlier.workload)
        self.changes[change.number] = change
        self.bytes += _size(change)

    def restore(self, earlier: WriteBuffer) -> None:
        """These changes were not written after all; what is here is newer."""
        for number in (*self.results, *self.deleted_all):
            earlier.drop_result(number)
        self.updates = {**earlier.updates, **self.updates}
        self.deleted = {**earlier.deleted, **self.deleted}
        self.results = {**earlier.results, **self.results}
        self.deleted_all = {**earlier.deleted_all, **self.deleted_all}
        self.values = {**earlier.values, **self.values}
        self.names = {**earlier.names, **self.names}
        newer, self.changes = self.changes, earlier.changes
        self.bytes += earlier.bytes - sum(map(_size, newer.values()))
        for change in newer.values():
            self.put_change(change)

    def drop(self, number: int) -> None:
        """The job with this number was refused: what was to be kept with it is not kept either."""
        self.updates.pop(number, None)
        self.names.pop(number, None)
        if (change := self.changes.pop(number, None)) is not None:
            self.bytes -= _size(change)
        if self.values:
            self.values = {key: value for key, value in self.values.items() if value.number != number}
        self.drop_result(number)

    @property
    def fits(self) -> bool:
        """Whether one batch has room for all."""
        return len(self) <= MOST_ROWS and self.bytes <= MOST_BYTES

    def take(self, later: Collection[int]) -> WriteBuffer:
        """
        Take out what one batch has room for. A job's update and its result stay together: a result takes the
        place of the workload, which a job that has not ended still needs. Nothing of a job comes before its
        change: an update may have the size of the new workload, and one that is deleted is to stay so.

        @param later: numbers of jobs that a later batch adds; their changes wait for that.
        """
        part = WriteBuffer()
        changed = [number for number in islice(self.changes, MOST_ROWS) if number not in later]
        for number in changed[: fitting([_size(self.changes[number]) for number in changed])]:
            change = self.changes.pop(number)
            self.bytes -= _size(change)
            part.put_change(change)
        if self.changes:
            later = {*later, *self.changes}
        results = list(islice(self.results, MOST_ROWS))
        if later:
            results = [number for number in results if number not in later]
        for number in results[: fitting([len(self.results[number]) for number in results])]:
            part.put_result(number, self.results[number])
            self.drop_result(number)
            if number in self.updates:
                part.updates[number] = self.updates.pop(number)
        for number in list(islice(self.updates, MOST_ROWS)):
            if number not in self.results and number not in later:
                part.updates[number] = self.updates.pop(number)
        part.deleted = _take_first(self.deleted, later)
        part.deleted_all = _take_first(self.deleted_all, later)
        part.values = {key: value for key, value in self.values.items() if value.number not in later}
        self.values = {key: value for key, value in self.values.items() if value.number in later}
        for number in [number for number in islice(self.names, MOST_ROWS) if number not in later]:
            part.names[number] = self.names.pop(number)
        return part

    def of(self, numbers: Collection[int], passed: Collection[int]) -> WriteBuffer:
        """
        What is said here of new jobs that are to be written once more.

        @param numbers: theirs.
        @param passed: those of them that are for no schedule any more.
        """
        part = WriteBuffer()
        part.updates = {number: each for number, each in self.updates.items() if number in numbers}
        for number in self.changes.keys() & numbers:
            part.put_change(self.changes[number])
        part.names = {number: each for number, each in self.names.items() if number in numbers}
        part.values = {
            key: value
            for key, value in self.values.items()
            if value.number in numbers and value.number not in passed
        }
        return part

    def count_ended(self) -> int:
        """How many jobs have ended, as these changes say."""
        return len({*self.deleted, *(update.number for update in self.updates.values() if update.state)})

    def batch(self, new_jobs: Sequence[NewJob]) -> Batch:
        """All of it, and these."""
        return Batch(
            new_jobs,
            list(self.updates.values()),
            list(self.deleted),
            list(self.results.items()),
            list(self.deleted_all),
            list(self.values.values()),
            tuple(self.changes.values()),
            tuple(self.names.values()),
        )

    def check(self) -> None:
        """
        Assert that the bytes are those of the results and of the changes. For tests.

        @raise AssertionError: they are not.
        """
        assert self.bytes == sum(map(len, self.results.values())) + sum(map(_size, self.changes.values()))


def _size(change: JobChange) -> int:
    """Bytes of its workload."""
    return 0 if change.workload is None else len(change.workload)


def _take_first(numbers: dict[int, None], later: Collection[int]) -> dict[int, None]:
    """Take out those that a batch has room for."""
    first = dict.fromkeys(number for number in islice(numbers, MOST_ROWS) if number not in later)
    for number in first:
        del numbers[number]
    return first
