"""The how-to about a monitor of all workers: its ten lines run, and its commands, at two servers."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Final

import pytest

from needs import requires
from processes import PATIENCE, Programs, Server, Servers, free_port, programs_folder, run, wait_until
from txgear.protocol.constants import STEER, STEERED, WORKER_HELLO, WORKER_STATE, WORKER_WELCOME
from txgear.protocol.packets import request
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only

PAGE: Final = (Path(__file__).parent.parent / "docs" / "howto" / "monitor.md").read_text("utf-8")
PROGRAM: Final = programs_folder() / "steered_worker.py"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """What a person types, in the order of the page."""
    return [line[2:] for text in blocks("console") for line in text.splitlines()]


class World:
    """
    Two servers, with a worker of txgear's own at each, and a third that takes too much memory.

    @ivar env: with which programs find the servers, and the command.
    """

    def __init__(self, start_server: Servers, programs: Programs) -> None:
        self.web = free_port()
        self.one: Server = start_server(f"--web=tcp:{self.web}:interface=127.0.0.1")
        self.two: Server = start_server("--web=")
        servers = " ".join(f"127.0.0.1:{server.port}" for server in (self.one, self.two))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.env = {"TXGEAR_SERVER": servers, "PATH": path}
        for server, name, group in (
            (self.one, "images-1", "images"),
            (self.one, "images-2", "images"),
            (self.two, "mailer-1", "mail"),
        ):
            programs.start([sys.executable, PROGRAM, str(server.port), "resize", name, group], name=name)
        self.one.wait_for_workers("resize", 2)
        self.two.wait_for_workers("resize")

    def workers(self) -> dict[str, dict[str, object]]:
        done = run(["txgear", "workers", "--all", "--json", "--columns", COLUMNS], env=self.env)
        assert done.returncode == 0, done
        return {row["id"]: row for row in map(json.loads, done.stdout.splitlines())}


COLUMNS: Final = "id,host,pid,condition,names,unused,concurrency"


@pytest.fixture
def world(start_server: Servers, programs: Programs) -> World:
    return World(start_server, programs)


def test_ten_lines_watch_all_workers_and_act(world: World, programs: Programs, tmp_path: Path) -> None:
    """Each is named, with its machine, whichever server it is at; one that is too large is told to stop."""
    program = next(text for text in blocks("python") if "subprocess" in text)
    assert len([line for line in program.splitlines() if line]) == 10
    script = tmp_path / "monitor.py"
    script.write_text(program.replace("sleep(60)", "sleep(0.2)"))
    hello = {"key": "ab" * 16, "id": "fat-1", "host": "web-9", "pid": 99, "group": "images"}
    with WirePeer(world.two.port, timeout=PATIENCE) as fat:
        fat.send(P.OPTION_REQ, b"txgear-1")
        fat.expect(P.OPTION_RES)
        fat.send_raw(request(WORKER_HELLO, json.dumps(hello).encode()))
        fat.expect(WORKER_WELCOME)
        fat.send_raw(request(WORKER_STATE, b'{"words":["stop"],"memory":900000000}'))
        fat.can_do(b"resize")
        world.two.wait_for_workers("resize", 2)
        monitor = programs.start([sys.executable, script], name="monitor", env=world.env)
        number, word, _ = fat.expect(STEER).args
        assert word == b"stop"
        fat.send_raw(request(STEERED, number, b"done", b""))
        wait_until(lambda: monitor.stdout.count(b"\n") > 4, what="the next look")
        monitor.stop()
    rows = [line.split("\t") for line in monitor.stdout.decode().splitlines()]
    found = {row[0]: row for row in rows[:4]}
    assert set(found) == {"images-1", "images-2", "mailer-1", "fat-1"}
    assert found["fat-1"][1:3] == ["web-9", "99"]


def test_each_is_steered_by_its_name(world: World) -> None:
    """The commands of the page do what it says; so do its request and its line of text."""
    requires("curl")
    before = world.workers()
    host = str(before["images-1"]["host"])
    assert {row["host"] for row in before.values()} == {host}

    def state(name: str, column: str) -> object:
        return world.workers()[name][column]

    (show, unregister, pause, resume, register, stop, curl, text) = commands()
    assert run(shlex.split(show), env=world.env).stdout.count(b"group\timages\n") == 1
    assert run(shlex.split(unregister), env=world.env).returncode == 0
    wait_until(lambda: state("images-1", "unused") == ["resize"], what="a function that is put aside")
    assert state("images-2", "names") == ["resize"]

    for command, expected in ((pause, "paused"), (resume, "")):
        done = run([*shlex.split(command.replace("web-2", host)), "--yes"], env=world.env)
        assert (done.returncode, done.stdout.count(b"\n")) == (0, 4), done
        wait_until(
            lambda expected=expected: all(  # type: ignore[misc]
                (row["condition"] == "paused") == bool(expected) for row in world.workers().values()
            ),
            what="how they are",
        )
    assert run([*shlex.split(register), "--yes"], env=world.env).stdout.count(b"\n") == 3
    wait_until(lambda: state("images-1", "names") == ["resize"], what="a function that is taken again")

    done = run(shlex.split(curl.replace("gear1.example:4780", f"127.0.0.1:{world.web}")))
    told = json.loads(done.stdout)["workers"]
    assert [(row["id"], row["done"], row["text"]) for row in sorted(told, key=lambda row: row["id"])] == [
        ("images-1", True, "2 jobs at once"),
        ("images-2", True, "2 jobs at once"),
    ]
    assert "nc -N gear1.example 4730" in text
    line = shlex.split(text)[1].removesuffix("\\n")
    with WirePeer(world.one.port, timeout=PATIENCE) as operator:
        assert operator.ask(line) == b"OK 1+job+at+once\r\n"
    assert run(shlex.split(stop), env=world.env).returncode == 0
    wait_until(lambda: "images-2" not in world.workers(), what="the end of a worker")
