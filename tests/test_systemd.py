"""Sockets that systemd opens: its socket activation, as far as it can be had without systemd."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from certificates import certificate
from needs import lacks
from processes import PATIENCE, Program, Programs, free_port, run, twistd, wait_until
from startup import Daemons, accepts, assert_one_line
from wirepeer import WirePeer

pytestmark = pytest.mark.txgear_only

#: What systemd does before it executes a service: the sockets' numbers start at 3.
PASS: Final = """
import json, os, socket, sys
sockets = [socket.socket(getattr(socket, "AF_" + family)) for family, _ in json.loads(sys.argv[2])]
for sock, (family, address) in zip(sockets, json.loads(sys.argv[2])):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == "INET6":
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if family == "UNIX":
        os.umask(0o177)
    sock.bind(tuple(address) if isinstance(address, list) else address)
    sock.listen()
for number, sock in enumerate(sockets):
    os.dup2(sock.fileno(), 50 + number)
for number in range(len(sockets)):
    os.dup2(50 + number, 3 + number)
os.environ.update(LISTEN_PID=sys.argv[3].replace("me", str(os.getpid())), LISTEN_FDS=str(len(sockets)),
                  LISTEN_FDNAMES=sys.argv[1])
os.execvp(sys.argv[4], sys.argv[4:])
"""


def inet(port: int) -> list[Any]:
    return ["INET", ["127.0.0.1", port]]


def activated(names: str, sockets: list[Any], *words: str, pid: str = "me") -> list[str]:
    """The command that starts twistd as systemd would, with sockets of these names."""
    return [sys.executable, "-c", PASS, names, json.dumps(sockets), pid, *twistd(), *words]


def start(programs: Programs, names: str, sockets: list[Any], *options: str) -> Program:
    command = activated(names, sockets, "-n", "--pidfile=", "txgear", "--web=", "--store=memory:", *options)
    program = programs.start(command)
    program.comes_up()
    assert program.running, program.log()
    return program


def asks_pid(family: int, address: str | tuple[str, int]) -> bytes:
    with socket.socket(family) as peer:
        peer.settimeout(PATIENCE)
        peer.connect(address)
        peer.sendall(b"getpid\n")
        return peer.recv(100)


def test_several_sockets(programs: Programs, tmp_path: Path) -> None:
    """One name stands for all sockets of a unit; a Unix socket keeps its mode and its file."""
    one, two, path = free_port(), free_port(), tmp_path / "s"
    sockets = [inet(one), ["INET6", ["::1", one]], inet(two), ["UNIX", str(path)]]
    program = start(
        programs,
        "gear:gear:other:local",
        sockets,
        "--listen=systemd:name=gear",
        "--listen=systemd:domain=UNIX:name=local",
    )
    answer = b"OK %d\n" % program.pid
    assert asks_pid(socket.AF_INET, ("127.0.0.1", one)) == answer
    assert asks_pid(socket.AF_INET6, ("::1", one)) == answer
    assert asks_pid(socket.AF_UNIX, str(path)) == answer
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"listening on 127.0.0.1:{one}, [::1]:{one}, {path}".encode() in program.stdout
    # This one nobody has asked for: systemd keeps it, and who connects waits.
    assert accepts("127.0.0.1", two)
    assert program.stop() == 0
    assert path.exists()


def test_headers_of_proxies(programs: Programs) -> None:
    port = free_port()
    start(
        programs,
        "gear",
        [inet(port)],
        "--listen=systemd:index=0",
        "--proxy-from=127.0.0.1",
    )
    with WirePeer(port) as peer:
        peer.send_raw(b"PROXY TCP4 198.51.100.7 127.0.0.1 40000 4730\r\n")
        assert peer.ask_list("workers")[0].split(" ")[1] == "198.51.100.7"


def test_tls(programs: Programs, tmp_path: Path) -> None:
    """A socket may be one with TLS."""
    _, authority = certificate(tmp_path)
    plain_port, port = free_port(), free_port()
    start(
        programs,
        "gear:gear-tls",
        [inet(plain_port), inet(port)],
        "--listen=systemd:name=gear",
        "--tls-listen=systemd:name=gear-tls",
        f"--tls-cert={tmp_path / 'certificate.pem'}",
        f"--tls-key={tmp_path / 'key.pem'}",
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as peer,
    ):
        peer.sendall(b"version\n")
        assert peer.recv(100).startswith(b"OK ")
    with WirePeer(plain_port) as wire:
        assert wire.sync() == []


def test_daemon(tmp_path: Path, daemons: Daemons, programs: Programs) -> None:
    """A server that detaches itself is another process than LISTEN_PID names, and has the sockets."""
    port, pid_file = free_port(), tmp_path / "pid"
    words = [f"--pidfile={pid_file}", f"--logfile={tmp_path / 'log'}", "txgear", "--store=memory:"]
    starting = programs.start(activated("gear", [inet(port)], *words, "--listen=systemd:name=gear"))
    pid = daemons.pid(pid_file)
    assert starting.wait() == 0
    assert asks_pid(socket.AF_INET, ("127.0.0.1", port)) == b"OK %d\n" % pid
    daemons.ends(pid)


MISTAKES: Final = {
    "systemd:name=gears": "systemd has passed no socket of the name gears; there is gear",
    "systemd:domain=INET:index=1": "no socket has the index 1: systemd has passed 1",
    "systemd:domain=INET6:name=gear": "its domain is INET, and not INET6",
    "systemd:gear": "one of name=NAME and index=NUMBER is wanted",
}


@pytest.mark.parametrize("endpoint", list(MISTAKES))
def test_mistakes(tmp_path: Path, endpoint: str) -> None:
    """What is wrong is one line."""
    words = ["-n", "--pidfile=", "txgear", "--store=memory:", f"--listen={endpoint}"]
    done = run(activated("gear", [inet(free_port())], *words), cwd=tmp_path)
    assert_one_line(done, f"cannot listen on {endpoint}: {MISTAKES[endpoint]}")


@pytest.mark.parametrize("by_another", [False, True])
def test_not_by_systemd(tmp_path: Path, by_another: bool) -> None:
    """Without sockets, or with those of another process, the line says so."""
    words = ["-n", "--pidfile=", "txgear", "--store=memory:", "--listen=systemd:name=gear"]
    if by_another:
        command = activated("gear", [inet(free_port())], *words, pid="1")
    else:
        command = [*twistd(), *words]
    expected = "to process 1, and this is" if by_another else "systemd has passed no socket"
    assert_one_line(run(command, cwd=tmp_path), expected)


def test_systemd_s_own_tool(programs: Programs) -> None:
    """`systemd-socket-activate` starts the server when somebody connects, and that one is served."""
    tool = shutil.which("systemd-socket-activate")
    lacks("" if tool else "there is no program systemd-socket-activate")
    assert tool is not None
    port = free_port()
    words = ["-n", "--pidfile=", "txgear", "--store=memory:", "--listen=systemd:name=gear"]
    program = programs.start([tool, "--listen", f"127.0.0.1:{port}", "--fdname=gear", *twistd(), *words])
    wait_until(lambda: b"Listening on" in program.stderr, what="systemd's tool")
    assert asks_pid(socket.AF_INET, ("127.0.0.1", port)) == b"OK %d\n" % program.pid
    assert program.stop() == 0
