"""What the tests of policies share: the operator's file, and the text commands that are txgear's own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final, NamedTuple

from needs import requires
from processes import PATIENCE, Program, Programs, Server, run, wait_until
from wirepeer import WirePeer

ALL_KEPT: Final = """
[[function]]
name = "*"
retries = 0
dead = "1h"
results = "1h"
"""
"""What has ended is still known, as a result or dead."""
NIGHTLY: Final = """
[[schedule]]
name = "nightly"
cron = "0 5 * * *"
function = "report"
"""
"""A schedule whose time does not come in a test; it may be gone on with."""


def configured(folder: Path, text: str) -> list[str]:
    """The options of a server with this configuration."""
    path = folder / "txgear.toml"
    path.write_text(text)
    return ["--config", str(path)]


class Attempt(NamedTuple):
    """One attempt that ended without a result, as ``job HANDLE`` shows it."""

    began: str
    ended: str
    reason: str
    worker: str
    text: str


class Details(NamedTuple):
    """What ``job HANDLE`` answers."""

    facts: dict[str, str]
    settings: dict[str, str]
    attempts: list[Attempt]


class Operator:
    """Somebody at a terminal, asking one server."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def order(self, command: str) -> str:
        """Give an order; its one line of answer."""
        with WirePeer(self.server.port) as peer:
            return peer.ask(command).decode().rstrip()

    def find(self, handle: str) -> Details | None:
        """All that is known of a job; nothing if that is nothing."""
        with WirePeer(self.server.port) as peer:
            row = peer.ask(f"job {handle}").decode()
            if row.startswith("ERR UNKNOWN_JOB"):
                return None
            rows = []
            while row != ".\n":
                rows.append(row[:-1].split("\t"))
                row = peer.read_until(b"\n").decode()
        details = Details({}, {}, [])
        for name, *values in rows:
            if name == "setting":
                details.settings[values[0]] = values[1]
            elif name == "attempt":
                details.attempts.append(Attempt(*values))
            else:
                details.facts[name] = values[0]
        return details

    def job(self, handle: str) -> Details:
        """All that is known of a job, which there must be."""
        found = self.find(handle)
        assert found is not None, handle
        return found

    def workload(self, handle: str) -> str:
        """What the worker of a job gets."""
        return dict(row[:2] for row in self.server.list(f"workload {handle}"))["workload"]

    def result(self, handle: str) -> dict[str, str]:
        """What a job has brought."""
        return dict(row[:2] for row in self.server.list(f"result {handle}"))

    def state(self, handle: str) -> str:
        """How a job is; empty for one that is not known."""
        found = self.find(handle)
        return "" if found is None else found.facts["state"]

    def wait_for_state(self, handle: str, state: str, timeout: float = PATIENCE) -> None:
        """Wait until a job is in a state."""
        wait_until(lambda: self.state(handle) == state, timeout, f"{handle} {state}")

    def dead(self, function: str) -> list[str]:
        """The handles of the dead of a function."""
        return [row[0] for row in self.server.list(f"dead function={function}")]

    def wait_for_dead(self, function: str, count: int = 1) -> list[str]:
        """Wait until so many of a function are dead; their handles."""
        wait_until(lambda: len(self.dead(function)) == count, what=f"{count} dead of {function}")
        return self.dead(function)


class Tools:
    """`gearman` as client and as worker."""

    def __init__(self, server: Server, programs: Programs) -> None:
        self._gearman = requires("gearman")
        self.server = server
        self._programs = programs
        self._place = ["-h", "127.0.0.1", "-p", str(server.port)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run a client to its end."""
        return run([self._gearman, *self._place, *arguments])

    def client(self, *arguments: str) -> Program:
        """Start a client."""
        return self._programs.start([self._gearman, *self._place, *arguments], name="client")

    def background(self, function: str, workload: str, *options: str) -> str:
        """Leave a job; its handle."""
        done = run([self._gearman, *self._place, "-v", "-b", "-f", function, *options, workload])
        assert done.returncode == 0, done
        return (done.stdout + done.stderr).decode().rpartition(" ")[2].strip()

    def worker(self, function: str, script: str) -> Program:
        """Start a worker that runs a shell script for each job."""
        return self._programs.start(
            [self._gearman, "-w", *self._place, "-f", function, "--", "sh", "-c", script], name="worker"
        )
