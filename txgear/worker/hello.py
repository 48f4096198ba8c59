"""
Who a worker is: what it says to a server, by which it is known again after a lost connection.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from socket import gethostname
from typing import Final

from txgear._version import __version__
from txgear.net.login import Login
from txgear.net.servers import Server
from txgear.protocol.constants import EXTENSION_OPTION, OPTION_REQ, SET_CLIENT_ID, WORKER_GONE, WORKER_HELLO
from txgear.protocol.hello import Hello, is_key
from txgear.protocol.packets import request

KEY_BYTES: Final = 16
"""Bytes of a worker's key, which is written as twice as many hexadecimal digits."""


def checked_key(what: str, key: str) -> str:
    """
    A key that the caller gives. No error shows anything of it.

    @param what: what the argument is called.
    @raise ValueError: it has not the form of one.
    @raise TypeError: it is no text.
    """
    if not isinstance(key, str):
        raise TypeError(f"{what} is {type(key).__name__}, not str")
    if not is_key(key):
        raise ValueError(f"{what} is not {2 * KEY_BYTES} hexadecimal digits, in small letters")
    return key


def key_at(key: str, server: str) -> str:
    """
    The key that a server is told: another one at each. What one server knows is of no use at another one; and
    a server that is named twice, by two of its names, does not take the two connections for one that has come
    back.

    @param key: the worker's; empty for none.
    @param server: the server's name, as the worker and its supervisor write it.
    @return: a key; empty where C{key} is.
    """
    if not key:
        return ""
    return hmac.digest(key.encode("ascii"), server.encode("utf-8"), "sha256")[:KEY_BYTES].hex()


def greeting(name: bytes, login: Login | None) -> list[bytes]:
    """
    The packets with which a connection begins that is to hear all that a server of this project can tell. A
    server of another kind answers with an ERROR, and all is as it would be without.

    @param name: what lists of connections call it; empty for nothing.
    @param login: what logs in before them, for which that option has been asked for already.
    """
    named = [request(SET_CLIENT_ID, name)] if name else []
    return named if login is not None else [*named, request(OPTION_REQ, EXTENSION_OPTION)]


class Identity:
    """
    Who a worker is. Its keys are shown nowhere: neither here, nor in a log or an error.
    """

    def __init__(self, key: str, id: str, group: str, runtime: str, started: float) -> None:
        """
        @param key: by which servers know it again; empty to have one made. Whoever has it can say that the
            worker is gone.
        @param id: what it is called in lists.
        @param group: the name of those that are like it; empty for none.
        @param runtime: the key of the supervisor that has started it; empty for none.
        @param started: since when it is there, in seconds since 1970.
        @raise ValueError: a key has not the form of one, or a name holds a control character.
        @raise TypeError: an argument is no text.
        """
        if not isinstance(group, str):
            raise TypeError(f"group is {type(group).__name__}, not str")
        if not group.isprintable():
            raise ValueError("group holds a control character")
        self._said = Hello(
            key=checked_key("key", key) if key else secrets.token_hex(KEY_BYTES),
            id=id,
            version=f"txgear {__version__}",
            runtime=checked_key("runtime", runtime) if runtime else "",
            group=group,
            started=started,
        )

    def packet(self, server: str, jobs: Mapping[bytes, int], parts: Collection[bytes] = ()) -> bytes:
        """
        The packet that says it.

        @param server: the name of the server that it goes to.
        @param jobs: the jobs from there that the worker still has, and those whose result the server may not
            have got, by handle: which attempt at each.
        @param parts: those of them of which the server has data or warnings.
        """
        said = replace(
            self._said,
            key=key_at(self._said.key, server),
            runtime=key_at(self._said.runtime, server),
            host=gethostname(),
            pid=os.getpid(),
            jobs=jobs,
            parts=parts,
        )
        return request(WORKER_HELLO, said.to_bytes())

    def farewell(self, server: str, why: str) -> bytes:
        """
        The packet by which the worker gives up what it has of a server.

        @param server: the server's name.
        @param why: the reason, in words.
        """
        return request(WORKER_GONE, key_at(self._said.key, server).encode("ascii"), why.encode("utf-8"))


class Introduction:
    """
    How a worker begins at each of its servers, and by which name each gets its key.

    @ivar login: logs in before anything else is said; C{None} without a token.
    """

    def __init__(
        self, servers: Iterable[Server], identity: Identity, client_id: bytes, login: Login | None
    ) -> None:
        """
        @param servers: all that it works at.
        @param identity: who the worker is.
        @param client_id: its name in lists of connections; empty for none.
        """
        self.login = login
        self._identity = identity
        self._client_id = client_id
        # One server that is given twice has two connections, and takes the second for another worker.
        self._named: dict[Server, str] = {}
        for server in servers:
            earlier = sum(other.name == server.name for other in self._named)
            self._named[server] = f"{server.name} {earlier + 1}" if earlier else server.name

    def greeting(self) -> list[bytes]:
        """The packets with which each connection begins."""
        return greeting(self._client_id, self.login)

    def hello(self, server: Server, jobs: Mapping[bytes, int], parts: Collection[bytes]) -> bytes:
        """As L{Identity.packet}, for one of the servers."""
        return self._identity.packet(self._named[server], jobs, parts)

    def farewell(self, server: Server, why: str) -> bytes:
        """As L{Identity.farewell}, for one of the servers."""
        return self._identity.farewell(self._named[server], why)
