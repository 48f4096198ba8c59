"""
Attacks on the doors of a server: each from an address that is nobody's, while others are served as always.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final

import pytest
import trustme

from fairtime import Stopwatch
from needs import requires
from processes import PATIENCE, Server, Servers, free_port, wait_until
from wirepeer import P, packet

pytestmark = pytest.mark.txgear_only

STRANGER: Final = "127.0.0.9"
"""An address on loopback of which the rules know nothing; 127.0.0.1 is an identity's."""
MIB: Final = 1024 * 1024
USUAL: Final = 0.05
"""Seconds that half of the echoes of others take at the most, whatever happens at the doors."""
LONGEST: Final = 0.5
"""Seconds that every one takes at the most, on a slow machine."""
LEFT: Final = 24
"""MiB that a server may have grown by when an attack is over: most of it is the C library's."""
STALLED: Final = 1000
"""Connections to ports with TLS on which there is no handshake."""
SLOW: Final = 100
"""Connections of each kind on which something comes byte by byte."""

RULES: Final = """
[login]
certificate = "dns"
[[identity]]
name = "local"
addresses = ["127.0.0.1"]
[[identity]]
name = "team"
certificates = ["team.example"]
[[identity]]
name = "inside"
addresses = ["10.0.0.0/8"]
[[access]]
identities = ["*"]
allow = ["all"]
"""


class Doors:
    """
    A server with a plain port and one with HTTP, each with TLS as well.

    @ivar authority: whose certificates count.
    """

    def __init__(self, start_server: Servers, folder: Path, *options: str) -> None:
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(str(folder / "key.pem"))
        issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
        self.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        (folder / "rules.toml").write_text(RULES)
        self.folder = folder
        self.tls_port, self.http_port, self.https_port = free_port(), free_port(), free_port()
        self.server: Server = start_server(
            "--listen=127.0.0.1",
            f"--tls-listen=127.0.0.1:{self.tls_port}",
            f"--tls-cert={folder / 'cert.pem'}",
            f"--tls-key={folder / 'key.pem'}",
            f"--tls-ca={folder / 'ca.pem'}",
            "--tls-client=ask",
            f"--config={folder / 'rules.toml'}",
            "--protocol=http",
            f"--http-port={self.http_port}",
            f"--http-tls-port={self.https_port}",
            *options,
        )

    def connect(self, port: int | None = None) -> socket.socket:
        """A stranger's connection."""
        return socket.create_connection(("127.0.0.1", port or self.server.port), PATIENCE, (STRANGER, 0))

    def settings(self) -> dict[str, str]:
        """What the server says of itself."""
        return {row[0]: row[1] for row in self.server.list("settings")}

    def count(self, name: str) -> int:
        """One of its counts; 0 where it has not been counted yet."""
        return int(self.settings().get(name, "0"))

    def resident(self) -> float:
        """The server's memory, in MiB."""
        pages = int(Path(f"/proc/{self.server.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MIB

    @contextmanager
    def under_attack(self) -> Iterator[None]:
        """Others are served at the usual latency meanwhile, and what the attack took comes back."""
        before = self.resident()
        over = threading.Event()
        waits: list[float] = []

        def watch() -> None:
            with self.server.connect(PATIENCE) as peer:
                while not over.wait(0.01) or len(waits) < 5:
                    stopwatch = Stopwatch(self.server.pid)
                    peer.sync()
                    waits.append(stopwatch.seconds())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
        waits.sort()
        assert waits[len(waits) // 2] < USUAL
        assert waits[-1] < LONGEST
        wait_until(lambda: self.resident() < before + LEFT, what="the memory to return")
        self.use()

    def use(self) -> None:
        """A job is done as always, on the plain port."""
        with self.server.connect() as worker, self.server.connect() as client:
            worker.send(P.CAN_DO, b"f")
            client.send(P.SUBMIT_JOB, b"f", b"", b"work")
            handle = client.expect(P.JOB_CREATED).body
            worker.sync()
            worker.send(P.GRAB_JOB)
            worker.expect(P.JOB_ASSIGN, handle, b"f", b"work")
            worker.send(P.WORK_COMPLETE, handle, b"done")
            client.expect(P.WORK_COMPLETE, handle, b"done")

    def context(self, issued: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """What a client of the TLS port takes and shows."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if issued is not None:
            issued.configure_cert(context)
        return context


@pytest.fixture
def doors(start_server: Servers, tmp_path: Path) -> Doors:
    return Doors(start_server, tmp_path)


def end_of(sock: socket.socket) -> bytes:
    """What comes until the server hangs up, which it does soon."""
    received = b""
    with suppress(ConnectionResetError):
        while data := sock.recv(65536):
            received += data
    return received


class Tls:
    """A client's side of TLS over bytes that the test carries, so that it can lose or repeat some."""

    def __init__(self, doors: Doors) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        issued = doors.authority.issue_cert("team.example")
        context = doors.context(issued)
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        #: All that the client has sent.
        self.sent: list[bytes] = []

    def carry(self, sock: socket.socket) -> None:
        """Send what there is to be sent."""
        if data := self._out.read():
            self.sent.append(data)
            sock.sendall(data)

    def shake_hands(self, sock: socket.socket) -> None:
        while True:
            try:
                self._tls.do_handshake()
                self.carry(sock)
                return
            except ssl.SSLWantReadError:
                self.carry(sock)
                self._in.write(sock.recv(65536))

    def records(self, data: bytes) -> bytes:
        """This, encrypted, and not sent."""
        self._tls.write(data)
        return self._out.read()

    def read(self, sock: socket.socket) -> bytes:
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLWantReadError:
                data = sock.recv(65536)
                assert data
                self._in.write(data)


def client_hello(doors: Doors) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = doors.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_truncated_tls(doors: Doors) -> None:
    """Half a hello, half a record, and an end that TLS does not know of: nothing of it is carried out."""
    hello = client_hello(doors)
    with doors.under_attack():
        for cut in (1, 5, 11, len(hello) // 2, len(hello) - 1):
            with doors.connect(doors.tls_port) as sock:
                sock.sendall(hello[:cut])
                sock.shutdown(socket.SHUT_WR)
                end_of(sock)
        for cut in (3, 20, 40):
            with doors.connect(doors.tls_port) as sock:
                tls = Tls(doors)
                tls.shake_hands(sock)
                records = tls.records(packet(P.SUBMIT_JOB_BG, b"truncated", b"", b"x" * 100))
                sock.sendall(records[:cut])
                sock.shutdown(socket.SHUT_WR)
                end_of(sock)
    assert doors.server.status("truncated") is None


def test_replayed_tls(doors: Doors) -> None:
    """What somebody has recorded is worth nothing, neither in the same connection nor in a new one."""
    with doors.under_attack():
        with doors.connect(doors.tls_port) as sock:
            tls = Tls(doors)
            tls.shake_hands(sock)
            records = tls.records(packet(P.SUBMIT_JOB_BG, b"replayed", b"", b"x"))
            sock.sendall(records)
            assert tls.read(sock).startswith(b"\0RES" + struct.pack(">I", P.JOB_CREATED))
            sock.sendall(records)
            end_of(sock)
        with doors.connect(doors.tls_port) as sock, suppress(ConnectionError):
            for data in (*tls.sent, records):
                sock.sendall(data)
            end_of(sock)
    assert doors.server.status("replayed") == (1, 0, 0)


def test_renegotiation(doors: Doors) -> None:
    """A client of TLS 1.2 that asks for a new handshake gets none, and disturbs nobody."""
    openssl = requires("openssl")
    with doors.under_attack():
        done = subprocess.run(
            [
                openssl,
                "s_client",
                "-connect",
                f"127.0.0.1:{doors.tls_port}",
                "-tls1_2",
                "-bind",
                f"{STRANGER}:0",
            ],
            input=b"R\n",
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    said = done.stdout + done.stderr
    assert b"RENEGOTIATING" in said
    assert b"no renegotiation" in said


def test_slow_strangers(doors: Doors, tell: Callable[[str], None]) -> None:
    """
    A thousand connections that never shake hands cost others nothing, and are gone after ten seconds. So are
    hundreds that send a header of HTTP, a line or a packet byte by byte.
    """
    hello = client_hello(doors)
    slow = (
        (doors.http_port, b"POST /mail.send HTTP/1.1\r\nAuthorization: Bearer " + b"x" * 4000),
        (doors.server.port, b"status" * 100),
        (doors.server.port, packet(P.SUBMIT_JOB_BG, b"f", b"", b"x" * 5000)[:4000]),
    )
    before = doors.resident()
    began = time.monotonic()
    with doors.under_attack(), ExitStack() as stack:
        stalled = [
            stack.enter_context(doors.connect((doors.tls_port, doors.https_port)[number % 2]))
            for number in range(STALLED)
        ]
        for sock in stalled[: STALLED // 2]:
            sock.sendall(hello[:100])
        dripping = [stack.enter_context(doors.connect(port)) for port, _ in slow * SLOW]
        for sock, (_, data) in zip(dripping, slow * SLOW, strict=True):
            sock.sendall(data)
        most = 0.0
        while dripping:
            assert time.monotonic() - began < 30.0
            most = max(most, doors.resident())
            time.sleep(0.1)
            dripping = [sock for sock in dripping if drips(sock)]
        # As if nobody had ten seconds, the last of them would have been gone before.
        assert time.monotonic() - began > 9.0
        for sock in stalled:
            end_of(sock)
        assert time.monotonic() - began < 30.0
    tell(
        f"{STALLED} stalled handshakes, {3 * SLOW} slow: {before:.0f} MiB, {most:.0f}, {doors.resident():.0f}"
    )
    assert most - before < STALLED * 80 / 1024 + 16
    assert doors.count("tls_stalled") == STALLED
    assert doors.server.said().count(b"has made no TLS handshake") < 30


def drips(sock: socket.socket) -> bool:
    """Send one more byte; whether the server has not hung up."""
    try:
        sock.sendall(b"x")
        return True
    except ConnectionError:
        return False


def test_certificates(doors: Doors) -> None:
    """
    A certificate that is expired, not valid yet, or of another authority, lets nobody in. One in order with
    the name of nobody whom the rules know is as good as none.
    """
    now, day = datetime.now(timezone.utc), timedelta(days=1)
    issue = doors.authority.issue_cert
    wrong = (
        issue("team.example", not_before=now - 9 * day, not_after=now - day),
        issue("team.example", not_before=now + day, not_after=now + 9 * day),
        trustme.CA().issue_cert("team.example"),
    )
    strange = issue("team.example.org")
    with doors.under_attack():
        for issued in wrong:
            # With TLS 1.3 a client knows only later that it was refused.
            with (
                suppress(ssl.SSLError, ConnectionError),
                doors.connect(doors.tls_port) as sock,
                doors.context(issued).wrap_socket(sock, server_hostname="localhost") as tls,
            ):
                tls.sendall(packet(P.SUBMIT_JOB_BG, b"certified", b"", b"x"))
                assert tls.recv(1000) == b""
        with (
            doors.connect(doors.tls_port) as sock,
            doors.context(strange).wrap_socket(sock, server_hostname="localhost") as tls,
        ):
            tls.sendall(packet(P.SUBMIT_JOB_BG, b"certified", b"", b"x"))
            # It is heard only so often without saying who it is.
            tls.sendall(packet(P.ECHO_REQ, b"x") * 40)
            assert b"\0RES" + struct.pack(">I", P.JOB_CREATED) not in end_of(tls)
    assert doors.server.status("certified") is None
    assert doors.count("tls_failed") == len(wrong)
    # And the good one does.
    good = issue("team.example")
    with (
        doors.connect(doors.tls_port) as sock,
        doors.context(good).wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        tls.sendall(packet(P.SUBMIT_JOB_BG, b"certified", b"", b"x"))
        assert tls.recv(1000).startswith(b"\0RES" + struct.pack(">I", P.JOB_CREATED))


def test_a_header_of_a_proxy_that_is_none(start_server: Servers, tmp_path: Path) -> None:
    """Who is no trusted proxy cannot say that it is somebody else."""
    doors = Doors(start_server, tmp_path, "--proxy-from=127.0.0.2")
    line = b"PROXY TCP4 10.0.0.1 127.0.0.1 1000 4730\r\n"
    binary = (
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
        + bytes((10, 0, 0, 1, 127, 0, 0, 1))
        + struct.pack("!HH", 1000, 4730)
    )
    submit = packet(P.SUBMIT_JOB_BG, b"proxied", b"", b"x")
    with doors.under_attack():
        for header in (line, binary):
            for port in (doors.server.port, doors.http_port, doors.tls_port):
                with doors.connect(port) as sock:
                    sock.sendall(header + submit)
                    sock.shutdown(socket.SHUT_WR)
                    assert b"JOB_CREATED" not in end_of(sock)
    assert doors.server.status("proxied") is None
    with socket.create_connection(("127.0.0.1", doors.server.port), PATIENCE, ("127.0.0.2", 0)) as proxy:
        proxy.sendall(line + submit)
        assert proxy.recv(1000).startswith(b"\0RES" + struct.pack(">I", P.JOB_CREATED))


def test_much_declared_before_login(doors: Doors) -> None:
    """64 MiB that are declared, or sent, by who has not said who it is: hardly any of it is kept."""
    body = bytes(MIB)
    declared = struct.pack(">4sII", b"\0REQ", P.SUBMIT_JOB_BG, 64 * MIB)
    http = b"POST /mail.send HTTP/1.1\r\nHost: x\r\nContent-Length: 67108864\r\n\r\n"
    before = doors.resident()
    peak = 0.0
    with doors.under_attack(), ExitStack() as stack:
        for _ in range(100):
            for port, head in (
                (doors.server.port, declared),
                (doors.server.port, b"s"),
                (doors.http_port, http),
            ):
                sock = stack.enter_context(doors.connect(port))
                with suppress(ConnectionError):
                    sock.settimeout(0.2)
                    sock.sendall(head + body)
            peak = max(peak, doors.resident())
        for _ in range(20):
            for port, head in ((doors.tls_port, declared), (doors.https_port, http)):
                sock = stack.enter_context(doors.connect(port))
                tls = stack.enter_context(doors.context().wrap_socket(sock, server_hostname="localhost"))
                with suppress(ssl.SSLError, ConnectionError, TimeoutError):
                    tls.settimeout(0.2)
                    tls.sendall(head + body)
            peak = max(peak, doors.resident())
        # Who asks before he sends it is told that he need not.
        with doors.connect(doors.http_port) as sock:
            sock.sendall(http.replace(b"Host: x\r\n", b"Host: x\r\nExpect: 100-continue\r\n"))
            assert sock.recv(1000).startswith(b"HTTP/1.1 401 ")
    assert peak < before + LEFT
