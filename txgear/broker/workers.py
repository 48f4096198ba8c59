"""
Who works, for operators: plain values, as in L{txgear.broker.inspection}.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.connections import login
from txgear.broker.inspection import moment, who
from txgear.broker.rights import knows, meets
from txgear.broker.search import BOUNDS, EVERY, Bounds, Search
from txgear.broker.workforce import AWAKE, LATE, SILENT, condition, idle_since, silent
from txgear.protocol.textlines import text

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.broker.model import Function, Job, Peer

MOST_NAMES: Final = 10
"""Functions, and jobs in hand, that are shown of each worker in a list; it may have thousands."""
MOST_OF_ONE: Final = 1000
"""The same of one worker that is looked at alone."""


def workers(
    broker: Broker,
    peer: Peer,
    search: Search,
    now: float,
    how: Collection[str] = (),
    bounds: Bounds = BOUNDS,
) -> dict[str, Any]:
    """
    The connections that can do anything, by their descriptors.

    @param peer: who asks. It is shown those that it may know of (see L{meets}), and of their functions and
        jobs likewise.
    @param search: C{function} matches one of their functions at least; C{worker} stands in a client id, or in
        the address of one without.
    @param how: some of L{txgear.broker.workforce.CONDITIONS}; empty for any.
    @return: C{workers}, a dict for each as L{worker} makes it, and C{next}, which is what to ask for with
        C{after}, or C{None} at the end.
    """
    wanted = search.functions(peer)
    any_function = search.function == EVERY
    found = [other for other in broker.peers if other.abilities and other.descriptor > search.after]
    found.sort(key=attrgetter("descriptor"))
    rows: list[dict[str, Any]] = []
    last = search.after
    work = 0
    for other in found:
        if len(rows) == search.limit or work >= bounds.work:
            return {"workers": rows, "next": last}
        last = other.descriptor
        work += 1
        if how and condition(other, now) not in how:
            continue
        if not meets(peer, other) or (search.worker and search.worker not in other.name):
            continue
        if peer.rights is not None or not any_function:
            work += len(other.abilities)
            if not any_function and not any(map(wanted, other.abilities)):
                continue
        rows.append(worker(broker, peer, other, now))
    return {"workers": rows, "next": None}


def worker(broker: Broker, peer: Peer, other: Peer, now: float, most: int = MOST_NAMES) -> dict[str, Any]:
    """
    All that is known of a worker.

    @param most: functions and jobs that are shown at the most.
    @return: what L{who} and L{login} say; its C{condition}, one of L{txgear.broker.workforce.CONDITIONS},
        whether it is C{asleep}, and C{silent}; C{functions}, how many it can do, and C{names}, of the first;
        C{jobs}, how many it has in hand, and C{in_hand}, the first; C{enrolled} and C{asked}: when it said
        first what it can do, and when it asked for a job last, or C{None}; and C{idle}, for how many seconds
        it has neither had a job nor asked for one, C{None} if it has one or sleeps; and C{words}: what it can
        be told.
    """
    functions: Collection[Function] = other.abilities
    jobs: Collection[Job] = other.running.values()
    if peer.rights is not None:
        functions = [function for function in functions if knows(peer, function)]
        jobs = [job for job in jobs if knows(peer, job.function)]
    wall, how = broker.timers.wall, condition(other, now)
    return {
        **who(other),
        **login(other),
        "condition": how,
        "asleep": other.asleep,
        "silent": silent(other, now),
        "functions": len(functions),
        "names": [text(function.name) for function in islice(functions, most)],
        "jobs": len(jobs),
        "in_hand": [_in_hand(broker, job, now) for job in islice(jobs, most)],
        "enrolled": moment(wall(other.enrolled)),
        "asked": moment(wall(other.asked)),
        "idle": round(now - idle_since(other), 3) if how in (AWAKE, LATE, SILENT) else None,
        "words": list(other.words),
    }


def _in_hand(broker: Broker, job: Job, now: float) -> dict[str, Any]:
    return {
        "handle": text(job.handle),
        "number": job.number,
        "function": text(job.function.name),
        "numerator": job.progress[0],
        "denominator": job.progress[1],
        "began": moment(broker.timers.wall(job.since)),
        "seconds": round(now - job.since, 3),
    }


def find(broker: Broker, peer: Peer, descriptor: int) -> Peer | None:
    """The worker with this descriptor, if the peer may know of it."""
    for other in broker.peers:
        if other.descriptor == descriptor and other.abilities and meets(peer, other):
            return other
    return None
