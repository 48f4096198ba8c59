"""The web's API from PHP, Perl and the shell: the scripts of `examples/web`, as the pages show them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from needs import requires
from processes import PATIENCE, Programs, Server, free_port, run
from wirepeer import Closed, P, WirePeer

EXAMPLES: Final = Path(__file__).parent.parent / "examples" / "web"

#: What each of the scripts says, with a worker that sends its workload back in capitals.
SAID: Final = [
    "submitted",
    "result ONE",
    "joined",
    "result TWO",
    "100 accepted",
    "progress 1 of 2",
    "progress 2 of 2",
    "result THREE",
]

COMMANDS: Final = {
    "php": ("php", "jobs.php"),
    "perl": ("perl", "jobs.pl"),
    "sh": ("sh", "jobs.sh"),
}


class CapitalWorker(threading.Thread):
    """A worker that fails the first attempt at `one`, and tells how far it is with `three`."""

    def __init__(self, peer: WirePeer, function: str) -> None:
        super().__init__(daemon=True)
        self.workloads: list[bytes] = []
        self._peer = peer
        peer.can_do(function.encode())

    def end(self) -> None:
        self._peer.shut_writing()
        self.join(PATIENCE)
        assert not self.is_alive()

    def run(self) -> None:
        peer = self._peer
        while True:
            try:
                job = peer.grab_soon(60)
            except (Closed, OSError, TimeoutError):
                return
            self.workloads.append(job.workload)
            if job.workload == b"one" and self.workloads.count(b"one") == 1:
                peer.send(P.WORK_FAIL, job.handle)
                continue
            if job.workload == b"three":
                for step in (b"1", b"2"):
                    peer.send(P.WORK_STATUS, job.handle, step, b"2")
            peer.complete(job, job.workload.upper())


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server with a store and a web, and the web's address."""
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    server = Server(
        folder, "--web", f"tcp:{port}:interface=127.0.0.1", store=f"sqlite:///{folder / 'queue.sqlite3'}"
    )
    yield server, f"http://127.0.0.1:{port}"
    server.stop()
    assert server.calm(), f"a traceback in the server's log:\n{server.log()}"


@pytest.mark.parametrize("language", COMMANDS)
def test_scripts(
    language: str, web: tuple[Server, str], programs: Programs, function: str, tmp_path: Path
) -> None:
    """Retries, a time, a unique, a kept result, many at once, progress: each by the language's own means."""
    server, address = web
    program, script = COMMANDS[language]
    command: list[str | Path] = [requires(program), EXAMPLES / script, address, function]
    if language == "php":
        # Without any extension that is not always there.
        command.insert(1, "-n")
    if language == "sh":
        requires("curl")
    worker = CapitalWorker(server.connect(timeout=60), function)
    worker.start()
    running = programs.start(command, name=language)
    assert running.wait(4 * PATIENCE) == 0, running.log()
    assert running.stdout.decode().splitlines() == SAID, running.log()
    assert running.stderr == b""
    # The first attempt at it failed.
    assert worker.workloads.count(b"one") == 2
    assert worker.workloads.count(b"two") == 1
    server.wait_for_total(function, 0)
    assert sum(workload.startswith(b"job ") for workload in worker.workloads) == 100
    worker.end()


@pytest.mark.parametrize("language", COMMANDS)
def test_problems(language: str, web: tuple[Server, str], function: str) -> None:
    """Each of them ends with a status of its own, and says what the server has said."""
    _, address = web
    program, script = COMMANDS[language]
    # A name that is too long.
    done = run([requires(program), EXAMPLES / script, address, "x" * 9000])
    assert done.returncode != 0
    assert b"too large" in done.stdout + done.stderr


@pytest.mark.parametrize("language", COMMANDS)
def test_usage(language: str) -> None:
    """Who says nothing is told what is wanted, and not by an error of the language."""
    program, script = COMMANDS[language]
    done = run([requires(program), EXAMPLES / script])
    assert done.returncode == 2
    assert (
        done.stdout + done.stderr
        == f"usage: {program} {script} http://127.0.0.1:4780 FUNCTION".encode()
        + (b"\n" if language == "sh" else b" [TOKEN]\n")
    )


@pytest.mark.parametrize("language", COMMANDS)
def test_nobody_answers(language: str) -> None:
    """A server that is not there is an error, at once."""
    program, script = COMMANDS[language]
    done = run([requires(program), EXAMPLES / script, f"http://127.0.0.1:{free_port()}", "f"])
    assert done.returncode != 0
    assert done.stderr
