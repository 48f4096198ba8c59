"""The overview with more trouble than it has room for, in a real browser: where the rest is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, expect

from browsing import LOOKS, Tab, browser
from processes import Server, free_port
from wirepeer import P

__all__ = ["browser"]

pytestmark = pytest.mark.txgear_only

FUNCTIONS: Final = 30
MORE: Final = "10 more functions"


class Troubled:
    """
    A server with jobs for which there are no workers.

    @ivar base: what the addresses of its pages begin with.
    """

    def __init__(self, server: Server, web: int) -> None:
        self.server = server
        self.base = f"http://127.0.0.1:{web}"
        client = server.connect()
        for number in range(FUNCTIONS):
            client.submit(b"report.%02d" % number, b"w", b"", P.SUBMIT_JOB_BG)


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Troubled]:
    web = free_port()
    server = Server(tmp_path_factory.mktemp("troubled"), f"--web=tcp:{web}:interface=127.0.0.1")
    yield Troubled(server, web)
    server.stop()


@pytest.mark.parametrize("look", [LOOKS[0], LOOKS[3]], ids=lambda look: look.name)
def test_the_rest_by_keyboard(browser: Browser, troubled: Troubled, look: object) -> None:
    tab = Tab(browser, troubled.base, look)  # type: ignore[arg-type]
    page = tab.open("/")
    expect(page.locator("#wrong > .critical")).to_have_count(20)
    for _ in range(21):
        page.keyboard.press("j")
    expect(page.get_by_role("link", name=MORE)).to_be_focused()
    tab.check_looks()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("What is wrong")
    expect(page.locator("#wrong > .critical")).to_have_count(FUNCTIONS)
    tab.is_live()
    tab.check_looks()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("report.")
    page.go_back()
    page.get_by_role("main").get_by_role("link", name="Overview").click()
    expect(page).to_have_url(f"{troubled.base}/")
    tab.is_calm()
    tab.close()


def test_the_rest_without_scripts(browser: Browser, troubled: Troubled) -> None:
    tab = Tab(browser, troubled.base, LOOKS[0], java_script_enabled=False)
    tab.open("/").get_by_role("link", name=MORE).click()
    expect(tab.page).to_have_url(f"{troubled.base}/troubles")
    expect(tab.page.locator("#wrong > .critical")).to_have_count(FUNCTIONS)
    tab.close()


def test_one_that_is_mended_goes(browser: Browser, troubled: Troubled) -> None:
    """A page that is open stays as the server is."""
    tab = Tab(browser, troubled.base, LOOKS[0])
    page = tab.open("/troubles")
    link = page.get_by_role("link", name="report.07", exact=True)
    expect(link).to_be_visible()
    worker = troubled.server.connect()
    worker.can_do(b"report.07")
    worker.complete(worker.grab_soon(), b"")
    expect(link).to_have_count(0)
    tab.is_calm()
    tab.close()
