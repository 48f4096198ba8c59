"""
For the floor C{server}, its HTTP port: connections to it over transports in memory, read by Python's own HTTP
client, and workers on the Gearman port.
"""

from __future__ import annotations

import http.client
from io import BytesIO
from typing import Any, Final, NamedTuple

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.protocol.constants import CAN_DO, GRAB_JOB_UNIQ, RESPONSE_MAGIC
from txgear.protocol.packets import Decoder, request
from txgear.server.http import HttpFactory
from txgear.server.sockets import HERE
from txgear.test.support.server import FakePeer, ServerFixture

TRANSPORT_BUFFER: Final = 64 * 1024
"""Bytes that the transport of these tests takes before it asks for a pause, as Twisted's do."""


CLIENT: Final = IPv4Address("TCP", "192.0.2.9", 50000)


class HttpTransport(StringTransport):
    """
    A transport that is full when more than L{TRANSPORT_BUFFER} bytes of it are unread.

    @ivar stuck: whether the peer reads nothing.
    @ivar ended: whether our side has ended, and the peer's is awaited.
    @ivar state: what a look at it tells.
    """

    def __init__(self, peer: Any = CLIENT, host: Any = None) -> None:
        """
        @param peer: the address of the client.
        @param host: the address to which it has come.
        """
        super().__init__(hostAddress=host, peerAddress=peer)
        self.stuck = self.ended = False
        self.state = HERE

    def loseWriteConnection(self) -> None:
        self.ended = True

    def _fill(self) -> None:
        if self.stuck and self.producer is not None and len(self.value()) > TRANSPORT_BUFFER:
            self.producer.pauseProducing()

    def write(self, data: bytes) -> None:
        super().write(data)
        self._fill()

    def writeSequence(self, data: Any) -> None:
        super().writeSequence(data)
        self._fill()


class _Responses(BytesIO):
    """What C{http.client} reads one answer after the other from."""

    def makefile(self, mode: str) -> _Responses:
        return self

    def close(self) -> None:
        """There may be another answer."""


class HttpAnswer(NamedTuple):
    """A response, read by Python's own client."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def command(self) -> str | None:
        return self.headers["X-Gearman-Command"]

    @property
    def handle(self) -> bytes:
        return str(self.headers["X-Gearman-Job-Handle"]).encode()


class HttpPeer:
    """One HTTP connection."""

    def __init__(self, factory: Any, transport: HttpTransport | None = None) -> None:
        self.transport = transport or HttpTransport()
        self.protocol: Any = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def heard(self) -> bytes:
        """What came back since the last time; with it, there is room again."""
        value: bytes = self.transport.value()
        self.transport.clear()
        if self.protocol.full and self.transport.producer is not None:
            self.transport.producer.resumeProducing()
        return value

    def heard_all(self) -> bytes:
        """What comes back until nothing more comes."""
        heard = b""
        while self.transport.value():
            heard += self.heard()
        return heard

    def ask(
        self, method: str, target: str, *headers: str, body: bytes | None = None, version: str = "1.1"
    ) -> None:
        """Send a request."""
        lines = [f"{method} {target} HTTP/{version}", "Host: test", *headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    def answers(self, method: str = "POST") -> list[HttpAnswer]:
        """All whole responses that have come."""
        stream = _Responses(self.heard_all())
        size = len(stream.getvalue())
        found = []
        while stream.tell() < size:
            reading: Any = stream
            response = http.client.HTTPResponse(reading, method=method)
            response.begin()
            found.append(HttpAnswer(response.status, response.headers, response.read()))
        return found

    def answer(self, method: str = "POST") -> HttpAnswer:
        """The one response that has come."""
        (answer,) = self.answers(method)
        return answer

    def end_input(self) -> None:
        """Send no more; by this alone it cannot be told from one who has gone."""
        self.protocol.readConnectionLost()

    def leave(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def closed(self) -> bool:
        """Whether the server ends the connection once what was written has left."""
        return bool(self.transport.disconnecting or self.transport.ended)

    @property
    def aborted(self) -> bool:
        """Whether the server has reset the connection."""
        return bool(self.transport.disconnected)


class GearmanWorker:
    """A worker of one function, on the Gearman port."""

    def __init__(self, line: FakePeer, function: bytes) -> None:
        self.line = line
        self.line.tell(request(CAN_DO, function))

    def _heard(self) -> list[Any]:
        return list(Decoder(magic=RESPONSE_MAGIC).feed(self.line.heard()))

    def grab(self) -> tuple[bytes, bytes, bytes]:
        """The next job: its handle, unique and workload."""
        self.line.tell(request(GRAB_JOB_UNIQ))
        ((_, (handle, _, unique, workload)),) = self._heard()
        return handle, unique, bytes(workload)

    def leave(self) -> None:
        self.line.leave()

    def say(self, kind: int, *arguments: bytes) -> None:
        """Send a packet; the server has nothing against it."""
        self.line.tell(request(kind, *arguments))
        assert self._heard() == []


class HttpTestCase(SynchronousTestCase):
    """A server with both ports, and a clock."""

    def setUp(self) -> None:
        self.start()

    def start(self, **choices: Any) -> None:
        """
        Begin anew.

        @param choices: what differs from the default settings.
        """
        self.fixture = ServerFixture(**choices)
        self.server = self.fixture.server
        self.broker = self.server.broker
        self.clock = self.fixture.clock
        self.factory = HttpFactory(self.server, lambda transport: int(transport.state))

    def connect(self) -> HttpPeer:
        return HttpPeer(self.factory)

    def worker(self, function: bytes = b"f") -> GearmanWorker:
        return GearmanWorker(self.fixture.connect(), function)

    def under_way(
        self, *headers: str, body: bytes = b"x", version: str = "1.1"
    ) -> tuple[HttpPeer, GearmanWorker, bytes]:
        """A foreground job at a worker; with it the client that waits for it, and its handle."""
        client, worker = self.connect(), self.worker()
        client.ask("POST", "/f", *headers, body=body, version=version)
        return client, worker, worker.grab()[0]

    def ask(self, method: str, target: str, *headers: str, body: bytes | None = None) -> HttpAnswer:
        """A request of a new connection that is answered at once."""
        client = self.connect()
        client.ask(method, target, *headers, body=body)
        return client.answer(method)

    def queued(self) -> list[tuple[bytes, bytes]]:
        """The function and the workload of each job, the oldest first."""
        return [(job.function.name, bytes(job.workload)) for job in self.broker.table.jobs.values()]
