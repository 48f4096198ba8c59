"""
A row of the store as a job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from txgear.broker.history import History, owned_by, owner_of
from txgear.broker.model import Job
from txgear.broker.records import WAITING
from txgear.broker.states import DELAYED, PAGED
from txgear.broker.table import naming_of
from txgear.errors import PolicyError
from txgear.policies import CLASSIC
from txgear.protocol.constants import UNIQUE_FROM_WORKLOAD

if TYPE_CHECKING:
    from txgear.broker.functions import Functions
    from txgear.broker.keys import Key
    from txgear.broker.ports import Witness
    from txgear.broker.records import JobRecord
    from txgear.broker.table import JobTable
    from txgear.broker.tenants import Tenants
    from txgear.broker.timers import Timers


class Revival:
    """Makes jobs of rows. It puts them nowhere."""

    __slots__ = ("_functions", "_table", "_tenants", "_timers")

    def __init__(self, table: JobTable, functions: Functions, tenants: Tenants, timers: Timers) -> None:
        self._table = table
        self._functions = functions
        self._tenants = tenants
        self._timers = timers

    def revive(self, record: JobRecord, witness: Witness | None) -> tuple[Job, JobRecord]:
        """
        A job as the store has it, in no place; and the row, without what is damaged of it.

        @param witness: hears of that.
        """
        history = None
        if record.history is not None:
            try:
                history = self.history(record)
            except (ValueError, PolicyError) as error:
                if witness is not None:
                    witness.damaged(record.prefix + b":%d" % record.number, str(error))
                record = record._replace(history=None)
        return self.make(record, history), record

    def make(self, record: JobRecord, history: History | None) -> Job:
        """
        A job as the store has it, in no place; on whose account it is it knows from then on.

        @param history: what L{history} has read of it.
        """
        table, offset = self._table, self._timers.offset
        name = record.function
        key: Key | None = record.unique or None
        if key == UNIQUE_FROM_WORKLOAD:
            key = int.from_bytes(record.digest, "big") if record.digest is not None else None
        owner = None if record.history is None else owner_of(record.history)
        return Job(
            table.naming if record.prefix == table.prefix else naming_of(record.prefix),
            record.number,
            self._functions.by_name.get(name) or self._functions.get(name, bounded=False),
            record.unique,
            key,
            b"",
            record.priority,
            True,
            record.reducer,
            record.created and record.created - offset,
            record.place,
            record.size,
            None if owner is None else self._tenants.get(owner),
            history,
            stored=True,
            retries=record.retries,
        )

    def history(self, record: JobRecord) -> History | None:
        """
        What a job has beyond the classic protocol, and has a policy by.

        @raise ValueError: what is kept of it is damaged.
        @raise PolicyError: its settings are none.
        """
        kept = record.history
        if kept is None or ((owner := owner_of(kept)) is not None and kept == owned_by(owner)):
            return None
        history = History.from_bytes(kept)
        function = self._functions.by_name.get(record.function)
        policy = CLASSIC if function is None else function.policy or CLASSIC
        history.policy(policy, self._functions.policies)
        return history

    def since(self, job: Job, record: JobRecord, now: float) -> float:
        """Since when a job is ready; of one that has been tried nobody knows."""
        since = job.created
        if not since or job.place != job.number:
            return now
        if due := record.due:
            since = max(since, due - self._timers.offset)
        return since if since < now else now

    def show(self, job: Job, record: JobRecord) -> Job:
        """Have a job that was made of a row look as it would in its place."""
        offset = self._timers.offset
        if record.state:
            job.state, job.since = record.state, record.ended - offset
            job.due = record.due - offset
            job.archived, job.history = record.history or b"{}", None
        elif record.kind == WAITING:
            job.state, job.due = DELAYED, record.due - offset
        else:
            job.state = PAGED
        return job
