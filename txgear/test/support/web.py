"""
For the floor C{web}: a server with a web in memory, and requests to it that are answered as C{http.client}
reads answers.

A test of a part of the web::

    class JobsTests(WebTestCase):
        parts = (jobs,)          # modules with routes(web); those of your test, and no others

        def test_unknown(self) -> None:
            answer = self.ask("GET", "/api/v1/jobs/H:x:1")
            self.assertEqual((answer.status, answer.json["type"]), (404, "urn:txgear:problem:unknown_job"))

        def test_cancelled(self) -> None:
            answer = self.ask("POST", "/api/v1/jobs/H:test:1/cancel", body={"reason": "x"})

C{self.ask} makes a connection from 127.0.0.1, sends one whole request with C{Host: localhost} and what
C{self.headers} has, and returns its answer: its C{status}, C{headers}, C{body} (bytes), C{json} (decoded),
and C{code} of a problem. A C{body} that is no bytes is sent as JSON, with its type; bytes are sent as they
are. C{self.start(...)} begins anew with other settings, C{self.use(DurableServerFixture(...))} with a store.

Rights: C{self.allow("http", "see", functions=("mail.*",))} sets rules of which this is the only one, and from
then on requests have the token of the identity C{me} that it is for. C{self.rules(text)} sets others.

What is not answered at once: C{client = self.connect()}, C{client.ask_web(method, target, headers, body)},
let something happen, and then C{client.web_answer()}, or C{client.heard()} for the bytes of a stream; with
C{client.transport.stuck = True} it reads nothing until it is C{heard}, and C{client.leave()} ends it.
C{self.server}, C{self.broker}, C{self.web}, C{self.clock} and C{self.fixture} (whose C{connect} makes Gearman
peers) are there to look at, and C{self.worker(b"f")} is a worker.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.rights import SERVER_ACTS
from txgear.daemon.config import parse_config
from txgear.protocol.constants import CAN_DO, SET_CLIENT_ID
from txgear.protocol.packets import request
from txgear.security.access import Access, Identity, Rule
from txgear.security.tokens import Token, new_token
from txgear.server.jobserver import JobServer
from txgear.test.support.http import GearmanWorker, HttpAnswer, HttpPeer, HttpTransport
from txgear.test.support.server import FakePeer, ServerFixture
from txgear.web.channel import WebFactory
from txgear.web.web import Web, WebOptions

LOCAL = IPv4Address("TCP", "127.0.0.1", 4780)


class WebAnswer(NamedTuple):
    """An answer of the web."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read from JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem."""
        assert self.headers["Content-Type"] == "application/problem+json", self
        return str(self.json["type"]).removeprefix("urn:txgear:problem:")


class WebPeer(HttpPeer):
    """A connection to the web."""

    def __init__(self, factory: WebFactory, transport: HttpTransport) -> None:
        super().__init__(factory, transport)
        self._methods: list[str] = []

    def ask_web(self, method: str, target: str, headers: Mapping[str, str], body: Any = None) -> None:
        """
        Send a request.

        @param body: C{None} for none; bytes as they are; anything else as JSON.
        """
        said = {"Host": "localhost", **headers}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            said.setdefault("Content-Type", "application/json")
        if body is not None:
            said.setdefault("Content-Length", str(len(body)))
        self._methods.append(method)
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items())]
        self.send("\r\n".join([*lines, "", ""]).encode("utf-8") + (body or b""))

    def web_answer(self) -> WebAnswer:
        """The one answer that has come."""
        found: HttpAnswer = self.answer(self._methods[-1])
        return WebAnswer(found.status, found.headers, found.body)  # type: ignore[arg-type]


class WebTestCase(SynchronousTestCase):
    """
    A server with a web and a clock.

    @cvar parts: the modules whose routes there are.
    """

    parts: tuple[ModuleType, ...] = ()

    def setUp(self) -> None:
        self.start()

    def start(self, options: WebOptions | None = None, **choices: Any) -> None:
        """
        Begin anew.

        @param options: what the operator has said of the web.
        @param choices: what differs from the default settings.
        """
        self.use(ServerFixture(**choices), options)

    def use(self, fixture: Any, options: WebOptions | None = None) -> None:
        """
        Begin anew.

        @param fixture: a L{ServerFixture}, or one with a store.
        """
        self.fixture = fixture
        self.server: JobServer = fixture.server
        self.broker = self.server.broker
        self.clock = fixture.clock
        self.headers: dict[str, str] = {}
        self.web = Web(self.server, options or WebOptions(), self.parts)
        self.web.start()
        self.addCleanup(self.web.stop)
        self.factory = self.web.factory()
        self.factory._state_of = lambda transport: int(transport.state)

    def known(self, *names: bytes, client_id: bytes = b"", then: bytes = b"") -> FakePeer:
        """A worker of these functions."""
        peer: FakePeer = self.fixture.connect()
        if client_id:
            peer.tell(request(SET_CLIENT_ID, client_id))
        for name in names:
            peer.tell(request(CAN_DO, name))
        peer.ask(then)
        return peer

    def rules(self, text: str) -> None:
        """
        Have these identities and rules.

        @param text: as they stand in the operator's file.
        """
        self.server.guard.replace(parse_config(text, "test").access)

    def allow(self, *acts: str, functions: Sequence[str] | None = None) -> None:
        """
        Have one identity, C{me}, with one rule, and its token in what is asked from now on.

        @param functions: for which those of the acts are that are for a function; C{None} for all.
        """
        secret = new_token()
        token = Token.of(secret.encode())
        assert token is not None
        wanted = frozenset(acts)
        rules = [Rule(True, ("me",), wanted & SERVER_ACTS)]
        rules.append(
            Rule(True, ("me",), wanted - SERVER_ACTS, None if functions is None else tuple(functions))
        )
        self.server.guard.replace(Access([Identity("me", tokens=(token,))], rules))
        self.headers = {"Authorization": f"Bearer {secret}"}

    def connect(self, host: str | None = "127.0.0.1", to: str | None = "127.0.0.1") -> WebPeer:
        """
        A new connection.

        @param host: where it comes from; C{None} for a Unix socket.
        @param to: the address that it has come to.
        """
        peer: Any = UNIXAddress(None) if host is None else IPv4Address("TCP", host, 50000)
        here: Any = UNIXAddress("/web") if to is None else IPv4Address("TCP", to, LOCAL.port)
        return WebPeer(self.factory, HttpTransport(peer, here))

    def ask(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: Any = None
    ) -> WebAnswer:
        """A request of a new connection that is answered at once."""
        client = self.connect()
        client.ask_web(method, target, {**self.headers, **(headers or {})}, body)
        return client.web_answer()

    def worker(self, function: bytes = b"f") -> GearmanWorker:
        """A worker on the Gearman port."""
        return GearmanWorker(self.fixture.connect(), function)
