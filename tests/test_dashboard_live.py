"""Pages of the dashboard that are kept open, in a real browser: they stay as the server is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browsing import LOOKS, Tab, browser
from processes import Server, Servers, free_port
from wirepeer import P, WirePeer

__all__ = ["browser"]

AT_ONCE = 3_000
"""Milliseconds within which a page has to show what has happened."""
SOON = 20_000
LIVE = "Live"
GONE = re.compile("cannot be reached|says nothing")


@pytest.fixture
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture
def start(start_server: Servers, ports: tuple[int, int]) -> Callable[[str], Server]:
    """Starts a server with a store, and always at these ports."""
    port, web = ports
    return lambda store: start_server(f"--web=tcp:{web}:interface=127.0.0.1", port=port, store=store)


@pytest.fixture
def tab(browser: Browser, ports: tuple[int, int]) -> Iterator[Tab]:
    found = Tab(browser, f"http://127.0.0.1:{ports[1]}", LOOKS[0])
    yield found
    found.close()


def submit(port: int, function: bytes, count: int = 1) -> None:
    """Submit that many jobs, none of which is another."""
    with WirePeer(port) as peer:
        for _ in range(count):
            peer.send(P.SUBMIT_JOB_BG, function, b"", b"x")
            assert peer.read().type == P.JOB_CREATED


def shows_queued(page: Page, function: str, count: int) -> None:
    """The overview says how many jobs of a function are queued: after the chart, which has numbers, too."""
    cell = page.get_by_role("row", name=function).locator("[data-label=Queued]")
    expect(cell).to_have_text(re.compile(rf"\s{count}\s*$"), timeout=AT_ONCE)


def test_pushed(start: Callable[[str], Server], tab: Tab) -> None:
    """What happens is shown at once, and nothing is asked again and again."""
    server = start("memory:")
    page = tab.open("/")
    expect(page.locator("#line")).to_have_text(LIVE, timeout=AT_ONCE)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    submit(server.port, b"mail", 3)
    shows_queued(page, "mail", 3)
    submit(server.port, b"mail")
    submit(server.port, b"thumbs", 2)
    shows_queued(page, "thumbs", 2)
    shows_queued(page, "mail", 4)
    page.wait_for_timeout(3_000)
    assert not asked
    tab.is_calm()


def test_server_gone_and_back(start: Callable[[str], Server], tmp_path: Path, tab: Tab) -> None:
    """It says at once that the server is gone, and goes on by itself when it is back."""
    store = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    server = start(store)
    page = tab.open("/")
    submit(server.port, b"mail", 2)
    shows_queued(page, "mail", 2)
    server.kill()
    server.stop()
    line = page.locator("#line")
    expect(line).to_have_text(GONE, timeout=AT_ONCE)
    shows_queued(page, "mail", 2)
    again = start(store)
    submit(again.port, b"mail", 5)
    expect(line).to_have_text(LIVE, timeout=SOON)
    shows_queued(page, "mail", 7)


def test_server_hangs(start: Callable[[str], Server], tab: Tab) -> None:
    """A server that says nothing is as good as gone, though its connection lives."""
    server = start("memory:")
    page = tab.open("/")
    line = page.locator("#line")
    expect(line).to_have_text(LIVE, timeout=AT_ONCE)
    server.pause()
    try:
        expect(line).to_have_text(GONE, timeout=SOON)
    finally:
        server.resume()
    expect(line).to_have_text(LIVE, timeout=SOON)


def test_server_anew_under_a_selection(start: Callable[[str], Server], tmp_path: Path, tab: Tab) -> None:
    """The page of a server that is started anew is loaded again, but not under what somebody has selected."""
    store = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    server = start(store)
    submit(server.port, b"mail", 2)
    page = tab.open("/jobs")
    box = page.get_by_role("checkbox", name=re.compile("Select H")).first
    box.check()
    server.stop()
    expect(page.locator("#line")).to_have_text(GONE, timeout=AT_ONCE)
    start(store)
    expect(page.locator("#line")).to_have_text("The server was started anew", timeout=SOON)
    expect(page.locator("#line-more")).to_have_text(re.compile("As of"))
    expect(box).to_be_checked()
    page.get_by_role("button", name="Load again").click()
    expect(page.locator("#line")).to_have_text(LIVE)
    expect(page.locator("#rows input:checked")).to_have_count(0)
