"""Perl's Gearman::Client and Gearman::Worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


class Perl(Foreign):
    """Perl programs, talking to one server."""

    def __init__(self, server: Server, programs: Programs, prefix: str) -> None:
        requires("perl", perl_module="Gearman::Client")
        requires("perl", perl_module="JSON::PP")
        super().__init__(requires("perl", perl_module="Gearman::Worker"), ".pl", server, programs, prefix)

    def worker(self, *timeout: str, servers: str = "") -> Program:
        """Start a worker, and come back when the server knows it."""
        worker = self.start("worker", *timeout, servers=servers)
        self.server.wait_for_workers(self.function("zero"))
        return worker


@pytest.fixture
def perl(server: Server, programs: Programs, function: str) -> Perl:
    return Perl(server, programs, function)


def test_do_task(perl: Perl) -> None:
    """do_task waits for the result."""
    perl.worker()
    assert perl.client("do", "reverse", "Hello") == {"result": "olleH"}


@pytest.mark.parametrize("priority", ["high", "normal", "low"])
def test_do_task_with_priority(perl: Perl, priority: str) -> None:
    """do_task with a priority waits for the result too."""
    perl.worker()
    assert perl.client("do", "reverse", "Hello", "priority", priority) == {"result": "olleH"}


def test_dispatch_background(perl: Perl, gate: Throttle) -> None:
    """dispatch_background returns a handle that get_status knows until the job is done."""
    seen = perl.client("background", "wait", str(gate.path))
    assert seen["handle"].startswith(f"{perl.servers}//H:")
    assert seen["status"] == ["1", "0", "0", "0"]
    perl.worker()
    perl.server.wait_for_running(perl.function("wait"))
    assert perl.client("status", seen["handle"])["running"] == "1"
    gate.open()
    perl.server.wait_for_total(perl.function("wait"), 0)
    assert perl.client("status", seen["handle"])["known"] == "0"


def test_background_priorities(perl: Perl) -> None:
    """Background jobs are handed out by priority, with high_priority as another name for high."""
    perl.client("background", "order", "low", "priority", "low")
    perl.client("background", "order", "normal")
    perl.client("background", "order", "high1", "priority", "high")
    perl.client("background", "order", "high2", "high_priority", "1")
    peer = perl.server.connect()
    peer.can_do(perl.function("order").encode())
    assert [peer.grab_soon().workload for _ in range(4)] == [b"high1", b"high2", b"normal", b"low"]


def test_task_set(perl: Perl) -> None:
    """A set of tasks is run whole; each calls its own on_complete."""
    perl.worker()
    words = [f"word{number}" for number in range(50)]
    events = perl.client("set", "0", *(f"reverse:{word}" for word in words))
    assert sorted(events) == sorted([word, "complete", word[::-1]] for word in words)


def test_status_callbacks(perl: Perl) -> None:
    """set_status calls on_status, in order, before the result."""
    perl.worker()
    assert perl.client("set", "0", "status:x") == [
        ["x", "status", "1/3"],
        ["x", "status", "2/3"],
        ["x", "status", "3/3"],
        ["x", "complete", "with status"],
    ]


def test_data_and_warning_callbacks(perl: Perl) -> None:
    """Data and warnings reach on_data and on_warning."""
    perl.worker()
    assert perl.client("set", "0", "data:x") == [
        ["x", "data", "piece 1"],
        ["x", "data", "piece 2"],
        ["x", "warning", "careful"],
        ["x", "complete", "with data"],
    ]


def test_progress(perl: Perl) -> None:
    """get_status tells a worker's progress."""
    handle = perl.client("background", "slow", "data")["handle"]
    peer = perl.server.connect()
    peer.can_do(perl.function("slow").encode())
    job = peer.grab_soon()
    peer.send(P.WORK_STATUS, job.handle, b"1", b"4")
    peer.sync()
    assert perl.client("status", handle) == {
        "known": "1",
        "running": "1",
        "progress": ["1", "4"],
        "percent": 0.25,
    }


def test_failing_task(perl: Perl) -> None:
    """A worker that returns undef fails the task; the others of the set go on."""
    perl.worker()
    events = perl.client("set", "0", "fail:a", "reverse:bc")
    assert sorted(events) == [["a", "fail", "jshandle fail"], ["bc", "complete", "cb"]]


def test_retries(perl: Perl) -> None:
    """retry_count submits a failing task again, and calls on_retry each time, on_fail at last."""
    perl.worker()
    assert perl.client("set", "0", "fail:a:2") == [
        ["a", "retry", 1],
        ["a", "retry", 2],
        ["a", "fail", "jshandle fail"],
    ]


def test_exceptions(perl: Perl) -> None:
    """A client with exceptions => 1 gets a worker's exception."""
    perl.worker()
    assert perl.client("set", "1", "raise:a") == [["a", "exception", "raised: a"]]


@pytest.mark.txgear_only  # The reference ends the WORK_FAIL's handle with a NUL; the client dies.
def test_exception_without_the_option(perl: Perl) -> None:
    """A client that did not ask for exceptions sees the task fail."""
    perl.worker()
    assert perl.client("set", "0", "raise:a") == [["a", "fail", "jshandle fail"]]


@pytest.mark.txgear_only  # The reference answers the WORK_FAIL with an ERROR; the worker dies.
def test_dying_job(perl: Perl) -> None:
    """A job that dies is an exception; the worker, which sends WORK_FAIL after it, goes on serving."""
    worker = perl.worker()
    events = perl.client("set", "1", "die:a")
    assert [event[:2] for event in events] == [["a", "exception"]]
    assert perl.client("do", "reverse", "still here") == {"result": "ereh llits"}
    assert worker.running


@pytest.mark.txgear_only  # The reference waits for the NUL that this worker leaves out.
@pytest.mark.parametrize(("function", "result"), [("empty", ""), ("zero", "")])
def test_empty_result(perl: Perl, function: str, result: str) -> None:
    """The worker ends a job with an empty result (to it, "0" is one) by a packet with the handle alone."""
    worker = perl.worker()
    assert perl.client("do", function, "x") == {"result": result}
    assert perl.client("do", "reverse", "still here") == {"result": "ereh llits"}
    assert worker.running


def test_unique(perl: Perl, gate: Throttle) -> None:
    """Two clients that name the same uniq share one job and both get its result."""
    client = perl.start_client("unique", str(gate.path), f"{perl.prefix}-key")
    wait_until(lambda: client.stdout, what="the handles")
    first, second = json.loads(client.stdout)
    assert first == second
    assert perl.server.status(perl.function("wait")) == (1, 0, 0)
    perl.worker()
    gate.open()
    assert client.wait() == 0
    assert json.loads(client.stdout.splitlines()[1]) == [["task", "complete", "waited"]] * 2


def test_unique_of_the_workload(perl: Perl) -> None:
    """uniq => "-" makes the same workload the same job, another workload another one."""
    handles = [perl.client("background", "later", word, "uniq", "-")["handle"] for word in ("a", "a", "b")]
    assert handles[0] == handles[1] != handles[2]
    assert perl.server.status(perl.function("later")) == (2, 0, 0)


def test_server_status(perl: Perl) -> None:
    """get_job_server_status reads the text command's answer."""
    perl.client("background", "later", "a")
    status = perl.client("serverstatus")
    assert status[perl.servers][perl.function("later")] == {"queued": "1", "running": "0", "capable": "0"}


def test_client_timeout(perl: Perl) -> None:
    """A task's timeout fails it when nobody serves it."""
    events = perl.client("timeout")
    assert [event[:2] for event in events] == [["task", "fail"]]


def test_worker_timeout(perl: Perl, gate: Throttle) -> None:
    """A worker that registered its function with a timeout loses a job that takes longer.

    The worker sends the number as it is, and the protocol's unit is the millisecond; a second is the least.
    """
    perl.worker("5")
    client = perl.start_client("do", "wait", str(gate.path))
    perl.server.wait_for_running(perl.function("wait"))
    peer = perl.server.connect()
    peer.can_do(perl.function("wait").encode())
    peer.complete(peer.grab_soon(), b"in time")
    assert client.wait() == 0
    assert json.loads(client.stdout) == {"result": "in time"}
    gate.open()


@pytest.mark.parametrize("down_first", [True, False])
def test_one_server_of_two_is_down(perl: Perl, down_first: bool) -> None:
    """Worker and client with two servers, one of them down, use the other."""
    places = [f"127.0.0.1:{free_port()}", perl.servers]
    servers = ",".join(places if down_first else reversed(places))
    perl.worker(servers=servers)
    assert perl.client("do", "reverse", "Hello", servers=servers) == {"result": "olleH"}


def test_worker_of_two_servers(
    start_server: Servers, programs: Programs, names: Callable[[str], str]
) -> None:
    """One worker serves two servers."""
    one, two = (Perl(start_server(), programs, names("x")) for _ in range(2))
    one.worker(servers=f"{one.servers},{two.servers}")
    two.server.wait_for_workers(two.function("zero"))
    assert one.client("do", "reverse", "one") == {"result": "eno"}
    assert two.client("do", "reverse", "two") == {"result": "owt"}


def test_killed_worker(perl: Perl, gate: Throttle) -> None:
    """The job of a killed worker is done by the next one."""
    client = perl.start_client("do", "wait", str(gate.path))
    first = perl.worker()
    perl.server.wait_for_running(perl.function("wait"))
    first.kill()
    perl.worker()
    gate.open()
    assert client.wait() == 0
    assert json.loads(client.stdout) == {"result": "waited"}


# Mails as JSON jobs


def start_mail_worker(perl: Perl, spool: Path, failures: int) -> Program:
    worker = perl.start("mail_worker", str(spool), str(failures))
    perl.server.wait_for_workers(perl.prefix)
    return worker


def send_mails(perl: Perl, retries: int, *receivers: str) -> Any:
    return perl.run("mail_client", str(retries), *receivers)


def test_mails_are_tried_until_delivered(perl: Perl, tmp_path: Path) -> None:
    """Mails whose delivery fails twice are sent again and arrive at the third attempt, once each."""
    spool = tmp_path / "spool"
    start_mail_worker(perl, spool, failures=2)
    receivers = [f"person{number}@example.org" for number in range(4)]
    became = send_mails(perl, 3, *receivers)
    assert became == {to: {"retries": [1, 2], "result": f"delivered to {to}"} for to in receivers}
    mails = [json.loads(line) for line in spool.read_text(encoding="utf-8").splitlines()]
    assert sorted(mail["to"] for mail in mails) == receivers
    assert {mail["attempts"] for mail in mails} == {3}
    assert {mail["subject"] for mail in mails} == {"Grüße"}
    assert perl.server.status(perl.prefix) == (0, 0, 1)


def test_mails_fail_in_the_end(perl: Perl, tmp_path: Path) -> None:
    """A mail that fails more often than it may be tried again is reported as failed, and not delivered."""
    spool = tmp_path / "spool"
    start_mail_worker(perl, spool, failures=5)
    became = send_mails(perl, 2, "nobody@example.org")
    assert became == {"nobody@example.org": {"retries": [1, 2], "failed": True}}
    assert not spool.exists()


def test_mails_left_in_the_background(perl: Perl, tmp_path: Path) -> None:
    """Mails queued before the worker starts are delivered when it comes."""
    peer = perl.server.connect()
    for number in range(3):
        mail = {"to": f"person{number}@example.org", "subject": "later", "body": "text"}
        peer.submit(perl.prefix.encode(), json.dumps(mail).encode(), type=P.SUBMIT_JOB_BG)
    spool = tmp_path / "spool"
    start_mail_worker(perl, spool, failures=0)
    perl.server.wait_for_total(perl.prefix, 0)
    assert len(spool.read_text().splitlines()) == 3
