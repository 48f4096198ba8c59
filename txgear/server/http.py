"""
The HTTP port for jobs: a request is a job, its response is the result.

Every path is a function's name, so this is L{twisted.web.http} without resources; see
L{txgear.server.httprequest}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from txgear.server.httpchannel import HttpChannel
from txgear.server.httprequest import JobRequest
from txgear.server.jobserver import JobServer
from txgear.server.sockets import state_of


class JobChannel(HttpChannel):
    """A connection whose requests are jobs."""

    requestFactory = JobRequest  # type: ignore[assignment]


class HttpFactory(Factory):
    """Makes a L{JobChannel} for each connection of one port."""

    noisy = False

    def __init__(self, server: JobServer, state_of: Callable[[Any], int] = state_of) -> None:
        """
        @param state_of: looks at a connection without reading from it; see L{txgear.server.sockets.state_of}.
        """
        self._server = server
        self._state_of = state_of

    def buildProtocol(self, addr: IAddress | None) -> JobChannel:
        # Its factory stays unset: twisted.web would ask that for an access log.
        return JobChannel(self._server, self._state_of)
