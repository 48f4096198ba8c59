"""Tasks of real servers: what is done to many jobs at once, over the web, and what is left after a kill."""

from __future__ import annotations

import gc
import json
import re
import signal
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from processes import Server, Servers, free_port, run, wait_until
from txgear.broker.model import Peer
from txgear.broker.operators.bulkacts import BulkActs, Order
from txgear.broker.operators.search import OF_JOBS, Search
from txgear.broker.rights import CANCEL, MOVE, PRIORITISE
from txgear.protocol.constants import HIGH
from txgear.test.support.broker import BrokerFixture
from webpeer import WebPeer
from wirepeer import P, packet

pytestmark = pytest.mark.txgear_only

PAGE: Final = Path(__file__).parent.parent / "docs" / "web" / "tasks.md"

#: Jobs that are acted on.
MANY: Final = 100_000

#: Seconds that one turn may take, by the thread's own clock: others who use the machine do not count.
TURN_SECONDS: Final = 0.02

#: Seconds for all that is done to them; it takes a tenth of that.
PATIENCE: Final = 60.0


class Tasks:
    """The tasks of a server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        with WebPeer(self.port) as peer:
            sent = b"" if body is None else json.dumps(body).encode()
            headers = {} if body is None else {"Content_Type": "application/json"}
            answer = peer.ask(method, f"/api/v1{path}", sent, **headers)
        assert answer.status in (200, 202), answer
        return answer.json

    def begin(self, **body: Any) -> int:
        return int(self.ask("POST", "/tasks", body)["id"])

    def one(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"/tasks/{number}")
        return found

    def wait(self, number: int) -> dict[str, Any]:
        """The task, when it has ended."""
        wait_until(lambda: self.one(number)["ended"] is not None, PATIENCE, what=f"the end of task {number}")
        return self.one(number)


def filled(server: Server, count: int) -> None:
    """Put so many background jobs into the functions a and b, in turn."""
    peer = server.connect(timeout=PATIENCE)
    part = 2000
    for first in range(0, count, part):
        peer.send_raw(
            b"".join(
                packet(P.SUBMIT_JOB_BG, b"ab"[number % 2 :][:1], b"%d" % number, b"work")
                for number in range(first, first + part)
            )
        )
        for _ in range(part):
            assert peer.read().type == P.JOB_CREATED


def totals(server: Server) -> dict[str, int]:
    return {name: int(total) for name, total, _, _ in server.list("status") if int(total)}


def test_100_000_jobs_preview_move_stop_kill_and_restart(start_server: Servers, tmp_path: Path) -> None:
    """Every job is in exactly one function, whenever that is looked at."""
    port, store = free_port(), f"sqlite:///{tmp_path}/jobs.sqlite"
    server = start_server(f"--web=127.0.0.1:{port}", store=store)
    filled(server, MANY)
    tasks = Tasks(port)
    half = MANY // 2
    assert totals(server) == {"a": half, "b": half}

    counted = tasks.wait(tasks.begin(act="move", function="c", filter={"function": "a"}, preview=True))
    assert (counted["total"], counted["matched"], counted["done"]) == (MANY, half, 0)

    moved = tasks.wait(tasks.begin(act="move", function="c", filter={"function": "a"}))
    assert (moved["matched"], moved["done"], moved["failed"]) == (half, half, 0)
    assert totals(server) == {"b": half, "c": half}

    number = tasks.begin(act="move", function="d", filter={"function": "c"})
    wait_until(lambda: tasks.one(number)["done"] > 0, PATIENCE, what="a task that acts")
    stopped = tasks.ask("DELETE", f"/tasks/{number}")
    assert stopped["state"] == "stopped"
    assert 0 < stopped["done"] < half
    assert totals(server) == {"b": half, "c": half - stopped["done"], "d": stopped["done"]}

    number = tasks.begin(act="move", function="e", filter={"function": "*"})
    wait_until(lambda: tasks.one(number)["done"] > half // 2, PATIENCE, what="a task that acts")
    server.signal(signal.SIGKILL)
    server.wait()
    again = start_server(f"--web=127.0.0.1:{port}", store=store)
    left = totals(again)
    assert sum(left.values()) == MANY
    assert left.keys() <= {"b", "c", "d", "e"}
    assert 0 < left["e"] < MANY
    # The next server knows nothing of it; what is left is done by another one.
    assert tasks.ask("GET", "/tasks") == {"tasks": []}
    finished = tasks.wait(tasks.begin(act="move", function="e", filter={"function": "[a-d]"}))
    assert finished["done"] == MANY - left["e"]
    assert totals(again) == {"e": MANY}
    names = Counter(row[1] for row in again.list("jobs limit=200"))
    assert names.keys() <= {"e", "200"}
    worker = again.connect(timeout=PATIENCE)
    worker.send(P.CAN_DO, b"e")
    # What it is to work on is read first.
    worker.send(P.PRE_SLEEP)
    worker.expect(P.NOOP)
    worker.send(P.GRAB_JOB)
    assert worker.expect(P.JOB_ASSIGN).args[1:] == [b"e", b"work"]


@pytest.mark.parametrize(
    ("act", "rest"),
    [(MOVE, {"function": b"g"}), (PRIORITISE, {"priority": HIGH}), (CANCEL, {})],
    ids=["move", "prioritise", "cancel"],
)
@pytest.mark.parametrize("every", [b"*", b"f"], ids=["all", "every other"])
def test_no_turn_takes_long(act: str, rest: dict[str, Any], every: bytes) -> None:
    """Also where half of a lane is taken out of it, one here and one there."""
    fixture = BrokerFixture()
    for number in range(MANY):
        # In one lane lie those that are acted on, and those that are not.
        fixture.submit(None, b"f", b"u" if number % 2 else b"", priority=1)
        if number % 2:
            fixture.broker.table.jobs[fixture.broker.table.last_number].unique = b"odd"
    words = {"function": every} if every == b"*" else {"text": b"odd"}
    order = Order(act, "jobs", words, Search.parse(words, OF_JOBS), **rest)
    acts = BulkActs(fixture.broker)
    gc.collect()
    gc.freeze()
    try:
        took = [time.thread_time()]
        task = acts.start(order, Peer(1, "192.0.2.1"), fixture.now)
        took.append(time.thread_time())
        while not task.ended:
            fixture.broker.expire(fixture.now)
            took.append(time.thread_time())
    finally:
        gc.unfreeze()
    fixture.broker.check()
    assert task.done == task.matched > 0
    longest = max(after - before for before, after in pairwise(took))
    assert longest < TURN_SECONDS, f"{longest * 1000:.1f} ms in one of {len(took)} turns"


def test_the_page(start_server: Servers, tmp_path: Path) -> None:
    """All that the page has of curl is done, in its order, at a server with the jobs that it is about."""
    port = free_port()
    config = tmp_path / "txgear.toml"
    config.write_text('[[function]]\nname = "mail.dead"\nretries = 0\n')
    server = start_server(f"--web=127.0.0.1:{port}", "--job-handle-prefix=H:web", "--config", str(config))
    peer = server.connect()
    for function in (b"mail.send", b"mail.send", b"mail.later"):
        peer.send(P.SUBMIT_JOB_BG, function, b"", b"to: nobody@example.com")
        peer.expect(P.JOB_CREATED)
    peer.send(P.CAN_DO, b"mail.dead")
    for why in (b"an encoding error", b"no such user"):
        peer.send(P.SUBMIT_JOB_BG, b"mail.dead", b"", b"to: nobody@example.com")
        peer.expect(P.JOB_CREATED)
        peer.send(P.GRAB_JOB)
        peer.send(P.WORK_EXCEPTION, peer.expect(P.JOB_ASSIGN).args[0], why)
    scripts = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    text = "\n".join(scripts).replace("127.0.0.1:4780", f"127.0.0.1:{port}")
    answers = []
    for command in re.split(r"\n(?=curl )", text):
        done = run(["sh", "-c", command.replace("curl -s", "curl -s --fail-with-body", 1)], timeout=30)
        assert done.returncode == 0, (command, done.stdout)
        answers.append(json.loads(done.stdout))
    assert answers[0]["preview"]
    assert answers[3]["id"] == 1
    (group,) = answers[4]["groups"]
    assert (group["function"], group["reason"], group["jobs"]) == ("mail.dead", "exception", 2)
    assert (answers[5]["act"], answers[5]["review"]) == ("review", "odd-mails")
    (review,) = answers[6]["reviews"]
    assert (review["name"], review["jobs"]) == ("odd-mails", 1)
    assert [job["text"] for job in answers[7]["jobs"]] == ["an encoding error"]
    assert answers[8]["filter"] == {"review": "odd-mails"}
    moved, raised, corrected, cancelled = answers[9:13]
    assert (moved["function"], raised["priority"]) == ("mail.later", "high")
    assert (corrected["size"], cancelled["state"]) == (len("to: somebody@example.com"), "cancelled")
    assert answers[-1] == {"function": "mail.later", "jobs": 1}
    assert totals(server) == {"mail.send": 1}
