"""
A server whose web has something of everything: jobs in every state, of functions with hostile names.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from contextlib import closing
from email.message import Message
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from processes import PATIENCE, Server, Servers, free_port
from wirepeer import P, WirePeer

MARKUP: Final = b"<script>alert(1)</script>&\"'`--><!--"
HOSTILE: Final = (
    MARKUP,
    b"a\r\nSet-Cookie: a=b\r\n\r\nHTTP/1.1 200 OK",
    b"\x1b[2J\x07\x08\x7f\xc2\x9b2J",
    "\u202e\u2066evil\u2069\ufeff\u200b\u2028\u2029".encode(),
    b"\xff\xfe\x80 no UTF-8 \xed\xa0\x80",
    b"\\xff\\x5cxff \\u202e",
    b"a/../b?c=d#e%2F%00;f&g=h+i|j {handle}",
    b"..",
    b"%s %n {} {0.__class__} ${jndi:x}",
    "\u00e4\U0001f9ea".encode(),
    b"x" * 8191,
)
"""Names that clients and workers bring."""

CONFIG: Final = """
[[function]]
name = "*"
retries = 0
dead = "1h"
results = "1h"
rate = "1000/s"

[[schedule]]
name = "<i>\\u202e"
cron = "0 5 * * *"
function = "<b>\\u001b"
"""


class Answer(NamedTuple):
    """What the web answers; of a stream only that it has begun."""

    status: int
    headers: Message
    body: bytes


class World(NamedTuple):
    """
    The server.

    @ivar server: it.
    @ivar port: its web's.
    @ivar peers: clients and workers, with what they call themselves.
    """

    server: Server
    port: int
    peers: list[WirePeer]

    def ask(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """A request of its own connection."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.request(method, target, body, dict(headers or {}))
            found = connection.getresponse()
            endless = (found.headers["Content-Type"] or "").startswith("text/event-stream")
            return Answer(found.status, found.headers, b"" if endless else found.read())

    def read(self, target: str) -> Any:
        """What JSON says."""
        answer = self.ask("GET", target)
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def all_of(self, target: str, what: str) -> list[Any]:
        """All pages of a list."""
        found: list[Any] = []
        page = self.read(target)
        while True:
            found += page[what]
            if page["next"] is None:
                return found
            after = page["next"]
            page = self.read(f"{target}{'&' if '?' in target else '?'}after={quoted(str(after))}")


def quoted(text: str) -> str:
    """Text for a part of a path or a query."""
    return quote(text, safe="")


def make_world(start_server: Servers, path: Path, options: tuple[str, ...] = ()) -> World:
    """
    Start it, and have jobs in each state of each of the names.

    @param path: a folder for its file.
    """
    config = path / "txgear.toml"
    config.write_text(CONFIG)
    port = free_port()
    server = start_server(f"--web=tcp:{port}:interface=127.0.0.1", "--config", str(config), *options)
    world = World(server, port, [])
    assert world.ask("GET", "/health").status == 200
    client = server.connect(PATIENCE)
    client.send(P.SET_CLIENT_ID, HOSTILE[3])
    world.peers.append(client)
    for number, name in enumerate(HOSTILE):
        fill(world, client, name, HOSTILE[number - 1])
    client.sync()
    return world


def fill(world: World, client: WirePeer, name: bytes, other: bytes) -> None:
    """
    One job of each state.

    @param other: what its unique begins with, its worker calls itself, and it carries.
    """
    worker = world.server.connect(PATIENCE)
    worker.send(P.SET_CLIENT_ID, other[:100])
    worker.can_do(name)
    world.peers.append(worker)

    def submit(number: int, kind: P, *when: bytes) -> None:
        client.send(kind, name, other[:60] + b"%d" % number, *when, other * 3)
        assert client.read().type == P.JOB_CREATED

    submit(1, P.SUBMIT_JOB_BG)
    worker.send(P.WORK_EXCEPTION, worker.grab_soon().handle, other)
    submit(2, P.SUBMIT_JOB_BG)
    worker.complete(worker.grab_soon(), other)
    submit(3, P.SUBMIT_JOB_BG)
    worker.send(P.WORK_STATUS, worker.grab_soon().handle, b"1", b"3")
    submit(4, P.SUBMIT_JOB_EPOCH, b"9999999999")
    submit(5, P.SUBMIT_JOB_HIGH_BG)
    submit(6, P.SUBMIT_JOB)
    worker.sync()
