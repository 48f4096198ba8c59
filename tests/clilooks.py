"""What the tests of the commands that show what servers have share: a server with something of everything."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest

from operating import ALL_KEPT, NIGHTLY
from processes import PATIENCE, Program, Server, run, txgear, wait_until
from wirepeer import P, WirePeer

Done = subprocess.CompletedProcess[bytes]

HOSTILE: Final = b"caf\xe9/\x1b[2J \\x41%2F"
SHOWN: Final = r"caf\xe9/\x1b[2J \x5cx41%2F"
"""The same as lists have it."""
BINARY: Final = bytes(range(256))

CONFIG: Final = ALL_KEPT + NIGHTLY

LISTS: Final = (
    *("status", "workers", "jobs", "dead", "kept", "reviews", "tasks", "connections", "identities"),
    *("schedules", "settings", "policies", "audit", "history"),
)
OTHERS: Final = ("function mail.send", "info", "store", "policies mail.send", "history mail.send")


class World(NamedTuple):
    """
    A server with something of everything.

    @ivar handles: of its jobs, by their uniques.
    @ivar worker: who runs C{order 3}.
    """

    server: Server
    handles: dict[str, str]
    worker: WirePeer

    def look(self, *words: str, **more: Any) -> Done:
        """Run a command."""
        return look(self.server, *words, **more)

    def rows(self, *words: str) -> list[dict[str, str]]:
        """A list as plain text has it."""
        return table(self.look(*words))

    def json(self, *words: str) -> Any:
        """A document."""
        return json.loads(succeeded(self.look(*words, "--json")).stdout)


def look(server: Server | int, *words: str, **more: Any) -> Done:
    """Run a command that asks a server."""
    port = server if isinstance(server, int) else server.port
    return run([*txgear(), *words, "--server", f"127.0.0.1:{port}"], **more)


def succeeded(done: Done) -> Done:
    assert (done.returncode, done.stderr) == (0, b""), done
    return done


def table(done: Done) -> list[dict[str, str]]:
    """The rows of plain text by the names of their columns."""
    names, *lines = succeeded(done).stdout.decode().splitlines()
    return [dict(zip(names.split("\t"), line.split("\t"), strict=True)) for line in lines]


def lines(done: Done) -> list[dict[str, Any]]:
    """A list as JSON has it."""
    return [json.loads(line) for line in succeeded(done).stdout.splitlines()]


def of_text(row: list[str]) -> list[str]:
    """A row of a text command, where spaces within words are escaped."""
    return [value.replace("\\x20", " ") for value in row]


def fill(server: Server) -> World:
    """Have jobs in each state."""
    client, worker = server.connect(PATIENCE), server.connect(PATIENCE)
    client.send(P.SET_CLIENT_ID, b"shop")
    worker.send(P.SET_CLIENT_ID, b"mailer-1")
    worker.can_do(b"mail.send")
    handles: dict[str, str] = {}

    def submit(unique: str, function: bytes, workload: bytes, kind: P = P.SUBMIT_JOB_BG) -> None:
        handles[unique] = client.submit(function, workload, unique.encode(), kind).decode()

    submit("order 1", b"mail.send", b"one")
    job = worker.grab_soon()
    worker.send(P.WORK_DATA, job.handle, b"part ")
    worker.complete(job, b"sent")
    submit("order 2", b"mail.send", b"two")
    worker.send(P.WORK_EXCEPTION, worker.grab_soon().handle, b"550 no such user")
    submit("order 3", b"mail.send", b"three")
    worker.send(P.WORK_STATUS, worker.grab_soon().handle, b"1", b"3")
    client.send(P.SUBMIT_JOB_EPOCH, b"mail.send", b"order 4", b"9999999999", b"four")
    handles["order 4"] = client.expect(P.JOB_CREATED).body.decode()
    for number in (5, 6, 7):
        submit(f"order {number}", b"mail.bulk", b"text of %d" % number)
    submit("hostile", HOSTILE, BINARY, P.SUBMIT_JOB_HIGH_BG)
    submit("order 8", b"mail.send", b"eight")
    worker.sync()
    with server.connect(PATIENCE) as peer:
        assert peer.ask(f"cancel job {handles['order 8']}").strip() == b"OK"
        assert peer.ask("pause mail.bulk").strip() == b"OK"
        assert peer.ask(f"review job {handles['order 2']} looked-at").strip() == b"OK"
        # It dies as well, and is set aside by nobody.
        submit("order 9", b"mail.send", b"nine")
        other = server.connect(PATIENCE)
        other.can_do(b"mail.send")
        other.send(P.WORK_FAIL, other.grab_soon().handle)
        other.sync()
        other.close()
        assert peer.ask("cancel jobs function=none.* preview=yes").startswith(b"OK")
    return World(server, handles, worker)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("look")
    config = folder / "txgear.toml"
    config.write_text(CONFIG)
    server = Server(
        folder, "--config", str(config), "--job-handle-prefix", "H:vm", store=f"sqlite:///{folder}/q.db"
    )
    yield fill(server)
    assert server.calm(), server.log()
    server.stop()


class Follower(NamedTuple):
    """One who follows a job, and its worker."""

    program: Program
    worker: WirePeer
    handle: bytes

    def said(self, text: bytes) -> None:
        wait_until(lambda: text in self.program.stdout, what=self.program.log())


def begun(server: Server, function: str) -> tuple[WirePeer, bytes]:
    """A job that a worker has."""
    worker = server.connect(PATIENCE)
    worker.can_do(function.encode())
    server.connect(PATIENCE).submit(function.encode(), b"x", b"", P.SUBMIT_JOB_BG)
    return worker, worker.grab_soon().handle
