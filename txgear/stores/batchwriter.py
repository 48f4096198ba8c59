"""
What a batch says of jobs, as the statements of one transaction.

Jobs, large workloads, results, names and the counts of lanes have tables of their own; the order in which
these are changed is here, and which workloads are small enough to be in the rows of their jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from txgear.broker.records import Batch, JobChange, JobRecord, JobUpdate, NewJob, Result
from txgear.errors import StoreRefused, ValueTooLarge
from txgear.stores import schema
from txgear.stores.places import Tally
from txgear.stores.statements import ROW_BYTES

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine.interfaces import DBAPICursor

    from txgear.stores.claims import Claims
    from txgear.stores.dialects import StoreDialect
    from txgear.stores.lanecounts import LaneCounts
    from txgear.stores.parts import Parts


MOST_INLINE: Final = 500
"""
Bytes of a workload that is in its job's row at the most. One row is to be written and deleted then instead of
two; but all of it is written anew where the job is tried once more, and that costs more the larger it is.
"""


class BatchWriter:
    """
    Writes batches, within transactions that others begin and end.

    @ivar damaged: the jobs whose workloads or results cannot be read, and so not deleted: these are left
        behind, and belong to no job any more.
    """

    def __init__(self, dialect: StoreDialect, lanes: LaneCounts, claims: Claims | None = None) -> None:
        """
        @param lanes: are told what changes in them.
        @param claims: the names of jobs, where several servers have the store.
        """
        self.damaged: set[int] = set()
        self._dialect = dialect
        self._statements = dialect.statements
        self._questions = dialect.questions
        self._lanes = lanes
        self._claims = claims

    def check(
        self,
        new_jobs: Sequence[NewJob],
        results: Sequence[Result] = (),
        changes: Sequence[JobChange] = (),
    ) -> None:
        """
        Refuse what would cost more than an error in the database.

        @raise ValueTooLarge: a workload or a result is larger than L{StoreDialect.largest_value}.
        """
        most = self._dialect.largest_value
        if most is None:
            return
        workloads = [workload for _, workload in new_jobs]
        workloads += [change.workload for change in changes if change.workload is not None]
        for what, values in (("a workload", workloads), ("a result", [result for _, result in results])):
            for value in values:
                if len(value) > most:
                    raise ValueTooLarge(
                        f"{what} of {len(value)} bytes is over the {most} that the database takes: "
                        f"{self._dialect.largest_value_why}"
                    )

    def write(self, cursor: DBAPICursor, parts: Parts, batch: Batch) -> None:
        """
        Do what a batch says.

        @param parts: those that all jobs of it are in.
        """
        claims, tally = self._claims, Tally()
        gone = {*batch.deleted, *batch.deleted_all}
        ended = {number for number, _ in batch.results}
        updated = {update.number for update in batch.updates}
        changed = updated.union(ended, (change.number for change in batch.changes))
        self._add(cursor, parts, batch.new_jobs, tally)
        if not gone and not changed:
            # The outcome of the claims is waited for: what goes before them goes with them.
            self._lanes.apply(cursor, tally)
        values = batch.values if claims is None else claims.take(cursor, batch)
        bare, keyed = self._lanes.before(cursor, tally, gone | changed)
        if claims is not None:
            claims.let_go(cursor, batch, gone if keyed else ())
        if batch.changes:
            bare += self._change(cursor, parts, batch.changes, tally)
        if batch.updates:
            self._statements.update(cursor, batch.updates, ended)
        if others := ended - updated:
            self._statements.put_workloads(cursor, [(number, b"") for number in others])
        if batch.results:
            self._put_results(cursor, batch.results)
        deleted = [*batch.deleted, *batch.deleted_all]
        self._statements.delete(cursor, schema.jobs, deleted)
        if bare:
            # Whoever has one in his own row has none there.
            self._delete(cursor, schema.workloads, [*ended, *deleted])
        self._delete(cursor, schema.results, batch.deleted_all)
        self._questions.gone(cursor, gone)
        self._lanes.after(cursor, tally, changed - gone)
        if values:
            self._statements.put_values(cursor, values)
        self._lanes.apply(cursor, tally)

    def take_over(
        self,
        cursor: DBAPICursor,
        parts: Parts,
        new_jobs: Sequence[NewJob],
        digests: Sequence[bytes],
        results: Sequence[Result],
    ) -> None:
        """See C{take_over} of L{SqlStore<txgear.stores.sql.SqlStore>}."""
        tally = Tally()
        done = {number for number, _ in results}
        # A result is in place of the workload.
        new_jobs = [(job, b"" if job.number in done else workload) for job, workload in new_jobs]
        self._add(cursor, parts, new_jobs, tally)
        # Those with a history have it all by now.
        if ended := [history_update(job) for job, _ in new_jobs if job.state and job.history is None]:
            self._statements.update(cursor, ended)
        if results:
            self._put_results(cursor, results)
        rows = [(digest,) for digest in digests]
        self._statements.insert(cursor, schema.imported, rows, [ROW_BYTES] * len(rows))
        self._lanes.apply(cursor, tally)

    def _add(self, cursor: DBAPICursor, parts: Parts, new_jobs: Sequence[NewJob], tally: Tally) -> None:
        if not new_jobs:
            self._questions.came(cursor, (), ())
            return
        columns = parts.new_columns(new_jobs, tally, narrow=self._questions.few_segments)
        self._questions.came(cursor, columns[0], columns[-2])
        small = [bytes(workload) if len(workload) <= MOST_INLINE else None for _, workload in new_jobs]
        weights = [ROW_BYTES + MOST_INLINE + len(job.function) for job, _ in new_jobs]
        self._statements.insert_jobs(cursor, [*columns, small], weights)
        if histories := [history_update(job) for job, _ in new_jobs if job.history is not None]:
            self._statements.update(cursor, histories)
        large = [(job.number, bytes(workload)) for job, workload in new_jobs if len(workload) > MOST_INLINE]
        self._put_large(cursor, large)

    def _put_large(self, cursor: DBAPICursor, rows: Sequence[tuple[int, bytes]]) -> None:
        self._statements.insert(cursor, schema.workloads, rows, [ROW_BYTES + len(row[1]) for row in rows])

    def _change(self, cursor: DBAPICursor, parts: Parts, changes: Sequence[JobChange], tally: Tally) -> int:
        """
        Change what operators have changed of jobs that are kept, their workloads as well.

        @return: how many may have no workloads in their own rows now, though they had.
        """
        statements = self._statements
        self._questions.changed(cursor, changes)
        statements.change(cursor, changes, parts)
        for change in changes:
            parts.places(change.number).name_change(change, tally)
        new = {each.number: each.workload for each in changes if each.workload is not None}
        if damaged := sorted(new.keys() & self.damaged):
            raise StoreRefused(f"the workload of job {damaged[0]} is damaged, and cannot be replaced")
        large = {number: workload for number, workload in new.items() if len(workload) > MOST_INLINE}
        statements.put_workloads(
            cursor, [(number, None if number in large else workload) for number, workload in new.items()]
        )
        statements.delete(cursor, schema.workloads, list(new))
        kept = statements.known(cursor, schema.jobs, list(large))
        self._put_large(cursor, [(number, workload) for number, workload in large.items() if number in kept])
        return len(large)

    def _put_results(self, cursor: DBAPICursor, results: Sequence[Result]) -> None:
        """Keep results, in place of earlier ones."""
        self._delete(cursor, schema.results, [number for number, _ in results])
        rows = [(number, result) for number, result in results if result]
        self._statements.insert(cursor, schema.results, rows, [ROW_BYTES + len(result) for _, result in rows])

    def _delete(self, cursor: DBAPICursor, table: Table, numbers: Sequence[int]) -> None:
        if self.damaged:
            numbers = [number for number in numbers if number not in self.damaged]
        self._statements.delete(cursor, table, numbers)


def history_update(job: JobRecord) -> JobUpdate:
    """The update that sets the fields of a new job that its insert leaves out."""
    return JobUpdate(
        job.number,
        job.place,
        job.due,
        job.retries,
        None,
        job.state,
        job.ended,
        job.history,
        job.kind,
        job.wake,
    )
