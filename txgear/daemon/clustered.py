"""
A service in a cluster: it joins when it starts, and starts anew where others have taken over what it had.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgear.cluster.member import Member
from txgear.errors import ConfigurationError
from txgear.interfaces import IJobStore, IPartedStore
from txgear.journal.timer import Timer
from txgear.quantities import second_words
from txgear.server.jobserver import JobServer

NO_CLUSTER: Final = (
    "--cluster: a store that several servers can have is wanted: --store postgresql://... or mysql://..."
)
PACE_SECONDS: Final = 10.0
"""
Seconds from one start to the next at the least: who is too slow again and again is not to end all connections
each time at once.
"""
PROMPT_SECONDS: Final = 5.0
"""
Seconds that a server that ends waits for jobs that run: what is queued in its part waits as well, until
another server has that. Many who send SIGTERM send SIGKILL ten seconds later.
"""
PATIENT_SECONDS: Final = 45.0
"""The same where it is to end gracefully: the units and containers of the documentation wait for a minute."""
HANG_UP_SECONDS: Final = 0.5
"""Seconds in which peers hear that the server ends, before another one may have its parts."""
LEAST_SECONDS: Final = 0.5
"""Seconds that it goes on at the least, for those that have connected just now and are about to submit."""


class Restartable(Protocol):
    """A service that can be started again."""

    running: int

    def stopService(self) -> Deferred[None]:
        """Stop."""

    def start_again(self) -> None:
        """Start once more, or end."""


class Clustered:
    """
    One service's.

    @ivar begins_anew: whether it has stopped, or is about to, and will start again by itself.
    """

    log = Logger()

    def __init__(self, reactor: Any, service: Restartable) -> None:
        self.begins_anew = False
        self._reactor = reactor
        self._service = service
        self._timer = Timer(reactor, self._start)
        self._member: Member | None = None
        self._joined_at = 0.0
        self._parting: Deferred[Any] | None = None

    def lease(self, store: IJobStore | None) -> float:
        """
        @return: seconds of the lease of a store that several servers have.
        @raise ConfigurationError: it is none.
        """
        if store is None or not IPartedStore.providedBy(store):
            raise ConfigurationError(NO_CLUSTER)
        seconds: float = store.lease_seconds
        return seconds

    def join(self, server: JobServer, store: Any) -> None:
        """A server has started, with this store."""
        self.begins_anew = False
        self._joined_at = self._reactor.seconds()
        server.cluster = self._member = Member(server, store)
        server.elsewhere = self._member.elsewhere
        self._member.start()

    def leave(self, was_running: bool) -> None:
        """
        The service is told to stop.

        @param was_running: whether it ran; otherwise it is to stay as it is, and not to start again.
        """
        if self._member is not None:
            self._member.stop()
            self._member = None
        if self._parting is not None:
            parting, self._parting = self._parting, None
            parting.cancel()
        if not was_running:
            self.begins_anew = False
            self._timer.cancel()

    def part(self, drained: Deferred[None], graceful: bool) -> Deferred[Any]:
        """
        The service drains, and is to end. Its parts go to another server when it has ended, so it does not
        wait for good.

        @param drained: fires when no job runs any more, and nobody waits for one.
        @param graceful: whether to be patient.
        @return: fires when it is to stop; not at all if it stops before.
        """
        seconds = PATIENT_SECONDS if graceful else PROMPT_SECONDS
        _ = drained.addTimeout(seconds, self._reactor, onTimeoutCancel=partial(self._give_up, seconds))
        moment: Deferred[None] = deferLater(self._reactor, LEAST_SECONDS)
        self._parting = parted = gatherResults([drained, moment], consumeErrors=True)
        _ = parted.addErrback(self._stopped_before)
        return parted

    def heard(self, closed: Deferred[None]) -> Deferred[None]:
        """
        Connections end: workers are to offer what they have in hand to other servers before one of these may
        have it.

        @param closed: fires when all have ended.
        @return: fires when they have, or after L{HANG_UP_SECONDS}.
        """
        heard: Deferred[None] = Deferred()
        late = self._reactor.callLater(HANG_UP_SECONDS, heard.callback, None)

        def ended(result: None) -> None:
            if late.active():
                late.cancel()
                heard.callback(None)

        _ = closed.addCallback(ended)
        return heard

    def _give_up(self, seconds: float, result: Any, timeout: float) -> None:
        self.log.warn(
            "jobs have not ended within {span}: they go with the part, and another server has"
            " them run again, unless their workers bring it their results",
            span=second_words(seconds),
        )

    def _stopped_before(self, failure: Failure) -> Deferred[None]:
        assert isinstance(failure.value, FirstError), failure
        failure.value.subFailure.trap(CancelledError)
        return Deferred()

    def begin_anew(self) -> None:
        """Another server has a part that was this one's: of stored jobs this one knows nothing for sure."""
        self.log.critical(
            "another server has taken over jobs of this one, which was not heard of for the length of its"
            " lease: all connections end, and this server starts anew without stored jobs; what clients"
            " were waiting for here they have to submit again"
        )
        self.begins_anew = True
        # Not in the middle of the turn that has found out.
        self._reactor.callLater(0, self._stop)

    def _stop(self) -> None:
        if self.begins_anew and self._service.running:
            _ = self._service.stopService().addCallbacks(self._stopped, self._defect)

    def _stopped(self, result: None) -> None:
        if self.begins_anew:
            self._timer.start(max(self._joined_at + PACE_SECONDS - self._reactor.seconds(), 0.0))

    def _start(self) -> None:
        self._service.start_again()

    def _defect(self, failure: Any) -> None:
        self.log.failure("the server has not stopped", failure)
