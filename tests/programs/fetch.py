"""
Fetch results: C{python fetch.py PORT [--wait] (HANDLE | FUNCTION/UNIQUE)...}

Prints a JSON list, for each of them [outcome, data, result, complete]. With C{--wait} there are two lines:
what is known when the server has the questions, and what it is in the end.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from txgear import Client


async def main(reactor: Any, *arguments: str) -> None:
    port, *names = arguments
    wait, wanted = "--wait" in names, [name for name in names if name != "--wait"]
    client = Client(reactor, f"127.0.0.1:{port}")

    async def fetch(name: str, wait: bool) -> list[Any]:
        function, slash, unique = name.partition("/")
        if slash:
            found = await client.fetch_unique(unique, function=function, wait=wait, timeout=10)
        else:
            found = await client.fetch(name.encode(), wait=wait, timeout=10)
        return [found.outcome, found.data.decode(), found.result.decode(), found.complete]

    def fetch_all(wait: bool) -> Deferred[list[list[Any]]]:
        return gatherResults([Deferred.fromCoroutine(fetch(name, wait)) for name in wanted])

    waiting = fetch_all(True) if wait else None
    print(json.dumps(await fetch_all(False)), flush=True)
    if waiting is not None:
        print(json.dumps(await waiting))
    await client.close()


react(main, sys.argv[1:])
