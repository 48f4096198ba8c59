"""`txgear work`: what goes in and comes out, looked at from the other side: what clients get, and what the
server and the system know."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cliworkers import (
    Workers,
    alive,
    large_client,
    outcome,
    pids,
    read_packet,
    text_of,
    texts,
    wait_for_end,
    workers,
)
from processes import PATIENCE, Program
from wirepeer import P, packet

__all__ = ["workers"]

pytestmark = pytest.mark.txgear_only


# What goes in and comes out


def test_a_result(workers: Workers, function: str) -> None:
    """The workload is the command's standard input, and its output the result; bytes are as they were."""
    data = bytes(range(256)) * 300
    worker = workers.start(function, "-c", "2", "--", "cat")
    assert workers.told(function, data) == (P.WORK_COMPLETE, data)
    assert workers.told(function) == (P.WORK_COMPLETE, b"")
    assert worker.wait() == 0
    assert worker.stderr == b""
    assert workers.server.unused(function)


def test_a_workload_and_a_result_of_64_megabytes(workers: Workers, function: str) -> None:
    """It arrives whole, and goes back whole."""
    data = os.urandom(1 << 20) * 63 + b"end"
    worker = workers.start(function, "-c", "1", "--", "cat")
    with large_client(workers.server) as (peer, answers):
        peer.sendall(packet(P.SUBMIT_JOB, function.encode(), b"", data))
        _, handle = read_packet(answers)
        assert read_packet(answers) == (P.WORK_COMPLETE, handle + b"\0" + data)
    assert worker.wait() == 0
    assert worker.stderr == b""


def test_a_command_that_reads_nothing(workers: Workers, function: str) -> None:
    """It may: its job is done when it is."""
    workers.at(function, command="echo $(wc -c < /dev/null)")
    assert workers.told(function, b"x" * 5_000_000) == (P.WORK_COMPLETE, b"0\n")


def test_the_environment(workers: Workers, function: str) -> None:
    """A command knows its job, and has what the worker has."""
    worker = workers.start(
        function,
        "--",
        "sh",
        "-c",
        'echo "$TXGEAR_HANDLE $TXGEAR_FUNCTION $TXGEAR_UNIQUE $TXGEAR_ATTEMPT $TXGEAR_SIZE $MINE"',
        env={"MINE": "kept"},
    )
    peer = workers.client()
    handle = peer.submit(function.encode(), b"12345", b"my key")
    text = b" ".join((handle, function.encode(), b"my key 1 5 kept\n"))
    peer.expect(P.WORK_COMPLETE, handle, text, timeout=PATIENCE)
    assert worker.running


def test_without_a_command(workers: Workers, function: str) -> None:
    """Workloads are written as they are, and the results are empty."""
    worker = workers.start("-f", function, "-c", "2")
    assert workers.told(function, b"one\0") == (P.WORK_COMPLETE, b"")
    assert workers.told(function, b"two") == (P.WORK_COMPLETE, b"")
    assert worker.wait() == 0
    assert worker.stdout == b"one\0two"


def test_several_functions(workers: Workers, names: Callable[[str], str]) -> None:
    """By -f and without it."""
    one, two, three = names("one"), names("two"), names("three")
    worker = workers.start(one, two, "-f", three, "-c", "3", "--", "sh", "-c", "echo $TXGEAR_FUNCTION")
    for name in (one, two, three):
        assert workers.told(name) == (P.WORK_COMPLETE, f"{name}\n".encode())
    assert worker.wait() == 0


# Failures


def test_an_exit_status(workers: Workers, function: str) -> None:
    """The text has the status and the end of the standard error; what it wrote before is data."""
    worker = workers.at(function, command="cat; echo first >&2; echo last >&2; exit 3")
    got = workers.job(function, b"part")
    assert [(each.type, text_of(each)) for each in got] == [
        (P.WORK_DATA, b"part"),
        (P.WORK_EXCEPTION, b"exit status 3: first\nlast"),
    ]
    assert worker.stderr.splitlines()[:2] == [b"first", b"last"]
    assert re.search(
        rb"\nH:\S+ \S+: failed|txgear work: H:\S+ \S+: failed after \S+: exit status 3", worker.stderr
    )


def test_a_signal(workers: Workers, function: str) -> None:
    """A command that a signal ends has failed; the C tool says that it is done."""
    workers.at(function, command="echo part; kill -SEGV $$")
    got = workers.job(function)
    assert text_of(got[-1]) == b"ended by SIGSEGV"
    assert got[-1].type == P.WORK_EXCEPTION


def test_only_the_end_of_the_standard_error(workers: Workers, function: str) -> None:
    """4 KB of it, from the beginning of a line on."""
    workers.at(function, "--stderr", "hide", command="seq 1 5000 >&2; exit 1")
    kind, text = workers.told(function)
    assert kind == P.WORK_EXCEPTION
    lines = text.removeprefix(b"exit status 1: ").split(b"\n")
    assert lines[-1] == b"5000"
    assert lines == [b"%d" % number for number in range(5001 - len(lines), 5001)]
    assert 3900 < len(text) < 4200


def test_plain_fail(workers: Workers, function: str) -> None:
    """WORK_FAIL, as the C tool has it."""
    workers.at(function, "--plain-fail", command="echo part; exit 1")
    got = workers.job(function)
    assert [each.type for each in got] == [P.WORK_DATA, P.WORK_FAIL]


def test_standard_error_as_warnings(workers: Workers, function: str) -> None:
    """A warning for each line, before the result."""
    worker = workers.at(function, "--stderr", "warning", command="echo one >&2; printf two >&2; echo out")
    got = workers.job(function)
    assert texts(got, P.WORK_WARNING) == [b"one", b"two"]
    assert text_of(got[-1]) == b"out\n"
    assert worker.stderr == b""


def test_a_command_that_has_gone(workers: Workers, function: str) -> None:
    """Its jobs fail with a text, and the worker goes on."""
    path = workers.folder / "command"
    path.write_text("#!/bin/sh\necho done\n")
    path.chmod(0o755)
    workers.start(function, "--", str(path))
    assert workers.told(function) == (P.WORK_COMPLETE, b"done\n")
    path.unlink()
    assert workers.told(function) == (
        P.WORK_EXCEPTION,
        f"cannot start {path}: No such file or directory".encode(),
    )
    path.write_text("#!/bin/sh\necho again\n")
    path.chmod(0o755)
    assert workers.told(function) == (P.WORK_COMPLETE, b"again\n")


# Lines as they come


@pytest.mark.parametrize(
    ("option", "lines"),
    [("-n", [b"a\n", b"\n", b"b"]), ("-N", [b"a", b"", b"b"])],
)
def test_stream(workers: Workers, function: str, option: str, lines: list[bytes]) -> None:
    """Each line is data, and the result is empty."""
    workers.at(function, option, command=r"printf 'a\n\nb'")
    got = workers.job(function)
    assert texts(got, P.WORK_DATA) == lines
    assert (got[-1].type, text_of(got[-1])) == (P.WORK_COMPLETE, b"")


def test_a_line_comes_before_the_next_is_there(workers: Workers, function: str) -> None:
    """And not when all has been written."""
    gate = workers.folder / "gate"
    os.mkfifo(gate)
    workers.at(function, "--stream", command=f"echo first; cat {gate}; echo last")
    peer = workers.client()
    peer.submit(function.encode())
    assert text_of(peer.expect(P.WORK_DATA, timeout=PATIENCE)) == b"first\n"
    gate.write_text("")
    assert [text_of(each) for each in outcome(peer)] == [b"last\n", b""]


def test_more_output_than_fits(workers: Workers, function: str) -> None:
    """The command is ended, and the job fails with what helps; as a stream it passes, in bounded memory."""
    pid = workers.folder / "pid"
    plain = workers.at(function, command=f"echo $$ > {pid}; exec head -c 300000000 /dev/zero")
    kind, text = workers.told(function)
    assert (kind, text) == (
        P.WORK_EXCEPTION,
        b"more than 67108800 bytes of output: --stream sends it as it comes",
    )
    wait_for_end(pids(pid, 1))
    assert most_memory(plain) < 250
    plain.stop()
    streams = workers.at(
        function, "--stream", command="yes $(head -c 60000 /dev/zero | tr '\\0' x) | head -n 4000"
    )
    with large_client(workers.server) as (peer, answers):
        peer.sendall(packet(P.SUBMIT_JOB, function.encode(), b"", b""))
        _, handle = read_packet(answers)
        # It does not read for a while: the worker must wait, and hold nothing.
        time.sleep(1)
        count, (kind, body) = 0, read_packet(answers)
        while kind == P.WORK_DATA:
            count += len(body) - len(handle) - 1
            kind, body = read_packet(answers)
    assert (kind, count) == (P.WORK_COMPLETE, 4000 * 60001)
    assert most_memory(streams) < 150


def most_memory(program: Program) -> float:
    """The most that a process has had in memory, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{program.pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def test_progress(workers: Workers, function: str) -> None:
    """Lines to descriptor 3; what is none of these is passed over."""
    workers.at(
        function, "--progress", command="for n in 3/10 nothing 70%; do echo $n >&3; sleep 0.2; done; echo out"
    )
    got = workers.job(function)
    assert texts(got, P.WORK_STATUS) == [b"3\x0010", b"70\x00100"]
    assert text_of(got[-1]) == b"out\n"


# How many


def test_jobs_at_once(workers: Workers, function: str) -> None:
    """Three commands run, and a fourth job waits."""
    gate, path = workers.folder / "gate", workers.folder / "pids"
    workers.at(
        function,
        "--jobs",
        "3",
        command=f"echo $$ >> {path}; while [ ! -e {gate} ]; do sleep 0.05; done; echo out",
    )
    peers = [workers.client() for _ in range(4)]
    for peer in peers:
        peer.submit(function.encode())
    numbers = pids(path, 3)
    time.sleep(0.3)
    assert all(map(alive, numbers))
    assert len(pids(path, 3)) == 3
    assert workers.server.status(function) == (4, 3, 1)
    gate.touch()
    for peer in peers:
        assert text_of(outcome(peer)[-1]) == b"out\n"


def test_count(workers: Workers, function: str) -> None:
    """It takes no more jobs than -c says, also if it may do more at once; those that it took are finished."""
    worker = workers.start(function, "-c", "3", "--jobs", "8", "--", "sh", "-c", "sleep 0.3; echo out")
    peer = workers.client()
    handles = [peer.submit(function.encode()) for _ in range(1)]
    for _ in range(7):
        peer.send(P.SUBMIT_JOB_BG, function.encode(), b"", b"")
    assert worker.wait() == 0
    assert workers.server.status(function) == (5, 0, 0)
    assert handles[0] in peer.received
