"""
A worker at a server, in memory, whose connection ends after so many bytes: wherever that is, each job is
begun once and ends once.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint, ITransport
from twisted.internet.task import deferLater
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from txgear.testing import MemoryServer
from txgear.worker import RetryLater, Worker, WorkerJob

STEP: Final = 11
"""Bytes between two places where the connection ends: all headers and arguments are met, in some packet."""
NEVER: Final = 1_000_000
OUT: Final = 0
IN: Final = 1


class Cut:
    """
    Where a line ends.

    @ivar way: the direction that is counted, L{OUT} or L{IN}, from the worker's side.
    @ivar after: how many bytes get through; what is sent behind them, either way, gets lost.
    @ivar passed: how many bytes have got through, in either direction.
    @ivar lines: how many there were. The first is the one that ends.
    """

    def __init__(self, server: MemoryServer, way: int, after: int) -> None:
        self.server = server
        self.way = way
        self.after = after
        self.passed = [0, 0]
        self.lines = 0


class Line(ProtocolWrapper):
    """A connection that may end in the middle of a packet."""

    cut: Cut
    is_first = False

    def makeConnection(self, transport: ITransport) -> None:
        self.cut = self.factory.cut
        self.cut.lines += 1
        self.is_first = self.cut.lines == 1
        super().makeConnection(transport)

    def _through(self, data: bytes, way: int) -> bytes:
        cut = self.cut
        if not self.is_first:
            return data
        if cut.passed[cut.way] >= cut.after:
            return b""
        if way == cut.way:
            data = data[: cut.after - cut.passed[way]]
        cut.passed[way] += len(data)
        if cut.passed[cut.way] >= cut.after:
            # What has got through is to arrive.
            cut.server.clock.callLater(0.001, self.transport.abortConnection)  # type: ignore[union-attr]
        return data

    def write(self, data: bytes) -> None:
        if data := self._through(data, OUT):
            super().write(data)

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def dataReceived(self, data: bytes) -> None:
        if data := self._through(data, IN):
            super().dataReceived(data)


class Lines(WrappingFactory):
    protocol = Line

    def __init__(self, wrapped: IProtocolFactory, cut: Cut) -> None:
        super().__init__(wrapped)
        self.cut = cut


@implementer(IStreamClientEndpoint)
class CutEndpoint:
    """Leads to the server, over lines of which the first ends."""

    def __init__(self, cut: Cut) -> None:
        self._cut = cut

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connected: Any = self._cut.server.endpoint.connect(Lines(protocolFactory, self._cut))
        made: Deferred[IProtocol] = connected.addCallback(lambda line: line.wrappedProtocol)
        return made

    def __repr__(self) -> str:
        return "memory"


class CutTests(SynchronousTestCase):
    def play(self, way: int, after: int) -> Cut:
        """Have some jobs done by a worker whose first connection ends so."""
        server = MemoryServer(policies={"later": {"retries": 3, "backoff": "1s"}})
        cut = Cut(server, way, after)
        begun: list[tuple[bytes, int]] = []
        worker = Worker(server.clock, CutEndpoint(cut), concurrency=2, random=lambda: 0.5)

        async def slow(job: WorkerJob) -> bytes:
            begun.append((job.workload, job.attempt))
            await deferLater(server.clock, 0.05)
            return b"done " + job.workload

        def quick(job: WorkerJob) -> bytes:
            begun.append((job.workload, job.attempt))
            return b"done " + job.workload

        def later(job: WorkerJob) -> bytes:
            begun.append((job.workload, job.attempt))
            if job.attempt == 1:
                raise RetryLater(0.1)
            return b"done " + job.workload

        for name, call in (("slow", slow), ("quick", quick), ("later", later)):
            worker.register(name, call)
        worker.startService()
        client = server.client()
        names = ("slow", "quick", "later", "slow", "quick")
        waits = [client.run(name, b"%d" % number) for number, name in enumerate(names)]
        background = client.submit_background("slow", b"5")
        server.advance(20)
        self.assertEqual([b"done %d" % number for number in range(5)], list(map(server.result, waits)))
        server.result(background)
        # One whose attempt was lost on the way to the worker is begun under the next.
        tries = [attempt for workload, attempt in begun if workload == b"2"]
        self.assertIn(tries, ([1, 2], [1, 3], [2]))
        once = sorted(workload for workload, _ in begun if workload != b"2")
        self.assertEqual([b"0", b"1", b"3", b"4", b"5"], once)
        status = [line.split("\t")[1:3] for line in server.command("status").splitlines()[:-1]]
        self.assertEqual([["0", "0"]] * 3, status)
        stopped = worker.stopService()
        server.flush()
        self.successResultOf(stopped)
        server.stop()
        return cut

    def test_wherever_it_ends(self) -> None:
        passed = self.play(OUT, NEVER).passed
        for way in (OUT, IN):
            for after in range(1, passed[way], STEP):
                with self.subTest(way=way, after=after):
                    self.assertEqual(2, self.play(way, after).lines)
