"""Ports behind a proxy that says of each connection whose it is: `--proxy-from`."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import struct
from pathlib import Path

import pytest

from certificates import certificate
from processes import PATIENCE, Program, Programs, Servers, free_port, twistd
from wirepeer import P, WirePeer, packet

pytestmark = pytest.mark.txgear_only

PROXY = "127.0.0.2"
LINE = b"PROXY TCP4 198.51.100.7 127.0.0.1 40000 4730\r\n"
BINARY = (
    b"\r\n\r\n\0\r\nQUIT\n"
    + struct.pack("!BBH", 0x21, 0x21, 36 + 4)
    + socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "::1")
    + struct.pack("!HH", 40000, 4730)
    + b"\x04\0\x01x"
)


def address_of(peer: WirePeer, client_id: bytes) -> str:
    """The address that `workers` has for a peer."""
    peer.send(P.SET_CLIENT_ID, client_id)
    rows = [row.split(" ") for row in peer.ask_list("workers")]
    [address] = [row[1] for row in rows if row[2] == client_id.decode()]
    return address


def test_both_versions(start_server: Servers) -> None:
    """The header and what follows may come in any pieces; lists show the client, and for LOCAL the proxy."""
    server = start_server("--listen=127.0.0.1", "--proxy-from=127.0.0.2/31")
    local = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x20, 0, 0)
    for number, (header, address) in enumerate(
        [
            (LINE, "198.51.100.7"),
            (BINARY, "2001:db8::7"),
            (b"PROXY UNKNOWN\r\n", PROXY),
            (local, PROXY),
        ]
    ):
        echo = packet(P.ECHO_REQ, b"hello")
        for pieces in ([header + echo], [header, echo], [header[:3], header[3:] + echo[:5], echo[5:]]):
            with WirePeer(server.port, source=PROXY) as peer:
                for piece in pieces:
                    peer.send_raw(piece)
                peer.expect(P.ECHO_RES, b"hello")
                assert address_of(peer, b"peer%d" % number) == address


def test_not_trusted(start_server: Servers) -> None:
    """Whoever else connects is served as ever, and cannot say that he is somebody else."""
    server = start_server("--listen=127.0.0.1", f"--proxy-from={PROXY}", "--proxy-from=unix")
    with WirePeer(server.port) as peer:
        assert address_of(peer, b"plain") == "127.0.0.1"
    with WirePeer(server.port) as peer:
        peer.send_raw(LINE)
        # It is no packet.
        assert peer.read_to_end() == b""


def test_broken(start_server: Servers) -> None:
    """Without a header the connection ends; the log says so some times, and not for each one."""
    server = start_server("--listen=127.0.0.1", f"--proxy-from={PROXY}")
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE, (PROXY, 0)) as peer:
            peer.sendall(packet(P.ECHO_REQ, b"hello"))
            with contextlib.suppress(ConnectionResetError):
                assert peer.recv(100) == b""
    assert server.said().count(b"it begins with no PROXY header; connection closed") == 20
    assert any(row[-2:] == ["proxy_refused", "100"] for row in server.list("settings"))


def test_tls_and_http(start_server: Servers, tmp_path: Path) -> None:
    """The header comes before TLS, and before HTTP."""
    files, authority = certificate(tmp_path)
    tls_port, http_port = free_port(), free_port()
    server = start_server(
        "--listen=127.0.0.1",
        f"--listen=ssl:{tls_port}:interface=127.0.0.1:{files}",
        "--protocol=http",
        f"--http-port={http_port}",
        f"--proxy-from={PROXY}",
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with socket.create_connection(("127.0.0.1", tls_port), PATIENCE, (PROXY, 0)) as plain:
        plain.sendall(BINARY)
        with context.wrap_socket(plain, server_hostname="localhost") as peer:
            peer.sendall(b"workers\n")
            assert b" 2001:db8::7 - :\n" in peer.recv(4096)
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", http_port, PATIENCE, (PROXY, 0))
    ) as client:
        client.connect()
        client.sock.sendall(LINE)
        client.request("GET", "/reverse", headers={"X-Gearman-Background": "true"})
        answer = client.getresponse()
        assert answer.status == 202
        answer.read()
        with WirePeer(server.port, source=PROXY) as operator:
            operator.send_raw(LINE)
            addresses = [row.split(" ")[1] for row in operator.ask_list("workers")]
            assert addresses.count("198.51.100.7") == 2


def test_twisted_s_endpoint(start_server: Servers) -> None:
    """What `haproxy:` reads is not read twice."""
    port = free_port()
    server = start_server(
        "--listen=127.0.0.1",
        f"--listen=haproxy:tcp:{port}:interface=127.0.0.1",
        f"--proxy-from={PROXY}",
    )
    with WirePeer(port, source=PROXY) as peer, WirePeer(server.port, source=PROXY) as other:
        for each in (peer, other):
            each.send_raw(LINE)
            assert each.sync() == []
            assert address_of(each, b"id%d" % each.local_port) == "198.51.100.7"


def unix_server(programs: Programs, path: Path, *options: str) -> Program:
    program = programs.start(
        [
            *twistd(),
            "-n",
            "--pidfile=",
            "txgear",
            "--web=",
            f"--listen=unix:{path}:mode=600",
            "--store=memory:",
            *options,
        ]
    )
    program.comes_up()
    return program


def test_unix_socket(programs: Programs, tmp_path: Path) -> None:
    """`unix` stands for all who come over Unix sockets."""
    path = tmp_path / "s"
    program = unix_server(programs, path, "--proxy-from=unix")
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(PATIENCE)
        peer.connect(str(path))
        peer.sendall(LINE + b"workers\n")
        assert b" 198.51.100.7 - :\n" in peer.recv(4096)
    assert program.stop() == 0
    assert not path.exists()


def test_mistake(programs: Programs, tmp_path: Path) -> None:
    program = programs.start([*twistd(), "-n", "--pidfile=", "txgear", "--proxy-from", "localhost"])
    assert program.wait() == 1
    assert b"--proxy-from localhost: an address, a network or `unix` is wanted" in program.stderr
    assert program.stderr.count(b"\n") == 1
