"""Restarts that refuse nobody: a server hands its sockets over to the next one."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import ssl
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import pytest

from certificates import certificate
from databases import Database
from processes import PATIENCE, Program, Programs, free_port, listening, twistd, wait_until
from restarts import restart_under_load
from startup import Daemons, accepts, gone
from txgear.daemon.predecessor import Predecessor, find_predecessor
from txgear.errors import ConfigurationError
from wirepeer import Closed, P, WirePeer

pytestmark = pytest.mark.txgear_only

RESTARTS: Final = 10


def test_restarts_under_load(programs: Programs, tmp_path: Path, tell: Callable[[str], None]) -> None:
    """No connect is refused or reset, no connection is cut off, and no background job is lost."""
    seen = restart_under_load(programs, tmp_path, RESTARTS)
    tell(str(seen))
    assert (seen.refused, seen.reset, seen.cut) == (0, 0, 0)
    assert seen.lost == set()
    assert seen.longest < 5.0
    assert len(seen.acknowledged) > 50 * RESTARTS


class Place:
    """Where one server after the other runs."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        self.programs = programs
        self.folder = folder
        self.port = free_port()
        self.path = folder / "handover"
        self.database = folder / "jobs.sqlite"
        self.pid_file = folder / "pid"

    def command(self, *options: str, store: str | None = None) -> list[str]:
        return [
            *twistd(),
            "-n",
            f"--pidfile={self.pid_file}",
            "txgear",
            "--web=",
            f"--port={self.port}",
            "--listen=127.0.0.1",
            f"--store={store or f'sqlite:///{self.database}'}",
            f"--handover={self.path}",
            *options,
        ]

    def begin(self, *options: str, store: str | None = None) -> Program:
        return self.programs.start(self.command(*options, store=store), name="server")

    def start(self, *options: str, store: str | None = None) -> Program:
        program = self.begin(*options, store=store)
        program.comes_up()
        assert program.running, program.log()
        return program

    def fails(self, *options: str, store: str | None = None) -> str:
        """The one line of a server that does not start."""
        program = self.begin(*options, store=store)
        assert program.wait() == 1, program.log()
        [line] = program.stderr.decode().splitlines()
        assert b"Traceback" not in program.stdout
        return line.removeprefix("txgear: ")

    def connect(self) -> WirePeer:
        return WirePeer(self.port, timeout=PATIENCE)

    def serving(self) -> int:
        """The process that answers."""
        with self.connect() as peer:
            return int(peer.ask("getpid").split()[1])

    def submit(self, function: bytes = b"f") -> None:
        with self.connect() as peer:
            peer.submit(function, b"data", type=P.SUBMIT_JOB_BG)

    def jobs(self, function: str = "f") -> int:
        with self.connect() as peer:
            return sum(
                int(row.split("\t")[1]) for row in peer.ask_list("status") if row.startswith(f"{function}\t")
            )

    def predecessor(self) -> Predecessor:
        """Ourselves as the next server."""
        found = find_predecessor(str(self.path))
        assert found is not None
        return found


@pytest.fixture
def place(programs: Programs, tmp_path: Path) -> Place:
    return Place(programs, tmp_path)


def test_all_kinds_of_ports(place: Place, tmp_path: Path) -> None:
    """Plain, TLS and HTTP ports, endpoint strings, Unix sockets; what is named no more is closed."""
    _, authority = certificate(tmp_path)
    tls, other_tls, jobs, web, endpoint, old, new = (free_port() for _ in range(7))
    unix = tmp_path / "gear.sock"
    common = [
        f"--tls-listen=127.0.0.1:{tls}",
        f"--tls-cert={tmp_path / 'certificate.pem'}",
        f"--tls-key={tmp_path / 'key.pem'}",
        f"--listen=ssl:{other_tls}:interface=127.0.0.1:privateKey={tmp_path / 'key.pem'}"
        f":certKey={tmp_path / 'certificate.pem'}",
        "--protocol=http",
        f"--http-port={jobs}",
        f"--web=127.0.0.1:{web}",
        f"--listen=tcp:{endpoint}:interface=127.0.0.1",
        f"--listen=unix:{unix}:mode=600",
        "--proxy-from=127.0.0.9",
    ]
    first = place.start(*common, f"--listen=127.0.0.1:{old}")
    second = place.start(*common, f"--listen=127.0.0.1:{new}")
    assert first.wait() == 0
    assert listening(second.pid) == {
        ("127.0.0.1", port) for port in (place.port, tls, other_tls, jobs, web, endpoint, new)
    }
    assert not accepts("127.0.0.1", old)
    answer = b"OK %d\n" % second.pid
    context = ssl.create_default_context()
    authority.configure_trust(context)
    for port in (tls, other_tls):
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as peer,
        ):
            peer.sendall(b"getpid\n")
            assert peer.recv(100) == answer
    for port in (place.port, endpoint, new):
        with WirePeer(port) as wire:
            assert wire.ask("getpid") == answer
    with closing(http.client.HTTPConnection("127.0.0.1", jobs, PATIENCE)) as client:
        client.request("GET", "/f", headers={"X-Gearman-Background": "true"})
        assert client.getresponse().status == 202
    with socket.socket(socket.AF_UNIX) as peer_over_unix:
        peer_over_unix.settimeout(PATIENCE)
        peer_over_unix.connect(str(unix))
        peer_over_unix.sendall(b"getpid\n")
        assert peer_over_unix.recv(100) == answer
    assert unix.stat().st_mode & 0o777 == 0o600
    # A Unix socket that is not named any more goes as well; and what belongs to the last server in the end.
    third = place.start()
    assert second.wait() == 0
    assert not unix.exists()
    assert third.stop() == 0
    assert not place.path.exists()
    assert not place.pid_file.exists()


def test_answers_before_the_end(place: Place, tmp_path: Path) -> None:
    """What was asked before the end is answered; then the connection ends in order, by TLS and HTTP, too."""
    _, authority = certificate(tmp_path)
    tls, web = free_port(), free_port()
    first = place.start(
        f"--tls-listen=127.0.0.1:{tls}",
        f"--tls-cert={tmp_path / 'certificate.pem'}",
        f"--tls-key={tmp_path / 'key.pem'}",
        "--protocol=http",
        f"--http-port={web}",
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)
    others = [
        context.wrap_socket(
            socket.create_connection(("127.0.0.1", tls), PATIENCE), server_hostname="localhost"
        ),
        socket.create_connection(("127.0.0.1", web), PATIENCE),
    ]
    others[0].sendall(b"version\n")
    assert others[0].recv(100).startswith(b"OK ")
    waiting = place.predecessor()
    with place.connect() as peer, place.connect() as idle:
        idle.sync()
        handle = peer.submit(b"f", b"data", type=P.SUBMIT_JOB_BG)
        assert handle
        waiting.end()
        # Nobody serves now. What is asked is for the next server, and no reset comes.
        for each in (peer, idle):
            with suppress(BrokenPipeError):
                each.send(P.ECHO_REQ, b"x" * 100_000)
            with pytest.raises(Closed):
                each.sync()
    for other in others:
        with other:
            other.sendall(b"GET /f HTTP/1.1\r\n\r\n" * 1000)
            assert other.recv(100) == b""
    waiting.give_up()
    wait_until(lambda: b"going on" in first.stdout, what="the old server")
    assert place.serving() == first.pid
    assert place.jobs() == 1


def test_new_server_dies(place: Place) -> None:
    """Whenever the new server is killed, the old one goes on, with its jobs, its pid file and its path."""
    server = place.start()
    place.submit()
    for told_to_end in (False, True, True, False):
        dying = place.predecessor()
        if told_to_end:
            dying.end()
            # Connections wait, for whoever serves next.
            with socket.create_connection(("127.0.0.1", place.port), PATIENCE) as early:
                place.pid_file.write_text("1")
                dying.give_up()
                early.sendall(b"getpid\n")
                early.settimeout(PATIENCE)
                assert early.recv(100) == b"OK %d\n" % server.pid
        else:
            dying.give_up()
        assert place.serving() == server.pid
        assert place.jobs() == 1
        assert place.pid_file.read_text() == str(server.pid)
    following = place.start()
    assert server.wait() == 0
    assert place.serving() == following.pid
    assert place.jobs() == 1


@pytest.mark.parametrize("moment", ["greeted", "told to end"])
def test_old_server_dies(place: Place, moment: str) -> None:
    """Whenever the old server is killed, the new one has its sockets, and the store is free."""
    server = place.start()
    place.submit()
    new = place.predecessor()
    if moment == "told to end":
        server.pause()
        asked = threading.Thread(target=new.end)
        asked.start()
        server.kill()
        asked.join(PATIENCE)
        assert not asked.is_alive()
    else:
        server.kill()
        new.end()
    # It waits in the socket that we have.
    with socket.create_connection(("127.0.0.1", place.port), PATIENCE):
        new.give_up()
    # A path at which nobody listens any more is no server.
    assert place.path.exists()
    following = place.start()
    assert place.serving() == following.pid
    assert place.jobs() == 1


def test_new_server_cannot_start(place: Place, tmp_path: Path) -> None:
    """Bad options, a port that is taken and a bad store leave the old server as it was."""
    server = place.start()
    place.submit()
    (tmp_path / "no.sqlite").write_text("this is no database, but a text of some length" * 20)
    with place.connect() as peer, socket.create_server(("127.0.0.1", 0)) as taken:
        assert "No such file" in place.fails(
            "--tls-listen=127.0.0.1:0", "--tls-cert=/nosuch/cert.pem", "--tls-key=/nosuch/key.pem"
        )
        assert "in use" in place.fails(f"--listen=127.0.0.1:{taken.getsockname()[1]}")
        assert "no folder" in place.fails(store="sqlite:////nosuch/jobs.sqlite")
        assert "not a database" in place.fails(store=f"sqlite:///{tmp_path / 'no.sqlite'}")
        # Nobody has noticed.
        assert peer.sync() == []
    assert place.serving() == server.pid
    assert place.jobs() == 1


def test_store_that_nobody_can_open(place: Place) -> None:
    """If the store cannot be opened by either server any more, both say so, and their statuses do."""
    server = place.start()
    place.submit()
    lock = Path(f"{place.database}.lock")
    lock.unlink()
    lock.mkdir()
    assert "cannot open the lock file" in place.fails()
    assert server.wait() == 1
    assert b"has not taken over; going on" in server.stdout
    assert server.stdout.count(b"cannot open the lock file") == 1
    lock.rmdir()
    place.start()
    assert place.jobs() == 1


def test_two_new_servers_at_once(place: Place) -> None:
    """In the end one of them serves; whoever does not start says why in a line."""
    server = place.start()
    place.submit()
    dying = place.predecessor()
    assert place.fails() == f"--handover {place.path}: process {os.getpid()} takes over at this moment"
    dying.give_up()
    following = [place.begin() for _ in range(3)]
    assert server.wait() == 0
    wait_until(lambda: sum(each.running for each in following) == 1, what="one server that is left")
    [winner] = [each for each in following if each.running]
    for each in following:
        if each is not winner:
            status = each.wait()
            # It has been replaced, too, if it was early.
            assert status == 0 or each.stderr.count(b"\n") == 1, each.log()
    winner.comes_up()
    assert place.serving() == winner.pid
    assert place.jobs() == 1
    assert place.pid_file.read_text() == str(winner.pid)


def test_old_server_that_stands_still(place: Place) -> None:
    """One that does not answer is waited for for five seconds; it goes on when it can."""
    server = place.start()
    server.pause()
    try:
        assert place.fails() == (
            f"--handover {place.path}: the server there does not answer within 5 seconds"
        )
    finally:
        server.resume()
    assert place.serving() == server.pid


def test_store_that_is_not_let_go_of(place: Place) -> None:
    """An old server that cannot close its store in time goes on, and the new one does not start."""
    server = place.start("--store-timeout=60")
    place.submit()
    # The test asks for itself: while another process comes up the server would see that its store is away.
    new = place.predecessor()
    with closing(sqlite3.connect(place.database, isolation_level=None)) as other, place.connect() as peer:
        other.execute("BEGIN IMMEDIATE")
        peer.send(P.SUBMIT_JOB_BG, b"f", b"", b"data")
        assert place.serving() == server.pid
        with pytest.raises(ConfigurationError) as caught:
            new.end()
        assert str(caught.value) == (
            f"--handover {place.path}: the server there, process {server.pid}, has not let go of its store"
            " within 5 seconds; it goes on"
        )
        new.give_up()
        other.execute("ROLLBACK")
        peer.expect(P.JOB_CREATED)
    wait_until(lambda: b"going on" in server.stdout, what="the old server")
    assert place.serving() == server.pid
    assert place.jobs() == 2


def test_daemons(tmp_path: Path, daemons: Daemons, programs: Programs) -> None:
    """Servers that detach themselves: the command returns when the new one serves."""
    port, pid_file = free_port(), tmp_path / "pid"
    command = [
        *twistd(),
        f"--pidfile={pid_file}",
        f"--logfile={tmp_path / 'log'}",
        "txgear",
        "--web=",
        f"--port={port}",
        f"--store=sqlite:///{tmp_path / 'jobs.sqlite'}",
        f"--handover={tmp_path / 'handover'}",
    ]
    pids = []
    for number in range(3):
        assert programs.start(command, name=f"start{number}").wait() == 0
        pids.append(daemons.pid(pid_file))
        with WirePeer(port) as peer:
            assert peer.ask("getpid") == b"OK %d\n" % pids[-1]
            if not number:
                peer.submit(b"f", b"data", type=P.SUBMIT_JOB_BG)
            assert peer.ask_list("status") == ["f\t1\t0\t0"]
    assert len(set(pids)) == 3
    for pid in pids[:2]:
        wait_until(lambda pid=pid: gone(pid), what="the old server's end")  # type: ignore[misc]
    # One that cannot take over says so, and the daemon that runs keeps its pid file.
    failed = programs.start([*command, "--listen=203.0.113.7"], name="fails")
    assert failed.wait() == 1
    assert b"cannot listen on 203.0.113.7" in failed.stderr
    assert pid_file.read_text() == str(pids[-1])
    daemons.ends(pids[-1])
    assert not pid_file.exists()


def test_draining_server(place: Place) -> None:
    """One that drains has closed its ports, and hands nothing over."""
    server = place.start()
    with place.connect() as client:
        client.submit(b"nobody", b"data")
        server.signal(signal.SIGUSR1)
        wait_until(lambda: not accepts("127.0.0.1", place.port), what="the end of listening")
        assert place.fails() == f"--handover {place.path}: the server there drains, or ends"
    assert server.wait() == 0
    assert place.start().stop() == 0


def test_places(place: Place, tmp_path: Path) -> None:
    """A folder that others can write, and a file, are no places; a socket left behind is replaced."""
    assert "is not for this user alone to write" in place.fails("--handover=/tmp/txgear-handover")
    (tmp_path / "file").write_text("dear diary")
    assert "it is a file, and no socket" in place.fails(f"--handover={tmp_path / 'file'}")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place.path))
    server = place.start()
    assert place.path.stat().st_mode & 0o777 == 0o600
    assert place.serving() == server.pid


def answering(path: Path, answer: bytes) -> threading.Thread:
    """Something at a path that answers one connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with listener, listener.accept()[0] as peer:
            peer.recv(1000)
            peer.sendall(answer)
            peer.recv(1000)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_other_versions(place: Place) -> None:
    """A server that hands over in another way, in either role, is told so; the old one serves on."""
    said = {"handover": 99, "version": "9.9", "pid": 1, "store": None, "sockets": 0, "pid_file": 0}
    thread = answering(place.path, json.dumps(said).encode() + b"\n")
    assert place.fails().endswith("the server there, txgear 9.9, hands over in another way: stop it first")
    thread.join(PATIENCE)
    server = place.start()
    for said_first in ({"handover": 99, "version": "9.9", "pid": 1}, ["nonsense"]):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(PATIENCE)
            peer.connect(str(place.path))
            peer.sendall(json.dumps(said_first).encode() + b"\n")
            answer = peer.recv(1000)
            assert (b"stop it first" in answer) == isinstance(said_first, dict)
    assert place.serving() == server.pid


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_databases(place: Place, kind: str, request: pytest.FixtureRequest) -> None:
    """The lock of a database goes from one server to the next, too."""
    database: Database = request.getfixturevalue(kind)
    server = place.start(store=database.url)
    place.submit()
    following = place.start(store=database.url)
    assert server.wait() == 0
    assert place.jobs() == 1
    assert following.stop() == 0
