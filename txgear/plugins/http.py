"""
Jobs over HTTP, as gearmand's protocol module of this name has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.plugin import IPlugin
from zope.interface import implementer

from txgear.interfaces import IJobServer, ITlsProtocolModule
from txgear.server.values import COERCIONS, HTTP_PORT

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocolFactory


@implementer(IPlugin, ITlsProtocolModule)
class Http:
    """A request is a job, its response the result."""

    name = "http"
    description = "jobs over HTTP, by gearmand's requests and headers"
    parameters: ClassVar[list[tuple[str, str | None, Any, str, Any]]] = [
        ("http-port", None, HTTP_PORT, "TCP port of HTTP, with --protocol http", COERCIONS["http-port"]),
        ("http-tls-port", None, None, "TCP port of HTTP over TLS", COERCIONS["http-tls-port"]),
    ]
    port_option = "http-port"
    tls_port_option = "http-tls-port"

    def factory(self, server: IJobServer, options: Mapping[str, Any]) -> IProtocolFactory:
        """Part of L{IProtocolModule}."""
        from txgear.server.http import HttpFactory
        from txgear.server.jobserver import JobServer

        # It is a part of the server, which uses more of it than others may.
        assert isinstance(server, JobServer)
        return HttpFactory(server)


http = Http()
