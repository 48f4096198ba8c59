"""Jobs over HTTP: `--protocol http --http-port N`, with curl."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import pytest

from needs import requires
from processes import (
    PATIENCE,
    Program,
    Programs,
    Server,
    Servers,
    free_port,
    listening,
    run,
    twistd,
    wait_until,
)
from wirepeer import Job, P, WirePeer

# What the door answers; here to be changed in one place.
DONE: Final = 200
QUEUED: Final = 202
BAD: Final = 400
NO_FUNCTION: Final = 404
BAD_METHOD: Final = 405
FAILED: Final = 500
FULL: Final = 503


class Answer(NamedTuple):
    """A response, its header names in small letters."""

    version: str
    status: int
    headers: dict[str, str]
    body: bytes


def parse(output: bytes) -> list[Answer]:
    """The responses in curl's `--include` output; each but the last must have no body or a Content-Length."""
    answers: list[Answer] = []
    while output:
        head, _, output = output.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        version, status = lines[0].split(" ", 2)[:2]
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if status == "100":
            continue
        size = int(headers.get("content-length", len(output)))
        answers.append(Answer(version, int(status), headers, output[:size]))
        output = output[size:]
    return answers


class Web:
    """The HTTP door of a server, a worker beside it, and curl."""

    def __init__(self, server: Server, port: int, programs: Programs) -> None:
        self.server = server
        self.port = port
        self._programs = programs
        self._curl = requires("curl")

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def start(self, path: str, *options: str, body: bytes | None = None) -> Program:
        """Start one request."""
        if body is not None:
            options = ("--data-binary", "@-", *options)
        command = [self._curl, "-sS", "-N", "-i", "-m", str(int(PATIENCE)), *options, self.url(path)]
        return self._programs.start(command, name="curl", stdin=body or b"")

    def finish(self, curl: Program) -> Answer:
        """The one response to a request."""
        assert curl.wait() == 0, curl.log()
        (answer,) = parse(curl.stdout)
        return answer

    def ask(self, path: str, *options: str, body: bytes | None = None) -> Answer:
        """A request that needs no worker."""
        return self.finish(self.start(path, *options, body=body))

    def worker(self, function: str) -> WirePeer:
        """A worker for one function."""
        peer = self.server.connect()
        peer.can_do(function.encode())
        return peer

    def serve(
        self, function: str, *options: str, body: bytes | None = None, result: bytes = b""
    ) -> tuple[Job, Answer]:
        """A request and the worker that does its job; what the worker got, and the response."""
        curl = self.start(f"/{function}", *options, body=body)
        worker = self.worker(function)
        job = worker.grab_soon(PATIENCE)
        worker.complete(job, result)
        return job, self.finish(curl)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    """A server with an HTTP door, and the door's port."""
    port = free_port()
    server = Server(tmp_path_factory.mktemp("server"), "--protocol", "http", "--http-port", str(port))
    yield server, port
    server.stop()
    assert server.calm(), f"a traceback in the server's log:\n{server.log()}"


@pytest.fixture
def web(door: tuple[Server, int], programs: Programs) -> Iterator[Web]:
    server, port = door
    yield Web(server, port, programs)
    server.close_peers()
    assert server.running, "the server ended"


def reversed_words(web: Web, function: str, *options: str) -> tuple[Job, Answer]:
    return web.serve(function, *options, body=b"Hello", result=b"olleH")


def test_post(web: Web, function: str) -> None:
    """POST /function: the body is the workload, the response is the result, with the job's handle."""
    job, answer = reversed_words(web, function)
    assert job.workload == b"Hello"
    assert (answer.status, answer.body) == (DONE, b"olleH")
    assert answer.headers["x-gearman-job-handle"] == job.handle.decode()
    assert answer.headers["x-gearman-command"] == "WORK_COMPLETE"
    assert answer.headers["content-length"] == "5"


def test_put(web: Web, function: str) -> None:
    """PUT does the same."""
    job, answer = reversed_words(web, function, "-X", "PUT")
    assert (job.workload, answer.status, answer.body) == (b"Hello", DONE, b"olleH")


def test_get(web: Web, function: str) -> None:
    """GET submits an empty workload."""
    job, answer = web.serve(function, result=b"result")
    assert (job.workload, answer.status, answer.body) == (b"", DONE, b"result")


def test_binary_bodies(web: Web, function: str) -> None:
    """Every byte value passes, both ways."""
    data = bytes(range(256)) * 40
    job, answer = web.serve(function, body=data, result=data[::-1])
    assert (job.workload, answer.body) == (data, data[::-1])


def test_version_is_mirrored(web: Web, function: str) -> None:
    """A request in HTTP/1.0 gets an answer that it understands: a length, or the connection's end."""
    _, answer = reversed_words(web, function, "-0")
    assert (answer.status, answer.body) == (DONE, b"olleH")
    assert "transfer-encoding" not in answer.headers


@pytest.mark.txgear_only
def test_large_bodies(web: Web, function: str) -> None:
    """Three megabytes there and back; curl asks for leave first, with Expect: 100-continue."""
    data = b"0123456789abcdef" * 200_000
    job, answer = web.serve(function, body=data, result=data)
    assert job.workload == data
    assert answer.body == data


@pytest.mark.txgear_only
def test_chunked_request(web: Web, function: str) -> None:
    """A body that comes in chunks is one workload."""
    job, answer = reversed_words(web, function, "-H", "Transfer-Encoding: chunked")
    assert (job.workload, answer.status) == (b"Hello", DONE)


@pytest.mark.txgear_only
def test_background(web: Web, function: str) -> None:
    """X-Gearman-Background: true answers as soon as the job is queued."""
    answer = web.ask(f"/{function}", "-H", "X-Gearman-Background: true", body=b"later")
    assert answer.status == QUEUED
    assert answer.headers["x-gearman-command"] == "JOB_CREATED"
    job = web.worker(function).grab_soon()
    assert job.workload == b"later"
    assert answer.headers["x-gearman-job-handle"] == job.handle.decode()


@pytest.mark.txgear_only
@pytest.mark.parametrize(
    ("path", "name"), [("%20and%20more", " and more"), ("%2Fsub", "/sub"), ("/sub", "/sub")]
)
def test_function_names_are_decoded(web: Web, function: str, path: str, name: str) -> None:
    """The path is percent-decoded to the function's name, slashes and all."""
    curl = web.start(f"/{function}{path}", body=b"x")
    worker = web.worker(function + name)
    worker.complete(worker.grab_soon(), b"y")
    assert web.finish(curl).body == b"y"


@pytest.mark.txgear_only
def test_query_is_not_part_of_the_name(web: Web, function: str) -> None:
    """What follows a question mark does not belong to the function's name."""
    curl = web.start(f"/{function}?a=b", body=b"x")
    worker = web.worker(function)
    worker.complete(worker.grab_soon(), b"y")
    assert web.finish(curl).body == b"y"


def test_unique(web: Web, function: str) -> None:
    """X-Gearman-Unique names the job: two requests share one job and its result."""
    header = ("-H", f"X-Gearman-Unique: {function}-key")
    curls = [web.start(f"/{function}", *header, body=body) for body in (b"one", b"two")]
    gear = web.server.connect()

    def clients() -> bytes:
        gear.send(P.GET_STATUS_UNIQUE, f"{function}-key".encode())
        return gear.expect(P.STATUS_RES_UNIQUE).args[-1]

    wait_until(lambda: clients() == b"2", what="two clients of one job")
    worker = web.worker(function)
    job = worker.grab_soon()
    assert job.unique == f"{function}-key".encode()
    worker.complete(job, b"shared")
    assert [web.finish(curl).body for curl in curls] == [b"shared"] * 2


@pytest.mark.txgear_only
def test_priority(web: Web, function: str) -> None:
    """X-Gearman-Priority: high and low, in any case."""
    for priority, body in (("low", b"l"), ("normal", b"n"), ("HIGH", b"h"), ("high", b"H")):
        options = ("-H", "X-Gearman-Background: true", "-H", f"x-gearman-priority: {priority}")
        assert web.ask(f"/{function}", *options, body=body).status == QUEUED
    worker = web.worker(function)
    assert [worker.grab_soon().workload for _ in range(4)] == [b"h", b"H", b"n", b"l"]


@pytest.mark.txgear_only
def test_head(web: Web, function: str) -> None:
    """HEAD tells whether the server knows the function; it makes no job, and has never a body."""
    answer = web.ask(f"/{function}", "--head")
    assert (answer.status, answer.body) == (NO_FUNCTION, b"")
    worker = web.worker(function)
    answer = web.ask(f"/{function}", "--head")
    assert (answer.status, answer.body) == (DONE, b"")
    assert worker.grab() is None


@pytest.mark.txgear_only
@pytest.mark.parametrize("header", ["X-Gearman-Priority: urgent", "X-Gearman-Background: perhaps"])
def test_headers_that_mean_nothing(web: Web, function: str, header: str) -> None:
    """A header of ours with an unknown value is the client's mistake, and makes no job."""
    assert web.ask(f"/{function}", "-H", header, body=b"x").status == BAD
    assert web.server.unused(function)


@pytest.mark.txgear_only
def test_keep_alive(web: Web, function: str, programs: Programs) -> None:
    """Two requests of one curl go over one connection."""
    url = web.url(f"/{function}")
    worker = web.worker(function)
    curl = programs.start(
        [requires("curl"), "-sS", "-v", "-m", "10", "-d", "x", url, "--next", "-d", "y", url]
    )
    for result in (b"one", b"two"):
        worker.complete(worker.grab_soon(), result)
    assert curl.wait() == 0
    assert curl.stdout == b"onetwo"
    assert b"Re-using existing connection" in curl.stderr


@pytest.mark.txgear_only
def test_pipelined_requests(web: Web, function: str) -> None:
    """Two requests in one write are answered in their order."""
    request = f"POST /{function} HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\n\r\n".encode()
    worker = web.worker(function)
    with socket.create_connection(("127.0.0.1", web.port), PATIENCE) as connection:
        connection.sendall(request + b"1" + request + b"2")
        for _ in range(2):
            job = worker.grab_soon()
            worker.complete(job, b"result " + job.workload)
        received = b""
        while received.count(b"result ") < 2:
            data = connection.recv(65536)
            assert data, received
            received += data
    assert received.index(b"result 1") < received.index(b"result 2")


@pytest.mark.txgear_only
def test_data_is_streamed(web: Web, function: str) -> None:
    """WORK_DATA reaches the client as it comes, in chunks, long before the result."""
    curl = web.start(f"/{function}", body=b"x")
    worker = web.worker(function)
    job = worker.grab_soon()
    for piece in (b"first piece\n", b"second piece\n"):
        worker.send(P.WORK_DATA, job.handle, piece)
        wait_until(lambda: curl.stdout.endswith(piece), what="the piece at the client")  # noqa: B023
    worker.complete(job, b"the end")
    answer = web.finish(curl)
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.body == b"first piece\nsecond piece\nthe end"


@pytest.mark.txgear_only
def test_much_data(web: Web, function: str) -> None:
    """A megabyte of WORK_DATA arrives whole; a few kilobytes of it kill the reference."""
    curl = web.start(f"/{function}", body=b"x")
    worker = web.worker(function)
    job = worker.grab_soon()
    pieces = [b"%07d\n" % number * 1000 for number in range(128)]
    for piece in pieces:
        worker.send(P.WORK_DATA, job.handle, piece)
    worker.complete(job)
    assert web.finish(curl).body == b"".join(pieces)


@pytest.mark.txgear_only
def test_old_clients_get_data_without_chunks(web: Web, function: str) -> None:
    """HTTP/1.0 knows no chunks: the data comes as it is, ended by the connection's end."""
    curl = web.start(f"/{function}", "-0", body=b"x")
    worker = web.worker(function)
    job = worker.grab_soon()
    worker.send(P.WORK_DATA, job.handle, b"some ")
    worker.complete(job, b"result")
    answer = web.finish(curl)
    assert "transfer-encoding" not in answer.headers
    assert answer.body == b"some result"


@pytest.mark.txgear_only
def test_status_and_warnings_do_not_disturb(web: Web, function: str) -> None:
    """What HTTP has no place for is left out."""
    curl = web.start(f"/{function}", body=b"x")
    worker = web.worker(function)
    job = worker.grab_soon()
    worker.send(P.WORK_STATUS, job.handle, b"1", b"2")
    worker.send(P.WORK_WARNING, job.handle, b"careful")
    worker.complete(job, b"result")
    answer = web.finish(curl)
    assert (answer.status, answer.body) == (DONE, b"result")


@pytest.mark.txgear_only
@pytest.mark.parametrize("kind", [P.WORK_FAIL, P.WORK_EXCEPTION])
def test_failing_job(web: Web, function: str, kind: P) -> None:
    """A job that fails is a server error, with the whole handle."""
    curl = web.start(f"/{function}", body=b"x")
    worker = web.worker(function)
    job = worker.grab_soon()
    worker.send(kind, job.handle, *([b"broken"] if kind is P.WORK_EXCEPTION else []))
    answer = web.finish(curl)
    assert answer.status == FAILED
    assert answer.headers["x-gearman-job-handle"] == job.handle.decode()
    assert answer.headers["x-gearman-command"] in ("WORK_FAIL", "WORK_EXCEPTION")


@pytest.mark.txgear_only
@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
def test_failure_after_data(web: Web, function: str, version: str) -> None:
    """A job that fails after a part of its result was sent: the client notices."""
    curl = web.start(f"/{function}", version, body=b"x")
    worker = web.worker(function)
    job = worker.grab_soon()
    worker.send(P.WORK_DATA, job.handle, b"some data")
    wait_until(lambda: curl.stdout.endswith(b"some data"), what="the data at the client")
    worker.send(P.WORK_FAIL, job.handle)
    assert curl.wait() != 0


@pytest.mark.txgear_only
def test_body_too_large(web: Web, function: str) -> None:
    """A workload over the limit is refused by its announced length, without sending it."""
    size = 64 * 2**20 + 1
    with socket.create_connection(("127.0.0.1", web.port), PATIENCE) as connection:
        connection.sendall(f"POST /{function} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        assert connection.recv(65536).split()[1] == b"413"
    assert web.server.unused(function)


@pytest.mark.txgear_only
def test_full_queue(web: Web, function: str) -> None:
    """A full queue is 503."""
    peer = web.server.connect()
    peer.can_do(function.encode())
    assert peer.ask(f"maxqueue {function} 1") == b"OK\r\n"
    options = ("-H", "X-Gearman-Background: true")
    assert web.ask(f"/{function}", *options, body=b"1").status == QUEUED
    assert web.ask(f"/{function}", *options, body=b"2").status == FULL


@pytest.mark.txgear_only
def test_unique_too_long(web: Web, function: str) -> None:
    """A unique of 65 bytes is the client's mistake."""
    assert web.ask(f"/{function}", "-H", "X-Gearman-Unique: " + "u" * 65, body=b"x").status == BAD


def test_no_function(web: Web) -> None:
    """The bare / names no function."""
    assert web.ask("/", body=b"x").status == NO_FUNCTION


@pytest.mark.txgear_only
@pytest.mark.parametrize("method", ["BREW", "DELETE", "TRACE"])
def test_other_methods(web: Web, function: str, method: str) -> None:
    """A method that makes no job is refused, at once."""
    assert web.ask(f"/{function}", "-X", method).status == BAD_METHOD
    assert web.server.status(function) is None


@pytest.mark.txgear_only
def test_client_that_goes_away(web: Web, function: str) -> None:
    """A client that leaves takes its queued foreground job with it."""
    curl = web.start(f"/{function}", body=b"x")
    web.server.wait_for_total(function, 1)
    curl.stop()
    web.server.wait_for_total(function, 0)


def post(function: str, size: int) -> bytes:
    """A request whose job is its own."""
    return f"POST /{function} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + bytes(size)


@pytest.mark.txgear_only
@pytest.mark.parametrize("ahead", [0, 10, 17_000, 40_000])
def test_client_that_has_sent_ahead_and_goes_away(web: Web, function: str, ahead: int) -> None:
    """Beyond 16 KiB of the next request the connection is not read; its end is noticed all the same."""
    connection = socket.create_connection(("127.0.0.1", web.port), PATIENCE)
    connection.sendall(post(function, 1) + (post(function, ahead) if ahead else b""))
    web.server.wait_for_total(function, 1)
    connection.close()
    web.server.wait_for_total(function, 0)


@pytest.mark.txgear_only
def test_half_closed(web: Web, function: str, programs: Programs) -> None:
    """`nc -N` ends its own side, and waits for the answer."""
    request = post(function, 1)
    nc = programs.start([requires("nc"), "-N", "127.0.0.1", str(web.port)], name="nc", stdin=request)
    worker = web.worker(function)
    worker.complete(worker.grab_soon(), b"result")
    assert nc.wait() == 0
    (answer,) = parse(nc.stdout)
    assert (answer.status, answer.body) == (DONE, b"result")


@pytest.mark.txgear_only
@pytest.mark.parametrize("ahead", [0, 17_000])
def test_half_closed_for_a_while(web: Web, function: str, ahead: int) -> None:
    """One that waits longer is told that its job is under way, and is answered all that it asked."""
    worker = web.worker(function)
    with socket.create_connection(("127.0.0.1", web.port), PATIENCE) as connection:
        connection.sendall(post(function, 1) + (post(function, ahead) if ahead else b""))
        connection.shutdown(socket.SHUT_WR)
        received = connection.recv(65536)
        assert received == b"HTTP/1.1 102 Processing\r\n\r\n"
        for _ in range(2 if ahead else 1):
            worker.complete(worker.grab_soon(), b"result")
        with connection.makefile("rb") as answers:
            received += answers.read()
    assert received.count(b"result") == (2 if ahead else 1)


@pytest.mark.txgear_only
def test_what_is_no_request_is_told_so(web: Web) -> None:
    """Also a client that is still sending then sees the answer."""
    for request in (b"nonsense\r\n\r\n", b"GET /x HTTP/1.1\r\n" + b"X-Long: y\r\n" * 100_000):
        with socket.create_connection(("127.0.0.1", web.port), PATIENCE) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as reading:
                (answer,) = parse(reading.read())
        assert answer.status == BAD
        assert answer.body.startswith(b"This is no request")


@pytest.mark.txgear_only
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"GET /x HTTP/1.1\r\n" + b"X-Long: " + b"l" * 100_000 + b"\r\n\r\n",
        b"\0REQ\0\0\0\x10\0\0\0\0",
        bytes(range(256)),
    ],
    ids=["nonsense", "no path", "version", "length word", "length negative", "long header", "gear", "bytes"],
)
def test_bad_requests(web: Web, function: str, request_bytes: bytes) -> None:
    """Nonsense gets an error or the connection's end, and the next client is served."""
    with socket.create_connection(("127.0.0.1", web.port), PATIENCE) as connection:
        try:
            connection.sendall(request_bytes)
            connection.shutdown(socket.SHUT_WR)
            received = connection.recv(65536)
        except OSError:
            received = b""
    assert received == b"" or b" 4" in received.split(b"\r\n")[0] or b" 5" in received.split(b"\r\n")[0]
    _, answer = reversed_words(web, function)
    assert answer.body == b"olleH"


def test_gear_beside_http(web: Web, names: Callable[[str], str]) -> None:
    """The Gearman port goes on as ever beside the HTTP door."""
    name = names("gear").encode()
    peer = web.server.connect()
    peer.can_do(name)
    handle = peer.submit(name, b"data")
    peer.complete(peer.grab_soon(), b"done")
    peer.expect(P.WORK_COMPLETE, handle, b"done")


@pytest.mark.txgear_only
def test_no_door_without_the_option(fresh_server: Server) -> None:
    """Without --protocol http, the server listens on no other port than its own."""
    assert {port for _, port in listening(fresh_server.pid)} == {fresh_server.port}


@pytest.mark.txgear_only
def test_slow_reader(web: Web, function: str) -> None:
    """A client that reads late gets a large result whole, and more requests over the same connection."""
    result = bytes(range(256)) * 64 * 1024
    worker = web.worker(function)
    with socket.create_connection(("127.0.0.1", web.port), PATIENCE) as connection:
        for _ in range(2):
            connection.sendall(f"POST /{function} HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode())
            worker.complete(worker.grab_soon(), result)
            assert worker.sync() == []
            with connection.makefile("rb") as answer:
                while (line := answer.readline()) != b"\r\n":
                    assert line, "the connection has ended"
                assert answer.read(len(result)) == result


@pytest.mark.txgear_only
def test_client_that_goes_away_in_the_middle(web: Web, function: str) -> None:
    """A worker is not disturbed by a client that leaves while it is sent data."""
    curl = web.start(f"/{function}", body=b"x")
    worker = web.worker(function)
    job = worker.grab_soon()
    worker.send(P.WORK_DATA, job.handle, b"data\n")
    wait_until(lambda: curl.stdout.endswith(b"data\n"), what="the data at the client")
    curl.stop()
    for _ in range(20):
        worker.send(P.WORK_DATA, job.handle, b"more data\n")
        assert worker.sync() == []
    worker.complete(job)
    assert worker.sync() == []


@pytest.mark.txgear_only
@pytest.mark.parametrize("graceful", [True, False])
def test_end_of_the_server(start_server: Servers, programs: Programs, function: str, graceful: bool) -> None:
    """
    A server that drains sends the last result before it ends, one that ends at once says that there is none.
    """
    port = free_port()
    server = start_server("--protocol", "http", "--http-port", str(port))
    web = Web(server, port, programs)
    curl = web.start(f"/{function}", body=b"x")
    worker = web.worker(function)
    job = worker.grab_soon()
    server.signal(signal.SIGUSR1 if graceful else signal.SIGTERM)
    if graceful:
        wait_until(lambda: b"draining" in server.said(), what="the server to drain")
        worker.complete(job, b"last")
    answer = web.finish(curl)
    assert (answer.status, answer.body) == (
        (DONE, b"last") if graceful else (FULL, b"The server is shutting down\n")
    )
    assert answer.headers["connection"] == "close"
    assert server.wait() == 0


@pytest.mark.txgear_only
@pytest.mark.parametrize("port", ["x", "", "-1", "65536"])
def test_wrong_port(port: str) -> None:
    """A port that is none is one clear line."""
    done = run([*twistd(), "-n", "--pidfile=", "txgear", "--protocol", "http", "--http-port", port])
    wanted = f"txgear: --http-port: a whole number from 0 to 65535 is wanted, not '{port}'\n"
    assert (done.returncode, done.stderr.decode()) == (1, wanted)


@pytest.mark.txgear_only
def test_port_taken() -> None:
    """So is one that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        options = ["--port", str(free_port()), "--protocol", "http", "--http-port", str(port)]
        done = run([*twistd(), "-n", "--pidfile=", "txgear", *options])
    assert done.returncode == 1
    assert done.stderr.decode() == f"txgear: cannot listen on 127.0.0.1 port {port}: Address already in use\n"
