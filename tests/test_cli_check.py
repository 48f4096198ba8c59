"""`txgear check`, as a monitoring system calls it: a line, figures, a status."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from pathlib import Path
from threading import Thread
from typing import Final, NamedTuple

import pytest

from operating import Operator, configured
from processes import PATIENCE, Server, Servers, free_port, run, txgear, wait_until
from txgear.security.tokens import Token, new_token
from wirepeer import P, WirePeer

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
EXAMPLE: Final = Path(__file__).parent.parent / "examples" / "monitoring" / "naemon-txgear.cfg"

pytestmark = pytest.mark.txgear_only


class Said(NamedTuple):
    """What a plugin has said."""

    status: int
    text: str
    figures: dict[str, str]
    lines: list[str]


def said(done: subprocess.CompletedProcess[bytes]) -> Said:
    """Read as the guidelines have it: one line, a bar, the figures; then more lines."""
    first, *lines = done.stdout.decode().splitlines()
    assert not done.stderr, done
    text, bar, rest = first.partition(" | ")
    figures = dict(re.findall(r"'((?:[^']|'')+)'=(\S+)", rest))
    assert bool(bar) == bool(figures)
    assert re.fullmatch(r"(?:'(?:[^'=]|'')+'=-?[\d.]+s?(?:;[\d.:~@-]*){2};0 ?)*", rest), rest
    state = ("OK", "WARNING", "CRITICAL", "UNKNOWN")[done.returncode]
    assert text.startswith(f"TXGEAR {state} - "), done
    assert not [line for line in lines if "|" in line]
    return Said(done.returncode, text.partition(" - ")[2], figures, lines)


class Checks:
    """Checks of one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.place = f"127.0.0.1:{server.port}"

    def __call__(self, *words: str) -> Said:
        return said(run([*txgear(), "check", "-H", self.place, *words]))


@pytest.fixture
def check(server: Server) -> Checks:
    return Checks(server)


def answering(
    server: Server, function: str, answer: bytes, fails: bool = False
) -> tuple[Thread, list[bytes]]:
    """A worker of one job: what it is sent, once it has answered."""
    peer = server.connect(timeout=PATIENCE)
    peer.can_do(function.encode())
    seen: list[bytes] = []

    def work() -> None:
        job = peer.grab_soon()
        seen.extend((job.unique, job.workload))
        if fails:
            peer.send(P.WORK_FAIL, job.handle)
        else:
            peer.complete(job, answer)

    thread = Thread(target=work)
    thread.start()
    return thread, seen


def test_thresholds(check: Checks, server: Server, function: str) -> None:
    """Of the queue, of workers, of running jobs and of the oldest, each against what the server has."""
    peer = server.connect()
    handles = [peer.submit(function.encode(), b"x", type=P.SUBMIT_JOB_BG) for _ in range(3)]
    assert len(set(handles)) == 3
    lonely = check("-q", function)
    assert (lonely.status, lonely.text) == (CRITICAL, f"{function} has no worker, and 3 jobs wait")
    worker = server.connect()
    worker.can_do(function.encode())
    job = worker.grab_soon()
    assert server.status(function) == (3, 1, 1)
    for words, status, text in (
        ([], OK, "2 queued, 1 running, 1 worker, 1 function"),
        (["-w", "2"], OK, "2 queued"),
        (["-w", "1"], WARNING, f"{function} has queued 2 (1)"),
        (["-w", "1", "-c", "1"], CRITICAL, f"{function} has queued 2 (1)"),
        (["-w", "1", "-w", f"queued@{function[:4]}*=0"], OK, "2 queued"),
        (["-W", "2:"], WARNING, f"{function} has workers 1 (2:)"),
        (["-C", "@1:5"], CRITICAL, f"{function} has workers 1 (@1:5)"),
        (["-w", "running=0:0"], WARNING, f"{function} has running 1 (0:0)"),
        (["-c", "oldest=~:0"], CRITICAL, f"{function} has oldest "),
        (["-c", "oldest=1h"], OK, ""),
        (["-c", "dead=0:0", "-c", "waiting=0:0", "-c", "kept=0:0"], OK, ""),
        (["-c", "submitted_rate=1h"], OK, ""),
        (["-x"], OK, ""),
    ):
        found = check("-q", function, *words)
        assert found.status == status, (words, found)
        assert found.text.startswith(text), (words, found)
    figures = check("-q", function, "-w", "100", "-c", "queued=5:500", "-W", "1:").figures
    assert figures[f"{function}_queued"] == "2;100;5:500;0"
    assert figures[f"{function}_running"] == "1;;;0"
    assert figures[f"{function}_workers"] == "1;1:;;0"
    assert float(figures[f"{function}_oldest"].partition("s;")[0]) > 0
    assert figures["queued"] == "2;;;0"
    worker.complete(job, b"")
    worker.close()
    wait_until(lambda: (server.status(function) or (0, 0, 1))[2] == 0)
    assert check("-q", function, "-x", "--verbose").lines[-1].startswith(f"{function}: queued 2, running 0")


def test_which_functions(check: Checks, server: Server, function: str) -> None:
    """A retired one is left out; one that must be there is missed."""
    peer = server.connect()
    for name in ("old", "new"):
        peer.submit(f"{function}.{name}".encode(), b"x", type=P.SUBMIT_JOB_BG)
    both = check("-q", f"{function}.*")
    assert both.status == CRITICAL
    assert both.text.count("has no worker") == 2
    assert both.lines == [
        f"CRITICAL: {function}.{name} has no worker, and 1 job waits" for name in ("new", "old")
    ]
    worker = server.connect()
    worker.can_do(f"{function}.new".encode())
    worker.sync()
    assert check("-q", f"{function}.*").status == CRITICAL
    found = check("-q", f"{function}.*", "--exclude", "*.old")
    assert found.status == OK
    assert not [name for name in found.figures if ".old_" in name]
    gone = check("-q", f"{function}.new", "--require", f"{function}.third")
    assert (gone.status, gone.text) == (CRITICAL, f"there is no function {function}.third")
    # As with check_gearman.
    none = check("-q", f"{function}.none")
    assert (none.status, none.text) == (WARNING, f"there is no function {function}.none")
    assert check("-q", f"{function}.none*").status == OK


def test_paused(check: Checks, server: Server, function: str) -> None:
    server.connect().submit(function.encode(), b"x", type=P.SUBMIT_JOB_BG)
    assert Operator(server).order(f"pause {function}") == "OK"
    found = check("-q", function)
    assert (found.status, found.text) == (WARNING, f"{function} is paused, and 1 job waits")


def test_a_worker_has_to_answer(check: Checks, server: Server, function: str) -> None:
    """What it is sent is what was said, and no job is left."""
    for words, answer, status, text in (
        (["-s", "ping", "-e", "pong"], b"pong!\n", OK, f"{function} answers: pong!"),
        (["-s", "ping", "-e", "pong"], b"ping", CRITICAL, f"{function} answers: ping (expected: pong)"),
        (["-s", "ping"], b"1:worker is slow", WARNING, "worker is slow"),
    ):
        thread, seen = answering(server, function, answer)
        found = check("-q", function, *words)
        thread.join(PATIENCE)
        assert (found.status, seen) == (status, [b"check", b"ping"]), found
        assert text in found.text
    thread, seen = answering(server, function, b"", fails=True)
    found = check("-q", function, "-s", "x", "-u", "mine")
    thread.join(PATIENCE)
    assert (found.status, seen) == (CRITICAL, [b"mine", b"x"])
    assert found.text == f"{function} failed"
    assert (server.status(function) or (0, 0))[:2] == (0, 0)


def test_no_worker_answers(check: Checks, server: Server, function: str) -> None:
    """It ends in time, and the job is given up; one in the background is not waited for."""
    server.connect().can_do(function.encode())
    began = time.monotonic()
    found = check("-q", function, "-s", "x", "-t", "0.8")
    assert time.monotonic() - began < 4
    assert (found.status, found.text) == (
        CRITICAL,
        f"no worker of {function} has answered within 0.8 seconds",
    )
    wait_until(lambda: (server.status(function) or (0, 0))[0] == 0, what="the job to be given up")
    taken = check("-q", function, "-s", "x", "-a")
    assert (taken.status, server.status(function)) == (OK, (1, 0, 1))
    assert f"a job of {function} is taken" in taken.text


def test_the_server(start_server: Servers, tmp_path: Path) -> None:
    """It cannot be reached; it does not answer; it is one of several."""
    server = start_server()
    other = start_server()
    both = [f"127.0.0.1:{each.port}" for each in (server, other)]
    found = said(run([*txgear(), "check", "--server", both[0], "--server", both[1]]))
    assert found.status == OK
    assert set(found.figures) >= {f"{place} queued" for place in both}
    place = f"127.0.0.1:{free_port()}"
    found = said(run([*txgear(), "check", "-H", place, "-H", both[1]]))
    assert (found.status, found.text) == (CRITICAL, f"{place}: Connection refused")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        found = said(run([*txgear(), "check", "-H", f"127.0.0.1:{silent.getsockname()[1]}", "-t", "0.5"]))
        assert time.monotonic() - began < 4
    assert found.status == CRITICAL
    assert "within 0.5 seconds" in found.text or "in time" in found.text


def test_the_store_is_away(start_server: Servers, tmp_path: Path) -> None:
    store = tmp_path / "store" / "jobs.db"
    store.parent.mkdir()
    server = start_server(store=f"sqlite:///{store}")
    check = Checks(server)
    assert check().status == OK
    store.parent.rename(tmp_path / "elsewhere")

    def refused() -> bool:
        with WirePeer(server.port) as peer:
            peer.send(P.SUBMIT_JOB_BG, b"f", b"", b"x")
            return peer.read(PATIENCE).type == P.ERROR

    wait_until(refused, what="the server to miss its store")
    found = check("--exclude", "f")
    assert found.status == CRITICAL
    assert found.text.startswith("its store is away: ")


def test_what_is_not_allowed_is_unknown(start_server: Servers, tmp_path: Path) -> None:
    token, other = new_token(), new_token()
    for name, text in (("token", token), ("other", other)):
        (tmp_path / name).write_text(text)
    config = f"""
[[identity]]
name = "probe"
tokens = ["{Token.of(token.encode())}"]
[[access]]
identities = ["probe"]
allow = ["see", "http"]
"""
    check = Checks(start_server(*configured(tmp_path, config)))
    assert check("--token-file", str(tmp_path / "token")).status == OK
    assert check().status == UNKNOWN
    assert check("--token-file", str(tmp_path / "other")).status == UNKNOWN
    assert check("--token-file", str(tmp_path / "token"), "-q", "f", "-s", "x").status == UNKNOWN


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--no-such"], "No such option"),
        (["-w", "ten"], "'ten' is no range"),
        (["-c", "size=1"], "no figure 'size'"),
        (["-t", "0"], "-t"),
        (["-s", "x"], "-q NAME"),
        (["-s", "x", "-q", "a*"], "-q NAME"),
        (["-e", "x"], "-s TEXT"),
        (["--token-file", "/none"], "cannot read /none"),
        (["-H", "127.0.0.1:x"], "is no server"),
        (["stray"], "stray"),
    ],
)
def test_misused(words: list[str], text: str) -> None:
    """One line on standard output: that is what the monitoring system shows."""
    done = run([*txgear(), "check", *words])
    found = said(done)
    assert found.status == UNKNOWN
    assert text in found.text
    assert not found.lines


def test_json(check: Checks, server: Server, function: str) -> None:
    server.connect().submit(function.encode(), b"x", type=P.SUBMIT_JOB_BG)
    done = run([*txgear(), "check", "-H", check.place, "-q", function, "--json"])
    found = json.loads(done.stdout)
    assert done.returncode == found["status"] == CRITICAL
    assert found["problems"] == [{"state": "CRITICAL", "text": f"{function} has no worker, and 1 job waits"}]
    assert f"'{function}_queued'=1;;;0" in found["figures"]


def test_names_that_would_end_a_line(check: Checks, server: Server) -> None:
    """Bars, quotes, equals signs and line ends of names stay names."""
    name = b"it's|a=b\n\x1b[2J"
    server.connect().submit(name, b"x", type=P.SUBMIT_JOB_BG)
    found = check("-q", "it's*", "-v")
    assert found.status == CRITICAL
    assert found.text == "it's\\x7ca=b\\x0a\\x1b[2J has no worker, and 1 job waits"
    assert found.figures["it''s_a_b\\x0a\\x1b[2J_queued"] == "1;;;0"


def test_the_example(check: Checks, server: Server, function: str) -> None:
    """Each command line of the file for Naemon is one that is understood, with its macros filled in."""
    text = EXAMPLE.read_text()
    lines = re.findall(r"^\s*command_line\s+(?:\S*/)?txgear (check .*)$", text, re.MULTILINE)
    arguments = re.findall(r"^\s*check_command\s+(\w+)!?(.*)$", text, re.MULTILINE)
    names = re.findall(r"^\s*command_name\s+(\w+)$", text, re.MULTILINE)
    assert len(lines) == len(names) >= 3
    assert {name for name, _ in arguments} == set(names)
    for name, values in arguments:
        line = lines[names.index(name)].replace("$HOSTADDRESS$", "127.0.0.1")
        line = line.replace("$_HOSTGEARMAN_PORT$", str(server.port))
        for number, value in enumerate(values.split("!"), 1):
            line = line.replace(f"$ARG{number}$", value)
        assert "$" not in line, line
        words = [*txgear(), *line.replace("'", "").split(), "-t", "1"]
        found = said(run(words))
        assert found.status in (OK, CRITICAL, WARNING), (line, found)
