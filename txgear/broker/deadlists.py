"""
What an operator can see of the dead as a whole: their groups, and the reviews in which some are set aside.

As L{txgear.broker.inspection}: plain values, nothing is changed, and each peer has only what it may know.
"""

from __future__ import annotations

from heapq import heapify, heappop
from typing import TYPE_CHECKING, Any

from txgear.broker.archive import history_of
from txgear.broker.deadgroups import DEAD_REASONS, Group
from txgear.broker.inspection import LOOKED_PAST, moment, place
from txgear.broker.rights import PEERS, knows, may, reads
from txgear.broker.search import BOUNDS, Bounds, Search
from txgear.protocol.textlines import text

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.broker.model import Function, Peer
    from txgear.broker.reviews import Review


def groups(broker: Broker, peer: Peer, search: Search, bounds: Bounds = BOUNDS) -> dict[str, Any]:
    """
    The dead that are not set aside, by function and reason; by the names of their functions, in pages. A
    function stands on one page with all its groups, be they a few more than were asked for.

    @return: C{groups}, for each what L{group} returns; and C{next}, behind which it goes on, or C{None} at
        the end: a name, or what stands for a long one.
    """
    there, wanted = broker.archive.ended.groups, search.functions(peer)
    functions: dict[bytes, Function] = {}
    for function in there.functions:
        name = place(function.name)
        if search.behind < name:
            functions[name] = function
    # Only as many are sorted as are looked at.
    places = list(functions)
    heapify(places)
    rows: list[dict[str, Any]] = []
    last = b""
    work = len(there.functions) >> LOOKED_PAST
    while places:
        if len(rows) >= search.limit or work >= bounds.work:
            return {"groups": rows, "next": text(last)}
        last = heappop(places)
        work += 4
        function = functions[last]
        if not wanted(function):
            continue
        found = there.of(function)
        for reason in DEAD_REASONS:
            if reason in found and (not search.reason or reason in search.reason):
                rows.append(group(broker, peer, function, reason, found[reason]))
                work += 24
    return {"groups": rows, "next": None}


def group(broker: Broker, peer: Peer, function: Function, reason: str, jobs: Group) -> dict[str, Any]:
    """
    @return: C{function}, C{reason} and how many C{jobs} there are; when the C{oldest} and the C{newest} of
        them died, and of the latter the C{handle} and, where the peer may read it, the C{text} that its last
        worker sent.
    """
    wall = broker.timers.wall
    oldest, newest = next(iter(jobs.values())), next(reversed(jobs.values()))
    attempts = history_of(newest).attempts if reads(peer, function) else ()
    return {
        "function": text(function.name),
        "reason": reason,
        "jobs": len(jobs),
        "oldest": moment(wall(oldest.since)),
        "newest": moment(wall(newest.since)),
        "handle": text(newest.handle),
        "text": attempts[-1].text if attempts else None,
    }


def reviews(broker: Broker, peer: Peer) -> list[dict[str, Any]]:
    """The reviews of which the peer may know any job, by their names: for each what L{review} returns."""
    found = (review(broker, peer, each) for _, each in sorted(broker.archive.ended.reviews.by_name.items()))
    return [each for each in found if each is not None]


def review(broker: Broker, peer: Peer, found: Review) -> dict[str, Any] | None:
    """
    @return: its C{name}, how many C{jobs} it has of those of which the peer may know, and C{bytes} of their
        workloads; C{since} when it is there, and C{by} whom, where the peer may see who is connected. C{None}
        if the peer may know of none of them.
    """
    sizes = [size for function, size in found.sizes.items() if knows(peer, function)]
    if not sizes:
        return None
    return {
        "name": found.aside.review,
        "jobs": sum(jobs for jobs, _ in sizes),
        "bytes": sum(size for _, size in sizes),
        "since": moment(found.aside.since),
        "by": found.aside.by or None if may(peer, PEERS) else None,
    }
