"""What one may not see or do is in no page of a real browser, and is refused; also while a page is open."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, expect

from browserpeer import Secret
from browsing import LOOKS, Tab, browser
from dashboardpages import routes
from processes import Server, free_port, wait_until
from wirepeer import P

__all__ = ["browser"]

pytestmark = pytest.mark.txgear_only

RULES: Final = """
[[identity]]
name = "worker"
tokens = ["{worker}"]

[[access]]
identities = ["watcher", "reader", "ops"]
allow = ["http", "peers", "metrics"]

[[access]]
identities = ["watcher", "reader"]
allow = ["see"]
functions = ["mail.*"]

[[access]]
identities = ["reader"]
allow = ["read"]
functions = ["mail.*"]

[[access]]
identities = ["ops", "worker"]
allow = ["all"]

[[access]]
identities = ["nobody"]
allow = ["submit", "work", "see", "steer", "peers"]

[[function]]
name = "*"
retries = 0
dead = "1h"
results = "1h"
"""
PAYLOAD: Final = b"the-secret-of-the-payload"
"""What only those may see who may read."""
RESULT: Final = b"the-secret-of-the-result"
WORDS: Final = b"the-secret-of-the-last-words"

BUTTONS: Final = """() => [...document.querySelectorAll("button")]
    .filter((each) => each.type === "submit" && each.form?.method === "post")
    .map((each) => each.textContent.trim())"""


class House:
    """
    A server with rules.

    @ivar jobs: handles, by what they are.
    """

    def __init__(self, folder: Path) -> None:
        self.rules = folder / "rules.toml"
        self.secrets = {name: Secret.new() for name in ("watcher", "reader", "ops", "worker")}
        self.write()
        web = free_port()
        self.base = f"http://127.0.0.1:{web}"
        options = (f"--web=tcp:{web}:interface=127.0.0.1", "--config", str(self.rules), "--allow-shutdown")
        self.server = Server(folder, *options)
        self.peer = self.server.connect()
        self.jobs: dict[str, str] = {}
        self._fill()

    def write(self, more: str = "", without: str = "") -> None:
        """
        The file of the rules.

        @param more: at its end.
        @param without: an identity that is not there any more.
        """
        known = "".join(
            f'[[identity]]\nname = "{name}"\ntokens = ["{secret.entry}"]\n'
            for name, secret in self.secrets.items()
            if name not in (without, "worker")
        )
        text = RULES.format(worker=self.secrets["worker"].entry)
        if without:
            text = text.replace(f'"{without}", ', "").replace(f', "{without}"', "")
        self.rules.write_text(known + text + more)

    def reload(self, more: str = "", without: str = "") -> None:
        """Let other rules hold."""
        before = self.server.said().count(b"rules.toml read again")
        self.write(more, without)
        self.server.signal(signal.SIGHUP)
        wait_until(lambda: self.server.said().count(b"rules.toml read again") > before, what="a reload")

    def _fill(self) -> None:
        for name in (b"mail.a", b"secret.a"):
            worker = self.server.connect()
            worker.can_do(name)
            for kind in ("dead", "done", "running", "queued"):
                unique = f"{kind}-of-{name.decode()}".encode()
                handle = self.peer.submit(name, PAYLOAD, unique, P.SUBMIT_JOB_BG)
                self.jobs[f"{kind} {name.decode()}"] = handle.decode()
            worker.send(P.WORK_EXCEPTION, worker.grab_soon().handle, WORDS)
            worker.complete(worker.grab_soon(), RESULT)
            worker.send(P.WORK_DATA, worker.grab_soon().handle, RESULT)
            worker.sync()
        assert self.peer.ask("review dead aside function=*").startswith(b"OK")

    def state(self) -> list[list[list[str]]]:
        """All that acts could change."""
        return [
            [row[:4] for row in self.server.list("jobs")],
            self.server.list("dead review=aside"),
            [row[:1] for row in self.server.list("functions")],
        ]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    found = House(tmp_path_factory.mktemp("house"))
    yield found
    found.server.stop()
    assert found.server.calm(), found.server.log()


@pytest.fixture
def tab(browser: Browser, house: House) -> Iterator[Tab]:
    found = Tab(browser, house.base, LOOKS[0])
    yield found
    found.close()


def sign_in(tab: Tab, house: House, name: str, path: str = "/") -> Page:
    page = tab.open(path)
    page.get_by_label("Token").fill(house.secrets[name].token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text(name, exact=True)).to_be_visible()
    return page


def pages_of(house: House, function: str) -> list[str]:
    """Where something is said of a function."""
    jobs = [handle for words, handle in house.jobs.items() if words.endswith(function)]
    return [
        "/",
        f"/functions/{function}",
        "/jobs",
        "/jobs?of=kept",
        *(f"/jobs/{handle}" for handle in jobs),
        "/dead",
        "/reviews/aside",
        "/workers",
        "/server",
        "/server/connections",
    ]


def test_watcher(tab: Tab, house: House) -> None:
    """Who may see some functions sees those, none of what their jobs carry, and no button."""
    page = sign_in(tab, house, "watcher")
    entries = page.get_by_role("navigation", name="Views").get_by_role("link").all_text_contents()
    assert entries == ["Overview", "Jobs", "Dead set", "Workers", "Tasks", "Store", "Server"]
    for path in pages_of(house, "mail.a"):
        page = tab.open(path)
        assert page.evaluate(BUTTONS) == ["Sign out"], path
        html = page.content()
        assert "secret.a" not in html, path
        for secret in (PAYLOAD, RESULT, WORDS):
            assert secret.decode() not in html, path
    page = tab.open(f"/jobs/{house.jobs['dead mail.a']}")
    expect(page.get_by_text("You may not read").first).to_be_visible()
    for path in pages_of(house, "secret.a"):
        if "secret.a" in path or path.startswith("/jobs/"):
            tab.open(path, 404)
    for path in ("/settings", "/audit", "/schedules"):
        tab.open(path, 403)
    tab.open(f"/jobs/{house.jobs['dead mail.a']}/edit", 403)
    tab.is_calm()


def test_reader(tab: Tab, house: House) -> None:
    """Who may read does, and has no more buttons for it."""
    page = sign_in(tab, house, "reader", f"/jobs/{house.jobs['dead mail.a']}")
    expect(page.get_by_text(PAYLOAD.decode()).first).to_be_visible()
    expect(page.get_by_text(WORDS.decode()).first).to_be_visible()
    assert page.evaluate(BUTTONS) == ["Sign out"]
    page = tab.open(f"/jobs/{house.jobs['done mail.a']}")
    expect(page.get_by_text(RESULT.decode()).first).to_be_visible()
    tab.is_calm()


def test_operator(tab: Tab, house: House) -> None:
    page = sign_in(tab, house, "ops", "/functions/secret.a")
    assert {"Pause", "Purge", "Submit", "Set the bounds"} <= set(page.evaluate(BUTTONS))
    assert page.get_by_role("navigation", name="Views").get_by_role("link").count() == 10
    tab.is_calm()


def test_forged(tab: Tab, house: House) -> None:
    """A form that a page does not have is refused all the same, and changes nothing."""
    page = sign_in(tab, house, "watcher")
    before = house.state()
    number = next(row[0] for row in house.server.list("connections") if "mail.a" in row[-1])
    wanted = {
        "name": "mail.a",
        "handle": house.jobs["queued mail.a"],
        "descriptor": number,
        "number": "1",
        "how": "now",
    }
    for route in routes():
        if route.method != "POST" or route.anybody:
            continue
        path = re.sub("<([a-z]+)>", lambda match: wanted[match[1]], route.rule)
        if "reviews" in path:
            path = "/reviews/aside"
        acts = (
            ("cancel", "prioritise", "move", "requeue", "forget", "review")
            if path.count("/") == 1 or "reviews" in path
            else ("",)
        )
        for act in acts:
            fields = {
                "act": act,
                "handle": house.jobs["queued mail.a" if path == "/jobs" else "dead mail.a"],
                "priority": "low",
                "function": "mail.b",
                "review": "mine",
                "how": "now",
                "word": "disconnect",
                "schedule": "none",
                "sure": "yes",
                "workload": "x",
                "high": "1",
                "as": "text",
            }
            answer = page.evaluate(
                """async ([path, fields]) => {
                    const token = document.querySelector("[name=form_token]").value;
                    const body = new URLSearchParams({form_token: token, ...fields});
                    const headers = {Accept: "application/json"};
                    const answer = await fetch(path, {method: "POST", body, headers});
                    return [answer.status, await answer.text()];
                }""",
                [path, fields],
            )
            if route.rule == "/tasks/<number>/again":
                # Whoever may see may count: those to which one may do it, and there are none.
                assert answer[0] == 200, answer
                continue
            refused = answer[0] in (403, 404, 400, 409) or "Not allowed" in answer[1]
            assert refused, (path, act, answer)
            # Asked for by somebody who may, some of this makes sense.
            assert "stale_form" not in answer[1], answer
    assert house.state() == before
    # What was matched, and to what it was done.
    assert {tuple(row[5:7]) for row in house.server.list("tasks")[1:]} == {("0", "0")}
    assert house.server.running


def test_rights_change(tab: Tab, house: House) -> None:
    """A page that is open has other buttons as soon as other rules hold, and none for who is not known."""
    page = sign_in(tab, house, "watcher", "/functions/mail.a")
    pause = page.get_by_role("button", name="Pause")
    expect(pause).to_have_count(0)
    try:
        house.reload(
            '[[access]]\nidentities = ["watcher"]\nallow = ["pause", "resume"]\nfunctions = ["mail.*"]\n'
        )
        expect(pause).to_be_visible()
        pause.click()
        expect(page.get_by_role("button", name="Resume")).to_be_visible()
        assert house.server.list("functions function=mail.a")[0][7] == "yes"
        house.reload()
        expect(page.get_by_role("button", name="Resume")).to_have_count(0, timeout=10_000)
        expect(page.get_by_role("heading", level=1)).to_have_text("mail.a")
        house.reload(without="watcher")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in", timeout=10_000)
    finally:
        house.reload()
        house.peer.ask("resume mail.a")
