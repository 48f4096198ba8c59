"""
A worker of txgear's own on a monotonic clock: C{python patient_worker.py PORT FUNCTION HEARTBEAT}

Each job brings its handle.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver

from txgear import Worker, use_monotonic_clock


async def main(reactor: Any, port: str, function: str, heartbeat: str) -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    use_monotonic_clock(reactor)
    worker = Worker(reactor, f"127.0.0.1:{port}", heartbeat=float(heartbeat))

    @worker.function(function)
    def work(job: Any) -> bytes:
        return job.handle  # type: ignore[no-any-return]

    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
    worker.startService()
    await Deferred()


react(main, sys.argv[1:])
