"""
A worker whose jobs last until a file is there: C{python away_worker.py PORT FUNCTION FOLDER}

It says what it begins and what it gives up, a line each. A job ends when the file in the folder is there that
its workload names; what is in the file is the result.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater, react
from twisted.logger import globalLogBeginner, textFileLogObserver

from txgear import Worker


async def main(reactor: Any, port: str, function: str, folder: str) -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    worker = Worker(reactor, f"127.0.0.1:{port}", concurrency=2)

    @worker.function(function)
    async def work(job: Any) -> bytes:
        print("began", job.handle.decode(), job.attempt, flush=True)
        awaited = Path(folder, job.workload.decode())
        try:
            while not awaited.exists():
                await deferLater(reactor, 0.02)
        except CancelledError:
            print("gone", job.handle.decode(), job.why_gone, flush=True)
            raise
        return awaited.read_bytes()

    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
    worker.startService()
    await worker.when_stopped()


react(main, sys.argv[1:])
