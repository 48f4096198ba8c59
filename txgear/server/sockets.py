"""
The sockets under connections: what is set on them, and what can be seen without reading of them.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.interfaces import ISystemHandle
from twisted.protocols.policies import ProtocolWrapper

HERE: Final = 0
"""The peer may still send."""
ENDED: Final = 1
"""The peer sends no more; what it has sent before may still be unread. It may still read."""
GONE: Final = 2
"""There is no connection any more."""

_RDHUP: Final[int] = getattr(select, "POLLRDHUP", 0)
"""Of Linux. Elsewhere an end of input that has unread data before it is not seen."""


def socket_of(transport: Any) -> socket.socket | None:
    """The socket of a connection, under TLS and other wrappers; C{None} where there is none."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    if not ISystemHandle.providedBy(transport):
        return None
    sock: Any = transport.getHandle()
    return sock  # type: ignore[no-any-return]


def host_of(transport: Any) -> str:
    """The address that a connection comes from."""
    return str(getattr(transport.getPeer(), "host", "-"))


def before_first_data(protocol: Any, call: Callable[[], object]) -> None:
    """Call something once, just before a protocol gets its first data."""

    def data_received(data: bytes) -> None:
        del protocol.dataReceived
        call()
        protocol.dataReceived(data)

    protocol.dataReceived = data_received


@dataclass(frozen=True)
class KeepAlive:
    """
    TCP keep-alive of accepted connections. 0 leaves the system's own figure.

    @ivar idle: seconds of silence before the first probe.
    @ivar interval: seconds between probes.
    @ivar count: probes without an answer after which the connection is dead.
    """

    idle: int = 0
    interval: int = 0
    count: int = 0

    def apply(self, transport: Any) -> None:
        """
        Set it on a TCP transport. Probes are always on, as in the reference: nothing else notices that a
        machine was switched off.
        """
        transport.setTcpKeepAlive(True)
        sock = socket_of(transport)
        for option, value in (
            ("TCP_KEEPIDLE", self.idle),
            ("TCP_KEEPINTVL", self.interval),
            ("TCP_KEEPCNT", self.count),
        ):
            if value and sock is not None and hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def state_of(transport: Any) -> int:
    """
    Look at a connection without reading from it.

    The reactor tells of the end of a connection that it reads or writes. One that it does neither with, as
    more has come than is wanted for now, has to be looked at.

    @return: L{HERE}, L{ENDED} or L{GONE}; L{HERE} where there is no socket to look at.
    """
    sock = socket_of(transport)
    if sock is None or sock.fileno() < 0:
        return HERE
    poll = select.poll()
    poll.register(sock, _RDHUP)
    for _, events in poll.poll(0):
        return ENDED if events == _RDHUP else GONE
    return HERE
