"""
A client for the functions of worker.py: a job whose result it waits for, one whose progress it sees, and one
in the background, whose result is fetched later.

    python examples/client.py 127.0.0.1:4730
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.task import react

from txgear import Client


async def main(reactor: Any, server: str = "127.0.0.1:4730") -> None:
    client = Client(reactor, server)
    print("reverse:", (await client.run("reverse", b"Hello World!")).decode())

    job = client.submit("resize", b"photo", timeout=30)
    job.on_status(lambda step, steps: print(f"resize: {step} of {steps}"))
    print("resize:", (await job.result).decode())

    # On disk before its handle is here. policies.toml has it tried again, and its result kept.
    handle = await client.submit_background("mail", b"kim@example.org")
    print("mail:", handle.decode(), (await client.fetch(handle)).outcome)
    found = await client.fetch(handle, wait=True, timeout=30)
    print("mail:", found.outcome, found.result.decode())
    await client.close()
    if found.outcome != "done":
        raise SystemExit(1)


if __name__ == "__main__":
    react(main, sys.argv[1:])
