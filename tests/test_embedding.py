"""The application with a job server inside: `examples/embedded.py`, as docs/howto/embedding.md shows it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from processes import PATIENCE, Program, Programs, free_port, wait_until
from wirepeer import P, WirePeer

EXAMPLE: Final = Path(__file__).parent.parent / "examples" / "embedded.py"

pytestmark = pytest.mark.txgear_only


class Application(NamedTuple):
    """The example, running; its own port, and the job server's."""

    program: Program
    port: int
    gearman_port: int

    def ask(self, line: bytes) -> bytes:
        """What its own port answers."""
        with WirePeer(self.port, timeout=PATIENCE) as questions:
            questions.send_raw(line + b"\n")
            return questions.read_until(b"\n").rstrip(b"\n")


@pytest.fixture
def application(programs: Programs) -> Application:
    port, gearman_port = free_port(), free_port()
    program = programs.start([sys.executable, EXAMPLE, str(port), str(gearman_port)], name="embedded")
    wait_until(lambda: b"ready" in program.stdout, what="the application")
    return Application(program, port, gearman_port)


def test_its_own_port(application: Application) -> None:
    """A line is a job for the worker that is inside as well."""
    assert application.ask(b"Hello World!") == b"!dlroW olleH"


def test_the_port_of_the_server(application: Application) -> None:
    """It is a job server as any other: a worker of another program takes jobs of other functions."""
    with (
        WirePeer(application.gearman_port, timeout=PATIENCE) as worker,
        WirePeer(application.gearman_port, timeout=PATIENCE) as client,
    ):
        worker.can_do(b"upper")
        client.send(P.SUBMIT_JOB, b"upper", b"", b"hello")
        job = worker.grab_soon()
        worker.complete(job, b"HELLO")
        assert client.read().type == P.JOB_CREATED
        assert client.read().args[-1] == b"HELLO"


def test_the_end_of_the_server(application: Application) -> None:
    """The text command ends the server; the application lives on, and ends when it is told to."""
    with WirePeer(application.gearman_port, timeout=PATIENCE) as operator:
        operator.send_raw(b"shutdown\n")
        assert operator.read_to_end() == b"OK\r\n"
    with WirePeer(application.port, timeout=PATIENCE):
        assert application.program.running
    application.program.signal(signal.SIGTERM)
    assert application.program.wait() == 0


def test_the_end_of_the_application(application: Application) -> None:
    """A job that somebody waits for is done before the end; no other is taken."""
    with (
        WirePeer(application.gearman_port, timeout=PATIENCE) as worker,
        WirePeer(application.gearman_port, timeout=PATIENCE) as client,
    ):
        worker.can_do(b"upper")
        client.send(P.SUBMIT_JOB, b"upper", b"", b"hello")
        job = worker.grab_soon()
        application.program.signal(signal.SIGTERM)
        assert client.read().type == P.JOB_CREATED
        worker.complete(job, b"HELLO")
        assert client.read().args[-1] == b"HELLO"
        assert client.read_to_end() == b""
    assert application.program.wait() == 0
