"""
Settings of a server, for all its ports.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from zope.interface import implementer

from txgear.broker.rules import QUEUE_MEMORY, UNLIMITED, Rules
from txgear.interfaces import IServerSettings
from txgear.protocol.constants import MAX_PACKET
from txgear.server.budget import UNFINISHED_MEMORY
from txgear.server.sockets import KeepAlive

WORKER_GRACE: Final = 10.0
"""Seconds, where the operator says nothing else: to notice a lost connection and make another takes a few."""


@implementer(IServerSettings)
@dataclass(frozen=True)
class Settings:
    """
    What the operator decided, for all ports.

    @ivar prefix: what job handles start with.
    @ivar retries: see L{Broker}.
    @ivar wakeups: see L{Broker}.
    @ivar exceptions: whether every connection starts with the C{exceptions} option on.
    @ivar max_packet: bytes of the largest packet body that is taken.
    @ivar unfinished_memory: bytes of all peers' packets that have not arrived whole.
    @ivar allow_shutdown: whether the text command C{shutdown} is obeyed.
    @ivar level: gearmand's name of the level that is logged.
    @ivar keep_alive: for accepted TCP connections.
    @ivar store_timeout: seconds that a submit waits for the store at the most.
    @ivar queue_memory: bytes that queued jobs and their workloads take in memory; the store has all.
    @ivar can_do_timeout_unit: one of L{txgear.server.values.UNITS}, for the CAN_DO_TIMEOUT of peers that
        speak the classic protocol only; for all others it is the protocol's.
    @ivar worker_grace: seconds for which the jobs of a worker that has said who it is stay its own when its
        connection is lost; 0.0 for not at all.
    @ivar refuse_by_closing: whether a submit of such a peer is refused by the end of its connection.
    """

    prefix: bytes = b"H:localhost"
    retries: int = UNLIMITED
    wakeups: int = 0
    exceptions: bool = False
    max_packet: int = MAX_PACKET
    unfinished_memory: int = UNFINISHED_MEMORY
    allow_shutdown: bool = False
    level: str = "ERROR"
    keep_alive: KeepAlive = field(default_factory=KeepAlive)
    store_timeout: float = 5.0
    queue_memory: int = QUEUE_MEMORY
    can_do_timeout_unit: str = "milliseconds"
    worker_grace: float = WORKER_GRACE
    refuse_by_closing: bool = False

    @property
    def rules(self) -> Rules:
        """What of it the broker goes by."""
        return Rules(self.prefix, self.retries, self.wakeups, self.queue_memory, self.worker_grace)
