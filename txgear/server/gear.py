"""
The Gearman port: the table of all requests, the requests that any peer may make, and the factory.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from txgear.broker.model import Reply
from txgear.errors import AccessDenied, InvalidMagic, InvalidPacket, ServerError, UnknownOption
from txgear.protocol import textlines
from txgear.protocol.constants import (
    ECHO_REQ,
    ECHO_RES,
    EXCEPTIONS_OPTION,
    EXTENSION_OPTION,
    LEAVING_OPTION,
    LOGGED_IN,
    LOGIN,
    MALFORMED,
    MAX_CLIENT_ID,
    OPTION_REQ,
    OPTION_RES,
    SET_CLIENT_ID,
    SWITCH_HTTP,
    SWITCHED_HTTP,
    TEXT,
    WORKER_HELLO,
    WRONG_MAGIC,
)
from txgear.protocol.packets import Data, response
from txgear.security.tokens import without_secrets
from txgear.server import textcommands
from txgear.server.clientrequests import CLIENT_REQUESTS
from txgear.server.extension import Extension
from txgear.server.gearconnection import LOOK_SHIFT, GearConnection, Request, Switched
from txgear.server.jobserver import JobServer
from txgear.server.listings import gather
from txgear.server.turns import LOOK_EVERY, Steps
from txgear.server.unfinished import Unfinished
from txgear.server.workerrequests import WORKER_REQUESTS

MUCH: Final = (LOOK_EVERY + 1) << LOOK_SHIFT
"""Bytes for which an answer to a text command counts at the least, as each may take long."""


TOKEN_PREFIX: Final = b"token="
"""What a SET_CLIENT_ID begins with that brings a token; a semicolon and the client id follow it."""
TO_IDENTIFY: Final = frozenset(
    (ECHO_REQ, OPTION_REQ, SET_CLIENT_ID, LOGIN, SWITCH_HTTP, MALFORMED, WRONG_MAGIC)
)
"""What a peer may send before it has identified itself."""


def _echo(connection: GearConnection, data: Data) -> None:
    connection.send(connection.peer, ECHO_RES, data)


def _option(connection: GearConnection, option: bytes) -> None:
    name = option.split(b"\0", 1)[0].lower()
    if name == EXCEPTIONS_OPTION:
        connection.peer.exceptions = True
    elif name == EXTENSION_OPTION:
        # From here on the decoder lets the packets pass that the extension takes.
        connection.peer.extended = connection.decoder.extended = True
        connection.extension = connection.extension or Extension(
            connection.server, connection.peer, connection
        )
    elif name == LEAVING_OPTION:
        connection.wants_farewell = True
    else:
        raise UnknownOption("Server does not recognize given option")
    connection.send(connection.peer, OPTION_RES, option)


def _set_client_id(connection: GearConnection, client_id: bytes) -> None:
    token = None
    if client_id.startswith(TOKEN_PREFIX):
        # Of a library that can do nothing else. Only the rest is a name, which lists and logs show.
        token, _, client_id = client_id.removeprefix(TOKEN_PREFIX).partition(b";")
    # Nor is a token shown that stands in the wrong place.
    connection.peer.client_id = without_secrets(client_id[:MAX_CLIENT_ID]).removesuffix(b"\0")
    if token is not None:
        _log_in(connection, token)


def _login(connection: GearConnection, token: bytes) -> None:
    connection.send(connection.peer, LOGGED_IN, _log_in(connection, token).encode("ascii"))


def _log_in(connection: GearConnection, token: bytes) -> str:
    identity = connection.server.guard.login(connection.peer, token.removesuffix(b"\0"))
    connection.is_known()
    return identity


def _text(connection: GearConnection, line: bytes) -> int:
    connection.is_operator = True
    server = connection.server
    answer = textcommands.answer(server, connection.peer, line)
    if isinstance(answer, bytes):
        connection.send(connection.peer, TEXT, answer)
        return max(len(answer), MUCH)
    if isinstance(answer, Reply):
        server.outbox.hold(connection.peer, answer)
        if isinstance(answer, Unfinished):
            connection.listing = iter((answer.done,))
    else:
        connection.listing = gather(
            connection, answer, server.list_slots, server.seconds, partial(_listed, connection)
        )
    return MUCH


def _listed(connection: GearConnection, answer: Data) -> None:
    connection.send(connection.peer, TEXT, answer)
    connection.server.end_turn()


def _switch_http(connection: GearConnection) -> int:
    """
    From now on HTTP is spoken here: that of the web API.

    @return: that this takes a while: the web is not there yet.
    @raise Switched: otherwise.
    @raise ServerError: it is not spoken here, or something of Gearman's is under way with the peer.
    """
    server, peer = connection.server, connection.peer
    if server.web_channel is None:
        raise _not_switched(connection, "HTTP is not spoken here")
    server.outbox.flush()
    waits = connection.extension is not None and connection.extension.results.waits
    if waits or not (connection.caught_up and server.outbox.nothing_for(peer)):
        raise _not_switched(connection, "This connection still waits for answers")
    if peer.abilities or peer.attached:
        raise _not_switched(connection, "This connection has functions or jobs; HTTP wants one of its own")
    channel = server.web_channel()
    if isinstance(channel, Deferred):
        connection.listing = _ask_again(connection, channel)
        return MUCH
    connection.write_chunks([response(SWITCHED_HTTP)])
    raise Switched(channel, connection.decoder.behind_switch())


def _ask_again(connection: GearConnection, made: Deferred[None]) -> Steps:
    """Let the peer wait until there is a web, or until it is known that there is none."""
    yield made
    connection.repeat(SWITCH_HTTP)


def _not_switched(connection: GearConnection, text: str) -> ServerError:
    # It is Gearman's, as all before it.
    connection.decoder.behind_switch()
    return ServerError(text, "NOT_SWITCHED")


def _hello(connection: GearConnection, data: Data) -> int:
    """
    A worker says who it is. What it asks for behind that comes behind its welcome, as all answers come in
    turn; and it is not to be given anew what it has.

    @return: whether this takes a while.
    """
    assert connection.extension is not None
    greeted = connection.extension.hello(data)
    if greeted is None:
        return 0
    connection.listing = iter((greeted,))
    return MUCH


def _wrong_magic(connection: GearConnection) -> None:
    raise InvalidMagic("Request magic expected")


def _malformed(connection: GearConnection, name: bytes) -> None:
    raise InvalidPacket(f"{name.decode('ascii')} lacks arguments")


def _once_identified(kind: int, request: Request) -> Request:
    """A request of a peer that is to identify itself first: it may do so in the same breath."""

    def ask(connection: GearConnection, *arguments: Data) -> int | None:
        if connection.is_identified() or kind in TO_IDENTIFY:
            return request(connection, *arguments)
        error = AccessDenied("Not allowed: log in first", act="unidentified")
        if kind != TEXT:
            raise error
        connection.server.guard.denied(connection.peer, error)
        connection.send(connection.peer, TEXT, textlines.refused(error))
        return None

    return ask


def _of_extension(request: Request) -> Request:
    """A request of the extension; the decoder lets it pass only where the peer has asked for that."""

    def ask(connection: GearConnection, *arguments: Data) -> int | None:
        return request(connection.extension, *arguments)

    return ask


class GearProtocol(GearConnection):
    """A L{GearConnection} that knows all requests."""

    __slots__ = ()

    requests: ClassVar[dict[int, Request]] = {
        MALFORMED: _malformed,
        WRONG_MAGIC: _wrong_magic,
        TEXT: _text,
        ECHO_REQ: _echo,
        OPTION_REQ: _option,
        SET_CLIENT_ID: _set_client_id,
        **CLIENT_REQUESTS,
        **WORKER_REQUESTS,
        LOGIN: _login,
        SWITCH_HTTP: _switch_http,
        **{kind: _of_extension(request) for kind, request in Extension.requests.items()},
        WORKER_HELLO: _hello,
    }
    before_login: ClassVar[dict[int, Request]] = {
        kind: _once_identified(kind, request) for kind, request in requests.items()
    }


class GearFactory(Factory):
    """Makes a L{GearProtocol} for each connection of one port."""

    noisy = False

    def __init__(self, server: JobServer) -> None:
        self._server = server

    def buildProtocol(self, addr: IAddress | None) -> GearProtocol:
        protocol = GearProtocol(self._server)
        protocol.factory = self
        return protocol
