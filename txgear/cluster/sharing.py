"""
What servers of one store have in common: what is set while they run holds at all of them, and what they may
do together is divided among them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Sequence
from typing import Any, Final

from txgear.broker.model import Function
from txgear.broker.records import LIMITED, PAUSED, SLOTS, Lease, StoredValue, Swap
from txgear.broker.shares import NONE, Share
from txgear.cluster.slots import Slots, Want
from txgear.journal.journal import Journal
from txgear.server.jobserver import JobServer

JOINING_SECONDS: Final = 2.0
"""Seconds for which a server that joins others starts nothing that they share: they look each second."""


class Sharing:
    """
    One server's.
    """

    def __init__(self, server: JobServer, journal: Journal, chance: Callable[[], float]) -> None:
        """
        @param journal: the server's, whose store others have as well.
        @param chance: a random number, 0 to 1.
        """
        assert journal.shared is not None
        self._server = server
        self._journal = journal
        self._shared = journal.shared
        self._slots = Slots(chance)
        self._begins: float | None = None
        self._share = NONE
        self._set_share(NONE)

    def looked(
        self, values: Sequence[StoredValue], leases: Sequence[Lease], ended: Collection[Lease]
    ) -> None:
        """
        The store was read.

        @param values: those that hold for all.
        @param leases: those of all parts, read after the values.
        @param ended: those of them that live no more.
        """
        self._put_in_force(values)
        living = {lease.server for lease in leases if lease.owner and lease not in ended}
        for lease in leases:
            if lease.is_ours:
                self._divide(lease.server, living | {lease.server}, values)
                return

    def _put_in_force(self, values: Sequence[StoredValue]) -> None:
        """Put in force what others have set."""
        server = self._server
        for value in self._shared.found(values):
            if value.kind in (PAUSED, LIMITED):
                server.broker.operations.put_in_force(value, server.seconds())
            else:
                server.hear(value)

    # What they may do together

    def _divide(self, me: bytes, living: set[bytes], values: Sequence[StoredValue]) -> None:
        now = self._server.clock.seconds()
        if self._begins is None:
            self._begins = now if len(living) == 1 else now + JOINING_SECONDS
        if now < self._begins:
            return
        share = Share(len(living), sorted(living).index(me))
        if share != self._share:
            self._set_share(share)
        rows = {value.name: value for value in values if value.kind == SLOTS}
        changes = self._slots.look(rows, self._wants(rows), me, living, now)
        self._borrow()
        if changes:
            self._change(changes)

    def _set_share(self, share: Share) -> None:
        self._share = share
        self._server.broker.operations.set_share(share, self._server.seconds())

    def _wants(self, rows: Container[bytes]) -> dict[bytes, Want]:
        """
        What this server could do with slots.

        @param rows: functions of which somebody has some: of others it is asked only where there are jobs.
        """
        short = self._server.broker.functions.short.items()
        return {name: _want(each) for name, each in short if name in rows or each.total}

    def _borrow(self) -> None:
        self._server.broker.operations.borrow(dict(self._slots.borrowed), self._server.seconds())

    def _change(self, changes: dict[Swap, int]) -> None:
        def swap(store: Any) -> list[bool]:
            done: list[bool] = store.swap(list(changes))
            return done

        def swapped(done: list[bool], asked: float, answered: float) -> None:
            for (change, count), is_done in zip(changes.items(), done, strict=True):
                if is_done:
                    self._slots.changed(change.value.name, count)
            self._borrow()

        # Where it fails, the next look shows whether it was done all the same.
        self._journal.errands.run(swap, swapped, lambda was_called: None)


def _want(function: Function) -> Want:
    """What a server could do with slots of a function of which few jobs may run at once."""
    policy, throttle, lanes = function.policy, function.throttle, function.lanes
    assert policy is not None
    assert throttle is not None
    running = function.running
    ready = lanes.startable + lanes.paged if function.workers else 0
    if throttle.paused or throttle.suspended:
        ready = 0
    return Want(policy.concurrency, running, min(running + ready, policy.concurrency))
