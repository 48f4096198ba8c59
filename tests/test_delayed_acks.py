"""Peers that wait for acknowledgements: workers of other libraries, and what txgear's own must not do."""

from __future__ import annotations

import socket
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from certificates import certificate
from needs import requires
from processes import PATIENCE, Programs, Server, Servers, free_port, programs_folder, wait_until
from wirepeer import HEADER, P, WirePeer, packet

pytestmark = pytest.mark.alone

JOBS = 100
"""Jobs of one worker; with 40 ms for each they take four and a half seconds."""
BOUND = 2.0
"""Seconds that they may take."""

linux_only = pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="this system has no TCP_QUICKACK")


class NagleWorker:
    """
    A worker as many libraries have them: Nagle's algorithm is on, and the end of a job and the request for
    the next one are two writes.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._file = sock.makefile("rb")

    def send(self, type: int, *args: bytes) -> None:
        self._socket.sendall(packet(type, *args))

    def read(self) -> tuple[int, bytes]:
        _, type, size = HEADER.unpack(self._file.read(HEADER.size))
        return type, self._file.read(size)

    def work(self, function: bytes, jobs: int) -> float:
        """Do these jobs, the last of which is asked for as well; the seconds that it took."""
        self.send(P.CAN_DO, function)
        begun = time.monotonic()
        self.send(P.GRAB_JOB)
        for _ in range(jobs):
            type, body = self.read()
            assert type == P.JOB_ASSIGN, (type, body)
            self.send(P.WORK_COMPLETE, body.partition(b"\0")[0], b"")
            self.send(P.GRAB_JOB)
        assert self.read() == (P.NO_JOB, b"")
        return time.monotonic() - begun


def marked(server: Server) -> tuple[list[list[str]], list[str]]:
    """The connections that are acknowledged at once, and the last row, which has the totals."""
    *rows, total = server.list("connections quickack=yes")
    return rows, total


def check(server: Server, worker: NagleWorker, function: str) -> None:
    """Its jobs are done in time, and the server says why."""
    client = server.connect()
    for _ in range(JOBS):
        client.submit(function.encode(), b"x", type=P.SUBMIT_JOB_BG)
    assert worker.work(function.encode(), JOBS) < BOUND
    [row], total = marked(server)
    assert row[1] == "127.0.0.1"
    assert row[4] == "yes"
    assert row[6:] == ["1", function]
    assert int(row[5]) == int(total[3]) > JOBS // 2
    assert total[2] == "1"


@linux_only
@pytest.mark.txgear_only
def test_over_tcp(fresh_server: Server, function: str) -> None:
    """Over plain TCP; who is no such worker is not marked, and the mark goes with the connection."""
    with socket.create_connection(("127.0.0.1", fresh_server.port), PATIENCE) as sock:
        check(fresh_server, NagleWorker(sock), function)
    wait_until(lambda: marked(fresh_server)[1][2] == "0", what="nobody is marked")
    assert int(marked(fresh_server)[1][3]) > JOBS // 2


@linux_only
@pytest.mark.txgear_only
def test_over_tls(start_server: Servers, function: str, tmp_path: Path) -> None:
    """Over TLS: it is the socket below that waits."""
    files, authority = certificate(tmp_path)
    port = free_port()
    endpoint = f"ssl:{port}:interface=127.0.0.1:{files}"
    server = start_server("--listen=127.0.0.1", f"--listen={endpoint}")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        check(server, NagleWorker(sock), function)


@linux_only
@pytest.mark.txgear_only
def test_a_worker_that_works_as_long_is_let_go(fresh_server: Server, function: str) -> None:
    """Its packets come 40 ms after one another because it works so long."""
    client = fresh_server.connect()
    handle = client.submit(function.encode(), b"x", type=P.SUBMIT_JOB_BG)
    with WirePeer(fresh_server.port) as worker:
        worker.can_do(function.encode())
        assert worker.grab() is not None
        seen = 0
        for _ in range(25):
            worker.send(P.WORK_STATUS, handle, b"1", b"2")
            time.sleep(0.04)
            seen += len(marked(fresh_server)[0])
        assert seen
        assert marked(fresh_server)[0] == []


@pytest.fixture
def gearmand(programs: Programs) -> Iterator[int]:
    """The port of a gearmand, which delays its acknowledgements always."""
    port = free_port()
    where = ["--port", str(port), "--listen", "127.0.0.1", "--log-file", "stderr"]
    program = programs.start(
        [requires("gearmand"), *where, "--pid-file", programs.directory / "gearmand.pid"], name="gearmand"
    )

    def answers() -> bool:
        try:
            with WirePeer(port) as peer:
                peer.sync()
        except ConnectionError:
            return False
        return True

    wait_until(answers, what="a gearmand that answers")
    yield port
    program.stop()


def test_the_worker_of_txgear_waits_for_nobody(gearmand: int, programs: Programs, function: str) -> None:
    """Jobs end one by one, and no report of one waits until that of another is acknowledged."""
    name, clients, jobs = function.encode(), 6, 300
    brief = programs_folder() / "brief_worker.py"
    programs.start([sys.executable, brief, str(gearmand), function, "8"], name="worker")
    with WirePeer(gearmand) as first:
        first.submit(name)
        first.expect(P.WORK_COMPLETE, timeout=PATIENCE)
    peers = [WirePeer(gearmand) for _ in range(clients)]
    begun = time.monotonic()
    for peer in peers:
        peer.submit(name)
    # Each client has one job under way, the next when that is done.
    for done in range(jobs):
        peer = peers[done % clients]
        peer.expect(P.WORK_COMPLETE)
        if done < jobs - clients:
            peer.submit(name)
    seconds = time.monotonic() - begun
    for peer in peers:
        peer.close()
    # 125 a second where they wait, 800 where they do not.
    assert jobs / seconds > 250
