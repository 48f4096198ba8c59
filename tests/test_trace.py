"""`txgear trace`: a worker and a client at it see no difference, and whoever looks sees their packets."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from threading import Thread
from typing import Final

import pytest

from processes import PATIENCE, Program, Programs, Server, free_port, run, txgear, wait_until
from startup import assert_one_line
from wirepeer import P, WirePeer

#: Bytes of a job that is much larger than what sockets and the proxy hold.
LARGE: Final = 24 * 1024 * 1024

#: Kilobytes that the proxy may have in memory more after it has passed on such jobs.
MORE: Final = 8 * 1024

pytestmark = pytest.mark.txgear_only


def port_of(program: Program) -> int:
    """Where a trace listens, once it does."""
    found = wait_until(lambda: re.findall(rb"listening on 127\.0\.0\.1:(\d+), for", program.stderr))
    return int(found[0])


class Trace:
    """`txgear trace` of a server, and what it has shown."""

    def __init__(self, programs: Programs, server: Server) -> None:
        self.program: Program = programs.start(
            [*txgear(), "trace", "--listen", "127.0.0.1:0", f"127.0.0.1:{server.port}"], name="trace"
        )
        self.port = port_of(self.program)

    def connect(self) -> WirePeer:
        return WirePeer(self.port, timeout=PATIENCE)

    def lines(self, *, times: bool = False) -> list[str]:
        found = self.program.stdout.decode().splitlines()
        return found if times else [line.partition("#")[2] for line in found]

    def shows(self, *lines: str) -> None:
        """Wait until it has shown these, in this order and others between them."""
        wait_until(lambda: _holds(self.lines(), lines), what=f"{lines} in {self.lines()}")


def _holds(found: list[str], wanted: tuple[str, ...]) -> bool:
    rest = iter(found)
    return all(line in rest for line in wanted)


@pytest.fixture
def trace(programs: Programs, server: Server) -> Trace:
    return Trace(programs, server)


def test_a_job_from_both_sides(trace: Trace, function: str) -> None:
    with trace.connect() as worker, trace.connect() as client:
        worker.send(P.CAN_DO, function.encode())
        worker.send(P.GRAB_JOB_UNIQ)
        worker.expect(P.NO_JOB)
        worker.send(P.PRE_SLEEP)
        handle = client.submit(function.encode(), b"Hello World!", unique=b"u 1")
        worker.expect(P.NOOP)
        job = worker.grab()
        assert job is not None
        assert job.handle == handle
        worker.complete(job, b"done")
        client.expect(P.WORK_COMPLETE, handle, b"done")
        said = client.ask_list("status")
        shown = handle.decode()
        # Each connection has its order; what the server sends on two of them may be seen in any.
        trace.shows(
            f"1 -> CAN_DO {function}",
            "1 -> GRAB_JOB_UNIQ",
            "1 <- NO_JOB",
            "1 -> PRE_SLEEP",
            "1 <- NOOP",
            "1 -> GRAB_JOB_UNIQ",
            f'1 <- JOB_ASSIGN_UNIQ {shown} {function} u\\x201 "Hello World!"',
            f'1 -> WORK_COMPLETE {shown} "done"',
        )
        trace.shows(
            f'2 -> SUBMIT_JOB {function} u\\x201 "Hello World!"',
            f"2 <- JOB_CREATED {shown}",
            f'2 <- WORK_COMPLETE {shown} "done"',
            "2 -> text: status",
            *(f"2 <- text: {line}" for line in said),
            "2 <- text: .",
        )
    trace.shows("2 ended")
    trace.shows("1 ended")
    assert all(re.match(r" *\d+\.\d{3} #\d+ ", line) for line in trace.lines(times=True))
    # Not SIGINT, which a shell has its background jobs ignore, and a test run may be one.
    trace.program.signal(signal.SIGTERM)
    assert trace.program.wait() == 0
    assert b"Traceback" not in trace.program.stderr


def test_who_has_sent_all_is_still_answered(trace: Trace) -> None:
    """As `nc -N` does it."""
    with trace.connect() as peer:
        peer.send_raw(b"version\nstatus\n")
        peer.shut_writing()
        answer = peer.read_to_end()
    assert answer.startswith(b"OK ")
    assert answer.endswith(b".\n")
    trace.shows("1 -> text: version", "1 -> text: status", "1 <- text: .", "1 ended")


def test_what_is_no_packet(trace: Trace) -> None:
    """It is passed on all the same; the server ends the connection, and so does ours."""
    with trace.connect() as peer:
        peer.send_raw(b"\0XYZ12345678")
        assert peer.read_to_end() == b""
    trace.shows("1 -> 12 bytes that begin no packet: \\x00XYZ12345678", "1 ended")


def memory(pid: int) -> int:
    """Kilobytes of a process that lie in memory."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def test_it_holds_little_of_what_passes(trace: Trace) -> None:
    """What a peer does not read is not read for it either, and arrives whole when it does."""
    with trace.connect() as sender:
        sender.sync()
        before = memory(trace.program.pid)
        # The server's answer is as large, and nobody reads it yet.
        sending = Thread(target=sender.send, args=(P.ECHO_REQ, b"x" * LARGE), daemon=True)
        sending.start()
        trace.shows(f"1 -> ECHO_REQ ({LARGE:,} bytes)")
        sending.join(PATIENCE)
        assert not sending.is_alive()
        assert memory(trace.program.pid) - before < MORE
        assert f"1 <- ECHO_RES ({LARGE:,} bytes)" not in trace.lines()
        assert sender.read(timeout=PATIENCE).body == b"x" * LARGE
        trace.shows(f"1 <- ECHO_RES ({LARGE:,} bytes)")
        assert memory(trace.program.pid) - before < MORE


def test_a_reader_that_has_seen_enough(programs: Programs, server: Server) -> None:
    """Its end is the end of the command, without complaint."""
    port = free_port()
    words = " ".join([*txgear(), "trace", "--listen", f"127.0.0.1:{port}", f"127.0.0.1:{server.port}"])
    program = programs.start(["sh", "-c", f"{words} | head -n 1"], name="head")
    wait_until(lambda: b"listening" in program.stderr)
    with WirePeer(port) as peer:
        peer.send_raw(b"status\n")
        wait_until(lambda: _gone(peer))
    assert program.wait() == 0
    assert len(program.stdout.splitlines()) == 1
    assert len(program.stderr.splitlines()) == 1


def _gone(peer: WirePeer) -> bool:
    try:
        peer.send_raw(b"status\n")
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


def test_a_server_that_is_not_there(programs: Programs) -> None:
    server_port = free_port()
    other = programs.start(
        [*txgear(), "trace", "--listen", "127.0.0.1:0", f"127.0.0.1:{server_port}"], name="nowhere"
    )
    with WirePeer(port_of(other)) as peer:
        assert peer.read_to_end() == b""
    wait_until(lambda: b"cannot be reached: Connection was refused" in other.stdout)
    assert other.running


@pytest.mark.parametrize("words", [("a", "b"), ("127.0.0.1:x",), ("--listen", "{taken}", "127.0.0.1:1")])
def test_mistakes_are_one_line(words: tuple[str, ...], server: Server) -> None:
    done = run([*txgear(), "trace", *(word.format(taken=f"127.0.0.1:{server.port}") for word in words)])
    assert_one_line(done)


def test_json(programs: Programs, server: Server, function: str) -> None:
    """Each packet is an object; the server may come from the environment."""
    program = programs.start(
        [*txgear(), "trace", "--listen", "127.0.0.1:0", "--json"],
        name="trace",
        env={"TXGEAR_SERVER": f"127.0.0.1:{server.port}"},
    )
    with WirePeer(port_of(program), timeout=PATIENCE) as peer:
        peer.can_do(function.encode())
        peer.sync()
    seen = wait_until(lambda: [line for line in program.stdout.splitlines() if b"CAN_DO" in line])
    found = json.loads(seen[0])
    assert (found["connection"], found["direction"], found["text"]) == (1, "->", f"CAN_DO {function}")
    assert found["seconds"] > 0
