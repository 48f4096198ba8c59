"""
The start sequence: a broker takes up what a store has kept.

The service, L{txgear.testing} and the tests start a server with a store in this one way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from twisted.logger import Logger

from txgear.broker.broker import Broker
from txgear.broker.records import ASIDE, DEAD, OWN, PAUSED, WAITING, InLane, JobRecord, Lane, StoredValue
from txgear.broker.words import number
from txgear.interfaces import IJobStore, IPatientStore
from txgear.journal.journal import NUMBERS, Journal
from txgear.protocol.textlines import shown_word

PAGE: Final = 1000
"""Jobs that are set aside of which so many are read at once."""
MOST_NAMED: Final = 20
"""Paused functions that the log names at the start; a command lists all."""


class Restored(NamedTuple):
    """
    What a store has kept.

    @ivar values: what is no job.
    @ivar jobs: how many jobs have not ended.
    @ivar dead: how many are dead.
    @ivar others: how many have ended otherwise, and are kept or known still.
    """

    values: list[StoredValue]
    jobs: int
    dead: int
    others: int

    def tell(self, log: Logger, seconds: float) -> None:
        """
        Tell a log, and which functions are paused: nobody wonders why their jobs wait who has read this.

        @param seconds: what it has taken to take that up.
        """
        _, jobs, dead, others = self
        if jobs or dead or others:
            log.info(
                "{count} {jobs} back from the store, in {seconds:.1f} seconds{also}",
                count=jobs,
                jobs="job is" if jobs == 1 else "jobs are",
                seconds=seconds,
                also=f"; ended ones that are kept: {dead:,} dead, {number(others, 'other')}"
                if dead or others
                else "",
            )
        if paused := [value.name for value in self.values if value.kind == PAUSED]:
            more = len(paused) - MOST_NAMED
            log.warn(
                "paused, until `resume` is said: {functions}{more}",
                functions=" ".join(shown_word(name).decode("utf-8") for name in paused[:MOST_NAMED]),
                more=f" and {more} more" if more > 0 else "",
            )


def restore(
    broker: Broker, journal: Journal, store: IJobStore, now: float, numbers: int = NUMBERS
) -> Restored:
    """
    Open a store and take up how many jobs are in it; they are read as they are needed, but those that are set
    aside, which are few. This blocks, but it takes the same however many others there are: nobody may have
    connected yet.

    @param broker: has its policies, and no job.
    @param journal: the broker's, which leads to this store.
    @param store: not open.
    @param now: the time of the broker.
    @param numbers: how many job numbers are reserved for the broker.
    @raise txgear.errors.StoreError: the store cannot be opened or read.
    """
    store.open()
    if IPatientStore.providedBy(store):
        journal.bear(store.timeout)
    # The reserved numbers are above those of all jobs that are kept.
    broker.store_events.reserve(store.reserve(numbers), numbers)
    values, lanes = store.values(), store.lanes()
    aside: list[JobRecord] = []
    jobs = dead = others = 0
    for lane, count, _ in lanes:
        if lane.kind <= WAITING:
            jobs += count
        elif lane.kind & ~OWN == ASIDE:
            dead += count
            aside += _all_in(store, lane)
        elif lane.kind & ~OWN >= DEAD:
            dead += count
        else:
            others += count
    journal.found(jobs + dead + others)
    broker.store_events.begin(lanes, values, now, aside)
    if journal.shared is not None:
        for value in journal.shared.found(values):
            broker.operations.put_in_force(value, now)
    return Restored(values, jobs, dead, others)


def _all_in(store: IJobStore, lane: Lane) -> Iterator[JobRecord]:
    """All jobs of a lane of the store."""
    after = 0
    while page := store.rows(InLane(lane, after, PAGE)):
        yield from page
        after = page[-1].place
