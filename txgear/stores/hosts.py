"""
The hosts in a store's URL: several, of which one is the primary, or any node may do.

C{postgresql://user@a:5432,b:5433/database}, as libpq takes it, and likewise for MySQL; and what SQLAlchemy
takes for PostgreSQL: C{?host=a,b&port=5432,5433}, C{?host=a:5432&host=b:5433}.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv6Address
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote

TIMEOUT: Final = 5.0
"""Default of the seconds in which a database has to answer."""

MOST_HOSTS: Final = 32
"""Hosts of one URL: each has its share of the time that connecting may take."""

PARTS: Final = re.compile(
    r"(?P<head>[\w+]+://(?:[^:/]*(?::[^@]*)?@)?)(?P<hosts>[^/?]*)(?P<tail>.*)", re.DOTALL
)
"""A URL as SQLAlchemy reads it, with more than one host: a password may have any sign but an at sign."""

NAME: Final = re.compile(r"[^\s\x00-\x1f\x7f,:/@?#\[\]\\]+")
"""A host's name or its IPv4 address: the resolver knows what is one."""

QueryValue: TypeAlias = "str | tuple[str, ...]"


class Host(NamedTuple):
    """
    Where a database server is.

    @ivar name: a name, an address, or a folder with a socket; C{None} for what the driver makes of that.
    @ivar port: C{None} for the usual one.
    """

    name: str | None
    port: int | None

    def __str__(self) -> str:
        name = self.name or ""
        if ":" in name:
            name = f"[{name}]"
        return name if self.port is None else f"{name}:{self.port}"

    @property
    def arguments(self) -> dict[str, str | int]:
        """What of it is to be said to a driver's C{connect}."""
        return {name: value for name, value in (("host", self.name), ("port", self.port)) if value}

    @property
    def is_folder(self) -> bool:
        """Whether it is a place of this machine, and no name in a network."""
        return bool(self.name) and str(self.name)[0] in "/@"


class HostsError(ValueError):
    """Hosts that make no sense; the text says why, in words that may be shown to anybody."""


def split(url: str) -> tuple[str, list[Host]]:
    """
    Take the hosts out of a URL.

    @return: the URL without them, and the hosts; none where it names none.
    @raise HostsError: they make no sense.
    """
    found = PARTS.fullmatch(url)
    if found is None:
        raise HostsError("it is no URL")
    head, hosts, tail = found.group("head", "hosts", "tail")
    return f"{head}{tail}", _hosts(hosts.split(",")) if hosts else []


def with_query(hosts: Sequence[Host], query: Mapping[str, QueryValue]) -> list[Host]:
    """
    The hosts of a URL, with what stands behind its question mark.

    @param hosts: those before the path; others behind the question mark take their place.
    @return: at least one; with no name where there are none.
    @raise HostsError: they make no sense.
    """
    names, ports = _values(query, "host"), _values(query, "port")
    found = _hosts(names) if names else list(hosts) or [Host(None, None)]
    if not ports:
        return found
    if any(host.port is not None for host in found):
        raise HostsError("its ports stand twice")
    numbers = [_port(port) for port in ports]
    if len(numbers) == 1:
        numbers *= len(found)
    if len(numbers) != len(found):
        raise HostsError(f"it has {len(found)} hosts and {len(numbers)} ports")
    return [Host(host.name, port) for host, port in zip(found, numbers, strict=True)]


def shown(hosts: Sequence[Host]) -> tuple[str, str]:
    """Hosts as a URL has them: what stands before the path, and what stands behind the question mark."""
    folders = [host for host in hosts if host.is_folder]
    if len(hosts) == 1 and folders:
        # It is on this machine.
        return "", ""
    text = ",".join(map(str, hosts))
    return ("", f"?host={text}") if folders else (text, "")


def _values(query: Mapping[str, QueryValue], key: str) -> list[str]:
    found = query.get(key, ())
    values = (found,) if isinstance(found, str) else found
    return [part for value in values for part in value.split(",")]


def _hosts(parts: Iterable[str]) -> list[Host]:
    hosts = [_host(part) for part in parts]
    if len(hosts) > MOST_HOSTS:
        raise HostsError(f"it has {len(hosts)} hosts, more than {MOST_HOSTS}")
    if len(set(hosts)) < len(hosts):
        raise HostsError("one of its hosts stands twice")
    return hosts


def _host(part: str) -> Host:
    if not part:
        raise HostsError("one of its hosts is empty")
    if part[:3].upper() == "%2F":
        # As libpq has a folder before the path.
        part = unquote(part)
    if part[0] in "/@":
        return Host(part, None)
    if part[0] == "[":
        address, bracket, rest = part[1:].partition("]")
        if not bracket or (rest and rest[0] != ":"):
            raise HostsError("one of its hosts has a bracket too much")
        return Host(_address(address), _port(rest[1:]) if rest else None)
    if part.count(":") > 1:
        return Host(_address(part), None)
    name, colon, port = part.partition(":")
    if not NAME.fullmatch(name):
        raise HostsError("one of its hosts is no name and no address")
    return Host(name, _port(port) if colon else None)


def _address(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError as error:
        raise HostsError("one of its hosts is no IPv6 address") from error


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise HostsError("one of its ports is no number from 1 to 65535")
    return int(text)
