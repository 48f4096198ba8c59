"""
Jobs and batches as a store has them, said in a word.
"""

from __future__ import annotations

from collections.abc import Iterable

from txgear.broker.records import Batch, JobChange, JobRecord, JobUpdate, NewJob, Result, StoredValue
from txgear.protocol.constants import NORMAL
from txgear.protocol.packets import Data


def stored(
    number: int,
    *,
    place: int = 0,
    prefix: bytes = b"H:test",
    function: bytes = b"f",
    unique: bytes = b"",
    digest: bytes | None = None,
    reducer: bytes = b"",
    priority: int = NORMAL,
    due: float = 0.0,
    retries: int = 0,
    size: int = 0,
    created: float = 0.0,
    state: int = 0,
    ended: float = 0.0,
    history: bytes | None = None,
) -> JobRecord:
    """A job as a store has it."""
    return JobRecord(
        number,
        place or number,
        prefix,
        function,
        unique,
        digest,
        reducer,
        priority,
        due,
        retries,
        size,
        created,
        state,
        ended,
        history,
    )


def addition(number: int, workload: Data = b"") -> NewJob:
    """A job with a workload."""
    return stored(number, size=len(workload)), workload


def adding(*new_jobs: NewJob) -> Batch:
    return Batch(new_jobs, (), ())


def updating(*updates: JobUpdate) -> Batch:
    return Batch((), updates, ())


def changing(*changes: JobChange) -> Batch:
    return Batch((), (), (), changes=changes)


def deleting(numbers: Iterable[int]) -> Batch:
    return Batch((), (), list(numbers))


def with_results(*results: Result) -> Batch:
    return Batch((), (), (), results)


def deleting_all(numbers: Iterable[int]) -> Batch:
    return Batch((), (), (), deleted_all=list(numbers))


def setting_values(*values: StoredValue) -> Batch:
    return Batch((), (), (), values=values)
