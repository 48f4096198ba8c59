"""
A worker of txgear's own that is to be measured: C{txgear_worker.py PORT CONCURRENCY plain|await|thread}.

C{await} takes 2 to 10 milliseconds, as something does that asks another service.
"""

from __future__ import annotations

import random
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from txgear import Worker


async def main(reactor: Any, port: str, concurrency: str, kind: str) -> None:
    worker = Worker(reactor, f"127.0.0.1:{port}", concurrency=int(concurrency))
    if kind == "await":

        async def echo(job: Any) -> Any:
            await deferLater(reactor, random.uniform(0.002, 0.010))
            return job.workload

        worker.register("echo", echo)
    else:
        worker.register("echo", lambda job: job.workload, blocking=kind == "thread")
    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
    worker.startService()
    await Deferred()


react(main, sys.argv[1:])
