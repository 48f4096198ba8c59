"""
The Gearman protocol: binary packets and text commands on one port.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.plugin import IPlugin
from zope.interface import implementer

from txgear.interfaces import IJobServer, IProtocolModule

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocolFactory


@implementer(IPlugin, IProtocolModule)
class Gear:
    """The one protocol that every txgear server speaks."""

    name = "gear"
    description = "Gearman's own protocol, always spoken"
    parameters: ClassVar[list[tuple[str, str | None, Any, str, Any]]] = []
    port_option = "port"

    def factory(self, server: IJobServer, options: Mapping[str, Any]) -> IProtocolFactory:
        """Part of L{IProtocolModule}."""
        from txgear.server.gear import GearFactory
        from txgear.server.jobserver import JobServer

        # It is a part of the server, which uses more of it than others may.
        assert isinstance(server, JobServer)
        return GearFactory(server)


gear = Gear()
