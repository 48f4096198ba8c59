"""
How what all servers of a cluster may do together is divided among them.

Each has its part of a rate and of the jobs that may run at once, without a word to the others: all know how
many they are, and in which order they stand. Where fewer jobs may run at once than there are servers, that
is not enough: then a server may run as many as it has borrowed (L{txgear.cluster.slots}).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from txgear.policies import SERVER, Rate

if TYPE_CHECKING:
    from txgear.policies import Policy


class Share(NamedTuple):
    """
    Which one of the servers this is.

    @ivar servers: how many there are; 0 if that is not known, and nothing may start that is divided.
    @ivar place: how many stand before this one.
    """

    servers: int
    place: int


ALONE: Final = Share(1, 0)
"""That of a server that has its store for itself: it may do everything."""
NONE: Final = Share(0, 0)
"""That of one that does not know yet who the others are."""


class Part(NamedTuple):
    """
    What one server may do of what a policy allows to all.

    @ivar rate: how fast jobs may start; C{None} for no bound.
    @ivar concurrency: how many may run at once; C{None} for no bound.
    @ivar borrowed: whether that is what it has borrowed.
    """

    rate: Rate | None
    concurrency: int | None
    borrowed: bool


def part_of(policy: Policy, function: bytes, share: Share, borrowed: int) -> Part:
    """
    What one server may do.

    @param policy: the function's.
    @param share: the server's.
    @param borrowed: how many jobs it may run at once where not every server has one of those.
    """
    servers, place = ALONE if policy.scope == SERVER else share
    rate, most = policy.rate, policy.concurrency
    if not servers:
        return Part(rate, 0, False)
    if rate is not None and servers > 1:
        rate = Rate(rate.interval * servers, max(rate.burst // servers, 1))
    if not most:
        return Part(rate, None, False)
    if most < servers:
        return Part(rate, borrowed, True)
    each, rest = divmod(most, servers)
    # The rest goes to the first servers, but for each function they begin at another one.
    return Part(rate, each + ((place + crc32(function)) % servers < rest), False)
