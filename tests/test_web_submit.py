"""Submitting jobs and fetching results by the web's API, from real sockets to a real server."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from needs import requires
from processes import PATIENCE, Server, Servers, free_port, run, wait_until
from wirepeer import Closed, P, WirePeer

MEBIBYTE: Final = 1024 * 1024


class Web:
    """The web of one server."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.port = port

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, Any]:
        """The status, the body and the headers of an answer."""
        connection = self.connect()
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def submit(self, function: str, body: bytes = b"", query: str = "", **headers: str) -> dict[str, Any]:
        """A background job that is taken."""
        status, answer, _ = self.ask("POST", f"{jobs(function)}?{query}", body, headers)
        assert status == 202, answer
        found: dict[str, Any] = json.loads(answer)
        return found

    def open(self, request: bytes) -> socket.socket:
        """A connection that has sent these bytes."""
        line = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        line.sendall(request)
        return line


def jobs(function: str) -> str:
    return f"/api/v1/functions/{function}/jobs"


def post(path: str, body: bytes = b"", length: int | None = None, *headers: str) -> bytes:
    """The bytes of a request."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A server in memory, with a web, that most of these tests share."""
    port = free_port()
    server = Server(tmp_path_factory.mktemp("server"), "--web", f"tcp:{port}:interface=127.0.0.1")
    yield Web(server, port)
    server.stop()
    assert server.calm(), f"a traceback in the server's log:\n{server.log()}"


@pytest.fixture
def web(shared: Web) -> Iterator[Web]:
    yield shared
    shared.server.close_peers()
    assert shared.server.running, "the server ended"


def test_result(web: Web, function: str) -> None:
    """A large workload in, a large result out, whole and by streams."""
    worker = web.server.connect()
    worker.can_do(function.encode())
    workload, result = b"w" * (5 * MEBIBYTE), b"r" * (5 * MEBIBYTE)
    found: list[tuple[int, bytes, Any]] = []
    asking = threading.Thread(
        target=lambda: found.append(web.ask("POST", f"{jobs(function)}?wait=20", workload))
    )
    asking.start()
    job = worker.grab_soon(PATIENCE)
    assert job.workload == workload
    worker.send(P.WORK_DATA, job.handle, result)
    worker.complete(job, result)
    asking.join(PATIENCE)
    ((status, body, headers),) = found
    assert (status, len(body), body == result + result) == (200, 2 * len(result), True)
    assert headers["Txgear-Handle"] == job.handle.decode()


def test_time_over_and_result_later(web: Web, function: str) -> None:
    """Who waits for a second gets the handle, and the job goes on; its result is waited for again."""
    status, body, _ = web.ask("POST", f"{jobs(function)}?wait=0.5", b"work", {"Txgear-Results": "1h"})
    assert status == 202
    handle = json.loads(body)["handle"]
    found: list[tuple[int, bytes, Any]] = []
    waiting = threading.Thread(
        target=lambda: found.append(web.ask("GET", f"/api/v1/jobs/{handle}/result?wait=20"))
    )
    waiting.start()
    worker = web.server.connect()
    worker.can_do(function.encode())
    job = worker.grab_soon(PATIENCE)
    worker.send(P.WORK_DATA, job.handle, b"data ")
    worker.complete(job, b"result")
    waiting.join(PATIENCE)
    assert found[0][:2] == (200, b"data result")
    assert web.ask("GET", f"/api/v1/jobs/{handle}/result")[:2] == (200, b"data result")


def test_a_client_that_goes_away(web: Web, function: str) -> None:
    """Its foreground job goes with it; a background job does not, even of one that did not wait to hear."""
    line = web.open(post(f"{jobs(function)}?wait=60", b"gone"))
    web.server.wait_for_total(function, 1)
    line.close()
    web.server.wait_for_total(function, 0)
    web.open(post(jobs(function), b"stays")).close()
    worker = web.server.connect()
    worker.can_do(function.encode())
    job = worker.grab_soon(PATIENCE)
    assert job.workload == b"stays"
    worker.complete(job)


def test_half_a_body(web: Web, function: str) -> None:
    """Nothing is submitted before the last byte has come, and nothing when it never does."""
    body = b"w" * 100_000
    line = web.open(post(jobs(function), body[:-1], len(body)))
    time.sleep(0.2)
    assert (web.server.status(function) or (0,))[0] == 0
    line.sendall(body[-1:])
    web.server.wait_for_total(function, 1)
    line.close()
    half = web.open(post(jobs(function), body[:-1], len(body)))
    half.close()
    time.sleep(0.2)
    assert (web.server.status(function) or (0,))[0] == 1


def test_two_submitters_of_one_unique(web: Web, function: str) -> None:
    """At the same time, again and again: there is one job, and both have its handle."""
    for number in range(20):
        with ThreadPoolExecutor(2) as pool:
            asking = [pool.submit(web.submit, function, b"", f"unique=u{number}") for _ in range(2)]
            found = [each.result() for each in asking]
        assert found[0]["handle"] == found[1]["handle"]
        assert sorted(each["joined"] for each in found) == [False, True]
    web.server.wait_for_total(function, 20)


def test_a_thousand_in_one_request(web: Web, function: str) -> None:
    """All of them, in their order; meanwhile others are served."""
    wanted = [{"function": function, "workload": str(number), "delay": "1h"} for number in range(1000)]
    body = json.dumps({"jobs": wanted}).encode()
    status, answer, _ = web.ask("POST", "/api/v1/jobs", body, {"Content-Type": "application/json"})
    assert status == 202
    found = json.loads(answer)
    assert (found["accepted"], found["refused"]) == (1000, 0)
    handles = [outcome["handle"] for outcome in found["jobs"]]
    numbers = [int(handle.rpartition(":")[2]) for handle in handles]
    assert numbers == sorted(set(numbers))
    web.server.wait_for_total(function, 1000)


def test_a_reader_that_never_reads(web: Web, function: str) -> None:
    """Its job runs to its end, and the server goes on; what it was to get is not kept without a bound."""
    line = web.open(post(jobs(function), b"work", None, "Accept: text/event-stream"))
    worker = web.server.connect()
    worker.can_do(function.encode())
    job = worker.grab_soon(PATIENCE)
    for _ in range(20):
        worker.send(P.WORK_DATA, job.handle, b"x" * MEBIBYTE)
    worker.complete(job)
    web.server.wait_for_total(function, 0)
    assert web.ask("GET", "/health")[0] == 200
    line.close()


def test_events(web: Web, function: str) -> None:
    """They come when they happen, not at the end."""
    connection = web.connect()
    connection.request("POST", jobs(function), b"work", {"Accept": "text/event-stream"})
    answer = connection.getresponse()
    assert answer.status == 200

    def event() -> tuple[str, Any]:
        name = answer.readline().decode().removeprefix("event: ").strip()
        data = json.loads(answer.readline().decode().removeprefix("data: "))
        assert answer.readline() == b"\n"
        return name, data

    assert event()[0] == "created"
    worker = web.server.connect()
    worker.can_do(function.encode())
    job = worker.grab_soon(PATIENCE)
    worker.send(P.WORK_STATUS, job.handle, b"1", b"2")
    assert event() == ("progress", {"numerator": 1, "denominator": 2})
    worker.send(P.WORK_DATA, job.handle, b"\xff\xfe")
    assert event() == ("data", {"base64": "//4="})
    worker.complete(job, b"done")
    assert event() == ("completed", {"text": "done"})
    assert answer.read() == b""
    connection.close()


def test_page(web: Web, tmp_path: Path) -> None:
    """The commands of the page, one after the other, with a worker that makes small photos."""
    requires("curl")
    page = Path(__file__).parent.parent / "docs" / "web" / "submit.md"
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    worker = web.server.connect(timeout=60)
    worker.can_do(b"resize")
    working = threading.Thread(target=_make_small, args=(worker,), daemon=True)
    working.start()
    printed = []
    for language, text in blocks:
        if language == "sh":
            command = text.replace("http://127.0.0.1:4780", f"http://127.0.0.1:{web.port}")
            done = run(["sh", "-c", command], cwd=tmp_path, timeout=2 * PATIENCE)
            assert done.returncode == 0, done
            printed.append(done.stdout)
    background, later, many, result, events, kept = printed
    assert json.loads(background)["function"] == "resize"
    assert json.loads(later)["joined"] is False
    assert json.loads(many)["accepted"] == 2
    assert (result, kept) == (b"small photo 7", b"small photo 7")
    shown = next(text for language, text in blocks if language == "text")
    assert (
        re.sub(rb'"(handle|job|result)":"[^"]*"', b"", events)
        == re.sub(r'"(handle|job|result)":"[^"]*"', "", shown).encode() + b"\n"
    )
    worker.shut_writing()
    working.join(PATIENCE)


def _make_small(worker: WirePeer) -> None:
    while True:
        try:
            job = worker.grab_soon(60)
            worker.send(P.WORK_STATUS, job.handle, b"1", b"2")
            worker.complete(job, b"small " + job.workload)
        except (Closed, ConnectionError):
            # The server ends with the test.
            return


def test_no_202_without_the_job_on_the_disk(tmp_path: Path, start_server: Servers) -> None:
    """The server is killed while many submit: each handle that was answered is there when it starts again."""
    store = f"sqlite:///{tmp_path / 'queue.sqlite3'}"
    promised: set[str] = set()
    for life in range(3):
        port = free_port()
        server = start_server("--web", f"tcp:{port}:interface=127.0.0.1", store=store)
        web = Web(server, port)
        for handle in promised:
            status, _, _ = web.ask("GET", f"/api/v1/jobs/{handle}/result")
            assert status == 202, f"{handle} was promised, and is not there"
        enough = len(promised) + 200
        with ThreadPoolExecutor(4) as pool:
            submitting = [pool.submit(_submit_on, web, promised) for _ in range(4)]
            try:
                wait_until(partial(_has, promised, enough), what=f"{enough} jobs are promised")
            finally:
                server.kill()
            for each in submitting:
                each.result(PATIENCE)
        assert server.calm()
        assert life < 2 or len(promised) >= 600


def _has(promised: set[str], enough: int) -> bool:
    return len(promised) >= enough


def _submit_on(web: Web, promised: set[str]) -> None:
    """Submit single jobs and many at once, until the server is gone."""
    body = json.dumps({"jobs": [{"function": "f", "workload": "x" * 100}] * 20}).encode()
    while True:
        try:
            status, answer, _ = web.ask("POST", jobs("f"), b"x" * 100)
            assert status == 202, answer
            promised.add(json.loads(answer)["handle"])
            status, answer, _ = web.ask("POST", "/api/v1/jobs", body, {"Content-Type": "application/json"})
            assert status == 202, answer
            promised.update(outcome["handle"] for outcome in json.loads(answer)["jobs"])
        except (OSError, http.client.HTTPException):
            return
