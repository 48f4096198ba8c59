"""
Servers that have one L{SharedDatabase} at once, with the stores that real ones have, and what must never
happen there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count, pairwise
from typing import Any, Final, NamedTuple

from txgear.broker.records import Batch, Lease
from txgear.cluster.watch import Watch
from txgear.errors import StoreError, StoreTaken
from txgear.stores.leases import Times
from txgear.stores.membership import Membership
from txgear.stores.partedstore import PartedStore
from txgear.stores.sql import SqlStore
from txgear.stores.tenure import LENGTH, NOBODY
from txgear.test.support.batches import addition
from txgear.test.support.shareddatabase import Change, FakeServerDialect, SharedDatabase, columns

NUMBERS: Final = 100
"""Job numbers that are reserved at once."""
MOST: Final = 2**63
JOB_TABLES: Final = ("txgear_jobs", "txgear_workloads", "txgear_results")


class Broken(AssertionError):
    """What must never happen has happened."""


class Row(NamedTuple):
    """What matters of a lease's row."""

    part: int
    owner: bytes
    beat: int
    session: str
    first: int
    next: int
    end: int

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.first <= number < (self.end or MOST)


LEASES: Final = "SELECT part, owner, beat, session, first, next, end FROM txgear_leases"


class Life:
    """
    A server's, from a start to its end, or until it has lost its parts.
    """

    def __init__(self, name: str, *, is_alone: bool = False) -> None:
        self.name = name
        self.is_alone = is_alone

    def __repr__(self) -> str:
        return self.name


class Court:
    """
    Looks at each commit before it is done.

    @ivar database: set later.
    @ivar lost: whether a failover has taken something.
    @ivar given: the job numbers that were given out: of each reservation the first, the end, and whose.
    """

    def __init__(self) -> None:
        self.database: SharedDatabase
        self.lost = False
        self.given: list[tuple[int, int, Life]] = []
        # Who has taken a lease under this name.
        self._lives: dict[bytes, Life] = {}
        self._moved: dict[int, float] = {}
        self._replaced: set[tuple[Life, bytes]] = set()

    def leases(self) -> dict[int, Row]:
        return {row[0]: Row(*row) for row in self.database.ask(LEASES)}

    def owner(self, number: int) -> Life | None:
        """Who has the job with this number."""
        found = [row for row in self.leases().values() if number in row]
        return self._lives.get(found[0].owner) if found else None

    def failed_over(self) -> None:
        """Nobody could write: all have a lease's length to say that they live."""
        self.lost = True
        self._moved = dict.fromkeys(self.leases(), self.database.now)

    def judge(self, server: PartServer, changes: Sequence[Change]) -> None:
        """
        @param server: who is about to commit.
        @param changes: what.
        """
        before = self.leases()
        after = dict(before)
        beaten: set[int] = set()
        for change in changes:
            if change.table == "txgear_leases":
                beaten.add(change.key)
                self._lease(server.life, before, after, change)
        self._apart(after)
        for change in changes:
            if change.table in JOB_TABLES:
                self._job(server.life, before, after, beaten, change)
            elif change.table == "txgear_lanes":
                self._lane(server.life, before, beaten, change)
        for part in before.keys() - after.keys():
            self._empty(before[part], changes)

    def _lease(self, life: Life, before: dict[int, Row], after: dict[int, Row], change: Change) -> None:
        was = before.get(change.key)
        if change.after is None:
            assert was is not None
            del after[change.key]
            if was.owner != NOBODY and self._lives[was.owner] is not life:
                raise Broken(f"{life} deletes part {was.part}, which is {self._lives[was.owner]}'s")
            return
        row = after[change.key] = self._row(change.after)
        stood = self.database.now - self._moved.get(row.part, 0.0)
        self._moved[row.part] = self.database.now
        if was is None or was.owner != row.owner:
            if row.owner != NOBODY and self._lives.setdefault(row.owner, life) is not life:
                raise Broken(f"{life} is {self._lives[row.owner]} in part {row.part}")
            if was is not None and was.owner != NOBODY:
                self._taken(life, was, stood)
        elif row.owner == NOBODY or self._lives[row.owner] is not life:
            raise Broken(f"{life} changes the lease of part {row.part}, of {self._lives.get(row.owner)}")

    @staticmethod
    def _row(row: tuple[Any, ...]) -> Row:
        named = dict(zip(columns("txgear_leases"), row, strict=True))
        return Row._make(named[name] for name in Row._fields)

    def _taken(self, life: Life, was: Row, stood: float) -> None:
        """A part has another owner from now on, who may be nobody."""
        old = self._lives[was.owner]
        server, _, number = was.session.rpartition("/")
        generation = server.partition(".")[0]
        is_gone = generation == str(self.database.generation) and int(number) not in self.database.sessions
        # What comes back by a failover is taken once more at once by whoever had taken it.
        is_again = (life, was.owner) in self._replaced
        self._replaced.add((life, was.owner))
        if old is not life and stood < LENGTH and not is_gone and not is_again:
            raise Broken(f"{life} takes part {was.part} of {old}, which moved {stood:g} s ago")

    @staticmethod
    def _apart(rows: dict[int, Row]) -> None:
        """No number is in two parts."""
        ordered = sorted(rows.values(), key=lambda row: row.first)
        for row, following in pairwise(ordered):
            if following.first in row:
                raise Broken(f"parts {row.part} and {following.part} have the same numbers")

    def _job(
        self,
        life: Life,
        before: dict[int, Row],
        after: dict[int, Row],
        beaten: set[int],
        change: Change,
    ) -> None:
        found = [row for row in before.values() if change.key in row]
        if not found:
            raise Broken(f"{life} writes {change.key}, which is in no part")
        (row,) = found
        if self._lives.get(row.owner) is not life or row.part not in beaten:
            raise Broken(f"{life} writes {change.key} of part {row.part}, of {self._lives.get(row.owner)}")
        if change.after is not None and not any(change.key in each for each in after.values()):
            raise Broken(f"{life} leaves {change.key} without a part")

    def _lane(self, life: Life, before: dict[int, Row], beaten: set[int], change: Change) -> None:
        row = change.after or change.before
        assert row is not None
        part = dict(zip(columns("txgear_lanes"), row, strict=True))["part"]
        if part not in before or self._lives.get(before[part].owner) is not life or part not in beaten:
            raise Broken(f"{life} counts in part {part}")

    def _empty(self, gone: Row, changes: Sequence[Change]) -> None:
        left = {number for (number,) in self.database.ask("SELECT number FROM txgear_jobs") if number in gone}
        left -= {change.key for change in changes if change.table == "txgear_jobs" and change.after is None}
        if left:
            raise Broken(f"part {gone.part} is deleted, with {sorted(left)}")

    def reserved(self, life: Life, first: int, end: int) -> None:
        """Numbers are given out. A server alone goes on where the database says, which may have lost some."""
        for other, other_end, whose in [] if life.is_alone and self.lost else self.given:
            if first < other_end and other < end:
                raise Broken(f"{life} gives numbers from {first} on, as {whose} has from {other} on")
        self.given.append((first, end, life))

    def given_back(self, first: int, end: int) -> None:
        """These were given out, and are not used."""
        self.given = [
            (other, first if other_end == end else other_end, whose) for other, other_end, whose in self.given
        ]


class PartServer:
    """
    A server. It does one thing after the other.

    @ivar name: who it is.
    @ivar life: who it is at present.
    @ivar store: C{None} if it does not run.
    @ivar jobs: what it would hand out: those whose submits it has answered, and those that it has taken over.
    @ivar stopped_until: the process is stopped until then, wherever it is.
    """

    def __init__(self, database: SharedDatabase, court: Court, name: str) -> None:
        self.name = name
        self.life = Life(name)
        self.store: SqlStore | None = None
        self.jobs: set[int] = set()
        self.answered: set[int] = set()
        self.ended: set[int] = set()
        self.stopped_until = 0.0
        self._database = database
        self._court = court
        self._is_open = self._busy = False
        self._lives = count(1)
        self._watch: Watch
        # What is under way, and may have been done.
        self._pending: Batch | None = None
        self._numbers = (0, 0)
        # Parts of which a taking has failed, and may have been done.
        self._tried: set[int] = set()

    def __repr__(self) -> str:
        return self.name

    @property
    def _times(self) -> Times:
        # Clocks are not compared: each has its own.
        database, offset = self._database, float(sum(map(ord, self.name)))
        return Times(
            lambda: database.now + offset, lambda: database.now - offset, database.spend, database.chance
        )

    def _act(self, act: Callable[[], None]) -> None:
        if self._busy or self.stopped_until > self._database.now:
            return
        self._busy = True
        try:
            act()
        finally:
            self._busy = False

    def _try(self, act: Callable[[], None]) -> None:
        """Do something at the store, which may be lost by that."""
        try:
            act()
        except StoreTaken:
            # As a service that starts anew.
            self._forget()
        except StoreError:
            self._is_open = False

    def _forget(self) -> None:
        self._is_open = False
        self._pending = None
        self.jobs.clear()
        self._tried.clear()
        self._numbers = (0, 0)
        if not isinstance(self.store, PartedStore):
            self.store = None
        self._new_life()

    def _new_life(self) -> None:
        self._watch = Watch(LENGTH, lambda: 0.0)

    # What it does

    def start(self) -> None:
        """Start among others, unless it runs."""
        self._act(lambda: self._start(alone=False))

    def start_alone(self) -> None:
        """Start as a server that wants the store for itself."""
        self._act(lambda: self._start(alone=True))

    def _start(self, *, alone: bool) -> None:
        if self.store is not None:
            return
        self.life = Life(f"{self.name} {next(self._lives)}", is_alone=alone)
        dialect = FakeServerDialect(self._database, self)
        if alone:
            self.store = SqlStore(dialect, times=self._times)
        else:
            self.store = PartedStore(dialect, Membership(self.name, "", LENGTH), self._times)
        self._new_life()
        self._try(self._open)
        if not self._is_open:
            self.store = None

    def _open(self) -> None:
        store = self.store
        assert store is not None
        store.open()
        self._is_open = True
        if isinstance(store, PartedStore):
            pass
        else:
            self.jobs = {job.number for job in store.replay(0, 1000)}
        self._look_up()

    def _look_up(self) -> None:
        """What was under way is done, or is done now."""
        if self._pending is not None:
            self._write(self._pending)

    def _write(self, batch: Batch) -> None:
        store = self.store
        assert store is not None
        self._pending = batch
        known = store.known([job.number for job, _ in batch.new_jobs])
        new = [each for each in batch.new_jobs if each[0].number not in known]
        store.write(batch._replace(new_jobs=new))
        self._pending = None
        numbers = {job.number for job, _ in batch.new_jobs}
        self.answered |= numbers
        self.jobs |= numbers
        self.jobs -= set(batch.deleted)

    def look(self) -> None:
        """What it does each second."""
        self._act(lambda: self._try(self._look))

    def _look(self) -> None:
        store = self.store
        if store is None:
            return
        if not self._is_open:
            self._watch.failed()
            self._open()
            return
        if isinstance(store, PartedStore):
            try:
                self._take_ended(store)
            except StoreError:
                self._watch.failed()
                raise
        store.renew()

    def _take_ended(self, store: PartedStore) -> None:
        clock = self._times.clock
        asked = clock()
        leases = store.leases()
        ended = self._watch.looked(leases, asked, clock())
        ended += [lease for lease in leases if lease.is_ours and lease.part in self._tried]
        for lease in ended:
            self._tried.add(lease.part)
            if store.take(lease) is not None:
                self._reserve(store)
                self.jobs |= {job.number for job in store.replay(0, 1000) if self._is_in(lease, job.number)}
            self._tried.discard(lease.part)

    @staticmethod
    def _is_in(lease: Lease, number: int) -> bool:
        return lease.first <= number < lease.end

    def _reserve(self, store: SqlStore) -> None:
        first = store.reserve(NUMBERS)
        self._court.reserved(self.life, first, first + NUMBERS)
        self._numbers = first, first + NUMBERS

    def submit(self) -> None:
        """Keep two jobs."""
        self._act(lambda: self._try(self._submit))

    def _submit(self) -> None:
        store = self.store
        if store is None or not self._is_open:
            return
        if self._numbers[0] + 2 > self._numbers[1]:
            self._reserve(store)
        first, end = self._numbers
        self._numbers = first + 2, end
        self._write(Batch([addition(first, b"workload"), addition(first + 1)], (), ()))

    def finish(self) -> None:
        """End half of its jobs."""
        self._act(lambda: self._try(self._finish))

    def _finish(self) -> None:
        if self.store is None or not self._is_open or not self.jobs:
            return
        numbers = sorted(self.jobs)[: len(self.jobs) // 2 + 1]
        self.ended |= set(numbers)
        self._write(Batch((), (), numbers))

    def close(self) -> None:
        """End in order."""
        self._act(self._close)

    def _close(self) -> None:
        if self.store is not None:
            first, end = self._numbers
            if first < end and self._is_open and self._pending is None:
                self._court.given_back(first, end)
                self.store.close(first)
            else:
                self.store.close(None)
        self.kill_now()

    def kill(self) -> None:
        """It is no more."""
        self._act(self.kill_now)

    def kill_now(self) -> None:
        self.cut()
        if self.store is not None:
            self.store._disconnect()
        self.store = None
        self._is_open = False
        self._pending = None
        self.jobs.clear()
        self._tried.clear()
        self._numbers = (0, 0)

    def cut(self) -> None:
        """Its connection is lost, and it does not know that yet."""
        for session in list(self._database.sessions.values()):
            if session.server is self:
                session.vanish()

    def stop(self) -> None:
        """The process is stopped for so long that others take over what it has, wherever it is."""
        self.stopped_until = self._database.now + LENGTH + 2.0
