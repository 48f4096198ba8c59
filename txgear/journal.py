"""
From changes to batches: what is to be kept, carried to the store by and by.

One call is at the store at a time, on a thread of its own. While it is there,
what comes gathers; when it is back, all that has gathered is the next batch:
one transaction, however much it is. Nobody waits for a timer, and nobody but
those whose jobs are on the way waits for the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.changes import Mark, Move, Reading, Storing
from txgear.errors import StoreError, StoreTaken, StoreUnusable
from txgear.writing import Refusals, Unhurried, write_all

if TYPE_CHECKING:
    from txgear.broker import Broker
    from txgear.interfaces import IJobStore
    from txgear.jobs import Job

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
MOST_READINGS: Final = 16
"""Results and workloads, for those who asked for one, that are read at once: any of them may be large."""
MOST_WAITING: Final = 1000
"""Of them, that wait at the most; beyond it the answer is that it cannot be read at present."""

T = TypeVar("T")
InThread = Callable[[Callable[[], Any]], "Deferred[Any]"]
"""Calls something on the store's thread; the Deferred fires with what it returns or raises."""


class Journal:
    """
    The changes of one server's jobs, on their way to its store.

    This is the broker's L{txgear.changes.Journal}.

    @ivar unsettled: bytes of workloads whose jobs are on their way.
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
        self._refusal: str | None = None
        self.unsettled = 0
        self._additions: list[Storing] = []
        self._unhurried = Unhurried()
        self._readings: list[Reading] = []
        # Kept after all, when those who submitted them had been told that they are not.
        self._retracted: list[int] = []
        self._loading: list[Job] = []
        # What is at the store, and may be there or not once that has failed.
        self._writing: list[Storing] = []
        self._underway = Unhurried()
        self._busy = False
        self._lost = False
        self._attempts = 0
        self._read_last = self._loaded_last = False
        self._closing = self._closed = False
        self._overdue: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None
        self._gathering: IDelayedCall | None = None
        self._gathered = False
        self._idle: list[Deferred[None]] = []

    def begin(self, broker: Broker, outcome: Callable[[], None], taken: Callable[[], None]) -> None:
        """
        @param broker: is told what becomes of its jobs.
        @param outcome: called after it was told; ends a turn.
        @param taken: called once if another server has the store now; this one is to end.
        """
        self._broker = broker
        self._outcome = outcome
        self._taken = taken

    @property
    def store_name(self) -> str:
        """What the store is and where, without a password."""
        return self._store.name

    # What the broker says

    @property
    def refusal(self) -> str | None:
        """Part of L{txgear.changes.Journal}."""
        return self._refusal

    @property
    def behind(self) -> bool:
        """Part of L{txgear.changes.Journal}."""
        return self._refusal is None and len(self._unhurried) > ENOUGH

    def add(self, storing: Storing) -> None:
        """Part of L{txgear.changes.Journal}."""
        self._additions.append(storing)
        self.unsettled += storing.addition[0].size

    def move(self, move: Move) -> None:
        """Part of L{txgear.changes.Journal}."""
        self._unhurried.moves[move.number] = move

    def end(self, number: int) -> None:
        """Part of L{txgear.changes.Journal}."""
        self._unhurried.ends.append(number)

    def keep(self, number: int, result: bytes) -> None:
        """Part of L{txgear.changes.Journal}."""
        self._unhurried.results[number] = result

    def forget(self, number: int) -> None:
        """Part of L{txgear.changes.Journal}."""
        self._unhurried.results.pop(number, None)
        self._unhurried.forgotten.append(number)

    def mark(self, mark: Mark) -> None:
        """Part of L{txgear.changes.Journal}."""
        self._unhurried.marks[mark.kind, mark.name] = mark

    def read(self, reading: Reading) -> None:
        """Part of L{txgear.changes.Journal}."""
        if self._refusal is None and not self._closed and len(self._readings) < MOST_WAITING:
            self._readings.append(reading)
        else:
            reading.done(None)

    def load(self, jobs: list[Job]) -> None:
        """Part of L{txgear.changes.Journal}."""
        self._loading = jobs

    # One thing at a time

    def turn_ended(self) -> None:
        """Set about what the turn has brought, unless the store is busy."""
        if self._closed:
            return
        if self._additions and self._overdue is None:
            self._overdue = self._clock.callLater(self._timeout, self._time_is_up)
        if self._busy or self._retry is not None:
            return
        if self._lost:
            self._call(self._open_again, self._opened_again)
            return
        waiting = self._additions or self._retracted or (self._unhurried and self._is_due())
        low = self._broker.numbers_left < NUMBERS // 2 and not self._closing
        may_read = not (waiting and self._read_last)
        may_load = self._loading and may_read and not self._closing
        if low and not (self._attempts and (waiting or self._loading)):
            self._call(lambda: self._store.reserve(NUMBERS), self._reserved)
        elif may_load and not (self._readings and self._loaded_last):
            self._read_last = self._loaded_last = True
            numbers = [job.number for job in self._loading]
            self._call(lambda: self._store.workloads(numbers), self._loaded)
        elif self._readings and may_read:
            self._read_last, self._loaded_last = True, False
            self._read_some()
        elif waiting:
            self._read_last = False
            self._write()
        elif not self._unhurried:
            if self._attempts:
                self._is_well()
            idle, self._idle = self._idle, []
            for waiter in idle:
                waiter.callback(None)

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

    def _call(self, call: Callable[[], T], done: Callable[[T], None]) -> None:
        self._busy = True
        self._follow(self._in_thread(call), done)

    def _follow(self, calling: Deferred[T], done: Callable[[T], None]) -> None:
        """Go on when the store has answered."""
        _ = calling.addCallbacks(self._answered, self._failed, (done,)).addErrback(self._defect)

    def _answered(self, result: T, done: Callable[[T], None]) -> None:
        self._busy = False
        if not self._lost:
            self._is_well()
        done(result)
        self._outcome()

    def _is_well(self) -> None:
        self._attempts = 0
        if self._refusal is not None and not self._closing:
            self._refusal = None
            self.log.info("the store {store} answers again", store=self._store.name)

    def _failed(self, failure: Failure) -> None:
        """The store is lost. It is opened again at once, and then less and less often."""
        self._busy = False
        reason = detail = str(failure.value)
        if not failure.check(StoreError):
            self.log.failure("a defect in the store {store}", failure, store=self._store.name)
            reason = detail = "internal error of the store"
        elif failure.check(StoreUnusable):
            # Its text names places that are not the clients' affair.
            reason = "The store cannot be used at present"
        self._lost = True
        self._attempts += 1
        if self._closing:
            self._drop_readings()
        if failure.check(StoreTaken) and not self._closed:
            self._give_up(reason, detail)
        elif self._attempts > 1 and not self._closed:
            self._refuse_from_now(reason, detail)
            delay = min(FIRST_RETRY * 2.0 ** (self._attempts - 2), LAST_RETRY)
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
            self._underway = Unhurried()
            self._underway.forgotten, self._retracted = self._retracted, []
            retracted = True
        else:
            self._writing, self._additions = self._additions, []
            self._underway, self._unhurried = self._unhurried, Unhurried()
            self._gathered = False
            retracted = False
        underway = self._underway
        batch = underway.batch([storing.addition for storing in self._writing])

        def unwritten(failure: Failure) -> Failure:
            # Saying it twice does no harm.
            if retracted:
                self._retracted = underway.forgotten + self._retracted
            else:
                self._unhurried.put_back(underway)
            self._underway = Unhurried()
            return failure

        self._busy = True
        writing = self._in_thread(lambda: write_all(self._store, batch))
        self._follow(writing.addErrback(unwritten), self._written)

    def _written(self, refusals: Refusals) -> None:
        writing, self._writing = self._writing, []
        underway, self._underway = self._underway, Unhurried()
        self._watch_anew()
        now = self._clock.seconds()
        for index, storing in enumerate(writing):
            if index in refusals.additions:
                self._refuse(storing, str(refusals.additions[index]))
            else:
                self._kept(storing, now)
        if underway.results:
            self._broker.shelved(underway.results.keys() - refusals.results.keys())
        if refusals.results:
            self.log.error(
                "{store} does not keep the results of {count} jobs: {reason}",
                store=self._store.name,
                count=len(refusals.results),
                reason=str(next(iter(refusals.results.values()))),
            )
            for number in refusals.results:
                self._broker.not_shelved(number)

    def _kept(self, storing: Storing, now: float) -> None:
        """A job is in the store; when its submitter has been told that it is not, it must not stay there."""
        if storing.answer is None:
            self.unsettled -= storing.addition[0].size
            self._broker.stored(storing, now)
        else:
            self._retracted.append(storing.addition[0].number)

    def _refuse(self, storing: Storing, reason: str) -> None:
        if storing.answer is None:
            self.unsettled -= storing.addition[0].size
            for unhurried in (self._unhurried, self._underway):
                unhurried.drop(storing.addition[0].number)
            self._broker.refused(storing, reason, self._clock.seconds())

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
        writing, self._writing = self._writing, []
        now = self._clock.seconds()
        unknown = []
        for storing in writing:
            if storing.addition[0].number in known:
                self._kept(storing, now)
            elif storing.answer is None:
                unknown.append(storing)
        self._additions[:0] = unknown
        if not self._additions:
            self._watch_anew()

    def _read_some(self) -> None:
        readings, self._readings = self._readings[:MOST_READINGS], self._readings[MOST_READINGS:]
        results = [reading.number for reading in readings if reading.result]
        workloads = [reading.number for reading in readings if not reading.result]

        def read() -> dict[tuple[int, bool], bytes]:
            found = {(number, True): data for number, data in self._store.results(results).items()}
            found.update(((number, False), data) for number, data in self._store.workloads(workloads).items())
            return found

        def unread(failure: Failure) -> Failure:
            self._readings = readings + self._readings
            return failure

        def done(found: dict[tuple[int, bool], bytes]) -> None:
            for reading in readings:
                reading.done(found.get((reading.number, reading.result)))

        self._busy = True
        self._follow(self._in_thread(read).addErrback(unread), done)

    def _drop_readings(self) -> None:
        """The store does not answer: neither do we keep anybody waiting."""
        readings, self._readings = self._readings, []
        for reading in readings:
            reading.done(None)

    def _loaded(self, workloads: dict[int, bytes]) -> None:
        jobs, self._loading = self._loading, []
        missing = [
            job.handle.decode("ascii", "replace")
            for job in jobs
            if len(workloads.get(job.number, b"")) != job.size
        ]
        if missing:
            self.log.error("{store} has lost the workloads of {jobs}", store=self._store.name, jobs=missing)
        self._broker.loaded([(job, workloads.get(job.number)) for job in jobs], self._clock.seconds())

    def _reserved(self, first: int) -> None:
        self._broker.reserve(first, NUMBERS)

    # The end

    def settle(self) -> Deferred[None]:
        """
        The server is about to end: take no job any more, and write what there is.

        @return: a Deferred that fires with C{None} when nobody waits for the store
            any more; where that does not answer, after the timeout.
        """
        self._closing = True
        self._refusal = "The server is shutting down"
        self._drop_readings()
        if self._closed:
            return succeed(None)
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        _ = idle.addTimeout(self._timeout, self._clock, onTimeoutCancel=lambda result, timeout: None)
        self.turn_ended()
        return idle

    def close(self) -> Deferred[None]:
        """
        Write what has come since L{settle}, and let go of the store.

        @return: a Deferred that fires with C{None} when that is done; where the
            store does not answer, after the timeout.
        """
        return self.settle().addCallback(self._close)

    def abandon(self) -> None:
        """Do nothing any more, as after a kill: what was not written is lost."""
        self._closed = True
        for timer in (self._overdue, self._retry, self._gathering):
            if timer is not None and timer.active():
                timer.cancel()
        idle, self._idle = self._idle, []
        for waiter in idle:
            waiter.callback(None)

    def _close(self, result: None) -> Deferred[None] | None:
        self.abandon()
        self._drop_readings()
        self._unhurried.put_back(self._underway)
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
