"""Each view of the dashboard in a real browser: wide and narrow, in the light and in the dark."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, expect

from browsing import LOOKS, Look, Tab, browser
from shop import Shop, open_shop

__all__ = ["browser"]

PICTURES: Final = Path(os.environ.get("TXGEAR_PICTURES") or "build/dashboard")
"""Where the pictures go that the run makes."""

VIEWS: Final = {
    "overview": "/",
    "function": "/functions/image.resize",
    "jobs": "/jobs",
    "job": "/jobs/{running}",
    "job-dead": "/jobs/{dead}",
    "job-edit": "/jobs/{dead}/edit",
    "dead": "/dead",
    "workers": "/workers",
    "tasks": "/tasks",
    "schedules": "/schedules",
    "store": "/store",
    "server": "/server",
    "settings": "/settings",
    "audit": "/audit",
    "nothing": "/functions/no-such-function",
}
"""The address of each, with the handle of a job where one is wanted."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A server that has something to show on each page."""
    found = open_shop(tmp_path_factory.mktemp("shop"))
    yield found
    found.close()


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_views(browser: Browser, shop: Shop, look: Look, name: str) -> None:
    tab = Tab(browser, shop.base, look)
    page = tab.open(VIEWS[name].format(**shop.handles))
    # What is pushed has come.
    page.wait_for_timeout(400)
    tab.picture(PICTURES / f"{name}-{look.name}.png")
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    tab.check_axe()
    tab.fits()
    if name != "nothing":
        tab.is_calm()
    tab.close()


def test_read_without_scripts(browser: Browser, shop: Shop) -> None:
    """Every view can be read, and left, without JavaScript."""
    tab = Tab(browser, shop.base, LOOKS[0], java_script_enabled=False)
    for name, path in VIEWS.items():
        page = tab.open(path.format(**shop.handles))
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.get_by_role("navigation").get_by_role("link", name="Jobs").is_visible(), name
    tab.close()
