"""`txgear submit` of many jobs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from climemory import MEASURE
from clisubmits import at, by_word, facts, lines_of, reversed_, serving, started, submit
from processes import Programs, Server, run, txgear, wait_until
from wirepeer import Job, P, WirePeer, packet

pytestmark = pytest.mark.txgear_only


def test_jobs_from_lines_of_json(server: Server, names: Callable[[str], str], tmp_path: Path) -> None:
    """Each line is a job with what it says, and for what it does not say the command line counts."""
    one, two = names("one"), names("two")
    path = tmp_path / "jobs"
    rows = [
        {"workload": "text", "unique": "u"},
        {"function": two, "base64": "/w==", "priority": "low", "policy": {"retries": 7}},
        {"function": two, "json": {"a": 1}, "delay": "1h", "priority": "high"},
    ]
    path.write_text("\n\n".join(map(json.dumps, rows)))
    done = submit(server, one, "-b", "--jobs", str(path), "--expires", "1d")
    assert done.returncode == 0, done
    handles = done.stdout.decode().split()
    text, binary, value = (facts(server, handle) for handle in handles)
    assert [text[name] for name in ("function", "unique", "priority")] == [one, "u", "normal"]
    assert [binary[name] for name in ("function", "priority", "setting\tretries")] == [two, "low", "7"]
    assert [value[name] for name in ("state", "priority", "size")] == ["waiting", "high", "7"]
    assert all(job["setting\texpires"].startswith("86400") for job in (text, binary, value))
    with WirePeer(server.port) as worker:
        worker.can_do(two.encode())
        assert worker.grab_soon().workload == b"\xff"


def test_no_more_than_so_many_at_a_time(server: Server, function: str, programs: Programs) -> None:
    """With `--concurrency 3` there are three at the server, until one of them has ended."""
    program = started(programs, server, function, "-N", "--concurrency", "3", stdin=b"1\n2\n3\n4\n5\n")
    worker = server.connect()
    worker.can_do(function.encode())
    server.wait_for_total(function, 3)
    for left in (3, 3, 3, 2, 1):
        wait_until(lambda left=left: (server.status(function) or (0,))[0] == left)  # type: ignore[misc]
        worker.complete(worker.grab_soon(), b".")
    assert (program.wait(), program.stdout) == (0, b".....")


def test_lines_of_a_pipe_as_they_come(server: Server, function: str) -> None:
    """A line is a job at once: nobody waits for the pipe to end."""
    worker = server.connect()
    worker.can_do(function.encode())
    command = [*txgear(), "submit", *at(server), function, "-N"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for word in (b"one", b"two"):
            process.stdin.write(word + b"\n")
            process.stdin.flush()
            job = worker.grab_soon()
            assert job.workload == word
            worker.complete(job, word + b"!\n")
            assert process.stdout.readline() == word + b"!\n"
        process.stdin.close()
        assert process.wait(10) == 0


def test_failed_jobs_can_be_given_again(server: Server, function: str, tmp_path: Path) -> None:
    """Those that are not done are in the file as they were read; given again, the same jobs come."""
    jobs, failed, again = (tmp_path / name for name in ("jobs", "failed", "again"))
    rows: list[dict[str, Any]] = [
        {"function": function, "workload": "good"},
        {"function": function, "workload": "bad ü\n", "unique": "b"},
        {"function": function, "base64": "/2JhZA==", "policy": {"results": "1d"}, "priority": "high"},
    ]
    jobs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving(server, {function: by_word}) as had:
        assert submit(server, "--jobs", str(jobs), "--failed", str(failed)).returncode == 1
        first = had[1:]
        kept = [{name: row[name] for name in row if name in rows[1] | rows[2]} for row in lines_of(failed)]
        assert kept == rows[1:]
        assert submit(server, "--jobs", str(failed), "--failed", str(again)).returncode == 1
        assert [job[1:] for job in had[3:]] == [job[1:] for job in first]
    assert [row["outcome"] for row in lines_of(again)] == ["failed", "failed"]
    with serving(server, {function: reversed_}):
        done = submit(server, "--jobs", str(again), "--failed", str(tmp_path / "none"))
    assert (done.returncode, (tmp_path / "none").read_bytes()) == (0, b"")
    assert submit(server, "--jobs", str(failed), "--failed", str(failed)).returncode == 2


def test_failed_jobs_are_there_after_a_kill(
    server: Server, function: str, programs: Programs, tmp_path: Path
) -> None:
    """A job stands in the file as soon as it has failed, whatever becomes of the command."""
    worker = server.connect()
    worker.can_do(function.encode())
    failed = tmp_path / "failed"
    program = started(programs, server, function, "-N", "--failed", str(failed), stdin=b"1\n2\n3\n")
    worker.send(P.WORK_FAIL, worker.grab_soon().handle)
    worker.grab_soon()
    program.kill()
    assert [row["workload"] for row in lines_of(failed)] == ["1"]


def test_a_line_that_is_no_job(server: Server, function: str) -> None:
    """Nothing behind it is taken, the jobs before it are done, and the status is that of a mistake."""
    good, bad = json.dumps({"function": function, "workload": "x"}).encode(), b"{nonsense"
    with serving(server, {function: reversed_}) as jobs:
        done = submit(server, "--jobs", "-", stdin=b"\n".join([good, good, bad, good]))
    assert (done.returncode, done.stdout, len(jobs)) == (2, b"xx", 2)
    assert b"txgear submit: line 3: " in done.stderr


def test_many_lines_take_little_memory(server: Server, function: str, tmp_path: Path) -> None:
    """The memory for 30,000 lines, more than are read ahead a hundred times, is that for 1,000."""

    def peak(count: int) -> float:
        path = tmp_path / str(count)
        path.write_bytes(b"".join(b"%d %s\n" % (number, b"x" * 90) for number in range(count)))
        words = [*txgear(), "submit", *at(server), function, "-N", "-b", "--file", str(path)]
        done = run(["python3", "-c", MEASURE, str(tmp_path / "out"), *words], timeout=120)
        assert done.returncode == 0, done
        assert len((tmp_path / "out").read_bytes().splitlines()) == count
        return int(done.stdout) / 1024

    small, large = peak(1000), peak(30_000)
    total = server.status(function)
    assert total is not None
    assert total[0] == 31_000
    assert large - small < 12, (small, large)


def test_a_huge_result_takes_little_memory(server: Server, function: str, tmp_path: Path) -> None:
    """Data that comes in pieces goes out in pieces, also where nobody reads for a while."""
    piece, count = bytes(1024 * 1024), 200

    def answer(job: Job) -> bytes:
        return packet(P.WORK_DATA, job.handle, piece) * count + packet(P.WORK_COMPLETE, job.handle, b"")

    with serving(server, {function: answer}):
        words = [*txgear(), "submit", *at(server), function, "-s"]
        done = run(["python3", "-c", MEASURE, str(tmp_path / "out"), *words], timeout=120)
    assert done.returncode == 0, done
    assert (tmp_path / "out").stat().st_size == count * len(piece)
    assert int(done.stdout) / 1024 < 100
