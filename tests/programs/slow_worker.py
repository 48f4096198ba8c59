"""
A worker of txgear's own: C{python slow_worker.py PORT FUNCTION SECONDS}

Each job takes that long, and brings the process's id. A line is printed when
one is begun, and when one is taken back.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater, react

from txgear import Worker


async def main(reactor: Any, port: str, function: str, seconds: str) -> None:
    worker = Worker(reactor, f"127.0.0.1:{port}", client_id=f"slow-{os.getpid()}")

    @worker.function(function)
    async def work(job: Any) -> bytes:
        print("begun", flush=True)
        try:
            await deferLater(reactor, float(seconds))
        except CancelledError:
            print("taken back", flush=True)
            raise
        return b"%d" % os.getpid()

    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
    worker.startService()
    await Deferred()


react(main, sys.argv[1:])
