"""
The lease of a store in a database: what the database is asked and told. L{txgear.stores.tenure} judges.

It takes the place of the database's own locks, of which two servers may have the same one: at two nodes of a
Galera cluster, or behind one connection of a pooler. Each transaction that writes changes the row of the
lease first, and only from what its server has left there (L{Lease.fence}). So nothing is written by a server
whose lease another one has taken, however late it notices: even where a database does not see that somebody
has only read a row, it sees that two have changed it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Connection, insert, literal_column, null, select, update
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from twisted.logger import Logger

from txgear.errors import StoreTaken, StoreUnavailable, StoreUnusable
from txgear.stores import migrations
from txgear.stores.parts import WHOLE, Part
from txgear.stores.repeats import Undone
from txgear.stores.schema import LEASES_SINCE, MAX_NAME, leases
from txgear.stores.statements import parameter
from txgear.stores.tenure import LENGTH, NOBODY, Judgement, LeaseRow, Session, Tenure
from txgear.stores.verdicts import Verdict

if TYPE_CHECKING:
    from txgear.stores.serverdialect import ServerDialect

INTERVAL: Final = 0.1
"""Seconds between two looks at the row."""
LOCK_SECONDS: Final = 3.0
"""Seconds in which another server may bring the tables of an earlier version up to date."""
NOT_AS_LEFT: Final = "the row of its lease is not as it was left"
PATIENCE: Final = 30.0
"""Seconds of looks: a database that is slow each time tells nothing."""


class Times(NamedTuple):
    """
    What tells the time, and lets it pass, and what is left to chance.

    @ivar clock: seconds by a monotonic clock.
    @ivar wall_clock: by the clock of people.
    @ivar sleep: blocks for some seconds.
    @ivar chance: what nobody can guess.
    """

    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    chance: Random = SystemRandom()


TIMES: Final = Times()


def own_name() -> str:
    """Where this server runs, for people."""
    return f"{socket.gethostname()}, process {os.getpid()}"[:MAX_NAME]


def prepare(dialect: ServerDialect, connection: Connection, times: Times = TIMES) -> None:
    """
    Bring tables from before the lease to the revision that has it. A lock keeps others off meanwhile.

    @param connection: outside of a transaction, and so it is afterwards.
    @raise StoreUnusable: a server of a version before is there, or one that does the same.
    """
    until = times.clock() + LOCK_SECONDS
    while (migrations.revision(connection) or "") < LEASES_SINCE:
        # Otherwise the database goes on showing what it has shown.
        connection.rollback()
        if dialect.lock(connection):
            migrations.upgrade(connection, LEASES_SINCE)
            connection.commit()
            dialect.unlock(connection)
            return
        connection.rollback()
        if times.clock() >= until:
            raise StoreUnusable("it is in use by another server")
        times.sleep(INTERVAL)
    connection.rollback()


class Lease:
    """
    The lease of one part, over whichever connection the store has.

    @ivar part: the part.
    """

    log = Logger()

    def __init__(
        self,
        dialect: ServerDialect,
        part: Part = WHOLE,
        *,
        name: str = "",
        address: str = "",
        server: bytes = b"",
        length: float = LENGTH,
        times: Times = TIMES,
    ) -> None:
        """
        @param name: what this server is called, for people; by default where it runs.
        @param address: where clients reach it, of several servers.
        @param server: random, the same for all parts of this server.
        @param length: seconds for which another's row has to stand still.
        """
        self.part = part
        self._dialect = dialect
        self._name = name or own_name()
        self._address = address
        self._server = server
        self._times = times
        self._tenure = Tenure(times.chance.randbytes, length)
        text, columns = dialect.statements.text, leases.c
        mine = [columns[name] == parameter(columns[name]) for name in ("part", "owner", "term", "beat")]
        new = {name: parameter(columns[name]) for name in LeaseRow._fields}
        bounds = {name: parameter(columns[name]) for name in ("first", "next", "end")}
        beat = columns.beat + literal_column("1")
        self._look_text = text(
            select(*(columns[name] for name in LeaseRow._fields)).where(
                columns.part == parameter(columns.part)
            )
        )
        self._make_text = text(insert(leases).values(part=parameter(columns.part), **new, **bounds))
        # What the owner before has said of itself is of no use any more.
        new["status"] = null()
        whole = {"part": parameter(columns.part), **new, **bounds}
        # Where there are others, servers have made parts of the store, and this one was deleted.
        self._make_whole_text = text(
            insert(leases).from_select(
                list(whole), select(*whole.values()).where(~select(columns.part).exists())
            )
        )
        self._replace_text = text(update(leases).values(**new).where(*mine))
        self._return_text = text(
            update(leases).values(beat=beat, session=parameter(columns.session)).where(*mine)
        )
        self._fence_text = text(update(leases).values(beat=beat).where(*mine))
        self._tell_text = text(
            update(leases).values(beat=beat, status=parameter(columns.status)).where(*mine)
        )

    # To have it

    def take(self, driver: DBAPIConnection) -> None:
        """
        Have the lease: for the first time, or again by a new connection. Blocks until it is known whose it
        is, which takes L{LENGTH<txgear.stores.tenure.LENGTH>} seconds where its owner may have died.

        @param driver: outside of a transaction, and so it is afterwards.
        @raise StoreTaken: we had it, and another server has it.
        @raise StoreUnusable: another server has it.
        @raise StoreUnavailable: nobody can say.
        """
        with self._dialect.autocommit(driver):
            cursor = self._dialect.cursor(driver)
            take_all([self], cursor, self._dialect.session(driver, cursor), self._times)
            cursor.close()

    def begin(self) -> None:
        """Begin to look."""
        self._tenure.begin()

    def settle(self, cursor: DBAPICursor, session: str) -> bool:
        """Look once, and do what is to be done; whether we have it."""
        asked = self._times.clock()
        row = self._look(cursor)
        if row is None:
            if self._tenure.held is not None:
                raise StoreTaken("another server has taken it, and has deleted the row of its lease")
            raise Undone("the row of a lease has gone meanwhile", Verdict.CONFLICT)
        answered = self._times.clock()
        gone = self._dialect.look_at(cursor, row.session) is Session.GONE
        verdict = self._tenure.judge(row, asked, answered, gone=gone)
        if verdict is Judgement.TAKEN:
            raise StoreTaken(f"another server has taken it: {_shown(row)}")
        if verdict is Judgement.IN_USE:
            raise StoreUnusable(f"it is in use by another server: {_shown(row)}")
        if verdict is Judgement.LOOK_AGAIN:
            return False
        if verdict is Judgement.OURS:
            return self._come_back(cursor, session)
        return self._replace(cursor, row, session)

    def _look(self, cursor: DBAPICursor) -> LeaseRow | None:
        """C{None} if the row has gone; that of the whole store is made where there is no other one."""
        is_made = self.part != WHOLE
        while True:
            cursor.execute(self._look_text, (self.part.part,))
            if found := cursor.fetchall():
                return lease_row(*found[0])
            if is_made:
                return None
            # Otherwise somebody else has made it.
            with suppress(self._dialect.driver_module.IntegrityError):
                cursor.execute(self._make_whole_text, (WHOLE.part, *LeaseRow(NOBODY, 0, 0), 0, 0, 0))
            is_made = True

    def _come_back(self, cursor: DBAPICursor, session: str) -> bool:
        """
        The lease is ours. What an earlier connection of ours had under way has its end before this beat:
        what is looked up after it does not change any more.
        """
        held = self._held
        if held.session != session:
            # The database may believe in that connection for hours, and keep the row locked.
            self._dialect.end_session(cursor, held.session)
        mine = (session, self.part.part, held.owner, held.term, held.beat)
        if not self._change(cursor, self._return_text, mine, held):
            return False
        self._tenure.beat(self._times.wall_clock(), session)
        return True

    def _replace(self, cursor: DBAPICursor, row: LeaseRow, session: str) -> bool:
        """Take it from whoever has it, if the row is as it was read."""
        new = self._tenure.proposal(row, self._name, session, self._address, self._server)
        if not self._change(cursor, self._replace_text, (*new, self.part.part, *row.moment), row):
            self._tenure.not_done(new)
            return False
        self._tenure.done(new, self._times.wall_clock())
        return True

    def make(self, cursor: DBAPICursor, session: str, start: int) -> bool:
        """
        Make the row of a new part, under autocommit.

        @param start: the first of its numbers that is given out.
        @return: whether it is made; if not, another server was quicker.
        """
        new = self._tenure.proposal(LeaseRow(NOBODY, 0, 0), self._name, session, self._address, self._server)
        part, first, end = self.part
        try:
            cursor.execute(self._make_text, (part, *new, first, start, end))
        except self._dialect.driver_module.Error as error:
            if self._dialect.verdict(error) not in (Verdict.CONFLICT, Verdict.DUPLICATE):
                raise
            self._tenure.not_done(new)
            return False
        self._tenure.done(new, self._times.wall_clock())
        return True

    def seize(self, cursor: DBAPICursor, session: str, moment: tuple[bytes, int, int]) -> bool:
        """
        Take the lease of another server over, under autocommit, if the row is as somebody has read it.

        @return: whether it is ours; if an error of the driver is raised, nobody knows.
        """
        row = self._look(cursor)
        if row is None or row.moment != moment:
            return False
        new = self._tenure.proposal(row, self._name, session, self._address, self._server)
        try:
            cursor.execute(self._replace_text, (*new, self.part.part, *moment))
        except self._dialect.driver_module.Error as error:
            locked = self._dialect.is_locked(error)
            if not locked and self._dialect.verdict(error) is not Verdict.CONFLICT:
                raise
            self._tenure.not_done(new)
            if locked and self._dialect.look_at(cursor, row.session) is Session.WAITING:
                # A server that stands still in the middle of a transaction may do so for ever.
                self._dialect.end_session(cursor, row.session)
            return False
        if cursor.rowcount != 1:
            self._tenure.not_done(new)
            return False
        self._tenure.done(new, self._times.wall_clock())
        return True

    def _change(self, cursor: DBAPICursor, text: str, parameters: tuple[Any, ...], row: LeaseRow) -> bool:
        """
        @return: whether the row was changed; if not, it is not as it was.
        """
        try:
            cursor.execute(text, parameters)
        except self._dialect.driver_module.Error as error:
            if self._dialect.is_locked(error):
                self._locked(cursor, row)
                return False
            if self._dialect.waits_for:
                reason = f"{self._dialect.message(error)}: a COMMIT may wait for {self._dialect.waits_for}"
                raise StoreUnavailable(reason) from error
            raise
        return cursor.rowcount == 1

    def _locked(self, cursor: DBAPICursor, row: LeaseRow) -> None:
        """
        Somebody keeps the row locked. A session that waits for its client, or for a standby, may do that for
        ever, whether its client lives or not; and it may be ended, as its row stands still.
        """
        session = self._dialect.look_at(cursor, row.session)
        if session is Session.WAITING:
            self._dialect.end_session(cursor, row.session)
        elif session is Session.GONE or self._tenure.held is not None:
            waits = f", which may wait for {self._dialect.waits_for}" if self._dialect.waits_for else ""
            raise StoreUnavailable(f"another transaction keeps the row of its lease locked{waits}")
        else:
            raise StoreUnusable(
                f"it is in use by another server: {_shown(row)}, in a transaction that takes long"
            )

    def tell_of_loss(self) -> None:
        """Log that the database is as it was before, if it is."""
        if not self._tenure.has_lost:
            return
        since = self._tenure.lost_since
        self.log.critical(
            "the database {store} has lost what it had confirmed, since {since}: an earlier state has come"
            " back, as after a failover to a standby that was behind. Jobs that were answered since then are"
            " done if they are in memory, and gone otherwise; those that had ended since then may run again",
            store=self._dialect.name,
            since=time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since)) if since else "an unknown time",
        )
        self._tenure.has_lost = False

    @property
    def _held(self) -> LeaseRow:
        held = self._tenure.held
        assert held is not None
        return held

    @property
    def owners(self) -> set[bytes]:
        """Who we are in the row, or may be."""
        return self._tenure.owners

    # While we have it

    def fence(self, driver: DBAPIConnection, cursor: DBAPICursor, status: bytes | None = None) -> None:
        """
        Change the row, as the first statement of a transaction that writes. That it is changed may be seen
        later, but before the COMMIT.

        @param status: what else is to be in it from now on, if it is not to stay as it is.
        @raise StoreTaken: another server has the lease.
        @raise StoreUnavailable: the row is not as it was left.
        """

        def changed(rows: int) -> None:
            if rows != 1:
                self.see(cursor)
                raise StoreUnavailable(NOT_AS_LEFT)

        mine = self.moment
        if status is None:
            self._dialect.execute_first(driver, cursor, self._fence_text, mine, changed)
        else:
            self._dialect.execute_first(driver, cursor, self._tell_text, (status, *mine), changed)

    @property
    def moment(self) -> tuple[int, bytes, int, int]:
        """By what its row is known, as it was left."""
        held = self._held
        return self.part.part, held.owner, held.term, held.beat

    def see(self, cursor: DBAPICursor) -> None:
        """
        See whose the lease is.

        @raise StoreTaken: another server has it.
        """
        cursor.execute(self._look_text, (self.part.part,))
        rows = [lease_row(*found) for found in cursor.fetchall()]
        if rows and self._tenure.is_anothers(rows[0]):
            raise StoreTaken(f"another server has taken it: {_shown(rows[0])}")

    def committed(self) -> None:
        """A transaction that began with L{fence} is committed."""
        self._tenure.beat(self._times.wall_clock())

    def let_go(self, cursor: DBAPICursor) -> None:
        """Give it up, in a transaction that began with L{fence}: the next server need not wait."""
        held = self._held
        nobody = LeaseRow(NOBODY, held.term, held.beat + 1)
        mine = (self.part.part, held.owner, held.term, held.beat + 1)
        cursor.execute(self._replace_text, (*nobody, *mine))

    def end(self) -> None:
        """The store is closed: what comes next is a new server."""
        self._tenure.end()


def take_all(wanted: Sequence[Lease], cursor: DBAPICursor, session: str, times: Times = TIMES) -> None:
    """
    Have several leases, under autocommit. Of all of them at once it is seen whether they stand still.

    @param session: the name of the connection.
    @raise StoreError: as L{Lease.take} does.
    """
    for lease in wanted:
        lease.begin()
    until = times.clock() + PATIENCE
    left = list(wanted)
    while left := [lease for lease in left if not lease.settle(cursor, session)]:
        if times.clock() >= until:
            raise StoreUnavailable("it answers too slowly to tell whether another server has it")
        times.sleep(INTERVAL)
    for lease in wanted:
        lease.tell_of_loss()


def lease_row(*read: Any) -> LeaseRow:
    """A row of the table of leases, as a driver has read it."""
    row = LeaseRow(*read)
    return row._replace(owner=bytes(row.owner), server=bytes(row.server))


def _shown(row: LeaseRow) -> str:
    return row.name or "one that has ended"
