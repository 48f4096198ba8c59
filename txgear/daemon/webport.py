"""
The port of the web: where it is to be, and how it is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IListeningPort

from txgear.errors import ConfigurationError
from txgear.net.listeners import ListenAddress, listen_addresses, shown_address
from txgear.web.origins import authority, host_name, named_origin

WEB: Final = "tcp:4780:interface=127.0.0.1"
"""Where the web is if nobody says another place: for this machine only."""

TLS: Final = "tls:"
"""What stands before a place whose port has the server's TLS."""


class WebPlace(NamedTuple):
    """
    Where the web is to be.

    @ivar places: the addresses of the one that was named.
    @ivar tls: whether it has TLS.
    @ivar names: the host's name, where one was named.
    @ivar optional: whether the server goes on without it, as nobody has asked for it by name.
    """

    places: list[ListenAddress]
    tls: bool
    names: tuple[str, ...]
    optional: bool


def has_tls(options: Mapping[str, Any]) -> bool:
    """Whether the web is to have the server's TLS."""
    return (options.get("web") or "").startswith(TLS)


def web_place(options: Mapping[str, Any]) -> WebPlace | None:
    """
    Read the option C{web}.

    @return: C{None} where the web is off.
    @raise ConfigurationError: it makes no sense.
    """
    text = options["web"]
    if text == "":
        return None
    if text is None:
        return WebPlace(listen_addresses([WEB]), False, (), True)
    if text.startswith("ssl:"):
        raise ConfigurationError(
            f"--web {text}: write tls:HOST:PORT, with --tls-cert and --tls-key: those files are renewed"
        )
    if text.startswith(("http:", "https:")):
        where = text.partition("//")[2].strip("/") or "127.0.0.1:4780"
        tls = TLS if text.startswith("https:") else ""
        raise ConfigurationError(f"--web {text}: it takes no URL; write {tls}{where}")
    if (port := text.removeprefix(TLS).removeprefix(":")).isdecimal():
        raise ConfigurationError(f"--web {text}: a host is wanted as well, as 127.0.0.1:{port}")
    where = text.removeprefix(TLS)
    try:
        places = listen_addresses([where]) if where else []
    except ConfigurationError as error:
        raise ConfigurationError(f"--web {text}: {error}") from error
    named = authority(where)
    if not places or any(place.address is not None and place.port is None for place in places):
        raise ConfigurationError(f"--web {text}: a port is wanted as well, as 127.0.0.1:4780")
    names = () if named is None or places[0].address is None else (named.host,)
    return WebPlace(places, text.startswith(TLS), names, False)


def hosts(options: Mapping[str, Any]) -> tuple[str, ...]:
    """
    The values of C{web-host}.

    @raise ConfigurationError: one makes no sense.
    """
    return tuple(host_name(each) for each in options["web-host"])


def origins(options: Mapping[str, Any]) -> tuple[str, ...]:
    """
    The values of C{web-origin}.

    @raise ConfigurationError: one makes no sense.
    """
    return tuple(named_origin(each) for each in options["web-origin"])


def is_local(port: IListeningPort) -> bool:
    """Whether only this machine can reach an open port."""
    address: Any = port.getHost()
    if isinstance(address, UNIXAddress):
        return True
    try:
        return ip_address(address.host).is_loopback
    except (AttributeError, ValueError):
        return False


def url(port: IListeningPort, tls: bool) -> str:
    """Where an open port is, for people."""
    if isinstance(port.getHost(), UNIXAddress):
        return f"unix:{shown_address(port)}"
    return f"http{'s' if tls else ''}://{shown_address(port)}/"
