"""
The Gearman protocol: binary packets and text commands on one port.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.plugin import IPlugin
from zope.interface import implementer

from txgear.interfaces import IProtocolModule

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocolFactory

    from txgear.server.jobserver import JobServer


@implementer(IPlugin, IProtocolModule)
class Gear:
    """The one protocol that every txgear server speaks."""

    name = "gear"
    description = "Gearman's own protocol, always spoken"
    parameters: ClassVar[list[tuple[str, str | None, Any, str, Any]]] = []
    port_option = "port"

    def factory(self, server: JobServer, options: Mapping[str, Any]) -> IProtocolFactory:
        """Part of L{IProtocolModule}."""
        from txgear.server.gear import GearFactory

        return GearFactory(server)


gear = Gear()
