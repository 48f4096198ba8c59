"""
A worker of txgear's own: C{python leaping_worker.py PORT FUNCTION}

The workload of each job is a number of seconds, by which the reactor's clock is set forward, or back.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver

from txgear import Worker

leapt = 0.0


async def main(reactor: Any, port: str, function: str) -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    reactor.seconds = lambda: time.time() + leapt
    worker = Worker(reactor, f"127.0.0.1:{port}")

    @worker.function(function)
    def leap(job: Any) -> bytes:
        global leapt  # noqa: PLW0603
        leapt += float(job.workload)
        return b"leapt"

    worker.startService()
    await Deferred()


react(main, sys.argv[1:])
