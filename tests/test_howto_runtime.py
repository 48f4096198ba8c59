"""The recipes for workers in processes: their pages are followed word by word, with one server for all."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

from needs import lacks, requires
from operating import configured
from pagerun import Reader
from processes import Program, Programs, Server, free_port, run, txgear, wait_until
from test_docs import blocks, configuration

pytestmark = pytest.mark.txgear_only

HOWTO: Final = Path(__file__).parent.parent / "docs" / "howto"
PAGES: Final = [HOWTO / f"{name}.md" for name in ("thumbnails", "logs", "mapreduce", "cron", "mail-pool")]

#: Seconds for what takes a few: new interpreters, on a crowded machine.
LONG: Final = 40.0


#: A hook that makes jobs slow enough to be cut off, and writes down which attempts there were.
SLOW: Final = """
import time

def begin(job):
    with open("attempts", "a") as attempts:
        attempts.write(str(job.attempt))
    time.sleep(0.2)
"""


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with what all of these pages would have in its file."""
    folder = tmp_path_factory.mktemp("server")
    options = configured(folder, "\n".join(map(configuration, PAGES)))
    server = Server(folder, *options, store=f"sqlite:///{folder}/jobs.sqlite")
    yield server
    server.stop()
    assert server.calm(), "a traceback in the server's log"


class World:
    """
    Whoever follows a page, in a folder of the page's own.

    @ivar folder: that folder.
    @ivar env: with which programs find the server, and the command.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        self.env = {
            "TXGEAR_SERVER": f"127.0.0.1:{server.port}",
            "HOME": str(folder),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def follow(self, name: str, changes: dict[str, str] | None = None) -> None:
        """
        Do what a page says.

        @param changes: what is to be read instead of a text of the page.
        """
        reader = Reader(
            self.folder, self.env, {"127.0.0.1:4730": f"127.0.0.1:{self.server.port}", **(changes or {})}
        )
        try:
            reader.follow((HOWTO / name).read_text("utf-8"))
        finally:
            reader.close()

    def run(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return run([*txgear(), *words], env=self.env, cwd=self.folder, stdin=stdin)

    def start(self, programs: Programs, ready: int) -> Program:
        """Start the runtime of the page, and wait until that many processes are ready."""
        runtime = programs.start(
            [*txgear(), "run", self.folder / "workers.toml"], name="runtime", env=self.env
        )

        def are_ready() -> bool:
            assert runtime.running, runtime.log()
            return (runtime.stdout + runtime.stderr).count(b" is ready") >= ready

        wait_until(are_ready, LONG, f"{ready} processes")
        return runtime


@pytest.fixture
def world(one_server: Server, tmp_path: Path) -> World:
    return World(tmp_path, one_server)


def tables(name: str) -> list[str]:
    """The files of runtimes that a page has."""
    return [text for language, text in blocks(HOWTO / name) if language == "toml" and "[group." in text]


def test_thumbnails(world: World) -> None:
    world.follow("thumbnails.md")


def test_thumbnails_without_python(world: World, programs: Programs) -> None:
    version = run([requires("convert"), "-version"]).stdout
    lacks("" if b"ImageMagick" in version else "there is no ImageMagick")
    text = tables("thumbnails.md")[1].replace("4730", str(world.server.port))
    (world.folder / "workers.toml").write_text(text)
    run(["convert", "-size", "1200x800", "xc:teal", world.folder / "photo.png"])
    world.start(programs, 2)
    done = world.run("submit", "thumbnail", "--file", "photo.png")
    assert done.returncode == 0, done
    (world.folder / "small.jpg").write_bytes(done.stdout)
    assert run(["identify", world.folder / "small.jpg"]).stdout.split()[1:3] == [b"JPEG", b"200x133"]
    done = world.run("submit", "thumbnail", stdin=b"scribble")
    assert done.returncode == 1
    assert b"exit status 1: convert" in done.stderr


def test_logs(world: World) -> None:
    world.follow("logs.md", {"web-1": socket.gethostname()})


def test_no_line_is_lost(world: World, programs: Programs) -> None:
    """Although all processes are killed in the midst of it, and renewed all the time."""
    [code] = [text for language, text in blocks(HOWTO / "logs.md") if language == "python"]
    (world.folder / "logs.py").write_text(code)
    (world.folder / "slow.py").write_text(SLOW)
    table = tables("logs.md")[0].replace("4730", str(world.server.port))
    (world.folder / "workers.toml").write_text(f'{table}max_jobs = 20\nhooks = ["slow"]\n')
    collected = world.folder / "collected"
    collected.mkdir()
    lines = [f"line {number}\n" for number in range(2000)]
    (world.folder / "jobs").write_text(
        "".join(
            json.dumps(
                {
                    "workload": "".join(lines[at : at + 20]),
                    "unique": f"batch-{at:04}",
                    "policy": {"backoff": "100ms", "retries": 100},
                }
            )
            + "\n"
            for at in range(0, len(lines), 20)
        )
    )
    world.start(programs, 2)
    found = map(json.loads, world.run("workers", "--json", "--columns", "pid,group").stdout.splitlines())
    pids = [row["pid"] for row in found if row["group"] == "logs"]
    done = world.run("submit", "log.store", "--background", "--jobs", "jobs")
    assert done.returncode == 0, done
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: (world.server.status("log.store") or (0,))[0] == 0, LONG, "the end of all jobs")
    assert "".join(path.read_text() for path in sorted(collected.glob("[!.]*"))) == "".join(lines)
    assert "2" in (world.folder / "attempts").read_text()


def test_mapreduce(world: World) -> None:
    world.follow("mapreduce.md")


def script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_cron(world: World) -> None:
    programs = world.folder / "bin"
    script(programs / "backup", '[ "$*" = --all ] && echo 12 files are safe')
    script(programs / "feed", "exit 0")
    script(programs / "tidy", "echo no space left >&2; exit 1")
    world.follow("cron.md", {"/srv/shop/bin": str(programs)})


class Relay:
    """
    A mail server.

    @ivar taken: the mails that it took.
    @ivar sessions: its connections.
    """

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.sessions: set[Any] = set()

    async def handle_RCPT(  # noqa: N802  # as aiosmtpd has it
        self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        self.sessions.add(session.peer)
        if address.startswith("nobody"):
            return "550 there is nobody of that name"
        if address.startswith("busy"):
            return "451 not now"
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
        self.taken.append(envelope.content)
        return "250 taken"


def test_mail_pool(world: World) -> None:
    relay = Relay()
    port = free_port()
    smtp = Controller(relay, hostname="127.0.0.1", port=port)
    smtp.start()
    try:
        world.follow("mail-pool.md", {'"relay.example", 25': f'"127.0.0.1", {port}'})
        mail = relay.taken[0]
        assert b"To: anna@example.org" in mail
        assert b"Message-ID: <%s@example.com>" % b"order-1".hex().encode() in mail
        assert len(relay.taken) == 201
        assert len(relay.sessions) <= 20
    finally:
        smtp.stop()
