"""
What can be seen of the cluster that a server is in: its servers, their parts, and what the database promises.

All of it is plain, as in L{txgear.broker.operators.inspection}.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from txgear.broker.model import Peer
from txgear.broker.rights import SETTINGS, may
from txgear.errors import ServerError
from txgear.protocol.textlines import column, row
from txgear.server import storestate
from txgear.server.clusterview import Cluster, PartShown, ServerShown
from txgear.server.jobserver import JobServer

ALIVE: Final = "alive"
SILENT: Final = "silent"
"""It has given no sign of life for some seconds: the others are about to take its parts."""
NO_CLUSTER: Final = "The server has its store for itself: it was started without --cluster"
ALONE: Final = "one machine: what it loses is lost"
"""What is promised where there is no other machine."""
UNKNOWN: Final = "not known"


def cluster(server: JobServer, peer: Peer) -> dict[str, Any]:
    """
    The cluster, as this server saw it last.

    @return: C{lease}, the seconds without a sign of life after which a server's parts are taken; C{looked},
        seconds since the last look that the database has answered; C{trust}, seconds for which this server
        can still rely on its parts; C{taken}, how many parts it has taken, and C{silent}, how many of these
        from servers that were not heard of; C{database}; C{servers}, by their names, each with its C{parts};
        and C{free}, the parts that nobody has.
    @raise ServerError: it is in none.
    """
    view, journal = server.cluster, server.journal
    if view is None or journal is None or journal.trust is None:
        raise ServerError(NO_CLUSTER, "NO_CLUSTER")
    return {
        "lease": view.lease_seconds,
        "looked": round(view.looked, 3),
        "trust": round(journal.trust.left, 3),
        "taken": view.takeovers,
        "silent": view.silent,
        "database": database(server, peer),
        "servers": [_server(each) for each in view.servers()],
        "free": [_part(part) for part in free(view)],
    }


def not_listed(server: JobServer, peer: Peer) -> list[dict[str, Any]]:
    """
    The other servers, whose jobs are in no list of this one.

    @return: of each its name; and where it is reached, and how many jobs it has that wait and that run, as it
        has said last, for whoever may see how the servers are set up. Otherwise these are C{None}.
    """
    shows = may(peer, SETTINGS)
    return [
        {
            "server": each.name,
            "address": (each.address or None) if shows else None,
            "queued": each.status.queued if shows else None,
            "running": each.status.running if shows else None,
        }
        for each in (server.cluster.servers() if server.cluster is not None else ())
        if not each.is_ours
    ]


def database(server: JobServer, peer: Peer) -> dict[str, Any]:
    """
    What all servers have in common, as this one sees it.

    @return: C{state} and C{why}, as of L{storestate.store}; C{promise}, on how many machines it is what was
        answered, in words; and C{doubts}, sentences: why that could be lost all the same.
    """
    found = storestate.store(server, peer)
    report = found["report"]
    promise = UNKNOWN if report is None else report["promise"] or ALONE
    return {
        "name": found["name"],
        "state": found["state"],
        "why": found["why"],
        "promise": promise,
        "doubts": [] if report is None else report["doubts"],
    }


def state_of(server: ServerShown) -> str:
    """L{ALIVE} or L{SILENT}."""
    return SILENT if server.is_silent else ALIVE


def free(view: Cluster) -> list[PartShown]:
    """The parts that nobody has."""
    owned = {part.part for server in view.servers() for part in server.parts}
    return [part for part in view.parts() if part.part not in owned]


def _server(shown: ServerShown) -> dict[str, Any]:
    return {
        "id": shown.key,
        "name": shown.name,
        "address": shown.address or None,
        "own": shown.is_ours,
        "state": state_of(shown),
        "silent": round(shown.seconds, 3),
        "parts": [_part(part) for part in shown.parts],
        **shown.status._asdict(),
    }


def _part(shown: PartShown) -> dict[str, Any]:
    return {
        "part": shown.part,
        "term": shown.term,
        "beat": shown.beat,
        "seconds": round(shown.seconds, 3),
    }


def lines(view: Cluster) -> Iterator[bytes]:
    """
    A row for each part, in their order. What its server says of itself stands in the last one of a server.
    """
    owners = {part.part: server for server in view.servers() for part in server.parts}
    for part in view.parts():
        owner = owners.get(part.part)
        is_last = owner is not None and owner.parts[-1].part == part.part
        yield row(
            part.part,
            column(part.name, name=True),
            column(part.address, name=True),
            column(part.is_ours),
            part.term,
            part.beat,
            column(int(part.seconds)),
            column(None if owner is None else state_of(owner)),
            *(column(value) for value in _load(owner if is_last else None)),
        )


def _load(server: ServerShown | None) -> tuple[Any, ...]:
    if server is None:
        return (None,) * 5
    said = server.status
    return said.version, said.queued, said.running, said.workers, said.lag
