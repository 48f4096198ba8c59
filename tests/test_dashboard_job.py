"""
The page of one job: with a worker that streams, in a real browser, and what it does looked for on the server.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, expect

from browsing import LOOKS, Tab, browser
from hostile import wait_until_written
from processes import Server, free_port
from wirepeer import P, WirePeer

__all__ = ["browser"]

pytestmark = pytest.mark.txgear_only

AT_ONCE = 3_000
"""Milliseconds within which a page has to show what has happened."""
CONFIG = """
[[function]]
name = "kept"
results = "1h"
retries = 2
backoff = "1h"

[[function]]
name = "*"
"""
MANY = 200
"""Pieces of what a worker says, each a kibibyte: more than the page keeps."""


class Stage:
    """
    A server with a web, and a worker.

    @ivar base: the address of the web.
    @ivar worker: it does C{kept} and C{plain}.
    """

    def __init__(self, folder: Path) -> None:
        web = free_port()
        config = folder / "txgear.toml"
        config.write_text(CONFIG)
        store = f"sqlite:///{folder / 'jobs.sqlite'}"
        options = [f"--web=tcp:{web}:interface=127.0.0.1", "--config", str(config)]
        self.server = Server(folder, *options, port=free_port(), store=store)
        self.base = f"http://127.0.0.1:{web}"
        self.worker = WirePeer(self.server.port)
        for function in (b"kept", b"plain"):
            self.worker.send(P.CAN_DO, function)

    def close(self) -> None:
        self.worker.close()
        self.server.stop()

    def submit(self, function: bytes, workload: bytes) -> str:
        """A job."""
        with WirePeer(self.server.port) as client:
            client.send(P.SUBMIT_JOB_BG, function, b"", workload)
            created = client.read()
        assert created.type == P.JOB_CREATED
        return created.args[0].decode()

    def grab(self) -> bytes:
        """The worker has a job: its handle."""
        self.worker.send(P.GRAB_JOB)
        assigned = self.worker.read()
        assert assigned.type == P.JOB_ASSIGN
        return assigned.args[0]

    def job(self, handle: str) -> Any:
        """What the server says of a job."""
        with urlopen(f"{self.base}/api/v1/jobs/{handle}", timeout=10) as answer:
            return json.load(answer)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    found = Stage(tmp_path)
    yield found
    found.close()


@pytest.fixture
def tab(browser: Browser, stage: Stage) -> Iterator[Tab]:
    found = Tab(browser, stage.base, LOOKS[0])
    yield found
    found.close()


def part(page: Page, name: str) -> Any:
    return page.locator(f"#{name}")


def test_what_its_worker_says(stage: Stage, tab: Tab) -> None:
    """It is there as it comes; in the end the result is there by itself."""
    handle = stage.submit(b"kept", b'{"to": "a@b.example"}')
    running = stage.grab()
    stage.worker.send(P.WORK_DATA, running, b"before\n")
    page = tab.open(f"/jobs/{handle}")
    log = part(page, "output-log")
    expect(log).to_have_text("before\n", timeout=AT_ONCE)
    stage.worker.send(P.WORK_DATA, running, b"half \xc3")
    stage.worker.send(P.WORK_DATA, running, b"\xa4 \x1b[0m<b>\n")
    stage.worker.send(P.WORK_WARNING, running, b"slow")
    stage.worker.send(P.WORK_STATUS, running, b"1", b"4")
    expect(log).to_contain_text("half \u00e4 \\x1b[0m<b>", timeout=AT_ONCE)
    expect(log).to_contain_text("[warning] slow")
    expect(log.locator("b")).to_have_count(0)
    expect(part(page, "timeline")).to_contain_text("1 of 4", timeout=AT_ONCE)
    stage.worker.send(P.WORK_COMPLETE, running, b"the end")
    expect(part(page, "result")).to_contain_text("the end", timeout=AT_ONCE)
    expect(part(page, "timeline")).to_contain_text("Done")
    expect(part(page, "output-end")).to_be_hidden()
    tab.is_calm()
    plain = Tab(page.context.browser, stage.base, LOOKS[0], java_script_enabled=False)  # type: ignore[arg-type]
    expect(part(plain.open(f"/jobs/{handle}"), "result")).to_contain_text("the end")
    plain.close()


def test_one_of_which_nothing_is_kept(stage: Stage, tab: Tab) -> None:
    """The page that was open shows what it has brought."""
    handle = stage.submit(b"plain", b"x")
    page = tab.open(f"/jobs/{handle}")
    expect(part(page, "timeline")).to_contain_text("Queued")
    running = stage.grab()
    expect(part(page, "timeline")).to_contain_text("Running", timeout=AT_ONCE)
    stage.worker.send(P.WORK_DATA, running, b"some\n")
    expect(part(page, "output-log")).to_have_text("some\n", timeout=AT_ONCE)
    stage.worker.send(P.WORK_COMPLETE, running, b"the end")
    expect(part(page, "output-result")).to_have_text("the end", timeout=AT_ONCE)
    expect(part(page, "timeline")).to_contain_text("Nothing is kept of it", timeout=AT_ONCE)
    tab.is_calm()


def test_much_that_is_said(stage: Stage, tab: Tab) -> None:
    """The last of it stays, the page follows the end, and stays where somebody has scrolled to."""
    handle = stage.submit(b"kept", b"x")
    running = stage.grab()
    page = tab.open(f"/jobs/{handle}")
    expect(part(page, "output-none")).to_be_visible()
    for number in range(MANY):
        stage.worker.send(P.WORK_DATA, running, b"%04d %s\n" % (number, b"x" * 1018))
        # Slower than it is read, so that nothing has to be skipped.
        time.sleep(0.005)
    log = part(page, "output-log")
    expect(log).to_contain_text("0199", timeout=AT_ONCE)
    assert len(log.text_content() or "") <= 64 * 1024
    expect(part(page, "output-missing")).to_contain_text("139,264 earlier bytes are not shown.")
    at_end = "box => box.scrollHeight - box.scrollTop - box.clientHeight < 2"
    assert log.evaluate(at_end)
    log.evaluate("box => { box.scrollTop = 0; }")
    stage.worker.send(P.WORK_DATA, running, b"one more\n")
    expect(log).to_contain_text("one more", timeout=AT_ONCE)
    assert not log.evaluate(at_end)
    tab.is_calm()


def test_acts(stage: Stage, tab: Tab) -> None:
    """What waits for its next attempt begins at once; a copy with another workload; and an end."""
    handle = stage.submit(b"kept", b"line 1\nline 2\n")
    stage.worker.send(P.WORK_FAIL, stage.grab())
    page = tab.open(f"/jobs/{handle}")
    expect(part(page, "timeline")).to_contain_text("Waits for its next attempt", timeout=AT_ONCE)
    page.get_by_role("button", name="Begin at once").click()
    expect(part(page, "timeline")).to_contain_text("Queued", timeout=AT_ONCE)
    assert stage.job(handle)["state"] == "queued"
    page.get_by_label("Priority").select_option("high")
    page.get_by_role("button", name="Set").click()
    expect(part(page, "facts")).to_contain_text("high", timeout=AT_ONCE)

    page.get_by_role("link", name="Copy with changes").click()
    field = page.locator("textarea[name=workload]")
    expect(field).to_have_value("line 1\nline 2\n")
    field.fill("line 1\nanother line\n")
    page.get_by_role("button", name="Submit the copy").click()
    expect(part(page, "facts")).to_contain_text(f"Copy of{handle}", timeout=AT_ONCE)
    (copy,) = stage.job(handle)["copies"]
    assert stage.job(copy)["copy_of"] == handle
    with urlopen(f"{stage.base}/api/v1/jobs/{copy}/workload", timeout=10) as answer:
        assert answer.read() == b"line 1\nanother line\n"

    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(part(page, "timeline")).to_contain_text("Cancelled", timeout=AT_ONCE)
    tab.is_calm()


def test_copies_outlive_the_server(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    handle = stage.submit(b"kept", b"x")
    with WirePeer(stage.server.port) as peer:
        copy = peer.ask(f"copy job {handle}").split()[1].decode()
    wait_until_written(stage.server.port)
    stage.server.kill()
    stage.close()
    again = Stage(tmp_path)
    assert (again.job(handle)["copies"], again.job(copy)["copy_of"]) == ([copy], handle)
    again.close()
