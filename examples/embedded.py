"""
An application with a job server inside. It has a port of its own: each line that comes there is a job, and
the answer is the job's result. The server, a client and a worker are its child services. Workers and clients
of other programs may come to the server's port, as to that of any other server.

    python examples/embedded.py 7000 4730
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver

from txgear import Client, TxgearError, Worker
from txgear.daemon.service import ServerService
from txgear.errors import ConfigurationError
from txgear.server.settings import Settings

PATIENCE = 30.0
"""Seconds that jobs may take to end, when the application stops."""


class Questions(LineOnlyReceiver):
    """A connection to the application's own port."""

    delimiter = b"\n"

    def __init__(self, client: Client) -> None:
        self._client = client

    def lineReceived(self, line: bytes) -> None:
        _ = Deferred.fromCoroutine(self._answer(line))

    async def _answer(self, line: bytes) -> None:
        try:
            self.sendLine(await self._client.run("reverse", line))
        except TxgearError as error:
            self.sendLine(f"no answer: {error}".encode())


class Application(MultiService):
    """
    The application.

    @ivar jobs: the job server.
    """

    def __init__(self, reactor: Any, port: int, gearman_port: int) -> None:
        super().__init__()
        self._reactor = reactor
        self.jobs = ServerService(
            reactor,
            Settings(allow_shutdown=True),
            options={"listen": ["127.0.0.1"], "port": gearman_port},
        )
        self.client = Client(reactor, f"127.0.0.1:{gearman_port}")
        self.worker = Worker(reactor, f"127.0.0.1:{gearman_port}")
        self.worker.register("reverse", lambda job: job.workload[::-1])
        self.port = StreamServerEndpointService(
            TCP4ServerEndpoint(reactor, port, interface="127.0.0.1"),
            Factory.forProtocol(lambda: Questions(self.client)),
        )
        # In the order of their starts.
        for service in (self.jobs, self.worker, self.client, self.port):
            service.setServiceParent(self)

    def stopService(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        # Nobody asks any more, and those who have asked are answered; then all the rest ends.
        await self.port.stopService()
        if self.jobs.running:
            with suppress(TimeoutError):
                await self.jobs.drain().addTimeout(PATIENCE, self._reactor)
        await super().stopService()


async def main(reactor: Any, port: str = "7000", gearman_port: str = "4730") -> None:
    application = Application(reactor, int(port), int(gearman_port))
    try:
        application.startService()
    except ConfigurationError as error:
        sys.exit(f"it does not start: {error}")
    reactor.addSystemEventTrigger("before", "shutdown", application.stopService)
    print("ready; Ctrl-C ends it", flush=True)
    await Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
