"""What the tests of `txgear submit` share: workers that are plain sockets, and what the server knows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from processes import Program, Programs, Server, run, txgear
from wirepeer import Closed, Job, P, WirePeer, packet

Done = subprocess.CompletedProcess[bytes]
Answer = Callable[[Job], bytes]


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


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
