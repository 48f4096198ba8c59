"""
What others may provide to a txgear server.

Light on purpose: the plugin cache pickles these interfaces, and every plugin
imports them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from twisted.internet.interfaces import IProtocolFactory

    from txgear.jobserver import JobServer


class IProtocolModule(Interface):
    """
    What a port speaks.

    A module that provides this and C{twisted.plugin.IPlugin} is found in
    C{txgear.plugins}, which other distributions may extend by a folder
    C{txgear/plugins} (without an C{__init__.py}) of their own.
    """

    name: str = Attribute("The word for C{--protocol}: lower-case letters, digits and dashes.")

    description: str = Attribute("One line for the help.")

    parameters: list[tuple[str, str | None, Any, str, Any]] = Attribute(
        """
        The options it adds to the command line, each as in C{optParameters}
        of L{twisted.python.usage.Options}: long name, short name or C{None},
        default, help, and a callable that turns the text into a value or
        raises C{ValueError}. Long names start with the module's own name, so
        that they meet nobody else's.
        """
    )

    port_option: str = Attribute("The option that has the number of its TCP port.")

    def factory(server: JobServer, options: Mapping[str, Any]) -> IProtocolFactory:
        """
        Make what listens on the module's ports; called once, before they open.

        @param server: the broker, the outbox, the clock and the settings.
        @param options: the whole command line, by long names.
        @return: a protocol factory.
        @raise txgear.errors.ConfigurationError: the options make no sense.
        """
