"""The dashboard by keyboard alone; and what stays still while its reader is at something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, expect

from browsing import LOOKS, Tab, browser
from dashboardpages import PLACES
from operating import Operator
from processes import wait_until
from shop import Shop, open_shop
from wirepeer import P, WirePeer

__all__ = ["browser"]

pytestmark = pytest.mark.txgear_only

MOST_STOPS: Final = 400
"""Places for the focus in a page."""

FOCUS: Final = """() => {
    const at = document.activeElement;
    if (!at || at === document.body) return null;
    const box = at.getBoundingClientRect();
    const style = getComputedStyle(at);
    const row = at.closest("label, summary, li, th, td") ?? at;
    const ring = [style.outlineStyle, style.boxShadow, getComputedStyle(row).outlineStyle];
    return {
        at: at.outerHTML.slice(0, 200),
        text: (at.getAttribute("aria-label") ?? at.textContent).trim(),
        seen: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight
            && box.right > 0 && box.left < innerWidth,
        ring: ring.some((each) => each !== "none"),
        order: [...document.querySelectorAll("*")].indexOf(at),
    };
}"""
"""What has the focus, whether one sees that, and how far on it is in the page."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    found = open_shop(tmp_path_factory.mktemp("shop"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def tab(browser: Browser, shop: Shop) -> Iterator[Tab]:
    found = Tab(browser, shop.base, LOOKS[0])
    yield found
    found.close()


def keys(page: Page, *names: str) -> None:
    for name in names:
        page.keyboard.press(name)


def tab_to(page: Page, text: str, key: str = "Tab") -> None:
    """Go on until something has the focus that is called so."""
    for _ in range(MOST_STOPS):
        page.keyboard.press(key)
        found = page.evaluate(FOCUS)
        if found is not None and found["text"] == text:
            return
    raise AssertionError(f"nothing that is called {text} can be reached")


@pytest.mark.parametrize("look", [LOOKS[0], LOOKS[2]], ids=lambda look: look.name)
@pytest.mark.parametrize(
    "name",
    ["overview", "function-paused", "jobs", "job-dead", "job-edit", "dead", "review", "worker-steered"],
)
def test_tab_order(tab: Tab, shop: Shop, name: str, look: object) -> None:
    """The focus goes from the first to the last in the order of the page, is seen, and is caught nowhere."""
    page = tab.open(shop.path_of(name))
    tab.look(look)  # type: ignore[arg-type]
    orders: list[int] = []
    for number in range(MOST_STOPS):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUS)
        if found is None or found["order"] in orders[:1]:
            break
        if number == 0:
            assert found["text"] == "Skip to the content"
        assert found["seen"], found
        assert found["ring"], found
        orders.append(found["order"])
    else:
        raise AssertionError("it never comes to an end")
    assert len(orders) > 12
    assert orders == sorted(set(orders))
    tab.look(LOOKS[0])


def test_skip(tab: Tab) -> None:
    page = tab.open("/jobs")
    keys(page, "Tab", "Enter", "Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
    assert page.evaluate("document.activeElement.textContent") == "Not ended"


@pytest.mark.parametrize("look", [LOOKS[0], LOOKS[2]], ids=lambda look: look.name)
def test_views_by_letters(tab: Tab, look: object) -> None:
    """Each entry of the navigation has a letter, which leads there from anywhere."""
    page = tab.open("/")
    tab.look(look)  # type: ignore[arg-type]
    entries = page.locator("nav a[data-key]").evaluate_all(
        "all => all.map((each) => [each.dataset.key, each.getAttribute('href')])"
    )
    assert {path for _, path in entries} <= {place.path for place in PLACES.values()}
    assert len(entries) == len({letter for letter, _ in entries}) == 10
    for letter, path in entries:
        keys(page, "g", letter)
        expect(page).to_have_url(f"{tab.base}{path}")
        expect(page.locator("nav a[aria-current]").first).to_be_visible()
        tab.is_live()
    tab.look(LOOKS[0])
    tab.is_calm()


def test_rows(tab: Tab, shop: Shop) -> None:
    """j, k and the arrows go from row to row, x selects, Enter opens, Esc lets go."""
    page = tab.open("/jobs?function=image.thumbnail")
    rows = page.locator("#rows > tr")
    handles = page.locator("#rows > tr th a").all_text_contents()
    keys(page, "j", "j", "k", "j", "ArrowDown")
    expect(rows.nth(2).get_by_role("link").first).to_be_focused()
    keys(page, "x", "k", "x", "ArrowUp")
    expect(page.locator("#rows input:checked")).to_have_count(2)
    expect(page.get_by_role("group", name="With the selected jobs")).to_contain_text("2 selected")
    keys(page, "Escape")
    expect(page.locator("#rows input:checked")).to_have_count(0)
    keys(page, "Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(handles[0])


def test_search_and_help(tab: Tab) -> None:
    page = tab.open("/jobs")
    keys(page, "/")
    page.keyboard.type("function=order.*")
    # Letters that are typed do nothing else.
    keys(page, "Enter")
    expect(page).to_have_url(re.compile(r"/jobs\?function=order"))
    page = tab.open("/jobs")
    keys(page, "Tab", "Tab")
    before = page.evaluate(FOCUS)
    keys(page, "?")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog).to_contain_text("Next row")
    for _ in range(5):
        # The browser's own frame has its turn as well; nothing behind the question has.
        keys(page, "Tab")
        within = page.evaluate(
            "[document.activeElement.nodeName, !!document.activeElement.closest('dialog')]"
        )
        assert within in (["INPUT", True], ["BUTTON", True], ["BODY", False])
    keys(page, "Escape")
    expect(dialog).to_have_count(0)
    assert page.evaluate(FOCUS) == before


def test_keys_off(tab: Tab) -> None:
    """Who does not like single keys has none."""
    page = tab.open("/")
    keys(page, "?")
    box = page.get_by_label("Single keys do this in this browser")
    box.focus()
    keys(page, "Space", "Escape", "g", "j", "?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.url == f"{tab.base}/"
    page.get_by_role("button", name="Keys").focus()
    keys(page, "Enter")
    box.focus()
    keys(page, "Space", "Escape", "g", "j")
    expect(page).to_have_url(f"{tab.base}/jobs")


def test_an_act(tab: Tab, shop: Shop) -> None:
    """From the overview to jobs that are cancelled, without the mouse."""
    operator = Operator(shop.server)
    with WirePeer(shop.server.port) as client:
        handles = [client.submit(b"z.keys", b"", b"k%d" % n, P.SUBMIT_JOB_BG).decode() for n in range(3)]
    page = tab.open("/")
    keys(page, "g", "j")
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    tab.is_live()
    keys(page, "/")
    page.keyboard.type("function=z.keys")
    keys(page, "Enter")
    expect(page).to_have_url(f"{tab.base}/jobs?function=z.keys")
    tab.is_live()
    expect(page.locator("#rows > tr")).to_have_count(3)
    keys(page, "j", "x", "j", "x")
    tab_to(page, "Cancel", "Shift+Tab")
    keys(page, "Enter")
    # The way back is what has the focus first.
    expect(page.get_by_role("button", name="No, leave it")).to_be_focused()
    keys(page, "Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert [operator.state(handle) for handle in handles] == ["queued"] * 3
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_focused()
    keys(page, "Enter")
    expect(page.get_by_role("button", name="No, leave it")).to_be_focused()
    keys(page, "Tab")
    expect(page.get_by_role("button", name="Yes, cancel 2")).to_be_focused()
    keys(page, "Enter")
    wait_until(lambda: [operator.state(each) for each in handles] == ["", "", "queued"], what="an end")
    expect(page.locator("#rows > tr")).to_have_count(1)


def test_quick_hands(tab: Tab, shop: Shop) -> None:
    """Who answers a question, and presses the next key before the browser has told of its end, loses none."""
    with WirePeer(shop.server.port) as client:
        handle = client.submit(b"z.quick", b"", b"q", P.SUBMIT_JOB_BG).decode()
        page = tab.open("/jobs?function=z.quick")
        page.get_by_role("checkbox", name=f"Select {handle}").check()
        page.get_by_role("button", name="Cancel", exact=True).click()
        for answer in ("No, leave it", "Escape"):
            expect(page.get_by_role("button", name="No, leave it")).to_be_focused()
            # Two events, and no turn of the browser's between them, in which it tells of the dialog's end.
            page.evaluate(
                """async (answer) => {
                    // The one before may still be there, closed.
                    const dialog = document.querySelector("dialog[open]");
                    if (answer !== "Escape") document.activeElement.click();
                    else if (dialog.dispatchEvent(new Event("cancel", {cancelable: true}))) dialog.close();
                    await null;
                    document.activeElement.click();
                }""",
                answer,
            )
        expect(page.get_by_role("button", name="No, leave it")).to_be_focused()
        keys(page, "Tab", "Enter")
        wait_until(lambda: Operator(shop.server).state(handle) == "", what="an end")
        expect(page.locator("#rows > tr")).to_have_count(0)
        expect(page.get_by_role("dialog")).to_have_count(0)
    tab.is_calm()


def test_the_way_back(tab: Tab, shop: Shop) -> None:
    """On the way back browsers mark boxes by their places again: there are other jobs by then."""
    with WirePeer(shop.server.port) as client:
        handles = [client.submit(b"z.back", b"", b"b%d" % n, P.SUBMIT_JOB_BG).decode() for n in range(3)]
        page = tab.open("/jobs?function=z.back")
        page.get_by_role("checkbox", name=f"Select {handles[1]}").check()
        assert client.ask(f"cancel job {handles[0]}").startswith(b"OK")
        expect(page.locator("#line")).to_have_text("Held while something is selected")
        tab.open("/schedules")
        page.go_back()
        expect(page.locator("#rows > tr")).to_have_count(2)
        tab.is_live()
        expect(page.locator("#rows input:checked")).to_have_count(0)
        assert client.ask("purge z.back").startswith(b"OK")


def test_still(tab: Tab, shop: Shop) -> None:
    """Nothing moves while something is selected; what has come meanwhile is shown after that."""
    name = b"z.still"
    with WirePeer(shop.server.port) as client:
        client.submit(name, b"", b"1", P.SUBMIT_JOB_BG)
        page = tab.open("/jobs?function=z.still")
        rows = page.locator("#rows > tr")
        page.get_by_role("checkbox", name=re.compile("Select H")).check()
        client.submit(name, b"", b"2", P.SUBMIT_JOB_BG)
        line = page.locator("#line")
        expect(line).to_have_text("Held while something is selected")
        expect(page.locator("#line-more")).to_have_text(re.compile(r"\d changes? waits?"))
        assert rows.count() == 1
        page.get_by_role("button", name="Show now").click()
        expect(rows).to_have_count(2)
        client.submit(name, b"", b"3", P.SUBMIT_JOB_BG)
        expect(page.locator("#line-more")).to_have_text(re.compile(r"\d changes? waits?"))
        assert rows.count() == 2
        keys(page, "Escape")
        expect(rows).to_have_count(3)
        expect(line).to_have_text("Live")
        # So it is with a piece of text.
        page.evaluate("getSelection().selectAllChildren(document.querySelector('#rows > tr'))")
        client.submit(name, b"", b"4", P.SUBMIT_JOB_BG)
        expect(line).to_have_text("Held while something is selected")
        assert rows.count() == 3
        page.evaluate("getSelection().removeAllRanges()")
        expect(rows).to_have_count(4)
    tab.is_calm()


def test_focus_and_scroll_survive(tab: Tab, shop: Shop) -> None:
    """Rows that come and go above the one that is read leave it the focus, and the page where it is."""
    name = b"z.scroll"
    with WirePeer(shop.server.port) as client:
        handles = [client.submit(name, b"", b"s%d" % n, P.SUBMIT_JOB_BG).decode() for n in range(40)]
        page = tab.open("/jobs?function=z.scroll")
        row = page.get_by_role("row", name=handles[30])
        link = row.get_by_role("link", name=handles[30])
        link.focus()
        page.evaluate("scrollTo(0, 800)")
        at = page.evaluate("scrollY")
        assert at > 400
        before = link.bounding_box()
        client.submit(name, b"", b"last", P.SUBMIT_JOB_BG)
        expect(page.locator("#rows > tr")).to_have_count(41)
        expect(link).to_be_focused()
        assert page.evaluate("scrollY") == at
        assert link.bounding_box() == before
        assert client.ask(f"cancel job {handles[2]}").startswith(b"OK")
        expect(page.locator("#rows > tr")).to_have_count(40)
        expect(link).to_be_focused()
        # What is written in a field stays as well.
        page.get_by_label("Unique").fill("half writ")
        client.submit(name, b"", b"very last", P.SUBMIT_JOB_BG)
        expect(page.locator("#rows > tr")).to_have_count(41)
        expect(page.get_by_label("Unique")).to_have_value("half writ")
        expect(page.get_by_label("Unique")).to_be_focused()
        assert client.ask("purge z.scroll").startswith(b"OK")
    tab.is_calm()
