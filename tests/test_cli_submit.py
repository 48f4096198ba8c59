"""`txgear submit` as people run it: workers are plain sockets; what it says is held against the server."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clisubmits import (
    at,
    by_word,
    facts,
    failing,
    of_function,
    one_handle,
    reversed_,
    serving,
    started,
    submit,
)
from processes import Programs, Server, run, txgear, wait_until
from startup import assert_one_line
from wirepeer import Job, P, packet

pytestmark = pytest.mark.txgear_only


# Workloads


def test_where_workloads_come_from(server: Server, function: str, tmp_path: Path) -> None:
    """Words, standard input, lines with and without their ends, files, nothing: as `gearman` does it."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"\x00a\nb")
    two.write_bytes(b"c\n")
    for words, stdin, wanted in (
        (["x", "yz"], b"", [b"x", b"yz"]),
        ([], b"all\nof it\n", [b"all\nof it\n"]),
        (["-n"], b"a\n\nb", [b"a\n", b"\n", b"b"]),
        (["-N"], b"a\n\nb", [b"a", b"", b"b"]),
        (["-s"], b"ignored", [b""]),
        (["-s", "word"], b"", [b"word"]),
        (["--file", str(one), "--file", str(two)], b"", [b"\x00a\nb", b"c\n"]),
        (["-N", "--file", str(one), "--file", "-"], b"d\n", [b"\x00a", b"b", b"d"]),
        ([os.fsdecode(b"\xff\xfe")], b"", [b"\xff\xfe"]),
        (["--", "-b"], b"", [b"-b"]),
        (["--json-workload", '{"a": 1}'], b"", [b'{"a": 1}']),
    ):
        with serving(server, {function: reversed_}) as jobs:
            done = submit(server, function, *words, stdin=stdin)
            assert done.returncode == 0, done
            assert [job.workload for job in jobs] == wanted, words
            assert done.stdout == b"".join(workload[::-1] for workload in wanted)


def test_several_functions(server: Server, names: Callable[[str], str]) -> None:
    """With `-f` each function gets each job, and `-P` puts its name before each line."""
    one, two = names("one"), names("two")
    with serving(server, {one: reversed_, two: lambda job: packet(P.WORK_COMPLETE, job.handle, b"2\n2")}):
        done = submit(server, "-f", one, "-f", two, "-P", "ab")
    assert (done.returncode, done.stdout) == (0, f"{one}: ba\n{two}: 2\n{two}: 2\n".encode())


def test_a_large_workload_and_result(server: Server, function: str) -> None:
    """Megabytes with every byte come back as they were sent."""
    data = bytes(range(256)) * 32768
    with serving(server, {function: reversed_}):
        done = submit(server, function, stdin=data)
    assert (done.returncode, done.stdout == data[::-1]) == (0, True)


# What comes of a job


def test_results_as_they_come(server: Server, function: str, programs: Programs) -> None:
    """Data is there before the job has ended; warnings and progress are beside it."""
    worker = server.connect()
    worker.can_do(function.encode())
    program = started(programs, server, function, "-v", "x")
    job = worker.grab_soon()
    worker.send(P.WORK_DATA, job.handle, b"part\n")
    worker.send(P.WORK_STATUS, job.handle, b"1", b"4")
    worker.send(P.WORK_WARNING, job.handle, b"care\x1bful")
    wait_until(lambda: program.stdout == b"part\n")
    said = program.stderr.decode
    wait_until(lambda: "warning" in said())
    handle = job.handle.decode()
    assert said().splitlines() == [
        f"txgear submit: {handle}: created",
        f"txgear submit: {handle}: 25% complete (1 of 4)",
        f"txgear submit: {handle}: warning: care\\x1bful",
    ]
    worker.complete(job, b"end")
    assert (program.wait(), program.stdout) == (0, b"part\nend")


def test_failures(server: Server, function: str) -> None:
    """A job that fails, or raises, is a line on standard error and status 1; others go on."""
    with serving(server, {function: by_word}):
        done = submit(server, function, "a", "bad", "c")
    assert (done.returncode, done.stdout) == (1, b"ac")
    line, summary = done.stderr.decode().splitlines()
    assert line.startswith("txgear submit: workload 2: ")
    assert line.endswith(": failed")
    assert summary.startswith("txgear submit: 2 done, 1 failed, 0 lost in ")
    with serving(server, {function: lambda job: packet(P.WORK_EXCEPTION, job.handle, b"why\x1b")}):
        done = submit(server, function, "a")
    assert_one_line(done, ": failed: why\\x1b")
    assert done.returncode == 1


def test_json_output(server: Server, function: str) -> None:
    """All that happens is an object in a line, bytes that are no text included; the last is a summary."""

    def answer(job: Job) -> bytes:
        if job.workload == b"bad":
            return failing(job)
        parts = [
            (P.WORK_DATA, b"\xff"),
            (P.WORK_WARNING, b"w"),
            (P.WORK_STATUS, b"1\x002"),
            (P.WORK_COMPLETE, b"r"),
        ]
        return b"".join(packet(kind, job.handle, data) for kind, data in parts)

    with serving(server, {function: answer}) as jobs:
        done = submit(server, function, "--json", "good", "bad")
    assert (done.returncode, b"done" in done.stderr) == (1, False)
    rows = [json.loads(row) for row in done.stdout.splitlines()]
    summary = rows.pop()
    one, two = ({"job": n, "function": function, "handle": jobs[n - 1].handle.decode()} for n in (1, 2))
    assert rows == [
        {"event": "created", **one},
        {"event": "data", **one, "base64": "/w=="},
        {"event": "warning", **one, "text": "w"},
        {"event": "progress", **one, "numerator": 1, "denominator": 2},
        {"event": "ended", **one, "outcome": "done", "text": "r"},
        {"event": "created", **two},
        {"event": "ended", **two, "outcome": "failed", "why": "", "place": "workload 2"},
    ]
    assert {name: summary[name] for name in ("event", "jobs", "done", "failed", "under_way")} == {
        "event": "summary",
        "jobs": 2,
        "done": 1,
        "failed": 1,
        "under_way": 0,
    }


def test_on_a_terminal(server: Server, function: str) -> None:
    """There is a bar; what a worker sends does nothing to the terminal; and the line is ended."""
    worker = server.connect()
    worker.can_do(function.encode())
    here, there = pty.openpty()
    with subprocess.Popen(
        [*txgear(), "submit", *at(server), function, "x"], stdin=there, stdout=there, stderr=there
    ) as process:
        os.close(there)
        said = b""

        def read_until(text: bytes) -> None:
            nonlocal said
            while text not in said:
                said += os.read(here, 4096)

        job = worker.grab_soon()
        worker.send(P.WORK_STATUS, job.handle, b"3", b"4")
        read_until(b"3/4")
        worker.complete(job, b"re\x1b[2Jsult")
        read_until(b"re\\x1b[2Jsult\r\n")
        assert process.wait(10) == 0
        assert b"[2J" not in said.replace(b"\\x1b[2J", b"")
    os.close(here)


# How it is submitted


def test_background_and_its_settings(server: Server, function: str) -> None:
    """What is said stands at the server: background, unique, priority, time and all settings."""
    handle = one_handle(submit(server, function, "-b", "-u", "me", "-I", "work"))
    job = facts(server, handle)
    assert [job[name] for name in ("function", "unique", "background", "priority", "state", "size")] == [
        *(function, "me", "yes", "high", "queued", "4")
    ]
    assert one_handle(submit(server, function, "-b", "-u", "me", "other")) == handle
    assert facts(server, one_handle(submit(server, function, "-b", "-L", "-s")))["priority"] == "low"
    low = one_handle(submit(server, function, "-b", "--priority", "low", "-s"))
    assert facts(server, low)["priority"] == "low"
    workload_unique = {one_handle(submit(server, function, "-b", "-u", "-", "same")) for _ in range(2)}
    assert len(workload_unique) == 1
    settings = {
        "--retries": ('{"fail": 5}', "retries", '{"fail":5}'),
        "--backoff": ("30s", "backoff", '"first":30.0'),
        "--dead": ("2d", "dead", '"keep":172800.0'),
        "--job-timeout": ("1.5h", "timeout", "5400"),
        "--lease": ("60", "lease", "60"),
        "--expires": ("2h", "expires", "7200"),
        "--results": ("1d", "results", '"keep":86400.0'),
        "--unique-for": ("10m", "unique_for", "600"),
    }
    words = [word for option, (value, _, _) in settings.items() for word in (option, value)]
    job = facts(server, one_handle(submit(server, function, "-b", "-s", *words)))
    for _, name, shown in settings.values():
        assert shown in job[f"setting\t{name}"], name


def test_times(server: Server, function: str) -> None:
    """`--at` and `--in` are for the background, by the clock or from now on."""
    begins = [
        facts(server, one_handle(submit(server, function, "-s", *words)))["begins"]
        for words in (["--at", "2099-12-24T18:30:00Z"], ["--at", "4070908800"], ["--in", "1h", "-b"])
    ]
    assert [moment[:19] for moment in begins[:2]] == ["2099-12-24T18:30:00", "2099-01-01T00:00:00"]
    left = time.mktime(time.strptime(begins[2][:19] + " UTC", "%Y-%m-%dT%H:%M:%S %Z")) - time.timezone
    assert 3500 < left - time.time() < 3700
    with serving(server, {function: reversed_}) as jobs:
        soon = submit(server, function, "--in", "1", "--wait", "abc")
        assert (soon.returncode, soon.stdout, jobs[-1].workload) == (0, b"cba", b"abc")


def test_waiting_for_kept_results(server: Server, function: str, programs: Programs) -> None:
    """`--wait` has them kept, and gets them however soon the job is done; after `--within` it goes on."""
    with serving(server, {function: by_word}):
        done = submit(server, function, "-b", "--wait", "-P", "ab", "cd", "bad")
    assert (done.returncode, done.stdout) == (1, f"{function}: ba\n{function}: dc\n".encode())
    assert b": failed" in done.stderr
    begun = time.monotonic()
    done = submit(server, function, "-b", "--wait", "--within", "0.5", "later")
    assert (done.returncode, 0.5 < time.monotonic() - begun < 5) == (1, True)
    assert b"overdue: no result within 0.5 seconds" in done.stderr
    [handle] = of_function(server, function)
    assert facts(server, handle)["setting\tresults"].startswith('{"keep":86400.0')


def test_within_for_jobs_in_the_foreground(server: Server, function: str) -> None:
    """Nobody waits for the job after that: the server drops it. `-t` says it in milliseconds."""
    for words in (["--within", "300ms"], ["-t", "300"]):
        done = submit(server, function, *words, "x")
        assert_one_line(done, "overdue: no result within 0.3 seconds")
        wait_until(lambda: server.unused(function))
    with serving(server, {function: reversed_}):
        assert submit(server, function, "-t", "-1", "x").stdout == b"x"


def test_gearmans_letters(server: Server, function: str, tmp_path: Path) -> None:
    """`-h` and `-p` are for `--server`, `-i` is a file with the process's id, `-H` is help."""
    worker = server.connect()
    worker.can_do(function.encode())
    pid_file = tmp_path / "pid"
    command = [
        *txgear(),
        "submit",
        "-h",
        "127.0.0.1",
        "-p",
        str(server.port),
        "-i",
        str(pid_file),
        function,
        "x",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        job = worker.grab_soon()
        assert pid_file.read_text() == f"{process.pid}\n"
        worker.complete(job, b"y")
        assert process.communicate(timeout=10)[0] == b"y"
    assert not pid_file.exists()
    assert b"Usage: txgear submit" in run([*txgear(), "submit", "-H"]).stdout
    assert submit(server, "-h", "127.0.0.1", function, "x").returncode == 2
