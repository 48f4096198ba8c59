"""
A client of txgear's own: C{python loyal_client.py FUNCTION PORT...}

One job goes to FUNCTION_slow; meanwhile, and after it, others go to FUNCTION, one after the other. A
line is printed for each that has ended.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.task import deferLater, react

from txgear import Client

AFTER = 3
"""Jobs after the slow one."""


async def main(reactor: Any, function: str, *ports: str) -> None:
    client = Client(reactor, [f"127.0.0.1:{port}" for port in ports])
    job = client.submit(f"{function}_slow")
    await job.created
    slow = job.result.addCallback(lambda result: print(result.decode(), flush=True))
    left = AFTER
    while left:
        left -= slow.called
        await client.run(function)
        print("quick", flush=True)
        await deferLater(reactor, 0.05)
    await client.close()


react(main, sys.argv[1:])
