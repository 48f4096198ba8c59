"""
What comes from the store: when the server starts the jobs that were kept, and later what has become of
those on their way, and workloads that were asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from txgear.broker.counts import UNREADABLE
from txgear.broker.model import Job
from txgear.broker.records import PAUSED
from txgear.broker.states import FAILED, PAGED
from txgear.protocol.constants import WORK_FAIL

if TYPE_CHECKING:
    from txgear.broker.dispatcher import Dispatcher
    from txgear.broker.ended.archive import Archive
    from txgear.broker.functions import Functions
    from txgear.broker.life.absences import Absences
    from txgear.broker.life.lifecycle import Lifecycle
    from txgear.broker.life.lookups import Lookups
    from txgear.broker.life.operations import Operations
    from txgear.broker.model import Function
    from txgear.broker.paging import Pager
    from txgear.broker.records import JobRecord, LaneCount, StoredValue
    from txgear.broker.rows.stock import Stock
    from txgear.broker.table import JobTable
    from txgear.broker.tenants import Tenant
    from txgear.broker.timers import Timers


class StoreEvents:
    """
    The broker's L{JournalListener<txgear.broker.ports.JournalListener>}, and what restores it.

    @ivar stored: L{Lifecycle.stored}.
    @ivar refused: L{Lifecycle.refused}.
    @ivar joined: L{Lookups.is_elsewhere}.
    @ivar passed: L{Lookups.is_over}.
    @ivar trust: L{Dispatcher.trust<txgear.broker.dispatcher.Dispatcher.trust>}.
    @ivar reserve: L{JobTable.reserve<txgear.broker.table.JobTable.reserve>}.
    @ivar result_stored: L{Archive.result_stored<txgear.broker.ended.archive.Archive.result_stored>}.
    @ivar result_refused: L{Archive.result_refused<txgear.broker.ended.archive.Archive.result_refused>}.
    @ivar workload_refused: L{Changes.workload_refused<txgear.broker.life.changes.Changes.workload_refused>}.
    @ivar written: L{Stock.written<txgear.broker.rows.stock.Stock.written>}.
    """

    __slots__ = (
        "_absences",
        "_dispatcher",
        "_functions",
        "_lifecycle",
        "_operations",
        "_pager",
        "_stock",
        "_table",
        "_timers",
        "joined",
        "passed",
        "refused",
        "reserve",
        "result_refused",
        "result_stored",
        "stored",
        "trust",
        "workload_refused",
        "written",
    )

    def __init__(
        self,
        table: JobTable,
        functions: Functions,
        dispatcher: Dispatcher,
        archive: Archive,
        lifecycle: Lifecycle,
        stock: Stock,
        pager: Pager | None,
        timers: Timers,
        operations: Operations,
        absences: Absences,
        lookups: Lookups,
    ) -> None:
        self._absences = absences
        self._operations = operations
        self.joined = lookups.is_elsewhere
        self.passed = lookups.is_over
        self._stock = stock
        self._table = table
        self._functions = functions
        self._dispatcher = dispatcher
        self._lifecycle = lifecycle
        self._pager = pager
        self._timers = timers
        self.stored = lifecycle.stored
        self.refused = lifecycle.refused
        self.reserve = table.reserve
        self.trust = dispatcher.trust
        self.result_stored = archive.result_stored
        self.result_refused = archive.result_refused
        self.workload_refused = operations.workload_refused
        self.written = stock.written

    @property
    def numbers_left(self) -> int:
        """How many jobs can be taken before C{reserve} is called again."""
        return self._table.numbers_left

    @property
    def next_number(self) -> int:
        """The first number that no job has had."""
        return self._table.next_number

    @property
    def unreadable(self) -> set[Job]:
        """The jobs that are delayed as their workloads cannot be read."""
        return set() if self._pager is None else self._pager.unreadable

    def loaded(
        self,
        workloads: Iterable[tuple[Job, bytes | None]],
        now: float,
        unreadable: Iterable[Job] = (),
        more: bool = False,
    ) -> None:
        """As in L{JournalListener.loaded<txgear.broker.ports.JournalListener.loaded>}."""
        pager = self._pager
        assert pager is not None
        if not more:
            pager.arrived()
        lanes: dict[tuple[Function, int, Tenant | None], Job] = {}
        for job, workload in workloads:
            # Whatever has become of it: its lane may lack another now.
            lanes[job.function, job.priority, job.tenant] = job
            if job.state == PAGED:
                pager.unreadable.discard(job)
                if workload is None or len(workload) != job.size:
                    # Somebody has changed the store: nobody can do it any more.
                    self._lifecycle.send_clients(job, WORK_FAIL, job.handle)
                    self._lifecycle.finish(job, FAILED, now, reason=UNREADABLE)
                else:
                    job.workload = workload
                    pager.count(job)
        for job in unreadable:
            if job.state == PAGED:
                lanes[job.function, job.priority, job.tenant] = job
                pager.unreadable.add(job)
                self._lifecycle.put_off(job, now)
        for job in lanes.values():
            self._dispatcher.advance(job, now)
        pager.go_on(now)

    def answers(self, now: float) -> None:
        """As in L{JournalListener.answers<txgear.broker.ports.JournalListener.answers>}."""
        self._stock.read_heads(now)

    def begin(
        self,
        lanes: Iterable[LaneCount],
        values: Iterable[StoredValue],
        now: float,
        aside: Iterable[JobRecord] = (),
    ) -> None:
        """
        The server starts again, and takes up what was kept: see L{Stock.begin}. Functions that were paused
        still are.

        @param lanes: how many jobs are kept.
        @param values: what else is.
        @param aside: those of the jobs that are set aside.
        """
        self._stock.begin(lanes, now, aside)
        for value in values:
            if value.kind == PAUSED:
                self._operations.put_in_force(value, now)
        self._stock.read_heads(now)
        self._absences.server_started(now)

    def take_over(self, lanes: Iterable[LaneCount], now: float, aside: Iterable[JobRecord] = ()) -> None:
        """
        Jobs of another server are this one's from now on: they come behind those that are in memory, and
        their workers may come here; those that have offered them already have them before anybody else.
        L{reserve} has come before, with numbers above all of theirs: otherwise what is submitted from now on
        would be before some of them.

        @param lanes: how many, and
        @param aside: those of them that are set aside, as in L{begin}.
        """
        absences = self._absences
        self._stock.begin(lanes, now, aside)
        absences.server_started(now)
        if offered := absences.offered:
            # Asked for before what anybody may grab, they are here before it.
            self._stock.load_handles(offered, lambda answered, later: absences.claim_offered(later), now)
        self._stock.read_heads(now)
