"""
What waits for workers: asked each second or so by those who start and stop workers, so it has to cost little.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.rights import WORK, may

if TYPE_CHECKING:
    from txgear.broker.functions import Functions
    from txgear.broker.model import Function, Peer

NOTHING: Final[Mapping[str, Any]] = {"waiting": 0, "oldest": None, "running": 0}
"""What is said of a function that has no jobs, or that the peer may not work for."""


def load(functions: Functions, peer: Peer, name: bytes, now: float) -> Mapping[str, Any]:
    """
    How much more work there is of a function than its workers do. It costs the same however many jobs there
    are.

    @param peer: who asks.
    @return: C{waiting}, how many jobs would be handed out now if there were workers enough; for how many
        seconds the C{oldest} of them has been C{waiting}, or C{None} where there is none; and how many are
        C{running}. What is paused, or held back by a rate, by a bound of jobs at once or by what its
        submitter may have at workers, waits for no worker, and does not count.
    """
    function = functions.by_name.get(name)
    if function is None or not may(peer, WORK, name):
        return NOTHING
    waiting = _waiting(function, now)
    oldest = None
    if waiting:
        # Some that are held may be among them.
        jobs = function.lanes.heads()
        since = min((job.since for job in jobs if job.tenant is None or not job.tenant.held), default=now)
        oldest = round(max(now - since, 0.0), 3)
    return {"waiting": waiting, "oldest": oldest, "running": function.running}


def _waiting(function: Function, now: float) -> int:
    if function.throttled:
        return 0
    lanes, throttle = function.lanes, function.throttle
    # What is being read will be there when a worker asks.
    waiting = lanes.startable + lanes.paged
    available = None if throttle is None else throttle.available(function.running, now)
    return waiting if available is None else min(waiting, available)
