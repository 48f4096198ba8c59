"""PyPI's aiogear: C{aiogear_peer.py worker|client PORT [FUNCTION]}."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

aiogear: Any = importlib.import_module("aiogear")
role, port = sys.argv[1], int(sys.argv[2])


def echo(job: Any) -> Any:
    return job.workload


async def submit(client: Any, number: int, function: str, workload: str) -> None:
    try:
        created = await client.submit_job(function, workload, uuid=str(number))
        done = await client.wait_job(created.handle)
        print(number, "result", done.result, flush=True)
    except Exception as error:
        print(number, "error", error, flush=True)


async def main() -> None:
    loop = asyncio.get_running_loop()
    if role == "worker":
        await loop.create_connection(lambda: aiogear.Worker(echo, loop=loop), "127.0.0.1", port)
        await asyncio.Event().wait()
    _, client = await loop.create_connection(lambda: aiogear.Client(loop=loop), "127.0.0.1", port)
    jobs = [submit(client, 1, sys.argv[3], "first"), submit(client, 2, "echo", "second")]
    await asyncio.gather(*jobs)


asyncio.run(main())
