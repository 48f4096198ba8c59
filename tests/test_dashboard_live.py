"""Pages of the dashboard that are kept open, in a real browser: they stay as the server is."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from browsing import LOOKS, Tab, browser
from processes import Server, free_port
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


def started(path: Path, ports: tuple[int, int], store: str = "memory:") -> Server:
    port, web = ports
    return Server(path, f"--web=tcp:{web}:interface=127.0.0.1", port=port, store=store)


@pytest.fixture
def tab(browser: Browser, ports: tuple[int, int]) -> Iterator[Tab]:
    found = Tab(browser, f"http://127.0.0.1:{ports[1]}", LOOKS[0])
    yield found
    found.close()


def submit(port: int, function: bytes, count: int = 1) -> None:
    with WirePeer(port) as peer:
        for number in range(count):
            peer.send(P.SUBMIT_JOB_BG, function, b"%d" % number, b"x")
            assert peer.read().type == P.JOB_CREATED


def test_pushed(tmp_path: Path, ports: tuple[int, int], tab: Tab) -> None:
    """What happens is shown at once, and nothing is asked again and again."""
    server = started(tmp_path, ports)
    page = tab.open("/")
    expect(page.locator("#line")).to_have_text(LIVE, timeout=AT_ONCE)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    submit(server.port, b"mail", 3)
    row = page.get_by_role("row", name="mail")
    expect(row).to_be_visible(timeout=AT_ONCE)
    expect(row).to_contain_text("3", timeout=AT_ONCE)
    submit(server.port, b"mail")
    submit(server.port, b"thumbs", 2)
    expect(page.get_by_role("row", name="thumbs")).to_contain_text("2", timeout=AT_ONCE)
    page.wait_for_timeout(3_000)
    assert not asked
    tab.is_calm()
    server.stop()


def test_server_gone_and_back(tmp_path: Path, ports: tuple[int, int], tab: Tab) -> None:
    """It says at once that the server is gone, and goes on by itself when it is back."""
    store = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    server = started(tmp_path, ports, store)
    page = tab.open("/")
    submit(server.port, b"mail", 2)
    row = page.get_by_role("row", name="mail")
    expect(row).to_be_visible(timeout=AT_ONCE)
    server.kill()
    server.stop()
    line = page.locator("#line")
    expect(line).to_have_text(GONE, timeout=AT_ONCE)
    expect(row).to_be_visible()
    again = started(tmp_path, ports, store)
    submit(again.port, b"mail", 5)
    expect(line).to_have_text(LIVE, timeout=SOON)
    expect(row).to_contain_text("7", timeout=AT_ONCE)
    again.stop()


def test_server_hangs(tmp_path: Path, ports: tuple[int, int], tab: Tab) -> None:
    """A server that says nothing is as good as gone, though its connection lives."""
    server = started(tmp_path, ports)
    page = tab.open("/")
    line = page.locator("#line")
    expect(line).to_have_text(LIVE, timeout=AT_ONCE)
    server.signal(signal.SIGSTOP)
    try:
        expect(line).to_have_text(GONE, timeout=SOON)
    finally:
        server.signal(signal.SIGCONT)
    expect(line).to_have_text(LIVE, timeout=SOON)
    server.stop()
