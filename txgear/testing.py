"""
For the tests of code that submits jobs or does them: a job server in memory,
with clients and workers wired to it, on a clock that the test moves.

There are no sockets, no threads and no waiting. Nothing happens by itself:
bytes travel when the test calls L{MemoryServer.flush}, time passes when it calls
L{MemoryServer.advance}.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, execute, fail, maybeDeferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import (
    IConsumer,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from txgear.broker.model import Peer, Reply
from txgear.client import Client
from txgear.daemon.restore import restore
from txgear.errors import PolicyError
from txgear.interfaces import IJobStore
from txgear.journal.journal import Journal
from txgear.policies import CLASSIC, Policies
from txgear.server import textcommands
from txgear.server.gear import GearFactory
from txgear.server.jobserver import JobServer
from txgear.server.settings import Settings
from txgear.worker import Worker, WorkerJob

__all__ = ["MemoryServer"]

MOST_ROUNDS: Final = 10_000
"""Rounds of bytes to and fro in one L{MemoryServer.flush}: more than any test needs, and an end to a loop."""

T = TypeVar("T")


@implementer(ITransport, IConsumer, IPushProducer)
class _End:
    """One end of a connection in memory: what is written waits for L{_Wire.carry}."""

    def __init__(self, number: int) -> None:
        self._address = IPv4Address("TCP", "127.0.0.1", 50000 + number)
        self.protocol: Any = None
        self.written: list[bytes] = []
        self.reading = True
        self.closing = False
        self.aborted = False

    def write(self, data: bytes) -> None:
        if not self.closing:
            self.written.append(data)

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.closing = True

    def abortConnection(self) -> None:
        self.closing = self.aborted = True
        self.written.clear()

    def getPeer(self) -> IPv4Address:
        return self._address

    def getHost(self) -> IPv4Address:
        return self._address

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """There is room for everything: the producer is never paused."""

    def unregisterProducer(self) -> None:
        """See L{registerProducer}."""


class _Wire:
    """One connection, both ends of it."""

    def __init__(self, number: int, server: IProtocol, client: IProtocol) -> None:
        self._ends = (_End(number), _End(number))
        for end, protocol in zip(self._ends, (server, client), strict=True):
            end.protocol = protocol
        for end in self._ends:
            end.protocol.makeConnection(end)

    def is_broken(self) -> bool:
        """Whether it has ended."""
        return self._ends[0].protocol is None

    def carry(self) -> bool:
        """
        Carry what was written on either side to the other, and end what is to end.

        @return: whether there was anything to do.
        """
        one, two = self._ends
        moved = [
            self._deliver(one, two),
            self._deliver(two, one),
            self._close(one, two),
            self._close(two, one),
        ]
        return any(moved)

    def _deliver(self, end: _End, other: _End) -> bool:
        if not end.written or not other.reading or self.is_broken():
            return False
        written, end.written = end.written, []
        other.protocol.dataReceived(b"".join(written))
        return True

    def _close(self, end: _End, other: _End) -> bool:
        if not end.closing or self.is_broken() or (end.written and not other.closing):
            return False
        self.cut(ConnectionLost() if end.aborted else ConnectionDone())
        return True

    def cut(self, reason: Exception) -> None:
        """End it; ending it twice is ending it once."""
        protocols = [end.protocol for end in self._ends if end.protocol is not None]
        for end in self._ends:
            end.closing = True
            end.protocol = None
        for protocol in protocols:
            protocol.connectionLost(Failure(reason))


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return self._server._connect(protocolFactory)

    def __repr__(self) -> str:
        return "memory"


class MemoryServer:
    """
    A job server in memory.

    @ivar clock: the time of the server and of its clients and workers. The
        server counts seconds since 1970 by it: a job C{at=clock.seconds() + 60}
        is due when the clock has been moved by a minute.
    @ivar endpoint: leads here; for code under test that makes clients and
        workers of its own, on the same clock.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        settings: Settings | None = None,
        beside: MemoryServer | None = None,
        store: IJobStore | None = None,
        policies: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """
        @param clock: the test's own clock, if it has one.
        @param settings: the settings that an operator would make.
        @param beside: another server, whose clock this one shares; L{flush} and
            L{advance} of either move both. For clients and workers of several servers.
        @param store: where background jobs outlive a L{crash}: a
            L{txgear.stores.memory.MemoryStore}, not opened. It is called without
            a thread. Without a store jobs are in memory only.
        @param policies: by pattern of function names, the settings that an operator would
            make, by name: C{{"mail-*": {"retries": 3}}}. The first pattern that matches counts.
        @raise txgear.errors.StoreError: the store cannot be opened; another server has it, for instance.
        @raise txgear.errors.PolicyError: a setting is not known or makes no sense.
        """
        self._policies = _policies(policies or {})
        self._settings = settings or Settings()
        self._store = store
        self._wires: list[tuple[MemoryServer, _Wire]] = [] if beside is None else beside._wires
        if clock is None:
            clock = Clock() if beside is None else beside.clock
        self.clock: Clock = clock
        self.endpoint: IStreamClientEndpoint = _Endpoint(self)
        self._peers: list[Client | Worker] = []
        self._count = 0
        self._server: JobServer | None = None
        self.restart()

    # Clients and workers

    def client(self, **options: Any) -> Client:
        """
        A client of this server.

        @param options: those of L{Client}.
        """
        client = Client(self.clock, self.endpoint, **{"random": _middle, **options})
        self._peers.append(client)
        return client

    def worker(self, **options: Any) -> Worker:
        """
        A worker at this server, started. Its blocking functions are called without a thread.

        @param options: those of L{Worker}.
        """
        worker = Worker(
            self.clock, self.endpoint, **{"random": _middle, "in_thread": _without_thread, **options}
        )
        self._peers.append(worker)
        worker.startService()
        return worker

    # What the test does

    def flush(self) -> None:
        """
        Let everything happen that needs no time.

        @raise AssertionError: it does not come to an end.
        """
        for _ in range(MOST_ROUNDS):
            self.clock.advance(0)
            self._wires[:] = [(server, wire) for server, wire in self._wires if not wire.is_broken()]
            moved = [wire.carry() for _, wire in list(self._wires)]
            if not any(moved):
                return
        raise AssertionError(f"bytes still travel after {MOST_ROUNDS} rounds")

    def advance(self, seconds: float) -> None:
        """
        Let time pass, and everything happen that happens meanwhile, each thing at its time.
        """
        self.flush()
        end = self.clock.seconds() + seconds
        while True:
            due = [call.getTime() for call in self.clock.getDelayedCalls()]
            next_due = min([moment for moment in due if moment <= end], default=end)
            self.clock.advance(max(next_due - self.clock.seconds(), 0.0))
            self.flush()
            if self.clock.seconds() >= end:
                return

    def result(self, waiting: Deferred[T] | Coroutine[Deferred[Any], Any, T]) -> T:
        """
        Let everything happen that needs no time, and return the result of a Deferred or a coroutine.

        @param waiting: a Deferred, or what an C{async} function returned.
        @return: its result. If it has failed, its error is raised.
        @raise AssertionError: it has no result yet.
        """
        deferred = waiting if isinstance(waiting, Deferred) else Deferred.fromCoroutine(waiting)
        outcomes: list[T | Failure] = []
        _ = deferred.addBoth(outcomes.append)
        self.flush()
        if not outcomes:
            raise AssertionError("there is no result yet; does it need advance(), or a worker?")
        if isinstance(outcome := outcomes[0], Failure):
            outcome.raiseException()
        return outcome

    def command(self, line: str) -> str:
        """
        Give the server a text command, C{status} for instance.

        @return: the server's answer, as an operator would read it.
        @raise ConnectionRefusedError: there is no server, after L{crash}.
        """
        if self._server is None:
            raise ConnectionRefusedError
        self.flush()
        answer = textcommands.answer(self._server, Peer(0, "a test"), line.encode("utf-8"))
        self._server.end_turn()
        self.flush()
        if isinstance(answer, Reply):
            # Nothing here takes time, the store included.
            assert answer.packet is not None
            answer = bytes(answer.packet[-1])
        return bytes(answer).decode("utf-8")

    def cut(self) -> None:
        """Break all connections. The server and its jobs stay; clients and workers connect again, in time."""
        for server, wire in list(self._wires):
            if server is self:
                wire.cut(ConnectionLost())
        self.flush()

    def crash(self) -> None:
        """
        End the server as a kill would: connections break, jobs that are not in
        the store are forgotten, and nobody can connect until L{restart}.

        The end of a job is in the store within L{txgear.journal.writes.FLUSH_DELAY}
        seconds. A job whose end is not in the store is there again after the restart.
        """
        server, self._server = self._server, None
        if server is not None and server.journal is not None and self._store is not None:
            server.journal.abandon()
            self._store.close(None)
        self.cut()
        if server is not None:
            server.stop()

    def restart(self) -> None:
        """
        Start the server again after L{crash}, with the jobs in its store; without a store, with none.

        @raise txgear.errors.StoreError: the store cannot be opened.
        """
        if self._server is None:
            if self._store is None:
                self._server = self._with_policies(None)
            else:
                self._server = self._durable(self._store)
            self._factory = GearFactory(self._server)

    def _with_policies(self, journal: Journal | None) -> JobServer:
        server = JobServer(self.clock, self._settings, journal)
        server.broker.operations.set_policies(self._policies, self.clock.seconds())
        return server

    def _durable(self, store: IJobStore) -> JobServer:
        """A server with what is in the store."""
        journal = Journal(store, execute, self.clock, self._settings.store_timeout)
        server = self._with_policies(journal)
        restore(server.broker, journal, store, self.clock.seconds())
        server.end_turn()
        return server

    def stop(self) -> None:
        """
        End everything; to be called at the end of the test. Jobs that have not
        ended are given up, or stay in the store, and no call is left on the clock.
        """
        peers, self._peers = self._peers, []
        stopping = [peer.stopService() for peer in peers]
        self.flush()
        if self._server is not None and self._server.journal is not None:
            stopping.append(self._server.journal.close())
        self.crash()
        # Workers wait for the server as long as it would wait for them.
        self.advance(self._settings.worker_grace)
        for each in stopping:
            self.result(each)

    def _connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        if self._server is None:
            return fail(ConnectionRefusedError())
        client = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 4730))
        assert client is not None
        self._count += 1
        self._wires.append((self, _Wire(self._count, self._factory.buildProtocol(None), client)))
        return succeed(client)


def _policies(settings: Mapping[str, Mapping[str, Any]]) -> Policies:
    rules = []
    for pattern, of_pattern in settings.items():
        try:
            rules.append((pattern, CLASSIC.with_settings(of_pattern)))
        except PolicyError as error:
            raise error.within(pattern) from None
    return Policies(rules)


def _middle() -> float:
    return 0.5


def _without_thread(call: Callable[[WorkerJob], Any], job: WorkerJob) -> Deferred[Any]:
    return maybeDeferred(call, job)
