"""Connections of the Gearman port that go on with HTTP, at real servers."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from processes import PATIENCE, Server, Servers, free_port, wait_until
from txgear.cli.base.api import Api, path_of
from txgear.cli.base.places import Place, TLSFiles
from txgear.cli.base.statuses import DENIED, UNREACHABLE, CommandError
from txgear.protocol.constants import (
    CAN_DO,
    EXTENSION_OPTION,
    GRAB_JOB,
    LOGGED_IN,
    LOGIN,
    OPTION_REQ,
    SUBMIT_JOB_BG,
    SWITCH_HTTP,
    SWITCHED_HTTP,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.protocol.packets import request
from txgear.security.tokens import Token, new_token
from wirepeer import P

SWITCH: Final = request(OPTION_REQ, EXTENSION_OPTION) + request(SWITCH_HTTP)
GET: Final = b"GET /api/v1/server HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        yield sock


def packet(sock: socket.socket) -> tuple[int, bytes]:
    """The next packet of the server."""
    header = exactly(sock, 12)
    return int.from_bytes(header[4:8], "big"), exactly(sock, int.from_bytes(header[8:], "big"))


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, data
        data += piece
    return data


def answer(sock: socket.socket) -> tuple[int, Any]:
    """The answer to a request, and what it says."""
    found = http.client.HTTPResponse(sock)
    found.begin()
    return found.status, json.loads(found.read())


def api(server: Server, **rest: Any) -> Api:
    return Api(Place("server", "127.0.0.1", server.port), **rest)


def test_with_and_without_a_web(start_server: Servers) -> None:
    """It is the same API; the first to ask is answered while the web is imported, and so is a second."""
    off = start_server()
    on = start_server(f"--web=tcp:{free_port()}:interface=127.0.0.1")
    for server in (off, on):
        with connected(server.port) as first, connected(server.port) as second:
            for sock in (first, second):
                # With the first request in the same breath.
                sock.sendall(SWITCH + GET)
            for sock in (first, second):
                assert [packet(sock)[0] for _ in range(2)] == [P.OPTION_RES, SWITCHED_HTTP]
                status, found = answer(sock)
                assert (status, found["connections"]) == (200, 2)
                sock.sendall(GET)
                assert answer(sock)[0] == 200
        asked = api(server)
        (row,) = asked.get(path_of("connections"), {"worker": ""})["connections"]
        assert (row["kind"], row["encrypted"], row["functions"]) == ("web", False, 0)
        assert asked.get(path_of("openapi.json"))["openapi"].startswith("3.")
        asked.close()


def test_others_are_served_while_the_web_is_imported(start_server: Servers) -> None:
    server = start_server()
    with connected(server.port) as other, connected(server.port) as sock:
        sock.sendall(SWITCH)
        assert packet(sock)[0] == P.OPTION_RES
        sock.settimeout(0.0)
        slowest, echoes = 0.0, 0
        while True:
            began = time.monotonic()
            other.sendall(request(P.ECHO_REQ, b"x"))
            assert packet(other)[0] == P.ECHO_RES
            slowest, echoes = max(slowest, time.monotonic() - began), echoes + 1
            try:
                sock.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                continue
            break
    # Imported at once it would be one, which takes all the time.
    assert echoes > 3, slowest


def test_unix(start_server: Servers, tmp_path: Path) -> None:
    path = tmp_path / "gear.sock"
    start_server("--listen", f"unix:{path}", "--listen", "127.0.0.1")
    asked = Api(Place("unix", path=str(path)))
    (row,) = asked.get(path_of("connections"))["connections"]
    assert row["kind"] == "web"
    asked.close()


def test_tls(start_server: Servers, tmp_path: Path) -> None:
    """With a certificate of the client it is known who asks; a handshake is counted once."""
    authority, stranger = trustme.CA(), trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    stranger.cert_pem.write_to_path(str(tmp_path / "stranger.pem"))
    client = authority.issue_cert("ops.example")
    client.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    config = tmp_path / "txgear.toml"
    config.write_text(
        '[login]\ncertificate = "dns"\n[[identity]]\nname = "ops"\ncertificates = ["ops.example"]\n'
        'connections = 1\n[[access]]\nidentities = ["ops"]\nallow = ["all"]\n'
    )
    port = free_port()
    start_server(
        *("--listen", "127.0.0.1"),
        *("--tls-listen", f"127.0.0.1:{port}", "--config", str(config), "--tls-client", "ask"),
        *("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")),
        *("--tls-ca", str(tmp_path / "ca.pem")),
    )

    def asked(**files: str) -> Api:
        names = {name: str(tmp_path / file) for name, file in files.items()}
        return Api(Place("tls", "127.0.0.1", port, tls=TLSFiles(name="localhost", **names)))

    ops = asked(ca="ca.pem", certificate="client.pem")
    # Its quota is one connection, and it is one.
    (row,) = ops.get(path_of("connections"))["connections"]
    assert (row["identity"], row["kind"], row["encrypted"]) == ("ops", "web", True)
    settings = ops.get(path_of("settings"))["settings"]
    assert (settings["tls_handshakes"], settings["tls_failed"]) == (1, 0)
    # More than the socket holds, and more than a record.
    body = b"x" * 3_000_000
    ops.send("PUT", path_of("functions", "f"))
    made = ops.send("POST", path_of("functions", "f", "jobs"), {"background": True}, body)
    assert b"".join(ops.open(path_of("jobs", made["handle"], "workload")).pieces()) == body
    ops.close()
    with pytest.raises(CommandError) as nobody:
        asked(ca="ca.pem").get(path_of("server"))
    assert nobody.value.status == DENIED
    with pytest.raises(CommandError) as wrong:
        asked(ca="stranger.pem").get(path_of("server"))
    assert wrong.value.status == UNREACHABLE
    assert "certificate" in wrong.value.text


def test_who_asks(start_server: Servers, tmp_path: Path) -> None:
    """A log-in is wanted: not the one before the switch counts behind it, but a token in each request."""
    secret = new_token()
    token = Token.of(secret.encode())
    assert token is not None
    config = tmp_path / "txgear.toml"
    config.write_text(
        f'[[identity]]\nname = "ops"\ntokens = ["{token}"]\n'
        '[[access]]\nidentities = ["ops"]\nallow = ["http", "settings"]\n'
    )
    server = start_server("--config", str(config))
    asked = api(server, token=secret.encode())
    assert asked.get(path_of("server"))["connections"] == 1
    for path in ("audit", "server/reload"):
        with pytest.raises(CommandError) as refused:
            asked.send("POST" if "/" in path else "GET", f"/api/v1/{path}")
        assert (refused.value.status, refused.value.code) == (DENIED, "access_denied")
    with pytest.raises(CommandError) as nobody:
        api(server).get(path_of("server"))
    assert nobody.value.status == DENIED
    with connected(server.port) as sock:
        sock.sendall(request(OPTION_REQ, EXTENSION_OPTION) + request(LOGIN, secret.encode()))
        assert [packet(sock)[0] for _ in range(2)] == [P.OPTION_RES, LOGGED_IN]
        sock.sendall(request(SWITCH_HTTP) + GET)
        packet(sock)
        assert answer(sock)[0] == 401
    asked.close()


def test_behind_a_proxy(start_server: Servers) -> None:
    """Who asks is who the header says."""
    server = start_server("--listen=127.0.0.1", "--proxy-from=127.0.0.2")
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE, ("127.0.0.2", 0)) as sock:
        sock.sendall(b"PROXY TCP4 192.0.2.7 127.0.0.1 1234 4730\r\n" + SWITCH)
        assert [packet(sock)[0] for _ in range(2)] == [P.OPTION_RES, SWITCHED_HTTP]
        sock.sendall(GET.replace(b"/server", b"/connections"))
        status, found = answer(sock)
        assert (status, found["connections"][0]["address"]) == (200, "192.0.2.7")


def test_when_it_is_refused(start_server: Servers) -> None:
    """What would be lost is kept, and the connection goes on as it was."""
    server = start_server()
    with connected(server.port) as sock:
        # Not asked for.
        sock.sendall(request(SWITCH_HTTP))
        assert sock.recv(1) == b""
    with connected(server.port) as sock:
        sock.sendall(
            request(OPTION_REQ, EXTENSION_OPTION)
            + request(CAN_DO, b"f")
            + request(SUBMIT_JOB_BG, b"f", b"", b"")
            + request(GRAB_JOB)
            + request(SWITCH_HTTP)
            + request(P.ECHO_REQ, b"still here")
        )
        kinds = [packet(sock) for _ in range(5)]
        assert [kind for kind, _ in kinds] == [
            P.OPTION_RES,
            P.JOB_CREATED,
            P.JOB_ASSIGN,
            P.ERROR,
            P.ECHO_RES,
        ]
        assert kinds[3][1].startswith(b"NOT_SWITCHED\0")
        handle = kinds[1][1]
        sock.sendall(request(WORK_COMPLETE, handle, b"") + request(P.RESET_ABILITIES) + SWITCH)
        assert [packet(sock)[0] for _ in range(2)] == [P.OPTION_RES, SWITCHED_HTTP]
        # A second one is no HTTP.
        sock.sendall(request(SWITCH_HTTP) + b"\r\n\r\n")
        assert answer(sock)[0] == 400
    with connected(server.port) as sock:
        # In the middle of what takes several turns.
        echoes = 20_000
        sock.sendall(SWITCH[:-12] + request(P.ECHO_REQ, b"x") * echoes + request(SWITCH_HTTP) + GET)
        assert {packet(sock)[0] for _ in range(echoes + 1)} == {P.OPTION_RES, P.ECHO_RES}
        assert packet(sock)[0] == SWITCHED_HTTP
        assert answer(sock)[0] == 200


def test_a_job_is_followed(start_server: Servers) -> None:
    """Data, warnings, progress and the end arrive, without a web."""
    server = start_server()
    worker = server.connect(PATIENCE)
    worker.can_do(b"f")
    asked = api(server)
    handle = asked.send("POST", path_of("functions", "f", "jobs"), {"background": True}, b"w")["handle"]
    events = asked.events({"job": handle})
    assert (first := next(events)).name == "job"
    assert first.data["state"] == "queued"
    job = worker.grab_soon()
    worker.send(WORK_DATA, job.handle, b"part")
    worker.send(WORK_WARNING, job.handle, b"careful")
    worker.send(WORK_STATUS, job.handle, b"1", b"2")
    worker.send(WORK_COMPLETE, job.handle, b"done")
    worker.sync()
    found = {event.name: event.data for event in events}
    assert found["job"]["state"] == "running"
    assert found["data"]["text"] == "part"
    assert found["warning"]["text"] == "careful"
    assert (found["progress"]["numerator"], found["progress"]["denominator"]) == (1, 2)
    assert found["ended"]["outcome"] == "done"
    asked.close()


def test_a_draining_server_is_looked_at_to_its_end(start_server: Servers) -> None:
    server = start_server("--allow-shutdown")
    worker = server.connect(PATIENCE)
    worker.can_do(b"f")
    asked = api(server)
    asked.send("POST", path_of("functions", "f", "jobs"), {"background": True}, b"w")
    job = worker.grab_soon()
    assert asked.send("POST", path_of("server", "drain")) == {"graceful": True, "running": 1}
    # The same connection: there is no port any more.
    for _ in range(3):
        assert asked.get(path_of("server"))["draining"]
        time.sleep(0.05)
    with pytest.raises(ConnectionRefusedError), connected(server.port):
        pass
    worker.complete(job)
    assert server.wait() == 0
    with pytest.raises(CommandError) as gone:
        asked.get(path_of("server"))
    assert gone.value.status == UNREACHABLE
    asked.close()


def test_the_server_ends(start_server: Servers) -> None:
    """Who reads nothing does not hold it up, nor does who waits for the web just then."""
    server = start_server("--allow-shutdown")
    silent, waiting = (socket.create_connection(("127.0.0.1", server.port)) for _ in range(2))
    silent.sendall(SWITCH + GET * 2000)
    asked = api(server)
    waiting.sendall(SWITCH)
    assert asked.send("POST", path_of("server", "shutdown")) == {"graceful": False, "running": 0}
    assert server.wait() == 0
    asked.close()
    for sock in (silent, waiting):
        sock.close()


def test_reload(start_server: Servers, tmp_path: Path) -> None:
    config = tmp_path / "txgear.toml"
    config.write_text("")
    server = start_server("--config", str(config))
    asked = api(server)
    config.write_text('[[function]]\nname = "mail.*"\nretries = 3\n')
    found = asked.send("POST", path_of("server", "reload"))["config"]
    assert (found["by"], found["error"]) == ("operator", None)
    assert asked.get(path_of("policies"))["policies"][0]["pattern"] == "mail.*"
    config.write_text("[[function]]\nname = 3\n")
    with pytest.raises(CommandError) as refused:
        asked.send("POST", path_of("server", "reload"))
    assert refused.value.code == "invalid_config"
    assert asked.get(path_of("policies"))["policies"][0]["pattern"] == "mail.*"
    acts = asked.get(path_of("audit"), {"act": "reload"})["acts"]
    assert [(act["outcome"], act["address"]) for act in acts[:2]] == [
        ("refused", "127.0.0.1"),
        ("done", "127.0.0.1"),
    ]
    asked.close()


def test_who_leaves_in_the_middle(start_server: Servers) -> None:
    """At any place; nothing of them is left."""
    server = start_server()
    whole = SWITCH + GET
    for end in range(0, len(whole), 7):
        with connected(server.port) as sock:
            sock.sendall(whole[:end])
            if end % 2:
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
    with connected(server.port) as sock:
        # Our side only: it is answered.
        sock.sendall(whole)
        sock.shutdown(socket.SHUT_WR)
        assert [packet(sock)[0] for _ in range(2)] == [P.OPTION_RES, SWITCHED_HTTP]
        assert answer(sock)[0] == 200
    asked = api(server)
    wait_until(lambda: asked.get(path_of("server"))["connections"] == 1, what="all are forgotten")
    asked.close()
