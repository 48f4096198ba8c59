"""
What peers leave behind: clients the jobs that they waited for, workers those that they ran.

There may be very many: the first are seen to at once, the others as soon as others have had their turn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from txgear.broker.bulk import BulkTask, BulkTasks
from txgear.broker.counts import ABANDONED
from txgear.broker.rights import knows
from txgear.broker.states import CANCELLED, RUNNING
from txgear.policies import LOST
from txgear.protocol.constants import WORK_FAIL

if TYPE_CHECKING:
    from txgear.broker.dispatcher import Dispatcher
    from txgear.broker.functions import Functions
    from txgear.broker.life.lifecycle import Lifecycle
    from txgear.broker.model import Function, Job, Peer
    from txgear.broker.ports import Outbox
    from txgear.broker.rows.stock import Stock
    from txgear.broker.sleepers import Sleepers
    from txgear.broker.timers import Timers


class Departures:
    """What has been left and is not seen to yet. It is true while there is something."""

    __slots__ = (
        "_dispatcher",
        "_functions",
        "_lifecycle",
        "_send",
        "_sleepers",
        "_stock",
        "_tasks",
        "_timers",
    )

    def __init__(
        self,
        functions: Functions,
        sleepers: Sleepers,
        dispatcher: Dispatcher,
        lifecycle: Lifecycle,
        stock: Stock,
        timers: Timers,
        outbox: Outbox,
    ) -> None:
        self._functions = functions
        self._sleepers = sleepers
        self._dispatcher = dispatcher
        self._lifecycle = lifecycle
        self._stock = stock
        self._timers = timers
        self._send = outbox.send
        self._tasks = BulkTasks()

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def start(self, task: BulkTask, now: float) -> None:
        """Do this: the first piece at once, the rest as soon as others have had their turn."""
        self._tasks.start(task, now)
        if self._tasks:
            self._timers.call_at(now)

    def work(self, now: float) -> None:
        """Do a piece of what is left."""
        self._tasks.work(now)

    def part(self, client: Peer, attached: Iterable[Job], now: float) -> None:
        """A client has left these jobs, and waits for them no more."""
        self.start(self._part(client, attached), now)

    def _part(self, client: Peer, attached: Iterable[Job]) -> BulkTask:
        """
        Until its turn has come one of them may be handed out, as if it had been a moment earlier.
        """
        now = yield
        for job in attached:
            job.part(client)
            if not (job.wanted or job.state == RUNNING or job.ended):
                self._lifecycle.end(job, CANCELLED, now, reason=ABANDONED)
            elif self._dispatcher.draining and not job.clients:
                self._dispatcher.withhold(job, now)
            if job.function.lanes.behind(job):
                self._dispatcher.advance(job, now)
            self._stock.settle(job, now)
            now = yield

    def leave_unseen(self, client: Peer, now: float) -> None:
        """Jobs of others that a client has joined, and may not know of any more, fail as far as it goes."""
        tenant = client.tenant
        left = [
            job for job in client.attached if job.tenant is not tenant and not knows(client, job.function)
        ]
        for job in left:
            del client.attached[job]
            job.part(client)
            self._send(client, WORK_FAIL, job.handle)
        if left:
            self.part(client, left, now)

    def give_up_all(self, worker: Peer, now: float, words: bytes = b"") -> None:
        """
        A worker can do nothing any more, and none of its jobs is its own: those attempts are lost.

        @param words: why, for those who look at them later.
        """
        self.give_up(worker, list(worker.abilities), list(worker.running.values()), now, words)

    def give_up(
        self, worker: Peer, functions: list[Function], lost: Collection[Job], now: float, words: bytes = b""
    ) -> None:
        """
        A worker cannot do these functions any more, and these of its jobs are not its own any more.

        @param words: as in L{give_up_all}.
        """
        woken_for = self._sleepers.awake(worker) if worker.woken_for in functions else None
        barred = worker.barred is not None
        self._sleepers.remove_abilities(worker, functions, now)
        if lost or functions:
            # From here on the worker has nothing more to say of them.
            if len(lost) == len(worker.running):
                worker.running = {}
            else:
                for job in lost:
                    del worker.running[job.kept_handle]
            self.start(self._take_back(worker, lost, functions, words), now)
        if woken_for is not None:
            self._dispatcher.wake(woken_for, now)
        if barred and worker.asleep:
            self._dispatcher.settle(worker, now)

    def _take_back(
        self, worker: Peer, lost: Iterable[Job], functions: list[Function], words: bytes
    ) -> BulkTask:
        """Take jobs back from a worker that has given them up."""
        now = yield
        for job in lost:
            # Its time may have been over meanwhile, and the worker may have got it again.
            if job.worker is worker and worker.running.get(job.handle) is not job:
                self._lifecycle.attempt_ended(job, LOST, now, words)
            now = yield
        for function in functions:
            self._functions.forget_if_unused(function)
            now = yield
