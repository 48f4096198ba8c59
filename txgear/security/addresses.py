"""
Ranges of addresses, and whose they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Range: TypeAlias = "IPv4Network | IPv6Network | str"
"""A network of addresses, or L{UNIX}."""

UNIX: Final = "unix"
"""Stands for all peers that come by a Unix socket: the file system has let them in."""

NO_HOST: Final = "-"
"""The address of such a peer, in lists and logs."""


_MAPPED: Final = IPv6Network("::ffff:0:0/96")
"""IPv4 in the form of IPv6. A peer's address is never looked up like this."""


def network(text: str) -> IPv4Network | IPv6Network:
    """
    @param text: a network, or an address alone, as an operator writes it.
    @raise ValueError: it is none of these; the text says what may have been meant.
    """
    found = ip_network(text, strict=False)
    if ip_address(text.partition("/")[0]) != found.network_address:
        raise ValueError(f"this network is written {found}")
    if isinstance(found, IPv6Network) and found.subnet_of(_MAPPED):
        raise ValueError("IPv4 is written without ::ffff:")
    return found


def parsed(address: str) -> IPv4Address | IPv6Address | None:
    """
    @param address: an address as a transport has it.
    @return: an IPv4 address also for one that is written as IPv6; C{None} for what is no IP address.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return None
    return plain(found)


def plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An address of IPv4 as such, where it stands in one of IPv6: lists and rules have it that way."""
    return getattr(address, "ipv4_mapped", None) or address


class Ranges:
    """
    Whose an address is: of all ranges that it is in the smallest counts, so their order says nothing.
    """

    def __init__(self, ranges: Iterable[tuple[Range, str]]) -> None:
        """
        @param ranges: each with a name; no two are the same.
        """
        self._unix: str | None = None
        found: dict[tuple[int, int], dict[int, str]] = {}
        for range_, name in ranges:
            if isinstance(range_, str):
                self._unix = name
                continue
            host_bits = range_.max_prefixlen - range_.prefixlen
            of_size = found.setdefault((range_.version, host_bits), {})
            of_size[int(range_.network_address) >> host_bits] = name
        # The smallest first.
        self._sizes = sorted(found.items())

    def find(self, address: str) -> str | None:
        """
        @param address: as a transport has it.
        @return: the name of the smallest range that the address is in.
        """
        if address == NO_HOST:
            return self._unix
        if not self._sizes or (host := parsed(address)) is None:
            return None
        version, number = host.version, int(host)
        for (of_version, host_bits), names in self._sizes:
            if of_version == version and (name := names.get(number >> host_bits)) is not None:
                return name
        return None
