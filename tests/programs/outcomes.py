"""
A client of txgear's own for each line of the standard input, a JSON list of the server, the function and the
arguments of C{Client}: each submits one job, and what came of it is printed, a line for each in their order.
With the further argument C{fetch} it asks for the result, and prints it behind how the job ended.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver

from txgear import Client, ClientTLS, TxgearError


async def outcome(reactor: Any, server: str, function: str, given: dict[str, Any]) -> str:
    fetch = given.pop("fetch", False)
    if isinstance(how := given.get("tls"), dict):
        given["tls"] = ClientTLS(**how)
    client = Client(reactor, server, **{"connect_timeout": 2, **given})
    try:
        handle = await client.submit_background(function)
        if fetch:
            found = await client.fetch(handle, wait=True, timeout=10)
            return f"{found.outcome}: {found.result.decode()}"
        status = await client.status(handle)
        return "known" if status.known else "unknown"
    except TxgearError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        await client.close()


async def main(reactor: Any) -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    found = gatherResults([Deferred.fromCoroutine(outcome(reactor, *json.loads(line))) for line in sys.stdin])
    print("\n".join(await found))


react(main, sys.argv[1:])
