"""
A worker of txgear's own that does eight jobs at once: C{python mixed_worker.py PREFIX PORT...}

Its functions are PREFIX and C{-quick}, C{-waits}, C{-thread}, C{-parts} and C{-fails}. Each prints the
workload, and returns it turned round.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.logger import globalLogBeginner, textFileLogObserver

from txgear import Fail, Worker


async def main(reactor: Any, prefix: str, *ports: str) -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    worker = Worker(reactor, [f"127.0.0.1:{port}" for port in ports], concurrency=8)

    def done(job: Any) -> bytes:
        os.write(1, job.workload + b"\n")  # print would mix the lines of threads
        return job.workload[::-1]  # type: ignore[no-any-return]

    async def waits(job: Any) -> bytes:
        await deferLater(reactor, int(job.workload[-1:], 16) / 2000)
        return done(job)

    def in_thread(job: Any) -> bytes:
        job.set_status(1, 2)
        time.sleep(int(job.workload[-1:], 16) / 4000)
        return done(job)

    def parts(job: Any) -> None:
        for byte in done(job):
            job.send_data(bytes([byte]))

    def fails(job: Any) -> None:
        done(job)
        raise Fail

    worker.register(f"{prefix}-quick", done)
    worker.register(f"{prefix}-waits", waits)
    worker.register(f"{prefix}-thread", in_thread, blocking=True)
    worker.register(f"{prefix}-parts", parts)
    worker.register(f"{prefix}-fails", fails)
    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
    worker.startService()
    await Deferred()


react(main, sys.argv[1:])
