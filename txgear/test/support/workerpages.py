"""
For the pages of workers and of the server, on the floor C{web}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from txgear.broker.rights import WORK
from txgear.security.access import NOBODY, Access, Rule
from txgear.test.support.web import WebAnswer, WebPeer, WebTestCase
from txgear.web.pages import dashboard
from txgear.web.pages.forms import TOKEN, VISITOR

BROWSER: Final = {"Accept": "text/html"}
SCRIPT: Final = {"Accept": "application/json"}
HOSTILE: Final = b"<b>\"'\\xff\xff\n\x1b[2J\xe2\x80\xae/..%2F?#&{{ 7 * 7 }}" + b"x" * 8000


class WorkerPagesTestCase(WebTestCase):
    """A server with the dashboard, and a browser that keeps its cookie."""

    parts = (dashboard,)

    def allow_beside_workers(self, *acts: str) -> None:
        """As L{allow}; and whoever has not said who it is may work, and see nothing."""
        self.allow(*acts)
        access = self.server.guard.access
        rules = [*access.rules, Rule(True, (NOBODY,), frozenset((WORK,)))]
        self.server.guard.replace(Access(access.identities.values(), rules))

    def html(self, path: str, status: int = 200, headers: Mapping[str, str] | None = None) -> str:
        """
        A page.

        @param headers: instead of those of this test.
        """
        client = self.connect()
        client.ask_web("GET", path, {**BROWSER, **(self.headers if headers is None else headers)})
        self.clock.pump([0] * 10)
        answer = client.web_answer()
        self.assertEqual(answer.status, status, answer.body)
        return answer.body.decode()

    def open(self, path: str) -> WebPeer:
        """A page that is kept open, of which all is told that there is."""
        client = self.connect()
        client.ask_web("GET", path, {"Accept": "text/event-stream", **self.headers})
        self.clock.pump([0] * 10)
        return client

    def changes(self, client: WebPeer, seconds: float = 1.0) -> bytes:
        """What a page that is kept open is told after a time."""
        self.clock.pump([seconds] + [0] * 10)
        return client.heard()

    def post(self, path: str, accept: Mapping[str, str] | None = None, **fields: str) -> WebPeer:
        """Send a form of one of its own pages; L{WebPeer.web_answer} follows."""
        known = {**self.headers, "Cookie": f"{VISITOR}={'a' * 22}"}
        token = self.html("/jobs", headers=known).partition(f'name="{TOKEN}" value="')[2].partition('"')[0]
        client = self.connect()
        headers = {
            **(BROWSER if accept is None else accept),
            **known,
            "Origin": "http://localhost",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        client.ask_web("POST", path, headers, urlencode({TOKEN: token, **fields}).encode())
        self.clock.advance(0)
        return client

    def posted(self, path: str, accept: Mapping[str, str] | None = None, **fields: str) -> WebAnswer:
        """The answer to a form that is answered at once."""
        return self.post(path, accept, **fields).web_answer()

    def count(self) -> None:
        """Have the workers counted."""
        self.server.census.start()
        self.addCleanup(self.server.census.stop)
        self.clock.advance(0)
