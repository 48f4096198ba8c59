"""What clients of the web can do to a server and to each other: hostile bytes, and hostile patience."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from processes import Server, Servers, free_port, wait_until
from webpeer import Answer, WebPeer

pytestmark = [pytest.mark.txgear_only, pytest.mark.alone]

MIB: Final = 1024 * 1024
HEAD: Final = b"POST /nothing HTTP/1.1\r\nHost: localhost\r\n"
IDLE: Final = 10_000
"""Connections that are kept and say nothing."""


class WebServer:
    """A server with a web, and how much memory it takes."""

    def __init__(self, start_server: Servers, *options: str) -> None:
        self.port = free_port()
        self.server: Server = start_server(f"--web=127.0.0.1:{self.port}", *options)

    def connect(self) -> WebPeer:
        return WebPeer(self.port)

    def refusal(self, data: bytes) -> Answer:
        """The answer to bytes after which the server ends the connection."""
        with self.connect() as peer:
            peer.send(data)
            answer = peer.answer()
            assert peer.rest() == b"", "one answer, and the end"
            return answer

    def resident(self) -> float:
        """MiB."""
        pages = int(Path(f"/proc/{self.server.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MIB

    def longest(self, times: int = 20) -> float:
        """Seconds of the slowest answer but one: the machine may stall."""
        with self.connect() as peer:
            return sorted(peer.timed() for _ in range(times))[-2]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """One for all that leave nothing behind."""
    these = Servers(lambda: tmp_path_factory.mktemp("server"))
    yield WebServer(these)
    these.stop()
    assert these.calm(), "a traceback in a server's log"


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD + b"Content-Length: 5, 5\r\n\r\nhello",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\n0\r\n",
        HEAD + b"Content-Length: 0x5\r\n\r\nhello",
        HEAD + b"Content-Length: -5\r\n\r\nhello",
        HEAD + b"Content-Length: " + b"9" * 4000 + b"\r\n\r\nhello",
        HEAD + b"X: a\rb\r\n\r\n",
        HEAD + b"X: a\r\rContent-Length: 5\r\n\r\n",
        HEAD + b"X: a\0b\r\n\r\n",
        HEAD + b"X\0: a\r\n\r\n",
        HEAD + b"X: a\r\n folded\r\n\r\n",
        HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length : 5\r\n\r\nhello",
        HEAD + b" Content-Length: 5\r\n\r\nhello",
        b"GET /health HTTP/1.1\r\n Host: localhost\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET /health HTTP/1.1 x\r\n\r\n",
        b"GET /hea\0lth HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET\t/health\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
        b"\0REQ\0\0\0\x10\0\0\0\x01x\r\n",
    ],
)
def test_no_request(web: WebServer, data: bytes) -> None:
    """One answer with a problem, and the end: what stands behind it is never another request."""
    answer = web.refusal(data + b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (answer.status, answer.problem) == (400, "bad_request")
    assert answer.headers["Connection"] == "close"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: x\r\n" * 10_000 + b"\r\n", 431),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n", 400),
    ],
)
def test_headers(web: WebServer, data: bytes, status: int) -> None:
    """Too large, or not clear whom they mean."""
    with web.connect() as peer:
        with contextlib.suppress(ConnectionError):
            peer.send(data)
        answer = peer.answer()
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_pipelining(web: WebServer) -> None:
    """Requests that were sent ahead are answered in their order, however they are cut."""
    asked = b"".join(
        b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"health" if number % 2 else b"nothing")
        for number in range(500)
    )
    with web.connect() as peer:
        for place in range(0, len(asked), 977):
            peer.send(asked[place : place + 977])
        assert [peer.answer().status for _ in range(500)] == [404, 200] * 250


def test_huge_body(web: WebServer) -> None:
    """It is refused before it is sent; who sends it all the same is not read for ever."""
    with web.connect() as peer:
        answer = peer.ask("POST", "/nothing", Content_Length=str(10**11))
        assert (answer.status, answer.headers["Connection"]) == (404, "close")
        begun = time.monotonic()
        with contextlib.suppress(ConnectionError, TimeoutError):
            while time.monotonic() < begun + 20:
                peer.send(bytes(65536))
                time.sleep(0.01)
        assert time.monotonic() < begun + 15
    assert web.resident() < 200


def test_slow_and_silent(web: WebServer) -> None:
    """A hundred that never finish a header, or a body, keep nobody else waiting."""
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(web.connect()) for _ in range(100)]
        for number, peer in enumerate(peers):
            peer.send(HEAD + (b"Content-Length: 1000\r\n\r\nhalf" if number % 2 else b"X-Slow: "))
        for _ in range(10):
            for peer in peers:
                peer.send(b"x")
            assert web.longest(3) < 0.25
    assert web.longest() < 0.25


def test_reads_nothing(start_server: Servers) -> None:
    """Who asks and asks and reads nothing is not read any more; memory stays what it was."""
    web = WebServer(start_server)
    before = web.resident()
    asked = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000
    with contextlib.ExitStack() as stack:
        sent = 0
        for _ in range(20):
            peer = stack.enter_context(web.connect())
            peer.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(200):
                    sent += peer.socket.send(asked)
        assert sent < 20 * 200 * len(asked) // 2, "all of it was taken"
        # While all are answered that can be, and then.
        longest = [web.longest() for _ in range(5)]
        assert max(longest) < 0.25
        assert web.resident() < before + 30


def raise_limit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip(f"no more than {hard} descriptors here")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def test_idle_connections(start_server: Servers, tell: Callable[[str], None]) -> None:
    """Ten thousand that are kept and say nothing: others are answered in milliseconds."""
    raise_limit(IDLE + 500)
    web = WebServer(start_server)
    web.longest()
    before = web.resident()
    asked = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with contextlib.ExitStack() as stack:
        socks = []
        for _ in range(IDLE):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", web.port), 15))
            sock.sendall(asked)
            socks.append(sock)
        for sock in socks:
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        each = (web.resident() - before) * 1024 / IDLE
        longest = web.longest(50)
        tell(f"{IDLE} idle connections of the web: {each:.1f} KiB each; /ready takes {longest * 1000:.1f} ms")
        assert each < 16
        assert longest < 0.1
    wait_until(lambda: web.longest(3) < 0.1, what="an answer after all have left")


def test_rebinding(web: WebServer) -> None:
    """A web site whose name leads here learns nothing, whatever it asks."""
    for host in (
        "evil.example",
        f"evil.example:{web.port}",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
    ):
        for method, path in (
            ("GET", "/"),
            ("GET", "/api/v1/jobs"),
            ("POST", "/api/v1/jobs"),
            ("OPTIONS", "/"),
        ):
            with web.connect() as peer:
                answer = peer.ask(method, path, Host=host, Origin=f"http://{host}")
            assert (answer.status, answer.problem) == (421, "misdirected_request")
            assert host not in answer.body.decode()


def test_other_sites(web: WebServer) -> None:
    """Forms and scripts of other sites change nothing, and see nothing."""
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://localhost:{web.port + 1}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Origin": f"http://localhost:{web.port}"},
    ):
        for kind in ("application/x-www-form-urlencoded", "text/plain", "application/json"):
            for path in ("/api/v1/functions/f/jobs", "/api/v1/functions/f/pause"):
                with web.connect() as peer:
                    answer = peer.ask(
                        "POST", path, b"a=b", Host=f"localhost:{web.port}", Content_Type=kind, **headers
                    )
                assert (answer.status, answer.problem) == (403, "other_origin"), headers
                assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert web.server.list("status") == []


def test_hostile_names(web: WebServer) -> None:
    """Whatever stands in a path or a query, the answer is JSON, and its headers are its own."""
    hostile = (
        "<script>alert(1)</script>",
        "\"'><img src=x onerror=alert(1)>",
        "a\r\nSet-Cookie: x=1",
        "\u202egnp.exe\u2066",
        "\x00\x1b[2J",
        "x" * 8000,
        "{{7*7}}${7*7}",
        "../../etc/passwd",
    )
    for name in hostile:
        part = "".join(f"%{byte:02X}" for byte in name.encode())
        if len(part) > 15_000:
            part = name
        for path in (
            f"/{part}",
            f"/api/v1/jobs/{part}",
            f"/api/v1/jobs?{part}={part}"[:16000],
            f"/ready?{part}",
        ):
            with web.connect() as peer:
                answer = peer.ask("GET", path)
            assert answer.status < 500, path[:80]
            json.loads(answer.body)
            assert "Set-Cookie" not in answer.headers
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Type"].split("+")[-1] in ("json", "application/json")
