"""What `txgear work` says, and its command line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time

import pytest

from certificates import certificate
from cliworkers import Workers, outcome, text_of, wait_for_end, workers
from processes import PATIENCE, Programs, Servers, free_port, run, txgear, wait_until
from wirepeer import P

__all__ = ["workers"]

pytestmark = pytest.mark.txgear_only


TOKENS = """
[[identity]]
name = "mailer"
tokens = ["DIGEST"]
[[identity]]
name = "local"
addresses = ["127.0.0.1"]
[[access]]
identities = ["mailer"]
allow = ["work"]
[[access]]
identities = ["local"]
allow = ["submit", "see"]
"""


# What it says


def test_verbose(workers: Workers, function: str) -> None:
    """A line for each job with its handle, the seconds and how it ended."""
    worker = workers.start(function, "-v", "-c", "1", "--", "cat")
    peer = workers.client()
    handle = peer.submit(function.encode(), b"12345").decode()
    outcome(peer)
    assert worker.wait() == 0
    works, job = worker.stderr.decode().splitlines()
    assert works == f"txgear work: works at 127.0.0.1:{workers.server.port}: {function}"
    assert re.fullmatch(f"txgear work: {re.escape(handle)} {function}: done after \\S+: 5 in, 5 out", job)


def test_json(workers: Workers, function: str) -> None:
    """An object for each job."""
    worker = workers.start(function, "--json", "-c", "2", "--", "sh", "-c", "read n; echo out; exit $n")
    workers.told(function, b"0\n")
    workers.told(function, b"3\n")
    assert worker.wait() == 0
    done, failed = map(json.loads, worker.stdout.splitlines())
    assert (done["outcome"], done["exit_status"], done["why"], done["output_size"]) == ("done", 0, None, 4)
    assert (failed["outcome"], failed["exit_status"], failed["why"]) == ("failed", 3, "exit status 3")
    assert (failed["function"], failed["workload_size"], failed["signal"]) == (function, 2, None)
    assert 0 < done["seconds"] < PATIENCE


def test_json_without_a_command(workers: Workers, function: str) -> None:
    """The object has the workload."""
    worker = workers.start(function, "--json", "-c", "2")
    workers.told(function, b"text \xc3\xa9")
    workers.told(function, b"\xff")
    assert worker.wait() == 0
    text, octets = map(json.loads, worker.stdout.splitlines())
    assert (text["workload"], octets["base64"]) == ("text é", "/w==")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_into_head(workers: Workers, programs: Programs, function: str, options: list[str]) -> None:
    """It ends quietly when nobody reads any more, and the server keeps what has not been written."""
    command = [*txgear(), "work", function, *options, "-p", str(workers.server.port)]
    path = workers.folder / "status"
    words = " ".join(f"'{word}'" for word in command)
    pipe = programs.start(["sh", "-c", f"({words}; echo $? > {path}) | head -n 1"])
    workers.server.wait_for_workers(function)
    peer = workers.client()
    # What is written before `head` has ended lies in the pipe, and was written.
    for number in range(1000):
        peer.send(P.SUBMIT_JOB_BG, function.encode(), b"", b"%d\n" % number)
        peer.expect(P.JOB_CREATED)
        time.sleep(0.02)
        if path.exists() and path.read_text():
            break
    assert pipe.wait() == 0
    assert pipe.stdout.count(b"\n") == 1
    assert (path.read_text(), pipe.stderr) == ("1\n", b"")
    wait_until(lambda: (workers.server.status(function) or (0, 0, 0))[1:] == (0, 0))
    assert (workers.server.status(function) or (0, 0, 0))[0] >= 1


# The command line


def test_the_pid_file_and_the_background(workers: Workers, function: str) -> None:
    """-d returns when the worker works; -i has its number, until it ends."""
    path = workers.folder / "pid"
    starter = workers.start(function, "-d", "-i", str(path), "-c", "2", "--", "cat")
    assert starter.wait() == 0
    assert workers.server.status(function) == (0, 0, 1)
    pid = int(path.read_text())
    try:
        assert pid != starter.pid
        assert os.getsid(pid) == pid
        assert {os.readlink(f"/proc/{pid}/fd/0")} == {"/dev/null"}
        assert workers.told(function, b"one") == (P.WORK_COMPLETE, b"one")
        assert workers.told(function, b"two") == (P.WORK_COMPLETE, b"two")
        wait_for_end([pid])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not path.exists()


def test_the_background_fails_in_front(workers: Workers, function: str) -> None:
    """What goes wrong at the start is the status of the command that was typed."""
    done = run([*txgear(), "work", "-d", function, "-p", str(free_port()), "--", "true"])
    assert done.returncode == 3
    assert done.stderr.startswith(b"txgear work: ")


def test_tls_and_a_token_file(workers: Workers, start_server: Servers, function: str) -> None:
    """They are those of all commands."""
    _, authority = certificate(workers.folder)
    authority.cert_pem.write_to_path(str(workers.folder / "ca.pem"))
    made, token = json.loads(run([*txgear(), "token", "new", "--json"]).stdout), workers.folder / "token"
    token.write_text(f"{made['token']}\n")
    rules = workers.folder / "rules.toml"
    rules.write_text(TOKENS.replace("DIGEST", made["file"]))
    port = free_port()
    server = start_server(
        "--listen=127.0.0.1",
        f"--tls-listen=127.0.0.1:{port}",
        f"--tls-cert={workers.folder / 'certificate.pem'}",
        f"--tls-key={workers.folder / 'key.pem'}",
        f"--config={rules}",
    )
    place = ["--server", f"localhost:{port}", "--tls-ca", str(workers.folder / "ca.pem")]
    refused = run([*txgear(), "work", function, *place, "--", "true"])
    assert refused.returncode == 4
    peer = server.connect(PATIENCE)
    # As `gearman` has it, with the authorities of the machine.
    for words in (place, ["-h", "localhost", "-p", str(port), "-S"]):
        worker = workers.start(
            *(function, "-c", "1", *words, "--token-file", str(token), "--", "echo", "out"),
            env={"SSL_CERT_FILE": str(workers.folder / "ca.pem")},
        )
        peer.submit(function.encode())
        assert text_of(outcome(peer)[-1]) == b"out\n"
        assert worker.wait() == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "a function is wanted"),
        (["f", "f", "--", "true"], "function 'f' is there twice"),
        (["f", "--"], "a command is wanted behind --"),
        (["f", "--", "no-such-program-here"], "no-such-program-here: there is no such program"),
        (["f", "--", "/etc"], "/etc: is no program that may be run"),
        (["f", "--stream"], "--stream is for a command"),
        (["f", "--time-limit", "soon", "--", "true"], "a time is wanted"),
        (["f", "--time-limit", "1000d", "--", "true"], "is more than 23 days"),
        (["f", "--jobs", "0", "--", "true"], "0 is not in the range"),
        (["f", "--client-id", "a b", "--", "true"], "client_id holds white space"),
        (["", "--", "true"], "function is empty"),
        (["f", "--server", "1.2.3.4", "-p", "4730", "--", "true"], "--server says it all"),
    ],
)
def test_mistakes(workers: Workers, words: list[str], said: str) -> None:
    """Status 2 and one line, before any job is taken."""
    done = run([*txgear(), "work", *words], env={"TXGEAR_SERVER": f"127.0.0.1:{workers.server.port}"})
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.startswith(b"txgear work: ")


def test_it_starts_soon(workers: Workers, function: str) -> None:
    """Less than 0.3 s of CPU until it says what is wrong; with the reactor it takes half a second."""
    before = os.times()
    run([*txgear(), "work", "f", "--", "no-such-program-here"])
    after = os.times()
    taken = after.children_user + after.children_system - before.children_user - before.children_system
    assert taken < 0.3
