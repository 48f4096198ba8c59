"""
Changes on their way to a store: what has gathered, and how a batch of it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from txgear.broker.records import Batch, JobUpdate, NewJob, Result, StoredValue
from txgear.errors import StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from txgear.interfaces import IJobStore

T = TypeVar("T")

MOST_ROWS: Final = 10_000
"""Rows of each kind in one batch: a tenth of a second of a good disk, and more would gain nothing."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""
Bytes of the workloads, and of the results, in one batch, unless one alone has more: a batch
that grew while a slow line did not take it would never be through.
"""
MOST_REFUSALS: Final = 16
"""Jobs or results refused one by one, none of their batch being kept, after which the rest is not tried."""


def fitting(sizes: Sequence[int]) -> int:
    """
    How many of the first of these one batch takes; at least one, if there is any.

    @param sizes: bytes of each.
    """
    size = 0
    for index, each in enumerate(islice(sizes, MOST_ROWS)):
        size += each
        if size > MOST_BYTES and index:
            return index
    return min(len(sizes), MOST_ROWS)


class WriteBuffer:
    """
    Changes that nobody waits for.

    None of these can grow without end while the store is away: of each job that is kept there is one move,
    one result and one end at the most, and while it is away no job is taken; of marks there is one
    for each function and schedule. Results are bounded in bytes by whoever adds them.

    @ivar moves: by job.
    @ivar ends: see L{Batch}.
    @ivar results: by job.
    @ivar forgotten: see L{Batch}.
    @ivar marks: by kind and name.
    @ivar bytes: of the results.
    """

    __slots__ = ("bytes", "ends", "forgotten", "marks", "moves", "results")

    def __init__(self) -> None:
        self.moves: dict[int, JobUpdate] = {}
        self.ends: list[int] = []
        self.results: dict[int, bytes] = {}
        self.forgotten: list[int] = []
        self.marks: dict[tuple[int, bytes], StoredValue] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.moves) + len(self.ends) + len(self.results) + len(self.forgotten) + len(self.marks)

    def keep(self, number: int, result: bytes) -> int:
        """
        Keep this result, in place of an earlier one.

        @return: by how many bytes that is more than before.
        """
        more = len(result) - self.drop_result(number)
        self.results[number] = result
        self.bytes += len(result)
        return more

    def drop_result(self, number: int) -> int:
        """
        There is no result to be kept of this job any more.

        @return: by how many bytes that is less than before.
        """
        less = len(self.results.pop(number, b""))
        self.bytes -= less
        return less

    def restore(self, earlier: WriteBuffer) -> int:
        """
        These have not been written after all: what has been said since is newer.

        @return: by how many bytes that is less than before.
        """
        less = sum([earlier.drop_result(number) for number in (*self.results, *self.forgotten)])
        self.moves = {**earlier.moves, **self.moves}
        self.ends = earlier.ends + self.ends
        self.results = {**earlier.results, **self.results}
        self.forgotten = earlier.forgotten + self.forgotten
        self.marks = {**earlier.marks, **self.marks}
        self.bytes += earlier.bytes
        return less

    def drop(self, number: int) -> int:
        """
        The job with this number is not kept after all: neither is what was to be kept with it.

        @return: by how many bytes that is less than before.
        """
        self.moves.pop(number, None)
        if self.marks:
            self.marks = {key: mark for key, mark in self.marks.items() if mark.number != number}
        return self.drop_result(number)

    @property
    def fits(self) -> bool:
        """Whether one batch has room for all."""
        return len(self) <= MOST_ROWS and self.bytes <= MOST_BYTES

    def cut(self, later: Collection[int]) -> WriteBuffer:
        """
        Take out what one batch has room for. A job's move and its result stay together: a result takes
        the place of the workload, which a job that has not ended still needs.

        @param later: jobs that are added by a later batch; what is said of them waits for that.
        """
        part = WriteBuffer()
        results = list(islice(self.results, MOST_ROWS))
        if later:
            results = [number for number in results if number not in later]
        for number in results[: fitting([len(self.results[number]) for number in results])]:
            part.keep(number, self.results[number])
            self.drop_result(number)
            if number in self.moves:
                part.moves[number] = self.moves.pop(number)
        for number in list(islice(self.moves, MOST_ROWS)):
            if number not in self.results and number not in later:
                part.moves[number] = self.moves.pop(number)
        part.ends, self.ends = _first(self.ends, later)
        part.forgotten, self.forgotten = _first(self.forgotten, later)
        part.marks = {key: mark for key, mark in self.marks.items() if mark.number not in later}
        self.marks = {key: mark for key, mark in self.marks.items() if mark.number in later}
        return part

    def count_ended(self) -> int:
        """How many jobs have ended by what is said here."""
        return len({*self.ends, *(move.number for move in self.moves.values() if move.state)})

    def batch(self, additions: Sequence[NewJob]) -> Batch:
        """All of it, and these."""
        return Batch(
            additions,
            list(self.moves.values()),
            self.ends,
            list(self.results.items()),
            self.forgotten,
            list(self.marks.values()),
        )


def _first(numbers: list[int], later: Collection[int]) -> tuple[list[int], list[int]]:
    """Those that a batch has room for, and the others."""
    first = numbers[:MOST_ROWS]
    left = [number for number in first if number in later]
    return [number for number in first if number not in later], left + numbers[MOST_ROWS:]


class Refusals(NamedTuple):
    """
    What a store would not keep.

    @ivar additions: why, by their place in the batch.
    @ivar results: why, by job.
    """

    additions: dict[int, StoreRefused]
    results: dict[int, StoreRefused]


def write_all(store: IJobStore, batch: Batch) -> Refusals:
    """
    Write a batch, or what the store will take of it: one job or result that it
    refuses does not cost the others theirs. Blocks.

    @raise StoreUnavailable: the store is lost, or it takes not even moves, ends and marks.
    """
    try:
        store.write(batch)
    except StoreRefused as error:
        reason = error
    else:
        return Refusals({}, {})

    def add(part: Sequence[NewJob]) -> None:
        numbers = {job.number for job, _ in part}
        marks = [mark for mark in batch.values if mark.number in numbers]
        store.write(Batch(part, (), (), values=marks))

    def replace(part: Sequence[Result]) -> None:
        store.write(Batch((), (), (), part))

    additions = _by_halves(batch.new_jobs, add, reason)
    own = {job.number for job, _ in batch.new_jobs}
    gone = {batch.new_jobs[index][0].number for index in additions}.union(batch.deleted, batch.deleted_all)
    marks = [mark for mark in batch.values if mark.number not in own]
    # Later, as they may speak of jobs that are new; and what ends may make room for results.
    rest = Batch((), batch.updates, batch.deleted, deleted_all=batch.deleted_all, values=marks)
    try:
        if any(rest):
            store.write(rest)
        results = [result for result in batch.results if result[0] not in gone]
        refused = {results[index][0]: why for index, why in _by_halves(results, replace, reason).items()}
        if refused:
            replace([(number, b"") for number in refused])
    except StoreRefused as error:
        raise StoreUnavailable(str(error)) from error
    return Refusals(additions, refused)


def _by_halves(
    items: Sequence[T], write: Callable[[Sequence[T]], None], reason: StoreRefused
) -> dict[int, StoreRefused]:
    """
    Write all that is not refused, and find what is, by halves.

    @param reason: why it was refused together with others.
    @return: why, by places.
    """
    refused: dict[int, StoreRefused] = {}
    any_kept = False
    parts = [(0, items)] if items else []
    while parts:
        first, part = parts.pop()
        if len(refused) >= MOST_REFUSALS and not any_kept:
            # It is not this one or that one: the disk is full.
            refused.update(dict.fromkeys(range(first, first + len(part)), reason))
            continue
        try:
            write(part)
            any_kept = True
        except StoreRefused as error:
            if len(part) == 1:
                refused[first] = reason = error
            else:
                half = len(part) // 2
                parts += [(first + half, part[half:]), (first, part[:half])]
    return refused
