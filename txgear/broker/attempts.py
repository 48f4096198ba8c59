"""
A job's attempts: how each begins, how it ends without a result, and what comes of that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from txgear.broker.history import Attempt, Life, in_words
from txgear.broker.jobs import CANCELLED, DEAD, EXPIRED, FAILED, RUNNING, Job
from txgear.broker.storage import Storage
from txgear.policies import EXCEPTION, FAIL, SILENT, TIMEOUT
from txgear.protocol.constants import JOB_WITHDRAWN, RESTARTED, WORK_EXCEPTION, WORK_FAIL
from txgear.protocol.packets import Data

if TYPE_CHECKING:
    from txgear.broker.records import Journal
    from txgear.broker.sleepers import Outbox, Peer

UNREAD_SECONDS: Final = 1.0
"""Seconds for which a worker has more time whose words we do not read: then there is another look."""

CANCEL: Final = "cancelled"
"""Why a job is withdrawn that an operator did not want any more."""


class Witness(Protocol):
    """Whoever tells operators of what they would not hear of otherwise."""

    def taken_back(self, job: Job, reason: str, now: float) -> None:
        """
        A job is about to be taken from its worker, which is still there.

        @param reason: L{TIMEOUT} or L{SILENT}.
        """


class Attempts(Storage):
    """
    Jobs that are tried again by their functions' policies; where there is none, by the classic rules.

    @ivar witness: hears what happens; whoever owns the broker sets it.
    """

    __slots__ = ("_chance", "_retries", "witness")

    def __init__(
        self,
        outbox: Outbox,
        prefix: bytes,
        retries: int,
        wakeups: int,
        journal: Journal | None,
        queue_memory: int,
        chance: Callable[[], float],
    ) -> None:
        """
        @param retries: how often a job may run at the most, its worker lost each
            time, where no policy says otherwise; negative for no bound.
        @param chance: a number from 0 to 1 at random. The others are those of L{Storage}.
        """
        super().__init__(outbox, prefix, wakeups, journal, queue_memory)
        self._retries = retries
        self._chance = chance
        self.witness: Witness | None = None

    def _begin(self, job: Job, worker: Peer, now: float) -> None:
        """A worker has got a job: how long may it take, and be silent?"""
        self._agenda.discard(job)
        policy = self._policy(job)
        times = [seconds for seconds in (worker.abilities[job.queue], policy.timeout) if seconds]
        lease = policy.lease if worker.extended else 0.0
        if job.life is not None or lease or (policy.results is not None and job.background):
            life = job.life = job.life or Life()
            life.start_again()
            life.expires = 0.0
            life.overdue = now + min(times) if times else 0.0
            life.lease, life.beat = lease, now
        if lease:
            times.append(lease)
        if times:
            self._schedule(job, now + min(times))

    def lease(self, job: Job) -> float:
        """Seconds for which the worker of a job may be silent; 0.0 for no bound."""
        return 0.0 if job.life is None else job.life.lease

    # An attempt is over

    def _over(self, job: Job, reason: str, now: float, said: Data = b"") -> None:
        """
        An attempt has ended without a result: the job is tried again, or ends.

        @param reason: one of L{txgear.policies.REASONS}.
        @param said: what its worker said.
        """
        life = job.life
        if life is None and job.queue.policy is not None:
            life = job.life = Life()
        if life is not None:
            life.note(self._attempt(job, reason, now, said))
        policy = self._policy(job)
        if policy.retries is None and reason in (FAIL, EXCEPTION):
            self._give_up(job, FAILED, now, said, reason)
        elif not job.wanted:
            self._withdraw(job, reason)
            self._end(job, CANCELLED, now)
        elif policy.retries is None or life is None:
            self._lose(job, now, reason)
        elif policy.retries.left(life.counts, reason):
            job.retries += 1
            ended = sum(life.counts.values())
            self._try_later(job, policy.backoff.delay(ended, self._chance()), now, reason)
        else:
            self._give_up(job, DEAD if job.background else FAILED, now, said, reason)

    def _attempt(self, job: Job, reason: str, now: float, said: Data) -> Attempt:
        worker = job.worker
        assert worker is not None
        return Attempt(self.wall(job.since), self.wall(now), reason, worker.name, in_words(said))

    def _give_up(self, job: Job, outcome: int, now: float, said: Data, reason: str) -> None:
        """No attempt is left: those who wait are told."""
        self._withdraw(job, reason)
        handle = job.handle
        for client in job.clients:
            if reason == EXCEPTION and client.exceptions:
                self._send(client, WORK_EXCEPTION, handle, said)
            else:
                self._send(client, WORK_FAIL, handle)
        self._finish(job, outcome, now, said)

    def _withdraw(self, job: Job, reason: str) -> None:
        """Tell a worker that is still there, and understands it, that the job is not its own any more."""
        worker = job.worker
        if worker is None or worker not in self.roster.peers:
            return
        if worker.extended and reason in (TIMEOUT, SILENT, CANCEL):
            self._send(worker, JOB_WITHDRAWN, job.handle, reason.encode("ascii"))

    def _lose(self, job: Job, now: float, reason: str) -> None:
        """
        The worker has gone with the job, or overran its time, and there is no
        policy for that: it is queued again, the first time where it was, from
        the second time on behind all others, so that a job that kills workers
        does not starve the rest.
        """
        job.retries += 1
        if 0 <= self._retries <= job.retries:
            self._give_up(job, FAILED, now, b"", reason)
            return
        first = job.retries == 1
        self._take_back(job, now, reason, last=not first)
        self._note(job)
        self._enqueue(job, now, first=first)

    def _try_later(self, job: Job, delay: float, now: float, reason: str) -> None:
        """The job waits for its next attempt, behind all others."""
        self._take_back(job, now, reason, last=True)
        due = now + delay if delay > 0 else 0.0
        self._note(job, due)
        if due:
            self._set_aside(job)
            self._schedule(job, due)
        else:
            self._enqueue(job, now)

    def _take_back(self, job: Job, now: float, reason: str, last: bool) -> None:
        """The job leaves its worker, to be handed out again."""
        self._withdraw(job, reason)
        self._leave_worker(job, now)
        job.numerator = job.denominator = 0
        if (life := job.life) is not None:
            if life.collected != 0:
                for client in job.clients:
                    if client.restarts:
                        self._send(client, RESTARTED, job.handle)
            life.start_again()
        if last:
            self._put_last(job)
            if job.stored and self._pager is not None:
                self._pager.yield_room(job)

    def _overran(self, job: Job, reason: str, now: float) -> None:
        if self.witness is not None:
            self.witness.taken_back(job, reason, now)
        self._over(job, reason, now)

    def _time_has_come(self, job: Job, now: float) -> None:
        life = job.life
        if job.state == RUNNING:
            if job.worker is not None and job.worker.unread:
                # What it has said meanwhile is on its way to us.
                self._schedule(job, now + UNREAD_SECONDS)
                return
            if life is not None and life.lease:
                silent = life.beat + life.lease
                if silent > now and (not life.overdue or life.overdue > now):
                    self._schedule(job, min(silent, life.overdue or silent))
                    return
                self._overran(job, TIMEOUT if silent > now else SILENT, now)
            else:
                self._overran(job, TIMEOUT, now)
        elif life is not None and 0.0 < life.expires <= now:
            self._pass_on(job, WORK_FAIL, job.handle)
            self._finish(job, EXPIRED, now)
            self._advance(job.queue, job.priority, now)
        else:
            del job.queue.aside[job]
            self._cancel_wait(job)
            self._put_last(job)
            self._note(job)
            self._enqueue(job, now)
