"""`txgear diagnose`: what the server finds, as it finds it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from operating import Operator, configured
from processes import PATIENCE, Server, Servers, free_port, run, txgear
from txgear.security.tokens import Token, new_token
from wirepeer import P

pytestmark = pytest.mark.txgear_only


def place(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


def diagnose(*words: str, status: int = 0) -> list[list[str]]:
    """The rows, without the line of names."""
    done = run([*txgear(), "diagnose", *words])
    assert done.returncode == status, done
    return [line.split("\t") for line in done.stdout.decode().splitlines()[1:]]


def test_a_function(server: Server, function: str) -> None:
    """It says what the text command says, which asks the same server by another way."""
    server.connect().submit(function.encode(), b"x", type=P.SUBMIT_JOB_BG)
    rows = diagnose(function, "--server", place(server))
    assert [row[0] for row in rows] == [function] * len(rows)
    said = server.list(f"diagnose {function}")
    assert [row[1:3] for row in rows] == [row[:2] for row in said]
    assert rows[0][1:3] == ["critical", "never_a_worker"]
    assert rows[0][3].startswith("1 job waits")


def test_all(start_server: Servers) -> None:
    """The server, and each function with which something is wrong, the worst first."""
    server, other = start_server(), start_server()
    done = run([*txgear(), "diagnose", "--server", place(server)])
    assert (done.returncode, done.stderr.decode()) == (0, f"{place(server)}: nothing is wrong\n")
    peer = server.connect()
    for name in (b"fine", b"lonely", b"paused"):
        peer.submit(name, b"x", type=P.SUBMIT_JOB_BG)
    server.connect().can_do(b"paused")
    worker = server.connect()
    worker.can_do(b"fine")
    worker.grab_soon()
    assert Operator(server).order("pause paused") == "OK"
    rows = diagnose("--server", place(server))
    assert [(row[0], row[1]) for row in rows] == [("lonely", "critical"), ("paused", "warning")]
    done = run([*txgear(), "diagnose", "--server", place(server), "--json"])
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["code"] for each in found] == ["never_a_worker", "paused"]
    assert found[0]["facts"]
    assert diagnose("--server", place(server), "--where", "severity=warning", "--columns", "code") == [
        ["paused"]
    ]
    both = run([*txgear(), "diagnose", "--server", place(server), "--server", place(other)])
    first, *lines = both.stdout.decode().splitlines()
    assert first.split("\t")[0] == "server"
    assert [line.split("\t")[:2] for line in lines] == [[place(server), "lonely"], [place(server), "paused"]]
    # The one that knows it answers; there is no error for the other.
    assert diagnose("lonely", "--server", f"{place(other)},{place(server)}")[0][:2] == [
        place(server),
        "lonely",
    ]


def test_a_function_that_is_not_there(server: Server) -> None:
    done = run([*txgear(), "diagnose", "no-such", "--server", place(server)])
    assert (done.returncode, done.stdout) == (1, b"")
    [line] = done.stderr.decode().splitlines()
    assert line.startswith("txgear diagnose: there is no function no-such at ")


def test_refused(start_server: Servers, tmp_path: Path) -> None:
    token = new_token()
    (tmp_path / "token").write_text(token)
    config = f"""
[[identity]]
name = "one"
tokens = ["{Token.of(token.encode())}"]
[[access]]
identities = ["one"]
allow = ["see", "http", "submit"]
functions = ["mine"]
"""
    server = start_server(*configured(tmp_path, config.replace('"http", ', "")))
    words = ["diagnose", "--server", place(server)]
    done = run([*txgear(), *words, "mine"])
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    wrong = tmp_path / "wrong"
    wrong.write_text(new_token())
    assert run([*txgear(), *words, "--token-file", str(wrong)]).returncode == 4


def test_no_server() -> None:
    diagnose("f", "--server", f"127.0.0.1:{free_port()}", status=3)


def test_into_head(server: Server, function: str) -> None:
    server.connect().submit(function.encode(), b"x", type=P.SUBMIT_JOB_BG)
    line = f"{txgear()[0]} diagnose {function} --server {place(server)} --json | head -n 1 | wc -l"
    done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=PATIENCE, check=False)
    assert (done.stdout.strip(), done.stderr) == (b"1", b"")
