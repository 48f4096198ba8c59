"""The text commands, byte for byte, as a person with telnet and as monitoring scripts use them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from processes import Server, Servers, wait_until
from wirepeer import Closed, P, packet

INCOMPLETE = b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+%b\r\n"
UNKNOWN = b"ERR UNKNOWN_COMMAND Unknown+server+command%b\r\n"
BUSY = b"ERR there are still connected workers or executing clients\r\n"

#: A line, and the one answer that every server gives, whatever it holds.
FIXED = [
    (b"show", UNKNOWN % b"show"),
    (b"show x", b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
    (b"show unique", b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
    (b"show unique x", b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
    (b"show jobs x", b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
    (b"show unique jobs x", b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
    (b"cancel", UNKNOWN % b"cancel"),
    (b"cancel job", UNKNOWN % b"cancel"),
    (b"cancel foo bar", b"ERR UNKNOWN_ERROR\r\n"),
    (b"cancel job H:nowhere:1 H:nowhere:2", b"ERR UNKNOWN_ERROR\r\n"),
    (b"cancel job H:nowhere:1", b"ERR UNKNOWN_JOB\r\n"),
    (b"create", INCOMPLETE % b"create"),
    (b"create function", INCOMPLETE % b"create"),
    (b"create foo bar", INCOMPLETE % b"create"),
    (b"create function two words", INCOMPLETE % b"create"),
    (b"drop", INCOMPLETE % b"drop"),
    (b"drop function", INCOMPLETE % b"drop"),
    (b"drop foo bar", INCOMPLETE % b"drop"),
    (b"drop function two words", INCOMPLETE % b"drop"),
    (b"drop function never-created", b"ERR function not found\r\n"),
    (b"maxqueue", INCOMPLETE % b"maxqueue"),
    (b"maxqueue never-created-a", b"OK\r\n"),
    (b"maxqueue never-created-b 5", b"OK\r\n"),
    (b"maxqueue never-created-c 5 6", b"OK\r\n"),
    (b"maxqueue never-created-d 5 6 7", b"OK\r\n"),
    (b"maxqueue never-created-e some thing else", b"OK\r\n"),
    (b"hello world", UNKNOWN % b"hello"),
    (b"Hello", UNKNOWN % b"Hello"),
    (b"a b c d e", UNKNOWN % b"a"),
    (b"", UNKNOWN % b""),
    (b" version", UNKNOWN % b""),
    (b"  version", UNKNOWN % b""),
    (b"show   unique  x", b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
    (b"show jobs ", b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"),
    (b"drop  function   never-created", b"ERR function not found\r\n"),
    (b"shutdown", UNKNOWN % b"shutdown"),
    (b"shutdown graceful", UNKNOWN % b"shutdown"),
]


@pytest.mark.parametrize(("line", "answer"), FIXED, ids=[line.decode() or "nothing" for line, _ in FIXED])
def test_fixed_answers(server: Server, line: bytes, answer: bytes) -> None:
    """Each of these lines has one answer, to the byte, and the connection stays open."""
    peer = server.connect()
    assert peer.ask(line) == answer
    assert peer.ask(line, b"\r\n") == answer
    assert peer.sync() == []


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("word", [b"version", b"VERSION", b"Version", b"version ", b"version x"])
def test_version(server: Server, word: bytes, end: bytes) -> None:
    """`version`, in any case and with anything after it."""
    assert re.fullmatch(rb"OK \d+\.\d+\S*\n", server.connect().ask(word, end))


@pytest.mark.txgear_only
def test_version_is_ours(server: Server) -> None:
    """`version` tells the version that the installed package has."""
    from importlib.metadata import version

    assert server.connect().ask("version") == f"OK {version('txgear')}\n".encode()


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_getpid(server: Server, end: bytes) -> None:
    """`getpid` tells the process that the operating system knows."""
    assert server.connect().ask("getpid", end) == b"OK %d\n" % server.pid


def test_verbose(server: Server) -> None:
    """`verbose` names one of the eight levels."""
    assert re.fullmatch(
        rb"OK (FATAL|ALERT|CRITICAL|ERROR|WARNING|NOTICE|INFO|DEBUG)\n", server.connect().ask("verbose")
    )


def test_empty_lists(fresh_server: Server) -> None:
    """A server that nobody used yet answers its lists with a lone point."""
    peer = fresh_server.connect()
    for command in (
        "status",
        "prioritystatus",
        "show jobs",
        "show unique jobs",
        "STATUS",
        "Show Unique Jobs",
    ):
        peer.send_raw(command.encode() + b"\n")
        assert peer.read_exactly(2) == b".\n", command
    assert peer.sync() == []


def test_status(fresh_server: Server) -> None:
    """`status`: name, jobs in all, of these running, workers."""
    worker, client, peer = fresh_server.connect(), fresh_server.connect(), fresh_server.connect()
    worker.can_do(b"reverse")
    client.submit(b"reverse", b"one")
    client.submit(b"reverse", b"two", type=P.SUBMIT_JOB_HIGH_BG)
    worker.grab_soon()
    for line in ("status", "status and more"):
        peer.send_raw(line.encode() + b"\r\n")
        assert peer.read_until(b".\n") == b"reverse\t2\t1\t1\n.\n"


def test_priority_status(fresh_server: Server) -> None:
    """`prioritystatus`: name, queued high, normal and low, workers; what runs is not counted."""
    worker, client = fresh_server.connect(), fresh_server.connect()
    worker.can_do(b"reverse")
    for kind in (
        P.SUBMIT_JOB_HIGH,
        P.SUBMIT_JOB_HIGH_BG,
        P.SUBMIT_JOB,
        P.SUBMIT_JOB_LOW_BG,
        P.SUBMIT_JOB_LOW,
    ):
        client.submit(b"reverse", b"data", type=kind)
    worker.grab_soon()
    client.send_raw(b"prioritystatus\n")
    assert client.read_until(b".\n") == b"reverse\t1\t1\t2\t1\n.\n"


def test_show_jobs(fresh_server: Server) -> None:
    """`show jobs`: handle, retries, 0, and 0 or 1 for stored; `show unique jobs`: a unique a line."""
    peer = fresh_server.connect()
    handle = peer.submit(b"reverse", b"data", b"the-unique")
    peer.send_raw(b"show jobs\n")
    assert peer.read_until(b".\n") == handle + b"\t0\t0\t0\n.\n"
    peer.send_raw(b"show unique jobs\n")
    assert peer.read_until(b".\n") == b"the-unique\n.\n"


def test_show_jobs_counts_retries(server: Server, function: str) -> None:
    """`show jobs` counts a job's lost workers."""
    client, worker = server.connect(), server.connect()
    handle = client.submit(function.encode(), b"data")
    for retries in (1, 2):
        worker.can_do(function.encode())
        worker.grab_soon()
        worker.close()
        server.wait_for_running(function, 0)
        assert [handle.decode(), str(retries)] in [row[:2] for row in server.list("show jobs")]
        worker = server.connect()


def test_workers(fresh_server: Server) -> None:
    """`workers`: a line for every connection, with number, address, id and functions, the asking one too."""
    worker, client = fresh_server.connect(), fresh_server.connect()
    worker.send(P.SET_CLIENT_ID, b"my-id")
    worker.can_do(b"one", b"two")
    client.send_raw(b"workers\n")
    rows = client.read_until(b"\n.\n").splitlines()
    assert rows.pop() == b"."
    assert len(rows) == 2, rows
    assert sum(bool(re.fullmatch(rb"\d+ 127\.0\.0\.1 - :", row)) for row in rows) == 1
    assert sum(bool(re.fullmatch(rb"\d+ 127\.0\.0\.1 my-id : (one two|two one)", row)) for row in rows) == 1
    assert len({row.split()[0] for row in rows}) == 2


@pytest.mark.txgear_only
def test_workers_cannot_be_forged(fresh_server: Server) -> None:
    """A client id or a function name with newlines makes no lines of its own in a list."""
    worker, client = fresh_server.connect(), fresh_server.connect()
    worker.send(P.SET_CLIENT_ID, b"x\n999 10.9.8.7 boss : everything")
    worker.can_do(b"f\n998 10.9.8.6 chief : all")
    rows = client.ask_list("workers")
    assert len(rows) == 2
    assert not any(row.startswith(("999 ", "998 ")) for row in rows)
    rows = client.ask_list("status")
    assert len(rows) == 1
    assert len(rows[0].split("\t")) == 4


@pytest.mark.txgear_only
def test_a_function_is_listed_once(fresh_server: Server) -> None:
    """A worker that registers a function three times is one worker of it."""
    worker = fresh_server.connect()
    worker.can_do(b"same", b"same", b"same")
    assert fresh_server.status("same") == (0, 0, 1)
    assert [row for row in worker.ask_list("workers") if row.endswith(": same")] != []


def test_cancel_job(server: Server, function: str) -> None:
    """`cancel job` fails the waiting client."""
    client, admin = server.connect(), server.connect()
    handle = client.submit(function.encode(), b"data")
    assert admin.ask(b"cancel job " + handle) == b"OK\r\n"
    client.expect(P.WORK_FAIL, handle)
    worker = server.connect()
    worker.can_do(function.encode())
    assert worker.grab() is None


@pytest.mark.txgear_only
def test_cancelled_job_is_gone_at_once(server: Server, function: str) -> None:
    """A cancelled queued job is counted nowhere any more, and cannot be cancelled again."""
    client, admin = server.connect(), server.connect()
    handle = client.submit(function.encode(), b"data")
    assert admin.ask(b"CANCEL JOB " + handle, b"\r\n") == b"OK\r\n"
    assert (server.status(function) or (0,))[0] == 0
    assert handle.decode() not in [row[0] for row in server.list("show jobs")]
    assert admin.ask(b"cancel job " + handle) == b"ERR UNKNOWN_JOB\r\n"


@pytest.mark.txgear_only
def test_cancelled_running_job_answers_once(server: Server, function: str) -> None:
    """The client of a cancelled running job gets WORK_FAIL, and not the late result after it."""
    client, worker, admin = server.connect(), server.connect(), server.connect()
    worker.can_do(function.encode())
    handle = client.submit(function.encode(), b"data")
    job = worker.grab_soon()
    assert admin.ask(b"cancel job " + handle) == b"OK\r\n"
    client.expect(P.WORK_FAIL, handle)
    worker.complete(job, b"late")
    worker.sync()
    assert client.sync() == []


def test_create_function(server: Server, function: str) -> None:
    """`create function` makes an empty function, and again says OK."""
    peer = server.connect()
    for _ in range(2):
        assert peer.ask(f"create function {function}", b"\r\n") == b"OK\r\n"
    assert server.status(function) == (0, 0, 0)


@pytest.mark.txgear_only
def test_create_function_keeps_the_whole_name(fresh_server: Server) -> None:
    """With a bare line feed the name keeps its last letter, which the reference cuts off."""
    peer = fresh_server.connect()
    assert peer.ask("create function wxyz") == b"OK\r\n"
    assert [row[0] for row in fresh_server.list("status")] == ["wxyz"]


def test_drop_function(server: Server, function: str) -> None:
    """`drop function` forgets a function that nobody uses."""
    peer = server.connect()
    assert peer.ask(f"create function {function}", b"\r\n") == b"OK\r\n"
    assert peer.ask(f"drop function {function}") == b"OK\r\n"
    assert server.status(function) is None
    assert peer.ask(f"drop function {function}") == b"ERR function not found\r\n"


def test_drop_function_with_workers_is_refused(server: Server, function: str) -> None:
    """A function that a worker can do is not dropped."""
    peer = server.connect()
    assert peer.ask(f"create function {function}", b"\r\n") == b"OK\r\n"
    peer.can_do(function.encode())
    assert peer.ask(f"drop function {function}") == BUSY
    peer.send(P.CANT_DO, function.encode())
    assert peer.ask(f"drop function {function}") == b"OK\r\n"


@pytest.mark.txgear_only
def test_drop_function_with_queued_jobs_is_refused(server: Server, function: str) -> None:
    """A function with queued jobs is not dropped: the reference drops it and loses the jobs."""
    peer = server.connect()
    peer.submit(function.encode(), b"data", type=P.SUBMIT_JOB_BG)
    assert peer.ask(f"drop function {function}") == BUSY
    peer.can_do(function.encode())
    assert peer.grab_soon().workload == b"data"


def submit_until_full(server: Server, function: str, kind: int, tries: int = 12) -> int:
    """How many of a dozen background jobs the server takes before it says that the queue is full."""
    peer = server.connect()
    taken = 0
    for number in range(tries):
        peer.send(kind, function.encode(), b"", b"job-%d" % number)
        answer = peer.read()
        if answer.type == P.JOB_CREATED:
            taken += 1
        else:
            assert answer.args == [b"QUEUE_ERROR", b"Job queue is full"]
    return taken


BG = {"high": P.SUBMIT_JOB_HIGH_BG, "normal": P.SUBMIT_JOB_BG, "low": P.SUBMIT_JOB_LOW_BG}


@pytest.mark.parametrize(
    ("limits", "taken"),
    [
        ("3", {"high": 3, "normal": 3, "low": 3}),
        ("2 3 4", {"high": 2, "normal": 3, "low": 4}),
        ("2 3", {"high": 2, "normal": 3, "low": 12}),
        ("0", {"high": 12, "normal": 12, "low": 12}),
        ("", {"high": 12, "normal": 12, "low": 12}),
        ("-1", {"high": 12, "normal": 12, "low": 12}),
        ("0 3 0", {"high": 12, "normal": 3, "low": 12}),
    ],
)
def test_maxqueue(server: Server, names: Callable[[str], str], limits: str, taken: dict[str, int]) -> None:
    """`maxqueue F N` or `maxqueue F HIGH NORMAL LOW` bounds a function's queue; 0 or nothing lifts it."""
    for priority, count in taken.items():
        function = names(priority)
        peer = server.connect()
        peer.can_do(function.encode())
        assert peer.ask(f"maxqueue {function} {limits}".rstrip()) == b"OK\r\n"
        assert submit_until_full(server, function, BG[priority]) == count


def test_maxqueue_compares_with_all_jobs(server: Server, function: str) -> None:
    """The limit of a priority is compared with all jobs of the function, running ones too."""
    peer = server.connect()
    peer.can_do(function.encode())
    assert peer.ask(f"maxqueue {function} 2 3 4") == b"OK\r\n"
    peer.submit(function.encode(), b"1", type=P.SUBMIT_JOB_LOW_BG)
    peer.grab_soon()
    peer.submit(function.encode(), b"2", type=P.SUBMIT_JOB_LOW_BG)
    assert submit_until_full(server, function, P.SUBMIT_JOB_HIGH_BG) == 0
    assert submit_until_full(server, function, P.SUBMIT_JOB_BG) == 1


def test_maxqueue_lets_the_same_job_join(server: Server, function: str) -> None:
    """A full queue still takes a request for a job that it has already."""
    peer = server.connect()
    peer.can_do(function.encode())
    assert peer.ask(f"maxqueue {function} 1") == b"OK\r\n"
    handle = peer.submit(function.encode(), b"data", b"same", type=P.SUBMIT_JOB_BG)
    assert submit_until_full(server, function, P.SUBMIT_JOB_BG, 1) == 0
    assert peer.submit(function.encode(), b"data", b"same", type=P.SUBMIT_JOB_BG) == handle


@pytest.mark.txgear_only
def test_maxqueue_is_remembered(server: Server, function: str) -> None:
    """A limit set before anybody has named the function holds when it comes; the reference forgets it."""
    assert server.connect().ask(f"maxqueue {function} 2") == b"OK\r\n"
    assert submit_until_full(server, function, P.SUBMIT_JOB_BG) == 2


def test_six_words_are_too_many(server: Server) -> None:
    """A line of six words ends the connection without an answer."""
    peer = server.connect()
    peer.send_raw(b"a b c d e f\n")
    assert peer.read_to_end() == b""


def test_pipelined_lines(server: Server) -> None:
    """Many lines in one write are answered in their order."""
    peer = server.connect()
    peer.send_raw(b"getpid\r\nnonsense\nshow\r\ngetpid\n\n")
    pid = b"OK %d\n" % server.pid
    answers = pid + UNKNOWN % b"nonsense" + UNKNOWN % b"show" + pid + UNKNOWN % b""
    assert peer.read_exactly(len(answers)) == answers
    assert peer.sync() == []


def test_a_line_in_pieces(server: Server) -> None:
    """A line that comes byte by byte is one line."""
    peer = server.connect()
    for byte in b"getpid\r\n":
        peer.send_raw(bytes([byte]))
    assert peer.read_until(b"\n") == b"OK %d\n" % server.pid
    assert peer.sync() == []


def test_text_between_packets(server: Server, function: str) -> None:
    """Text and packets mix on one connection, in one write; each is answered in its kind and its place."""
    peer = server.connect()
    name = function.encode()
    peer.send_raw(
        b"getpid\n"
        + packet(P.ECHO_REQ, b"one")
        + b"nonsense\r\n"
        + packet(P.CAN_DO, name)
        + packet(P.SUBMIT_JOB_BG, name, b"", b"work")
        + packet(P.GRAB_JOB)
        + b"getpid\r\n"
        + packet(P.ECHO_REQ, b"two\n")
    )
    assert peer.read_until(b"\n") == b"OK %d\n" % server.pid
    peer.expect(P.ECHO_RES, b"one")
    assert peer.read_until(b"\n") == UNKNOWN % b"nonsense"
    handle = peer.expect(P.JOB_CREATED).body
    peer.expect(P.JOB_ASSIGN, handle, name, b"work")
    assert peer.read_until(b"\n") == b"OK %d\n" % server.pid
    peer.expect(P.ECHO_RES, b"two\n")
    peer.complete(handle)
    assert peer.sync() == []


def test_a_whole_session(fresh_server: Server) -> None:
    """A function's life, seen by one person at a terminal."""
    peer, worker = fresh_server.connect(), fresh_server.connect()

    def says(line: bytes, answer: bytes) -> None:
        peer.send_raw(line + b"\r\n")
        got = peer.read_exactly(len(answer))
        assert got == answer, line

    says(b"status", b".\n")
    says(b"create function resize", b"OK\r\n")
    says(b"status", b"resize\t0\t0\t0\n.\n")
    says(b"maxqueue resize 1", b"OK\r\n")
    handle = worker.submit(b"resize", b"picture", b"p1")
    worker.send(P.SUBMIT_JOB_BG, b"resize", b"p2", b"picture 2")
    worker.expect(P.ERROR, b"QUEUE_ERROR", b"Job queue is full")
    says(b"status", b"resize\t1\t0\t0\n.\n")
    says(b"prioritystatus", b"resize\t0\t1\t0\t0\n.\n")
    says(b"show jobs", handle + b"\t0\t0\t0\n.\n")
    says(b"show unique jobs", b"p1\n.\n")
    worker.can_do(b"resize")
    says(b"drop function resize", BUSY)
    worker.grab_soon()
    says(b"status", b"resize\t1\t1\t1\n.\n")
    says(b"prioritystatus", b"resize\t0\t0\t0\t1\n.\n")
    worker.complete(handle, b"small picture")
    worker.expect(P.WORK_COMPLETE, handle, b"small picture")
    says(b"status", b"resize\t0\t0\t1\n.\n")
    says(b"show jobs", b".\n")
    worker.close()
    wait_until(lambda: fresh_server.status("resize") == (0, 0, 0), what="the worker's leaving")
    says(b"drop function resize", b"OK\r\n")
    says(b"status", b".\n")
    assert peer.sync() == []


# shutdown, which only a server started with --allow-shutdown takes


@pytest.mark.txgear_only
@pytest.mark.parametrize("line", [b"shutdown\n", b"shutdown\r\n", b"SHUTDOWN\n"])
def test_shutdown(start_server: Servers, line: bytes) -> None:
    """With --allow-shutdown, `shutdown` answers OK and the process ends with status 0."""
    server = start_server("--allow-shutdown")
    peer = server.connect()
    peer.send_raw(line)
    assert peer.read_to_end() == b"OK\r\n"
    assert server.wait() == 0


@pytest.mark.txgear_only
def test_shutdown_graceful(start_server: Servers) -> None:
    """`shutdown graceful` ends the server when the running jobs are done; their clients get the results."""
    server = start_server("--allow-shutdown")
    client, worker, admin = server.connect(), server.connect(), server.connect()
    worker.can_do(b"slow")
    handle = client.submit(b"slow", b"data")
    job = worker.grab_soon()
    assert admin.ask("shutdown graceful") == b"OK\r\n"
    worker.send(P.WORK_STATUS, job.handle, b"1", b"2")
    client.expect(P.WORK_STATUS, handle, b"1", b"2")
    assert server.running
    with pytest.raises(ConnectionRefusedError):
        server.connect()
    worker.complete(job, b"done")
    client.expect(P.WORK_COMPLETE, handle, b"done")
    assert server.wait() == 0
    with pytest.raises(Closed):
        client.read()


@pytest.mark.txgear_only
def test_shutdown_with_anything_else_is_unknown(start_server: Servers) -> None:
    """`shutdown tomorrow` does not end the server."""
    server = start_server("--allow-shutdown")
    peer = server.connect()
    assert peer.ask("shutdown tomorrow").startswith(b"ERR ")
    assert peer.sync() == []
