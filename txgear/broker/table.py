"""
The jobs that have not ended, by number, by handle and by unique; and the numbers that new ones get.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from sys import getsizeof
from typing import TYPE_CHECKING, Final

from txgear.broker.records import LAST_NUMBER
from txgear.broker.uniques import Uniques
from txgear.errors import ConfigurationError
from txgear.protocol.constants import MAX_HANDLE

if TYPE_CHECKING:
    from txgear.broker.history import History
    from txgear.broker.keys import Key
    from txgear.broker.model import Function, Job

MAX_PREFIX: Final = MAX_HANDLE - 19
"""Bytes of a handle's prefix: a colon and 18 digits must fit behind it, whatever the number."""

LONG: Final = 100_000
"""
Jobs in memory from which on their two tables are not to grow in the same turn, as nobody is served meanwhile:
with 300,000 jobs each takes ten milliseconds for it.
"""

SMALL: Final = 10_000
"""
Bytes that a table takes that was made for some two hundred jobs: where the queue was no longer, nobody looks
at what its end leaves of uniques, as a short one ends again and again.
"""


def check_prefix(prefix: bytes) -> bytes:
    """
    @return: the prefix, if handles may start with it.
    @raise ConfigurationError: it is too long, or it would break a text command.
    """
    if not prefix or len(prefix) > MAX_PREFIX:
        raise ConfigurationError(f"a job handle's prefix has 1 to {MAX_PREFIX} bytes, this one {len(prefix)}")
    if any(byte <= 0x20 or byte == 0x7F for byte in prefix):
        raise ConfigurationError("a job handle's prefix holds no spaces and no control characters")
    return prefix


def naming_of(prefix: bytes) -> bytes:
    """What handles that start with this look like, with C{%d} for the number."""
    return prefix.replace(b"%", b"%%") + b":%d"


def number_of_handle(handle: bytes) -> int | None:
    """The number in a handle; C{None} where there is none."""
    number = handle.rpartition(b":")[2]
    return int(number) if number.isdigit() and len(number) < MAX_HANDLE else None


def job_of_handle(jobs: Mapping[int, Job], handle: bytes) -> Job | None:
    """
    The one of these jobs that has this handle. Perl's client puts the server in front of it,
    C{127.0.0.1:4730//H:desk:1}: that is no part of it.
    """
    number = number_of_handle(handle)
    job = None if number is None else jobs.get(number)
    # Only its very handle: there are other ways to write a number.
    if job is None or job.handle in (handle, handle.partition(b"//")[2]):
        return job
    return None


class JobTable:
    """
    @ivar jobs: those that are in memory, by number, and
    @ivar rows: how many there are that are not; see L{txgear.broker.rows.stock.Stock}.
    @ivar histories: how many of those in memory have a history, which takes as much memory as they do.
    @ivar moved: those in memory whose places are not their numbers, by place.
    @ivar uniques: those that others may join, and those that have ended and are kept.
    @ivar naming: what handles of new jobs look like, with C{%d} for the number.
    @ivar prefix: what these start with.
    @ivar last_number: the last number, or place, that was given out.
    @ivar reserved: the last one that may be.
    @ivar restored: while workers of the server before may come back: the highest number of those that it has
        left; 0 for none.
    @ivar changed: the numbers of those of them that have changed since: such a worker has something else.
    """

    __slots__ = (
        "changed",
        "histories",
        "jobs",
        "last_number",
        "moved",
        "naming",
        "prefix",
        "reserved",
        "restored",
        "rows",
        "uniques",
    )

    def __init__(self, prefix: bytes) -> None:
        """
        @param prefix: what handles start with; see L{check_prefix}.
        """
        self.jobs: dict[int, Job] = {}
        self.moved: dict[int, Job] = {}
        self.rows = 0
        self.histories = 0
        self.uniques = Uniques()
        self.prefix = prefix
        self.naming = naming_of(prefix)
        self.last_number = 0
        self.reserved = LAST_NUMBER
        self.restored = 0
        self.changed: set[int] = set()

    def __len__(self) -> int:
        """How many jobs there are."""
        return len(self.jobs) + self.rows

    def let_go(self, jobs: Sequence[Job]) -> None:
        """Jobs are not in memory any more; they are counted as before, with their functions and tenants."""
        there, forget = self.jobs, self.uniques.remove
        for job in jobs:
            del there[job.number]
            if job.place != job.number:
                del self.moved[job.place]
            if (history := job.history) is not None:
                self._discount(history)
            if (key := job.key) is not None:
                forget(key, job)
        self.rows += len(jobs)
        self._grow_apart()

    def take_in(self, job: Job) -> Job | None:
        """
        A job is in memory again. Where another has its name by now, both are to be done.

        @return: the one that was submitted later as the same, where the store is just asked for that: it is
            not known by its name any more.
        """
        self.jobs[job.number] = job
        if job.place != job.number:
            self.moved[job.place] = job
        self.rows -= 1
        if job.history is not None:
            self.count_history(job.history)
        if (key := job.key) is None:
            return None
        other = self.uniques.find(job.function, key)
        if other is not None:
            if other.reply is None or not other.reply.asked:
                job.key = None
                return None
            self.uniques.remove(key, other)
            other.key = None
        self.uniques.add(key, job)
        return other

    def take_all_in(self, jobs: Collection[Job]) -> list[tuple[Job, Job]]:
        """
        The same for these.

        @return: each that was submitted later as one of these, and that one.
        """
        known = self.uniques.jobs
        met: list[tuple[Job, Job]] = []
        for job in jobs:
            if job.key in known:
                if (other := self.take_in(job)) is not None:
                    met.append((other, job))
                continue
            # As there, without a call for each.
            self.jobs[job.number] = job
            if job.place != job.number:
                self.moved[job.place] = job
            self.rows -= 1
            if job.history is not None:
                self.count_history(job.history)
            if job.key is not None:
                known[job.key] = job
        return met

    def add(self, job: Job) -> None:
        """A job is to be done. If it has a key no other job of its function has that."""
        self.jobs[job.number] = job
        if job.history is not None:
            self.count_history(job.history)
        job.function.bytes += job.size
        if (tenant := job.tenant) is not None:
            tenant.queued += 1
            tenant.bytes += job.size
        if (key := job.key) is not None:
            # No call for what nearly all have: a key that nobody else has.
            if key in (jobs := self.uniques.jobs):
                self.uniques.add(key, job)
            else:
                jobs[key] = job

    def add_again(self, job: Job) -> None:
        """The same for one that was here before. Where another has its name by now, both are to be done."""
        if job.key is not None and self.uniques.find(job.function, job.key) is not None:
            job.key = None
        if job.place != job.number:
            self.moved[job.place] = job
        self.add(job)
        self._grow_apart()

    def count_history(self, history: History) -> None:
        """A job in memory has a history from now on, if it had none before."""
        if not history.counted:
            history.counted = True
            self.histories += 1

    def _discount(self, history: History) -> None:
        # That of a watcher, or of a lease, may be one that nobody has counted: those are few.
        if history.counted:
            history.counted = False
            self.histories -= 1

    def _grow_apart(self) -> None:
        """See L{LONG}. It is not asked for each new job: that is on the way of all."""
        if len(self.jobs) > LONG:
            self.uniques.grow_apart()

    def move(self, job: Job, function: Function) -> None:
        """A job is one of another function from now on, of which no other has its key."""
        job.function.bytes -= job.size
        function.bytes += job.size
        if job.key is not None:
            self.uniques.remove(job.key, job)
        job.function = function
        if job.key is not None:
            self.uniques.add(job.key, job)

    def correct(self, job: Job, key: Key | None, size: int) -> None:
        """
        A job has got another workload.

        @param key: what others are compared with now; no other job of its function has it.
        @param size: bytes of the workload.
        """
        job.function.bytes += size - job.size
        if job.tenant is not None:
            job.tenant.bytes += size - job.size
        job.size = size
        if key != job.key:
            if job.key is not None:
                self.uniques.remove(job.key, job)
            job.key = key
            if key is not None:
                self.uniques.add(key, job)

    def remove(self, job: Job, kept: bool = False) -> None:
        """
        The job is over, or not here any more; no client waits for it now.

        @param kept: whether it has ended and is kept, so that it is still found by its unique.
        """
        jobs = self.jobs
        del jobs[job.number]
        if job.place != job.number:
            del self.moved[job.place]
        if (history := job.history) is not None:
            self._discount(history)
        job.function.bytes -= job.size
        if (tenant := job.tenant) is not None:
            tenant.queued -= 1
            tenant.bytes -= job.size
        if not kept and (key := job.key) is not None:
            uniques = self.uniques
            # As there, which is one call more on the way of each job.
            if uniques.jobs[key] is job and not uniques.older:
                del uniques.jobs[key]
            else:
                uniques.remove(key, job)
        if not jobs:
            # Otherwise they keep what they took when the queue was as long as it ever was: 140 bytes a job.
            if not (named := self.uniques.jobs):
                named.clear()
            elif getsizeof(jobs) > SMALL:
                self.uniques.shrink()
            jobs.clear()
            self.moved.clear()
        # As in part_all, which is one call more on the way of each job.
        if job.clients:
            for client in job.clients:
                client.attached.pop(job, None)
            job.clients = ()

    def by_handle(self, handle: bytes) -> Job | None:
        """The job with this handle."""
        return job_of_handle(self.jobs, handle)

    def by_unique(self, unique: bytes, wanted: Callable[[Job], bool] | None = None) -> Job | None:
        """
        The newest job with this unique, of whatever function.

        @param wanted: whether a job counts; by default each does.
        """
        return self.uniques.newest(unique, wanted)

    # Numbers

    def note_change(self, job: Job) -> None:
        """A job has got another workload, or is one of another function now."""
        if job.number <= self.restored:
            self.changed.add(job.number)

    def put_last(self, job: Job) -> None:
        """The job's turn comes after that of all others that there are."""
        there = self.jobs.get(job.number) is job
        if there:
            self.moved.pop(job.place, None)
        self.last_number += 1
        job.place = self.last_number
        if there:
            self.moved[job.place] = job

    def reserve(self, first: int, count: int) -> None:
        """So many numbers are this server's to give to jobs, besides those that it has."""
        if first != self.reserved + 1:
            self.last_number = first - 1
        self.reserved = first + count - 1

    @property
    def numbers_left(self) -> int:
        """How many jobs can be taken before L{reserve} is called again."""
        return self.reserved - self.last_number

    @property
    def next_number(self) -> int:
        """The first number that no job has had."""
        return self.last_number + 1

    def check(self) -> None:
        """
        Is each job known by its names, and counted with its function and its tenant?

        @raise AssertionError: one is not.
        """
        moved = {job.place: job for job in self.jobs.values() if job.place != job.number}
        assert self.moved == moved, (self.moved, moved)
        histories = [job.history for job in self.jobs.values() if job.history is not None]
        counted = sum(history.counted for history in histories)
        assert self.histories == counted, (self.histories, counted)
        sizes: dict[object, int] = {}
        named = 0
        for number, job in self.jobs.items():
            assert number == job.number, job
            assert not job.ended, job
            sizes[job.function] = sizes.get(job.function, 0) + job.size
            if job.key is not None:
                named += 1
                assert self.uniques.find(job.function, job.key) is job, job
            for client in job.clients:
                assert job in client.attached, (job, client)
        found = [job for job in self.uniques if not job.ended]
        assert len(found) == named, (found, named)
        for job in self.jobs.values():
            # What is not in memory is counted as well.
            missing = job.function.bytes - sizes[job.function]
            assert missing >= 0 if self.rows else not missing, (job.function, missing)
            if (tenant := job.tenant) is not None:
                own = [other.size for other in self.jobs.values() if other.tenant is tenant]
                left = tenant.queued - len(own), tenant.bytes - sum(own)
                assert min(left) >= 0 if self.rows else left == (0, 0), (tenant, left)
