"""The text commands that only txgear has, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from operating import configured
from processes import Server, Servers, wait_until
from test_text_session import INCOMPLETE
from wirepeer import P

pytestmark = pytest.mark.txgear_only

WRONG = b"ERR INVALID_ARGUMENTS %b\r\n"

#: A line of txgear's own, and the one answer that every server gives, whatever it holds.
FIXED_OWN = [
    (b"job", WRONG % b"job+wants+the+handle+of+one+job"),
    (b"job H:nowhere:1", b"ERR UNKNOWN_JOB\r\n"),
    (b"workload H:nowhere:1", b"ERR UNKNOWN_JOB\r\n"),
    (b"RESULT H:nowhere:1", b"ERR UNKNOWN_JOB\r\n"),
    (b"policy", INCOMPLETE % b"policy"),
    (b"policies all", INCOMPLETE % b"policies"),
    (b"settings all", INCOMPLETE % b"settings"),
    (b"purge", WRONG % b"purge+wants+the+name+of+one+function"),
    (b"purge never-created", b"ERR UNKNOWN_FUNCTION There+is+no+such+function\r\n"),
    (b"pause two words", WRONG % b"pause+wants+the+name+of+one+function"),
    (b"resume never-paused", b"ERR NOT_PAUSED The+function+is+not+paused\r\n"),
    (b"requeue all", WRONG % b"requeue+wants+job+or+function,+and+one+name"),
    (b"requeue job H:nowhere:1", b"ERR UNKNOWN_JOB\r\n"),
    (b"requeue function never-created", b"ERR UNKNOWN_FUNCTION There+is+no+such+function\r\n"),
    (b"forget job H:nowhere:1", b"ERR UNKNOWN_JOB\r\n"),
    (b"forget dead never-created", b"ERR UNKNOWN_FUNCTION There+is+no+such+function\r\n"),
    (b"jobs queued", b"ERR INVALID_ARGUMENT queued:+one+value+is+wanted,+as+in+queued=value\r\n"),
    (b"jobs limit=201", b"ERR INVALID_ARGUMENT limit+is+a+number+from+1+to+200\r\n"),
    (
        b"dead worker=x",
        b"ERR INVALID_ARGUMENT worker+is+not+known;+there+are+"
        b"function,+unique,+reason,+review,+text,+after,+limit\r\n",
    ),
]


@pytest.mark.parametrize(("line", "answer"), FIXED_OWN, ids=[line.decode() for line, _ in FIXED_OWN])
def test_fixed_answers_of_our_own(server: Server, line: bytes, answer: bytes) -> None:
    """Each of these lines has one answer, to the byte, and the connection stays open."""
    peer = server.connect()
    assert peer.ask(line) == answer
    assert peer.ask(line + b" ", b"\r\n") == answer
    assert peer.sync() == []


def test_jobs(server: Server, function: str, names: Callable[[str], str]) -> None:
    """`jobs` lists jobs by function, state, worker, age and text, a page at a time."""
    client, worker = server.connect(), server.connect()
    name, other = function.encode(), names("two words").replace("_words", " words")
    handles = [
        client.submit(name, b"data of %d" % index, b"unique-%d" % index, type=P.SUBMIT_JOB_BG).decode()
        for index in range(3)
    ]
    spaced = client.submit(other.encode(), b"data", type=P.SUBMIT_JOB_LOW_BG).decode()
    worker.send(P.SET_CLIENT_ID, b"worker 7")
    worker.can_do(name)
    worker.grab_soon()
    rows = server.list(f"jobs function={function}")
    assert [row[:4] for row in rows] == [
        [handles[0], function, "running", "normal"],
        [handles[1], function, "queued", "normal"],
        [handles[2], function, "queued", "normal"],
    ]
    assert all(int(row[4]) < 60 for row in rows)
    assert [row[5:] for row in rows] == [
        ["0", "worker\\x207", "unique-0"],
        ["0", "-", "unique-1"],
        ["0", "-", "unique-2"],
    ]

    def listed(*words: str) -> list[str]:
        return [row[0] for row in server.list(" ".join(("jobs", *words)))]

    ours = f"function={function}"
    assert listed(ours, "state=queued", "text=data\\x20of\\x202") == [handles[2]]
    assert listed(ours, "worker=worker\\x207") == [handles[0]]
    assert listed(ours, "older=1h") == []
    escaped = other.replace(" ", "\\x20")
    assert [row[:4] for row in server.list(f"jobs function={escaped}")] == [
        [spaced, escaped, "queued", "low"]
    ]
    *page, following = server.list(f"jobs {ours} limit=2")
    assert [row[0] for row in page] == handles[:2]
    assert following[0] == "next"
    assert listed(ours, "limit=2", f"after={following[1]}") == handles[2:]


def test_job_and_workload(server: Server, function: str) -> None:
    """`job` tells all that is known of one, `workload` shows its bytes."""
    client = server.connect()
    handle = client.submit(function.encode(), b"one\ttwo\n\xff", b"u", type=P.SUBMIT_JOB_HIGH_BG)
    rows = dict(row[:2] for row in server.list(f"job {handle.decode()}"))
    assert (rows["function"], rows["unique"], rows["state"]) == (function, "u", "queued")
    assert (rows["priority"], rows["background"], rows["size"]) == ("high", "yes", "9")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", rows["created"])
    assert server.list(f"workload {handle.decode()}") == [
        ["handle", handle.decode()],
        ["size", "9"],
        ["shown", "9"],
        ["workload", "one\\x09two\\x0a\\xff"],
    ]
    assert client.ask(b"result " + handle) == b"ERR NO_RESULT The+job+has+not+ended\r\n"


def test_a_workload_that_only_the_store_has(start_server: Servers, tmp_path: Path) -> None:
    """After a restart `workload` reads the store; what is asked next is answered behind it."""
    store = f"sqlite:///{tmp_path / 'queue.db'}"
    server = start_server(store=store)
    large = b"x" * 100_000
    handle = server.connect().submit(b"f", large, type=P.SUBMIT_JOB_BG)
    assert server.stop() == 0
    server = start_server(store=store)
    peer = server.connect()
    peer.send_raw(b"workload " + handle + b"\nversion\n")
    shown = b"handle\t" + handle + b"\nsize\t100000\nshown\t65536\nworkload\t" + large[:65536] + b"\n.\nOK "
    assert peer.read_exactly(len(shown)) == shown
    assert ["store", store] in [row[:2] for row in server.list("settings")]


def test_pause_resume_and_purge(server: Server, function: str) -> None:
    """A paused function's jobs are not handed out; purging cancels those that no worker has."""
    client, worker, admin = server.connect(), server.connect(), server.connect()
    worker.can_do(function.encode())
    for _ in range(3):
        client.submit(function.encode(), b"data", type=P.SUBMIT_JOB_BG)
    assert admin.ask(f"pause {function}") == b"OK\r\n"
    assert worker.grab() is None
    assert ["paused", "yes"] in server.list(f"policy {function}")
    assert admin.ask(f"resume {function}") == b"OK\r\n"
    job = worker.grab_soon()
    assert admin.ask(f"purge {function}") == b"OK 2\n"
    wait_until(lambda: server.status(function) == (1, 1, 1), what="the end of two jobs")
    worker.complete(job)
    assert worker.sync() == []


def test_settings(server: Server) -> None:
    """`settings` tells what the server was started with."""
    rows = dict(row[:2] for row in server.list("settings"))
    assert (rows["store"], rows["allow_shutdown"], rows["retries"]) == ("memory:", "no", "-1")
    assert server.list("policies") == []


def test_sixteen_words_of_our_own(server: Server) -> None:
    """A command of txgear's own may have sixteen words; one more ends the connection."""
    peer = server.connect()
    assert peer.ask(b"jobs" + b" limit=1" * 15).startswith(b"ERR INVALID_ARGUMENT ")
    peer.send_raw(b"jobs" + b" limit=1" * 16 + b"\n")
    assert peer.read_to_end() == b""


def test_the_dead(start_server: Servers, tmp_path: Path) -> None:
    """The dead are listed with the reason, read with their history, requeued and forgotten."""
    server = start_server(
        *configured(tmp_path, '[[function]]\nname = "mail*"\nretries = 1\nbackoff = 0\n'),
        store=f"sqlite:///{tmp_path / 'queue.db'}",
    )
    client, worker, admin = server.connect(), server.connect(), server.connect()
    worker.send(P.SET_CLIENT_ID, b"mailer")
    worker.can_do(b"mail")
    handles = [client.submit(b"mail", b"to %d" % index, type=P.SUBMIT_JOB_BG) for index in range(3)]
    for _ in range(6):
        worker.send(P.WORK_EXCEPTION, worker.grab_soon().handle, b"550 no such\tuser")
    assert worker.sync() == []
    rows = server.list("dead function=mail text=550")
    assert [(row[0], *row[3:]) for row in rows] == [
        (handle.decode(), "2", "exception", "-", "550 no such\\x09user") for handle in handles
    ]
    assert server.list("dead text=551") == []
    first, second, third = handles
    history = [row for row in server.list(f"job {first.decode()}") if row[0] == "attempt"]
    assert [row[3:] for row in history] == [["exception", "mailer", "550 no such\\x09user"]] * 2
    assert ["workload", "to 0"] in server.list(f"workload {first.decode()}")
    assert admin.ask(b"result " + first) == b"ERR NO_RESULT What+the+job+has+brought+is+not+kept\r\n"
    assert admin.ask(b"requeue job " + first) == b"OK\r\n"
    assert admin.ask(b"requeue job " + first) == b"ERR NOT_DEAD The+job+is+not+dead,+and+does+not+wait\r\n"
    assert (
        admin.ask(b"forget job " + first) == b"ERR NOT_ENDED The+job+has+not+ended;+it+can+be+cancelled\r\n"
    )
    job = worker.grab_soon()
    assert (job.handle, job.workload) == (first, b"to 0")
    worker.complete(job)
    assert admin.ask(b"forget job " + second) == b"OK\r\n"
    assert [row[0] for row in server.list("dead")] == [third.decode()]
    assert admin.ask("requeue function mail") == b"OK 1\n"
    worker.complete(worker.grab_soon())
    assert server.list("dead") == []
    assert admin.ask("forget dead mail") == b"OK 0\n"


def test_kept_results(start_server: Servers, tmp_path: Path) -> None:
    """Results that are kept are listed and shown, after a restart as well; the policies tell why they are."""
    options = configured(tmp_path, '[[function]]\nname = "sum"\nresults = "1h"\nconcurrency = 2\n')
    store = f"sqlite:///{tmp_path / 'queue.db'}"
    server = start_server(*options, store=store)
    client, worker = server.connect(), server.connect()
    worker.can_do(b"sum")
    handle = client.submit(b"sum", b"1 2", b"u", type=P.SUBMIT_JOB_BG)
    worker.send(P.WORK_DATA, worker.grab_soon().handle, b"so far ")
    worker.complete(handle, b"3")
    assert worker.sync() == []
    for _ in range(2):
        ((shown, function, outcome, age, size, left, unique),) = server.list("kept text=u")
        assert (shown, function, outcome, size, unique) == (handle.decode(), "sum", "done", "8", "u")
        assert 3500 < int(age) + int(left) <= 3600
        assert server.list(f"result {shown}")[1:] == [
            ["outcome", "done"],
            ["size", "8"],
            ["shown", "8"],
            ["data", "so far "],
            ["result", "3"],
        ]
        assert [row[0] for row in server.list("policies")] == ["sum"]
        policy = server.list("policy sum")
        assert ["setting", "concurrency", "2"] in policy
        assert ["kept", "1"] in policy
        assert server.stop() == 0
        server = start_server(*options, store=store)
    assert server.connect().ask(b"forget job " + handle) == b"OK\r\n"
    assert server.list("kept") == []
