"""
The start sequence: a broker takes up what a store has kept.

The service, L{txgear.testing} and the tests start a server with a store in this one way.
"""

from __future__ import annotations

from txgear.broker.broker import Broker
from txgear.broker.records import StoredValue
from txgear.interfaces import IJobStore
from txgear.journal.journal import NUMBERS


def restore(broker: Broker, store: IJobStore, now: float, numbers: int = NUMBERS) -> list[StoredValue]:
    """
    Open a store and take up what is in it: how many jobs there are. They are read as they are needed. This
    blocks: nobody may have connected yet.

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
    broker.store_events.begin(store.lanes(), values, now)
    return values
