"""
A worker of txgear's own, with many brief jobs at once: C{python brief_worker.py PORT FUNCTION CONCURRENCY}

The jobs take 2 to 10 ms, so that one ends while others are under way.
"""

from __future__ import annotations

import itertools
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from txgear import Worker


async def main(reactor: Any, port: str, function: str, concurrency: str) -> None:
    worker = Worker(reactor, f"127.0.0.1:{port}", concurrency=int(concurrency))
    seconds = itertools.cycle([0.002, 0.007, 0.004, 0.010, 0.003, 0.008])

    @worker.function(function)
    async def work(job: Any) -> bytes:
        await deferLater(reactor, next(seconds))
        return b""

    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
    worker.startService()
    await Deferred()


react(main, sys.argv[1:])
