"""
What an operator can see of the dead as a whole: their groups, and the reviews in which some are set aside.

As L{txgear.broker.operators.inspection}: plain values, nothing is changed, and each peer has only what it may
know. Of a group they tell the oldest and the newest job, which are read for that where they are not in
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop
from typing import TYPE_CHECKING, Any

from txgear.broker.ended.archive import history_of
from txgear.broker.ended.deadgroups import DEAD_REASONS
from txgear.broker.operators.inspection import LOOKED_PAST, moment, place
from txgear.broker.operators.search import BOUNDS, Bounds, Search
from txgear.broker.records import InLane, LastInLane
from txgear.broker.rights import PEERS, knows, may, reads
from txgear.protocol.textlines import text

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.broker.ended.reviews import Review
    from txgear.broker.ended.shelves import Shelf
    from txgear.broker.model import Function, Job, Peer
    from txgear.broker.records import JobRecord

    GroupPage = tuple[list[tuple[Function, str, Shelf]], bytes | None]


def _page(broker: Broker, peer: Peer, search: Search, bounds: Bounds) -> GroupPage:
    """
    @return: groups of a page, and behind which name the next one begins; C{None} at the end.
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
    found: list[tuple[Function, str, Shelf]] = []
    last = b""
    work = len(there.functions) >> LOOKED_PAST
    while places:
        if len(found) >= search.limit or work >= bounds.work:
            return found, last
        last = heappop(places)
        work += 4
        function = functions[last]
        if not wanted(function):
            continue
        groups = there.of(function)
        for reason in DEAD_REASONS:
            if reason in groups and (not search.reason or reason in search.reason):
                found.append((function, reason, groups[reason]))
                work += 24
    return found, None


def groups(broker: Broker, peer: Peer, search: Search, bounds: Bounds = BOUNDS) -> dict[str, Any]:
    """
    The dead that are not set aside, by function and reason; by the names of their functions, in pages. A
    function stands on one page with all its groups, be they a few more than were asked for. See L{find}.

    @return: C{groups}, for each what L{group} returns; and C{next}, behind which it goes on, or C{None} at
        the end: a name, or what stands for a long one.
    """
    found, last = _page(broker, peer, search, bounds)
    rows = [group(broker, peer, *each) for each in found]
    return {"groups": rows, "next": None if last is None else text(last)}


def find(
    broker: Broker,
    peer: Peer,
    search: Search,
    now: float,
    then: Callable[[dict[str, Any] | None], None],
    bounds: Bounds = BOUNDS,
) -> None:
    """
    As L{groups}, wherever the dead are.

    @param then: called once, at once or in a later turn, with what L{groups} returns; with C{None} if the
        store does not answer.
    """
    found = [shelf for _, _, shelf in _page(broker, peer, search, bounds)[0]]
    load_ends(
        broker, found, lambda answered: then(groups(broker, peer, search, bounds) if answered else None), now
    )


def load_ends(broker: Broker, found: Iterable[Shelf], then: Callable[[bool], None], now: float) -> None:
    """
    Have the oldest and the newest of some groups in memory.

    @param then: called once, at once or in a later turn, with whether they are; only as long as that.
    """
    questions = [
        (question, _pass_by)
        for shelf in found
        for rows in shelf.lanes.values()
        for question in (InLane(rows.lane, rows.read_to, 1), LastInLane(rows.lane))
    ]
    broker.stock.load_all(questions, lambda answered, later: then(answered), now)


def _pass_by(records: Sequence[JobRecord]) -> None:
    """That they are in memory is enough."""


def ends(found: Shelf) -> tuple[Job, Job] | None:
    """Of a group the oldest and the newest job; C{None} if none is in memory."""
    jobs = found.in_order()
    return (next(iter(jobs)), next(found.newest())) if jobs else None


def group(broker: Broker, peer: Peer, function: Function, reason: str, found: Shelf) -> dict[str, Any]:
    """
    @return: C{function}, C{reason} and how many C{jobs} there are; when the C{oldest} and the C{newest} of
        them died, and of the latter the C{handle} and, where the peer may read it, the C{text} that its last
        worker sent. These four say nothing where they cannot be read.
    """
    wall, known = broker.timers.wall, ends(found)
    row = {
        "function": text(function.name),
        "reason": reason,
        "jobs": found.count,
        "oldest": None,
        "newest": None,
        "handle": "",
        "text": None,
    }
    if known is not None:
        oldest, newest = known
        attempts = history_of(newest).attempts if reads(peer, function) else ()
        row["oldest"], row["newest"] = moment(wall(oldest.since)), moment(wall(newest.since))
        row["handle"] = text(newest.handle)
        row["text"] = attempts[-1].text if attempts else None
    return row


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
