"""
Who is connected, for operators: plain values, as in L{txgear.broker.operators.inspection}.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from txgear.broker.operators.inspection import who
from txgear.broker.operators.search import BOUNDS, Bounds, Search
from txgear.broker.rights import PEERS, knows, may, meets
from txgear.protocol.textlines import text

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.broker.model import Function, Peer
    from txgear.broker.quickacks import Tally

MOST_NAMES: Final = 10
"""Functions that are named for each connection; it may have thousands."""


def connections(
    broker: Broker, peer: Peer, tally: Tally, search: Search, bounds: Bounds = BOUNDS, kind: str = ""
) -> dict[str, Any]:
    """
    The connections, by their descriptors.

    @param peer: who asks. It is shown those that it may know of (see L{meets}), and of their functions
        likewise; others count nowhere.
    @param tally: what they have in common.
    @param search: C{worker} stands in a client id, or in the address of one without.
    @param kind: what they speak; empty for whatever they do.
    @return: C{connections}, a dict for each with what L{who} and L{login} say, C{kind}, C{round_trip}
        (seconds, C{None} if it is not known), C{quickack} (whether it is acknowledged at once, see
        L{txgear.broker.quickacks}), C{quickacks} (how often), C{functions} (their number) and C{names} (of
        the first L{MOST_NAMES} of them); C{next}, which is what to ask for with C{after}, or C{None} at the
        end; and C{total}, with C{connections}, C{quickack} (how many are acknowledged at once now), and
        C{quickacks} (of all that there were).
    """
    peers: Collection[Peer] = broker.peers
    given = tally.given
    if not may(peer, PEERS):
        peers = [other for other in peers if meets(peer, other)]
        given = sum(other.link.acks.given for other in peers if other.link is not None)
    total = {"connections": len(peers), "quickack": sum(map(_marked, peers)), "quickacks": given}
    found = [other for other in peers if other.descriptor > search.after]
    if search.quickack is not None:
        found = [other for other in found if _marked(other) == search.quickack]
    if kind:
        found = [other for other in found if other.kind == kind]
    found.sort(key=attrgetter("descriptor"))
    rows: list[dict[str, Any]] = []
    following: int | None = None
    last = search.after
    work = 0
    for other in found:
        if len(rows) == search.limit or work >= bounds.work:
            following = last
            break
        last = other.descriptor
        work += 1
        if not search.worker or search.worker in other.name:
            functions: Collection[Function] = other.abilities
            if peer.rights is not None:
                work += len(functions)
                functions = [function for function in functions if knows(peer, function)]
            rows.append(_row(other, functions))
    return {"connections": rows, "next": following, "total": total}


def login(peer: Peer) -> dict[str, Any]:
    """
    Who a peer is: its C{identity}, by name, or C{None}; whether it is C{encrypted}; and how many seconds ago
    it was C{heard} of, C{None} where the system does not tell, or it has gone.
    """
    return {
        "identity": None if peer.tenant is None else peer.tenant.name,
        "encrypted": peer.encrypted,
        "heard": round(peer.link.heard(), 3) if peer.link is not None and peer.connected else None,
    }


def _marked(peer: Peer) -> bool:
    return peer.link is not None and peer.link.acks.marked


def _row(peer: Peer, functions: Collection[Function]) -> dict[str, Any]:
    link = peer.link
    return {
        **who(peer),
        **login(peer),
        "kind": peer.kind,
        "round_trip": None if link is None else round(link.round_trip(), 6),
        "quickack": _marked(peer),
        "quickacks": 0 if link is None else link.acks.given,
        "functions": len(functions),
        "names": [text(function.name) for function in islice(functions, MOST_NAMES)],
    }
