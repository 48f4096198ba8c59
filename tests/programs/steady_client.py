"""
A client of txgear's own: C{python steady_client.py PORT FUNCTION HEARTBEAT}

It runs one job, and prints what came of it.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver

from txgear import Client, TxgearError


async def main(reactor: Any, port: str, function: str, heartbeat: str) -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    client = Client(reactor, f"127.0.0.1:{port}", heartbeat=float(heartbeat))
    try:
        print((await client.run(function)).decode(), flush=True)
    except TxgearError as error:
        print(repr(error), flush=True)
    await client.close()


react(main, sys.argv[1:])
