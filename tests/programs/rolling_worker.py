"""A worker that says what it begins and ends, until SIGTERM.

Its arguments: the servers in one text, and the name of a function. It prints `began WORKLOAD ATTEMPT` and
`done WORKLOAD`. A workload that begins with `long` takes so many seconds as stand behind that.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from txgear import Worker
from txgear.worker import WorkerJob

#: Seconds that a job takes.
USUAL = 0.02
#: Jobs at the same time.
AT_ONCE = 16


def say(*words: object) -> None:
    print(*words, flush=True)


async def main(reactor: Any, servers: str, function: str) -> None:
    worker = Worker(reactor, servers, concurrency=AT_ONCE)

    @worker.function(function)
    async def work(job: WorkerJob) -> None:
        workload = job.workload.decode()
        say("began", workload, job.attempt)
        await deferLater(reactor, float(workload[4:]) if workload.startswith("long") else USUAL)
        say("done", workload)

    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
    worker.startService()
    await Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
