"""
What a server knows of the cluster that it is in: the other servers, their parts, and what they say.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

SILENT_SECONDS: Final = 4.0
"""
Seconds without a sign of life after which a server is shown as silent. One that lives gives a sign each two
seconds, and is looked at each second.
"""


class PartShown(NamedTuple):
    """
    A part of the store.

    @ivar part: its number.
    @ivar name: what its server is called; empty where nobody has it.
    @ivar address: where that is reached; empty where it was not said.
    @ivar term: how often it was taken.
    @ivar beat: how often it has moved since.
    @ivar seconds: for how long it had been seen standing still at the last look; 0.0 where that is not known.
    @ivar is_ours: whether it is this server's.
    """

    part: int
    name: str
    address: str
    term: int
    beat: int
    seconds: float
    is_ours: bool


class Status(NamedTuple):
    """
    What a server says of itself. What it does not say, or says in a way that makes no sense, is C{None}.

    @ivar version: its version.
    @ivar uptime: seconds since it started.
    @ivar queued: jobs that have not ended and that no worker has.
    @ivar running: jobs that workers have.
    @ivar workers: how many there are, as counted each ten seconds.
    @ivar connections: how many there are.
    @ivar rate: jobs that ended there in a second, of late.
    @ivar lag: seconds by which its reactor was late at worst, in the last minute.
    @ivar lease: seconds without a sign of life after which it takes over the parts of others.
    @ivar trust: seconds for which it could still rely on its parts without another sign.
    @ivar draining: whether it is about to end, and takes no new jobs.
    """

    version: str | None = None
    uptime: float | None = None
    queued: int | None = None
    running: int | None = None
    workers: int | None = None
    connections: int | None = None
    rate: float | None = None
    lag: float | None = None
    lease: float | None = None
    trust: float | None = None
    draining: bool | None = None


class ServerShown(NamedTuple):
    """
    A server that has parts.

    @ivar key: what it is known by, in all its parts and until it ends; empty for one that knows of no others.
    @ivar name: what it is called.
    @ivar address: where it is reached; empty where it was not said.
    @ivar is_ours: whether it is this one.
    @ivar seconds: for how long it had given no sign of life at the last look; 0.0 where that is not known.
    @ivar parts: its parts, in their order.
    @ivar status: what it says of itself.
    """

    key: str
    name: str
    address: str
    is_ours: bool
    seconds: float
    parts: tuple[PartShown, ...]
    status: Status

    @property
    def is_silent(self) -> bool:
        """Whether it has given no sign of life for L{SILENT_SECONDS}."""
        return not self.is_ours and self.seconds >= SILENT_SECONDS


class Cluster(Protocol):
    """
    A server's membership, for what shows it.

    @ivar lease_seconds: seconds without a sign of life after which a server's parts are taken.
    @ivar takeovers: how many parts it has taken so far, whether or not somebody had them.
    @ivar silent: of these, how many were of servers that were not heard of any more.
    @ivar failures: looks at the parts that have failed so far.
    """

    lease_seconds: float
    takeovers: int
    silent: int
    failures: int

    @property
    def looked(self) -> float:
        """Seconds since the last look at the parts that the database has answered."""

    def parts(self) -> list[PartShown]:
        """All parts, as they were seen last, in their order."""

    def servers(self) -> list[ServerShown]:
        """The servers that have parts, as they were seen last, by their names."""
