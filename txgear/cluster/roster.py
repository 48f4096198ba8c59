"""
Which servers there are: put together from the leases of their parts.

This knows no database and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from txgear.broker.records import Lease
from txgear.cluster.status import read
from txgear.server.clusterview import PartShown, ServerShown


def parts_of(leases: Iterable[Lease], stood: Callable[[int], float]) -> list[PartShown]:
    """
    All parts, in their order.

    @param stood: for how many seconds the lease of a part has been seen as it is.
    """
    return [
        PartShown(each.part, each.name, each.address, each.term, each.beat, stood(each.part), each.is_ours)
        for each in sorted(leases)
    ]


def servers_of(leases: Iterable[Lease], stood: Callable[[int], float]) -> list[ServerShown]:
    """
    The servers that have parts, by their names. One that has several gives a sign of life in all of them;
    what it says of itself stands in the last one in which it has said something.

    @param stood: as with L{parts_of}.
    """
    found: dict[bytes, list[Lease]] = {}
    for lease in sorted(leases):
        if lease.owner:
            found.setdefault(lease.server, []).append(lease)
    servers = []
    for server, owned in found.items():
        last = owned[-1]
        parts = parts_of(owned, stood)
        status = next((lease.status for lease in reversed(owned) if lease.status), b"")
        servers.append(
            ServerShown(
                server.hex(),
                last.name,
                last.address,
                last.is_ours,
                min(part.seconds for part in parts),
                tuple(parts),
                read(status),
            )
        )
    return sorted(servers, key=lambda each: (each.name, each.key))
