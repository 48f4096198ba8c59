"""
The dashboard's pages of workers and of the server, at a real server: what their forms do is looked for at the
server, by text commands, and at the worker, which is a process of its own.
"""

from __future__ import annotations

import re
import sys
from html import unescape
from typing import Final

import pytest

from browserpeer import Browser
from processes import Program, Programs, Server, Servers, free_port, programs_folder, wait_until
from wirepeer import P

pytestmark = pytest.mark.txgear_only

FUNCTION: Final = "work"


class World:
    """
    A server, a browser without JavaScript, and a worker.

    @ivar server: the server.
    @ivar user: the browser.
    @ivar worker: the process of the worker.
    """

    def __init__(self, start_server: Servers, programs: Programs) -> None:
        port = free_port()
        self.server: Server = start_server(f"--web=127.0.0.1:{port}", "--allow-shutdown")
        self.user = Browser(port)
        program = programs_folder() / "steered_worker.py"
        self.worker: Program = programs.start(
            [sys.executable, program, str(self.server.port), FUNCTION, "<me>"], name="worker"
        )
        self.server.wait_for_workers(FUNCTION)

    def html(self, path: str) -> str:
        answer = self.user.get(path)
        assert answer.status == 200, answer
        return answer.body.decode()

    def page_of_worker(self, name: str = "&lt;me&gt;") -> str:
        """The path of its page, as the list links to it."""
        link = re.compile(rf'<a href="(/workers/\d+)"><bdi>{name}</bdi>')
        found = wait_until(lambda: link.search(self.html("/workers")), what=f"{name} in the list")
        assert found is not None
        return found[1]

    def tell(self, path: str, word: str, *, sure: bool = False) -> str:
        """Press a button of the page of a worker; what the next page says of it."""

        def offered() -> str:
            html = self.html(path)
            return html if f'<button name="word" value="{word}"' in html else ""

        # A worker says what it understands only when it has heard that the server does, too.
        html = wait_until(offered, what=f"a button that says {word}")
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))
        answer = self.user.post(f"{path}/tell", {**fields, "word": word, **({"sure": "yes"} if sure else {})})
        assert answer.status == 303, answer
        note = re.search(r'<p class="note">(.*?)</p>', self.html(str(answer.headers["Location"])))
        assert note is not None
        return unescape(note[1])

    def submit(self) -> bytes:
        """The handle of a job in the background."""
        peer = self.server.connect()
        peer.send(P.SUBMIT_JOB_BG, FUNCTION.encode(), b"", b"x")
        return peer.expect(P.JOB_CREATED).body


@pytest.fixture
def world(start_server: Servers, programs: Programs) -> World:
    return World(start_server, programs)


def test_a_worker_is_paused_and_goes_on(world: World) -> None:
    """Jobs stay queued as long as it is paused."""
    path = world.page_of_worker()
    assert world.tell(path, "pause") == "The worker takes no more jobs"
    for _ in range(3):
        world.submit()
    assert world.server.status(FUNCTION) == (3, 0, 1)
    assert "paused</span> takes no jobs" in world.html("/workers?condition=paused")
    assert world.tell(path, "resume") == "The worker takes jobs again"
    world.server.wait_for_total(FUNCTION, 0)


def test_a_worker_is_stopped(world: World) -> None:
    """Its process ends by itself, and well."""
    assert world.tell(world.page_of_worker(), "stop", sure=True).startswith("The worker stops")
    assert world.worker.wait() == 0
    assert world.server.status(FUNCTION) in (None, (0, 0, 0))


def test_the_connection_of_one_that_hangs(world: World) -> None:
    """What it has comes back, and is done by the other."""
    path = world.page_of_worker()
    world.tell(path, "pause")
    hung = world.server.connect()
    hung.send(P.SET_CLIENT_ID, b"hung")
    hung.send(P.CAN_DO, FUNCTION.encode())
    world.submit()
    hung.send(P.GRAB_JOB)
    hung.expect(P.JOB_ASSIGN)
    other = world.page_of_worker("hung")
    assert "it speaks the classic protocol" in world.html(other)
    assert world.tell(other, "disconnect", sure=True) == "The connection has ended"
    wait_until(lambda: world.server.status(FUNCTION) == (1, 0, 1), what="a job that is back")
    world.tell(path, "resume")
    world.server.wait_for_total(FUNCTION, 0)


def test_the_server_is_drained(world: World) -> None:
    html = world.html("/server")
    assert str(world.server.pid) in html
    assert "1 connection" not in html
    fields = {"form_token": world.user.form_token("/server"), "how": "drain"}
    asked = world.user.post("/server/end", fields)
    assert asked.status == 200
    assert b"takes no new job from now on" in asked.body
    assert world.server.running
    assert world.user.post("/server/end", {**fields, "sure": "yes"}).status == 303
    assert world.server.wait() == 0
