"""Hostile names in every place of every view, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from browsing import LOOKS, Tab, browser
from dashboardpages import DOWNLOADS, ELSEWHERE, routes
from processes import Servers, wait_until
from webworld import HOSTILE, World, make_world, quoted
from wirepeer import WirePeer

__all__ = ["browser"]

pytestmark = pytest.mark.txgear_only

FUNCTION: Final = quote(HOSTILE[0], safe="")
BIDI: Final = quote(HOSTILE[3], safe="")

INJECTED: Final = """() => [
    ...document.querySelectorAll("iframe, object, embed, frame, base, svg script, main script, main style,"
        + "main img, main i, main b, main meta, main link, [style], [srcdoc]"),
    ...[...document.querySelectorAll("*")].filter((each) => each.getAttributeNames().some((name) =>
        name.startsWith("on"))),
    ...[...document.querySelectorAll("a[href], form[action], [formaction]")].filter((each) =>
        ["href", "action", "formAction"].some((name) => typeof each[name] === "string" && each[name]
            && new URL(each[name], location).origin !== location.origin)),
].map((each) => each.outerHTML.slice(0, 200))"""
"""What no page has, but for what a name has brought in."""

REORDERED: Final = """() => {
    const marks = /[\\u202a-\\u202e\\u2066-\\u2069]/;
    const blank = (node) => node.nodeType === Node.COMMENT_NODE || !node.textContent.trim();
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walk.nextNode()) {
        if (!marks.test(walk.currentNode.data)) continue;
        let node = walk.currentNode;
        for (;;) {
            const parent = node.parentElement;
            const style = getComputedStyle(parent);
            if (/isolate|plaintext/.test(style.unicodeBidi)) break;
            if (parent.matches("option, textarea, title")) break;
            if ([...parent.childNodes].some((each) => each !== node && !blank(each))) {
                found.push(parent.outerHTML.slice(0, 300));
                break;
            }
            if (!style.display.startsWith("inline")) break;
            node = parent;
        }
    }
    return found;
}"""
"""Texts with marks that turn what stands beside them around."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with jobs in every state, of functions with hostile names, and with acts on them."""
    servers = Servers(lambda: tmp_path_factory.mktemp("server"))
    try:
        made = make_world(servers, tmp_path_factory.mktemp("world"))
        with WirePeer(made.server.port) as operator:
            assert operator.ask("review dead hostile function=*").startswith(b"OK")
            assert operator.ask("cancel jobs preview=yes text=<script>alert(1)</script>").startswith(b"OK")
        wait_until(lambda: len(made.server.list("reviews")) == 1, what="a review")
        for name in HOSTILE[:4]:
            path = f"/api/v1/functions/{quote(name, safe='')}/pause"
            assert made.ask("POST", path).status < 300, path
        yield made
        for peer in made.peers:
            peer.close()
        assert servers.calm(), servers.log()
    finally:
        servers.stop()


@pytest.fixture(scope="module")
def paths(world: World) -> dict[str, list[str]]:
    """Addresses of each rule."""
    jobs = [job["handle"] for job in world.all_of("/api/v1/jobs", "jobs")]
    kept = [job["handle"] for job in world.all_of("/api/v1/kept", "jobs")]
    dead = [row[0] for row in world.server.list("dead review=hostile")]
    workers = [row["descriptor"] for row in world.all_of("/api/v1/workers", "workers")]
    hostile = [quote(name, safe="") for name in HOSTILE]
    return {
        "/": ["/", "/?function=%3Cscript%3Ealert(1)%3C%2Fscript%3E"],
        "/troubles": ["/troubles"],
        "/functions/<name>": [f"/functions/{name}" for name in hostile],
        "/jobs": [
            "/jobs",
            "/jobs?of=kept",
            f"/jobs?function={FUNCTION}&worker={BIDI}&unique={FUNCTION}&text={FUNCTION}",
            f"/jobs?q={FUNCTION}",
        ],
        "/jobs/<handle>": [
            f"/jobs/{quoted(each)}" for each in (*jobs[:12], *jobs[-4:], *kept[:3], *dead[:6])
        ],
        "/jobs/<handle>/edit": [f"/jobs/{quoted(each)}/edit" for each in (*jobs[:4], *dead[:6])],
        "/dead": ["/dead", f"/dead?function={FUNCTION}&text={BIDI}"],
        "/reviews/<name>": ["/reviews/hostile"],
        "/workers": ["/workers", f"/workers?worker={FUNCTION}&function={BIDI}"],
        "/workers/<descriptor>": [f"/workers/{each}" for each in workers[:6]],
        "/tasks": ["/tasks"],
        "/tasks/<number>": ["/tasks/1", "/tasks/2"],
        "/schedules": ["/schedules"],
        "/store": ["/store"],
        "/cluster": ["/cluster"],
        "/server": ["/server"],
        "/server/connections": ["/server/connections", f"/server/connections?worker={FUNCTION}"],
        "/settings": ["/settings"],
        "/audit": ["/audit", f"/audit?text={FUNCTION}&identity={BIDI}"],
    }


@pytest.fixture(scope="module")
def tab(browser: Browser, world: World) -> Iterator[Tab]:
    # Narrow: a name that is long sticks out there first.
    found = Tab(browser, f"http://127.0.0.1:{world.port}", LOOKS[2])
    found.page.add_init_script("window.alert = () => { window.ran = true; }")
    yield found
    found.close()


RULES: Final = sorted({route.rule for route in routes() if route.method == "GET"} - ELSEWHERE - DOWNLOADS)


@pytest.mark.parametrize("rule", RULES)
def test_names(tab: Tab, paths: dict[str, list[str]], rule: str) -> None:
    for number, path in enumerate(paths[rule]):
        page = tab.open(path)
        where = path[:120]
        assert page.evaluate(INJECTED) == [], where
        assert page.evaluate(REORDERED) == [], where
        # The browser's own words for what a script could do.
        assert page.evaluate("[...document.scripts].every((each) => each.src)"), where
        try:
            tab.fits()
            if number < 2:
                tab.check_axe()
        except AssertionError as fault:
            raise AssertionError(f"{where}: {fault}") from None
        assert not page.evaluate("window.ran"), where
        tab.is_calm()


def test_words_beside_long_names(tab: Tab) -> None:
    """A long name in one column breaks no word of another."""
    tab.look(LOOKS[0])
    page = tab.open("/server/connections")
    lines = page.eval_on_selector_all(
        "td.words",
        """cells => cells.map((cell) => {
            const range = document.createRange();
            range.selectNodeContents(cell.firstChild);
            return range.getClientRects().length;
        })""",
    )
    assert set(lines) == {1}, lines
    tab.look(LOOKS[2])


def test_names_that_come_later(tab: Tab, world: World) -> None:
    """What is pushed is as harmless as what is loaded."""
    page = tab.open("/jobs?function=pushed*")
    client = world.server.connect()
    for name in HOSTILE:
        client.submit(b"pushed" + name[:500], name[:200], name[:60])
    expect(page.locator("#rows > tr")).to_have_count(len(HOSTILE))
    assert page.evaluate(INJECTED) == []
    assert page.evaluate(REORDERED) == []
    assert not page.evaluate("window.ran")
    tab.fits()
    tab.is_calm()


def test_pages_of_problems(tab: Tab) -> None:
    for path in (f"/functions/{FUNCTION}x", f"/jobs/{FUNCTION}", f"/reviews/{FUNCTION}", f"/{FUNCTION}"):
        page = tab.open(path, 404)
        assert page.evaluate(INJECTED) == [], path
        tab.fits()
    page = tab.open(f"/jobs?{FUNCTION}=1", 400)
    assert page.evaluate(INJECTED) == []
    assert not page.evaluate("window.ran")
