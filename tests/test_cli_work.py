"""`txgear work`: every option, looked at from the other side: what clients get, and what the server and the
system know."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from certificates import certificate
from processes import PATIENCE, Program, Programs, Server, Servers, free_port, run, txgear, wait_until
from wirepeer import HEADER, P, Packet, WirePeer, packet

pytestmark = pytest.mark.txgear_only

#: Seconds between SIGTERM and SIGKILL in these tests.
GRACE = "0.4"

ENDED = (P.WORK_COMPLETE, P.WORK_FAIL, P.WORK_EXCEPTION)


class Workers:
    """Starts workers of a command, and submits jobs to them."""

    def __init__(self, server: Server, programs: Programs, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self._programs = programs

    def start(self, *words: str, server: Server | None = None, env: dict[str, str] | None = None) -> Program:
        """Start one; the server is told by the environment."""
        place = f"127.0.0.1:{(server or self.server).port}"
        return self._programs.start(
            [*txgear(), "work", "--kill-after", GRACE, *words],
            name="worker",
            env={"TXGEAR_SERVER": place, **(env or {})},
        )

    def at(self, function: str, *words: str, command: str = "", server: Server | None = None) -> Program:
        """Start one for a function, whose command is a shell's, and wait until it works."""
        behind = ["--", "sh", "-c", command] if command else []
        worker = self.start(function, *words, *behind, server=server)
        (server or self.server).wait_for_workers(function)
        return worker

    def client(self) -> WirePeer:
        """A client that is told of exceptions."""
        peer = self.server.connect(PATIENCE)
        peer.send(P.OPTION_REQ, b"exceptions")
        peer.expect(P.OPTION_RES)
        return peer

    def job(self, function: str, workload: bytes = b"", unique: bytes = b"") -> list[Packet]:
        """Submit a job, and return all packets about it."""
        peer = self.client()
        peer.submit(function.encode(), workload, unique)
        return outcome(peer)

    def told(self, function: str, workload: bytes = b"") -> tuple[int, bytes]:
        """Submit a job; the type and the text of the packet that ends it."""
        last = self.job(function, workload)[-1]
        return last.type, text_of(last)


def outcome(peer: WirePeer) -> list[Packet]:
    """All packets of a job, up to the one that ends it."""
    packets = [peer.read()]
    while packets[-1].type not in ENDED:
        packets.append(peer.read())
    return packets


def text_of(got: Packet) -> bytes:
    """What stands behind the handle."""
    return got.body.partition(b"\0")[2]


def texts(packets: list[Packet], kind: int) -> list[bytes]:
    return [text_of(each) for each in packets if each.type == kind]


@contextmanager
def large_client(server: Server) -> Iterator[tuple[socket.socket, BinaryIO]]:
    """A connection for what is large, of which nothing is kept."""
    with (
        socket.create_connection(("127.0.0.1", server.port), PATIENCE) as peer,
        peer.makefile("rb") as answers,
    ):
        yield peer, answers


def read_packet(answers: BinaryIO) -> tuple[int, bytes]:
    """The type and the body of the next one."""
    _, kind, size = HEADER.unpack(answers.read(HEADER.size))
    return kind, answers.read(size)


def alive(pid: int) -> bool:
    """Whether a process is there that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def pids(path: Path, count: int) -> list[int]:
    """The numbers that processes have written into a file, a line each."""
    wait_until(lambda: path.exists() and path.read_text().count("\n") >= count, what=f"{count} in {path}")
    return [int(line) for line in path.read_text().split()]


def wait_for_end(numbers: list[int]) -> None:
    wait_until(lambda: not any(map(alive, numbers)), what=f"the end of {numbers}")


@pytest.fixture
def workers(server: Server, programs: Programs, tmp_path: Path) -> Workers:
    return Workers(server, programs, tmp_path)


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


# The time limit, and what is left of a command


def test_the_time_limit_ends_all_processes(workers: Workers, function: str) -> None:
    """Those that ignore SIGTERM, that hold the pipes open, and that have gone away as daemons do."""
    path = workers.folder / "pids"
    script = f"""
        trap '' TERM
        echo $$ >> {path}
        (trap '' TERM; sh -c 'echo $$ >> {path}; exec sleep 600') &
        setsid sh -c 'echo $$ >> {path}; trap "" TERM; while :; do sleep 6; done' </dev/null >/dev/null 2>&1 &
        sleep 600 & echo $! >> {path}
        echo part
        while :; do sleep 600; done
    """
    # Enough for all of them to begin on a machine that is busy.
    worker = workers.at(function, "--time-limit", "2500ms", command=script)
    got = workers.job(function)
    assert [(each.type, text_of(each)) for each in got] == [
        (P.WORK_DATA, b"part\n"),
        (P.WORK_EXCEPTION, b"the time limit of 2.5 s was over"),
    ]
    numbers = pids(path, 4)
    # When the job has ended, none is left: not a moment later.
    assert [number for number in numbers if alive(number)] == []
    assert worker.running


def test_a_polite_command_is_asked_first(workers: Workers, function: str) -> None:
    """SIGTERM comes before SIGKILL, and nothing waits for the latter."""
    path = workers.folder / "said"
    workers.at(
        function, "--time-limit", "1", command=f"trap 'echo bye > {path}; exit 0' TERM; sleep 600 & wait"
    )
    began = time.monotonic()
    assert workers.told(function)[0] == P.WORK_EXCEPTION
    assert path.read_text() == "bye\n"
    assert time.monotonic() - began < 5


def test_what_goes_on_behind_a_command(workers: Workers, function: str) -> None:
    """A command has ended when it has, also if a daemon that it started holds its pipes; that goes on."""
    path = workers.folder / "pids"
    workers.at(function, command=f"sleep 600 & echo $! >> {path}; echo out")
    began = time.monotonic()
    assert workers.told(function) == (P.WORK_COMPLETE, b"out\n")
    assert time.monotonic() - began < 4
    [number] = pids(path, 1)
    assert alive(number)
    os.kill(number, signal.SIGKILL)


# The end of the worker


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_commands_finish(workers: Workers, function: str, number: signal.Signals) -> None:
    """It takes no more jobs, and ends well when those that run are done."""
    gate = workers.folder / "gate"
    os.mkfifo(gate)
    worker = workers.at(function, command=f"cat {gate}; echo out")
    peer = workers.client()
    peer.submit(function.encode())
    workers.server.wait_for_running(function)
    worker.signal(number)
    wait_until(lambda: b"finishes 1 job;" in worker.stderr)
    peer.send(P.SUBMIT_JOB_BG, function.encode(), b"", b"later")
    peer.expect(P.JOB_CREATED)
    gate.write_text("")
    assert text_of(outcome(peer)[-1]) == b"out\n"
    assert worker.wait() == 0
    assert workers.server.status(function) == (1, 0, 0)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_commands(
    workers: Workers, function: str, number: signal.Signals, status: int
) -> None:
    """No process is left, and the server has the job again: it has not failed."""
    path = workers.folder / "pids"
    worker = workers.at(
        function, command=f"trap '' TERM; echo $$ >> {path}; sleep 600 & echo $! >> {path}; wait; wait"
    )
    peer = workers.client()
    peer.submit(function.encode())
    numbers = pids(path, 2)
    worker.signal(number)
    wait_until(lambda: b"finishes 1 job;" in worker.stderr)
    worker.signal(number)
    assert worker.wait() == status
    assert [each for each in numbers if alive(each)] == []
    wait_until(lambda: workers.server.status(function) == (1, 0, 0))
    assert peer.sync() == []
    assert b": void after" in worker.stderr


def test_a_worker_that_is_killed(workers: Workers, function: str) -> None:
    """Its commands end all the same, and the server has the job again."""
    path = workers.folder / "pids"
    script = (
        f"trap '' TERM; echo $$ >> {path}; setsid sleep 600 & echo $! >> {path}; while :; do sleep 1; done"
    )
    worker = workers.at(function, command=script)
    peer = workers.client()
    peer.submit(function.encode())
    numbers = pids(path, 2)
    worker.kill()
    wait_for_end(numbers)
    wait_until(lambda: workers.server.status(function) == (1, 0, 0))


def test_an_idle_worker_leaves_no_process(workers: Workers, function: str) -> None:
    """Neither when it ends well nor when it is killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        worker = workers.at(function, command="true")
        children = [
            int(each) for each in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        ]
        assert len(children) == 1
        worker.signal(number)
        worker.wait()
        wait_for_end(children)


# What servers do


def test_a_server_that_starts_again(
    workers: Workers, start_server: Servers, names: Callable[[str], str]
) -> None:
    """Commands are ended when it is away for too long, as their attempt is void; then it works again."""
    function, store = names("f"), f"sqlite:///{workers.folder / 'store'}"
    first = start_server("--worker-grace=1", store=store)
    path = workers.folder / "pids"
    worker = workers.at(
        function,
        command=f"echo $$ >> {path}; read word; case $word in wait) sleep 600;; esac; echo out",
        server=first,
    )
    first.connect().submit(function.encode(), b"wait\n", type=P.SUBMIT_JOB_BG)
    numbers = pids(path, 1)
    first.kill()
    wait_for_end(numbers)
    wait_until(lambda: b": void after" in worker.stderr)
    assert b"the server was away for too long" in worker.stderr
    second = start_server(port=first.port, store=store)
    second.wait_for_workers(function)
    # The job has come back as well, and is done again.
    second.wait_for_running(function)
    assert len(pids(path, 2)) == 2
    worker.signal(signal.SIGTERM)
    wait_until(lambda: b"finishes 1 job;" in worker.stderr)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 143


def test_a_job_that_is_cancelled(workers: Workers, function: str) -> None:
    """Its command is ended, and the worker goes on."""
    path = workers.folder / "pids"
    worker = workers.at(
        function, command=f"echo $$ >> {path}; read word; case $word in wait) sleep 600;; esac; echo out"
    )
    peer = workers.client()
    handle = peer.submit(function.encode(), b"wait\n")
    numbers = pids(path, 1)
    assert workers.server.connect().ask(f"cancel job {handle.decode()}") == b"OK\r\n"
    wait_for_end(numbers)
    wait_until(lambda: b": void after" in worker.stderr)
    assert b"has taken it back: " in worker.stderr
    assert workers.told(function, b"go\n") == (P.WORK_COMPLETE, b"out\n")


def test_a_worker_is_paused_and_stopped(workers: Workers, function: str) -> None:
    """By an operator of the server; a stopped one ends well."""
    worker = workers.at(function, "--client-id", f"named-{function}", command="echo out")
    operator = workers.server.connect(PATIENCE)
    [number] = [
        row.split()[0] for row in operator.ask_list("workers") if row.split()[2] == f"named-{function}"
    ]
    # It says what it understands only when the server has said that it does, too.
    wait_until(lambda: operator.ask(f"worker {number} pause").startswith(b"OK"))
    peer = workers.client()
    peer.submit(function.encode())
    time.sleep(0.3)
    assert workers.server.status(function) == (1, 0, 1)
    assert operator.ask(f"worker {number} resume").startswith(b"OK")
    assert text_of(outcome(peer)[-1]) == b"out\n"
    assert operator.ask(f"worker {number} stop").startswith(b"OK")
    assert worker.wait() == 0


def test_several_servers(workers: Workers, start_server: Servers, function: str) -> None:
    """It works at all of them; one that is not there is said, and does not matter."""
    other, nobody = start_server(), free_port()
    ports = (workers.server.port, other.port, nobody)
    options = [word for port in ports for word in ("--server", f"127.0.0.1:{port}")]
    worker = workers.start(function, *options, "-c", "2", "--", "echo", "out")
    assert workers.told(function) == (P.WORK_COMPLETE, b"out\n")
    peer = other.connect(PATIENCE)
    peer.submit(function.encode())
    assert text_of(outcome(peer)[-1]) == b"out\n"
    assert worker.wait() == 0
    assert f"127.0.0.1:{nobody} cannot be reached".encode() in worker.stderr


def test_no_server(workers: Workers, function: str) -> None:
    """Status 3, soon, and one line."""
    done = run([*txgear(), "work", function, "-p", str(free_port()), "--", "true"])
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (3, b"", 1)
    assert done.stderr.startswith(b"txgear work: 127.0.0.1:")


def test_a_server_that_says_nothing(workers: Workers, function: str) -> None:
    """Status 3 after --timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        done = run([*txgear(), "work", function, "-p", str(port), "--timeout", "0.5", "--", "true"])
    assert done.returncode == 3
    assert b"it does not answer in time" in done.stderr


RULES = """
[[identity]]
name = "local"
addresses = ["127.0.0.1"]
[[access]]
identities = ["local"]
functions = ["mine*"]
allow = ["work", "submit", "see"]
"""


def test_denied(workers: Workers, start_server: Servers, programs: Programs) -> None:
    """Status 4 if it may do none of the functions; one that it may do is enough."""
    path = workers.folder / "rules.toml"
    path.write_text(RULES)
    server = start_server(f"--config={path}")
    done = run([*txgear(), "work", "other", "another", "-p", str(server.port), "--", "true"])
    assert (done.returncode, done.stdout) == (4, b"")
    assert b"Not allowed: work" in done.stderr.splitlines()[-1]
    worker = workers.start("mine", "other", "-c", "1", "-p", str(server.port), "--", "echo", "out")
    peer = server.connect(PATIENCE)
    peer.submit(b"mine")
    assert text_of(outcome(peer)[-1]) == b"out\n"
    assert worker.wait() == 0


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
