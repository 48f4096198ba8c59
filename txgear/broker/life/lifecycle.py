"""
A job's life: how it is admitted, how each attempt begins and ends, and how the job does.

All the ends of a job go through L{Lifecycle.end} or L{Lifecycle.finish}, all its ways back from a worker
through L{Lifecycle.attempt_ended}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from txgear.broker.counts import ABANDONED, CANCEL, NOT_STORED, TOO_LATE
from txgear.broker.ended.archive import history_of, retention
from txgear.broker.history import Attempt, History, as_text
from txgear.broker.life.retry import RetryAfter, decide
from txgear.broker.model import NO_PROGRESS
from txgear.broker.records import UNREADABLE_SECONDS
from txgear.broker.states import (
    CANCELLED,
    DEAD,
    DELAYED,
    DONE,
    EXPIRED,
    FAILED,
    RUNNING,
    STORING,
    TO_ENDED,
    TO_STORING,
)
from txgear.errors import STORE_REFUSED, QueueError
from txgear.policies import CLASSIC, EXCEPTION, SILENT, TIMEOUT
from txgear.protocol.constants import (
    ERROR,
    JOB_ASSIGN,
    JOB_CREATED,
    JOB_WITHDRAWN,
    RESTARTED,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
)

if TYPE_CHECKING:
    from txgear.broker.dispatcher import Dispatcher
    from txgear.broker.ended.archive import Archive
    from txgear.broker.functions import Functions
    from txgear.broker.history import Follower, Watcher
    from txgear.broker.model import Job, Peer, Reply
    from txgear.broker.persistence import Persistence
    from txgear.broker.ports import Outbox, Witness
    from txgear.broker.rows.stock import Stock
    from txgear.broker.table import JobTable
    from txgear.broker.timers import Timers
    from txgear.protocol.packets import Data

UNREAD_SECONDS: Final = 1.0
"""Seconds for which a worker has more time whose packets we do not read: then there is another look."""


class Lifecycle:
    """
    @ivar witness: hears of workers that overran their time; whoever owns the broker sets it.
    """

    __slots__ = (
        "_archive",
        "_chance",
        "_dispatcher",
        "_functions",
        "_outbox",
        "_persistence",
        "_retries",
        "_send",
        "_starts",
        "_stock",
        "_table",
        "_timers",
        "witness",
    )

    def __init__(
        self,
        table: JobTable,
        functions: Functions,
        dispatcher: Dispatcher,
        archive: Archive,
        persistence: Persistence,
        timers: Timers,
        outbox: Outbox,
        stock: Stock,
        retries: int,
        chance: Callable[[], float],
    ) -> None:
        """
        @param retries: how often a job may run at the most, its worker lost each
            time, where no policy says otherwise; negative for no bound.
        @param chance: a number from 0 to 1 at random.
        """
        self._table = table
        self._functions = functions
        self._dispatcher = dispatcher
        self._archive = archive
        self._persistence = persistence
        self._timers = timers
        self._outbox = outbox
        self._send = outbox.send
        self._stock = stock
        self._retries = retries
        self._chance = chance
        # When jobs may begin that are on their way to the store: by the wall clock, and by the server's time.
        self._starts: dict[Job, tuple[float, float]] = {}
        self.witness: Witness | None = None

    # Admission

    def await_store(self, job: Job, due: float, begins: float) -> None:
        """
        A new job is on its way to the store; L{stored} or L{refused} follows.

        @param due: before which it must not begin, by the wall clock, or 0.0.
        @param begins: the same by the server's time, where that is what it waits for.
        """
        job.state = TO_STORING[job.state]
        job.function.delayed[job] = None
        if due or begins:
            self._starts[job] = 0.0 if begins else due, begins

    def stored(self, jobs: Iterable[Job], now: float) -> None:
        """Jobs are stored: those who submitted them have their answers, and they may be handed out."""
        self._stock.stored(self._answered(jobs, now), now)

    def _answered(self, jobs: Iterable[Job], now: float) -> Iterator[Job]:
        """Those of them of which nothing else is to be said, once they are answered."""
        release, starts = self._outbox.release, self._starts
        for job in jobs:
            reply, job.reply = job.reply, None
            assert reply is not None
            # Its handle, which most jobs do not keep.
            release(reply, JOB_CREATED, job.naming % job.number)
            rare = reply.late or reply.changed or job.history is not None or job in starts
            if rare or job.state != STORING:
                self._stored_oddly(job, reply, now)
            else:
                job.stored = True
                del job.function.delayed[job]
                yield job

    def _stored_oddly(self, job: Job, reply: Reply, now: float) -> None:
        """A job is stored that has ended, moved or changed meanwhile, or has a time."""
        changed = reply.changed
        if job.state != STORING:
            if not job.ended:
                job.stored = True
                self._persistence.count_workload(job)
                self._stock.settle(job, now)
            elif job.number in self._archive.jobs:
                job.stored = True
                if job.state == DEAD:
                    job.workload = b""
            return
        job.stored = True
        del job.function.delayed[job]
        if job in self._starts or job.history is not None:
            due, begins = self._starts.pop(job, (0.0, 0.0))
            expires = 0.0 if job.history is None else job.history.expires
            if due > self._timers.wall(now) or begins > now or 0.0 < expires <= now:
                job.workload = b""
                self.make_ready(job, due, begins, now)
                self._stock.settle(job, now)
                return
            if due or begins:
                # The store has it as one that waits.
                self._persistence.update(job)
                changed = True
        if reply.late and self._dispatcher.enqueue_late(job, now):
            self._persistence.count_workload(job)
        else:
            self._stock.stored((job,), now, changed=changed)

    def refused(self, job: Job, reason: str, now: float, why: str = STORE_REFUSED) -> None:
        """
        A job could not be stored: it is as if those who submitted it for the
        background had never done so, and they get an ERROR with the reason.

        @param why: the word that it is counted under.
        """
        self._refuse(job, reason, now, why)
        if job.ended:
            if job.number in self._archive.jobs:
                self._archive.forget(job)
        elif job.state == STORING:
            job.background = False
            self.end(job, FAILED, now, reason=NOT_STORED)
            self._dispatcher.advance(job, now)
        else:
            self._not_kept(job, now)

    def turn_away(self, job: Job, reason: str, now: float, why: str) -> None:
        """
        A job of which it was not known yet whether it is one of its own is not taken: it is as if it had been
        refused when it came, so it counts neither as submitted nor as failed.

        @param why: the word that it is counted under.
        """
        self._refuse(job, reason, now, why)
        self._undo(job, FAILED, now)
        self._dispatcher.advance(job, now)
        self._functions.forget_if_unused(job.function)

    def _refuse(self, job: Job, reason: str, now: float, why: str) -> None:
        """Those who have submitted a job get an ERROR."""
        reply, job.reply = job.reply, None
        assert reply is not None
        code = QueueError.default_code.encode("ascii")
        self._outbox.release(reply, ERROR, code, reason.encode("utf-8"))
        job.function.counts.refuse(why, now)

    def admit(self, job: Job, now: float) -> None:
        """A foreground job on its way to the store need not go there: it may be handed out."""
        reply, job.reply = job.reply, None
        assert reply is not None
        self._outbox.release(reply, JOB_CREATED, job.naming % job.number)
        del job.function.delayed[job]
        due, begins = self._starts.pop(job, (0.0, 0.0))
        self.make_ready(job, due, begins, now, late=True)

    def joined(self, job: Job, handle: bytes, now: float) -> None:
        """
        A job is not stored, as a job of another server is the same: those who submitted it for the background
        have submitted that one. Those who wait for it here go on waiting, for one of their own.

        @param handle: the other job's.
        """
        if job.state == STORING and job.clients:
            job.background = False
            self.admit(job, now)
            return
        reply, job.reply = job.reply, None
        assert reply is not None
        self._outbox.release(reply, JOB_CREATED, handle)
        if job.state == STORING:
            self.drop(job, handle, now)
            job.function.counts.elsewhere += 1
            if not job.function.workers:
                self._functions.forget_if_unused(job.function)
        elif job.ended:
            if job.number in self._archive.jobs:
                self._archive.forget(job)
        else:
            self._not_kept(job, now)

    def _not_kept(self, job: Job, now: float) -> None:
        """A job that is not on its way to the store any more is not one for the background."""
        job.background = False
        self._starts.pop(job, None)
        if not (job.wanted or job.state == RUNNING):
            self.end(job, CANCELLED, now, reason=ABANDONED)
            self._dispatcher.advance(job, now)

    def drop(self, job: Job, handle: bytes, now: float) -> None:
        """
        A job on its way to the store was none of its own, but the same as another: it is as if it had never
        been there. Nobody waits for it any more; who looks at it sees it cancelled.

        @param handle: the other's, which it has from now on.
        """
        job.reply = None
        self._undo(job, CANCELLED, now)
        job.kept_handle = handle

    def _undo(self, job: Job, outcome: int, now: float) -> None:
        """A job leaves its place as if it had never been there; who looks at it sees the outcome."""
        self._dispatcher.leave(job, now)
        self._starts.pop(job, None)
        job.state = TO_ENDED[outcome][job.state]
        self._table.remove(job)
        job.workload = b""
        if (history := job.history) is not None:
            history.notify(outcome, b"", b"", complete=True)

    def make_ready(self, job: Job, due: float, begins: float, now: float, *, late: bool = False) -> None:
        """
        A job that is in no place is queued, or delayed until its time; one that expires now, until that
        is done.

        @param due: its time by the wall clock, or 0.0.
        @param begins: its time by the server's, or 0.0.
        @param late: whether others may have come that were submitted later.
        """
        expires = 0.0 if job.history is None else job.history.expires
        early = due > now + self._timers.offset
        if not (early or begins > now or 0.0 < expires <= now):
            if not (late and self._dispatcher.enqueue_late(job, now)):
                self._dispatcher.enqueue(job, now)
            return
        self._dispatcher.delay(job)
        if early:
            self._timers.appoint(job, due, now)
        if begins or expires:
            self._timers.add(job, min(begins, expires) if begins and expires else begins or expires)

    def begins(self, job: Job) -> float:
        """When a job is to begin, by the wall clock; 0.0 for one that does not wait for a time."""
        if job in self._starts:
            due, begins = self._starts[job]
            return due or self._timers.wall(begins)
        if job.appointment is not None:
            return job.appointment.due
        expires = 0.0 if job.history is None else job.history.expires
        # Of a job that is delayed and expires before its time, that is all that is to come.
        return self._timers.wall(job.due) if job.state == DELAYED and job.due != expires else 0.0

    def put_off(self, job: Job, now: float) -> None:
        """
        The workload of a job cannot be read: it makes way for the others, and is tried again behind
        them. Those who wait for it hear that it failed, as nobody knows for how long that goes on.
        """
        self.send_clients(job, WORK_FAIL, job.handle)
        job.part_all()
        self._dispatcher.withdraw(job, now)
        self.make_ready(job, 0.0, now + UNREADABLE_SECONDS, now)

    def go_on_without(self, job: Job, client: Peer, now: float) -> None:
        """
        A client does not wait any more for a job that has not ended, and wants it done all the same: it is a
        background job from now on. The answer to that is as for a submit: see L{Job.reply_for}.

        @raise QueueError: it cannot be kept at present; then the client waits as before.
        """
        if not job.background:
            self._persistence.add(job, self.begins(job))
            job.background = True
        client.attached.pop(job, None)
        job.part(client)
        if self._dispatcher.draining and not job.clients:
            self._dispatcher.withhold(job, now)
        self._stock.settle(job, now)

    # An attempt

    def begin(self, job: Job, worker: Peer, now: float) -> None:
        """
        A worker has got a job that has a history, or whose function's policy bounds its time: how long may it
        take, and be silent?
        """
        policy = self._functions.policy_of(job)
        # One that comes back with a job has not said yet what it can do.
        own = worker.abilities.get(job.function, 0.0)
        times = [seconds for seconds in (own, policy.timeout) if seconds]
        lease = policy.lease if worker.extended else 0.0
        if job.history is not None or lease:
            history = job.history = job.history or History()
            history.restart()
            history.expires = 0.0
            history.overdue = now + min(times) if times else 0.0
            history.lease, history.beat = lease, now
            history.tell(JOB_ASSIGN)
        if lease:
            times.append(lease)
        if times:
            self._timers.add(job, now + min(times))

    def attempt_ended(
        self, job: Job, reason: str, now: float, message: Data = b"", after: float | None = None
    ) -> None:
        """
        An attempt has ended without a result: the job is tried again, or ends.

        @param reason: one of L{txgear.policies.REASONS}.
        @param message: what its worker sent with that, or what was said of its end.
        @param after: seconds after which it is to be tried again, if it is; C{None} for what its policy says.
        """
        history = job.history
        if history is None and job.function.policy is not None:
            history = job.history = History()
        if history is not None:
            self._table.count_history(history)
            history.add_attempt(self._attempt(job, reason, now, message))
        decision = decide(
            self._functions.policy_of(job),
            history.counts if history is not None else {},
            reason,
            wanted=job.wanted,
            background=job.background,
            lost=job.retries,
            bound=self._retries,
            chance=self._chance,
            after=after,
        )
        if isinstance(decision, RetryAfter):
            self._retry(job, decision, reason, now)
        elif decision.outcome == CANCELLED:
            self._withdraw(job, reason)
            self.end(job, CANCELLED, now, reason=ABANDONED)
        else:
            job.retries += decision.lost
            self.fail(job, decision.outcome, reason, now, message)

    def _attempt(self, job: Job, reason: str, now: float, message: Data) -> Attempt:
        worker, wall = job.worker, self._timers.wall
        assert worker is not None
        return Attempt(wall(job.since), wall(now), reason, worker.name, as_text(message))

    def _retry(self, job: Job, retry: RetryAfter, reason: str, now: float) -> None:
        """The job leaves its worker, to be handed out again."""
        job.retries += 1
        job.function.counts.retried += 1
        self._withdraw(job, reason)
        self._dispatcher.leave(job, now)
        job.progress = NO_PROGRESS
        if (history := job.history) is not None:
            if history.collected != 0:
                for client in job.clients:
                    if client.restarts:
                        self._send(client, RESTARTED, job.handle)
            history.restart()
        if not retry.first:
            self._table.put_last(job)
            self._persistence.yield_room(job)
        due = now + retry.delay if retry.delay > 0 else 0.0
        self._persistence.update(job, due)
        if due:
            self._dispatcher.delay(job)
            self._timers.add(job, due)
        else:
            self._dispatcher.enqueue(job, now, first=retry.first)
        if history is not None:
            history.tell(RESTARTED)

    def _withdraw(self, job: Job, reason: str) -> None:
        """Tell a worker that is still there, and understands it, that the job is not its own any more."""
        worker = job.worker
        if worker is None or not worker.connected:
            return
        if worker.extended and reason in (TIMEOUT, SILENT, CANCEL):
            self._send(worker, JOB_WITHDRAWN, job.handle, reason.encode("ascii"))

    # Time

    def time_has_come(self, job: Job, now: float) -> None:
        """What a job was among the timers for: its worker's time is over, or it expires, or it may begin."""
        history = job.history
        if job.state == RUNNING:
            self._look_at_worker(job, now)
        elif history is not None and 0.0 < history.expires <= now:
            self.send_clients(job, WORK_FAIL, job.handle)
            self.finish(job, EXPIRED, now, reason=TOO_LATE)
            self._dispatcher.advance(job, now)
        else:
            self.begin_waiting(job, now)

    def begin_waiting(self, job: Job, now: float) -> None:
        """A job that waits for its time waits no more: it is queued, behind all others."""
        self._dispatcher.leave(job, now)
        self._table.put_last(job)
        self._persistence.update(job)
        self._dispatcher.enqueue(job, now)

    def _look_at_worker(self, job: Job, now: float) -> None:
        """Has the worker of a job taken too long, or been silent for too long?"""
        if job.worker is not None and job.worker.unread:
            # What it has sent meanwhile is on its way to us.
            self._timers.add(job, now + UNREAD_SECONDS)
            return
        reason, history = TIMEOUT, job.history
        if history is not None and history.lease:
            silent = history.beat + history.lease
            if silent > now and (not history.overdue or history.overdue > now):
                self._timers.add(job, min(silent, history.overdue or silent))
                return
            reason = TIMEOUT if silent > now else SILENT
        if self.witness is not None:
            self.witness.taken_back(job, reason, now)
        self.attempt_ended(job, reason, now)

    # The end

    def watch(self, job: Job, watcher: Watcher) -> Callable[[float], None]:
        """
        Have a watcher called when a job ends.

        @return: what is called with the time if nobody wants to know any more.
        """
        history = job.history = job.history or History()
        token = object()
        history.watchers[token] = watcher

        def unwatch(now: float) -> None:
            history.watchers.pop(token, None)
            self._stock.settle(job, now)

        return unwatch

    def follow(self, job: Job, follower: Follower) -> Callable[[float], None]:
        """
        Have a follower called with all that happens to a job before its end; see L{watch} for that.

        @return: what is called with the time if nobody wants to know any more.
        """
        history = job.history = job.history or History()
        followers = history.followers = history.followers or {}
        token = object()
        followers[token] = follower

        def unfollow(now: float) -> None:
            followers.pop(token, None)
            if not followers:
                history.followers = None
            self._stock.settle(job, now)

        return unfollow

    def send_clients(self, job: Job, kind: int, *arguments: Data) -> None:
        """Send a packet to all who wait for a job, and tell those who follow it."""
        for client in job.clients:
            self._send(client, kind, *arguments)
        if (history := job.history) is not None and history.followers is not None:
            history.tell(kind, *arguments)

    def repeat(self, client: Peer, job: Job) -> None:
        """Send a client, who would have waited for it, the result of a job that is done already."""
        handle, history = job.handle, history_of(job)

        def send(found: bytes | None) -> None:
            if not client.connected:
                return
            if found is None or len(found) != history.data_size + history.result_size:
                # It is done, but an empty result would be a wrong one. Doing it again would break the promise
                # of C{unique_for}, so all that can be sent is that it failed.
                self._send(client, WORK_FAIL, handle)
                return
            if history.data_size:
                self._send(client, WORK_DATA, handle, found[: history.data_size])
            self._send(client, WORK_COMPLETE, handle, found[history.data_size :])

        if history.complete is False:
            send(None)
        else:
            self._archive.read(job, send)

    def fail(self, job: Job, outcome: int, reason: str, now: float, message: Data = b"") -> None:
        """
        The job ends without a result: those who wait hear that it failed.

        @param outcome: FAILED, DEAD or CANCELLED.
        @param reason: why its last attempt is over, or another of L{txgear.broker.counts.FAILURES}.
        """
        self._withdraw(job, reason)
        handle = job.handle
        for client in job.clients:
            if reason == EXCEPTION and client.exceptions:
                self._send(client, WORK_EXCEPTION, handle, message)
            else:
                self._send(client, WORK_FAIL, handle)
        self.finish(job, outcome, now, message, reason)

    def finish(
        self,
        job: Job,
        outcome: int,
        now: float,
        result: Data = b"",
        reason: str = "",
        *,
        room: bool = True,
    ) -> None:
        """
        The job is over, and what its policy says is kept of it.

        @param result: its result, or its worker's message when it failed.
        @param reason: why there is no result, as in L{txgear.broker.counts.FAILURES}; empty if there is one.
        @param room: false if the store was asked and has none for the result.
        """
        policy, history = job.function.policy or CLASSIC, job.history
        if outcome == DEAD and 0 < policy.dead.bytes < job.size:
            # All others would have to make room for it, and it would be too large still.
            outcome = FAILED
        if history is not None:
            policy = history.policy(policy, self._functions.policies)
        bounds = policy.results
        if outcome == DONE and bounds is not None and bounds.keep >= policy.unique_for:
            # As retention would have it, which is one call more for nearly each that is kept.
            seconds = bounds.keep
        else:
            bounds, seconds = retention(policy, job, outcome)
        if not (seconds and job.background):
            self.end(job, outcome, now, result, reason)
            return
        last, worker = bytes(result), job.worker
        data: bytes | None = b"" if history is None else history.take_data()
        self._dispatcher.leave(job, now)
        counts = job.function.counts
        if outcome == DONE:
            counts.completed += 1
            counts.ended = now
        else:
            counts.fail(reason, now)
        job.state = TO_ENDED[outcome][job.state]
        self._table.remove(job, kept=True)
        if keeps := self._persistence.keeps:
            self._starts.pop(job, None)
            self._persistence.drop_workload(job)
        complete = None
        if bounds is not None and outcome != DEAD:
            # Where there is no room for it those who waited have it; nobody else will.
            complete = (
                room
                and data is not None
                and not 0 < bounds.bytes < len(data) + len(last)
                and (not keeps or self._persistence.has_room(len(data) + len(last)))
            )
        if complete and history is None and bounds is not None:
            # As nearly each that is kept.
            self._archive.keep_result(job, bounds, seconds, last, now)
        else:
            history, kept = history or History(), b""
            if outcome != DEAD:
                history.complete = complete
            if complete:
                assert data is not None
                kept = data + last
                history.data_size, history.result_size = len(data), len(last)
            self._archive.keep(job, history, bounds, seconds, kept, now)
        if keeps and outcome != DEAD and worker is not None and self._persistence.crowded:
            self._outbox.pause(worker)
        if history is not None:
            history.notify(outcome, data or b"", last, complete=data is not None)

    def done(self, job: Job, now: float, result: Data) -> None:
        """The job is done, and what its policy says is kept of it: the same as with L{finish}."""
        seconds, persistence = job.function.keeps, self._persistence
        if not seconds or job.history is not None or not job.background:
            self.finish(job, DONE, now, result)
            return
        if persistence.keeps and not persistence.has_room(len(result)):
            self.finish(job, DONE, now, result, room=False)
            return
        # As in finish, where nearly each that is kept is asked for what it cannot have.
        last, worker = bytes(result), job.worker
        self._dispatcher.leave(job, now)
        counts = job.function.counts
        counts.completed += 1
        counts.ended = now
        job.state = TO_ENDED[DONE][job.state]
        self._table.remove(job, kept=True)
        if not persistence.keeps:
            self._archive.keep_done(job, seconds, last, now)
            return
        persistence.drop_workload(job)
        self._archive.store_done(job, seconds, last, now)
        if persistence.crowded and worker is not None:
            self._outbox.pause(worker)

    def end(self, job: Job, outcome: int, now: float, result: Data = b"", reason: str = "") -> None:
        """The job is over, and nothing is kept of it; the same as with L{finish}."""
        # As in finish, which is to be one call, too.
        self._dispatcher.leave(job, now)
        counts = job.function.counts
        if outcome == DONE:
            counts.completed += 1
            counts.ended = now
        else:
            counts.fail(reason, now)
        job.state = TO_ENDED[outcome][job.state]
        self._table.remove(job)
        if self._starts:
            # Of any job: of one that a client waits for the store may have been asked just now.
            self._starts.pop(job, None)
        if job.background:
            self._persistence.delete(job)
        job.workload = b""
        if (history := job.history) is not None:
            data = history.take_data()
            history.notify(outcome, data or b"", bytes(result), complete=data is not None)
        if not job.function.workers:
            self._functions.forget_if_unused(job.function)

    def check(self) -> None:
        """
        Is nothing noted for jobs that are not on their way to the store?

        @raise AssertionError: there is.
        """
        assert all(job.state == STORING for job in self._starts), self._starts
