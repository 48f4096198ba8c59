"""
The link to the store: one call at a time on the store's thread; a store that is lost is opened again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.errors import StoreError, StoreRefused, StoreTaken
from txgear.journal.timer import Timer

if TYPE_CHECKING:
    from txgear.interfaces import IJobStore

FIRST_RETRY: Final = 0.1
"""Seconds to the second attempt at a store that went; each further one takes twice as long."""
LAST_RETRY: Final = 5.0
"""Seconds between attempts at the most."""
RETRY_WHEN_ASKED: Final = 1.0
"""Seconds between attempts at the most, where jobs come or wait that are to be kept, or the server ends."""

T = TypeVar("T")
InThread = Callable[[Callable[[], Any]], "Deferred[Any]"]
"""Calls something on the store's thread; the Deferred fires with what it returns or raises."""


class State(IntEnum):
    """What is known of the store."""

    OPEN = 0
    """It answers, and nothing is asked of it: it may be called."""
    BUSY = 1
    """A call is at it."""
    LOST = 2
    """A call has failed: it is to be opened again before anything else."""
    OPENING = 3
    """It is being opened again."""
    TAKEN = 4
    """Another server has it: it is not called any more."""
    CLOSED = 5
    """It is let go of: it is not called any more, and what it still answers is not heard."""


OPEN, BUSY, LOST, OPENING, TAKEN, CLOSED = State

NEXT: Final = {
    OPEN: {BUSY, LOST, CLOSED},
    BUSY: {OPEN, LOST, TAKEN, CLOSED},
    LOST: {OPENING, LOST, CLOSED},
    OPENING: {OPEN, LOST, TAKEN, CLOSED},
    TAKEN: {CLOSED},
    CLOSED: {CLOSED},
}
"""The states that may follow each. From C{OPEN} to C{LOST} it goes by a defect of ours."""


class LinkListener(Protocol):
    """Whoever calls the store by a L{Link}, and hears how that is."""

    @property
    def waited_for(self) -> bool:
        """Whether somebody waits for the store, so that it is to be opened again soon."""

    def turn_ended(self) -> None:
        """A call may be made."""

    def answered(self) -> None:
        """A call has come back, whatever came of it: a turn of the server's ends, and another may be made."""

    def changed(self) -> None:
        """
        Something has changed at the store, or it has been opened again: nothing else follows from that
        before.
        """

    def recovered(self) -> None:
        """The store was lost, or the server ends; and it has done what it was asked."""

    def lost(self) -> None:
        """The store does not answer; who waits for it had better know."""

    def taken(self, reason: str) -> None:
        """
        Another server has the store, for good. Called once.

        @param reason: why nothing can be kept, for clients.
        """


class Retries:
    """
    When a store that is lost is tried again: at once the first time, and then less and less often.

    @ivar attempts: that have failed one after the other.
    """

    def __init__(self, clock: IReactorTime, again: Callable[[], None]) -> None:
        """
        @param again: called when it is time for the next attempt.
        """
        self.attempts = 0
        self._clock = clock
        self._failed_at = 0.0
        self._asked = False
        self._timer = Timer(clock, again)

    def failed(self, *, is_read: bool) -> None:
        """
        An attempt has failed.

        @param is_read: whether all that failed is a read; it makes one attempt at the most.
        """
        self.attempts = max(self.attempts, 1) if is_read else self.attempts + 1
        self._failed_at = self._clock.seconds()

    def wait(self, most: float) -> None:
        """
        The next attempt is to be made later.

        @param most: seconds until then at the most.
        """
        self._timer.start(min(FIRST_RETRY * 2.0 ** min(self.attempts - 2, 10), most))

    def soon(self) -> None:
        """Somebody wants the store: try it before its time, if it has rested for L{RETRY_WHEN_ASKED}."""
        self._asked = True

    def due(self) -> bool:
        """Whether the next attempt is to be made now."""
        if not self._timer.running:
            return True
        asked, self._asked = self._asked, False
        if asked and self._clock.seconds() >= self._failed_at + RETRY_WHEN_ASKED:
            self._timer.cancel()
            return True
        return False

    def stop(self) -> None:
        """Wait no more."""
        self._timer.cancel()


class Link:
    """
    One store, as its only user sees it.

    @ivar state: what is known of the store.
    @ivar unavailable: why no job can be kept at present, for clients; C{None} if jobs can be.
    @ivar detail: the same for operators, in the store's own words; empty where there are no others.
    @ivar unavailable_since: since when that is so, by the clock; 0.0 if jobs can be kept.
    @ivar closing: whether no job is to be kept any more, however well the store is.
    @ivar retries: when a store that is lost is tried again.
    @ivar losses: how often it was lost for so long that jobs were refused.
    @ivar changed_at: when the last call began that has changed something there, by the clock.
    """

    log = Logger()

    def __init__(
        self, store: IJobStore, in_thread: InThread, clock: IReactorTime, listener: LinkListener
    ) -> None:
        """
        @param store: open.
        @param in_thread: calls something where it may block.
        """
        self.state = OPEN
        self.unavailable: str | None = None
        self.detail = ""
        self.unavailable_since = 0.0
        self.closing = False
        self.losses = 0
        self.retries = Retries(clock, listener.turn_ended)
        self._store = store
        self._in_thread = in_thread
        self._clock = clock
        self._listener = listener
        # Whether it was a read that failed, which says nothing of writes.
        self._lost_by_read = False
        self.changed_at = clock.seconds()

    @property
    def name(self) -> str:
        """What the store is and where, without a password."""
        return self._store.name

    def _enter(self, state: State) -> None:
        if state not in NEXT[self.state]:
            raise ValueError(f"a store's link does not go from {self.state.name} to {state.name}")
        self.state = state

    # Calls

    def call(
        self,
        call: Callable[[IJobStore], T],
        done: Callable[[T], None],
        undone: Callable[[], None] | None = None,
        *,
        is_read: bool = False,
    ) -> None:
        """
        Have something done at the store; the link is C{OPEN}.

        @param call: called with the store on its thread.
        @param done: called with what that returns.
        @param undone: called if it fails.
        @param is_read: whether what comes of it says nothing of writes.
        """
        self._enter(BUSY)
        began = self._clock.seconds()

        def failed(failure: Failure) -> None:
            try:
                if undone is not None and self.state is not CLOSED:
                    undone()
            finally:
                self.failed(failure, is_read=is_read)

        def answered(result: T) -> None:
            if self.state is not CLOSED:
                if not is_read:
                    self.changed_at = began
                    self._listener.changed()
                    self.recovered()
                self._finish(done, result)

        store = self._store
        _ = self._in_thread(lambda: call(store)).addCallbacks(answered, failed).addErrback(self._defect)

    def open(self, numbers: Sequence[int], done: Callable[[set[int]], None]) -> None:
        """
        Open the store again, and see which jobs it has; the link is C{LOST}.

        @param numbers: the jobs' numbers.
        @param done: called with those that the store has.
        """
        self._enter(OPENING)
        began = self._clock.seconds()
        store = self._store

        def reopen() -> set[int]:
            store.open()
            return store.known(numbers)

        def opened(known: set[int]) -> None:
            if self.state is not CLOSED:
                self.changed_at = began
                self._listener.changed()
                if self._lost_by_read:
                    # It takes writes, as an opening is one: what cannot be read keeps nobody from those.
                    self._lost_by_read = False
                    self.recovered()
                self._finish(done, known)

        _ = self._in_thread(reopen).addCallbacks(opened, self.failed).addErrback(self._defect)

    def _finish(self, done: Callable[[T], None], result: T) -> None:
        """Somebody has what he called for; no other call is made before he is through with it."""
        try:
            done(result)
        except Exception:
            self.failed(Failure())
        else:
            if self.state is not CLOSED:
                self._enter(OPEN)
                self._listener.answered()

    def tell(self, tell: Callable[..., None], *arguments: Any) -> None:
        """Tell somebody what came of a call: a defect in what he makes of it costs nobody else the same."""
        try:
            tell(*arguments)
        except Exception:
            self.log.failure("a defect in what follows from the store's answers")

    def _defect(self, failure: Failure) -> None:
        self.log.failure("a defect in the journal", failure)

    # How it is

    def recovered(self) -> None:
        """The store is well: it has done what it was asked, or it is there and nothing is asked of it."""
        if self.unavailable is None and not self.retries.attempts:
            return
        self.retries.attempts = 0
        if self.unavailable is not None and not self.closing:
            self.unavailable = None
            self.detail = ""
            self.unavailable_since = 0.0
            self.log.info("the store {store} answers again", store=self._store.name)
        self._listener.recovered()

    def failed(self, failure: Failure, *, is_read: bool = False) -> None:
        """
        The store is lost. After a defect of ours or the store's nothing is known of it either, and what
        has become of the jobs is looked up.

        @param is_read: whether it was a read.
        """
        reason, detail = self._reasons(failure)
        if self.state is CLOSED:
            return
        if is_read and failure.check(StoreRefused):
            # It is there, and has said that it cannot read that.
            self._enter(OPEN)
            self._listener.answered()
            return
        self.retries.failed(is_read=is_read)
        if self.state is not OPENING:
            self._lost_by_read = is_read
        if failure.check(StoreTaken):
            self._enter(TAKEN)
            self.log.critical(
                "the store {store} is lost to this server: {detail}",
                store=self._store.name,
                detail=detail,
            )
            self._is_unavailable(reason, detail)
            self._listener.taken(reason)
        else:
            self._enter(LOST)
            if self.retries.attempts > 1:
                self.refuse(reason, detail)
                # While submits wait, each attempt may still be in time for them.
                self.retries.wait(RETRY_WHEN_ASKED if self._listener.waited_for else LAST_RETRY)
            elif self.closing:
                self._listener.lost()
        self._listener.answered()

    def _reasons(self, failure: Failure) -> tuple[str, str]:
        """Why nothing can be kept, for clients and for operators."""
        error = failure.value
        if not isinstance(error, StoreError):
            if self.retries.attempts < 2:
                self.log.failure(
                    "a defect, in the store {store} or in what follows from its answers",
                    failure,
                    store=self._store.name,
                )
            return "internal error of the store", "internal error of the store"
        return error.told, str(error)

    def refuse(self, reason: str, detail: str) -> None:
        """
        Keep no job until the store answers.

        @param reason: why, for clients.
        @param detail: the same for operators.
        """
        if self.unavailable is None:
            self.losses += 1
            self.log.error(
                "no background job is taken until the store {store} answers: {detail}",
                store=self._store.name,
                detail=detail,
            )
        self._is_unavailable(reason, detail)
        self._listener.lost()

    def _is_unavailable(self, reason: str, detail: str = "") -> None:
        if self.unavailable is None:
            self.unavailable_since = self._clock.seconds()
        self.unavailable, self.detail = reason, detail

    # The end

    def prepare_close(self) -> None:
        """The server is about to end: keep no job any more."""
        self.closing = True
        self._is_unavailable("The server is shutting down")

    def abandon(self) -> None:
        """Do nothing any more, as after a kill."""
        self.retries.stop()
        self._enter(CLOSED)

    def close(self, next_number: int, patience: float) -> Deferred[None] | None:
        """
        Let go of the store.

        @param next_number: the first job number that was not used.
        @param patience: seconds that this may take.
        @return: a Deferred that fires with C{None} when it is closed, or does not answer; C{None} where
            nothing has to be waited for.
        """
        state = self.state
        self.abandon()
        if state in {BUSY, OPENING, CLOSED}:
            # It hangs: the thread is left to itself, and the end of the process closes the rest.
            return None
        # Of a store that is lost nothing is known any more, nor whose it is.
        number = next_number if state is OPEN else None
        closing = self._in_thread(lambda: self._store.close(number))
        _ = closing.addTimeout(patience, self._clock, onTimeoutCancel=lambda result, timeout: None)
        return closing.addErrback(self._defect)
