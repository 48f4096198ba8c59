"""What `txgear submit` makes of trouble, its own and that of others."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from certificates import certificate
from clisubmits import Done, at, lines_of, of_function, one_handle, reversed_, serving, started, submit
from processes import Programs, Server, Servers, free_port, run, txgear, wait_until
from startup import assert_one_line
from txgear.security.tokens import Token, new_token
from wirepeer import P, packet

pytestmark = pytest.mark.txgear_only


def test_no_server(function: str, tmp_path: Path) -> None:
    """Status 3, at once, and nothing else."""
    begun = time.monotonic()
    done = submit(free_port(), function, "x")
    assert_one_line(done, "Connection refused")
    assert (done.returncode, done.stdout, time.monotonic() - begun < 5) == (3, b"", True)
    assert submit(free_port(), function, "x", "--server", f"unix:{tmp_path}/none").returncode == 3


def test_refused_by_rules(start_server: Servers, tmp_path: Path) -> None:
    """Status 4; all jobs of the command line are alike, and of lines each may be another function's."""
    token = new_token()
    config = tmp_path / "txgear.toml"
    config.write_text(
        f'[[identity]]\nname = "shop"\ntokens = ["{Token.of(token.encode())}"]\n'
        '[[access]]\nidentities = ["shop"]\nfunctions = ["mail.*"]\nallow = ["submit"]\n'
    )
    server = start_server("--config", str(config))
    secret = tmp_path / "token"
    secret.write_text(f"{token}\n")
    done = submit(server, "mail.send", "-b", "x")
    assert_one_line(done, "the server refused it: ")
    assert done.returncode == 4
    as_shop = ["-b", "--token-file", str(secret)]
    one_handle(submit(server, "mail.send", *as_shop, "x"))
    failed = tmp_path / "failed"
    done = submit(
        server, "secret", *as_shop, "--concurrency", "1", "-N", "--failed", str(failed), stdin=b"1\n2\n"
    )
    assert (done.returncode, [row["outcome"] for row in lines_of(failed)]) == (4, ["refused"])
    rows = b'{"function": "secret"}\n{"function": "mail.b"}\n'
    done = submit(server, *as_shop, "--jobs", "-", stdin=rows)
    assert (done.returncode, len(done.stdout.splitlines())) == (4, 1)
    secret.write_text(f"{new_token()}\n")
    assert submit(server, "mail.send", *as_shop, "x").returncode == 4


def test_over_tls(start_server: Servers, function: str, tmp_path: Path) -> None:
    """By `--tls-ca` and by an endpoint string; a server that nobody vouches for gets no job."""
    _, authority = certificate(tmp_path)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    port = free_port()
    files = [f"--tls-cert={tmp_path / 'certificate.pem'}", f"--tls-key={tmp_path / 'key.pem'}"]
    server = start_server("--listen=127.0.0.1", f"--tls-listen=localhost:{port}", *files)

    def tried(*words: str) -> Done:
        return run([*txgear(), *words])

    trusting = ["--tls-ca", str(tmp_path / "ca.pem")]
    place = f"localhost:{port}"
    handles = [
        one_handle(tried("submit", function, "-b", "x", "--server", place, *trusting)),
        one_handle(tried("submit", function, "-b", "x", "--server", f"tls:{place}:trustRoots={trusting[1]}")),
        one_handle(tried("submit", function, "-b", "x", "-h", "localhost", "-p", str(port), "-S", *trusting)),
    ]
    assert of_function(server, function) == handles
    for words in (["--tls"], ["-S"], ["--tls-name", "elsewhere", *trusting]):
        done = tried("submit", function, "-b", "x", "--server", place, "--timeout", "1", *words)
        assert (done.returncode, done.stdout) == (3, b""), done
    assert of_function(server, function) == handles
    done = tried("bench", "--duration", "200ms", "--json", "--server", place, *trusting)
    assert (done.returncode, json.loads(done.stdout)["jobs"] > 0) == (0, True)


def test_mistakes(server: Server, function: str, tmp_path: Path) -> None:
    """Each is one line and status 2, and nothing has been submitted."""
    for words, stdin in (
        ([], b""),
        ([function, "-n", "x"], b""),
        ([function, "--file", str(tmp_path / "none")], b""),
        ([function, "--file", "-", "x"], b""),
        ([function, "--jobs", "-", "--json-workload"], b""),
        ([function, "x", "--jobs", "-"], b""),
        ([function, "-I", "-L", "x"], b""),
        ([function, "--wait", "x"], b""),
        ([function, "-b", "--within", "3s", "x"], b""),
        ([function, "--within", "3s", "-t", "3", "x"], b""),
        ([function, "--json-workload", "{"], b""),
        ([function, "--json-workload"], b"{"),
        ([function, "-u", "x" * 65, "x"], b""),
        (["", "x"], b""),
        ([function, "--retries", "often", "x"], b""),
        ([function, "--at", "soon", "x"], b""),
        ([function, "--at", "2099-01-01", "--in", "3", "x"], b""),
        ([function, "--in", "soon", "x"], b""),
        ([function, "--concurrency", "0", "x"], b""),
        ([function, "--failed", str(tmp_path / "none" / "x"), "x"], b""),
        ([function, "-i", str(tmp_path / "none" / "x"), "x"], b""),
        (["--jobs", "-"], b'{"workload": "x"}'),
    ):
        done = submit(server, *words, stdin=stdin)
        assert_one_line(done)
        assert (done.returncode, done.stdout) == (2, b""), words
    assert server.unused(function)


def test_a_reader_that_has_seen_enough(server: Server, function: str) -> None:
    """Into `head` it ends quietly, and takes no more of its input."""
    command = " ".join([*txgear(), "submit", *at(server), function, "-n"])
    with serving(
        server, {function: lambda job: packet(P.WORK_COMPLETE, job.handle, b"x" * 65536 + b"\n")}
    ) as jobs:
        done = run(
            ["bash", "-c", f"yes | head -5000 | {command} | head -n 2 | wc -l; echo ${{PIPESTATUS[*]}}"]
        )
    lines, *statuses = done.stdout.split()
    assert (lines, statuses[2], done.stderr) == (b"2", b"1", b"")
    assert len(jobs) < 100


def test_interrupted(server: Server, function: str, programs: Programs, tmp_path: Path) -> None:
    """Ctrl-C: what is under way is named and written down, and the server drops what nobody waits for."""
    worker = server.connect()
    worker.can_do(function.encode())
    failed = tmp_path / "failed"
    words = [function, "-N", "--concurrency", "2", "--failed", str(failed)]
    program = started(programs, server, *words, stdin=b"1\n2\n3\n4\n")
    worker.complete(worker.grab_soon(), b".")
    job = worker.grab_soon()
    server.wait_for_total(function, 2)
    program.signal(signal.SIGINT)
    assert (program.wait(), program.stdout) == (130, b".")
    said = program.stderr.decode().splitlines()
    assert said[0].startswith("txgear submit: 2 still under way: ")
    assert job.handle.decode() in said[0]
    assert said[1] == "txgear submit: the input was taken up to line 3"
    assert said[2].startswith("txgear submit: 1 done, 0 failed, 0 lost, 2 under way in ")
    assert said[3:] == ["txgear submit: interrupted"]
    assert [(row["workload"], row["outcome"]) for row in lines_of(failed)] == [
        *(("2", "interrupted"), ("3", "interrupted"))
    ]
    wait_until(lambda: server.status(function) == (1, 1, 1))
    program = started(programs, server, function, "x")
    server.wait_for_total(function, 2)
    program.signal(signal.SIGTERM)
    assert program.wait() == 143


def test_interrupted_while_it_reads(server: Server, function: str) -> None:
    """It ends at once, though nothing comes from the pipe."""
    command = [*txgear(), "submit", *at(server), function, "-N"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"1\n")
        process.stdin.flush()
        server.wait_for_total(function, 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


def test_a_worker_that_is_killed(server: Server, function: str, programs: Programs) -> None:
    """The job goes to another worker, and nobody notices."""
    one, two = server.connect(), server.connect()
    one.can_do(function.encode())
    program = started(programs, server, function, "x")
    job = one.grab_soon()
    one.close()
    two.can_do(function.encode())
    again = two.grab_soon()
    assert again.handle == job.handle
    two.complete(again, b"y")
    assert (program.wait(), program.stdout, program.stderr) == (0, b"y", b"")


def test_a_server_that_is_killed(
    start_server: Servers, function: str, programs: Programs, tmp_path: Path
) -> None:
    """The job under way is lost, and this is said; the next ones wait until the server is back."""
    server = start_server()
    worker = server.connect()
    worker.can_do(function.encode())
    failed = tmp_path / "failed"
    program = started(programs, server, function, "-N", "--failed", str(failed), stdin=b"1\n2\n3\n")
    worker.complete(worker.grab_soon(), b"one ")
    lost = worker.grab_soon()
    server.kill()
    wait_until(lambda: b": lost: " in program.stderr)
    again = start_server(port=server.port)
    with serving(again, {function: lambda job: packet(P.WORK_COMPLETE, job.handle, b"three")}) as jobs:
        assert (program.wait(), program.stdout) == (1, b"one three")
        assert [job.workload for job in jobs] == [b"3"]
    [row] = lines_of(failed)
    assert (row["workload"], row["outcome"], row["handle"]) == ("2", "lost", lost.handle.decode())


def test_resend(start_server: Servers, function: str, programs: Programs) -> None:
    """With `--resend` the job under way is submitted again, to the next server."""
    one, two = start_server(), start_server()
    worker = one.connect()
    worker.can_do(function.encode())
    program = started(programs, one, *at(two), "--resend", function, "x")
    worker.grab_soon()
    one.kill()
    with serving(two, {function: reversed_}):
        assert (program.wait(), program.stdout) == (0, b"x")


def test_a_server_that_stays_away(
    start_server: Servers, function: str, programs: Programs, tmp_path: Path
) -> None:
    """After `--timeout` it ends with status 3, and says up to where the input was taken."""
    server = start_server()
    worker = server.connect()
    worker.can_do(function.encode())
    failed = tmp_path / "failed"
    words = [function, "--timeout", "1", "-N", "--failed", str(failed)]
    program = started(programs, server, *words, stdin=b"1\n2\n3\n")
    worker.grab_soon()
    server.kill()
    assert program.wait() == 3
    assert [(row["workload"], row["outcome"]) for row in lines_of(failed)] == [("1", "lost"), ("2", "unsent")]
    said = program.stderr.decode().splitlines()
    assert any("1 lost, 1 unsent" in line for line in said)
    assert said[-1].startswith("txgear submit: no server could be reached within 1 second")


def test_several_servers(start_server: Servers, function: str) -> None:
    """The first that answers has the jobs."""
    server = start_server()
    done = submit(free_port(), *at(server), function, "-b", "x")
    assert (done.returncode, done.stdout.decode().split()) == (0, of_function(server, function))
