"""
A worker with three functions: one that answers at once, one that tells how far it is, and one that fails
now and then, as services do that others depend on.

    python examples/worker.py 127.0.0.1:4730
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from txgear import Fail, Worker

STEPS = 4


def make_worker(reactor: Any, server: str) -> Worker:
    """The worker, not started yet: a test gives it another reactor."""
    worker = Worker(reactor, server, client_id="example", concurrency=2)

    @worker.function("reverse")
    def reverse(job: Any) -> bytes:
        print(f"reverse: {job.workload.decode()}")
        return bytes(job.workload[::-1])

    @worker.function("resize")
    async def resize(job: Any) -> str:
        for step in range(STEPS):
            job.set_status(step, STEPS)
            # Other jobs are done meanwhile.
            await deferLater(reactor, 0.5)
        return f"{job.workload.decode()}, smaller"

    @worker.function("mail")
    def mail(job: Any) -> str:
        print(f"mail: attempt {job.attempt}")
        if job.attempt < 3:
            raise Fail("the mail server is busy")
        return f"sent to {job.workload.decode()}"

    return worker


async def main(reactor: Any, server: str = "127.0.0.1:4730") -> None:
    worker = make_worker(reactor, server)
    # At the end of the process, jobs that it has begun are done first.
    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
    worker.startService()
    print("waits for jobs; Ctrl-C ends it")
    await Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
