"""What the tests of `txgear work` share: workers of a command, and what clients get."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from processes import PATIENCE, Program, Programs, Server, txgear, wait_until
from wirepeer import HEADER, P, Packet, WirePeer

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
