#!/usr/bin/env python3
"""
What client and worker libraries of the field do with this server: the table of docs/compatibility.md.

Each library is installed in the version that stands here, from PyPI or npm, into a folder that is removed in
the end; what is Debian's is taken as it is installed. Then its worker and its client, two small programs in
the folder C{libraries}, meet a server of their own:

 - speed: 2,000 background jobs are queued, and the worker starts. Jobs a second from the tenth on.
 - refused: its client submits a job that the server refuses, and one that it takes.
 - restart: the server is ended while the worker waits, and comes back 1.5 seconds later with a job.

Those that no registry has were tried by hand; what was found stands in C{BY_HAND}.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nagle import COUNT_FROM, JOB_CREATED, SUBMIT_JOB_BG, Peer
from run import free_port, server_command

PEERS: Final = Path(__file__).resolve().parent / "libraries"
JOBS: Final = 2000
SPEED_SECONDS: Final = 60.0
"""How long a worker may take for them."""
CLIENT_SECONDS: Final = 12.0
"""How long a client may take for two answers; some wait for ever."""
AWAY_SECONDS: Final = 1.5
BACK_SECONDS: Final = 20.0
"""How long a worker may take to come back, counted from when the server is there again."""


@dataclass(frozen=True)
class Library:
    """
    One library.

    @ivar name: what the table calls it.
    @ivar origin: C{pypi}, C{npm} or C{debian}, or C{here} for txgear itself.
    @ivar package: what is installed; for npm and PyPI with its version.
    @ivar command: what starts its peer, C{{peers}} being the folder of the programs; C{worker} or C{client}
        and the port follow, and a function where a result is wanted.
    """

    name: str
    origin: str
    package: str
    command: str


PYTHON: Final = shlex.quote(sys.executable)
LIBRARIES: Final = [
    Library("gear (Python)", "pypi", "gear==0.16.0", f"{PYTHON} {{peers}}/gear_peer.py"),
    Library(
        "pygearman (Python)", "pypi", "pygearman==0.2.6", f"{PYTHON} {{peers}}/pythongearman_peer.py gearman"
    ),
    Library(
        "py3gearman (Python)",
        "pypi",
        "py3gearman==0.2.0",
        f"{PYTHON} {{peers}}/pythongearman_peer.py py3gearman",
    ),
    Library(
        "python3-gearman (Python)",
        "pypi",
        "python3-gearman==0.1.0",
        f"{PYTHON} {{peers}}/pythongearman_peer.py python3_gearman",
    ),
    Library("aiogear (Python)", "pypi", "aiogear==0.2.6", f"{PYTHON} {{peers}}/aiogear_peer.py"),
    Library("abraxas (Node.js)", "npm", "abraxas@2.1.10", "node {peers}/abraxas.js"),
    Library("gearman (Node.js)", "npm", "gearman@2.1.0", "node {peers}/gearman.js"),
    Library("node-gearman (Node.js)", "npm", "node-gearman@0.2.2", "node {peers}/node-gearman.js"),
    Library("gearmanode (Node.js)", "npm", "gearmanode@0.9.2", "node {peers}/gearmanode.js"),
    Library("gearman-node (Node.js)", "npm", "gearman-node@2.0.13", "node {peers}/gearman-node.js"),
    Library("Gearman::Client, ::Worker (Perl)", "debian", "libgearman-client-perl", "perl {peers}/perl.pl"),
    Library("gearman (PHP extension)", "debian", "php-gearman", "php {peers}/php.php"),
    Library("libgearman (`gearman`)", "debian", "gearman-tools", "sh {peers}/gearman.sh"),
    Library("txgear", "here", "", f"{PYTHON} {{peers}}/txgear_peer.py"),
]

BY_HAND: Final = [
    "| Net_Gearman (PHP) | 669b0fe, by hand | yes | exception, and goes on | comes back, 1.4 s | 7,338 |",
    "| gearman-ruby | cdad736, by hand | yes | not tried | runs on, and never connects again | 3,538 |",
    "| gearman-go | 2a518e8, by hand | yes | not tried | runs on, and never connects again | 7,004 |",
    "| GearmanManager (PHP) | snapshot, by hand | yes | as the extension | as the extension | not tried |",
]
"""Rows for what no registry has, from source checkouts of these commits."""


@dataclass
class Row:
    """What was found of one library."""

    version: str
    refused: str = "not tried"
    restart: str = "not tried"
    speed: str = "not tried"
    client: bool = False

    def works(self) -> str:
        """Whether both its worker and its client did what they are for."""
        worker = self.speed[:1].isdigit()
        return "yes" if worker and self.client else "worker" if worker else "client" if self.client else "no"


def installed(library: Library, folder: Path) -> tuple[str, dict[str, str]]:
    """
    Install a library.

    @return: its version, and what its programs need in their environment.
    @raise subprocess.CalledProcessError: it cannot be had.
    """
    if library.origin == "pypi":
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--target", str(folder), library.package], check=True, capture_output=True)
        return library.package.partition("==")[2], {"PYTHONPATH": str(folder)}
    if library.origin == "npm":
        npm = ["npm", "install", "--silent", "--ignore-scripts", "--prefix", str(folder), library.package]
        subprocess.run(npm, check=True, capture_output=True)
        return library.package.rpartition("@")[2], {"NODE_PATH": str(folder / "node_modules")}
    if library.origin == "debian":
        query = ["dpkg-query", "--show", "--showformat=${Version}", library.package]
        shown = subprocess.run(query, check=True, capture_output=True, text=True).stdout
        # Without the Debian revision.
        return shown.rpartition("-")[0].partition("+")[0], {}
    from txgear import __version__

    return __version__, {}


class Server:
    """This txgear on a port of its own, its jobs in memory."""

    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    def start(self) -> None:
        """Start it, also again, and come back when it answers."""
        command = shlex.split(server_command("memory:").format(port=self.port))
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            with suppress(OSError):
                self.status("echo")
                return
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError("the server does not listen")
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """The process that runs now."""
        return self._process.pid

    def stop(self) -> None:
        """End it as a service manager does."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)

    def peer(self) -> Peer:
        """A connection to it."""
        return Peer(self.port, None, nodelay=True)

    def submit(self, function: str, count: int = 1) -> None:
        """Queue background jobs."""
        peer = self.peer()
        for _ in range(count):
            peer.send(SUBMIT_JOB_BG, function.encode(), b"", b"workload")
        for _ in range(count):
            peer.expect(JOB_CREATED)
        peer.close()

    def status(self, function: str) -> tuple[int, int]:
        """How many jobs and workers a function has."""
        peer = self.peer()
        try:
            rows = peer.ask_list(b"status")
        finally:
            peer.close()
        for row in rows:
            name, total, _, workers = row.split(b"\t")
            if name == function.encode():
                return int(total), int(workers)
        return 0, 0

    def wait_for_workers(self, count: int) -> bool:
        """Whether there are so many workers, within 20 seconds."""
        deadline = time.monotonic() + 20
        while self.status("echo")[1] != count:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


@contextmanager
def started(
    command: list[str], environment: dict[str, str], stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """A program, as long as it is needed."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            # The group is our own child's.
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def speed(server: Server, worker: list[str], environment: dict[str, str]) -> str:
    """Jobs a second of one worker."""
    server.submit("echo", JOBS)
    with started(worker, environment):
        watch = server.peer()
        begun, begun_with = 0.0, JOBS
        deadline = time.monotonic() + SPEED_SECONDS
        try:
            while (now := time.monotonic()) < deadline:
                row = watch.ask_list(b"status")[0].split(b"\t")
                left = int(row[1])
                if left > JOBS - COUNT_FROM:
                    begun, begun_with = now, left
                elif left == 0:
                    return f"{begun_with / (now - begun):,.0f}"
                elif not begun:
                    begun, begun_with = now, left
                time.sleep(0.002)
            return f"{left} of {JOBS} were not done in {SPEED_SECONDS:.0f} s"
        finally:
            watch.close()


def outcomes(server: Server, library: list[str], environment: dict[str, str], first: str) -> tuple[str, str]:
    """
    What a client says of two jobs that it submits, while there is a worker.

    @param first: the function of the first job.
    """
    command = [*library, "client", str(server.port), first]
    with started([*library, "worker", str(server.port), "echo"], environment):
        server.wait_for_workers(1)
        with started(command, environment, subprocess.PIPE) as client:
            try:
                said, _ = client.communicate(timeout=CLIENT_SECONDS)
            except subprocess.TimeoutExpired:
                # Not all of them end, whether or not they have their answers.
                os.killpg(client.pid, signal.SIGKILL)
                said, _ = client.communicate()
    server.wait_for_workers(0)
    found: dict[str, str] = {}
    for line in said.decode("utf-8", "replace").splitlines():
        number, _, outcome = line.partition(" ")
        found.setdefault(number, outcome)
    return found.get("1", ""), found.get("2", "")


def refused(server: Server, library: list[str], environment: dict[str, str]) -> str:
    """What a client makes of a submit that is refused."""
    # One job waits, and that is the most.
    server.submit("full")
    limit = server.peer()
    limit.ask(b"maxqueue full 1")
    limit.close()
    first, second = outcomes(server, library, environment, "full")
    if first.startswith("result"):
        return "**takes the next job's result for this one's**"
    if second == "result second":
        return "error, and goes on" if first.startswith("error") else "waits for it for ever, goes on"
    if first.startswith("error"):
        return "error, and the next job fails"
    return "**neither this job nor the next one ends**"


def restart(server: Server, worker: list[str], environment: dict[str, str]) -> str:
    """What a worker does when its server goes and comes back."""
    with started(worker, environment) as process:
        if not server.wait_for_workers(1):
            return "not tried: its worker does not come"
        server.stop()
        time.sleep(AWAY_SECONDS)
        server.start()
        server.submit("echo")
        begun = time.monotonic()
        while (waited := time.monotonic() - begun) < BACK_SECONDS:
            if server.status("echo")[0] == 0:
                return f"comes back, {waited:.1f} s"
            if process.poll() is not None:
                return f"**ends with status {process.returncode}**"
            time.sleep(0.05)
        return "**runs on, and does not come back**"


def tried(library: Library) -> Row:
    """All that is found of one library."""
    with tempfile.TemporaryDirectory(prefix="txgear-libraries-") as folder:
        version, environment = installed(library, Path(folder))
        row = Row(version)
        command = shlex.split(library.command.format(peers=PEERS))
        server = Server()
        try:
            worker = [*command, "worker", str(server.port)]
            row.speed = speed(server, worker, environment)
            server.wait_for_workers(0)
            row.client = outcomes(server, command, environment, "echo") == ("result first", "result second")
            row.refused = refused(server, command, environment)
            row.restart = restart(server, worker, environment)
        finally:
            server.stop()
        return row


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="TEXT", default="", help="libraries with this in their names")
    options = parser.parse_args()
    missing = [program for program in ("node", "npm", "perl", "php", "gearman") if not shutil.which(program)]
    if missing:
        print(f"not installed here, what needs it is left out: {', '.join(missing)}", file=sys.stderr)
    print("| library | version | works | a submit that is refused | a restart of the server | jobs/s |")
    print("|---|---|---|---|---|--:|")
    for library in LIBRARIES:
        if options.only not in library.name:
            continue
        try:
            row = tried(library)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            print(f"{library.name} cannot be had: {error}", file=sys.stderr)
            continue
        cells = [library.name, row.version, row.works(), row.refused, row.restart, row.speed]
        print(f"| {' | '.join(cells)} |", flush=True)
    if not options.only:
        print("\n".join(BY_HAND))


if __name__ == "__main__":
    main()
