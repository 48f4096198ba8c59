"""
Which ports a server opens: what is spoken, where, and whether by TLS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from txgear.interfaces import IProtocolModule, ITlsProtocolModule
from txgear.net.listeners import ListenAddress, listen_addresses, tls_addresses


class Port(NamedTuple):
    """
    A port that is to be opened.

    @ivar module: what it speaks.
    @ivar place: where it is.
    @ivar number: its TCP port, where the place has none of its own.
    @ivar tls: whether it speaks that over TLS.
    """

    module: IProtocolModule
    place: ListenAddress
    number: int
    tls: bool


def tls_port(module: IProtocolModule, options: Mapping[str, Any]) -> int | None:
    """The number of a module's own port for TLS; C{None} if it has none, or none is wanted."""
    return options[module.tls_port_option] if ITlsProtocolModule.providedBy(module) else None


def wanted_ports(modules: Sequence[IProtocolModule], options: Mapping[str, Any]) -> Iterator[Port]:
    """
    The ports of the options C{listen}, C{tls-listen}, and those of the modules.

    Without C{listen} the plain ports are on loopback; but what has a port with TLS has no plain one then.

    @raise ConfigurationError: a place makes no sense.
    """
    plain = listen_addresses(options["listen"])
    secure = tls_addresses(options["tls-listen"])
    for module in modules:
        # What has a port of its own is the Gearman protocol's.
        is_gear = module.port_option == "port"
        number = tls_port(module, options)
        if is_gear:
            over_tls = [Port(module, place, 0, True) for place in secure]
        elif number is not None:
            hosts = list(dict.fromkeys(place.address for place in secure if place.address is not None))
            places = [ListenAddress(host) for host in hosts] or listen_addresses([])
            over_tls = [Port(module, place, number, True) for place in places]
        else:
            over_tls = []
        if options["listen"] or not over_tls:
            places = [
                place for place in plain if is_gear or (place.address is not None and place.port is None)
            ]
            for place in places or listen_addresses([]):
                yield Port(module, place, options[module.port_option], False)
        yield from over_tls
