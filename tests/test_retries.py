"""Retries, the dead set, timeouts and lost workers, with clients and workers that know nothing of them."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from needs import requires
from operating import Operator, Tools, configured
from processes import Program, Programs, Server, Servers, free_port, programs_folder, run, wait_until
from smtprelay import Relay
from wirepeer import P

pytestmark = pytest.mark.txgear_only


# PHP


class Php:
    """PHP's extension as client and as a worker whose jobs fail at first."""

    def __init__(self, server: Server, programs: Programs, prefix: str) -> None:
        self._php = requires("php", php_extension="gearman")
        self._places = [f"127.0.0.1:{server.port}", prefix]
        self._server, self._programs, self._prefix = server, programs, prefix

    def worker(self) -> Program:
        """Start the worker, and come back when the server knows it."""
        worker = self._programs.start(
            [self._php, programs_folder() / "flaky_worker.php", *self._places], name="flaky"
        )
        self._server.wait_for_workers(f"{self._prefix}_needs")
        return worker

    def client(self, *arguments: str) -> dict[str, object]:
        """Run one of the client's scenarios, and return what it saw."""
        done = run([self._php, programs_folder() / "client.php", *self._places, *arguments])
        assert done.returncode == 0, done
        seen: dict[str, object] = json.loads(done.stdout)
        return seen


def test_php_client_gets_the_result_only(
    start_server: Servers, programs: Programs, tmp_path: Path, function: str
) -> None:
    """A job fails, raises an exception, then succeeds: the client that waits hears of the success only."""
    server = start_server(
        *configured(
            tmp_path,
            """
            [[function]]
            name = "*_flaky"
            retries = 2
            backoff = "100ms"
            """,
        )
    )
    php = Php(server, programs, function)
    php.worker()
    # Data that were sent stay sent.
    assert php.client("do", "doNormal", "flaky", "x") == {
        "result": "attempt 1;attempt 2;attempt 3;done",
        "code": 0,
    }
    seen = php.client("tasks", "addTask:flaky:y")
    assert seen["good"] is True
    assert [(what, more) for what, _, _, more in seen["events"]] == [  # type: ignore[attr-defined]
        ("created", True),
        ("data", "attempt 1;"),
        ("data", "attempt 2;"),
        ("data", "attempt 3;"),
        ("complete", "done"),
    ]
    assert server.status(f"{function}_flaky") == (0, 0, 1)


def test_php_job_dies_and_is_requeued(
    start_server: Servers, programs: Programs, tmp_path: Path, function: str
) -> None:
    """A background job that fails for good is dead, with its history; requeued, it is done."""
    server = start_server(
        *configured(
            tmp_path,
            """
            [[function]]
            name = "*_needs"
            retries = { exception = 2 }
            backoff = "50ms"
            results = "1h"
            """,
        ),
        store=f"sqlite:///{tmp_path / 'jobs.sqlite'}",
    )
    operator = Operator(server)
    php = Php(server, programs, function)
    php.worker()
    file = tmp_path / "needed"
    handle = str(php.client("background", "doBackground", "needs", str(file))["handle"])
    assert operator.wait_for_dead(f"{function}_needs") == [handle]
    assert server.unused(f"{function}_other")
    details = operator.job(handle)
    assert details.facts["state"] == "dead"
    assert details.facts["attempts"] == "3"
    assert [attempt[2:] for attempt in details.attempts] == [
        ("exception", "flaky-php", "there is no needed")
    ] * 3
    began = [attempt.began for attempt in details.attempts]
    assert began == sorted(began)
    assert operator.workload(handle) == str(file)

    file.write_text("here it is")
    assert operator.order(f"requeue job {handle}") == "OK"
    operator.wait_for_state(handle, "done")
    assert operator.dead(f"{function}_needs") == []
    assert operator.result(handle)["result"] == "HERE IT IS"
    # What happened before is still known.
    assert len(operator.job(handle).attempts) == 3
    assert server.status(f"{function}_needs") == (0, 0, 1)
    assert operator.order(f"requeue job {handle}").startswith("ERR NO_WORKLOAD")


# Perl


def test_mail_is_tried_until_its_relay_is_back(
    start_server: Servers, programs: Programs, tmp_path: Path, function: str
) -> None:
    """A mail is left while the relay is down, and put off when it is back: it arrives, once."""
    server = start_server(
        *configured(
            tmp_path,
            """
            [[function]]
            name = "*_mail"
            retries = 1000
            backoff = { kind = "exponential", first = "50ms", most = "400ms" }
            results = "1h"
            """,
        ),
        store=f"sqlite:///{tmp_path / 'jobs.sqlite'}",
    )
    operator = Operator(server)
    perl = requires("perl", perl_module="Gearman::Worker")
    for module in ("Gearman::Client", "JSON::PP", "Net::SMTP"):
        requires("perl", perl_module=module)
    place, mail, port = f"127.0.0.1:{server.port}", f"{function}_mail", free_port()
    programs.start([perl, programs_folder() / "smtp_worker.pl", place, mail, str(port)], name="mailer")
    server.wait_for_workers(mail)
    letter = json.dumps({"to": "somebody@example.org", "subject": "Later", "body": "Hello"})
    done = run([perl, programs_folder() / "client.pl", place, function, "background", "mail", letter])
    handle = json.loads(done.stdout)["handle"].rpartition("//")[2]
    wait_until(lambda: len(operator.job(handle).attempts) >= 3, what="three attempts")
    assert operator.state(handle) in ("waiting", "queued", "running")
    with Relay(port, put_off=1) as relay:
        operator.wait_for_state(handle, "done")
        # Were there another copy, it would come with the next attempt.
        time.sleep(0.6)
        (arrived,) = relay.mails
    assert arrived == "To: somebody@example.org\r\nSubject: Later\r\n\r\nHello\r\n"
    assert operator.result(handle)["result"] == "sent to somebody@example.org"
    attempts = operator.job(handle).attempts
    assert {attempt.reason for attempt in attempts} == {"exception"}
    assert {attempt.worker for attempt in attempts} == {"mailer"}
    assert all("no relay" in attempt.text for attempt in attempts[:-1])
    assert "451" in attempts[-1].text
    assert "greylisted" in attempts[-1].text


# The command line tools


def test_hung_worker(start_server: Servers, programs: Programs, tmp_path: Path, function: str) -> None:
    """A job whose worker takes too long is given to another, whose result the client gets."""
    server = start_server(
        *configured(
            tmp_path,
            """
            [[function]]
            name = "*"
            timeout = "500ms"
            retries = { timeout = 5 }
            backoff = 0
            """,
        )
    )
    tool = Tools(server, programs)
    begun = time.monotonic()
    client = tool.client("-f", function, "data")
    tool.worker(function, "sleep 60")
    server.wait_for_running(function)
    tool.worker(function, "echo in time")
    assert client.wait() == 0
    assert client.stdout == b"in time\n"
    assert time.monotonic() - begun >= 0.5


def test_workers_that_all_hang(
    start_server: Servers, programs: Programs, tmp_path: Path, function: str
) -> None:
    """When no attempt is left a client's job fails, and a background job is dead, its timeouts on record."""
    server = start_server(
        *configured(
            tmp_path,
            """
            [[function]]
            name = "*"
            timeout = "300ms"
            retries = { timeout = 1 }
            backoff = "100ms"
            """,
        ),
        store=f"sqlite:///{tmp_path / 'jobs.sqlite'}",
    )
    tool, operator = Tools(server, programs), Operator(server)
    for _ in range(4):
        tool.worker(function, "sleep 60")
    server.wait_for_workers(function, 4)
    client = tool.client("-f", function, "waited for")
    assert client.wait() == 1
    assert b"Job failed" in client.stderr
    handle = tool.background(function, "left")
    assert operator.wait_for_dead(function) == [handle]
    details = operator.job(handle)
    assert [attempt.reason for attempt in details.attempts] == ["timeout", "timeout"]
    assert len({attempt.worker for attempt in details.attempts}) == 2
    assert server.status(function) == (0, 0, 4)


def test_killed_workers(start_server: Servers, programs: Programs, tmp_path: Path, function: str) -> None:
    """A job is tried again after the loss of its worker; those that kill every worker are dead."""
    server = start_server(
        *configured(
            tmp_path,
            """
            [[function]]
            name = "*"
            retries = { lost = 1, fail = 5 }
            backoff = "50ms"
            """,
        ),
        store=f"sqlite:///{tmp_path / 'jobs.sqlite'}",
    )
    tool, operator = Tools(server, programs), Operator(server)
    handle = tool.background(function, "deadly")
    for attempt in (1, 2):
        worker = tool.worker(function, "sleep 60")
        server.wait_for_running(function)
        worker.signal(signal.SIGKILL)
        wait_until(lambda: len(operator.job(handle).attempts) == attempt, what="the loss")  # noqa: B023
    assert operator.wait_for_dead(function) == [handle]
    assert [attempt.reason for attempt in operator.job(handle).attempts] == ["lost", "lost"]
    assert operator.workload(handle) == "deadly"
    # A dead job can be dropped, and then nothing is known of it.
    assert operator.order(f"forget job {handle}") == "OK"
    assert operator.state(handle) == ""
    assert server.unused(function)


def test_classic_rules_without_a_policy(
    start_server: Servers, programs: Programs, tmp_path: Path, function: str
) -> None:
    """A function that no pattern matches fails at the first failure, and nothing is kept of it."""
    server = start_server(*configured(tmp_path, '[[function]]\nname = "other"\nretries = 5\n'))
    peer = server.connect()
    peer.can_do(function.encode())
    handle = peer.submit(function.encode(), b"x", type=P.SUBMIT_JOB_BG)
    peer.send(P.WORK_FAIL, peer.grab_soon().handle)
    peer.sync()
    assert peer.grab() is None
    operator = Operator(server)
    assert operator.state(handle.decode()) == ""
    assert operator.dead(function) == []
