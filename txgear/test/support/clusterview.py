"""
A cluster as a server shows it, without one.
"""

from __future__ import annotations

from typing import Final

from txgear.server.clusterview import PartShown, ServerShown, Status

STATUS: Final = Status(
    version="1.2",
    uptime=90061,
    queued=12,
    running=3,
    workers=4,
    connections=9,
    rate=5.5,
    lag=0.0012,
    lease=8.0,
    trust=6.2,
    draining=False,
)


def server_shown(
    name: str,
    *numbers: int,
    address: str = "",
    own: bool = False,
    seconds: float = 0.5,
    status: Status = STATUS,
) -> ServerShown:
    """
    A server.

    @param numbers: of its parts.
    """
    parts = tuple(PartShown(number, name, address, 1, 40 + number, seconds, own) for number in numbers)
    return ServerShown(f"{numbers[0]:032x}", name, address, own, seconds, parts, status)


class FakeCluster:
    """
    What a server shows.

    @ivar shown: the servers.
    @ivar free: parts that nobody has.
    """

    lease_seconds = 8.0

    def __init__(self, *shown: ServerShown, free: tuple[PartShown, ...] = ()) -> None:
        self.shown = list(shown)
        self.free = free
        self.takeovers = self.silent = self.failures = 0
        self.looked = 0.25

    def servers(self) -> list[ServerShown]:
        return self.shown

    def parts(self) -> list[PartShown]:
        return sorted([*self.free, *(part for each in self.shown for part in each.parts)])


def free_part(number: int, seconds: float = 1.0) -> PartShown:
    """A part that nobody has."""
    return PartShown(number, "", "", 2, 12, seconds, is_ours=False)
