"""
A worker of txgear's own: C{python blocking_worker.py PORT FUNCTION SECONDS HEARTBEAT}

Each job stops the whole process for so long. A line is printed for each, with its attempt and handle.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver

from txgear import Worker


async def main(reactor: Any, port: str, function: str, seconds: str, heartbeat: str) -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    worker = Worker(reactor, f"127.0.0.1:{port}", heartbeat=float(heartbeat))

    @worker.function(function)
    def work(job: Any) -> bytes:
        print("attempt", job.attempt, job.handle.decode(), flush=True)
        time.sleep(float(seconds))
        return job.handle  # type: ignore[no-any-return]

    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
    worker.startService()
    await Deferred()


react(main, sys.argv[1:])
