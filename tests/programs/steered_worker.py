"""
A worker of txgear's own that ends when it is told to: C{python steered_worker.py PORT FUNCTION NAME [GROUP]}

Each job brings its workload. Without another group it is one of C{steered}.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver

from txgear import Worker


async def main(reactor: Any, port: str, function: str, name: str, group: str = "steered") -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    worker = Worker(reactor, f"127.0.0.1:{port}", id=name, group=group)

    @worker.function(function)
    def work(job: Any) -> bytes:
        return job.workload  # type: ignore[no-any-return]

    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
    worker.startService()
    await worker.when_stopped()


react(main, sys.argv[1:])
