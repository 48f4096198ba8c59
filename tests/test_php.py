"""PHP's extension, as client and as worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from foreign import Foreign
from needs import requires
from processes import (
    Program,
    Programs,
    Server,
    Servers,
    Throttle,
    free_port,
    wait_until,
)
from wirepeer import P

# The library's return codes that PHP shows.
SUCCESS: Final = 0
WORK_EXCEPTION: Final = 23
WORK_FAIL: Final = 24
TIMEOUT: Final = 47


class Php(Foreign):
    """PHP programs, talking to one server."""

    def __init__(self, server: Server, programs: Programs, prefix: str) -> None:
        super().__init__(requires("php", php_extension="gearman"), ".php", server, programs, prefix)

    def worker(
        self, jobs: int = 0, timeout: int = 0, *id: str, servers: str = "", is_needed_at_once: bool = False
    ) -> Program:
        """Start a worker, and come back when the server knows it, unless a job already waits for it."""
        worker = self.start("worker", str(jobs), str(timeout), *id, servers=servers)
        if not is_needed_at_once:
            self.server.wait_for_workers(self.function("reverse"))
        return worker


@pytest.fixture
def php(server: Server, programs: Programs, function: str) -> Php:
    return Php(server, programs, function)


@pytest.mark.parametrize("how", ["doNormal", "doHigh", "doLow"])
def test_do(php: Php, how: str) -> None:
    """doNormal, doHigh and doLow wait for the worker's result."""
    worker = php.worker(jobs=1)
    assert php.client("do", how, "reverse", "Hello") == {"result": "olleH", "code": SUCCESS}
    assert worker.wait() == 0


@pytest.mark.parametrize("how", ["doBackground", "doHighBackground", "doLowBackground"])
def test_background(php: Php, how: str, gate: Throttle) -> None:
    """A background job has a handle and a status at once, and is run when a worker comes."""
    seen = php.client("background", how, "wait", str(gate.path))
    assert seen["code"] == SUCCESS
    assert seen["status"] == [True, False, 0, 0]
    worker = php.worker(jobs=1, is_needed_at_once=True)
    wait_until(lambda: php.client("status", seen["handle"]) == [True, True, 3, 7], what="the worker's status")
    gate.open()
    assert worker.wait() == 0
    assert php.client("status", seen["handle"]) == [False, False, 0, 0]


def test_priorities(php: Php) -> None:
    """Jobs queued with different priorities are handed out highest first."""
    for how, word in (("doLowBackground", "low"), ("doBackground", "normal"), ("doHighBackground", "high")):
        php.client("background", how, "order", word)
    peer = php.server.connect()
    peer.can_do(php.function("order").encode())
    assert [peer.grab_soon().workload for _ in range(3)] == [b"high", b"normal", b"low"]


def test_data_is_part_of_the_result(php: Php) -> None:
    """doNormal returns the pieces of data that came, and the result after them."""
    worker = php.worker(jobs=1)
    assert php.client("do", "doNormal", "talk", "it")["result"] == "first second\0partthe end of it"
    assert worker.wait() == 0


def test_complete_by_hand(php: Php) -> None:
    """sendComplete ends a job too."""
    php.worker()
    assert php.client("do", "doNormal", "complete", "x")["result"] == "completed by hand"


def test_empty_result(php: Php) -> None:
    """An empty result is a result."""
    php.worker()
    assert php.client("do", "doNormal", "empty", "x") == {"result": "", "code": SUCCESS}


@pytest.mark.parametrize("function", ["fail", "bad"])
def test_failing_job(php: Php, function: str) -> None:
    """sendFail, and a worker that sets a failure as its return, fail the client's call."""
    php.worker()
    seen = php.client("do", "doNormal", function, "x")
    assert seen["code"] == WORK_FAIL


def test_every_callback(php: Php) -> None:
    """Tasks get created, data, warning, status and complete, each with its own context."""
    php.worker()
    seen = php.client("tasks", "addTask:talk:one", "addTaskHigh:talk:two", "addTaskLow:reverse:three")
    assert (seen["good"], seen["code"]) == (True, SUCCESS)
    for word in ("one", "two"):
        mine = [
            (what, more) for what, name, context, more in seen["events"] if context == f"context of {word}"
        ]
        assert mine == [
            ("created", True),
            ("status", [1, 4]),
            ("data", "first "),
            ("warning", "careful"),
            ("data", "second\0part"),
            ("status", [4, 4]),
            ("complete", f"the end of {word}"),
        ]
    three = [
        (what, name, more) for what, name, context, more in seen["events"] if context == "context of three"
    ]
    assert three == [("created", "reverse", True), ("complete", "reverse", "eerht")]


def test_failing_and_excepting_tasks(php: Php) -> None:
    """A failing task calls the fail callback, a raising one the exception callback; the others go on."""
    php.worker()
    seen = php.client("tasks", "addTask:fail:a", "addTask:exception:b", "addTask:reverse:cd")
    events: dict[str, list[Any]] = {context: [] for _, _, context, _ in seen["events"]}
    for what, _, context, more in seen["events"]:
        events[context].append((what, more))
    assert events["context of a"] == [("created", True), ("fail", "")]
    assert events["context of b"][:2] == [("created", True), ("exception", "broken: b")]
    assert events["context of cd"] == [("created", True), ("complete", "dc")]


def test_background_tasks(php: Php) -> None:
    """Background tasks of three priorities are only created; a later worker runs them, highest first."""
    seen = php.client(
        "tasks", "addTaskLowBackground:order:l", "addTaskBackground:order:n", "addTaskHighBackground:order:h"
    )
    assert seen["good"] is True
    assert [event[0] for event in seen["events"]] == ["created"] * 3
    peer = php.server.connect()
    peer.can_do(php.function("order").encode())
    assert [peer.grab_soon().workload for _ in range(3)] == [b"h", b"n", b"l"]


def test_many_tasks_and_workers(php: Php) -> None:
    """Two hundred tasks over three workers: each is created and completed once."""
    for _ in range(3):
        php.worker()
    words = [f"word-{number}" for number in range(200)]
    seen = php.client("tasks", *(f"addTask:reverse:{word}" for word in words))
    assert sorted(more for what, _, _, more in seen["events"] if what == "complete") == sorted(
        word[::-1] for word in words
    )
    assert len(seen["events"]) == 400


@pytest.mark.txgear_only  # The reference ends the WORK_FAIL's handle with a NUL, and the client waits on.
def test_exception_without_the_option(php: Php) -> None:
    """Without the exceptions option an exception arrives as a failure."""
    php.worker()
    seen = php.client("noexceptions")
    assert [event[0] for event in seen["events"]] == ["created", "fail"]


def test_exception_option_set_later(php: Php) -> None:
    """enableExceptionHandler asks every server for exceptions."""
    php.worker()
    seen = php.client("lateexceptions")
    assert seen["on"] is True
    assert [(event[0], event[3]) for event in seen["events"]][:2] == [
        ("created", True),
        ("exception", "broken: loud"),
    ]


def test_exception_of_a_single_job(php: Php) -> None:
    """doNormal reports an exception as its return code."""
    php.worker()
    assert php.client("do", "doNormal", "exception", "x")["code"] in (WORK_EXCEPTION, WORK_FAIL)


def test_job_information(php: Php) -> None:
    """A worker sees handle, function, unique and size of its job."""
    php.worker()
    seen = json.loads(php.client("do", "doNormal", "info", "abcde", "my-unique")["result"])
    assert seen["handle"].startswith("H:")
    assert seen["function"] == php.function("info")
    assert (seen["unique"], seen["size"]) == ("my-unique", 5)


def test_unique_jobs_are_run_once(php: Php, gate: Throttle) -> None:
    """Two clients that ask for the same unique get the one result of one run."""
    unique = f"{php.prefix}-unique"
    clients = [php.start_client("do", "doNormal", "wait", str(gate.path), unique) for _ in range(2)]
    status = [True, False, 0, 0, 2]
    wait_until(lambda: unique_status(php, unique) == status, what="two clients of one job")
    assert php.server.status(php.function("wait")) == (1, 0, 0)
    worker = php.worker(jobs=1)
    gate.open()
    for client in clients:
        assert client.wait() == 0
        assert json.loads(client.stdout)["result"] == "waited"
    assert worker.wait() == 0


def unique_status(php: Php, unique: str) -> list[int]:
    """GET_STATUS_UNIQUE on the wire, without the unique."""
    peer = php.server.connect()
    peer.send(P.GET_STATUS_UNIQUE, unique.encode())
    answer = [int(arg) for arg in peer.expect(P.STATUS_RES_UNIQUE).args[1:]]
    peer.close()
    return answer


def test_status_by_unique(php: Php, gate: Throttle) -> None:
    """jobStatusByUniqueKey knows a job by the client's own name."""
    unique = f"{php.prefix}-key"
    assert php.client("uniquestatus", unique) == [False, False, 0, 0]
    php.client("background", "doBackground", "wait", str(gate.path), unique)
    assert php.client("uniquestatus", unique) == [True, False, 0, 0]
    worker = php.worker(jobs=1)
    wait_until(lambda: php.client("uniquestatus", unique) == [True, True, 3, 7], what="the worker's status")
    gate.open()
    assert worker.wait() == 0
    assert php.client("uniquestatus", unique) == [False, False, 0, 0]


def test_status_tasks(php: Php) -> None:
    """addTaskStatus asks for several handles at once."""
    handles = [php.client("background", "doBackground", "nobody", word)["handle"] for word in ("a", "b")]
    assert php.client("statustasks", *handles) == {handle: [True, False, 0, 0] for handle in handles}


def test_ping(php: Php) -> None:
    """Client and worker get their echo back."""
    assert php.client("ping", "some data") == [True, True]


def test_options(php: Php) -> None:
    """A client works with its options set, added and taken away."""
    php.worker()
    answers, result = php.client("options")
    assert answers[0] is True
    assert result == "cba"


def test_client_timeout(php: Php) -> None:
    """setTimeout ends the wait for a function that nobody serves."""
    assert php.client("timeout")["code"] == TIMEOUT


def test_worker_timeout(php: Php, gate: Throttle) -> None:
    """A job that outlives its function's timeout is given to another worker, whose result the client gets."""
    client = php.start_client("do", "doNormal", "wait", str(gate.path))
    slow = php.worker(0, 1)
    php.server.wait_for_running(php.function("wait"))
    # The first worker holds the job for its second; then another one is asked.
    peer = php.server.connect()
    peer.can_do(php.function("wait").encode())
    job = peer.grab_soon()
    assert job.workload == str(gate.path).encode()
    peer.complete(job, b"in time")
    assert client.wait() == 0
    assert json.loads(client.stdout)["result"] == "in time"
    gate.open()
    assert slow.running


def test_worker_id(php: Php) -> None:
    """setId is what the `workers` listing shows."""
    php.worker(0, 0, "php-worker-7")
    rows = php.server.connect().ask_list("workers")
    assert any(" php-worker-7 : " in row and php.function("reverse") in row for row in rows)


def test_killed_worker(php: Php) -> None:
    """A job that kills its worker is given to the next one."""
    client = php.start_client("do", "doNormal", "die", "deadly")
    first = php.worker(is_needed_at_once=True)
    assert first.wait() == -9
    peer = php.server.connect()
    peer.can_do(php.function("die").encode())
    peer.complete(peer.grab_soon(), b"survived")
    assert client.wait() == 0
    assert json.loads(client.stdout)["result"] == "survived"


@pytest.mark.parametrize("down_first", [True, False])
def test_one_server_of_two_is_down(php: Php, down_first: bool) -> None:
    """With one of two servers down, a client still leaves background jobs, and a worker still runs them."""
    places = [f"127.0.0.1:{free_port()}", php.servers]
    servers = ",".join(places if down_first else reversed(places))
    assert php.client("onedown", servers=servers) == [True, True, True]
    worker = php.worker(3, servers=servers, is_needed_at_once=True)
    assert worker.wait() == 0
    assert php.server.unused(php.function("reverse"))


def test_worker_of_two_servers(
    start_server: Servers, programs: Programs, names: Callable[[str], str]
) -> None:
    """One worker serves two servers."""
    one, two = (Php(start_server(), programs, names("x")) for _ in range(2))
    worker = one.worker(2, servers=f"{one.servers},{two.servers}")
    two.server.wait_for_workers(two.function("reverse"))
    assert one.client("do", "doNormal", "reverse", "one")["result"] == "eno"
    assert two.client("do", "doNormal", "reverse", "two")["result"] == "owt"
    assert worker.wait() == 0


def test_large_workload(php: Php) -> None:
    """Two megabytes go there and come back."""
    php.worker()
    assert php.client("large", str(2 * 2**20)) is True
