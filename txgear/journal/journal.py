"""
The journal: what is to be kept of jobs, carried to the store in batches.

One call is at the store at a time, on a thread of its own. While it is there,
what comes gathers; when it is back, what has gathered is the next batch: one
transaction, which takes all of it unless that is very much. Nobody waits for a
timer, and nobody but those whose jobs are on the way waits for the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from txgear.broker.ports import JournalListener
from txgear.interfaces import IHistoryStore, ILeasedStore, IReportingStore
from txgear.journal.beats import Beats
from txgear.journal.chunks import Chunks
from txgear.journal.errands import Errands
from txgear.journal.figures import Figures
from txgear.journal.link import BUSY, CLOSED, LOST, OPEN, OPENING, TAKEN, InThread, Link
from txgear.journal.reads import Reads
from txgear.journal.reports import Reports
from txgear.journal.shared import Shared
from txgear.journal.sieve import Sieve
from txgear.journal.trust import LAPSED, Trust
from txgear.journal.writes import NOTHING, NOW, Writes
from txgear.quantities import second_words

if TYPE_CHECKING:
    from txgear.broker.records import StoredValue
    from txgear.interfaces import IJobStore

NUMBERS: Final = 1_000_000_000
"""Job numbers that are reserved at once; half of them must last while the store is away."""


class Journal:
    """
    The changes of one server's jobs, on their way to its store.

    This is the broker's L{txgear.broker.ports.Journal}. What the broker says goes straight to L{Writes}
    and L{Reads}, whose methods are this object's.

    @ivar chunks: carries the history of figures; C{None} where the store does not keep it.
    @ivar reports: what the store says of itself; C{None} where it says nothing.
    @ivar errands: what others than the broker want of the store.
    @ivar trust: until when it is surely ours; C{None} where no other server may take over a part of it.
    @ivar shared: what holds for all servers of the store; C{None} where there is but one.
    @ivar answered: part of L{txgear.journal.link.LinkListener}; ends a turn of the server's.
    """

    answered: Callable[[], None]

    def __init__(
        self,
        store: IJobStore,
        in_thread: InThread,
        clock: IReactorTime,
        timeout: float,
        lease: float | None = None,
    ) -> None:
        """
        @param store: open.
        @param in_thread: calls something where it may block.
        @param clock: for the bounds in time.
        @param timeout: seconds that those who submit wait for the store at the most.
        @param lease: seconds without a change there after which another server may take over what is ours;
            C{None} where none does.
        """
        self._clock = clock
        self._timeout = timeout
        self._link = Link(store, in_thread, clock, self)
        self._writes = writes = Writes(
            self._link, clock, timeout, self.turn_ended, self._time_is_up, self._is_asked
        )
        self._reads = Reads(
            self._link,
            clock,
            self.turn_ended,
            writes.renew,
            writes.asked,
            writes.answered,
            self._ask_again,
        )
        self._was_lost = False
        self.chunks = Chunks(self._link, store, clock) if IHistoryStore.providedBy(store) else None
        self.reports = Reports(self._link, store, clock) if IReportingStore.providedBy(store) else None
        self._beats = (
            Beats(self._link, store, clock, self.turn_ended) if ILeasedStore.providedBy(store) else None
        )
        self.errands = Errands(self._link, clock, self.turn_ended)
        self.trust = None if lease is None else Trust(self._link, clock, lease)
        self.shared = None if lease is None else Shared(writes.put_value, writes.is_put)
        self._read_last = False
        self._ending = Ending(clock, timeout)
        self._sieve = Sieve(self._link, clock, self.turn_ended)

        self.retry_soon = self._link.retries.soon
        self.add = self._writes.jobs.add
        self.update = self._writes.update
        self.change = self._writes.change
        self.delete = self._writes.delete
        self.delete_all = self._writes.delete_all
        self.put_result = self._writes.put_result
        self.put_value = writes.put_value if self.shared is None else self.shared.put
        self.name = self._writes.name
        self.clustered = lease is not None
        self.has_room = self._writes.has_room
        self.read = self._reads.readings.read
        self.load = self._reads.loads.load
        self.ask = self._reads.askings.ask
        self.pending = self._writes.pending
        self.settled = self._writes.settled
        self.hide = self._sieve.hide
        self.hide_all = self._sieve.hide_all
        self.show = self._sieve.show
        self.may_hide = self._sieve.may_hide
        self.found = self._sieve.found

    def share(self, value: StoredValue) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        if self.shared is not None:
            self.shared.put(value)

    @property
    def patience(self) -> float:
        """Seconds that those who submit wait for the store at the most."""
        return self._timeout

    def bear(self, timeout: float) -> None:
        """
        Wait for the store for so long, if it was less.

        @param timeout: seconds that it may be silent.
        """
        self._timeout = max(timeout, self._timeout)
        self._writes.patience = self._ending.timeout = self._timeout

    def begin(
        self, listener: JournalListener, answered: Callable[[], None], taken: Callable[[], None], limit: int
    ) -> None:
        """
        @param listener: is told what becomes of its jobs.
        @param answered: called after it was told; ends a turn.
        @param taken: called once if another server has the store now; this one is to end.
        @param limit: bytes on their way from which on those who add to them are to wait.
        """
        self._listener = listener
        self.answered = answered
        self._taken = taken
        self._writes.begin(listener, limit)
        self._reads.loads.listener = listener
        self.changed()

    @property
    def store_name(self) -> str:
        """What the store is and where, without a password."""
        return self._link.name

    @property
    def unavailable(self) -> str | None:
        """Part of L{txgear.broker.ports.Journal}."""
        reason, trust = self._link.unavailable, self.trust
        return LAPSED if reason is None and trust is not None and trust.lapsed else reason

    @property
    def unavailable_detail(self) -> str | None:
        """Part of L{txgear.broker.ports.Journal}."""
        return self._link.detail or self.unavailable

    @property
    def unavailable_since(self) -> float:
        """Part of L{txgear.broker.ports.Journal}."""
        since, trust = self._link.unavailable_since, self.trust
        return trust.until if not since and trust is not None and trust.lapsed else since

    @property
    def crowded(self) -> bool:
        """Part of L{txgear.broker.ports.Journal}."""
        return self._writes.crowded or self._reads.askings.crowded

    @property
    def backlogged(self) -> bool:
        """Part of L{txgear.broker.ports.Journal}."""
        return self._writes.backlogged

    @property
    def pending_bytes(self) -> int:
        """Bytes that jobs and results on their way take."""
        return self._writes.pending_bytes

    @property
    def pending_changes(self) -> int:
        """New jobs and changes of jobs that are on their way."""
        return self._writes.pending_changes

    @property
    def figures(self) -> Figures:
        """How the store does."""
        return self._writes.figures

    @property
    def closing(self) -> bool:
        """Part of L{txgear.broker.ports.Journal}."""
        return self._link.closing

    @property
    def busy(self) -> bool:
        """Whether a call is at the store."""
        return self._link.state is BUSY

    @property
    def reopening(self) -> bool:
        """Whether it is to be opened again before anything else; that may be over in a moment."""
        return self._link.state in (LOST, OPENING)

    @property
    def losses(self) -> int:
        """How often the store was lost for so long that jobs were refused."""
        return self._link.losses

    # One call at a time

    def turn_ended(self) -> None:
        """Call the store for what the turn has to be kept, unless it is busy."""
        link = self._link
        state = link.state
        try:
            if state is OPEN:
                self._call_next()
            elif not (state is CLOSED or state is TAKEN):
                self._writes.watch()
                if state is LOST and link.retries.due():
                    link.open(self._writes.jobs.numbers_in_flight(), self._reopened)
        except Exception:
            link.failed(Failure())

    def _call_next(self) -> None:
        """
        Reads and writes take turns; numbers for jobs come before both, and so does the question of each
        minute; the sieve and history come last, unless they have waited for long. First of all comes what
        keeps the store ours, and then what others want of it.
        """
        link, writes, reads, chunks = self._link, self._writes, self._reads, self.chunks
        reports, sieve, beats = self.reports, self._sieve, self._beats
        if beats is not None and beats.due():
            beats.start()
            return
        if self.errands.ready:
            self.errands.start()
            return
        need = writes.look()
        low = self._listener.numbers_left < NUMBERS // 2 and not link.closing
        if need is NOTHING and not low:
            # It is well before it has read all that there is to be read.
            link.recovered()
            need = writes.look()
        if low and not (link.retries.attempts and (need is NOW or reads.loads.jobs or reads.askings)):
            link.call(lambda store: store.reserve(NUMBERS), self._reserved)
        elif reports is not None and reports.ready:
            reports.start()
        elif sieve.overdue:
            sieve.start()
        elif reads.ready and not (need is NOW and self._read_last):
            self._read_last = True
            reads.start()
        elif chunks is not None and chunks.ready and (need is not NOW or chunks.overdue):
            chunks.start()
        elif need is not NOW and sieve.ready:
            sieve.start()
        elif need is NOW:
            self._read_last = False
            writes.start()
        elif need is NOTHING and link.closing:
            self._ending.nothing_is_left()

    def _reopened(self, known: set[int]) -> None:
        if self.reports is not None:
            self.reports.renew()
        self._writes.reopened(known)

    def _reserved(self, first: int) -> None:
        self._listener.reserve(first, NUMBERS)

    def _time_is_up(self) -> None:
        """Those who wait for a batch have waited long enough."""
        link = self._link
        reason = link.unavailable or f"The store has not answered for {second_words(self._timeout)}"
        link.refuse(reason, link.detail or reason)
        self._writes.jobs.refuse_all(reason, self._clock.seconds())
        self.answered()

    def _is_asked(self) -> bool:
        """Whether somebody waits to hear which jobs there are."""
        return len(self._reads.askings) > 0

    def _ask_again(self) -> None:
        """What could not be read a while ago may be repaired."""
        self._tell_of_answers()
        self.answered()

    def _tell_of_answers(self) -> None:
        self._link.tell(self._listener.answers, self._clock.seconds())

    # What the link says: L{txgear.journal.link.LinkListener}

    @property
    def waited_for(self) -> bool:
        """Part of L{txgear.journal.link.LinkListener}."""
        return self._link.closing or self._writes.deadline.running

    def changed(self) -> None:
        """Part of L{txgear.journal.link.LinkListener}."""
        if self.trust is not None:
            self.trust.renewed(self._listener.trust)

    def recovered(self) -> None:
        """Part of L{txgear.journal.link.LinkListener}."""
        self._ending.answered()
        self._writes.recovered()
        if self._was_lost and not self._link.closing:
            self._was_lost = False
            self._tell_of_answers()

    def lost(self) -> None:
        """Part of L{txgear.journal.link.LinkListener}."""
        self._was_lost = True
        self._reads.drop()
        self.errands.drop()

    def taken(self, reason: str) -> None:
        """
        Part of L{txgear.journal.link.LinkListener}: from here on nothing is right that this server says of
        its jobs.
        """
        self._reads.drop()
        self.errands.drop()
        self._writes.jobs.refuse_all(reason, self._clock.seconds())
        self._stop()
        self._taken()

    # The end

    def settle(self) -> Deferred[None]:
        """
        The server is about to end: take no job any more, and write what there is.

        @return: a Deferred that fires with C{None} when nobody waits for the store
            any more; where that does not answer, after the timeout, and at once where
            it has not answered for so long since an earlier call.
        """
        link = self._link
        link.prepare_close()
        self._reads.drop()
        self.errands.drop()
        # Answers that are there now would be held by nobody but us.
        self.answered()
        patience = self._ending.begin()
        if link.state is CLOSED or link.state is TAKEN or patience <= 0:
            return succeed(None)
        # The next attempt at a store that is lost may come after the end.
        link.retries.stop()
        settled = self._ending.wait(patience)
        self.turn_ended()
        return settled

    def close(self) -> Deferred[None]:
        """
        Write what has come since L{settle}, and let go of the store.

        @return: a Deferred that fires with C{None} when that is done; where the
            store does not answer, when L{settle} gives it up.
        """
        return self.settle().addCallback(self._close)

    def _close(self, result: None) -> Deferred[None] | None:
        closed = self._link.close(self._listener.next_number, self._timeout)
        self._stop()
        self._reads.give_up()
        self._writes.give_up()
        return closed

    def abandon(self) -> None:
        """Do nothing any more, as after a kill: what was not written is lost."""
        self._link.abandon()
        self._stop()

    def _stop(self) -> None:
        """Nothing is to come any more."""
        if self._beats is not None:
            self._beats.stop()
        self._writes.stop()
        self._reads.stop()
        self._sieve.stop()
        self._ending.nothing_is_left()

    def check(self) -> None:
        """
        Assert that all counts agree with what is here. For tests.

        @raise AssertionError: they do not.
        """
        self._writes.check()


class Ending:
    """
    The server's end, as far as it waits for the store: as long as that answers, and for some seconds
    more. What is slow is not lost.

    @ivar timeout: seconds that a store may be silent.
    """

    def __init__(self, clock: IReactorTime, timeout: float) -> None:
        """
        @param timeout: seconds that a store may be silent.
        """
        self._clock = clock
        self.timeout = timeout
        self._silent_since: float | None = None
        self._waiting: list[Deferred[None]] = []

    def begin(self) -> float:
        """The store is waited for from now on, if it is not already; for how many seconds more."""
        now = self._clock.seconds()
        if self._silent_since is None:
            self._silent_since = now
        return self._silent_since + self.timeout - now

    def wait(self, seconds: float) -> Deferred[None]:
        """
        @return: a Deferred that fires with C{None} when nothing is left for the store, or after so long.
        """
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting.addTimeout(seconds, self._clock, onTimeoutCancel=lambda result, timeout: None)

    def answered(self) -> None:
        """The store has answered, and has its time anew."""
        if self._silent_since is not None:
            self._silent_since = self._clock.seconds()

    def nothing_is_left(self) -> None:
        """The store has nothing to do any more."""
        self._silent_since = None
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)
