"""Jobs that only the store has: every way to name one, every list, and what is done to many."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from processes import PATIENCE, Server, Servers, free_port, wait_until
from wirepeer import P, WirePeer, packet

pytestmark = pytest.mark.txgear_only

JOBS: Final = 600
#: The least there is: a tenth of the jobs fits into it.
MEMORY: Final = ("--queue-memory", "64K")
POLICY: Final = """
[[function]]
name = "dies*"
retries = 0
dead = "1h"
"""


class Api:
    """The API of a server."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)) as connection:
            sent = None if body is None else json.dumps(body)
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, sent, headers)
            answer = connection.getresponse()
            data = answer.read()
            is_json = "json" in answer.getheader("Content-Type", "")
            return answer.status, json.loads(data) if is_json and data else data


class Rows:
    """A server whose jobs are in its store: C{JOBS} of C{long}, with the handles of the last ones."""

    def __init__(self, start_server: Servers, folder: Path) -> None:
        config = folder / "txgear.toml"
        config.write_text(POLICY)
        web = free_port()
        self.server: Server = start_server(
            *MEMORY,
            *("--config", str(config)),
            f"--web=tcp:{web}:interface=127.0.0.1",
            store=f"sqlite:///{folder / 'jobs.sqlite'}",
        )
        self.api = Api(web)
        self.peer: WirePeer = self.server.connect(timeout=30)
        self.handles = [handle.decode() for handle in self.submit("long", JOBS)]
        self._next = JOBS

    def submit(self, function: str, count: int) -> list[bytes]:
        name = function.encode()
        packets = [packet(P.SUBMIT_JOB_BG, name, b"u%d" % number, b"w") for number in range(count)]
        self.peer.send_raw(b"".join(packets))
        return [self.peer.expect(P.JOB_CREATED).body for _ in range(count)]

    def row(self) -> str:
        """The handle of one that only the store has, another one each time."""
        self._next -= 1
        return self.handles[self._next]

    def loaded(self) -> tuple[int, int]:
        """How many jobs there are, and how many of them are in memory."""
        _, found = self.api.ask("GET", "/api/v1/store")
        return found["jobs"] + found["ended"], found["loaded"]


def make_rows(start_server: Servers, tmp_path: Path) -> Rows:
    rows = Rows(start_server, tmp_path)
    there, loaded = rows.loaded()
    assert there == JOBS
    assert loaded < JOBS / 4
    return rows


READS: Final = {
    "/api/v1/jobs/{}": '"state":"queued"',
    "/api/v1/jobs/{}/workload": "w",
    "/api/v1/jobs/{}/result": "queued",
    "/jobs/{}": "{}",
    "/jobs/{}/edit": "{}",
}
ACTS: Final[dict[str, tuple[Any, int]]] = {
    "prioritise": ({"priority": "high"}, 200),
    "move": ({"function": "other"}, 200),
    "copy": ({}, 202),
    "cancel": (None, 200),
    "requeue": (None, 409),
    "forget": (None, 409),
}
COMMANDS: Final = {
    "job {}": "handle\t{}\n",
    "workload {}": "handle\t{}\n",
    "result {}": "ERR NO_RESULT",
    "prioritise job {} low": "OK",
    "move job {} other": "OK",
    "copy job {}": "OK H:",
    "cancel job {}": "OK",
    "requeue job {}": "ERR NOT_DEAD",
    "forget job {}": "ERR NOT_ENDED",
    "review job {} r": "ERR NOT_DEAD",
}


def by_handle(rows: Rows) -> None:
    before = rows.loaded()[0]
    for path, wanted in READS.items():
        handle = rows.row()
        status, found = rows.api.ask("GET", path.format(handle))
        text = json.dumps(found, separators=(",", ":")) if isinstance(found, dict) else found.decode()
        assert status in (200, 202), (path, found)
        assert wanted.replace("{}", handle) in text, path
    for act, (body, wanted_status) in ACTS.items():
        status, found = rows.api.ask("POST", f"/api/v1/jobs/{rows.row()}/{act}", body)
        assert status == wanted_status, (act, found)
    for command, wanted in COMMANDS.items():
        handle = rows.row()
        answer = rows.peer.ask(command.format(handle)).decode()
        if not answer.startswith(("OK", "ERR")):
            rows.peer.read_until(b".\n")
        assert answer.startswith(wanted.format(handle)), command
    assert rows.peer.status_of(rows.row().encode()) == [b"1", b"0", b"0", b"0"]
    there, loaded = rows.loaded()
    # Two more are copies, and two are cancelled.
    assert there == before + 2 - 2
    assert loaded < JOBS / 4


def pages(rows: Rows, path: str) -> list[str]:
    """The handles of all jobs of a list."""
    found: list[str] = []
    after = 0
    while True:
        _, page = rows.api.ask("GET", f"{path}&limit=200&after={after}")
        found += [job["handle"] for job in page["jobs"]]
        if page["next"] is None:
            return found
        after = page["next"]


def lists(rows: Rows) -> None:
    assert pages(rows, "/api/v1/jobs?function=*") == rows.handles
    assert pages(rows, "/api/v1/jobs?unique=u17") == [rows.handles[17]]
    assert pages(rows, "/api/v1/jobs?state=waiting") == []
    assert len(rows.peer.ask_list("jobs limit=200")) == 201
    assert sorted(row.split("\t")[0] for row in rows.peer.ask_list("show jobs")) == sorted(rows.handles)
    assert sorted(rows.peer.ask_list("show unique jobs")) == sorted(f"u{number}" for number in range(JOBS))


def the_dead(rows: Rows) -> None:
    handles = [handle.decode() for handle in rows.submit("dies", 150)]
    worker = rows.server.connect(timeout=30)
    worker.can_do(b"dies")
    for _ in handles:
        worker.send(P.WORK_FAIL, worker.grab_soon(timeout=30).handle)
    worker.sync()
    wait_until(lambda: pages(rows, "/api/v1/dead?function=*") == handles, what="they are all dead")
    assert pages(rows, "/api/v1/dead?reason=fail") == handles
    assert pages(rows, "/api/v1/dead?reason=timeout") == []
    assert pages(rows, "/api/v1/dead?unique=u3") == [handles[3]]
    wait_until(lambda: rows.loaded()[1] < JOBS / 4, what="they are in the store only")
    assert rows.peer.ask(f"requeue job {handles[0]}").strip() == b"OK"
    assert rows.peer.ask("forget dead function=dies").strip() == b"OK 1 149"
    wait_until(lambda: pages(rows, "/api/v1/dead?function=*") == [], what="they are forgotten")
    assert rows.server.status("dies") == (1, 0, 1)


def many(rows: Rows) -> None:
    peer, server = rows.peer, rows.server
    jobs = server.status("long")
    assert jobs is not None
    assert peer.ask("cancel jobs function=long preview=yes").strip() == b"OK 2 %d" % jobs[0]
    assert peer.ask("move jobs other unique=u5").strip() == b"OK 3 1"
    server.wait_for_total("other", 3)
    assert peer.ask("drop function long").startswith(b"ERR")
    assert peer.ask("purge long").strip() == b"OK %d" % (jobs[0] - 1)
    assert len(rows.submit("long", 3)) == 3
    server.wait_for_total("long", 3)
    assert rows.peer.ask("maxqueue long 3 3 3").strip() == b"OK"
    peer.send(P.SUBMIT_JOB_BG, b"long", b"one too many", b"w")
    assert peer.read().type == P.ERROR


def test_jobs_that_only_the_store_has(start_server: Servers, tmp_path: Path) -> None:
    rows = make_rows(start_server, tmp_path)
    lists(rows)
    the_dead(rows)
    by_handle(rows)
    many(rows)
