"""
What several servers with one store have of each other's jobs: by which name each is known, so that a unique
is one job wherever it is submitted; and up to which time each schedule has run.

Both are rows that are changed in the transaction of the job, so the database decides who was first. A name
has one row, the I{claim}, with the number of its job. It goes with the job's row, or when the name is free
before that. Where a server without a cluster has deleted the job, its claim is left, and does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from sqlalchemy import select, update

from txgear.broker.records import (
    SCHEDULED,
    Batch,
    DoneElsewhere,
    JobRecord,
    StoredValue,
    handle_of,
    key_of_record,
    shown_handle,
)
from txgear.broker.states import DONE
from txgear.protocol.constants import UNIQUE_FROM_WORKLOAD
from txgear.stores.repeats import Undone
from txgear.stores.schema import claims, stored_values
from txgear.stores.statements import digest_of, note_of, parameter
from txgear.stores.verdicts import Verdict

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPICursor

    from txgear.broker.keys import Key
    from txgear.stores.questions import Questions
    from txgear.stores.statements import Statements

DIGEST_BYTES: Final = 16


class Claims:
    """
    One server's. It remembers nothing.
    """

    def __init__(self, statements: Statements, questions: Questions, salt: Callable[[], bytes]) -> None:
        """
        @param salt: the store's: whoever does not know it cannot find two names with the same digest.
        """
        self._statements = statements
        self._questions = questions
        self._salt = salt
        text = statements.text
        self._held_text = cache(self._make_held)
        self._replace_text = text(
            update(claims)
            .values(number=parameter(claims.c.number))
            .where(
                claims.c.digest == parameter(claims.c.digest), claims.c.number == parameter(claims.c.number)
            )
        )
        marks = stored_values.c
        this, new = marks.digest == parameter(marks.digest), ("value", "text")
        move = update(stored_values).values(**{name: parameter(marks[name]) for name in new})
        self._advance_text = text(move.where(this, marks.value < parameter(marks.value)))
        self._put_back_text = text(move.where(this, marks.text == parameter(marks.text)))
        self._note_text = text(select(marks.text).where(this))

    # A batch

    def take(self, cursor: DBAPICursor, batch: Batch) -> list[StoredValue]:
        """
        Take the names of a batch's jobs, and the times of its schedules, when nothing is written but its new
        jobs.

        @return: the values that are still to be put.
        @raise DoneElsewhere: others have some of them.
        """
        joined = {} if self._take_new(cursor, batch) else self._take_names(cursor, batch)
        times = [each for each in batch.values if each.kind == SCHEDULED and each.value]
        passed = self._take_times(cursor, batch, [each for each in times if each.number not in joined])
        if joined or passed:
            raise DoneElsewhere(joined, passed)
        return [each for each in batch.values if each.kind != SCHEDULED or not each.value]

    def let_go(self, cursor: DBAPICursor, batch: Batch, gone: Collection[int]) -> None:
        """
        The names of jobs are free: those that a batch says, and of

        @param gone: jobs that it deletes; none where none of them has a name.
        """
        if gone or batch.names:
            self._release(cursor, {*gone, *(each.number for each in batch.names if each.key is None)})

    # Names

    def _take_new(self, cursor: DBAPICursor, batch: Batch) -> bool:
        """
        Take the names of new jobs, as nearly always: none is anybody's, and no other job gets one.

        @return: whether that is all; otherwise some are taken, and some may not be.
        """
        if any(each.key is not None for each in batch.names):
            return False
        named = [
            job.number
            for job, _ in batch.new_jobs
            if (unique := job.unique) and (unique != UNIQUE_FROM_WORKLOAD or job.digest is not None)
        ]
        return not named or self._statements.claim(cursor, self._salt(), named) == len(named)

    def _take_names(self, cursor: DBAPICursor, batch: Batch) -> dict[int, JobRecord]:
        """
        @return: the jobs that have the names of new ones, by the numbers of these. Where one that was there
            has got another name it goes without, as two of one name do in a server.
        """
        gone = {*batch.deleted, *batch.deleted_all}
        names = {each.number: each for each in batch.names}
        named: dict[int, tuple[bytes, Key]] = {}
        for job, _ in batch.new_jobs:
            number, function = job.number, job.function
            key: Key | None = job.unique or None
            if key == UNIQUE_FROM_WORKLOAD:
                key = key_of_record(job)
            if names and number in names:
                _, function, key = names.pop(number)
            if key is not None and number not in gone:
                named[number] = function, key
        wanted = dict(zip(self._digests(named.values()), named, strict=True))
        others = [each for each in names.values() if each.key is not None and each.number not in gone]
        if others:
            self._release(cursor, {each.number for each in others})
        for number, function, key in others:
            if key is not None:
                named[number] = function, key
                (digest,) = self._digests([(function, key)])
                wanted.setdefault(digest, number)
        if not wanted:
            return {}
        new = {job.number for job, _ in batch.new_jobs}
        # Of two of a batch the last one has it.
        free = gone | new | {each.number for each in batch.names if each.key is None}
        lost = self._claim(cursor, wanted, named, free)
        return {number: record for number, record in lost.items() if number in new}

    def _claim(
        self,
        cursor: DBAPICursor,
        wanted: Mapping[bytes, int],
        named: Mapping[int, tuple[bytes, Key]],
        free: Collection[int],
    ) -> dict[int, JobRecord]:
        """
        Claim names.

        @param wanted: the numbers of the jobs that are to have them, by digest.
        @param named: the names, by number.
        @param free: jobs whose names are free when this batch is written.
        @return: those that have them, by the numbers of those that were to.
        """
        # In the order of their keys, as all servers do it: so none waits for another one that waits for it.
        if self._statements.insert_missing(cursor, claims, sorted(wanted.items())) == len(wanted):
            return {}
        held = self._held(cursor, list(wanted))
        others = [
            number for digest, number in held.items() if number != wanted[digest] and number not in free
        ]
        found = {job.number: job for job in self._questions.anywhere(cursor, others)}
        lost: dict[int, JobRecord] = {}
        for digest, number in sorted(wanted.items()):
            holder = held.get(digest)
            if holder == number:
                continue
            job = None if holder is None or holder in free else found.get(holder)
            if (
                job is not None
                and job.state in (0, DONE)
                and named[number] == (job.function, key_of_record(job))
            ):
                lost[number] = job
                continue
            # Nobody has it any more; unless somebody has just taken it.
            cursor.execute(self._replace_text, (number, digest, holder))
            if cursor.rowcount != 1:
                raise Undone("a name has got another job meanwhile", Verdict.CONFLICT)
        return lost

    def _digests(self, names: Iterable[tuple[bytes, Key]]) -> list[bytes]:
        """What stands for names. Of new jobs the databases know it by themselves (L{Statements.claim})."""
        salt = self._salt()
        found = []
        for function, key in names:
            unique, workload = (key, b"") if isinstance(key, bytes) else (b"-", key.to_bytes(16, "big"))
            name = b"%b%c%b%b%b" % (salt, len(unique), unique, function, workload)
            found.append(sha256(name).digest()[:DIGEST_BYTES])
        return found

    def _held(self, cursor: DBAPICursor, digests: list[bytes]) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for part in self._statements.key_lists(digests):
            cursor.execute(self._held_text(len(part)), part)
            found.update((bytes(digest), number) for digest, number in cursor.fetchall())
        return found

    def _release(self, cursor: DBAPICursor, numbers: Collection[int]) -> None:
        self._statements.delete_by(cursor, claims.c.number, sorted(numbers))

    def _make_held(self, keys: int) -> str:
        columns = claims.c
        return self._statements.text(
            select(columns.digest, columns.number).where(self._statements.is_one_of(columns.digest, keys))
        )

    # Times of schedules

    def _take_times(self, cursor: DBAPICursor, batch: Batch, times: list[StoredValue]) -> dict[int, bytes]:
        """
        @return: of new jobs that are for a time that is over, the handles of those that were for it.
        """
        if not times:
            return {}
        handles = {job.number: handle_of(job) for job, _ in batch.new_jobs}
        passed: dict[int, bytes] = {}
        # In an order that all servers have.
        for value in sorted(times, key=digest_of):
            digest = digest_of(value)
            if value.number and value.number not in handles:
                note = note_of(value)
                cursor.execute(self._put_back_text, (value.value, None, digest, note))
                continue
            if value.number:
                value = value._replace(text=shown_handle(handles[value.number]))
            note = note_of(value)
            cursor.execute(self._advance_text, (value.value, note, digest, value.value))
            if cursor.rowcount:
                continue
            row = (digest, value.kind, value.name, value.value, note)
            if not self._statements.insert_missing(cursor, stored_values, [row]) and value.number:
                cursor.execute(self._note_text, (digest,))
                passed[value.number] = bytes(next(iter(cursor.fetchall()), (None,))[0] or b"")
        return passed
