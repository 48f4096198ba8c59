"""The port of the web, of real servers: where it is, who may, and how it comes and goes with the server."""

from __future__ import annotations

import contextlib
import http.client
import signal
import ssl
from pathlib import Path

import pytest
import trustme

from processes import (
    Program,
    Programs,
    Server,
    Servers,
    free_port,
    run,
    server_command,
    twistd,
    txgear,
    wait_until,
)
from test_handover import Place
from test_tls import Authority
from webpeer import Answer, WebPeer
from wirepeer import P

pytestmark = pytest.mark.txgear_only

TAKEN = b"no web: cannot listen on tcp:4780:interface=127.0.0.1: Address already in use; --web names another"

RULES = """
[login]
certificate = "dns"

[[identity]]
name = "ops"
certificates = ["client.example"]

[[access]]
identities = ["ops"]
allow = ["all"]
"""

__all__ = ["authority"]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "tls"
    folder.mkdir()
    return Authority(folder)


def ask(where: int | str, path: str, *, tls: ssl.SSLContext | None = None, **headers: str) -> Answer:
    with WebPeer(where, tls=tls) as peer:
        return peer.ask("GET", path, b"", **headers)


def with_web(start_server: Servers, *options: str) -> tuple[Server, int]:
    port = free_port()
    return start_server(f"--web=127.0.0.1:{port}", *options), port


def test_is_there_by_default(programs: Programs) -> None:
    """`twistd txgear` has it on loopback, and says where; or in one line that somebody else has the port."""
    words = ["-n", "--pidfile=", "txgear", "--store=memory:", "--listen=127.0.0.1", f"--port={free_port()}"]
    first = programs.start([*twistd(), *words], name="first")
    first.comes_up()
    if b", web at http://127.0.0.1:4780/" not in first.stdout:
        # Whoever has it may be gone before another one looks.
        assert TAKEN in first.stdout
        return
    assert ask(4780, "/ready").json["ready"]
    second = programs.start([*twistd(), *words[:-1], f"--port={free_port()}"], name="second")
    second.comes_up()
    assert second.stdout.count(TAKEN) == 1
    assert b"web at" not in second.stdout


def test_gearmand_has_none(programs: Programs) -> None:
    """Nobody who replaces gearmand expects another port."""
    words = ["gearmand", f"--port={free_port()}", "--listen=127.0.0.1", "--log-file=stderr", "--verbose=INFO"]
    program = programs.start([*txgear(), *words])
    program.comes_up()
    assert b"web at" not in program.stdout
    assert b"no web" not in program.stdout


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("127.0.0.1", "a port is wanted as well, as 127.0.0.1:4780"),
        ("ssl:4780", "write tls:HOST:PORT, with --tls-cert and --tls-key: those files are renewed"),
        ("tls:127.0.0.1:4780", "--tls-cert is wanted as well"),
        ("192.0.2.1:4780", "cannot listen on 192.0.2.1 port 4780: Cannot assign requested address"),
        ("unix:/nowhere/web", "cannot listen on unix:/nowhere/web: there is no folder /nowhere"),
        ("0.0.0.0:0", "other machines reach it, and there are no access rules"),
        ("[::]:0", "other machines reach it, and there are no access rules"),
    ],
)
def test_places_that_cannot_be(tmp_path: Path, where: str, why: str) -> None:
    """The server does not start, and says why in a line."""
    done = run([*server_command(free_port(), "memory:"), f"--web={where}"], cwd=tmp_path)
    assert done.returncode == 1
    [line] = done.stderr.decode().splitlines()
    assert line.startswith(f"txgear: --web {where}: ") or line == f"txgear: --web: {why}"
    assert why in line


def test_a_port_that_is_taken(start_server: Servers, tmp_path: Path) -> None:
    """What was named is there, or the server is not."""
    _, port = with_web(start_server)
    done = run([*server_command(free_port(), "memory:"), f"--web=127.0.0.1:{port}"], cwd=tmp_path)
    assert (done.returncode, done.stderr.decode().splitlines()) == (
        1,
        [f"txgear: --web 127.0.0.1:{port}: cannot listen on 127.0.0.1 port {port}: Address already in use"],
    )


def test_unix_socket(start_server: Servers, tmp_path: Path) -> None:
    """It needs no rules: the file system has let them in."""
    path = tmp_path / "web"
    start_server(f"--web=unix:{path}")
    assert ask(str(path), "/health").json["status"] == "ok"
    assert ask(str(path), "/nothing").status == 404
    assert ask(str(path), "/nothing", Host="evil.example").status == 421


def test_beyond_loopback(start_server: Servers, tmp_path: Path) -> None:
    """With rules; and when those are taken away, nobody is served until there are some again."""
    port, config = free_port(), tmp_path / "rules.toml"
    open_to_all = RULES + '[[access]]\nidentities = ["nobody"]\nallow = ["http", "submit", "see"]\n'
    config.write_text(open_to_all)
    server = start_server(f"--web=0.0.0.0:{port}", f"--config={config}")
    assert ask(port, "/nothing").status == 404
    config.write_text("")
    server.signal(signal.SIGHUP)
    wait_until(lambda: ask(port, "/nothing").status == 403, what="a refusal")
    assert ask(port, "/nothing").problem == "no_access_rules"
    assert ask(port, "/health").status == 200
    assert server.stdout.count(b"all its requests are refused until there are") == 1
    config.write_text(open_to_all)
    server.signal(signal.SIGHUP)
    wait_until(lambda: ask(port, "/nothing").status == 404, what="an answer")


def test_tls(start_server: Servers, authority: Authority, tmp_path: Path) -> None:
    """The server's own: a certificate says who asks, and new files are taken up."""
    config, port = tmp_path / "rules.toml", free_port()
    config.write_text(RULES)
    server = start_server(f"--web=tls:localhost:{port}", f"--config={config}", *authority.options("ask"))
    assert f"web at https://127.0.0.1:{port}/".encode() in server.stdout
    for context, status in (
        (authority.good(), 404),
        (authority.client(authority.ca.issue_cert("other.example")), 401),
        (authority.client(), 401),
    ):
        assert ask(port, "/nothing", tls=context).status == status
        assert ask(port, "/ready", tls=context).status == 200
    stranger = authority.client(trustme.CA().issue_cert("client.example"))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(port, "/ready", tls=stranger)
    with WebPeer(port) as plain:
        plain.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP" not in plain.rest()
    authority.renew("localhost", "renewed.example")
    server.signal(signal.SIGHUP)
    wait_until(lambda: b"TLS: read again" in server.stdout)
    with WebPeer(port, tls=authority.client()) as peer:
        shown = peer.socket.getpeercert()  # type: ignore[attr-defined]
        assert ("DNS", "renewed.example") in shown["subjectAltName"]


def test_tokens(start_server: Servers, tmp_path: Path) -> None:
    """Each request says whose it is."""
    words = run([*txgear(), "token", "new"]).stdout.decode().split()
    token, entry = words[1], words[3]
    config = tmp_path / "rules.toml"
    config.write_text(RULES.replace('certificates = ["client.example"]', f'tokens = ["{entry}"]'))
    _, port = with_web(start_server, f"--config={config}")
    with WebPeer(port) as peer:
        assert peer.ask("GET", "/nothing", Authorization=f"Bearer {token}").status == 404
        answer = peer.ask("GET", "/nothing")
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    wrong = ask(port, "/nothing", Authorization=f"Bearer {token[:-1]}x")
    assert (wrong.status, wrong.json["detail"]) == (401, "This token is not known")


def test_draining(start_server: Servers) -> None:
    """Who drains a server sees it to the end."""
    server, port = with_web(start_server)
    with server.connect() as client, server.connect() as worker:
        worker.send(P.CAN_DO, b"f")
        client.send(P.SUBMIT_JOB, b"f", b"", b"")
        server.wait_for_workers("f")
        worker.send(P.GRAB_JOB)
        server.wait_for_running("f")
        server.signal(signal.SIGUSR1)
        wait_until(lambda: b"draining" in server.stdout, what="a server that drains")
        found = ask(port, "/ready").json
        assert found == {"ready": False, "port": "closed", "store": "ok", "draining": "draining"}
        assert ask(port, "/health").status == 200
    wait_until(lambda: not server.running, what="the end")


def test_handover(programs: Programs, tmp_path: Path) -> None:
    """The next server has the port, and nobody is refused meanwhile."""
    place, port = Place(programs, tmp_path), free_port()
    first = place.start(f"--web=127.0.0.1:{port}")
    with WebPeer(port) as kept:
        assert kept.ask("GET", "/ready").status == 200
        second: Program = place.begin(f"--web=127.0.0.1:{port}")
        while first.running:
            # To be refused or reset is an error here. Who is hung up on without an answer has not been heard.
            with contextlib.suppress(http.client.RemoteDisconnected):
                assert ask(port, "/health").status == 200
        second.comes_up()
        assert kept.rest() == b""
    assert ask(port, "/ready").json["ready"]
    assert place.serving() == second.pid
