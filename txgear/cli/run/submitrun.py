"""
Submits jobs, so many at a time, and keeps count of what becomes of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred

from txgear.cli.base.statuses import DENIED, DONE, FAILED, UNREACHABLE, CommandError
from txgear.cli.run.submitfeed import Feed
from txgear.cli.run.submittickets import OUTCOMES, FailedJobs, Summary, Ticket
from txgear.cli.run.submitview import View
from txgear.client import Client
from txgear.errors import (
    AccessDenied,
    JobFailed,
    JobRaised,
    JobTimeout,
    MissingAbility,
    NotConnected,
    ServerError,
    TxgearError,
)
from txgear.protocol.constants import HIGH, LOW, NORMAL

_PRIORITIES: Final = {"high": HIGH, "normal": NORMAL, "low": LOW}


@dataclass(frozen=True)
class Manner:
    """
    How jobs are submitted.

    @ivar background: whether nobody waits for them at the server; one with a time never is waited for there.
    @ivar wait: whether the results of those are waited for.
    @ivar within: seconds after which a job's end is waited for no more; C{None} for never.
    @ivar resend: whether a job that is lost is sent again.
    @ivar concurrency: how many are under way at a time.
    @ivar stop_when_denied: whether the first that is denied ends it all, as the others are like it.
    """

    background: bool = False
    wait: bool = False
    within: float | None = None
    resend: bool = False
    concurrency: int = 1
    stop_when_denied: bool = True


class SubmitRun:
    """
    One run of C{txgear submit}.

    So many lanes as jobs may be under way take the next job each, until there are no more. No job is taken
    any more when no server can be reached, or when the source is found to make no sense; what is
    under way is waited for then.
    """

    def __init__(
        self,
        reactor: Any,
        client: Client,
        feed: Feed,
        view: View,
        manner: Manner,
        failed: FailedJobs | None = None,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._reactor = reactor
        self._client = client
        self._feed = feed
        self._view = view
        self._manner = manner
        self._failed = failed
        self._now = now
        self._counts: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self._under_way: dict[int, Ticket] = {}
        self._taken = 0
        self._over = False
        self._denied = False
        self._cancelled = False
        self._place = ""
        self._error: BaseException | None = None
        self._lanes: list[Deferred[None]] = []

    async def go(self) -> int:
        """
        Submit all jobs.

        @return: the exit status.
        @raise CommandError: no server can be reached, or the source makes no sense.
        """
        began = self._now()
        self._view.on_error = self._stop
        self._feed.start()
        self._lanes = [Deferred.fromCoroutine(self._lane()) for _ in range(self._manner.concurrency)]
        for lane in self._lanes:
            # To cancel this is to cancel a lane, which has all of them end.
            await lane
        self._feed.stop()
        if self._cancelled:
            left = list(self._under_way.values())
            for ticket in left:
                self._write_failed(ticket, "interrupted", "it was under way")
            if self._error is None:
                self._view.interrupted(left, self._place)
        if not isinstance(self._error, BrokenPipeError):
            self._view.summary(Summary(self._counts, len(self._under_way), self._now() - began))
        if self._error is not None:
            raise self._error
        if self._cancelled:
            raise CancelledError
        return DENIED if self._denied else DONE if self._counts["done"] == self._taken else FAILED

    def _cancel(self) -> None:
        """Have all lanes end. It is never called by one of them: that cannot be cancelled then."""
        for lane in self._lanes:
            lane.cancel()

    def _stop(self, error: BaseException) -> None:
        """End soon, and do not wait for what is under way: something that comes of it cannot be written."""
        if self._error is None:
            self._error = error
        self._halt()

    def _halt(self) -> None:
        if not self._cancelled:
            self._over = self._cancelled = True
            self._reactor.callLater(0, self._cancel)

    def _wind_up(self, error: CommandError) -> None:
        """Take no more jobs, and end with this error when those that are under way have ended."""
        if self._error is None:
            self._error = error
        self._over = True

    async def _lane(self) -> None:
        while not self._over:
            try:
                wanted = await self._feed.next()
            except CancelledError:
                self._halt()
                return
            except CommandError as error:
                self._wind_up(error)
                return
            if wanted is None:
                return
            self._taken += 1
            self._place = wanted.place
            ticket = self._under_way[self._taken] = Ticket(self._taken, wanted)
            try:
                await self._one(ticket)
            except CancelledError:
                self._halt()
                return
            except Exception as error:
                self._stop(error)
                return
            del self._under_way[ticket.number]

    async def _one(self, ticket: Ticket) -> None:
        try:
            await self._submit(ticket)
        except (NotConnected, MissingAbility) as error:
            self._wind_up(CommandError(str(error), UNREACHABLE))
            self._not_done(ticket, "lost" if ticket.handle else "unsent", str(error))
        except AccessDenied as error:
            self._denied = True
            self._over = self._over or self._manner.stop_when_denied
            self._not_done(ticket, "refused", error.text)
        except ServerError as error:
            self._not_done(ticket, "refused", error.text)
        except JobTimeout as error:
            self._not_done(ticket, "overdue", str(error))
        except JobRaised as error:
            self._not_done(ticket, "failed", str(error))
        except JobFailed:
            self._not_done(ticket, "failed", "")
        except TxgearError as error:
            self._not_done(ticket, "lost", str(error))

    async def _submit(self, ticket: Ticket) -> None:
        manner, wanted = self._manner, ticket.wanted
        named: dict[str, Any] = {
            "unique": wanted.unique,
            "priority": _PRIORITIES[wanted.priority],
            "resend": manner.resend,
            "policy": wanted.policy or None,
        }
        if manner.background or wanted.when is not None or wanted.delay is not None:
            ticket.handle = await self._client.submit_background(
                wanted.function, wanted.workload, at=wanted.when, delay=wanted.delay, **named
            )
            ticket.kept = True
            self._view.created(ticket)
            if manner.wait:
                await self._fetch(ticket)
            else:
                self._done(ticket)
            return
        job = self._client.submit(wanted.function, wanted.workload, timeout=manner.within, **named)
        job.on_data(lambda data: self._view.data(ticket, data))
        job.on_warning(lambda data: self._view.warning(ticket, data))
        job.on_status(lambda numerator, denominator: self._view.progress(ticket, numerator, denominator))
        result = job.result
        try:
            ticket.handle = await job.created
        except BaseException:
            # It is the same as that of the result.
            _ = result.addErrback(lambda _: None)
            job.cancel()
            raise
        self._view.created(ticket)
        self._done(ticket, await result)

    async def _fetch(self, ticket: Ticket) -> None:
        assert ticket.handle is not None
        found = await self._client.fetch(ticket.handle, wait=True, timeout=self._manner.within)
        if found.data:
            self._view.data(ticket, found.data)
        if found.outcome == "done":
            self._done(ticket, found.result)
            if not found.complete:
                self._view.note(
                    ticket, "what it brought was too large to be kept, or has made room for others"
                )
            return
        ticket.kept = False
        why = {
            "unknown": "the server knows nothing of it any more",
            "failed": "",
            "dead": "it has no attempt left, and is among the dead jobs",
            "cancelled": "it was cancelled",
            "expired": "it has not begun in time",
        }.get(found.outcome, found.outcome)
        self._not_done(
            ticket, "failed", ": ".join(filter(None, [why, found.result.decode("utf-8", "replace")]))
        )

    def _done(self, ticket: Ticket, result: bytes = b"") -> None:
        self._counts["done"] += 1
        self._view.done(ticket, result)

    def _not_done(self, ticket: Ticket, outcome: str, why: str) -> None:
        self._counts[outcome] += 1
        self._write_failed(ticket, outcome, why)
        self._view.not_done(ticket, outcome, why)

    def _write_failed(self, ticket: Ticket, outcome: str, why: str) -> None:
        """A job that goes on at the server is none that is to be given again."""
        if self._failed is not None and not ticket.kept:
            self._failed.add(ticket, outcome, why)
