"""
The forms of the dashboard without JavaScript, as a browser sends them: what they do to all jobs that match,
and to those that are selected, is looked for on the server, by text commands.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urlencode

import pytest

from processes import Server, Servers, free_port, wait_until
from webpeer import Answer, WebPeer
from wirepeer import P, packet

pytestmark = pytest.mark.txgear_only

#: Jobs that are acted on.
MANY: Final = 10_000

#: Seconds for all that is done to them; it takes a fraction of one.
PATIENCE: Final = 30.0


class Forms(HTMLParser):
    """The forms of a page: where each goes, its hidden fields; where a button goes, by its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.actions: dict[str, str] = {}
        self.fields: dict[str, dict[str, str]] = {}
        self.buttons: dict[str, str] = {}
        self.text = ""
        self._form = ""
        self._button: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, found: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in found}
        if tag == "form" and attributes["method"] == "post":
            self._form = attributes.get("id", "")
            self.actions[self._form] = attributes["action"]
            self.fields[self._form] = {}
        elif tag == "input" and attributes.get("type") == "hidden" and self._form in self.fields:
            self.fields[self._form][attributes["name"]] = attributes["value"]
        elif tag == "button":
            self._button = attributes.get("formaction", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "button":
            self._button = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._button is not None and data.strip():
            self.buttons[data.strip()] = self._button


class Browser:
    """A browser that runs no scripts."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookies: dict[str, str] = {}

    def _ask(self, method: str, path: str, body: bytes = b"") -> Answer:
        headers = {"Accept": "text/html", "Cookie": "; ".join(f"{k}={v}" for k, v in self._cookies.items())}
        if body:
            origin = f"http://localhost:{self._port}"
            headers |= {"Content_Type": "application/x-www-form-urlencoded", "Origin": origin}
        with WebPeer(self._port) as peer:
            answer = peer.ask(method, path, body, Host=f"localhost:{self._port}", **headers)
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return answer

    def get(self, path: str) -> Forms:
        """A page."""
        answer = self._ask("GET", path)
        assert answer.status == 200, answer
        return Forms(answer.body.decode())

    def send(self, page: Forms, form: str, *fields: tuple[str, str], button: str = "") -> str:
        """
        Send a form.

        :param button: the text of the one that is pressed, where it has an action of its own.
        :return: where that leads.
        """
        action = page.buttons[button] if button else page.actions[form]
        answer = self._ask("POST", action, urlencode([*page.fields[form].items(), *fields]).encode())
        assert answer.status == 303, answer
        return str(answer.headers["Location"])


@pytest.fixture
def browser(start_server: Servers) -> tuple[Server, Browser]:
    port = free_port()
    return start_server(f"--web=127.0.0.1:{port}"), Browser(port)


def filled(server: Server, count: int) -> None:
    """Put so many background jobs into the functions a and b, in turn."""
    peer = server.connect(timeout=PATIENCE)
    peer.send_raw(
        b"".join(
            packet(P.SUBMIT_JOB_BG, b"ab"[number % 2 :][:1], b"%d" % number, b"") for number in range(count)
        )
    )
    for _ in range(count):
        assert peer.read().type == P.JOB_CREATED


def totals(server: Server) -> dict[str, int]:
    return {name: int(total) for name, total, _, _ in server.list("status") if int(total)}


def ended(browser: Browser, path: str) -> Forms:
    """The page of a task, when that has ended."""
    wait_until(lambda: "Ended" in browser.get(path).text, PATIENCE, what=f"the end of {path}")
    return browser.get(path)


def test_all_that_match(browser: tuple[Server, Browser]) -> None:
    """They are counted, and stay as they are; what is confirmed is done to them, and to no others."""
    server, user = browser
    filled(server, 2 * MANY)
    page = user.get("/jobs?function=a")
    assert "50 jobs on this page" in page.text
    preview = user.send(page, "all", ("act", "move"), ("function", "c"))
    asked = ended(user, preview)
    assert totals(server) == {"a": MANY, "b": MANY}

    begun = user.send(asked, "act", button="Move 10,000 jobs to c")
    assert re.search(r"Done\s*10,000", ended(user, begun).text)
    assert totals(server) == {"b": MANY, "c": MANY}
    # To go back and to confirm once more does nothing more.
    assert user.send(asked, "act", button="Move 10,000 jobs to c") == begun
    rows = server.list("tasks")
    assert [row[:9] for row in rows] == [
        ["1", "move", "done", "20000", "20000", "10000", "0", "0", "-"],
        ["2", "move", "done", "20000", "20000", "10000", "10000", "0", "-"],
    ]

    preview = user.send(user.get("/jobs?function=[bc]"), "all", ("act", "cancel"))
    begun = user.send(ended(user, preview), "act", button="Cancel 20,000 jobs")
    ended(user, begun)
    assert totals(server) == {}
    assert "There are no jobs." in user.get("/jobs").text


def test_selected(browser: tuple[Server, Browser]) -> None:
    """What is selected is changed at once; what cannot be is told by its handle."""
    server, user = browser
    filled(server, 4)
    handles = [row[0] for row in server.list("jobs")]
    page = user.get("/jobs")
    chosen = [("handle", handle) for handle in handles[:2]]
    assert user.send(page, "act", ("act", "prioritise"), ("priority", "high"), *chosen) == "/jobs"
    assert "2 jobs are of high priority now" in user.get("/jobs").text
    assert [row[3] for row in server.list("jobs")] == ["high", "high", "normal", "normal"]
