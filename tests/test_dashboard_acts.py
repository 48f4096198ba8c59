"""
Every act of every view, done in a browser by what a person sees: what has come of it is looked for on the
server, by text commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser

import dashboardacts
import dashboardjobacts
from browsing import LOOKS, Post, Tab, browser
from dashboardpages import PLACES, routes
from dashboardstage import Do, Stage
from operating import Operator
from processes import Server, free_port
from shop import open_shop

__all__ = ["browser"]

pytestmark = pytest.mark.txgear_only

CONFIG: Final = """
[[function]]
name = "dead.*"
retries = 0
dead = "1h"

[[function]]
name = "later.*"
retries = 3
backoff = "1h"

[[function]]
name = "kept.*"
results = "1h"

[[schedule]]
name = "yearly"
cron = "0 0 1 1 *"
function = "by.clock"
"""

ACTS: Final = {**dashboardacts.ACTS, **dashboardjobacts.ACTS}

_WORDS: Final = ("act", "word", "how")
_NAMING: Final = ("register", "unregister")
"""The buttons whose value is a function."""
_RULES: Final = [
    (re.compile(re.sub("<[a-z]+>", "[^/]+", route.rule)), route.rule)
    for route in routes()
    if route.method == "POST"
]

OFFERED: Final = """(html) => [
    ...new DOMParser().parseFromString(html, "text/html").querySelectorAll("button"),
].flatMap((button) => {
    const form = button.form;
    if (button.type !== "submit" || form?.getAttribute("method") !== "post") return [];
    const fields = Object.fromEntries(new FormData(form, button));
    return [[button.getAttribute("formaction") ?? form.getAttribute("action"), fields]];
})"""
"""What the buttons of a page would send."""


def key(post: Post) -> str:
    """What a form is for."""
    rule = next(rule for pattern, rule in _RULES if pattern.fullmatch(post.path.partition("?")[0]))
    words = [post.fields[name] for name in _WORDS if name in post.fields]
    words += [name for name in _NAMING if name in post.fields]
    return " ".join([rule, *words, *(["all"] if post.fields.get("to") == "all" else [])])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    folder = tmp_path_factory.mktemp("acts")
    (folder / "txgear.toml").write_text(CONFIG)
    web = free_port()
    found = Server(folder, f"--web=tcp:{web}:interface=127.0.0.1", "--config", str(folder / "txgear.toml"))
    yield found, f"http://127.0.0.1:{web}"
    found.stop()
    assert found.calm(), found.log()


@pytest.fixture(scope="module")
def tab(browser: Browser, server: tuple[Server, str]) -> Iterator[Tab]:
    found = Tab(browser, server[1], LOOKS[0])
    yield found
    found.close()


@pytest.fixture
def stage(server: tuple[Server, str], tab: Tab, tmp_path: Path) -> Iterator[Stage]:
    tab.posts.clear()
    found = Stage(server[0], tab, Operator(server[0]), server[0].connect(15.0), tmp_path)
    yield found
    server[0].close_peers()


@pytest.mark.parametrize("do", dict.fromkeys(ACTS.values()), ids=lambda do: do.__name__)
def test_acts(stage: Stage, do: Do) -> None:
    do(stage)
    wanted = {name for name, each in ACTS.items() if each is do}
    assert wanted <= {key(post) for post in stage.tab.posts}
    stage.tab.is_calm()


def page_of(tab: Tab, path: str) -> str:
    """What the server answers to a browser."""
    return tab.page.request.get(tab.base + path, headers={"Accept": "text/html"}).text()


def test_all_are_done(browser: Browser, tmp_path: Path) -> None:
    """Whatever a form is sent to, and whatever button a page has, is in the list."""
    assert len(ACTS) == len(dashboardacts.ACTS) + len(dashboardjobacts.ACTS)
    rules = {route.rule for route in routes() if route.method == "POST"}
    assert {name.partition(" ")[0] for name in ACTS} == rules
    shop = open_shop(tmp_path, "--allow-shutdown")
    tab = Tab(browser, shop.base, LOOKS[0])
    try:
        offered = {
            key(Post(path, fields))
            for name in PLACES
            for path, fields in tab.page.evaluate(OFFERED, page_of(tab, shop.path_of(name)))
        }
    finally:
        tab.close()
        shop.close()
    assert offered <= ACTS.keys(), offered - ACTS.keys()
    assert len(offered) > len(ACTS) / 2, offered
