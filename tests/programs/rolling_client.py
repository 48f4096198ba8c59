"""A client that submits jobs one after the other, some at a time, until it is told to end by SIGTERM.

Its arguments: the servers in one text, the name of a function, and what its workloads begin with. It prints a
line for each job: `taken WORKLOAD HANDLE`, or `failed WORKLOAD WHY`; and `ended` when it has heard of all.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from txgear import Client

#: Jobs that wait for their answers at the same time.
AT_ONCE = 4
#: Seconds between two jobs of one of these.
PAUSE = 0.01


def say(*words: object) -> None:
    print(*words, flush=True)


async def main(reactor: Any, servers: str, function: str, name: str) -> None:
    client = Client(reactor, servers)
    ending: list[bool] = []

    async def submit(number: int) -> None:
        count = 0
        while not ending:
            workload = f"{name}-{number}-{count}"
            count += 1
            try:
                handle = await client.submit_background(function, workload.encode())
            except Exception as error:
                say("failed", workload, type(error).__name__, error)
            else:
                say("taken", workload, handle.decode())
            await deferLater(reactor, PAUSE)

    done = gatherResults([Deferred.fromCoroutine(submit(number)) for number in range(AT_ONCE)])
    ended: Deferred[None] = Deferred()

    def end() -> Deferred[None]:
        ending.append(True)
        return ended

    reactor.addSystemEventTrigger("before", "shutdown", end)
    await done
    await client.close()
    say("ended")
    ended.callback(None)


if __name__ == "__main__":
    react(main, sys.argv[1:])
