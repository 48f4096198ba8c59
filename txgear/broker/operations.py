"""
What is asked of the server beside the classic protocol's work: which job is
meant, what became of it, and the orders of operators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.attempts import CANCEL, Attempts
from txgear.broker.chores import BATCH, Chore, Chores, one_by_one
from txgear.broker.history import Life
from txgear.broker.jobs import CANCELLED, DEAD, RUNNING, Job
from txgear.broker.records import PAUSED, StoredValue
from txgear.protocol.constants import MAX_HANDLE, WORK_COMPLETE, WORK_DATA, WORK_FAIL

if TYPE_CHECKING:
    from txgear.broker.history import Watcher
    from txgear.broker.limits import Gate
    from txgear.broker.sleepers import Peer

BREAK: Final = 0.01
"""Seconds until there is another look whether the store has caught up."""


def _of_handle(jobs: Mapping[int, Job], handle: bytes) -> Job | None:
    """
    The one of these jobs that has this handle. Perl's client puts the server in front of it,
    C{127.0.0.1:4730//H:desk:1}: that is no part of it.
    """
    number = handle.rpartition(b":")[2]
    job = jobs.get(int(number)) if number.isdigit() and len(number) < MAX_HANDLE else None
    # Only its very handle: there are other ways to write a number.
    if job is None or job.handle in (handle, handle.partition(b"//")[2]):
        return job
    return None


class Desk(Attempts):
    """
    Questions and orders, for clients and operators.
    """

    __slots__ = ("_orders",)

    def __init__(self, *arguments: Any) -> None:
        """
        @param arguments: those of L{Attempts}.
        """
        super().__init__(*arguments)
        # What operators want done: it waits until the store has caught up.
        self._orders = Chores()

    # Which job

    def status(self, handle: bytes) -> Job | None:
        """The job with this handle, until it ends."""
        return _of_handle(self.jobs, handle)

    def status_unique(self, unique: bytes) -> Job | None:
        """The newest job with this unique, of whatever function, until it ends."""
        return self._uniques.newest(unique)

    def cancel(self, handle: bytes, now: float) -> bool:
        """
        End a job that is queued, waits or runs; clients hear that it failed. Its worker is told if
        it understands that; what any other says of the job later is not found.

        @return: whether there was one.
        """
        job = self.status(handle)
        if job is None:
            return False
        self._cancel(job, now)
        return True

    def _cancel(self, job: Job, now: float) -> None:
        self._give_up(job, CANCELLED, now, b"", CANCEL)
        self._advance(job.queue, job.priority, now)

    def purge(self, function: bytes, now: float) -> int | None:
        """
        Cancel all jobs of a function that no worker has, in this turn and the next ones; none of
        them is handed out meanwhile. One that is submitted again before its turn has come stays: whoever
        does that now is not to lose it.

        @return: how many they are; C{None} if there is no such function.
        """
        queue = self.functions.get(function)
        if queue is None:
            return None
        gate = self._gate(queue)
        gate.closed += 1
        gate.spared.clear()
        self._regulate(queue, now)

        count = queue.total - queue.running
        self._order(self._purge(gate, one_by_one(queue.places())), now)
        return count

    def _purge(self, gate: Gate, jobs: Iterable[Job]) -> Chore:
        now = yield
        for job in jobs:
            if not (job.ended or job.state == RUNNING or job in gate.spared):
                self._cancel(job, now)
            now = yield
        queue = gate.queue
        gate.closed -= 1
        if not gate.closed:
            gate.spared.clear()
        self._regulate(queue, now)
        self._drop_gate(queue, now)
        self._forget_unused(queue)

    # What has ended

    def life(self, job: Job) -> Life:
        """What a job has beyond the classic protocol, for reading only."""
        if job.ended:
            return Life.from_bytes(job.record)
        return job.life or Life()

    def ended(self, handle: bytes) -> Job | None:
        """The job with this handle that has ended and is still known."""
        return _of_handle(self.archive.jobs, handle)

    def named(self, function: bytes, unique: bytes) -> Job | None:
        """
        The job with this unique; otherwise the one that had it last, if that is still known.

        @param function: its function; empty for any.
        """
        if not function:
            return self._uniques.newest(unique) or self.archive.newest(unique)
        queue = self.functions.get(function)
        if queue is None:
            return None
        return self._uniques.find(queue, unique) or self.archive.find(queue, unique)

    def repeat(self, client: Peer, job: Job) -> None:
        """Tell a client, who would have waited for it, what a job has brought that is done already."""
        handle, life = job.handle, self.life(job)

        def tell(brought: bytes | None) -> None:
            if client not in self.roster.peers:
                return
            if brought is None or len(brought) != life.data_size + life.result_size:
                # It is done, but an empty result would be a wrong one. Doing it again would break the promise
                # of C{unique_for}, so this is all that can be said.
                self._send(client, WORK_FAIL, handle)
                return
            if life.data_size:
                self._send(client, WORK_DATA, handle, brought[: life.data_size])
            self._send(client, WORK_COMPLETE, handle, brought[life.data_size :])

        if life.complete is False:
            tell(None)
        else:
            self.read(job, tell)

    def watch(self, job: Job, watcher: Watcher) -> Callable[[], None]:
        """
        Have a watcher called when a job ends.

        @return: what is called if nobody wants to know any more.
        """
        life = job.life = job.life or Life()
        token = object()
        life.watchers[token] = watcher

        def unwatch() -> None:
            life.watchers.pop(token, None)

        return unwatch

    def requeue(self, handle: bytes, now: float) -> bool:
        """
        Give a dead job all its attempts again; it is queued behind all others.

        @return: whether there is such a dead job.
        """
        job = self.ended(handle)
        if job is None or job.state != DEAD:
            return False
        self._requeue(job, now)
        return True

    def _requeue(self, job: Job, now: float) -> None:
        self.archive.remove(job)
        job.life = self.life(job)
        job.life.counts.clear()
        job.retries = 0
        self._put_last(job)
        self._take_in(job)
        self._note(job)
        self._enqueue(job, now)

    def forget(self, handle: bytes) -> bool:
        """
        Drop a job that has ended, dead or with a result that is kept.

        @return: whether there is one.
        """
        job = self.ended(handle)
        if job is None:
            return False
        self._forget(job)
        return True

    def requeue_all(self, function: bytes, now: float) -> int:
        """
        Requeue all the dead of a function, by and by.

        @return: how many they are.
        """
        return self._to_each_dead(function, self._requeue, now)

    def forget_all(self, function: bytes, now: float) -> int:
        """
        Drop all the dead of a function, by and by.

        @return: how many they are.
        """
        return self._to_each_dead(function, lambda job, later: self._forget(job), now)

    def _to_each_dead(self, function: bytes, do: Callable[[Job, float], None], now: float) -> int:
        queue = self.functions.get(function)
        dead = [] if queue is None else list(self.archive.shelf(queue, dead=True).jobs.values())

        def each() -> Chore:
            later = yield
            for job in dead:
                if job.state == DEAD and job.number in self.archive.jobs:
                    do(job, later)
                later = yield

        self._order(each(), now)
        return len(dead)

    # Functions that are paused

    def pause(self, function: bytes, now: float) -> None:
        """
        Hand out no job of this function until L{resume}, over restarts too; jobs are still taken.

        @raise ArgumentTooLarge: the name is too long.
        """
        queue = self._queue(function)
        self._gate(queue).paused = True
        self._regulate(queue, now)
        self.mark(StoredValue(PAUSED, function, self.wall(now)))

    def restore_mark(self, mark: StoredValue, now: float) -> None:
        """The server starts again: a function that was paused still is."""
        if mark.kind == PAUSED:
            queue = self._queue(mark.name, bounded=False)
            self._gate(queue).paused = True
            self._regulate(queue, now)

    def resume(self, function: bytes, now: float) -> bool:
        """
        Undo L{pause}.

        @return: whether it was paused.
        """
        queue = self.functions.get(function)
        if queue is None or queue.gate is None or not queue.gate.paused:
            return False
        queue.gate.paused = False
        self._regulate(queue, now)
        self._drop_gate(queue, now)
        self._forget_unused(queue)
        self.mark(StoredValue(PAUSED, function, 0.0))
        return True

    def drop_function(self, name: bytes) -> bool | None:
        """As L{txgear.broker.dispatcher.Dispatch.drop_function}; that it was paused is forgotten as well."""
        folded = name.lower()
        paused = [
            queue.name
            for queue in self.functions.values()
            if queue.name.lower() == folded and queue.gate is not None and queue.gate.paused
        ]
        dropped = super().drop_function(name)
        for function in paused if dropped else ():
            self.mark(StoredValue(PAUSED, function, 0.0))
        return dropped

    # Much at once

    def _forget_old(self, now: float) -> float:
        """
        Forget jobs that have been kept for long enough.

        @return: when to go on with it, by the server's time; infinite for not at all.
        """
        agenda = self.archive.agenda
        if self._is_behind and agenda.next_due() <= now:
            return now + BREAK
        for _ in range(BATCH):
            job = agenda.pop_due(now)
            if job is None:
                break
            self._forget(job)
        return agenda.next_due()

    def _work_off(self, now: float) -> float:
        """
        Go on with what is done to many jobs.

        @return: when to go on with it, by the server's time; infinite if all is done.
        """
        self._leaving.work(now)
        if self._orders and not self._is_behind:
            self._orders.work(now)
        if self._leaving or (self._orders and not self._is_behind):
            return now
        return now + BREAK if self._orders else inf

    @property
    def _is_behind(self) -> bool:
        """Whether the store is to have caught up before more is done to a great many."""
        return self._journal is not None and self._journal.backlogged

    def _order(self, chore: Chore, now: float) -> None:
        """Have this done in the next turns."""
        self._orders.add(chore)
        self.deadline = min(self.deadline, now)
