"""
Runs the examples together, as `make demo` does: a server with policies.toml, on a port that is free and with
a store of its own, then worker.py and client.py; beside them embedded.py, which has a server inside. What
each of them says is shown; it takes some seconds.

    python examples/demo.py
    python examples/demo.py --trace     with the packets between them

The exit status is 0 if all went well. Whatever happens, it ends all that it has started, and only that.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import socket
import sys
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

HERE = Path(__file__).parent

SECONDS = 60.0
"""How long each step may take; all together take six, where the machine is not busy."""

READY = re.compile(r"listening on (127\.0\.0\.1:\d+)|^(ready);")
"""What those say that others wait for."""

T = TypeVar("T")


class Program:
    """
    A program in the background, whose lines are shown behind its name.

    @ivar process: the program.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self._said = ""
        self._is_ready = asyncio.Event()
        self._showing = asyncio.create_task(self._show())

    @classmethod
    async def start(cls, name: str, *command: str | Path) -> Program:
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        return cls(name, process)

    async def _show(self) -> None:
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            # A log's line without its time and its place.
            line = re.sub(r"^\S+ \[[^]]*\] ", "", raw.decode("utf-8", "backslashreplace").rstrip())
            print(f"{self.name:6} | {line}", flush=True)
            if found := READY.search(line):
                self._said = found[1] or found[2]
                self._is_ready.set()
        self._is_ready.set()

    async def ready(self) -> str:
        """Wait until it says that it is; where it listens, if it says so."""
        await in_time(self._is_ready.wait())
        if not self._said:
            raise SystemExit(f"==> the {self.name} has ended before it was ready")
        return self._said

    async def ended(self) -> int:
        """Wait for its end, and for all that it said; its exit status."""
        await in_time(self._showing)
        return await in_time(self.process.wait())

    async def stop(self) -> int:
        """End it, if it has not ended, and wait for that; its exit status."""
        if self.process.returncode is None:
            self.process.terminate()
        try:
            return await self.ended()
        except asyncio.TimeoutError:
            self.process.kill()
            return await self.process.wait()


async def in_time(what: Awaitable[T]) -> T:
    return await asyncio.wait_for(what, SECONDS)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(each.getsockname()[1]) for each in sockets]


async def ask(port: int, line: str) -> str:
    """What embedded.py answers to a line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(line.encode() + b"\n")
    answer = await in_time(reader.readline())
    writer.close()
    return answer.decode().rstrip()


async def demo(folder: str, *, with_trace: bool) -> bool:
    """
    Run everything.

    @param folder: for the store.
    @return: whether all ended as they should.
    """
    programs: list[Program] = []
    statuses: dict[str, int] = {}

    async def start(name: str, *command: str | Path) -> Program:
        programs.append(await Program.start(name, *command))
        return programs[-1]

    try:
        server = await start(
            "server",
            Path(sys.executable).with_name("twistd"),
            *("-n", "--pidfile=", "txgear", "--listen", "127.0.0.1", "--port", "0"),
            *("--store", f"sqlite:///{folder}/jobs.sqlite", "--config", HERE / "policies.toml"),
        )
        address = await server.ready()
        if with_trace:
            trace = await start(
                "trace", sys.executable, "-m", "txgear", "trace", "--listen", "127.0.0.1:0", address
            )
            address = await trace.ready()
        await start("worker", sys.executable, HERE / "worker.py", address)
        client = await start("client", sys.executable, HERE / "client.py", address)
        ports = free_ports(2)
        application = await start("app", sys.executable, HERE / "embedded.py", *map(str, ports))
        await application.ready()
        print(f"app    | asked for reverse: {await ask(ports[0], 'Hello inside!')}")
        await client.ended()
    finally:
        for program in reversed(programs):
            statuses[program.name] = await program.stop()
    bad = {name: status for name, status in statuses.items() if status}
    print(f"==> ended badly: {bad}" if bad else f"==> all worked: {', '.join(reversed(statuses))}")
    return not bad


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the examples together.")
    parser.add_argument("--trace", action="store_true", help="show the packets as well")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="txgear-demo-") as folder:
        try:
            return 0 if asyncio.run(demo(folder, with_trace=given.trace)) else 1
        except asyncio.TimeoutError:
            print(f"==> something took longer than {SECONDS:g} seconds")
            return 1


if __name__ == "__main__":
    raise SystemExit(main())
