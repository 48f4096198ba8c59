"""
What a server has of a store in a database: the leases of its parts, and the numbers of the last one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import and_, delete, literal_column, null, or_, select, update

from txgear.broker.records import LAST_NUMBER
from txgear.errors import StoreRefused, StoreTaken, StoreUnavailable
from txgear.stores.leases import NOT_AS_LEFT, TIMES, Lease, Times, lease_row, take_all
from txgear.stores.parts import PART_NUMBERS, WHOLE, Part, first_above
from txgear.stores.schema import lanes, leases, numbers
from txgear.stores.statements import parameter
from txgear.stores.tenure import LENGTH, NOBODY, LeaseRow

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor

    from txgear.stores.serverdialect import ServerDialect

MOST_TRIES: Final = 50
"""Times that a new part is made while others make theirs."""
FORCE: Final = "FORCE INDEX (PRIMARY)"
TEXTS: Final = 16
"""Texts of fences that are remembered, each for another number of parts."""
SERVER_BYTES: Final = 16
"""Bytes by which all parts of one server are known."""
PAUSE: Final = 0.02
"""Seconds between two of them at the most."""


class PartRow(NamedTuple):
    """
    A part, and the row of its lease.

    @ivar status: what its owner has said of itself there; empty where that has said nothing.
    """

    part: Part
    row: LeaseRow
    status: bytes = b""


class Holdings:
    """
    The leases of a server's parts. One that has its store for itself has one lease, of the whole store, or
    those of all parts where several servers have made some.
    """

    def __init__(
        self,
        dialect: ServerDialect,
        name: str = "",
        address: str = "",
        length: float = LENGTH,
        times: Times = TIMES,
        *,
        is_shared: bool = False,
    ) -> None:
        """
        @param name: what this server is called, for people; by default where it runs.
        @param address: where clients reach it, of several servers.
        @param length: seconds for which another's lease has to stand still.
        @param is_shared: whether this server knows of others, and they of it by something random.
        """
        self._dialect = dialect
        self._name = name
        self._address = address
        self._length = length
        self._times = times
        self._server = times.chance.randbytes(SERVER_BYTES) if is_shared else b""
        self._fence_text = lru_cache(TEXTS)(self._make_fence)
        self._leases: list[Lease] = []
        # Whether those are all that we want.
        self._is_settled = False
        # Owners that we were, or may have been, of parts that we gave up.
        self._former: set[bytes] = set()
        text, columns = dialect.statements.text, leases.c
        # What is to be said of this server with the next change.
        self._status: bytes | None = None
        shown = [columns[name] for name in ("part", "first", "end", "status", *LeaseRow._fields)]
        is_part = columns.part == parameter(columns.part)
        mine = (is_part, columns.owner == parameter(columns.owner))
        named = ("owner", "name", "session", "address", "server")
        new = {name: parameter(columns[name]) for name in named}
        self._rows_text = text(select(*shown).order_by(columns.part))
        self._numbers_text = text(select(numbers.c.next))
        self._next_text = text(select(columns.next).where(is_part))
        self._advance_text = text(update(leases).values(next=parameter(columns.next)).where(is_part))
        self._cut_text = text(
            update(leases)
            .values(next=parameter(columns.next), end=parameter(columns.end))
            .where(is_part, columns.end == parameter(columns.end))
        )
        self._release_text = text(update(leases).values(**new, status=null()).where(*mine))
        self._delete_own_text = text(delete(leases).where(*mine))
        moment = [columns[name] == parameter(columns[name]) for name in ("owner", "term", "beat")]
        self._delete_text = text(delete(leases).where(is_part, *moment))
        self._used_text = text(select(lanes.c.part).where(lanes.c.jobs != literal_column("0")).distinct())

    # What there is

    @property
    def words(self) -> tuple[str, str, float, Times]:
        """What the first of these was made with."""
        return self._name, self._address, self._length, self._times

    @property
    def parts(self) -> list[Part]:
        """Those that we have, in the order of their numbers."""
        return sorted((lease.part for lease in self._leases), key=lambda part: part.first)

    @property
    def owners(self) -> set[bytes]:
        """Who we are in our rows."""
        return {owner for lease in self._leases for owner in lease.owners}

    def rows(self, cursor: DBAPICursor) -> list[PartRow]:
        """All parts that anybody has made."""
        cursor.execute(self._rows_text)
        return [
            PartRow(Part(part, first, end) if end else WHOLE, lease_row(owner, *rest), bytes(status or b""))
            for part, first, end, status, owner, *rest in cursor.fetchall()
        ]

    def used(self, cursor: DBAPICursor) -> set[int]:
        """The numbers of the parts that have jobs, of whatever kind."""
        cursor.execute(self._used_text)
        return {part for (part,) in cursor.fetchall()}

    # To have them

    def have_all(self, driver: DBAPIConnection) -> None:
        """
        Have all parts that there are, or have them again by a new connection.

        @raise StoreError: as L{Lease.take} does.
        """
        with self._dialect.autocommit(driver):
            cursor = self._dialect.cursor(driver)
            session = self._dialect.session(driver, cursor)
            done: list[Lease] = []
            while not self._is_settled or len(done) < len(self._leases):
                if not self._is_settled:
                    # The first one may have been cut meanwhile.
                    known = {lease.part.part: lease for lease in self._leases}
                    wanted = self._wanted(cursor)
                    self._leases = [known.get(part.part) or self._lease(part) for part in wanted]
                    for lease, part in zip(self._leases, wanted, strict=True):
                        lease.part = part
                left = [lease for lease in self._leases if lease not in done]
                take_all(left, cursor, session, self._times)
                done += left
                self._is_settled = not left or self._is_settled
            if self.parts != [WHOLE]:
                self._compare(cursor)
            cursor.close()

    def _compare(self, cursor: DBAPICursor) -> None:
        """
        See that the parts are those that we had: a failover takes parts away, and others make some with their
        numbers, whose leases look like earlier ones of ours.

        @raise StoreTaken: they are not.
        """
        there = {each.part for each in self.rows(cursor)}
        if other := [part.part for part in self.parts if part not in there]:
            raise StoreTaken(f"another server has made part {other[0]} anew")

    def _wanted(self, cursor: DBAPICursor) -> list[Part]:
        return sorted((each.part for each in self.rows(cursor)), key=lambda part: part.first) or [WHOLE]

    def have_whole(self, driver: DBAPIConnection) -> None:
        """Have the store as one that nobody has made parts of; it may turn out that somebody has."""
        lease = self._lease(WHOLE)
        lease.take(driver)
        self._leases = [lease]

    def come_back(self, driver: DBAPIConnection) -> None:
        """
        Have those again that we had, and only those, by a new connection. A failover that takes a part away
        takes those that were made after it, and the last one nobody has had before us: so none of them is
        another one that has come in its place.
        """
        with self._dialect.autocommit(driver):
            cursor = self._dialect.cursor(driver)
            take_all(self._leases, cursor, self._dialect.session(driver, cursor), self._times)
            cursor.close()

    def _lease(self, part: Part) -> Lease:
        return Lease(
            self._dialect,
            part,
            name=self._name,
            address=self._address,
            server=self._server,
            length=self._length,
            times=self._times,
        )

    def is_whole(self, cursor: DBAPICursor) -> bool:
        """Whether nobody has made parts yet."""
        return self._wanted(cursor) == [WHOLE]

    def cut(self, cursor: DBAPICursor) -> None:
        """
        Make the whole store a part that nobody has, in a transaction that began with L{fence}. Does nothing
        but let go of it if it is one already.
        """
        cursor.execute(self._numbers_text)
        ((number,),) = cursor.fetchall()
        cursor.execute(self._cut_text, (number, first_above(number - 1), WHOLE.part, 0))
        self.let_go(cursor)

    def add_home(self, driver: DBAPIConnection, cursor: DBAPICursor, least: int) -> None:
        """
        Make a new part with numbers above all, under autocommit. Those that are given out begin somewhere in
        it: a failover may take the row of a part away, and the next one that is made has the same range then,
        but not the numbers that were given out.

        @param least: so are its numbers at least.
        """
        session, chance = self._dialect.session(driver, cursor), self._times.chance
        for _ in range(MOST_TRIES):
            rows = self.rows(cursor)
            cursor.execute(self._numbers_text)
            ((number,),) = cursor.fetchall()
            first = first_above(max(number, least, *(each.part.end for each in rows)) - 1)
            if first + PART_NUMBERS > LAST_NUMBER:
                raise StoreRefused("the job numbers are used up")
            last = max(each.part.part for each in rows)
            lease = self._lease(Part(last + 1, first, first + PART_NUMBERS))
            try:
                made = lease.make(cursor, session, first + chance.randrange(PART_NUMBERS // 2))
            except BaseException:
                self._former |= lease.owners
                raise
            if made:
                self._leases.append(lease)
                return
            self._times.sleep(chance.random() * PAUSE)
        raise StoreUnavailable("too many servers join it at once")

    def take(
        self, driver: DBAPIConnection, cursor: DBAPICursor, number: int, moment: tuple[bytes, int, int]
    ) -> Lease | None:
        """
        Take a part over, under autocommit.

        @param number: the part's.
        @param moment: what was read of its lease.
        @return: C{None} if it was not to be had.
        """
        found = [each.part for each in self.rows(cursor) if each.part.part == number]
        if not found or any(lease.part.part == number for lease in self._leases):
            return None
        lease = self._lease(found[0])
        try:
            taken = lease.seize(cursor, self._dialect.session(driver, cursor), moment)
        except BaseException:
            self._former |= lease.owners
            raise
        if not taken:
            return None
        self._leases.append(lease)
        return lease

    # To have them no more

    def give_up(self, parts: Collection[Part]) -> None:
        """Have nothing to do with parts any more; if they are still there, L{release} tells the others."""
        gone = [lease for lease in self._leases if lease.part in parts]
        self._former.update(owner for lease in gone for owner in lease.owners)
        self._leases = [lease for lease in self._leases if lease not in gone]

    def has_given_up(self, rows: Sequence[PartRow]) -> bool:
        """Whether there are parts that we gave up and that still look like ours."""
        return any(each.row.owner in self._former for each in rows)

    def release(self, cursor: DBAPICursor, rows: Sequence[PartRow]) -> None:
        """Make nobody's what we gave up, under autocommit."""
        for part, row, _ in rows:
            if row.owner in self._former:
                cursor.execute(self._release_text, (NOBODY, "", "", "", b"", part.part, row.owner))

    def delete(self, cursor: DBAPICursor, rows: Iterable[PartRow]) -> None:
        """Delete parts that nobody has and that have no jobs, each if its row is as it was read."""
        for part, row, _ in rows:
            cursor.execute(self._delete_text, (part.part, *row.moment))

    def delete_own(self, cursor: DBAPICursor, parts: Collection[Part], owner: bytes | None = None) -> None:
        """
        Delete those parts of ours that have no jobs, in a transaction that began with L{fence}.

        @param owner: whose they are by now, if they are not ours.
        """
        for lease in self._leases:
            if lease.part in parts:
                for each in lease.owners if owner is None else (owner,):
                    cursor.execute(self._delete_own_text, (lease.part.part, each))

    def let_go(self, cursor: DBAPICursor) -> None:
        """Give all up, in a transaction that began with L{fence}: the next server need not wait."""
        for lease in self._leases:
            lease.let_go(cursor)

    def end(self) -> None:
        """The store is closed: what comes next is a new server."""
        self._leases = []
        self._is_settled = False

    # While we have them

    def see_alone(self, cursor: DBAPICursor) -> None:
        """
        See that nobody has made a part since we had all.

        @raise StoreTaken: a server among others has, which begins beside one that has its store for itself.
        """
        for part, row, _ in self.rows(cursor):
            if part not in self.parts:
                raise StoreTaken(f"another server has begun to use it{row.name and f': {row.name}'}")

    def fence(self, driver: DBAPIConnection, cursor: DBAPICursor) -> None:
        """As L{Lease.fence}, of all: that of a server with one part, or one statement for all of several."""
        if not self._leases:
            raise StoreTaken("this server has no part")
        wanted = sorted(self._leases, key=lambda lease: lease.part.first)
        if self._status is not None or len(wanted) == 1:
            wanted.pop().fence(driver, cursor, self._status)
        if not wanted:
            return

        def changed(rows: int) -> None:
            if rows != len(wanted):
                for lease in wanted:
                    lease.see(cursor)
                raise StoreUnavailable(NOT_AS_LEFT)

        moments = tuple(chain.from_iterable(lease.moment for lease in wanted))
        self._dialect.execute_first(driver, cursor, self._fence_text(len(wanted)), moments, changed)

    def _make_fence(self, rows: int) -> str:
        columns = leases.c
        row = [columns[name] == parameter(columns[name]) for name in ("part", "owner", "term", "beat")]
        fence = update(leases).values(beat=columns.beat + literal_column("1"))
        # Without its index MySQL would lock the rows of all servers.
        fence = fence.where(or_(*[and_(*row)] * rows)).with_hint(FORCE, dialect_name="mysql")
        return self._dialect.statements.text(fence)

    def committed(self) -> None:
        """A transaction that began with L{fence} is committed."""
        self._status = None
        for lease in self._leases:
            lease.committed()

    def tell(self, status: bytes) -> None:
        """Have the lease of the last part say this, with the next transaction that begins with L{fence}."""
        self._status = status

    def next(self, cursor: DBAPICursor, part: Part) -> int:
        """The first number of a part that is not reserved."""
        cursor.execute(self._next_text, (part.part,))
        number: int = cursor.fetchall()[0][0]
        return number

    def advance(self, cursor: DBAPICursor, part: Part, number: int) -> None:
        """Set it."""
        cursor.execute(self._advance_text, (number, part.part))
