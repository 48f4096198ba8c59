"""Tests of L{txgear.stores.filling}: files of the revision before."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from functools import partial
from typing import Any, Final

from sqlalchemy import inspect
from sqlalchemy.engine.interfaces import DBAPICursor
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.ended.deadgroups import DEAD_REASONS
from txgear.broker.history import Aside, Attempt, History, owned_by
from txgear.broker.records import (
    ASIDE,
    DEAD,
    KEPT,
    NAMED,
    READY,
    WAITING,
    ByKey,
    InLane,
    JobRecord,
    Lane,
    Waking,
    lane_of,
)
from txgear.broker.states import DEAD as IS_DEAD
from txgear.broker.states import DONE, FAILED
from txgear.stores import make_store, migrations
from txgear.stores.filling import PAGE, Filling, kind_of
from txgear.stores.lanecounts import LaneCounts
from txgear.stores.places import Places, Tally
from txgear.stores.sql import SqlStore
from txgear.stores.statements import Statements
from txgear.test.support.batches import adding, addition, deleting, stored

JOBS: Final = 2 * PAGE + PAGE // 2


class Interrupted(BaseException):
    """Somebody has killed the server."""


class InterruptedCounts(LaneCounts):
    """Counts until it comes to a page."""

    def __init__(self, statements: Statements, pages: int) -> None:
        super().__init__(statements)
        self._left = pages

    def apply(self, cursor: DBAPICursor, tally: Tally) -> None:
        super().apply(cursor, tally)
        self._left -= 1
        if self._left < 0:
            raise Interrupted


def history(reason: str = "", aside: bool = False, **fields: Any) -> bytes:
    made = History()
    for name, value in fields.items():
        setattr(made, name, value)
    if reason:
        made.add_attempt(Attempt(1.0, 2.0, reason, "worker", ""))
    if aside:
        made.aside = Aside("check", 3.0, "")
    return made.to_bytes() or b"{}"


class KindTests(SynchronousTestCase):
    def test_what_jobs_are_counted_as(self) -> None:
        unknown = DEAD + DEAD_REASONS.index("unknown")
        for expected, job in (
            (READY, stored(1)),
            (READY, stored(1, history=b"no history")),
            (WAITING, stored(1, due=5.0)),
            (KEPT, stored(1, state=DONE, due=5.0)),
            (KEPT, stored(1, state=DONE, history=history(data_size=3), unique=b"u")),
            (KEPT, stored(1, state=DONE, history=history(complete=None))),
            (NAMED, stored(1, state=DONE, history=history(complete=None), unique=b"u")),
            (NAMED, stored(1, state=DONE, history=history(complete=False), unique=b"-", digest=bytes(16))),
            (KEPT, stored(1, state=FAILED, history=history(complete=False), unique=b"u")),
            (KEPT, stored(1, state=DONE, history=b"no history", unique=b"u")),
            (unknown, stored(1, state=IS_DEAD)),
            (unknown, stored(1, state=IS_DEAD, history=b"[]")),
            (DEAD + DEAD_REASONS.index("timeout"), stored(1, state=IS_DEAD, history=history("timeout"))),
            (ASIDE, stored(1, state=IS_DEAD, history=history("fail", aside=True))),
        ):
            self.assertEqual(kind_of(job), expected, job)


def said(job: JobRecord) -> JobRecord:
    """As it is read where nothing is asked: what queued jobs are is not said."""
    return job._replace(kind=READY) if job.kind == WAITING else job


class FillingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.realpath(self.mktemp())
        self.jobs = self.fill()

    def make_store(self) -> SqlStore:
        store = make_store(f"sqlite:///{self.path}")
        self.addCleanup(lambda: store.close(None))
        return store

    def fill(self) -> list[JobRecord]:
        """Leave a file of the revision before, in which there are more jobs than one page has."""
        store = self.make_store()
        store._dialect.prepare()
        with store._dialect.engine.connect() as connection:
            migrations.upgrade(connection, "0003")
            connection.commit()
        store.close(None)
        tenant, dead = owned_by("web"), history("exception")
        jobs = [
            stored(
                number,
                place=JOBS * 2 - number if number % 7 == 0 else number,
                function=b"f%d" % (number % 3),
                unique=b"u%d" % number if number % 2 else b"",
                due=float(number) if number % 50 == 1 else 0.0,
                size=number % 10,
                priority=number % 3,
                state=IS_DEAD if number % 50 == 1 else 0,
                history=dead if number % 50 == 1 else tenant if number % 11 == 0 else None,
            )
            # With a gap, as some were done.
            for number in (*range(1, JOBS // 2), *range(JOBS, JOBS + JOBS // 2))
        ]
        with closing(sqlite3.connect(self.path)) as file, file:
            places = ", ".join("?" * 15)
            file.executemany(f"INSERT INTO txgear_jobs VALUES ({places})", [job[:15] for job in jobs])  # noqa: S608
            file.execute("UPDATE txgear_numbers SET next = ?", (3 * JOBS,))
        return [job._replace(kind=kind_of(job)) for job in jobs]

    def check(self, store: SqlStore) -> None:
        """All is known of all jobs."""
        lanes: dict[Lane, list[JobRecord]] = {}
        for job in self.jobs:
            lanes.setdefault(lane_of(job), []).append(job)
        self.assertGreater(len(lanes), 8)
        self.assertEqual(
            {count.lane: (count.jobs, count.bytes) for count in store.lanes()},
            {lane: (len(found), sum(job.size for job in found)) for lane, found in lanes.items()},
        )
        for lane, jobs in lanes.items():
            jobs.sort(key=lambda job: job.place)
            # Not by assertEqual, which compares lists for minutes where they differ.
            read = store.rows(InLane(lane, 0, JOBS))
            self.assertTrue([job.number for job in read] == [job.number for job in jobs], lane)
        keys = [b"u%d" % number for number in (1, 77, JOBS + 1, JOBS + JOBS // 2 - 1)]
        found = {job.unique for job in store.rows(ByKey(keys))}
        self.assertEqual(found, set(keys) & {job.unique for job in self.jobs})
        waking = [job.number for job in self.jobs if job.due]
        self.assertTrue([job.number for job in store.rows(Waking(1e9, (0.0, 0), JOBS))] == waking)
        self.assertEqual(len(store.hashes(-1, 2 * JOBS)), sum(1 for job in self.jobs if job.unique))
        self.assertTrue(store.replay(0, 2 * JOBS) == [*map(said, self.jobs)])
        assert store._connection is not None
        found_indexes = {index["name"] for index in inspect(store._connection).get_indexes("txgear_jobs")}
        self.assertEqual(found_indexes, {"txgear_jobs_lane", "txgear_jobs_wake"})

    def filled(self) -> int | None:
        """How far it has come."""
        with closing(sqlite3.connect(self.path)) as file:
            number: int | None = file.execute("SELECT filled FROM txgear_numbers").fetchall()[0][0]
            return number

    def test_a_store_of_the_revision_before(self) -> None:
        store = self.make_store()
        store.open()
        self.check(store)
        self.assertIsNone(self.filled())
        # And it goes on.
        new, _ = addition(3 * JOBS)
        store.write(adding((new, b"")))
        self.jobs.append(new)
        store.write(deleting([self.jobs.pop(0).number]))
        self.check(store)

    def interrupt(self, pages: int) -> None:
        """Fill in some pages, and stop in the middle of the next one."""
        store = self.make_store()
        dialect = store._dialect
        dialect.prepare()
        with dialect.engine.connect() as connection:
            dialect.set_up(connection)
            migrations.upgrade(connection)
            connection.commit()
            salt = bytes(connection.exec_driver_sql("SELECT salt FROM txgear_numbers").scalar_one())
            connection.rollback()
            counts = InterruptedCounts(dialect.statements, pages)
            transaction = partial(store._transaction, connection)
            filling = Filling(dialect, connection, transaction, Places(salt), counts)
            self.assertRaises(Interrupted, filling.run, self.filled() or 0)
            connection.rollback()
        store.close(None)

    def test_it_goes_on_where_it_was_interrupted(self) -> None:
        self.interrupt(0)
        self.assertEqual(self.filled(), 0)
        self.interrupt(1)
        first = self.jobs[PAGE - 1].number
        self.assertEqual(self.filled(), first)
        self.interrupt(1)
        self.assertEqual(self.filled(), self.jobs[2 * PAGE - 1].number)
        store = self.make_store()
        store.open()
        self.check(store)
        self.assertIsNone(self.filled())

    def test_indexes_that_are_made_already(self) -> None:
        self.interrupt(2)
        with closing(sqlite3.connect(self.path)) as file:
            file.execute("CREATE INDEX txgear_jobs_lane ON txgear_jobs (lane, place)")
        store = self.make_store()
        store.open()
        self.check(store)
