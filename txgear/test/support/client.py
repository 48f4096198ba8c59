"""
For the floors C{client} and C{worker}: endpoints whose far side is the test, and a client
and a worker that use them.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable
from json import loads
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorFromThreads,
    IStreamClientEndpoint,
)
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from txgear.client import Client, ClientJob
from txgear.protocol.constants import (
    ECHO_RES,
    JOB_ASSIGN_UNIQ,
    JOB_CREATED,
    OPTION_RES,
    REQUEST_MAGIC,
    WORKER_HELLO,
    WORKER_STATE,
)
from txgear.protocol.packets import PACKETS, PRIVATE_PACKETS, Decoder, Received, response
from txgear.test.support.clock import ClockTestCase
from txgear.worker import Worker, WorkerJob

ASKED = ("OPTION_REQ", b"txgear-1")
"""What every server is asked first."""
STATE = ("WORKER_STATE", False)
"""What a server that knows it is told first by a worker that is not paused."""
GRAB = [("GRAB_JOB_ALL",)]


class _Transport(StringTransport):
    """
    Keeps what is written, and ends in the next turn of the clock, as real ones do.

    @ivar writes: how often something was written.
    """

    def __init__(self, clock: Clock, protocol: IProtocol) -> None:
        super().__init__(lenient=True)
        self._clock = clock
        self._protocol = protocol
        self.writes = 0

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.writes += 1
        super().writeSequence(data)

    def loseConnection(self) -> None:
        self._end(ConnectionDone())

    def abortConnection(self) -> None:
        self.disconnected = True
        self._end(ConnectionAborted())

    def setTcpNoDelay(self, enabled: bool) -> None:
        """TLS asks for it, whatever it runs over."""

    def _end(self, reason: Exception) -> None:
        if not self.disconnecting:
            self.disconnecting = True
            self._clock.callLater(0, self._protocol.connectionLost, Failure(reason))


class ScriptedConnection:
    """
    One connection that was made to a L{ScriptedServer}.

    @ivar transport: what the connection writes to.
    @ivar protocol: the connection.
    @ivar hellos: what a worker has said of itself, as far as it was looked at.
    @ivar states: and how it is.
    """

    def __init__(self, clock: Clock, protocol: IProtocol) -> None:
        self._clock = clock
        self._decoder = Decoder(REQUEST_MAGIC)
        self._decoder.extended = True
        self.hellos: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self.protocol: Any = protocol
        self.transport = _Transport(clock, protocol)
        protocol.makeConnection(self.transport)

    def packets(self) -> list[tuple[Any, ...]]:
        """
        What has come since the last look: each packet's name and arguments. Of a state there is whether the
        worker is paused. What a worker says of itself is in C{hellos} instead.
        """
        data = self.transport.value()
        self.transport.clear()
        return [packet for packet in map(self._understood, self._decoder.feed(data)) if packet]

    def _understood(self, received: Received) -> tuple[Any, ...]:
        kind, arguments = received
        if kind == WORKER_HELLO:
            self.hellos.append(loads(bytes(arguments[0])))
            return ()
        name = (PACKETS.get(kind) or PRIVATE_PACKETS[kind])[0]
        if kind == WORKER_STATE:
            self.states.append(loads(bytes(arguments[0])))
            return name, self.states[-1]["paused"]
        return name, *map(bytes, arguments)

    def send(self, kind: int, *arguments: bytes) -> None:
        """Send a packet."""
        self.protocol.dataReceived(response(kind, *arguments))

    def send_together(self, *packets: tuple[Any, ...]) -> None:
        """Send packets that arrive in one piece."""
        self.protocol.dataReceived(b"".join(response(*packet) for packet in packets))

    def welcome(self) -> list[tuple[Any, ...]]:
        """Answer the first echo, and return what came before it and since."""
        *greeting, echo = self.packets()
        assert echo[0] == "ECHO_REQ", echo
        self.send(ECHO_RES, echo[1])
        return greeting

    def lose(self, reason: Exception | None = None) -> None:
        """The connection breaks."""
        self.transport.disconnecting = True
        self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    @property
    def ended(self) -> bool:
        """Whether our side has ended the connection."""
        return bool(self.transport.disconnecting)


@implementer(IStreamClientEndpoint)
class ScriptedServer:
    """
    An endpoint whose connections are played by the test.

    @ivar refusing: attempts to connect fail.
    @ivar hanging: attempts to connect neither succeed nor fail.
    @ivar attempts: how many there were.
    @ivar given_up: how many of the hanging ones were cancelled.
    @ivar stubborn: the hanging ones cannot be stopped; they go on by L{go_on}.
    @ivar lines: the connections that were made.
    """

    def __init__(self, clock: Clock, name: str = "server") -> None:
        self._clock = clock
        self._name = name
        self.refusing = False
        self.hanging = False
        self.stubborn = False
        self._stubborn: list[IProtocolFactory] = []
        self.attempts = 0
        self.given_up = 0
        self.lines: list[ScriptedConnection] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self.attempts += 1
        if self.stubborn:
            self._stubborn.append(protocolFactory)
            return Deferred(lambda _: None)
        if self.hanging:
            return Deferred(self._give_up)
        if self.refusing:
            return fail(ConnectionRefusedError())
        protocol = protocolFactory.buildProtocol(None)  # type: ignore[arg-type]
        assert protocol is not None
        self.lines.append(ScriptedConnection(self._clock, protocol))
        return succeed(protocol)

    def _give_up(self, _: Deferred[IProtocol]) -> None:
        self.given_up += 1

    def go_on(self) -> bool:
        """
        The oldest attempt that could not be stopped gets through.

        @return: whether the connection is wanted.
        """
        protocol = self._stubborn.pop(0).buildProtocol(None)  # type: ignore[arg-type]
        if protocol is not None:
            self.lines.append(ScriptedConnection(self._clock, protocol))
        return protocol is not None

    @property
    def line(self) -> ScriptedConnection:
        """The latest connection."""
        return self.lines[-1]

    def __repr__(self) -> str:
        return self._name


class ScriptedNet(Clock):
    """
    A reactor on which C{192.0.2.N:4730} leads to one of some L{ScriptedServer}s, from 1 on.

    @ivar servers: those.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.servers = [ScriptedServer(self) for _ in range(count)]

    @property
    def text(self) -> str:
        """All of them, as callers write them."""
        return ",".join(f"192.0.2.{number + 1}" for number in range(len(self.servers)))

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float, bindAddress: object) -> None:  # noqa: N803
        factory.startedConnecting(self)
        server = self.servers[int(host.rpartition(".")[2]) - 1]
        _ = server.connect(factory).addErrback(lambda failure: factory.clientConnectionFailed(self, failure))

    def stopConnecting(self) -> None:  # noqa: N802
        """As a connector's: an attempt that hangs is left alone."""


class ClientTestCase(ClockTestCase):
    """A client with one server, and a way to end it."""

    def setUp(self) -> None:
        super().setUp()
        self.server = ScriptedServer(self.clock)
        self.client = self.make_client([self.server])

    def make_client(self, servers: list[ScriptedServer], **options: Any) -> Client:
        client = Client(self.clock, servers, random=lambda: 1.0, **options)

        def close() -> None:
            closed = client.close()
            self.clock.advance(0)
            self.successResultOf(closed)

        self.addCleanup(close)
        return client

    def connect(self, *requests: object) -> ScriptedConnection:
        """Let the client connect, and pass over its greeting."""
        self.server.line.welcome()
        return self.server.line

    def submitted(
        self, *arguments: Any, handle: bytes = b"H:1", **options: Any
    ) -> tuple[ClientJob, ScriptedConnection]:
        """A job that the server has taken."""
        job = self.client.submit(*arguments, **options)
        if len(self.server.lines) == 1 and not self.server.line.protocol.ready:
            self.connect()
        self.server.line.packets()
        self.server.line.send(JOB_CREATED, handle)
        return job, self.server.line


@implementer(IReactorFromThreads)
class ThreadClock(Clock):
    """
    A clock that threads can hand calls to.

    @ivar handed: what they handed over, to be called by the test.
    """

    def __init__(self) -> None:
        super().__init__()
        self.handed: queue.Queue[Callable[[], object]] = queue.Queue()

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        self.handed.put(lambda: callable(*args, **kwargs))

    def call_next(self) -> None:
        """Call what the next one in line has handed over."""
        self.handed.get(timeout=30)()


class WorkerTestCase(ClockTestCase):
    """A worker with one server, and functions whose jobs the test ends."""

    def setUp(self) -> None:
        super().setUp()
        self.server = ScriptedServer(self.clock)
        self.jobs: list[WorkerJob] = []
        self.results: list[Deferred[Any]] = []
        self.cancelled: list[bytes] = []

    def make_worker(self, *servers: ScriptedServer, **options: Any) -> Worker:
        worker = Worker(self.clock, servers or [self.server], random=lambda: 1.0, **options)

        def stop() -> None:
            stopped = worker.stopService()
            self.clock.pump([0, 1000, 0])
            self.successResultOf(stopped)

        self.addCleanup(stop)
        return worker

    def wait(self, job: WorkerJob) -> Deferred[Any]:
        """A function whose jobs last until the test ends them."""
        result: Deferred[Any] = Deferred(lambda _: self.cancelled.append(job.handle))
        self.jobs.append(job)
        self.results.append(result)
        return result

    def start(self, *servers: ScriptedServer, timeout: float | None = None, **options: Any) -> Worker:
        """A worker that is connected, has its one function registered, and has asked for a job."""
        worker = self.make_worker(*servers, **options)
        worker.register("f", self.wait, timeout=timeout)
        worker.startService()
        for server in servers or [self.server]:
            server.line.welcome()
        return worker

    def assign(
        self, line: ScriptedConnection, handle: bytes, workload: bytes = b"", function: bytes = b"f"
    ) -> None:
        """The answer to a grab."""
        line.send(JOB_ASSIGN_UNIQ, handle, function, b"", workload)

    def run_one(self, call: Callable[[WorkerJob], Any], **options: Any) -> list[tuple[Any, ...]]:
        """What a worker with this function answers to a job with the workload "work"."""
        worker = self.make_worker(**options.pop("worker", {}))
        worker.register("g", call, **options)
        worker.startService()
        line = self.server.line
        line.welcome()
        self.assertEqual(GRAB, line.packets())
        self.assign(line, b"H:1", b"work", b"g")
        return line.packets()


class GrantedWorkerTestCase(WorkerTestCase):
    """A worker at servers that speak this project's own packets, too."""

    def start(self, *servers: ScriptedServer, timeout: float | None = None, **options: Any) -> Worker:
        worker = self.make_worker(*servers, **options)
        worker.register("f", self.wait, timeout=timeout)
        worker.startService()
        for server in servers or [self.server]:
            self.grant(server.line)
            server.line.packets()
        return worker

    def grant(self, line: ScriptedConnection) -> None:
        line.send(OPTION_RES, b"txgear-1")
        line.welcome()
