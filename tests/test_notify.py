"""What a service manager is told by a real server, as systemd's `Type=notify` and its watchdog want it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from managers import Manager
from processes import Program, Programs, free_port, twistd, wait_until
from txgear.daemon.notify import send
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


def start(programs: Programs, port: int, env: dict[str, str], *options: str, name: str = "server") -> Program:
    command = [*twistd(), "-n", "--pidfile=", "txgear", "--web=", f"--port={port}", "--listen=127.0.0.1"]
    return programs.start([*command, "--store=memory:", *options], env=env, name=name)


def hears_for_ever(manager: Manager) -> None:
    """Some may have been sent before."""
    for _ in range(3):
        manager.next(timeout=0.6)


def sends_without_end(manager: Manager) -> None:
    for _ in range(10_000):
        send(manager.address, b"WATCHDOG=1")


@pytest.mark.parametrize("abstract", [False, True])
def test_life(programs: Programs, tmp_path: Path, abstract: bool) -> None:
    """READY when a connection is served, RELOADING and READY around a reload, STATUS, STOPPING."""
    folder = tmp_path / "manager"
    folder.mkdir()
    (tmp_path / "config.toml").touch()
    manager, port = Manager(folder, abstract), free_port()
    server = start(programs, port, manager.environ(watchdog=1.0), f"--config={tmp_path / 'config.toml'}")
    told = manager.next()
    assert told == {"READY": "1", "STATUS": "0 connections; 0 jobs, 0 of them running"}
    with WirePeer(port) as peer:
        peer.submit(b"f", b"data", type=P.SUBMIT_JOB_BG)
        assert manager.until("STATUS")["STATUS"] == "1 connection; 1 job, 0 of them running"
    before = time.monotonic_ns() // 1000
    server.signal(signal.SIGHUP)
    told = manager.until("RELOADING")
    assert before < int(told["MONOTONIC_USEC"]) < time.monotonic_ns() // 1000
    assert manager.until("READY")["READY"] == "1"
    server.signal(signal.SIGTERM)
    assert manager.until("STOPPING") == {"STOPPING": "1", "STATUS": "ends"}
    assert server.wait() == 0
    manager.close()


def test_watchdog(programs: Programs, manager: Manager) -> None:
    """A server whose reactor runs is heard of each half of the time; one that stands still is not."""
    server = start(programs, free_port(), manager.environ(watchdog=0.6))
    manager.until("READY")
    moments = []
    for _ in range(4):
        manager.until("WATCHDOG")
        moments.append(time.monotonic())
    assert 0.8 < moments[-1] - moments[0] < 1.5
    server.pause()
    try:
        with pytest.raises(TimeoutError):
            hears_for_ever(manager)
    finally:
        server.resume()
    manager.until("WATCHDOG")


def test_draining(programs: Programs, manager: Manager) -> None:
    """A drain is no end yet: the manager would begin to count."""
    port = free_port()
    server = start(programs, port, manager.environ(watchdog=0.4))
    manager.until("READY")
    with WirePeer(port) as client:
        client.submit(b"nobody", b"data")
        server.signal(signal.SIGUSR1)
        while not (told := manager.until("STATUS"))["STATUS"].startswith("draining: 1 "):
            assert "STOPPING" not in told
    manager.until("STOPPING")
    assert server.wait() == 0


def test_hand_over(programs: Programs, manager: Manager, tmp_path: Path) -> None:
    """The new server says that it is the main process now; the old one's end is not the service's."""
    port, handover = free_port(), f"--handover={tmp_path / 'handover'}"
    old = start(programs, port, manager.environ(), handover, name="old")
    assert "MAINPID" not in manager.until("READY")
    new = start(programs, port, manager.environ(), handover, name="new")
    assert manager.next()["MAINPID"] == str(new.pid)
    assert old.wait() == 0
    new.signal(signal.SIGTERM)
    assert "STOPPING" in manager.next()
    assert new.wait() == 0


def test_a_server_that_does_not_start(programs: Programs, manager: Manager) -> None:
    """Its exit status says all."""
    server = start(programs, free_port(), manager.environ(), "--listen=203.0.113.7")
    assert server.wait() == 1
    with pytest.raises(TimeoutError):
        manager.next(timeout=0.1)


def test_nobody_there(programs: Programs, tmp_path: Path) -> None:
    """A manager that is gone is mentioned once, and costs nothing."""
    port = free_port()
    env = {"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "200000"}
    server = start(programs, port, env)
    wait_until(lambda: b"cannot be told anything" in server.stdout, what="the line")
    with WirePeer(port) as peer:
        assert peer.ask("getpid") == b"OK %d\n" % server.pid
    time.sleep(0.4)
    assert server.stdout.count(b"cannot be told anything: No such file or directory") == 1


def test_a_socket_that_is_full(manager: Manager) -> None:
    """A manager that does not read never holds us."""
    with pytest.raises(BlockingIOError):
        sends_without_end(manager)
    assert manager.next() == {"WATCHDOG": "1"}
    manager.close()
    with pytest.raises(ConnectionRefusedError):
        send(manager.address, b"READY=1")
