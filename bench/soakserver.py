"""
The server that is soaked: its process, and what the system knows of it.
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STOP_SECONDS: Final = 20.0
"""How long the server may take to end."""

_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass
class Sample:
    """The server at one moment: bytes of resident memory, seconds of CPU, open descriptors."""

    at: float
    rss: int
    cpu: float
    descriptors: int


class Server:
    """The server's process, and what the system knows of it."""

    def __init__(self, command: str, folder: Path) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]
        self.command = [word.format(port=self.port, dir=folder) for word in shlex.split(command)]
        self._log = folder / "log"
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(self.command, stdout=out, stderr=out, cwd=folder)

    def wait_until_it_listens(self) -> None:
        """Return once it accepts connections, and exit if it does not."""
        for _ in range(200):
            if not self.running:
                break
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        sys.exit(f"{shlex.join(self.command)} does not listen:\n{self.log()}")

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def log(self) -> str:
        """What it said."""
        return self._log.read_text(errors="backslashreplace")

    def sample(self) -> Sample:
        """Measure it; it must be running."""
        proc = Path(f"/proc/{self._process.pid}")
        fields = (proc / "stat").read_text().rsplit(")", 1)[1].split()
        return Sample(
            time.monotonic(),
            int((proc / "statm").read_text().split()[1]) * resource.getpagesize(),
            (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS,
            self.descriptors(),
        )

    def descriptors(self) -> int:
        """How many files and connections it has open."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def stop(self) -> int:
        """End it by its id; its status."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@contextmanager
def running(command: str) -> Iterator[Server]:
    """A server that listens, and is ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="txgear-soak-") as folder:
        server = Server(command, Path(folder))
        try:
            server.wait_until_it_listens()
            yield server
        finally:
            server.stop()


def default_command(descriptors: int, rows: bool = False) -> str:
    """
    This txgear, on a free port.

    @param rows: whether jobs for the background are to be in a store, and nearly none of them in memory.
    """
    twistd = shutil.which("twistd", path=os.path.dirname(sys.executable)) or "twistd"
    store = "sqlite:///{dir}/jobs.sqlite --queue-memory 16K" if rows else "memory:"
    return (
        f"{twistd} -n --pidfile= txgear --port {{port}} --listen 127.0.0.1 --store {store}"
        f" --file-descriptors {descriptors}"
    )


def raise_descriptor_limit(wanted: int) -> None:
    """Let this process, and the server that inherits it, open that many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        hard = hard if hard == resource.RLIM_INFINITY else max(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            sys.exit(f"{wanted} descriptors are needed, here and in the server; see ulimit -Hn")
