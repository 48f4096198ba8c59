"""
Changes on their way to a store: what has gathered, and how a batch of it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from txgear.changes import Addition, Batch, Mark, Move, Result
from txgear.errors import StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from txgear.interfaces import IJobStore

T = TypeVar("T")

MOST_REFUSALS: Final = 16
"""Jobs or results refused one by one, none of their batch being kept, after which the rest is not tried."""


class Unhurried:
    """
    Changes that nobody waits for.

    @ivar moves: by job.
    @ivar ends: see L{Batch}.
    @ivar results: by job.
    @ivar forgotten: see L{Batch}.
    @ivar marks: by kind and name.
    """

    __slots__ = ("ends", "forgotten", "marks", "moves", "results")

    def __init__(self) -> None:
        self.moves: dict[int, Move] = {}
        self.ends: list[int] = []
        self.results: dict[int, bytes] = {}
        self.forgotten: list[int] = []
        self.marks: dict[tuple[int, bytes], Mark] = {}

    def __len__(self) -> int:
        return len(self.moves) + len(self.ends) + len(self.results) + len(self.forgotten) + len(self.marks)

    def put_back(self, earlier: Unhurried) -> None:
        """These have not been written after all: what has been said since is newer."""
        self.moves = {**earlier.moves, **self.moves}
        self.ends = earlier.ends + self.ends
        self.results = {**earlier.results, **self.results}
        self.forgotten = earlier.forgotten + self.forgotten
        self.marks = {**earlier.marks, **self.marks}

    def drop(self, number: int) -> None:
        """The job with this number is not kept after all: neither is what was to be kept with it."""
        self.moves.pop(number, None)
        self.results.pop(number, None)
        if self.marks:
            self.marks = {key: mark for key, mark in self.marks.items() if mark.number != number}

    def count_ended(self) -> int:
        """How many jobs have ended by what is said here."""
        return len({*self.ends, *(move.number for move in self.moves.values() if move.state)})

    def batch(self, additions: Sequence[Addition]) -> Batch:
        """All of it, and these."""
        return Batch(
            additions,
            list(self.moves.values()),
            self.ends,
            list(self.results.items()),
            self.forgotten,
            list(self.marks.values()),
        )


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

    def add(part: Sequence[Addition]) -> None:
        numbers = {job.number for job, _ in part}
        marks = [mark for mark in batch.marks if mark.number in numbers]
        store.write(Batch(part, (), (), marks=marks))

    def replace(part: Sequence[Result]) -> None:
        store.write(Batch((), (), (), part))

    additions = _by_halves(batch.additions, add, reason)
    own = {job.number for job, _ in batch.additions}
    gone = {batch.additions[index][0].number for index in additions}.union(batch.ends, batch.forgotten)
    marks = [mark for mark in batch.marks if mark.number not in own]
    # Later, as they may speak of jobs that are new; and what ends may make room for results.
    rest = Batch((), batch.moves, batch.ends, forgotten=batch.forgotten, marks=marks)
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
