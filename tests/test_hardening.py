"""What one peer does must not stop the others: real sockets, with bounds for slow machines."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from processes import PATIENCE, Server, Servers, free_port, server_command, wait_until

pytestmark = pytest.mark.txgear_only

LONGEST = 0.25
"""Seconds that an echo of another connection may take; `make bench-stalls` has the real figures."""
MIB = 1024 * 1024


def packet(kind: int, *arguments: bytes) -> bytes:
    body = b"\0".join(arguments)
    return struct.pack(">4sII", b"\0REQ", kind, len(body)) + body


def read_until(sock: socket.socket, end: Callable[[bytes], bool]) -> bytes:
    """What comes until that is true of all of it."""
    received = bytearray()
    while not end(bytes(received[-64:])):
        data = sock.recv(MIB)
        assert data, "the server hung up"
        received += data
    return bytes(received)


def echo(sock: socket.socket) -> float:
    """Seconds that an echo takes."""
    begun = time.monotonic()
    sock.sendall(packet(16, b"x"))
    read_until(sock, lambda data: data.endswith(b"\0RES\0\0\0\x11\0\0\0\x01x"))
    return time.monotonic() - begun


class Watch:
    """Sends echoes on a connection of its own, until it is left."""

    def __init__(self, server: Server) -> None:
        self._port = server.port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.longest = 0.0

    def _run(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), PATIENCE) as sock:
            while not self._over.wait(0.005):
                self.longest = max(self.longest, echo(sock))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *rest: object) -> None:
        self._over.set()
        self._thread.join()


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE)


def resident(server: Server) -> float:
    """The server's resident memory, in MiB."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


@pytest.mark.parametrize("command", ["status", "prioritystatus", "workers", "show jobs", "jobs limit=200"])
def test_lists_in_one_go(start_server: Servers, command: str) -> None:
    """64 KiB of list commands with thousands of functions and jobs: others are served between."""
    server = start_server()
    line = command.encode() + b"\n"
    with connect(server) as worker, connect(server) as peer:
        worker.sendall(b"".join([packet(1, b"function-%d" % number) for number in range(5000)]))
        worker.sendall(b"".join([packet(18, b"f", b"u%d" % number, b"") for number in range(5000)]))
        echo(worker)
        waits: list[float] = []
        # The machine may be the one that stalls: what counts is the best of some.
        while not waits or (min(waits) > LONGEST and len(waits) < 5):
            with Watch(server) as watch:
                peer.sendall(line * (65536 // len(line)))
                deadline = time.monotonic() + 1.5
                size = 0
                # What is read at once may be one answer or many.
                while time.monotonic() < deadline:
                    size += len(read_until(peer, lambda data: data.endswith(b"\n.\n")))
            waits.append(watch.longest)
        assert min(waits) < LONGEST
        assert size > 10_000


def test_all_answers_after_a_half_close(start_server: Servers) -> None:
    """`printf ... | nc -N`: all that was asked for is answered, however long it takes."""
    server = start_server()
    with connect(server) as worker, connect(server) as peer:
        worker.sendall(b"".join([packet(1, b"function-%d" % number) for number in range(2000)]))
        echo(worker)
        peer.sendall(b"status\nversion\n" * 50)
        peer.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: peer.recv(MIB), b""))
    assert answer.count(b"\n.\n") == 50
    assert answer.count(b"\nOK ") == 50
    assert answer.count(b"function-1999\t0\t0\t1\n") == 50


def test_many_leave_at_once(start_server: Servers) -> None:
    """Their connections are gone soon, and others are served meanwhile."""
    server = start_server()
    with ExitStack() as stack:
        peers = [stack.enter_context(connect(server)) for _ in range(400)]
        for peer in peers:
            peer.sendall(packet(1, b"f") + packet(4))
        server.wait_for_workers("f", 400)
        with Watch(server) as watch:
            for peer in peers:
                peer.close()
            wait_until(lambda: server.status("f") is None or server.status("f") == (0, 0, 0))
        assert watch.longest < LONGEST


def test_unfinished_packets(start_server: Servers) -> None:
    """However many begin a large packet, memory grows by the budget; who sends all of it is answered."""
    server = start_server("--unfinished-memory=100M", "--max-packet=20M")
    before = resident(server)
    size = 20 * MIB
    whole = struct.pack(">4sII", b"\0REQ", 16, size) + bytes(size)
    with ExitStack() as stack:
        peers = [stack.enter_context(connect(server)) for _ in range(12)]

        def send(peer: socket.socket) -> None:
            # Until the server takes nothing more for a second.
            peer.settimeout(1.0)
            left = memoryview(whole)[: -2 * MIB]
            with suppress(OSError):
                while left:
                    left = left[peer.send(left) :]

        senders = [threading.Thread(target=send, args=(peer,)) for peer in peers]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        grown = resident(server) - before
        assert 60 < grown < 115
        with connect(server) as other:
            assert echo(other) < LONGEST
    with connect(server) as peer:
        peer.sendall(whole)
        left = len(whole)
        while left:
            left -= len(peer.recv(min(left, MIB)))


def test_the_backlog_of_an_endpoint_string(start_server: Servers) -> None:
    """`--backlog` holds where the string says nothing else: so many connect while nobody accepts them."""
    bound = int(Path("/proc/sys/net/core/somaxconn").read_text())
    if bound < 150:
        pytest.skip("the system's own bound is lower")
    plain, own = free_port(), free_port()
    server = start_server(
        "--listen=127.0.0.1",
        f"--listen=tcp:{plain}:interface=127.0.0.1",
        f"--listen=tcp:{own}:interface=127.0.0.1:backlog=20",
        "--backlog=150",
    )
    server.pause()
    try:
        assert 150 <= connects(plain, 200) < 160
        assert 20 <= connects(own, 200) < 30
    finally:
        server.resume()


def connects(port: int, count: int) -> int:
    """How many connections are made at once, with nobody who accepts them."""
    with ExitStack() as stack:
        made = 0
        for _ in range(count):
            sock = stack.enter_context(socket.socket())
            sock.settimeout(0.5)
            try:
                sock.connect(("127.0.0.1", port))
            except TimeoutError:
                break
            made += 1
        return made


def test_behind_haproxy(start_server: Servers) -> None:
    """`workers` and the log tell of the client, not of the proxy."""
    port = free_port()
    server = start_server("--listen=127.0.0.1", f"--listen=haproxy:tcp:{port}:interface=127.0.0.1")
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as peer:
        peer.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 4000 4730\r\n" + packet(22, b"me"))
        peer.sendall(b"workers\n")
        answer = read_until(peer, lambda data: data.endswith(b".\n"))
        assert b" 192.0.2.7 me :\n" in answer
        peer.sendall(b"\0nonsense....")
        assert peer.recv(100) == b""
    wait_until(lambda: "192.0.2.7" in server.log(), what="a line of the log")


def test_a_log_that_nobody_reads(tmp_path: Path) -> None:
    """A reader of standard output that stalls stops nobody; what is lost is counted."""
    port = free_port()
    command = [*server_command(port, "memory:"), "--max-packet=64K"]
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path, pipesize=4096
            )
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        wait_until(lambda: listens(port), what="a server that listens")
        # More than this pipe holds.
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as peer:
            for number in range(500):
                peer.sendall(b"pause function-that-has-a-name-of-its-own-%d\n" % number)
                read_until(peer, lambda data: data.endswith(b"OK\r\n"))
            assert echo(peer) < LONGEST * 4
        process.terminate()
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert b"is ready" in said
        assert len(said) > 8192


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


def test_the_last_descriptors(start_server: Servers) -> None:
    """Those that are connected are served on, an operator still gets in, and the log stays short."""
    server = start_server("--file-descriptors=100")
    with ExitStack() as stack:
        first = stack.enter_context(connect(server))
        echo(first)
        lines = server.log().count("\n")
        closed = 0
        for _ in range(300):
            peer = stack.enter_context(connect(server))
            try:
                peer.sendall(packet(16, b"x"))
                closed += peer.recv(100) == b""
            except ConnectionError:
                closed += 1
        assert 210 < closed < 290
        assert echo(first) < LONGEST * 4
        operator = stack.enter_context(connect(server))
        for _ in range(2):
            operator.sendall(b"version\n")
            assert operator.recv(100).startswith(b"OK ")
        assert server.log().count("\n") - lines < 60
