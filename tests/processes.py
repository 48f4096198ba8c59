"""Programs that the tests start: every one has a bounded life, a log, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from wirepeer import WirePeer

#: A command line template with ``{port}`` and ``{dir}``: run the same tests against another job server.
SERVER_COMMAND: Final = os.environ.get("TXGEAR_TEST_SERVER_COMMAND", "")

#: Seconds that a program may take to do its part of a test; far more than it needs, for slow machines.
PATIENCE: Final = 15.0

#: Seconds in which a server comes up, and a program does all that it does: to start one takes seconds of the
#: processor, of which each has a tenth where others are busy.
LIFE: Final = 60.0

#: Seconds between SIGTERM and SIGKILL at the end of a test, where nobody asks how it ends; and to an end by
#: SIGKILL.
GRACE: Final = 5.0

#: Characters of a program's output that are shown when a test fails.
SHOWN: Final = 12_000

#: The kernel's name for the state of a socket that accepts connections.
LISTENING: Final = "0A"

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout: float = PATIENCE, what: str = "") -> T:
    """Call ``predicate`` until it returns something true, and return that; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or predicate}")
        time.sleep(0.02)


class Ports:
    """Ports for servers that are yet to be started: nobody else takes one of them until then.

    They are none of those that the kernel gives to whoever wants any, as every client does. They come from a
    block that no other process has that runs tests, one after the other, so that none is soon given again.
    """

    #: Where they begin: above those that usual services have, and that browsers refuse.
    FIRST: Final = 12_000

    #: The ports of a block, which are far more than are in use at one time.
    BLOCK: Final = 400

    def __init__(self) -> None:
        self._block: range | None = None
        self._next = 0
        # What holds a block is a name, which goes with this process, however that ends.
        self._holder = socket.socket(socket.AF_UNIX)

    def take(self) -> int:
        """One that nobody listens on now, neither on 127.0.0.1 nor on ::1."""
        if self._block is None:
            self._block = self._claim()
        for _ in self._block:
            port = self._block[self._next % len(self._block)]
            self._next += 1
            if self._is_free(port):
                return port
        raise AssertionError(f"no port is free of {self._block}")

    def _claim(self) -> range:
        ephemeral, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        # Where the kernel gives away nearly all of them there is nothing better than some of those.
        end = ephemeral if ephemeral > self.FIRST + self.BLOCK else 2**16
        for first in range(self.FIRST, end - self.BLOCK, self.BLOCK):
            try:
                self._holder.bind(f"\0txgear-tests-ports-{first}")
            except OSError as problem:
                if problem.errno != errno.EADDRINUSE:
                    raise
            else:
                return range(first, first + self.BLOCK)
        raise AssertionError("others who run tests have all ports")

    @staticmethod
    def _is_free(port: int) -> bool:
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family, socket.SOCK_STREAM) as tried:
                try:
                    tried.bind((host, port))
                except OSError as problem:
                    # A machine may have no ::1.
                    if problem.errno == errno.EADDRINUSE:
                        return False
        return True


_ports: Final = Ports()


def free_port() -> int:
    """A port that nobody listens on now, and that nobody else is given soon."""
    return _ports.take()


def twistd() -> list[str]:
    """The command that starts ``twistd`` with the Python that runs the tests."""
    script = Path(sys.executable).with_name("twistd")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]


def server_command(port: int, store: str) -> list[str]:
    """The command that runs a job server in the foreground, without a web: those have one port for all."""
    return [*twistd(), "-n", "--pidfile=", "txgear", "--web=", "--port", str(port), "--store", store]


def txgear() -> list[str]:
    """The `txgear` command of the Python that runs the tests."""
    script = Path(sys.executable).with_name("txgear")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "from txgear.cli import main; raise SystemExit(main())"]


def listening(pid: int) -> set[tuple[str, int]]:
    """The addresses and ports at which a process accepts TCP connections, as the kernel tells it."""
    sockets: dict[str, tuple[str, int]] = {}
    for table, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == LISTENING:
                address, port = local.split(":")
                # Four bytes at a time, each in this machine's order.
                packed = b"".join(
                    int(address[place : place + 8], 16).to_bytes(4, sys.byteorder)
                    for place in range(0, len(address), 8)
                )
                sockets[f"socket:[{rest[5]}]"] = (socket.inet_ntop(family, packed), int(port, 16))
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(descriptor)
            if target in sockets:
                found.add(sockets[target])
    return found


def write_whole(path: Path, text: str) -> None:
    """Write a file that others may read at any time: they see what was in it, or all of this."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text)
    beside.replace(path)


def run(
    command: Sequence[str | Path],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = LIFE,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end and return its status and outputs, whatever they are."""
    return subprocess.run(
        [str(word) for word in command],
        input=stdin,
        capture_output=True,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        timeout=timeout,
        check=False,
    )


def holds_still(pid: int) -> bool:
    """All threads of a process are stopped, as they are not at once by SIGSTOP; or it has ended."""
    try:
        tasks = [place.read_text() for place in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        # One of them has just ended.
        return not Path(f"/proc/{pid}").exists()
    return {task.rpartition(")")[2].split()[0] for task in tasks} <= {"T", "t", "Z", "X"}


class Throttle:
    """A named pipe at which a program of any language waits, by reading a byte, until the test opens it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        # Opened for both ways, so that neither side ever blocks in open().
        self._fd = os.open(path, os.O_RDWR)

    def open(self, passes: int = 1) -> None:
        """Let ``passes`` readers through."""
        os.write(self._fd, b"." * passes)

    def close(self) -> None:
        os.close(self._fd)


class Program:
    """A program in the background, with its outputs in files."""

    def __init__(
        self,
        command: Sequence[str | Path],
        directory: Path,
        name: str,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = [str(word) for word in command]
        self.directory = directory
        self._out = directory / f"{name}.out"
        self._err = directory / f"{name}.err"
        source = directory / f"{name}.in"
        source.write_bytes(stdin)
        with open(source, "rb") as reads, open(self._out, "wb") as writes, open(self._err, "wb") as complains:
            self._process = subprocess.Popen(
                self.command,
                stdin=reads,
                stdout=writes,
                stderr=complains,
                cwd=directory,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def stdout(self) -> bytes:
        return self._out.read_bytes()

    @property
    def stderr(self) -> bytes:
        return self._err.read_bytes()

    @property
    def serves(self) -> bool:
        """It is a job server of txgear's: its words name ``twistd``'s plugin, or gearmand's command line."""
        return any(word in ("txgear", "gearmand") for word in self.command[1:])

    @property
    def is_ready(self) -> bool:
        """A server that logs to its output has said so. It may listen before, and end all the same."""
        return b"is ready" in self.stdout

    def comes_up(self) -> None:
        """Wait until it is ready, which is before its end."""
        wait_until(lambda: self.is_ready or not self.running, LIFE, f"{self.name} that is ready")
        assert self.is_ready, self.log()

    def said(self) -> bytes:
        """All that it wrote to its own outputs."""
        return self.stdout + self.stderr

    def calm(self, since: int = 0) -> bool:
        """It logged no traceback, looking at its outputs from that byte on."""
        said = self.said()[since:]
        return b"Traceback (most recent call last)" not in said and b"Unhandled" not in said

    def wait(self, timeout: float = LIFE) -> int:
        """Wait for the program's own end; its exit status."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {timeout} s:\n{self.log()}") from None

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def pause(self) -> None:
        """Make it hold still, and return when it does."""
        self.signal(signal.SIGSTOP)
        wait_until(lambda: holds_still(self.pid), what=f"{self.name} that holds still")

    def resume(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def stop(self, grace: float = PATIENCE) -> int:
        """End the program and its children; the exit status.

        :param grace: seconds between SIGTERM and SIGKILL.
        """
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self._process.kill()
        with contextlib.suppress(ProcessLookupError):
            # Whatever it started; the group is our own child's session, never anybody else's.
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait(GRACE)

    def kill(self) -> None:
        """End the program as a power cut would."""
        self._process.kill()
        self._process.wait(GRACE)

    def log(self) -> str:
        """What it said so far, for a person to read."""
        parts = [f"$ {shlex.join(self.command)}  (status {self._process.poll()})"]
        for path in (self._out, self._err):
            text = path.read_bytes().decode("utf-8", "backslashreplace")
            if text:
                parts.append(f"--- {path.name}\n{text[-SHOWN:]}")
        return "\n".join(parts)


class Programs:
    """The programs of one test, ended with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._all: list[Program] = []

    def start(
        self,
        command: Sequence[str | Path],
        *,
        name: str = "",
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> Program:
        """Start a program in the background."""
        label = f"{len(self._all)}-{name or Path(command[0]).name}"
        program = Program(command, self.directory, label, stdin=stdin, env=env)
        self._all.append(program)
        return program

    def stop(self) -> None:
        for program in reversed(self._all):
            program.stop(GRACE)

    def calm(self) -> bool:
        """No server among them logged a traceback; a worker may, of its jobs."""
        return all(program.calm() for program in self._all if program.serves)

    def log(self) -> str:
        return "\n\n".join(program.log() for program in self._all)


class Server(Program):
    """A job server in a process of its own, on 127.0.0.1; with a store where it has one."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        port: int | None = None,
        name: str = "server",
        env: Mapping[str, str] | None = None,
        store: str = "memory:",
        command: Sequence[str] | None = None,
    ) -> None:
        self.port = port or free_port()
        self._peers: list[WirePeer] = []
        if command is not None:
            # Another server than ours, for a comparison.
            command = list(command)
        elif SERVER_COMMAND:
            command = shlex.split(SERVER_COMMAND.format(port=self.port, dir=directory))
        else:
            command = server_command(self.port, store)
        super().__init__([*command, *options], directory, name, env=env)
        try:
            wait_until(self._listens, LIFE, f"a server on port {self.port}")
        except (AssertionError, TimeoutError) as problem:
            self.stop()
            raise AssertionError(
                f"the server does not listen on port {self.port}: {problem}\n{self.log()}"
            ) from None

    def _listens(self) -> bool:
        if not self.running:
            raise AssertionError("the server ended")
        try:
            with WirePeer(self.port, timeout=PATIENCE) as peer:
                # An answer, and then its own end: only then is it at work, and has forgotten us.
                peer.sync()
                peer.shut_writing()
                peer.read_to_end()
        except ConnectionError:
            return False
        return True

    def connect(self, timeout: float = PATIENCE) -> WirePeer:
        """A raw connection to the server, closed at the end of the test."""
        peer = WirePeer(self.port, timeout=timeout)
        self._peers.append(peer)
        return peer

    def close_peers(self) -> None:
        while self._peers:
            self._peers.pop().close()

    def list(self, command: str) -> list[list[str]]:
        """The rows of a text command's list answer, split at tabs."""
        with WirePeer(self.port) as peer:
            return [row.split("\t") for row in peer.ask_list(command)]

    def status(self, function: str) -> tuple[int, int, int] | None:
        """What ``status`` says of a function: total, running, workers; nothing if it does not list it."""
        for name, total, running, workers in self.list("status"):
            if name == function:
                return int(total), int(running), int(workers)
        return None

    def unused(self, function: str) -> bool:
        """The function has neither jobs nor workers; a server may forget it then, or list it with zeros."""
        return self.status(function) in (None, (0, 0, 0))

    def wait_for_workers(self, function: str, workers: int = 1) -> None:
        """Wait until that many workers have registered the function."""
        wait_until(
            lambda: (self.status(function) or (0, 0, 0))[2] >= workers,
            what=f"{workers} worker(s) of {function}",
        )

    def wait_for_running(self, function: str, running: int = 1) -> None:
        """Wait until that many jobs of the function are at work."""
        wait_until(
            lambda: (self.status(function) or (0, 0, 0))[1] == running,
            what=f"{running} running job(s) of {function}",
        )

    def wait_for_total(self, function: str, total: int) -> None:
        """Wait until the function has that many jobs, waiting and running."""
        wait_until(
            lambda: (self.status(function) or (0, 0, 0))[0] == total,
            what=f"a total of {total} job(s) of {function}",
        )

    def stop(self, grace: float = PATIENCE) -> int:
        self.close_peers()
        return super().stop(grace)

    def log(self) -> str:
        parts = [super().log()]
        parts += [
            f"--- {path.name}\n{path.read_text(errors='backslashreplace')[-SHOWN:]}"
            for path in sorted(self.directory.glob("server*.log"))
        ]
        return "\n".join(parts)


class Servers:
    """Starts servers with options of their own, for one test."""

    def __init__(self, make_folder: Callable[[], Path]) -> None:
        self._make_folder = make_folder
        self._all: list[Server] = []

    def __call__(
        self,
        *options: str,
        port: int | None = None,
        store: str = "memory:",
        env: Mapping[str, str] | None = None,
    ) -> Server:
        server = Server(self._make_folder(), *options, port=port, store=store, env=env)
        self._all.append(server)
        return server

    def stop(self) -> None:
        for server in self._all:
            server.stop(GRACE)

    def calm(self) -> bool:
        return all(server.calm() for server in self._all)

    def log(self) -> str:
        return "\n\n".join(server.log() for server in self._all)


def programs_folder() -> Path:
    """Where the programs in other languages are."""
    return Path(__file__).with_name("programs")
