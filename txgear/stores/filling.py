"""
Fills in what the jobs of an earlier version are found by, and makes the indexes.

Each page is a transaction that says how far it has come. So it may be interrupted anywhere; whoever opens the
store next goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, func, select, update
from twisted.logger import Logger

from txgear.broker.ended.deadgroups import DEAD_REASONS, UNKNOWN, reason_of
from txgear.broker.history import History
from txgear.broker.records import ASIDE, DEAD, KEPT, NAMED, READY, WAITING, JobRecord, key_of_record
from txgear.broker.states import DEAD as IS_DEAD
from txgear.broker.states import DONE
from txgear.errors import PolicyError
from txgear.stores.places import Places, Tally, ukey_of
from txgear.stores.schema import jobs, numbers

if TYPE_CHECKING:
    from txgear.stores.dialects import StoreDialect
    from txgear.stores.lanecounts import LaneCounts
    from txgear.stores.statements import Placed

PAGE: Final = 5000
"""Jobs of one transaction."""
SAY_EVERY: Final = 500_000
"""Jobs after which the log says how far it has come."""


class Filling:
    """
    Does it, for a store that is being opened.
    """

    log = Logger()

    def __init__(
        self,
        dialect: StoreDialect,
        connection: Connection,
        transaction: Callable[[], AbstractContextManager[None]],
        places: Places,
        counts: LaneCounts,
    ) -> None:
        """
        @param connection: outside of a transaction, and so it is afterwards.
        @param transaction: makes one of it, which is committed at the end.
        """
        self._dialect = dialect
        self._connection = connection
        self._transaction = transaction
        self._places = places
        self._counts = counts

    def run(self, after: int) -> None:
        """
        Do it, or what is left of it.

        @param after: the lanes of jobs with numbers up to this are known.
        """
        connection = self._connection
        last = connection.execute(select(func.max(jobs.c.number))).scalar()
        connection.rollback()
        if last is not None and last > after:
            self.log.info(
                "bringing the jobs up to date; it may be interrupted, and goes on at the next start"
            )
        done = 0
        while last is not None and after < last:
            after, count = self._page(after)
            done += count
            if done // SAY_EVERY != (done - count) // SAY_EVERY:
                self.log.info("{count} jobs brought up to date", count=done)
        with self._dialect.patience(self._driver()):
            for index in self._dialect.indexes:
                if done >= SAY_EVERY:
                    self.log.info("making the index {index}", index=index.name)
                with self._transaction():
                    index.create(connection, checkfirst=True)
        with self._transaction():
            connection.execute(update(numbers).values(filled=None))

    def _driver(self) -> Any:
        return self._connection.connection.driver_connection

    def _page(self, after: int) -> tuple[int, int]:
        """
        Do the next jobs.

        @return: the last one's number, and how many there were.
        """
        with self._transaction():
            cursor = self._dialect.cursor(self._driver())
            statements = self._dialect.statements
            records = statements.replay(cursor, after, PAGE)
            tally = Tally()
            rows: list[Placed] = []
            for record in records:
                job = record._replace(kind=kind_of(record), wake=0.0)
                rows.append((job.number, self._places.count(job, tally), ukey_of(job), job.due))
            statements.place(cursor, rows)
            self._counts.apply(cursor, tally)
            cursor.close()
            after = records[-1].number
            self._connection.execute(update(numbers).values(filled=after))
        return after, len(records)


def kind_of(job: JobRecord) -> int:
    """What an earlier version's job is counted as, as far as that can be told from what is kept of it."""
    if not job.state:
        return WAITING if job.due else READY
    try:
        history = History.from_bytes(job.history) if job.history else History()
    except (ValueError, PolicyError):
        # It is for those who take the job up to say so.
        return DEAD + DEAD_REASONS.index(UNKNOWN) if job.state == IS_DEAD else KEPT
    if job.state == IS_DEAD:
        return ASIDE if history.aside is not None else DEAD + DEAD_REASONS.index(reason_of(history))
    named = job.state == DONE and not history.complete and key_of_record(job) is not None
    return NAMED if named else KEPT
