"""`txgear submit` as people run it: workers are plain sockets; what it says is held against the server."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from certificates import certificate
from climemory import MEASURE
from processes import Program, Programs, Server, Servers, free_port, run, txgear, wait_until
from startup import assert_one_line
from txgear.security.tokens import Token, new_token
from wirepeer import Closed, Job, P, WirePeer, packet

Done = subprocess.CompletedProcess[bytes]
Answer = Callable[[Job], bytes]

pytestmark = pytest.mark.txgear_only


def at(server: Server | int) -> list[str]:
    return ["--server", f"127.0.0.1:{server if isinstance(server, int) else server.port}"]


def submit(server: Server | int, *words: str, stdin: bytes = b"", **more: Any) -> Done:
    """Run the command to its end."""
    return run([*txgear(), "submit", *at(server), *words], stdin=stdin, **more)


def started(programs: Programs, server: Server, *words: str, stdin: bytes = b"") -> Program:
    """Run it in the background."""
    return programs.start([*txgear(), "submit", *at(server), *words], name="submit", stdin=stdin)


@contextmanager
def serving(server: Server, answers: dict[str, Answer]) -> Iterator[list[Job]]:
    """A worker in a thread: it sends what is made of each job. What it has had is in the list."""
    jobs: list[Job] = []
    peer = WirePeer(server.port, timeout=30)
    peer.can_do(*(name.encode() for name in answers))

    def work() -> None:
        try:
            while True:
                job = peer.grab_soon(60)
                jobs.append(job)
                peer.send_raw(answers[job.function.decode()](job))
        except (Closed, OSError):
            return

    thread = Thread(target=work, daemon=True)
    thread.start()
    yield jobs
    peer.shut_writing()
    thread.join(10)
    peer.close()
    assert not thread.is_alive()


def reversed_(job: Job) -> bytes:
    return packet(P.WORK_COMPLETE, job.handle, job.workload[::-1])


def failing(job: Job) -> bytes:
    return packet(P.WORK_FAIL, job.handle)


def by_word(job: Job) -> bytes:
    """Fails where the workload says so."""
    return failing(job) if b"bad" in job.workload else reversed_(job)


def facts(server: Server, handle: str) -> dict[str, str]:
    """What the server says of a job, by its text command."""
    with WirePeer(server.port) as peer:
        rows = [row.split("\t") for row in peer.ask_list(f"job {handle}")]
    return {"\t".join(row[:-1]): row[-1] for row in rows}


def of_function(server: Server, function: str) -> list[str]:
    """The handles of all jobs of a function."""
    with WirePeer(server.port) as peer:
        return [row.split("\t")[0] for row in peer.ask_list(f"jobs function={function}")]


def one_handle(done: Done) -> str:
    assert (done.returncode, done.stderr) == (0, b""), done
    [handle] = done.stdout.decode().splitlines()
    return handle


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


# Many jobs


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


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


# Trouble


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
