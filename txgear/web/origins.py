"""
By which names the server is asked, and which web sites ask it.

A page of some web site can have its name lead to this machine (DNS rebinding), and then read what it likes
of a server on loopback. Its requests have its own name in C{Host}. And any page can have a browser send
requests to any address, though it does not see the answers; those that change something have its origin in
C{Origin}.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from txgear.errors import ConfigurationError
from txgear.security.addresses import parsed

SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))
"""Methods that change nothing."""

_NAME: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:/?#@\s]*)(?::([0-9]{0,5}))?", re.IGNORECASE)
_PORTS: Final = {"http": 80, "https": 443}


class Authority(NamedTuple):
    """
    The host and the port that a request is for.

    @ivar host: in lower case; an address of IPv6 without its brackets, a name without the dot at its end.
    @ivar port: C{None} where none is said.
    """

    host: str
    port: int | None


def authority(text: str) -> Authority | None:
    """
    @return: what a C{Host} header says; C{None} if it makes no sense.
    """
    # In lower case some letters beyond ASCII are letters of ASCII.
    found = _AUTHORITY.fullmatch(text) if text.isascii() else None
    if found is None:
        return None
    host, port = found.groups()
    number = int(port) if port else None
    if number is not None and number > 65535:
        return None
    return Authority(_plain(host.removeprefix("[").removesuffix("]")), number)


def _plain(host: str) -> str:
    """One form of all that are the same host."""
    host = host.lower().removesuffix(".")
    address = parsed(host)
    return host if address is None else str(address)


class Hosts:
    """
    The names by which one port may be asked.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """
        @param names: those that the operator has named, beside the addresses that the port has by itself.
        """
        self._names = frozenset(_plain(name) for name in names)

    def has(self, host: str, local: str | None) -> bool:
        """
        @param host: what a request names.
        @param local: the address that its connection has come to; C{None} for a Unix socket.
        """
        if host in self._names:
            return True
        here = None if local is None else parsed(local)
        if here is not None and host == str(here):
            return True
        if here is None or here.is_loopback:
            asked = parsed(host)
            return host == "localhost" if asked is None else asked.is_loopback
        return False


def host_name(text: str) -> str:
    """
    Check a value of C{--web-host}.

    @raise ConfigurationError: it is neither a name nor an address.
    """
    plain = text.removeprefix("[").removesuffix("]")
    try:
        ip_address(plain)
    except ValueError:
        if not (text.isascii() and _NAME.fullmatch(text)):
            raise ConfigurationError(
                f"--web-host {text}: a host's name or address is wanted, without a port"
            ) from None
    return plain.lower()


class Origin(NamedTuple):
    """Where a page comes from."""

    scheme: str
    host: str
    port: int


def origin_of(text: str) -> Origin | None:
    """
    @return: what an C{Origin} header says; C{None} for C{null} and for what makes no sense.
    """
    scheme, separator, rest = text.partition("://")
    found = authority(rest)
    if not separator or scheme.lower() not in _PORTS or found is None or not found.host:
        return None
    port = _PORTS[scheme.lower()] if found.port is None else found.port
    return Origin(scheme.lower(), found.host, port)


def named_origin(text: str) -> str:
    """
    Check a value of C{--web-origin}.

    @return: it, as browsers write it.
    @raise ConfigurationError: it is no origin.
    """
    parts = urlsplit(text) if text.isascii() else None
    found = origin_of(text)
    if parts is None or found is None or parts.path or parts.query or parts.fragment or parts.username:
        raise ConfigurationError(
            f"--web-origin {text}: an origin is wanted, such as https://gear.example.com or"
            " http://localhost:3000; without a path, and no pattern"
        )
    host = f"[{found.host}]" if ":" in found.host else found.host
    port = "" if found.port == _PORTS[found.scheme] else f":{found.port}"
    return f"{found.scheme}://{host}{port}"


class Origins:
    """
    The web sites whose pages may ask the server and see the answers, beside its own.
    """

    def __init__(self, named: Iterable[str]) -> None:
        """
        @param named: what L{named_origin} has returned.
        """
        self._named = {origin_of(each) for each in named}
        self.any = bool(self._named)

    def has(self, header: str | None) -> bool:
        """Whether a page with this C{Origin} is of one of them."""
        return header is not None and (found := origin_of(header)) is not None and found in self._named

    def may_change(self, header: str | None, site: str | None, asked: Authority | None, secure: bool) -> bool:
        """
        Whether a request may change something, by what a browser says of it. Programs say nothing.

        @param header: its C{Origin}.
        @param site: its C{Sec-Fetch-Site}.
        @param asked: what it has asked.
        @param secure: whether it has come by TLS.
        """
        if self.has(header):
            return True
        if site is not None and site.lower() not in ("same-origin", "none"):
            return False
        return header is None or (asked is not None and _is_own(origin_of(header), asked, secure))


def _is_own(origin: Origin | None, asked: Authority, secure: bool) -> bool:
    """Whether a page is of the very server that it asks. A proxy before that may have taken TLS off."""
    if origin is None or origin.host != asked.host or (secure and origin.scheme != "https"):
        return False
    return origin.port == (_PORTS[origin.scheme] if asked.port is None else asked.port)
