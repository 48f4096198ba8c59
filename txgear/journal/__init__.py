"""
From changes to batches: what is to be kept, carried to the store by and by.

One call is at the store at a time, on a thread of its own. While it is there,
what comes gathers; when it is back, what has gathered is the next batch: one
transaction, which takes all of it unless that is very much. Nobody waits for a
timer, and nobody but those whose jobs are on the way waits for the disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.broker.paging import READ_JOBS
from txgear.broker.records import (
    UNREADABLE_SECONDS,
    JobUpdate,
    JournalListener,
    Reading,
    StoredValue,
    Storing,
)
from txgear.errors import QueueError, StoreError, StoreRefused, StoreTaken, StoreUnusable
from txgear.journal.reading import Portion
from txgear.journal.writing import MOST_BYTES, MOST_ROWS, Refusals, WriteBuffer, fitting, write_all
from txgear.protocol.constants import ERROR

if TYPE_CHECKING:
    from txgear.broker.jobs import Job
    from txgear.interfaces import IJobStore

NUMBERS: Final = 1_000_000_000
"""Job numbers that are reserved at once; half of them must last while the store is away."""
UNHURRIED: Final = 0.05
"""Seconds that ends and moves gather for when no submit waits: nobody is kept waiting by them."""
ENOUGH: Final = 10_000
"""Changes that have gathered, from which on whoever makes many more is to wait: one batch has them all."""
FIRST_RETRY: Final = 0.1
"""Seconds to the second attempt at a store that went; each further one takes twice as long."""
LAST_RETRY: Final = 5.0
"""Seconds between attempts at the most."""
RETRY_WHEN_ASKED: Final = 1.0
"""Seconds between attempts at the most, where jobs come or wait that are to be kept, or the server ends."""
MOST_READINGS: Final = 16
"""Results and workloads, for those who asked for one, that are read at once: any of them may be large."""
MOST_WAITING: Final = 1000
"""Of them, that wait at the most; beyond it the answer is that it cannot be read at present."""
JOB_BYTES: Final = 1000
"""What a job on its way takes beside its workload, about: a million empty ones are not nothing."""
LEAST_ROOM: Final = 1024 * 1024
"""Bytes that results on their way may have, however little memory the queue has."""

T = TypeVar("T")
InThread = Callable[[Callable[[], Any]], "Deferred[Any]"]
"""Calls something on the store's thread; the Deferred fires with what it returns or raises."""


class Journal:
    """
    The changes of one server's jobs, on their way to its store.

    This is the broker's L{txgear.broker.records.Journal}.

    @ivar pending_bytes: bytes that jobs and results on their way take.
    """

    log = Logger()

    def __init__(self, store: IJobStore, in_thread: InThread, clock: IReactorTime, timeout: float) -> None:
        """
        @param store: open.
        @param in_thread: calls something where it may block.
        @param clock: for the bounds in time.
        @param timeout: seconds that those who submit wait for the disk at the most.
        """
        self._store = store
        self._in_thread = in_thread
        self._clock = clock
        self._timeout = timeout
        self._room = LEAST_ROOM
        self._refusal: str | None = None
        self.pending_bytes = 0
        # Results that there was no room for while the store did not answer.
        self._turned_away = 0
        self._additions: list[Storing] = []
        self._unhurried = WriteBuffer()
        self._readings: list[Reading] = []
        # Kept after all, when those who submitted them had been told that they are not.
        self._retracted: list[int] = []
        self._loading: list[Job] = []
        self._loads = Portion(READ_JOBS)
        self._reads = Portion(MOST_READINGS)
        # What is at the store, and may be there or not once that has failed.
        self._writing: deque[Storing] = deque()
        self._in_flight = WriteBuffer()
        self._busy = False
        self._lost = False
        # Whether it was a read that failed, which says nothing of writes.
        self._unread = False
        self._attempts = 0
        self._failed_at = 0.0
        self._asked = False
        self._read_last = self._loaded_last = False
        self._closing = self._closed = False
        # Since when the server's end waits for a store that has not answered since.
        self._silent_since: float | None = None
        self._overdue: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None
        self._gathering: IDelayedCall | None = None
        self._pause: IDelayedCall | None = None
        self._gathered = False
        self._idle: list[Deferred[None]] = []

    def begin(
        self, broker: JournalListener, outcome: Callable[[], None], taken: Callable[[], None], room: int
    ) -> None:
        """
        @param broker: is told what becomes of its jobs.
        @param outcome: called after it was told; ends a turn.
        @param taken: called once if another server has the store now; this one is to end.
        @param room: bytes on their way from which on those who add to them are to wait.
        """
        self._broker = broker
        self._outcome = outcome
        self._taken = taken
        self._room = max(room, LEAST_ROOM)

    @property
    def store_name(self) -> str:
        """What the store is and where, without a password."""
        return self._store.name

    # What the broker says

    @property
    def unavailable(self) -> str | None:
        """Part of L{txgear.broker.records.Journal}."""
        return self._refusal

    @property
    def backlogged(self) -> bool:
        """Part of L{txgear.broker.records.Journal}."""
        return self._refusal is None and len(self._unhurried) > ENOUGH

    @property
    def crowded(self) -> bool:
        """Part of L{txgear.broker.records.Journal}."""
        return self._refusal is None and self.pending_bytes > self._room

    def has_room(self, size: int) -> bool:
        """Part of L{txgear.broker.records.Journal}."""
        if self._refusal is None or not size or self.pending_bytes + size <= self._room:
            return True
        if not self._turned_away:
            self.log.error(
                "until the store {store} answers, no more results are kept: {size} bytes wait for it",
                store=self._store.name,
                size=self.pending_bytes,
            )
        self._turned_away += 1
        return False

    def retry_soon(self) -> None:
        """Part of L{txgear.broker.records.Journal}."""
        self._asked = True

    def add(self, storing: Storing) -> None:
        """Part of L{txgear.broker.records.Journal}."""
        self._additions.append(storing)
        self.pending_bytes += storing.addition[0].size + JOB_BYTES

    def update(self, update: JobUpdate) -> None:
        """Part of L{txgear.broker.records.Journal}."""
        self._unhurried.moves[update.number] = update

    def delete(self, number: int) -> None:
        """Part of L{txgear.broker.records.Journal}."""
        self._unhurried.ends.append(number)

    def put_result(self, number: int, result: bytes) -> None:
        """Part of L{txgear.broker.records.Journal}."""
        self.pending_bytes += self._unhurried.keep(number, result)

    def delete_all(self, number: int) -> None:
        """Part of L{txgear.broker.records.Journal}."""
        self.pending_bytes -= self._unhurried.drop_result(number)
        self._unhurried.forgotten.append(number)

    def put_value(self, value: StoredValue) -> None:
        """Part of L{txgear.broker.records.Journal}."""
        self._unhurried.marks[value.kind, value.name] = value

    def read(self, reading: Reading) -> None:
        """Part of L{txgear.broker.records.Journal}."""
        if self._refusal is None and not self._closed and len(self._readings) < MOST_WAITING:
            self._readings.append(reading)
        else:
            reading.done(None)

    def load(self, jobs: list[Job]) -> None:
        """Part of L{txgear.broker.records.Journal}."""
        self._loading = jobs

    # One thing at a time

    def turn_ended(self) -> None:
        """Set about what the turn has brought, unless the store is busy."""
        if self._closed:
            return
        try:
            self._go_on()
        except Exception:
            self._failed(Failure())

    def _go_on(self) -> None:
        if self._overdue is None and (self._additions or self.crowded):
            self._overdue = self._clock.callLater(self._timeout, self._time_is_up)
        if self._busy or (self._retry is not None and not self._hurry()):
            return
        if self._lost:
            self._call(self._open_again, self._opened_again)
            return
        waiting = self._additions or self._retracted or (self._unhurried and self._is_due())
        low = self._broker.numbers_left < NUMBERS // 2 and not self._closing
        may_read = self._pause is None and not (waiting and self._read_last)
        may_load = self._loading and may_read and not self._closing
        if low and not (self._attempts and (waiting or self._loading)):
            self._call(lambda: self._store.reserve(NUMBERS), self._reserved)
        elif may_load and not (self._readings and self._loaded_last):
            self._read_last = self._loaded_last = True
            self._load_some()
        elif self._readings and may_read:
            self._read_last, self._loaded_last = True, False
            self._read_some()
        elif waiting:
            self._read_last = False
            self._write()
        elif not self._unhurried:
            self._is_well()
            self._silent_since = None
            idle, self._idle = self._idle, []
            for waiter in idle:
                waiter.callback(None)

    def _hurry(self) -> bool:
        """Whether the next attempt at the store is made now, and not in its turn: somebody has asked."""
        asked, self._asked = self._asked, False
        if self._retry is None or not asked or self._clock.seconds() < self._failed_at + RETRY_WHEN_ASKED:
            return False
        self._retry.cancel()
        self._retry = None
        return True

    def _is_due(self) -> bool:
        """Whether changes that nobody waits for are to be written now; if not, they will be in a moment."""
        if self._closing or self._refusal is not None or self._gathered:
            return True
        if self._gathering is None:
            self._gathering = self._clock.callLater(UNHURRIED, self._has_gathered)
        return False

    def _has_gathered(self) -> None:
        self._gathering = None
        self._gathered = True
        self.turn_ended()

    def _call(
        self, call: Callable[[], T], done: Callable[[T], None], undone: Callable[[], None] = lambda: None
    ) -> None:
        """
        @param call: what is done on the store's thread.
        @param done: called with what it returns.
        @param undone: called if it fails.
        """
        self._busy = True

        def failed(failure: Failure) -> None:
            try:
                undone()
            finally:
                self._failed(failure)

        _ = self._in_thread(call).addCallbacks(self._answered, failed, (done,)).addErrback(self._defect)

    def _answered(self, result: T, done: Callable[[T], None]) -> None:
        self._busy = False
        if not self._lost:
            self._is_well()
        try:
            done(result)
        except Exception:
            self._failed(Failure())
        else:
            self._outcome()

    def _tell(self, tell: Callable[..., None], *arguments: Any) -> None:
        """Tell somebody what has become of his affair: a defect in that costs nobody else the same."""
        try:
            tell(*arguments)
        except Exception:
            self.log.failure("a defect in what follows from the store's answers")

    def _tell_of(self, storing: Storing, tell: Callable[..., None], *arguments: Any) -> None:
        """Tell the broker what has become of a job; whatever it makes of that, submitters have an answer."""
        self._tell(tell, storing, *arguments)
        if storing.answer is None:
            code = QueueError.default_code.encode("ascii")
            storing.answer = (ERROR, code, b"internal error of the server")

    def _is_well(self) -> None:
        self._attempts = 0
        if self._silent_since is not None:
            self._silent_since = self._clock.seconds()
        if self._refusal is not None and not self._closing:
            self._refusal = None
            self.log.info("the store {store} answers again", store=self._store.name)
        if self._turned_away:
            self.log.error(
                "the results of {count} jobs are not kept: the store {store} did not answer",
                count=self._turned_away,
                store=self._store.name,
            )
            self._turned_away = 0

    def _failed(self, failure: Failure) -> None:
        """
        The store is lost. It is opened again at once, and then less and less often. After a defect
        of ours or the store's nothing is known of it either, and what has become of the jobs is looked up.
        """
        self._busy = False
        reading = self._unread and not self._lost
        if reading and failure.check(StoreRefused):
            # It is there, and has said that it cannot read that.
            self._unread = False
            self._is_well()
            self._outcome()
            return
        reason = detail = str(failure.value)
        if not failure.check(StoreError):
            if self._attempts < 2:
                self.log.failure(
                    "a defect, in the store {store} or in what follows from its answers",
                    failure,
                    store=self._store.name,
                )
            reason = detail = "internal error of the store"
        elif failure.check(StoreUnusable):
            # Its text names places that are not the clients' affair.
            reason = "The store cannot be used at present"
        self._lost = True
        self._attempts = max(self._attempts, 1) if reading else self._attempts + 1
        self._failed_at = self._clock.seconds()
        if self._closing:
            self._drop_readings()
        if failure.check(StoreTaken) and not self._closed:
            self._give_up(reason, detail)
        elif self._attempts > 1 and not self._closed:
            self._refuse_from_now(reason, detail)
            if self._retry is None:
                # While submits wait, each attempt may still be in time for them.
                waited_for = self._closing or self._overdue is not None
                most = RETRY_WHEN_ASKED if waited_for else LAST_RETRY
                delay = min(FIRST_RETRY * 2.0 ** min(self._attempts - 2, 10), most)
                self._retry = self._clock.callLater(delay, self._try_again)
        self._outcome()

    def _give_up(self, reason: str, detail: str) -> None:
        """The jobs are another server's now: from here on nothing is right that this one says of them."""
        self.log.critical(
            "the store {store} is lost to this server, which ends: {detail}",
            store=self._store.name,
            detail=detail,
        )
        self._refusal = reason
        self._refuse_waiting(reason)
        self.abandon()
        self._taken()

    def _defect(self, failure: Failure) -> None:
        self.log.failure("a defect in the journal", failure)

    def _refuse_from_now(self, reason: str, detail: str) -> None:
        if self._refusal is None:
            self.log.error(
                "no background job is taken until the store {store} answers: {detail}",
                store=self._store.name,
                detail=detail,
            )
        self._refusal = reason
        self._drop_readings()

    def _try_again(self) -> None:
        self._retry = None
        self.turn_ended()

    # What is done at the store, and what follows

    def _write(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._retracted:
            # By themselves, before anything else: one of them may be submitted again.
            self._in_flight = WriteBuffer()
            self._in_flight.forgotten, self._retracted = (
                self._retracted[:MOST_ROWS],
                self._retracted[MOST_ROWS:],
            )
            retracted = True
        else:
            self._take_batch()
            retracted = False
        in_flight = self._in_flight
        batch = in_flight.batch([storing.addition for storing in self._writing])

        def unwritten() -> None:
            # Saying it twice does no harm.
            if retracted:
                self._retracted = in_flight.forgotten + self._retracted
            else:
                self.pending_bytes -= self._unhurried.restore(in_flight)
            self._in_flight = WriteBuffer()

        self._call(lambda: write_all(self._store, batch), self._written, unwritten)

    def _take_batch(self) -> None:
        """What is written next: all that has gathered, or the first of it."""
        additions, unhurried = self._additions, self._unhurried
        taken = len(additions)
        if taken > MOST_ROWS or self.pending_bytes > MOST_BYTES:
            taken = fitting([storing.addition[0].size for storing in additions])
        self._writing, self._additions = deque(additions[:taken]), additions[taken:]
        if not self._additions and unhurried.fits:
            self._in_flight, self._unhurried = unhurried, WriteBuffer()
        else:
            self._in_flight = unhurried.cut({storing.addition[0].number for storing in self._additions})
        # What is left has gathered long enough.
        self._gathered = bool(self._unhurried)

    def _written(self, refusals: Refusals) -> None:
        in_flight, self._in_flight = self._in_flight, WriteBuffer()
        self.pending_bytes -= in_flight.bytes
        self._watch_anew()
        now = self._clock.seconds()
        for index in range(len(self._writing)):
            # One by one: whatever happens here, what is left is still known to be on its way.
            storing = self._writing.popleft()
            if index in refusals.additions:
                self._refuse(storing, str(refusals.additions[index]))
            else:
                self._kept(storing, now)
        if in_flight.results:
            self._tell(self._broker.result_stored, in_flight.results.keys() - refusals.results.keys())
        if refusals.results:
            self.log.error(
                "{store} does not keep the results of {count} jobs: {reason}",
                store=self._store.name,
                count=len(refusals.results),
                reason=str(next(iter(refusals.results.values()))),
            )
            for number in refusals.results:
                self._tell(self._broker.result_refused, number)

    def _kept(self, storing: Storing, now: float) -> None:
        """A job is in the store; when its submitter has been told that it is not, it must not stay there."""
        if storing.answer is None:
            self.pending_bytes -= storing.addition[0].size + JOB_BYTES
            self._tell_of(storing, self._broker.stored, now)
        else:
            self._retracted.append(storing.addition[0].number)

    def _refuse(self, storing: Storing, reason: str) -> None:
        if storing.answer is None:
            self.pending_bytes -= storing.addition[0].size + JOB_BYTES
            for unhurried in (self._unhurried, self._in_flight):
                self.pending_bytes -= unhurried.drop(storing.addition[0].number)
            self._tell_of(storing, self._broker.refused, reason, self._clock.seconds())

    def _watch_anew(self) -> None:
        """A batch is settled: those that are left have their time from now on."""
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _time_is_up(self) -> None:
        """
        Those who wait have waited long enough. What is at the store stays
        there; should it be kept after all, it is taken out again.
        """
        self._overdue = None
        reason = self._refusal or f"The store has not answered for {self._timeout:g} seconds"
        self._refuse_from_now(reason, reason)
        self._refuse_waiting(reason)
        self._outcome()

    def _refuse_waiting(self, reason: str) -> None:
        gathered, self._additions = self._additions, []
        for storing in [*self._writing, *gathered]:
            self._refuse(storing, reason)

    def _open_again(self) -> set[int]:
        """
        On the store's thread: connect, and see what became of the jobs of whose outcome nothing is known.
        """
        self._store.open()
        return self._store.known([storing.addition[0].number for storing in self._writing])

    def _opened_again(self, known: set[int]) -> None:
        self._lost = False
        if self._unread:
            # It takes writes, as an opening is one: what cannot be read keeps nobody from those.
            self._unread = False
            self._is_well()
        writing = self._writing
        self._writing = deque(storing for storing in writing if storing.addition[0].number in known)
        self._additions[:0] = [
            storing
            for storing in writing
            if storing.answer is None and storing.addition[0].number not in known
        ]
        now = self._clock.seconds()
        while self._writing:
            self._kept(self._writing.popleft(), now)
        if not self._additions:
            self._watch_anew()

    # Reading

    def _read_some(self) -> None:
        portion = self._reads
        readings, self._readings = self._readings[: portion.size], self._readings[portion.size :]
        results = [reading.number for reading in readings if reading.result]
        workloads = [reading.number for reading in readings if not reading.result]

        def read() -> dict[tuple[int, bool], bytes]:
            found = {(number, True): data for number, data in self._store.results(results).items()}
            found.update(((number, False), data) for number, data in self._store.workloads(workloads).items())
            return found

        def unread() -> None:
            given_up = [readings.pop()] if self._not_read(portion, len(readings)) else []
            self._readings = readings + self._readings
            for reading in given_up:
                self._tell(reading.done, None)

        def done(found: dict[tuple[int, bool], bytes]) -> None:
            portion.succeeded()
            for reading in readings:
                self._tell(reading.done, found.get((reading.number, reading.result)))

        self._call(read, done, unread)

    def _load_some(self) -> None:
        portion = self._loads
        jobs = self._loading[: portion.size]
        numbers = [job.number for job in jobs]

        def unread() -> None:
            if self._not_read(portion, len(jobs)):
                self._give_up_loading(jobs)

        def done(found: dict[int, bytes]) -> None:
            portion.succeeded()
            self._loaded(jobs, found)

        self._call(lambda: self._store.workloads(numbers), done, unread)

    def _not_read(self, portion: Portion, count: int) -> bool:
        """
        A read has failed: the next one is of less.

        @param count: how many were to be read.
        @return: whether it was one, and that is to be given up.
        """
        self._unread = True
        given_up = portion.failed(count)
        if portion.pause and self._pause is None:
            self._pause = self._clock.callLater(portion.pause, self._pause_is_over)
        return given_up

    def _pause_is_over(self) -> None:
        self._pause = None
        self.turn_ended()

    def _drop_readings(self) -> None:
        """The store does not answer: neither do we keep anybody waiting."""
        readings, self._readings = self._readings, []
        # What comes later has not been tried yet.
        self._reads = Portion(MOST_READINGS)
        for reading in readings:
            self._tell(reading.done, None)

    def _loaded(self, jobs: list[Job], workloads: dict[int, bytes]) -> None:
        missing = [_name(job) for job in jobs if len(workloads.get(job.number, b"")) != job.size]
        if missing:
            self.log.error("{store} has lost the workloads of {jobs}", store=self._store.name, jobs=missing)
        self._take_loaded([(job, workloads.get(job.number)) for job in jobs], [])

    def _give_up_loading(self, jobs: list[Job]) -> None:
        new = [_name(job) for job in jobs if job not in self._broker.unreadable]
        if new:
            self.log.error(
                "{store} cannot read the workloads of {jobs}: these are set aside, and tried again"
                " every {seconds:g} seconds",
                store=self._store.name,
                jobs=new,
                seconds=UNREADABLE_SECONDS,
            )
        self._take_loaded([], jobs)

    def _take_loaded(self, loaded: list[tuple[Job, bytes | None]], unreadable: list[Job]) -> None:
        """The first of those that are being loaded are settled, one way or the other."""
        del self._loading[: len(loaded) + len(unreadable)]
        self._tell(self._broker.loaded, loaded, self._clock.seconds(), unreadable, bool(self._loading))

    def _reserved(self, first: int) -> None:
        self._broker.reserve(first, NUMBERS)

    # The end

    def settle(self) -> Deferred[None]:
        """
        The server is about to end: take no job any more, and write what there is.

        @return: a Deferred that fires with C{None} when nobody waits for the store
            any more; where that does not answer, after the timeout, and at once where
            it has not answered for so long since an earlier call.
        """
        self._closing = True
        self._refusal = "The server is shutting down"
        self._drop_readings()
        # Answers that are there now would be held by nobody but us.
        self._outcome()
        now = self._clock.seconds()
        if self._silent_since is None:
            self._silent_since = now
        patience = self._silent_since + self._timeout - now
        if self._closed or patience <= 0:
            return succeed(None)
        if self._retry is not None:
            # Its turn may come after the end.
            self._retry.cancel()
            self._retry = None
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        _ = idle.addTimeout(patience, self._clock, onTimeoutCancel=lambda result, timeout: None)
        self.turn_ended()
        return idle

    def close(self) -> Deferred[None]:
        """
        Write what has come since L{settle}, and let go of the store.

        @return: a Deferred that fires with C{None} when that is done; where the
            store does not answer, when L{settle} gives it up.
        """
        return self.settle().addCallback(self._close)

    def abandon(self) -> None:
        """Do nothing any more, as after a kill: what was not written is lost."""
        self._closed = True
        for timer in (self._overdue, self._retry, self._gathering, self._pause):
            if timer is not None and timer.active():
                timer.cancel()
        idle, self._idle = self._idle, []
        for waiter in idle:
            waiter.callback(None)

    def _close(self, result: None) -> Deferred[None] | None:
        self.abandon()
        self._drop_readings()
        self.pending_bytes -= self._unhurried.restore(self._in_flight)
        if ended := self._unhurried.count_ended():
            self.log.error(
                "the store {store} has not taken the last changes; {count} ended jobs will run again",
                store=self._store.name,
                count=ended,
            )
        if self._busy:
            # It hangs: the thread is left to itself, and the end of the process closes the rest.
            return None
        # Of a store that is lost nothing is known any more, nor whose it is.
        next_number = None if self._lost else self._broker.next_number
        closing = self._in_thread(lambda: self._store.close(next_number))
        _ = closing.addTimeout(self._timeout, self._clock, onTimeoutCancel=lambda result, timeout: None)
        return closing.addErrback(self._defect)


def _name(job: Job) -> str:
    """What a job is called in the log."""
    return job.handle.decode("ascii", "replace")
