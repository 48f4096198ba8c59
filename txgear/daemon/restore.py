"""
The start sequence: a broker takes up what a store has kept.

The service, L{txgear.testing} and the tests start a server with a store in this one way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from twisted.logger import Logger

from txgear.broker.broker import Broker
from txgear.broker.records import JobRecord, StoredValue
from txgear.interfaces import IJobStore
from txgear.journal.journal import NUMBERS

CHUNK: Final = 10_000
"""Jobs that are read at once."""
REPORT_EVERY: Final = 100_000
"""Jobs after which the log hears how many have been read."""

log = Logger()


def restore(broker: Broker, store: IJobStore, now: float, numbers: int = NUMBERS) -> list[StoredValue]:
    """
    Open a store and queue what is in it. This blocks: nobody may have connected yet.

    @param broker: has its policies, and no job.
    @param store: not open.
    @param now: the time of the broker.
    @param numbers: how many job numbers are reserved for the broker.
    @return: the values that the store has kept.
    @raise txgear.errors.StoreError: the store cannot be opened or read.
    """
    store.open()
    # The reserved numbers are above those of all jobs that are kept.
    broker.store_events.reserve(store.reserve(numbers), numbers)
    values = store.values()
    broker.store_events.restore(_kept_jobs(store), values, now)
    return values


def _kept_jobs(store: IJobStore) -> Iterator[JobRecord]:
    """All jobs of a store, in the order of their numbers."""
    after = count = 0
    while True:
        records = store.replay(after, CHUNK)
        yield from records
        count += len(records)
        if len(records) < CHUNK:
            return
        after = records[-1].number
        if not count % REPORT_EVERY:
            log.info("{count} jobs read from the store", count=count)
