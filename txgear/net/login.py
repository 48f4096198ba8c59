"""
The token of a client or a worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from OpenSSL.SSL import VERIFY_PEER, Connection
from twisted.internet.abstract import isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import ISSLTransport, ITransport
from twisted.logger import Logger

from txgear.protocol.constants import LOGIN
from txgear.protocol.packets import request

if TYPE_CHECKING:
    from txgear.net.servers import Server


class Login:
    """
    Logs connections in, all those of one client or worker.

    The token stands in nothing that is shown: neither here, nor in a log or an error.

    @ivar packet: the packet that logs in.
    """

    log = Logger()

    def __init__(self, token: bytes) -> None:
        self.packet = request(LOGIN, token)
        self._warned: set[Server] = set()

    def begin(self, server: Server, transport: ITransport) -> None:
        """
        The token is about to be sent: warn, once for a server, where others can read it on the way.
        """
        if server not in self._warned and (why := _exposed(transport)):
            self._warned.add(server)
            self.log.warn("the token goes to {server} {why}", server=server.name, why=why)


def _exposed(transport: ITransport) -> str:
    """How others can read what is sent here; empty if they cannot."""
    if ISSLTransport.providedBy(transport):
        # A caller's own endpoint may do as it likes.
        handle: Connection = transport.getHandle()  # type: ignore[attr-defined]
        verifies = handle.get_verify_mode() & VERIFY_PEER
        return "" if verifies else "over TLS that verifies no certificate: whoever answers there has it"
    peer = transport.getPeer()
    if not isinstance(peer, (IPv4Address, IPv6Address)) or _is_loopback(peer.host):
        return ""
    return "without TLS: whoever sees the packets on the way can use it"


def _is_loopback(host: str) -> bool:
    host = host.removeprefix("::ffff:")
    return host == "::1" if isIPv6Address(host) else host.startswith("127.")
