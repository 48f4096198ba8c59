"""
Jobs that somebody names: had in memory, wherever they are, before anything is done with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from txgear.broker.ended.archive import history_of
from txgear.broker.operators.inspection import readings, with_handle

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.broker.model import Job, Peer
    from txgear.broker.rows.stock import Then


def named(broker: Broker, words: Iterable[bytes]) -> list[Job]:
    """
    The jobs that are in memory, each once.

    @param words: handles, as they are shown or as they are.
    """
    found = (with_handle(broker, word) for word in words)
    return list(dict.fromkeys(job for job in found if job is not None))


def load(broker: Broker, peer: Peer, words: Iterable[bytes], then: Then, now: float) -> None:
    """
    Have jobs in memory, and those that have the same uniques, so that a move finds them; for a peer that may
    not know of all jobs, those as well that these are copies of, and that are copies of these.

    @param peer: who names them.
    @param words: as with L{named}.
    @param then: called as by L{Stock.load_handles<txgear.broker.rows.stock.Stock.load_handles>}.
    """
    stock, words = broker.stock, list(words)
    handles = [handle for word in words for handle in readings(word)]

    def come(answered: bool, later: float) -> None:
        jobs = named(broker, words)
        keys = [job.key for job in jobs if job.key is not None]
        if not answered or not broker.lookups.lacks(keys):
            are_there(answered, later)
            return
        for job in jobs:
            stock.hold(job)

        def have_come(answered: bool, at_last: float) -> None:
            are_there(answered, at_last)
            for job in jobs:
                stock.release(job, at_last)

        broker.lookups.load(keys, have_come, later)

    def are_there(answered: bool, later: float) -> None:
        if peer.rights is None:
            then(answered, later)
            return
        jobs = named(broker, words)
        others = [other for job in jobs for other in _kin(job)]
        if not answered or not stock.lacks(others):
            then(answered, later)
            return
        for job in jobs:
            stock.hold(job)

        def all_are_there(answered: bool, at_last: float) -> None:
            then(answered, at_last)
            for job in jobs:
                stock.release(job, at_last)

        stock.load_handles(others, all_are_there, later)

    stock.load_handles(handles, come, now)


def _kin(job: Job) -> list[bytes]:
    """The handles of the jobs that it is a copy of, and that are copies of it."""
    history = history_of(job)
    kin = [history.copy_of, *history.copies] if history.copy_of else history.copies
    return [handle for other in kin for handle in readings(other.encode("utf-8"))]
