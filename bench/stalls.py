#!/usr/bin/env python3
"""
What one peer can do to all others: C{make bench-stalls}.

A fresh server for each attack. Meanwhile a process of its own sends an echo every
5 ms on another connection: the longest wait for its answer is how long nobody else was
served. Beside it the server's resident memory before, at its highest, and ten
seconds after the attackers have gone. Connections that leave all at once are held against a bare
echo server of Twisted's, in the same run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shlex
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from run import free_port, server_command
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    GRAB_JOB,
    PRE_SLEEP,
    REQUEST_MAGIC,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
)

BARE: Final = """
import sys
from twisted.internet import epollreactor; epollreactor.install()
from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.protocols.wire import Echo
class Quiet(Factory):
    noisy = False
    protocol = Echo
reactor.listenTCP(int(sys.argv[1]), Quiet(), backlog=1024, interface="127.0.0.1")
reactor.run()
"""
"""The least that a server on Twisted can do for a connection."""

INTERVAL: Final = 0.005
"""Seconds between two echoes."""
READ: Final = 64 * 1024
"""Bytes that a server reads in one go."""
LATER: Final = 10.0
"""Seconds from the end of an attack to the last look at the memory."""
ATTACK_SECONDS: Final = 8.0
"""For how long lists are read that were asked for in one go."""
PATIENCE: Final = 120.0
"""Seconds that anything may take."""
MIB: Final = 1024 * 1024

_header = struct.Struct(">4sII")


def packet(kind: int, *arguments: bytes) -> bytes:
    """A request."""
    body = b"\0".join(arguments)
    return _header.pack(REQUEST_MAGIC, kind, len(body)) + body


def connected(port: int) -> socket.socket:
    """A connection to the server."""
    sock = socket.create_connection(("127.0.0.1", port), 20.0)
    sock.settimeout(PATIENCE)
    return sock


def settle(sock: socket.socket) -> None:
    """Return when all that was sent on a connection has been seen; nothing may be left to read on it."""
    mark = packet(ECHO_REQ, b"so far")
    sock.sendall(mark)
    answer = b""
    while not answer.endswith(b"so far"):
        answer = (answer + sock.recv(MIB))[-6:]


def answered(sock: socket.socket, lists: int, seconds: float) -> None:
    """Read until that many lists have ended, or for so long."""
    deadline = time.monotonic() + seconds
    tail = b"\n"
    while lists > 0 and time.monotonic() < deadline:
        data = sock.recv(MIB)
        if not data:
            raise EOFError("the server hung up")
        lists -= (tail + data).count(b"\n.\n")
        tail = (tail + data)[-2:]


class Watch:
    """A process that sends echoes, and knows the longest wait for an answer."""

    def __init__(self, port: int, message: bytes) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=_watch, args=(theirs, port, message), daemon=True)
        self._process.start()
        self.longest()

    def longest(self) -> float:
        """Seconds of the longest wait since this was asked last."""
        self._pipe.send(True)
        waited: float = self._pipe.recv()
        return waited

    def stop(self) -> None:
        """End the process."""
        self._pipe.send(False)
        self._process.join()


def _watch(pipe: Connection, port: int, message: bytes) -> None:
    longest = 0.0
    with connected(port) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            begun = time.perf_counter()
            sock.sendall(message)
            left = len(message)
            while left:
                left -= len(sock.recv(left))
            longest = max(longest, time.perf_counter() - begun)
            time.sleep(INTERVAL)
            if pipe.poll():
                if not pipe.recv():
                    return
                pipe.send(longest)
                longest = 0.0


class Server:
    """
    A server's process, watched.

    @ivar port: where it listens.
    @ivar held: connections that are to last until it ends.
    @ivar peak: the most resident memory so far, in MiB.
    """

    def __init__(self, words: list[str], port: int, folder: Path, message: bytes) -> None:
        self.port = port
        self.held: list[socket.socket] = []
        self._log = folder / "log"
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(words, stdout=out, stderr=out, cwd=folder)
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if self._process.poll() is not None:
                sys.exit(f"{shlex.join(words)} does not listen:\n{self._log.read_text(errors='replace')}")
            time.sleep(0.1)
        self._watch = Watch(port, message)
        self.peak = self.memory()
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    def _sample(self) -> None:
        while not self._over.wait(0.02):
            with suppress(OSError, ValueError):
                self.peak = max(self.peak, self.memory())

    def memory(self) -> float:
        """Resident memory, in MiB."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MIB

    def longest(self) -> float:
        """The longest wait of an echo since this was asked last, in seconds."""
        return self._watch.longest()

    def log_lines(self) -> int:
        """Lines of the log."""
        return self._log.read_bytes().count(b"\n")

    def connect(self) -> socket.socket:
        """A connection to it."""
        return connected(self.port)

    def stop(self) -> None:
        """End it."""
        self._over.set()
        self._sampler.join()
        self._watch.stop()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def serving(command: str | None) -> Iterator[Server]:
    """
    A fresh server.

    @param command: with {port} and {dir}; C{None} is the bare echo server.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="txgear-stalls-") as folder:
        if command is None:
            words, message = [sys.executable, "-c", BARE, str(port)], b"echo"
        else:
            words = [word.format(port=port, dir=folder) for word in shlex.split(command)]
            message = packet(ECHO_REQ, b"x")
        server = Server(words, port, Path(folder), message)
        try:
            yield server
        finally:
            server.stop()


# What the attackers do. Each returns once it is over; what it prepares is not measured: C{server.longest} is
# asked for when that is done.

Attack = Callable[[Server], "str | None"]


def functions(server: Server, count: int, length: int = 20, kind: int = 0) -> socket.socket:
    """
    A worker with that many functions.

    @param kind: tells its functions from those of others.
    """
    worker = server.connect()
    names = [(b"%d-%d-" % (number, kind)).ljust(length, b"f") for number in range(count)]
    worker.sendall(b"".join([packet(CAN_DO, name) for name in names]))
    settle(worker)
    return worker


def jobs(server: Server, count: int, kind: int = SUBMIT_JOB_BG, unique: bytes | None = None) -> socket.socket:
    """A client that has submitted that many jobs."""
    client = server.connect()
    reader = threading.Thread(target=_read_created, args=(client, count))
    reader.start()
    for first in range(0, count, 1000):
        numbers = range(first, min(first + 1000, count))
        client.sendall(
            b"".join([packet(kind, b"f", unique or b"unique-of-job-%d" % number, b"w") for number in numbers])
        )
    reader.join()
    return client


def _read_created(client: socket.socket, count: int) -> None:
    created = _header.pack(b"\0RES", 8, 0)[:8]
    tail = b""
    while count:
        data = tail + client.recv(MIB)
        count -= data.count(created)
        tail = data[-7:]


def lines(line: bytes, size: int, prepare: Callable[[Server], Iterable[socket.socket]]) -> Attack:
    """Send as many of these lines as there is room for, in one go, and read what they bring."""

    def attack(server: Server) -> None:
        held = list(prepare(server))
        count = max(size // len(line), 1)
        server.longest()
        with server.connect() as sock:
            sock.sendall(line * count)
            # Some of the answers: all of them are minutes.
            answered(sock, count, ATTACK_SECONDS)
        server.held = held

    return attack


def workers(server: Server, count: int) -> list[socket.socket]:
    """That many connections with a function each."""
    found = []
    for _ in range(count):
        worker = server.connect()
        worker.sendall(packet(CAN_DO, b"f"))
        found.append(worker)
    for worker in found:
        settle(worker)
    return found


def grabs(server: Server) -> None:
    """64 KiB of GRAB_JOB from each of 20 workers, of 3,000 functions each, and jobs for 3,000 others."""
    client = server.connect()
    client.sendall(
        b"".join([packet(SUBMIT_JOB_BG, b"queued%d" % number, b"", b"") for number in range(3000)])
    )
    _read_created(client, 3000)
    peers = [functions(server, 3000) for _ in range(20)]
    server.longest()
    for peer in peers:
        peer.sendall(packet(GRAB_JOB) * (READ // 12))
    for peer in peers:
        left = 12 * (READ // 12)
        while left:
            left -= len(peer.recv(left))


def leave(server: Server, count: int, greeting: bytes) -> None:
    """That many connections leave at once."""
    peers = []
    for _ in range(count):
        peer = server.connect()
        if greeting:
            peer.sendall(greeting)
        peers.append(peer)
    time.sleep(1.0)
    server.longest()
    for peer in peers:
        peer.close()
    time.sleep(2.0)


def all_at_once(server: Server, count: int, patience: float, pieces: list[bytes]) -> None:
    """That many peers send these, as far as they are taken, and leave."""
    peers = [server.connect() for _ in range(count)]
    server.longest()

    def send(peer: socket.socket) -> None:
        peer.settimeout(patience)
        with suppress(OSError):
            for piece in pieces:
                peer.sendall(piece)

    senders = [threading.Thread(target=send, args=(peer,)) for peer in peers]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    for peer in peers:
        peer.close()


def unfinished(server: Server) -> None:
    """12 peers that send 60 of 63 MiB."""
    head = _header.pack(REQUEST_MAGIC, ECHO_REQ, 63 * MIB)
    all_at_once(server, 12, 5.0, [head, *[bytes(MIB)] * 60])


def never_read(server: Server) -> None:
    """10 peers that never read their echoes, of 1 MiB each."""
    all_at_once(server, 10, 3.0, [packet(ECHO_REQ, bytes(MIB))] * 100)


def bad_peers(server: Server) -> str:
    """2,000 connections that send what is neither a packet nor a line."""
    before = server.log_lines()
    server.longest()
    for _ in range(2000):
        with server.connect() as peer:
            peer.sendall(b"\0nonsense....")
            with suppress(OSError):
                peer.recv(100)
    return f"{server.log_lines() - before} log lines"


def client_leaves(server: Server) -> None:
    """A client with 100,000 foreground jobs leaves."""
    client = jobs(server, 100_000, SUBMIT_JOB)
    server.longest()
    client.close()
    time.sleep(2.0)


def worker_leaves(server: Server) -> None:
    """A worker with 6,000 jobs leaves, and another takes them."""
    client = jobs(server, 6000)
    other = server.connect()
    other.sendall(packet(CAN_DO, b"f") + packet(PRE_SLEEP))
    worker = server.connect()
    worker.sendall(packet(CAN_DO, b"f") + packet(GRAB_JOB) * 6000)
    left = 6000
    while left:
        left -= worker.recv(MIB).count(b"\0RES\0\0\0\x0b")
        if left < 50:
            break
    time.sleep(0.5)
    server.longest()
    worker.close()
    time.sleep(0.5)
    other.sendall(packet(GRAB_JOB) * 6000)
    time.sleep(2.0)
    other.close()
    client.close()


def joins(server: Server) -> str:
    """30,000 submits of one unique, each by a connection's next packet; then it leaves."""
    server.longest()
    begun = time.perf_counter()
    client = jobs(server, 30_000, SUBMIT_JOB, b"one")
    took = time.perf_counter() - begun
    client.close()
    time.sleep(2.0)
    return f"{took:.2f} s for all"


ATTACKS: Final[dict[str, tuple[str, Attack]]] = {
    "status": (
        "64 KiB of `status`, 10,000 functions",
        lines(b"status\n", READ, lambda server: [functions(server, 10_000)]),
    ),
    "priority": (
        "64 KiB of `prioritystatus`, 10,000 functions",
        lines(b"prioritystatus\n", READ, lambda server: [functions(server, 10_000)]),
    ),
    "workers": (
        "64 KiB of `workers`, 10,000 functions and 2,000 workers",
        lines(b"workers\n", READ, lambda server: [functions(server, 10_000), *workers(server, 2000)]),
    ),
    "jobs": (
        "64 KiB of `jobs`, 20,000 jobs",
        lines(b"jobs limit=200\n", READ, lambda server: [jobs(server, 20_000)]),
    ),
    "show": (
        "64 KiB of `show jobs`, 20,000 jobs",
        lines(b"show jobs\n", READ, lambda server: [jobs(server, 20_000)]),
    ),
    "names": (
        "one `status`, 10,000 functions of 8,191 bytes",
        lines(b"status\n", 1, lambda server: [functions(server, 10_000, 8191)]),
    ),
    "many": (
        "one `status`, 100,000 functions",
        lines(b"status\n", 1, lambda server: [functions(server, 10_000, 20, first) for first in range(10)]),
    ),
    "million": (
        "one `show unique jobs`, 1,000,000 jobs",
        lines(b"show unique jobs\n", 1, lambda server: [jobs(server, 1_000_000)]),
    ),
    "search": (
        "64 KiB of `jobs text=nowhere`, 1,000,000 jobs",
        lines(b"jobs text=nowhere\n", READ, lambda server: [jobs(server, 1_000_000)]),
    ),
    "grabs": ("64 KiB of GRAB_JOB from each of 20, 3,000 functions", grabs),
    "idle": ("10,000 idle connections leave", lambda server: leave(server, 10_000, b"")),
    "asleep": (
        "10,000 sleeping workers leave",
        lambda server: leave(server, 10_000, packet(CAN_DO, b"f") + packet(PRE_SLEEP)),
    ),
    "unfinished": ("12 peers with 60 of 63 MiB sent", unfinished),
    "unread": ("10 peers never read their echoes", never_read),
    "bad": ("2,000 bad peers", bad_peers),
    "client": ("a client with 100,000 foreground jobs leaves", client_leaves),
    "worker": ("a worker's 6,000 jobs come back", worker_leaves),
    "joins": ("30,000 joins of one unique", joins),
}
"""By a short name each: what the table calls it, and what is done."""


def run(name: str, what: str, attack: Attack, command: str | None) -> str:
    """One attack on a fresh server: its row."""
    with serving(command) as server:
        before = server.memory()
        said = attack(server)
        longest = server.longest()
        peak = server.peak
        time.sleep(LATER)
        after = server.memory()
    cells = [what, f"{longest * 1000:,.0f}", f"{before:,.0f}", f"{peak:,.0f}", f"{after:,.0f}", said or ""]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server", default=server_command("memory:"), help="the command to measure")
    parser.add_argument("--only", metavar="NAME,...", help=f"some of {', '.join(ATTACKS)}")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else list(ATTACKS)
    unknown = [name for name in wanted if name not in ATTACKS]
    if unknown:
        parser.error(f"no attack is called {', '.join(unknown)}")
    print("| what peers do | longest echo, ms | MiB before | at most | 10 s later | |")
    print("|---|--:|--:|--:|--:|---|", flush=True)
    for name in wanted:
        what, attack = ATTACKS[name]
        print(run(name, what, attack, options.server), flush=True)
        if name == "idle":
            print(run(name, f"{what}: a bare Twisted server", attack, None), flush=True)


if __name__ == "__main__":
    main()
