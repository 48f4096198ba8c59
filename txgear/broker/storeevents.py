"""
What comes from the store: when the server starts the jobs that were kept, and later what has become of
those on their way, and workloads that were asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from txgear.broker.counts import UNREADABLE
from txgear.broker.history import History, owned_by, owner_of
from txgear.broker.model import Job
from txgear.broker.records import PAUSED, by_place
from txgear.broker.states import FAILED, PAGED, QUEUED
from txgear.broker.table import naming_of
from txgear.errors import ConfigurationError, PolicyError
from txgear.policies import CLASSIC
from txgear.protocol.constants import UNIQUE_FROM_WORKLOAD, WORK_FAIL

if TYPE_CHECKING:
    from txgear.broker.absences import Absences
    from txgear.broker.archive import Archive
    from txgear.broker.dispatcher import Dispatcher
    from txgear.broker.functions import Functions
    from txgear.broker.lifecycle import Lifecycle
    from txgear.broker.model import Function
    from txgear.broker.operations import Operations
    from txgear.broker.paging import Pager
    from txgear.broker.records import JobRecord, StoredValue
    from txgear.broker.table import JobTable
    from txgear.broker.tenants import Tenant, Tenants
    from txgear.broker.timers import Timers
    from txgear.broker.uniques import Key


class StoreEvents:
    """
    The broker's L{JournalListener<txgear.broker.ports.JournalListener>}, and what restores it.

    @ivar stored: L{Lifecycle.stored}.
    @ivar refused: L{Lifecycle.refused}.
    @ivar reserve: L{JobTable.reserve<txgear.broker.table.JobTable.reserve>}.
    @ivar result_stored: L{Archive.result_stored<txgear.broker.archive.Archive.result_stored>}.
    @ivar result_refused: L{Archive.result_refused<txgear.broker.archive.Archive.result_refused>}.
    @ivar workload_refused: L{Changes.workload_refused<txgear.broker.changes.Changes.workload_refused>}.
    """

    __slots__ = (
        "_absences",
        "_archive",
        "_dispatcher",
        "_functions",
        "_lifecycle",
        "_pager",
        "_table",
        "_tenants",
        "_timers",
        "refused",
        "reserve",
        "result_refused",
        "result_stored",
        "stored",
        "workload_refused",
    )

    def __init__(
        self,
        table: JobTable,
        functions: Functions,
        dispatcher: Dispatcher,
        archive: Archive,
        lifecycle: Lifecycle,
        pager: Pager | None,
        timers: Timers,
        tenants: Tenants,
        operations: Operations,
        absences: Absences,
    ) -> None:
        self._absences = absences
        self._tenants = tenants
        self._table = table
        self._functions = functions
        self._dispatcher = dispatcher
        self._archive = archive
        self._lifecycle = lifecycle
        self._pager = pager
        self._timers = timers
        self.stored = lifecycle.stored
        self.refused = lifecycle.refused
        self.reserve = table.reserve
        self.result_stored = archive.result_stored
        self.result_refused = archive.result_refused
        self.workload_refused = operations.workload_refused

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
            if job.state == PAGED:
                lanes[job.function, job.priority, job.tenant] = job
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

    def written(self, numbers: Iterable[int], now: float) -> None:
        """As in L{JournalListener.written<txgear.broker.ports.JournalListener.written>}."""

    def answers(self, now: float) -> None:
        """As in L{JournalListener.answers<txgear.broker.ports.JournalListener.answers>}."""

    # The server starts again

    def restore(self, records: Iterable[JobRecord], values: Iterable[StoredValue], now: float) -> None:
        """
        Take up what was kept. Jobs are queued, or wait for their time, as before: the earlier of two with
        one priority comes first. Those that have ended are still known, and functions that were paused
        still are.

        @param records: all jobs that are kept, in the order of their numbers.
        @param values: what else is.
        @raise ConfigurationError: what was kept of a job's history cannot be read.
        """
        for record in by_place(records):
            self._restore_job(record, now)
        self._archive.ended.sort()
        for value in values:
            if value.kind == PAUSED and value.value:
                function = self._functions.get(value.name, bounded=False)
                self._functions.throttle(function).pause(value.value, value.text)
                self._dispatcher.regulate(function, now)
        self._absences.server_started(now)

    def _restore_job(self, record: JobRecord, now: float) -> None:
        function = self._functions.get(record.function, bounded=False)
        key: Key | None = record.unique or None
        if key == UNIQUE_FROM_WORKLOAD:
            key = int.from_bytes(record.digest, "big") if record.digest is not None else None
        own = record.prefix == self._table.prefix
        offset = self._timers.offset
        job = Job(
            self._table.naming if own else naming_of(record.prefix),
            record.number,
            function,
            record.unique,
            key,
            b"",
            record.priority,
            True,
            record.reducer,
            record.created and record.created - offset,
        )
        job.place, job.size, job.retries = record.place, record.size, record.retries
        job.stored = True
        self._table.restored = max(self._table.restored, record.number)
        history = self._history(job, record.history)
        if record.state:
            job.state = record.state
            job.since = record.ended - offset
            job.archived = record.history or b"{}"
            self._archive.restore(job, record.due - offset, history or History(), now)
            return
        job.history = history
        self._lifecycle.set_expiry(job, now)
        self._table.add_again(job)
        function.counts.restored += 1
        self._lifecycle.make_ready(job, record.due, 0.0, now)
        if job.state in (QUEUED, PAGED) and job.created and job.place == job.number:
            # It was ready before the server was. Of one that has been tried nobody knows since when.
            job.since = min(max(job.created, record.due - offset), now)

    def _history(self, job: Job, kept: bytes | None) -> History | None:
        """What a job has beyond the classic protocol; on whose account it is it knows from then on."""
        if kept is None:
            return None
        try:
            if (owner := owner_of(kept)) is not None:
                job.tenant = self._tenants.get(owner)
                if kept == owned_by(owner):
                    return None
            history = History.from_bytes(kept)
            history.policy(job.function.policy or CLASSIC, self._functions.policies)
        except (ValueError, PolicyError) as error:
            raise ConfigurationError(f"what the store has of {job.handle!r} is damaged: {error}") from error
        return history
