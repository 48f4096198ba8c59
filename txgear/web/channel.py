"""
The connections of the web.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from txgear.server.httpchannel import HttpChannel
from txgear.server.jobserver import JobServer
from txgear.server.sockets import state_of
from txgear.web.answers import PROBLEM_JSON, Problem
from txgear.web.origins import Hosts
from txgear.web.problems import details
from txgear.web.request import SECURITY, Site, WebRequest


class WebChannel(HttpChannel):
    """
    A connection of the web.

    @ivar web: what it is a connection to.
    @ivar hosts: by which names that may be asked here.
    """

    kind = "web"
    requestFactory = WebRequest  # type: ignore[assignment]

    def __init__(self, web: Site, server: JobServer, hosts: Hosts, state_of: Callable[[Any], int]) -> None:
        super().__init__(server, state_of)
        self.web = web
        self.hosts = hosts

    @property
    def request_line(self) -> tuple[bytes, bytes, bytes]:
        """Method, target and version of the request that comes in."""
        return self._command, self._path, self._version

    @property
    def local_address(self) -> str | None:
        """The address to which the connection has come; C{None} for a Unix socket."""
        host: Any = self.transport.getHost()
        return getattr(host, "host", None)

    def lineReceived(self, line: bytes) -> None:
        """Take a line. One that goes on with the header before is refused: proxies read it in two ways."""
        if line[:1] in (b" ", b"\t") and hasattr(self, "_command"):
            self._respondToBadRequestAndDisconnect()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Take a line that is too long."""
        self._refuse_bytes(self._too_long())

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802
        """Answer what Twisted has found to be no request."""
        too_many = self._receivedHeaderCount > self.maxHeaders
        if too_many or self._receivedHeaderSize + len(self._buffer) > self.totalHeadersSize:
            self._refuse_bytes(self._too_long())
        else:
            text = "This is no request of HTTP/1.0 or HTTP/1.1, or its headers contradict each other"
            self._refuse_bytes(Problem(400, "bad_request", text))

    def _too_long(self) -> Problem:
        if hasattr(self, "_command"):
            return Problem(431, "headers_too_large", "The headers are too many, or too large")
        return Problem(414, "uri_too_long", "The request line is too long")

    def _refuse_bytes(self, problem: Problem) -> None:
        described = details(problem, f"urn:txgear:request:{self.web.next_id()}")
        headers = [
            (b"Content-Type", PROBLEM_JSON.encode("ascii")),
            (b"Cache-Control", b"no-store"),
            *SECURITY,
        ]
        status = f"{problem.status} {described['title']}".encode("ascii")
        self.refuse(status, headers, msgspec.json.encode(described))


class WebFactory(Factory):
    """Makes a L{WebChannel} for each connection of one port."""

    noisy = False

    def __init__(
        self,
        web: Site,
        server: JobServer,
        names: Iterable[str] = (),
        state_of: Callable[[Any], int] = state_of,
        stays: bool = False,
    ) -> None:
        """
        @param names: by which names the port may be asked, beside the addresses that it has.
        @param stays: see L{HttpChannel.stays<txgear.server.httpchannel.HttpChannel>}.
        @param state_of: looks at a connection without reading from it; see L{txgear.server.sockets.state_of}.
        """
        self._web = web
        self._server = server
        self._hosts = Hosts(names)
        self._state_of = state_of
        self._stays = stays

    def buildProtocol(self, addr: IAddress | None) -> WebChannel:
        # Its factory stays unset: twisted.web would ask that for an access log.
        channel = WebChannel(self._web, self._server, self._hosts, self._state_of)
        channel.stays = self._stays
        return channel
