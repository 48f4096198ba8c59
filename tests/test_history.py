"""The history of figures of a real server: over a restart, a hand-over, and without a store that keeps it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from processes import PATIENCE, Server, Servers, free_port, wait_until
from wirepeer import P

pytestmark = pytest.mark.txgear_only


@pytest.fixture
def web() -> int:
    return free_port()


def history(web: int, path: str = "/api/v1/history", status: int = 200) -> Any:
    """What the server tells."""
    with closing(HTTPConnection("127.0.0.1", web, timeout=PATIENCE)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        assert answer.status == status, body
        return body


def submit(server: Server, count: int) -> None:
    client = server.connect()
    for _ in range(count):
        client.submit(b"mail", b"", b"", P.SUBMIT_JOB_BG)


def end(server: Server) -> None:
    """End it as an operator does."""
    os.kill(server.pid, signal.SIGTERM)
    wait_until(lambda: not server.running, what="the end of the server")


def of_mail(web: int) -> Any:
    return history(web, "/api/v1/functions/mail/history")


def total(figures: Any) -> int:
    """Jobs that were submitted, by the rates."""
    jobs: float = sum(rate or 0 for rate in figures["submitted"]) * figures["step"]
    return round(jobs)


def test_over_a_restart(start_server: Servers, web: int, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    server = start_server("--web", f"127.0.0.1:{web}", store=store)
    history(web, "/api/v1/functions/mail/history", 404)
    submit(server, 7)
    wait_until(lambda: total(history(web)) == 7, timeout=30, what="the first step")
    before = of_mail(web)
    assert total(before) == 7
    end(server)
    server = start_server("--web", f"127.0.0.1:{web}", store=store, port=server.port)
    wait_until(lambda: total(history(web)) == 7, what="the history of before")
    after = of_mail(web)
    assert (after["start"], total(after)) == (before["start"], 7)
    # Its jobs are still there, and it goes on.
    submit(server, 2)
    wait_until(lambda: total(of_mail(web)) == 9, timeout=30, what="the next step")
    assert of_mail(web)["queued"][-1] == 9


def test_over_a_hand_over(start_server: Servers, web: int, tmp_path: Path) -> None:
    store, path = f"sqlite:///{tmp_path / 'jobs.sqlite'}", str(tmp_path / "handover")
    options = "--web", f"127.0.0.1:{web}", "--handover", path
    server = start_server(*options, store=store)
    submit(server, 3)
    wait_until(lambda: total(history(web)) == 3, timeout=30, what="the first step")
    start_server(*options, store=store, port=server.port)
    wait_until(lambda: not server.running, what="the end of the first server")
    wait_until(lambda: total(of_mail(web)) == 3, what="the history of before")


def test_a_store_that_has_lost_its_place(start_server: Servers, web: int, tmp_path: Path) -> None:
    """The history begins anew, the log has one line, and jobs are kept as before."""
    file = tmp_path / "jobs.sqlite"
    store = f"sqlite:///{file}"
    server = start_server(store=store)
    submit(server, 1)
    end(server)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TABLE txgear_history")
    server = start_server("--web", f"127.0.0.1:{web}", store=store)
    submit(server, 1)
    wait_until(lambda: "history of figures" in server.log(), what="the line")
    submit(server, 1)
    time.sleep(0.5)
    assert server.log().count("history of figures") == 1
    assert history(web, "/api/v1/functions/mail/history")["function"] == "mail"
    end(server)
    server = start_server(store=store)
    (row,) = server.connect().ask_list("status")
    assert row.split("\t")[1] == "3"
