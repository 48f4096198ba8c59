"""txgear's own: C{txgear_peer.py worker|client PORT [FUNCTION]}."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from txgear import Client, Worker
from txgear.errors import TxgearError


async def main(reactor: Any, role: str, port: str, first: str = "") -> None:
    server = f"127.0.0.1:{port}"
    if role == "worker":
        worker = Worker(reactor, server)
        worker.register("echo", lambda job: job.workload)
        reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
        worker.startService()
        await Deferred()
    client = Client(reactor, server)
    for number, function, workload in ((1, first, b"first"), (2, "echo", b"second")):
        try:
            result = await client.run(function, workload)
            print(number, "result", result.decode(), flush=True)
        except TxgearError as error:
            print(number, "error", error, flush=True)
    await client.close()


react(main, sys.argv[1:])
