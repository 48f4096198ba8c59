"""
A store in a database that several servers have at once, each some parts of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import Connection
from zope.interface import implementer_only

from txgear.broker.orders import Mail, Orders, Post, Sighting
from txgear.broker.records import (
    ASIDE,
    OWN,
    Batch,
    DoneElsewhere,
    InLane,
    JobRecord,
    Lane,
    LaneCount,
    Lease,
    StoredValue,
    Swap,
    Taken,
)
from txgear.errors import StoreError, StoreTaken, StoreUnavailable, StoreUnusable
from txgear.interfaces import IPartedStore, IPatientStore, IReportingStore
from txgear.quantities import second_words
from txgear.stores import migrations
from txgear.stores.batchwriter import BatchWriter
from txgear.stores.claims import Claims
from txgear.stores.holdings import Holdings, PartRow
from txgear.stores.lanecounts import LaneCounts
from txgear.stores.leases import INTERVAL, TIMES, Times, prepare
from txgear.stores.orders import OrderTable
from txgear.stores.parts import Part, Parts
from txgear.stores.schema import MAX_STATUS, REVISIONS
from txgear.stores.sql import SqlStore, UsedUp, driver_of, one_line
from txgear.stores.tenure import NOBODY
from txgear.stores.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from sqlalchemy.engine.interfaces import DBAPICursor

    from txgear.stores.leases import Lease as PartLease
    from txgear.stores.membership import Membership
    from txgear.stores.serverdialect import ServerDialect

T = TypeVar("T")

PAGE: Final = 1000
"""Jobs that are set aside of which so many are read at once."""
TIDY_SECONDS: Final = 60.0
"""Seconds from one look for parts without jobs to the next."""
MOST_ORDERS: Final = 100
"""Orders that are begun in one go: who has given more gives way to jobs in between."""
CUT_SECONDS: Final = 10.0
"""Seconds in which another server may make the first parts."""


@implementer_only(IPartedStore, IReportingStore, IPatientStore)
class PartedStore(SqlStore):
    """
    A store of several servers; see L{IPartedStore}. The history of figures is not kept: that of one server
    would take the place of another's.

    @ivar lease_seconds: see L{IPartedStore}.
    """

    def __init__(self, dialect: ServerDialect, membership: Membership, times: Times = TIMES) -> None:
        super().__init__(dialect, times=times)
        self._lanes = LaneCounts(dialect.statements, keyed=True)
        self._claims = Claims(dialect.statements, dialect.questions, lambda: self._salt)
        self._writer = BatchWriter(dialect, self._lanes, self._claims)
        name, address, self.lease_seconds = membership
        self._server = dialect
        self._tidy_at = 0.0
        # The highest number of a job that was written.
        self._newest = 0
        # Parts whose numbers may have been given out.
        self._homes: set[Part] = set()
        self._orders = OrderTable(dialect.statements)
        # Answers that were there at the last look for what nobody has fetched.
        self._answered: set[int] = set()
        self._held = self._holdings = Holdings(
            dialect, name or "", address, self.lease_seconds, times, is_shared=True
        )

    # Open and close

    def open(self, existing: bool = False) -> None:
        """See L{IPartedStore}."""
        try:
            super().open(existing)
        except StoreTaken:
            self._lose()
            raise

    def _lose(self) -> None:
        """Another server has taken a part: all others are let go of as well."""
        self._disconnect()
        self._held.give_up(self._held.parts)
        self._homes.clear()

    def _move_in(self, connection: Connection) -> None:
        if self._held.parts:
            self._held.come_back(driver_of(connection))
        else:
            self._join(connection)
        self._bring_up_to_date(connection)

    def _join(self, connection: Connection) -> None:
        """Make our part, and before that the first one, where nobody has made any."""
        if self._server.stall >= self.lease_seconds:
            raise StoreUnusable(
                f"its nodes stand still for {second_words(self._server.stall)} when one dies, and the lease"
                f" is {self.lease_seconds:g}: it has to be longer"
            )
        prepare(self._server, connection, self._times)
        driver = driver_of(connection)
        until = self._times.clock() + CUT_SECONDS
        while self._is_whole(connection) or self._is_old(connection):
            try:
                self._cut(connection)
            except StoreUnusable:
                # It may be about to do the same.
                if self._times.clock() >= until:
                    raise
                self._times.sleep(INTERVAL)
        with self._server.autocommit(driver):
            cursor = self._server.cursor(driver)
            self._held.release(cursor, self._held.rows(cursor))
            self._held.add_home(driver, cursor, self._reserved)
            self._homes = set(self._held.parts)
            cursor.close()

    def _is_whole(self, connection: Connection) -> bool:
        driver = driver_of(connection)
        cursor = self._server.cursor(driver)
        self._server.begin_work(cursor)
        is_whole = self._held.is_whole(cursor)
        cursor.close()
        driver.rollback()
        return is_whole

    @staticmethod
    def _is_old(connection: Connection) -> bool:
        """Whether the tables are to be changed: no server may live that does not know of that."""
        revision = migrations.revision(connection)
        connection.rollback()
        return revision != REVISIONS[-1]

    def _cut(self, connection: Connection) -> None:
        """
        Have the whole store for a moment, as a server that is alone: make a part of it, and bring its tables
        up to date.
        """
        self._holdings = Holdings(self._server, *self._held.words)
        try:
            if self._is_whole(connection):
                self._holdings.have_whole(driver_of(connection))
            else:
                self._holdings.have_all(driver_of(connection))
            if self._is_whole(connection) or self._is_old(connection):
                self._bring_up_to_date(connection)
            with self._transaction(connection):
                # Otherwise SQLAlchemy knows of nothing to commit.
                connection.begin()
                cursor = self._server.cursor(driver_of(connection))
                self._holdings.cut(cursor)
                cursor.close()
        finally:
            self._holdings = self._held

    def _let_go(self, next_number: int | None, cursor: DBAPICursor) -> None:
        if next_number is not None:
            self._advance(cursor, next_number)
        rows, used = self._held.rows(cursor), self._held.used(cursor)
        self._held.let_go(cursor)
        self._held.delete_own(cursor, self._empty(rows, used), NOBODY)

    def _run(self, work: Callable[[DBAPICursor], T], *, writes: bool) -> T:
        try:
            return super()._run(work, writes=writes)
        except StoreTaken:
            self._lose()
            raise

    # Numbers

    def reserve(self, count: int) -> int:
        """See L{IPartedStore}."""
        try:
            return super().reserve(count)
        except UsedUp:
            self._at_once(self._add_home)
        return super().reserve(count)

    def _add_home(self, cursor: DBAPICursor) -> None:
        self._held.add_home(self._driver_connection(), cursor, self._reserved)
        self._homes.add(self._held.parts[-1])
        self._spread()

    # Jobs

    def write(self, batch: Batch) -> None:
        """
        See L{IPartedStore}. That others have some of it already is only said when that is so after all that
        was committed before: whoever has seen the end of a job must be able to submit it once more.
        """
        if batch.new_jobs:
            self._newest = max(self._newest, batch.new_jobs[-1][0].number)
        try:
            super().write(batch)
        except DoneElsewhere:
            if not self._server.lags:
                raise
            self._reading(lambda cursor: cursor.execute("SELECT 1"))
            super().write(batch)

    # Parts

    def leases(self) -> list[Lease]:
        """See L{IPartedStore}."""
        rows = self._reading(self._held.rows)
        if self._held.has_given_up(rows):
            self._at_once(lambda cursor: self._held.release(cursor, rows))
        if self._times.clock() >= self._tidy_at:
            self._tidy_at = self._times.clock() + TIDY_SECONDS
            self._tidy(rows)
            self._tidy_orders()
        ours = self._held.owners
        return [
            Lease(
                part.part,
                row.owner,
                row.term,
                row.beat,
                row.name,
                row.address,
                row.owner in ours,
                row.server,
                status,
                part.first,
                part.end,
            )
            for part, row, status in rows
        ]

    def tell(self, status: bytes) -> None:
        """See L{IPartedStore}."""
        assert len(status) <= MAX_STATUS, len(status)
        self._held.tell(status)

    def shared(self) -> list[StoredValue]:
        """See L{IPartedStore}."""
        return self._reading(self._statements.shared)

    def swap(self, swaps: Sequence[Swap]) -> list[bool]:
        """See L{IPartedStore}."""
        return self._writing(lambda cursor: [self._statements.swap(cursor, each) for each in swaps])

    def take(self, lease: Lease) -> Taken | None:
        """See L{IPartedStore}."""
        if ours := [part for part in self._held.parts if part.part == lease.part]:
            # Of the taking nobody has heard.
            return self._reading(lambda cursor: self._contents(cursor, ours[0]))
        moment = lease.owner, lease.term, lease.beat
        taken: list[PartLease] = []

        def work(cursor: DBAPICursor) -> None:
            driver = self._driver_connection()
            if (found := self._held.take(driver, cursor, lease.part, moment)) is None:
                return
            taken.append(found)
            if found.part.first > max(home.first for home in self._homes):
                self._add_home(cursor)

        try:
            self._at_once(work)
            if not taken:
                return None
            if self._held.parts[-1] not in self._homes:
                raise StoreUnavailable("no part could be made above the one that is taken")
            self._spread()
            return self._reading(lambda cursor: self._contents(cursor, taken[0].part))
        except StoreError:
            # Nobody hears of it.
            self._give_up([lease.part for lease in taken])
            raise

    # Orders

    def exchange(self, post: Post) -> Mail:
        """See L{IPartedStore}."""
        orders = self._orders

        def work(cursor: DBAPICursor) -> Mail:
            orders.delete(cursor, post.over)
            orders.give(cursor, post.new)
            withdrawn = orders.withdraw(cursor, post.withdrawn)
            answers = orders.answers(cursor, [each for each in post.waiting if each not in withdrawn])
            results = self._statements.results(cursor, post.results)
            return Mail(self._sightings(cursor, post), answers, withdrawn, results)

        # An order is in nobody's part: who gives it need not have any.
        return self._run(work, writes=False)

    def _sightings(self, cursor: DBAPICursor, post: Post) -> list[Sighting]:
        records = self._questions.of_anybody(cursor, post.numbers, post.uniques)
        if not records:
            return []
        parts = [each.part for each in self._held.rows(cursor)]
        return [
            Sighting(
                record,
                next((each.part for each in parts if each.first <= record.number < each.end), 0),
                record.number in self._parts,
            )
            for record in records
        ]

    def orders(self, known: Collection[int]) -> Orders:
        """See L{IPartedStore}."""
        parts = [each.part for each in self._held.parts]
        there = self._reading(lambda cursor: self._orders.open(cursor, parts))
        fresh = [number for number in there if number not in known][:MOST_ORDERS]
        begun = self._writing(lambda cursor: self._orders.begin(cursor, fresh)) if fresh else []
        return Orders(begun, there)

    def answer(self, answers: Mapping[int, bytes]) -> None:
        """See L{IPartedStore}."""
        self._writing(lambda cursor: self._orders.answer(cursor, answers))

    def _tidy_orders(self) -> None:
        """Delete answers that nobody has fetched for a while, and orders that nobody will look at."""
        parts = [each.part for each in self._held.parts]
        before = self._answered
        self._answered = self._reading(lambda cursor: self._orders.answered(cursor, parts))
        gone = sorted(self._answered & before)

        def work(cursor: DBAPICursor) -> None:
            self._orders.delete(cursor, gone)
            self._orders.delete_orphans(cursor)

        self._run(work, writes=False)

    def _contents(self, cursor: DBAPICursor, part: Part) -> Taken:
        """What is in a part."""
        only = Parts(self._salt, [part])
        lanes: list[LaneCount] = self._lanes.all(cursor, only)
        aside: list[JobRecord] = []
        for lane, _, _ in lanes:
            if lane.kind & ~OWN == ASIDE:
                aside += self._all_in(cursor, only, lane)
        return Taken(lanes, aside)

    def _all_in(self, cursor: DBAPICursor, only: Parts, lane: Lane) -> list[JobRecord]:
        found: list[JobRecord] = []
        after = 0
        while page := self._questions.rows(cursor, only, InLane(lane, after, PAGE)):
            found += page
            after = page[-1].place
        return found

    def _empty(self, rows: list[PartRow], used: set[int]) -> list[Part]:
        """
        Parts without jobs. The last one that was made stays: the numbers of the next one are above its own.
        """
        last = max(each.part.part for each in rows)
        return [each.part for each in rows if each.part.part != last and each.part.part not in used]

    def _tidy(self, rows: list[PartRow]) -> None:
        """Delete parts without jobs that nobody has, and our own but for those that new jobs come to."""
        used = self._reading(self._held.used)
        empty = self._empty(rows, used)
        if free := [each for each in rows if each.part in empty and each.row.owner == NOBODY]:
            self._at_once(lambda cursor: self._held.delete(cursor, free))
        home = self._held.parts[-1]
        gone = [
            part
            for part in self._held.parts
            if part in empty and part != home and (part not in self._homes or part.end <= self._newest)
        ]
        if gone:
            try:
                self._writing(lambda cursor: self._held.delete_own(cursor, gone))
            finally:
                # Where nobody has heard whether they are deleted, they are nobody's at least.
                self._give_up(gone)

    def _give_up(self, parts: Collection[Part]) -> None:
        """Have nothing to do with some of our parts any more."""
        self._held.give_up(parts)
        self._homes.difference_update(parts)
        if self._held.parts:
            self._spread()

    def _at_once(self, work: Callable[[DBAPICursor], T]) -> T | None:
        """
        Do something of which each statement is a transaction, and waits for nobody.

        @return: C{None}, too, if somebody has what it is about.
        """
        driver = self._driver_connection()
        result: T | None = None
        try:
            with self._server.autocommit(driver):
                cursor = self._server.cursor(driver)
                with self._server.short_waits(cursor):
                    try:
                        result = work(cursor)
                    except self._driver.Error as error:
                        verdict = self._server.verdict(error)
                        if not self._server.is_locked(error) and verdict is not Verdict.CONFLICT:
                            raise
                cursor.close()
        except self._driver.Error as error:
            self._disconnect()
            raise StoreUnavailable(one_line(self._server.message(error))) from error
        except StoreError:
            self._disconnect()
            raise
        return result
