"""
Copies what one store has into another, each thing once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Protocol

from txgear.broker.records import SCHEDULED, Batch, HistoryChunk, JobRecord, NewJob, Result, StoredValue
from txgear.broker.words import number, verb
from txgear.cli.base.statuses import CommandError
from txgear.errors import StoreRefused

PAGE: Final = 2000
"""Jobs that are read in one go."""
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Bytes of workloads and results in one transaction at the most; a single job may have more."""
HISTORY_PAGE: Final = 64
MARK: Final = b"copy"
"""What the notes of copies begin with: they are of two stores, and do not come along to a third."""
EXAMPLES: Final = 3
"""Jobs that are named, for each reason not to copy them."""


class Store(Protocol):
    """The part of L{SqlStore<txgear.stores.sql.SqlStore>} that is used here."""

    name: str

    def reserve(self, count: int) -> int:
        """Set job numbers apart, and return the first."""

    def replay(self, after: int, limit: int) -> list[JobRecord]:
        """Jobs, by and by."""

    def workloads(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Workloads by number."""

    def results(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Results by number."""

    def known(self, numbers: Sequence[int]) -> set[int]:
        """Those that there are."""

    def values(self) -> list[StoredValue]:
        """All values."""

    def write(self, batch: Batch) -> None:
        """Do what a batch says."""

    def imported(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those that were noted."""

    def noted(self, after: bytes, limit: int) -> list[bytes]:
        """All that were noted, by and by."""

    def take_over(
        self, new_jobs: Sequence[NewJob], digests: Sequence[bytes], results: Sequence[Result] = ()
    ) -> None:
        """Keep jobs and note digests, in one transaction."""

    def history(self, after: int, limit: int) -> list[HistoryChunk]:
        """The history of figures, by and by."""

    def renew(self) -> None:
        """Show that somebody uses the store."""

    def see_alone(self) -> None:
        """See that nobody else does."""

    def put_history(self, chunks: Sequence[HistoryChunk], deleted: Sequence[int]) -> None:
        """Keep some of it."""


def _digest(*parts: bytes) -> bytes:
    made = sha256()
    for part in parts:
        made.update(len(part).to_bytes(8, "big"))
        made.update(part)
    return MARK + made.digest()[len(MARK) :]


def digest_of_job(job: JobRecord) -> bytes:
    """32 bytes that stand for a job, however it goes on."""
    return _digest(b"job", job.prefix, b"%d" % job.number, struct.pack(">d", job.created))


def digest_of_value(value: StoredValue) -> bytes:
    """32 bytes that stand for a value as it is now."""
    what = (b"%d" % value.kind, value.name, struct.pack(">d", value.value), value.text.encode("utf-8"))
    return _digest(b"value", *what)


@dataclass
class Copied:
    """
    What a copy has done.

    @ivar jobs: jobs that were copied, of which
    @ivar ended: are over and kept.
    @ivar known: jobs that were copied before.
    @ivar values: values (pauses, times of schedules, keys of the web) that were copied.
    @ivar digests: notes of what C{txgear import} has taken over.
    @ivar chunks: pieces of the history of figures.
    @ivar own_history: whether the other store had a history of its own, which was left as it is.
    @ivar refused: for each reason not to copy jobs, how many these are, and handles of the first.
    """

    jobs: int = 0
    ended: int = 0
    known: int = 0
    values: int = 0
    digests: int = 0
    chunks: int = 0
    own_history: bool = False
    refused: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def refuse(self, reason: str, job: JobRecord) -> None:
        """Count a job that is not copied."""
        count, examples = self.refused.get(reason, (0, []))
        if len(examples) < EXAMPLES:
            prefix = job.prefix.decode("utf-8", "backslashreplace")
            examples.append(f"{prefix}:{job.number}")
        self.refused[reason] = (count + 1, examples)

    def lines(self) -> Iterator[str]:
        """The same for a person to read."""
        yield f"{number(self.jobs, 'job')} copied, {self.ended:,} of them over and kept"
        if self.known:
            yield f"{number(self.known, 'job')} copied before"
        yield ", ".join(
            (
                number(self.values, "value"),
                number(self.chunks, "piece of the history", "pieces of the history"),
                number(self.digests, "note of takeovers", "notes of takeovers"),
            )
        )
        if self.own_history:
            yield "its history of figures is its own, and left as it is"
        for reason, (count, examples) in self.refused.items():
            rest = ", ..." if count > len(examples) else ""
            yield f"{count} not copied, {reason}: {', '.join(examples)}{rest}"


class Copy:
    """
    Copies one store into another. Both are open, and nobody else uses them.

    Each transaction notes what it has copied. So it may be interrupted anywhere and begun again, and what has
    become of a job since it was copied does not matter: it does not come back.

    @ivar report: what was done so far.
    """

    def __init__(self, source: Store, target: Store) -> None:
        self._source = source
        self._target = target
        self.report = Copied()

    def _pages(self, store: Store) -> Iterator[list[JobRecord]]:
        """All jobs of a store. Nobody takes either of them meanwhile, however little is written."""
        for page in _pages(store):
            self._see_alone()
            yield page

    def _see_alone(self) -> None:
        """Which shows as well that we live, as each change does."""
        for store in (self._source, self._target):
            store.see_alone()

    def count(self) -> int:
        """
        See whether it can be done, before anything is written.

        @return: how many jobs there are.
        @raise CommandError: the other store has jobs that are not these.
        """
        total = 0
        for jobs in self._pages(self._source):
            total += len(jobs)
            noted = self._noted(jobs)
            there = self._target.known([job.number for job in jobs])
            for job in jobs:
                if job.number in there and digest_of_job(job) not in noted:
                    raise CommandError(
                        f"{self._target.name} has a job with the number {job.number} that is another one:"
                        " copy into an empty store"
                    )
        for jobs in self._pages(self._target):
            noted = self._noted(jobs)
            copied = [job.number for job in jobs if digest_of_job(job) in noted]
            if gone := sorted(set(copied) - self._source.known(copied)):
                raise CommandError(
                    f"job {gone[0]} was copied, and {self._source.name} has it no more: a server has used"
                    " that since; copy into an empty store"
                )
        return total

    def run(self, say: Callable[[int], None] = lambda done: None) -> None:
        """
        Copy all.

        @param say: called with how many jobs are done.
        @raise txgear.errors.StoreError: a store is lost; what was copied stays so.
        """
        # First of all: whatever happens, no number of these jobs is given to another one.
        wanted, has = self._source.reserve(0), self._target.reserve(0)
        if wanted > has:
            self._target.reserve(wanted - has)
        done = 0
        for jobs in self._pages(self._source):
            noted = self._noted(jobs)
            fresh = [job for job in jobs if digest_of_job(job) not in noted]
            self.report.known += len(jobs) - len(fresh)
            done += len(jobs) - len(fresh)
            for chunk in _chunks(fresh):
                # Only the other one is written, and a page of large jobs takes long.
                self._source.renew()
                self._copy(chunk)
                done += len(chunk)
                say(done)
        self._copy_digests()
        self._copy_values()
        self._copy_history()

    def check(self, total: int) -> str:
        """
        Compare the two, at the end.

        @param total: how many jobs there were.
        @return: what is wrong; empty if nothing is.
        """
        report = self.report
        refused = sum(count for count, _ in report.refused.values())
        if report.jobs + report.known + refused != total:
            done = report.jobs + report.known
            were = verb(total, "was", "were")
            return f"there {were} {number(total, 'job')}, and {done:,} {verb(done, 'is', 'are')} copied"
        missing = different = 0
        for jobs in self._pages(self._source):
            numbers = [job.number for job in jobs]
            first, last = numbers[0] - 1, numbers[-1]
            there = {job.number: job for job in _between(self._target, first, last)}
            for job in jobs:
                found = there.get(job.number)
                missing += found is None
                different += found is not None and found != job
        self._see_alone()
        # What was copied by an earlier run may have been done, or have gone on, since then.
        if missing > refused + report.known or different > report.known:
            lost = missing - refused
            return (
                f"{number(lost, 'job')} {verb(lost, 'is', 'are')} missing, and {different:,}"
                f" {verb(different, 'is', 'are')} different"
            )
        return ""

    def _noted(self, jobs: Sequence[JobRecord]) -> set[bytes]:
        return self._target.imported([digest_of_job(job) for job in jobs])

    def _copy(self, jobs: Sequence[JobRecord]) -> None:
        """Copy jobs in one transaction; if the store refuses that, in one transaction for each."""
        numbers = [job.number for job in jobs]
        workloads = self._source.workloads(numbers)
        results = self._source.results([job.number for job in jobs if job.state])
        try:
            self._write(jobs, workloads, results)
        except StoreRefused:
            for job in jobs:
                try:
                    self._write([job], workloads, results)
                except StoreRefused as error:
                    self.report.refuse(str(error), job)

    def _write(
        self, jobs: Sequence[JobRecord], workloads: dict[int, bytes], results: dict[int, bytes]
    ) -> None:
        self._target.take_over(
            [(job, workloads.get(job.number, b"")) for job in jobs],
            [digest_of_job(job) for job in jobs],
            [(job.number, results[job.number]) for job in jobs if job.number in results],
        )
        self.report.jobs += len(jobs)
        self.report.ended += sum(1 for job in jobs if job.state)

    def _copy_digests(self) -> None:
        after = b""
        while digests := self._source.noted(after, PAGE):
            after = digests[-1]
            known = self._target.imported(digests)
            if fresh := [each for each in digests if each not in known and not each.startswith(MARK)]:
                self._target.take_over([], fresh)
                self.report.digests += len(fresh)

    def _copy_values(self) -> None:
        """Copy values that were not copied before as they are; of the times of a schedule the last stays."""
        values = self._source.values()
        known = self._target.imported([digest_of_value(value) for value in values])
        there = {(value.kind, value.name): value.value for value in self._target.values()}
        fresh = [value for value in values if digest_of_value(value) not in known]
        chosen = [
            value
            for value in fresh
            if value.kind != SCHEDULED or value.value > there.get((value.kind, value.name), 0.0)
        ]
        if fresh:
            self._target.write(Batch((), (), (), values=chosen))
            self._target.take_over([], [digest_of_value(value) for value in fresh])
        self.report.values += len(chosen)

    def _copy_history(self) -> None:
        """Copy the history of figures, unless a server has begun another one there."""
        mine, theirs = _fingerprints(self._source), _fingerprints(self._target)
        if any(mine.get(number) != found for number, found in theirs.items()):
            self.report.own_history = True
            return
        for page in _history(self._source):
            if fresh := [each for each in page if each[0] not in theirs]:
                self._target.put_history(fresh, [])
                self.report.chunks += len(fresh)


def _fingerprints(store: Store) -> dict[int, bytes]:
    """What stands for each piece of the history, by its number."""
    return {number: sha256(chunk).digest() for page in _history(store) for number, chunk in page}


def _pages(store: Store) -> Iterator[list[JobRecord]]:
    after = 0
    while jobs := store.replay(after, PAGE):
        after = jobs[-1].number
        yield jobs


def _between(store: Store, after: int, last: int) -> Iterator[JobRecord]:
    """Jobs with numbers above one, up to another."""
    while jobs := store.replay(after, PAGE):
        for job in jobs:
            if job.number > last:
                return
            yield job
        after = jobs[-1].number


def _history(store: Store) -> Iterator[list[HistoryChunk]]:
    after = 0
    while chunks := store.history(after, HISTORY_PAGE):
        after = chunks[-1][0]
        yield chunks


def _chunks(jobs: Sequence[JobRecord]) -> Iterator[Sequence[JobRecord]]:
    """Jobs in pieces of bounded size."""
    start = size = 0
    for place, job in enumerate(jobs):
        if place > start and size + job.size > CHUNK_BYTES:
            yield jobs[start:place]
            start, size = place, 0
        size += job.size
    if start < len(jobs):
        yield jobs[start:]
