"""
A client of txgear's own: C{python mixed_client.py PREFIX PORT JOBS WINDOW}

It has so many jobs of mixed_worker.py done, WINDOW at a time, looks at each result, and prints the workloads.
It ends with status 1 over a result that is not its own job's.
"""

from __future__ import annotations

import random
import sys
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.task import react

from txgear import Client, JobFailed

KINDS = ("quick", "quick", "quick", "waits", "thread", "parts", "fails")


async def main(reactor: Any, prefix: str, port: str, jobs: str, window: str) -> None:
    client = Client(reactor, f"127.0.0.1:{port}")

    async def one(number: int) -> None:
        kind, workload = (
            random.choice(KINDS),
            b"%d/%s/%016x" % (number, port.encode(), random.getrandbits(64)),
        )
        job = client.submit(f"{prefix}-{kind}", workload)
        parts: list[bytes] = []
        job.on_data(parts.append)
        try:
            result = await job.result
        except JobFailed:
            assert kind == "fails", (kind, workload)
        else:
            result = b"".join([*parts, result])
            assert kind != "fails", workload
            assert result == workload[::-1], (kind, workload, result)
        print(workload.decode(), flush=True)

    places = DeferredSemaphore(int(window))
    await gatherResults([places.run(Deferred.fromCoroutine, one(n)) for n in range(int(jobs))])
    await client.close()


react(main, sys.argv[1:])
