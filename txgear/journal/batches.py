"""
Batches: how much one takes, and how it is written. One job or result that the store refuses does not
cost the others theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from txgear.broker.records import Batch, DoneElsewhere, JobChange, JobRecord, NewJob, Result
from txgear.broker.states import DEAD
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


class Refusals(NamedTuple):
    """
    What a store would not keep.

    @ivar new_jobs: why, by their place in the batch.
    @ivar results: why, by job number.
    @ivar workloads: why new workloads of jobs are not kept, and bytes of those that the store has, by job
        number.
    @ivar joined: new jobs of which another server has the same, by number, as L{DoneElsewhere} has them; and
    @ivar passed: those for what one has done already.
    """

    new_jobs: dict[int, StoreRefused]
    results: dict[int, StoreRefused]
    workloads: dict[int, tuple[StoreRefused, int]]
    joined: Mapping[int, JobRecord] = {}
    passed: Mapping[int, bytes] = {}


def write_all(store: IJobStore, batch: Batch) -> Refusals:
    """
    Write a batch, or what the store will take of it. Blocks.

    @raise StoreUnavailable: the store is lost, or it takes not even updates, deletions and values.
    """
    elsewhere = DoneElsewhere({}, {})
    try:
        _write(store, batch, elsewhere)
    except StoreRefused as error:
        reason = error
    else:
        return Refusals({}, {}, {}, elsewhere.joined, elsewhere.passed)
    return _write_parts(store, batch, elsewhere, reason)


def _write_parts(store: IJobStore, batch: Batch, elsewhere: DoneElsewhere, reason: StoreRefused) -> Refusals:
    """
    Write what the store will take of a batch: new jobs first, then all but results, then these.

    @param elsewhere: what is known already of its new jobs that other servers have, and what is found.
    @param reason: why the store has refused the whole.
    @raise StoreUnavailable: see L{write_all}.
    """

    def add(part: Sequence[NewJob]) -> None:
        numbers = {job.number for job, _ in part}
        values = [value for value in batch.values if value.number in numbers]
        names = [name for name in batch.names if name.number in numbers]
        _write(store, Batch(part, (), (), values=values, names=names), elsewhere)

    def correct(part: Sequence[JobChange]) -> None:
        store.write(Batch((), (), (), changes=part))

    def replace(part: Sequence[Result]) -> None:
        store.write(Batch((), (), (), part))

    refused_jobs = _by_halves(batch.new_jobs, add, reason)
    new = {job.number for job, _ in batch.new_jobs}
    gone = {batch.new_jobs[index][0].number for index in refused_jobs}
    gone.update(batch.deleted, batch.deleted_all, elsewhere.joined, elsewhere.passed)
    values = [value for value in batch.values if value.number not in new]
    # Later, as they may speak of jobs that are new; and what is deleted may make room for results.
    changes = [change for change in batch.changes if change.number not in gone]
    corrected = [change for change in changes if change.workload is not None]
    kept = {corrected[index].number: why for index, why in _by_halves(corrected, correct, reason).items()}
    rest = Batch(
        (),
        [
            # The dead keep their workloads: of one that has its old one still the size is what it was.
            update._replace(size=None) if update.number in kept and update.state == DEAD else update
            for update in batch.updates
        ],
        batch.deleted,
        deleted_all=batch.deleted_all,
        values=values,
        changes=[change._replace(workload=None) for change in changes],
        names=[name for name in batch.names if name.number not in new],
    )
    try:
        if any(rest):
            store.write(rest)
        results = [result for result in batch.results if result[0] not in gone]
        refused = {results[index][0]: why for index, why in _by_halves(results, replace, reason).items()}
        if refused:
            replace([(number, b"") for number in refused])
    except StoreRefused as error:
        raise StoreUnavailable(str(error)) from error
    sizes = {record.number: record.size for number in kept for record in store.replay(number - 1, 1)}
    old = {number: (why, sizes[number]) for number, why in kept.items() if number in sizes}
    return Refusals(refused_jobs, refused, old, elsewhere.joined, elsewhere.passed)


def _write(store: IJobStore, batch: Batch, elsewhere: DoneElsewhere) -> None:
    """
    Write a batch, but for those of its new jobs that other servers have.

    @param elsewhere: what is found of these is put here. Each time there are fewer left that it may be.
    @raise StoreRefused: nothing is written, for another reason.
    """
    while True:
        lost = elsewhere.joined.keys() | elsewhere.passed.keys()
        try:
            store.write(_without(batch, lost) if lost else batch)
        except DoneElsewhere as error:
            elsewhere.joined.update(error.joined)
            elsewhere.passed.update(error.passed)
        else:
            return


def _without(batch: Batch, numbers: Collection[int]) -> Batch:
    """What is left of a batch without some of its new jobs."""
    return batch._replace(
        new_jobs=[new for new in batch.new_jobs if new[0].number not in numbers],
        results=[result for result in batch.results if result[0] not in numbers],
        values=[value for value in batch.values if value.number not in numbers],
        names=[name for name in batch.names if name.number not in numbers],
    )


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
