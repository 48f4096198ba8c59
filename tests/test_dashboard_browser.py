"""Each view of the dashboard in a real browser: wide and narrow, in the light and in the dark."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Route, expect

from browserpeer import Secret, write_rules
from browsing import LOOKS, Tab, browser
from dashboardpages import DOWNLOADS, ELSEWHERE, PLACES, routes
from databases import Database
from processes import Server, Servers, free_port
from shop import ORDER, PHP, Shop, open_shop, store_of
from shopday import have_past
from wirepeer import P

__all__ = ["browser"]

pytestmark = pytest.mark.txgear_only

PICTURES: Final = os.environ.get("TXGEAR_PICTURES")
"""The folder for the pictures of the docs; without it none are made."""
PICTURED: Final = {
    "overview": "overview",
    "function": "function",
    "jobs": "jobs",
    "job": "job-retried",
    "job-edit": "job-edit",
    "dead": "dead",
    "review": "review",
    "workers": "workers",
    "worker": "worker-steered",
    "tasks": "tasks",
    "task": "task-counted",
    "schedules": "schedules",
    "store": "store",
    "server": "server",
    "settings": "settings",
    "audit": "audit",
}
"""Which of them there are: by its name what is to be seen."""

EMPTY: Final = (
    "/",
    "/troubles",
    "/jobs",
    "/jobs?of=kept",
    "/dead",
    "/workers",
    "/tasks",
    "/schedules",
    "/store",
    "/cluster",
    "/server",
    "/server/connections",
    "/settings",
    "/audit",
)
"""Views of a server to which nothing has happened."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A server that has something to show on each page."""
    folder = tmp_path_factory.mktemp("shop")
    if PICTURES:
        have_past(store_of(folder))
    found = open_shop(folder)
    if PICTURES:
        # Workers are counted every ten seconds.
        time.sleep(11)
    yield found
    found.close()


@pytest.fixture(scope="module")
def tab(browser: Browser, shop: Shop) -> Iterator[Tab]:
    found = Tab(browser, shop.base, LOOKS[0])
    yield found
    found.close()


class Office:
    """
    A server with rules, and nothing to do.

    @ivar ann: the token of one who may do all.
    """

    def __init__(self, folder: Path) -> None:
        self.ann = Secret.new()
        rules = folder / "rules.toml"
        write_rules(rules, ann=self.ann)
        web = free_port()
        self.base = f"http://127.0.0.1:{web}"
        self.server = Server(folder, f"--web=tcp:{web}:interface=127.0.0.1", "--config", str(rules))


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    found = Office(tmp_path_factory.mktemp("office"))
    yield found
    found.server.stop()


def test_all_are_looked_at() -> None:
    rules = {route.rule for route in routes() if route.method == "GET"}
    assert {place.rule for place in PLACES.values()} | ELSEWHERE | DOWNLOADS == rules


@pytest.mark.parametrize("name", PLACES)
def test_views(tab: Tab, shop: Shop, name: str) -> None:
    page = tab.open(shop.path_of(name))
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    for pictured in (each for each, place in PICTURED.items() if place == name):
        picture(tab, pictured)
    tab.check_looks()
    if name == "overview":
        tab.look(LOOKS[3])
        picture(tab, f"{name}-{LOOKS[3].name}")
        tab.look(LOOKS[0])
    tab.is_calm()


def picture(tab: Tab, name: str) -> None:
    """Keep what the page that is open looks like, for the docs."""
    if PICTURES:
        tab.picture(Path(PICTURES) / f"{name}.png")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/functions/no-such-function", 404, "no such function"),
        ("/jobs/H:nowhere:1", 404, "no such job"),
        ("/workers/999999", 404, "no such worker"),
        ("/tasks/999999", 404, "no such task"),
        ("/reviews/nothing", 404, "no such review"),
        ("/no/such/page", 404, "nothing at this path"),
        ("/jobs?colour=red", 400, "colour"),
    ],
)
def test_problems(tab: Tab, path: str, status: int, words: str) -> None:
    page = tab.open(path, status)
    expect(page.get_by_role("main")).to_contain_text(words, ignore_case=True)
    tab.check_looks()
    page.get_by_role("main").get_by_role("link", name="To the overview").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    tab.is_calm()


def test_questions(tab: Tab, shop: Shop) -> None:
    """What cannot be undone is asked for: above the page, or on one of its own without JavaScript."""
    page = tab.open("/functions/image.thumbnail")
    page.get_by_role("button", name="Purge").click()
    expect(page.get_by_role("dialog")).to_contain_text("Nobody can undo that")
    tab.check_looks()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    tab.check_looks()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    tab.is_calm()


@pytest.mark.parametrize(
    ("job", "heading", "wanted"),
    [
        ("dead", "Workload", ORDER),
        ("done", "Result", b'{"sent": true, "id": "<3@shop.example>"}'),
        ("php", "Workload", PHP),
    ],
)
def test_downloads(tab: Tab, shop: Shop, job: str, heading: str, wanted: bytes) -> None:
    """What is saved is what the job has, byte for byte."""
    page = tab.open(f"/jobs/{shop.handles[job]}")
    with page.expect_download() as saving:
        page.get_by_role("region", name=heading).get_by_role("link", name="Download", exact=True).click()
    assert Path(saving.value.path()).read_bytes() == wanted
    tab.is_calm()


def test_asked_without_scripts(browser: Browser, shop: Shop, tab: Tab) -> None:
    """The pages that ask, and those that tell what could not be done."""
    plain = Tab(browser, shop.base, LOOKS[0], java_script_enabled=False)
    page = plain.open("/jobs?function=image.thumbnail")
    page.get_by_role("checkbox").first.check()
    page.get_by_role("group", name="With the selected jobs").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cancel 1 job?")
    html = page.content()
    page.get_by_role("link", name="No, leave all as it is").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    page.get_by_role("checkbox").first.check()
    group = page.get_by_role("group", name="With the selected jobs")
    group.get_by_role("textbox", name="Function").fill("image.thumbnail")
    group.get_by_role("button", name="Move").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("1 job left as it is")
    for each in (html, page.content()):
        # axe wants scripts.
        answer = partial(Route.fulfill, body=each, content_type="text/html")
        tab.page.route("**/as-it-was", answer)
        tab.page.goto(f"{shop.base}/as-it-was")
        tab.check_looks()
        tab.page.unroute("**/as-it-was")
    tab.is_calm()
    plain.close()


def test_nothing_yet(browser: Browser, office: Office) -> None:
    """A new server, and who comes to it: each page says what there is not."""
    tab = Tab(browser, office.base, LOOKS[0])
    page = tab.open("/jobs")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    tab.check_looks()
    picture(tab, "sign-in")
    page.get_by_label("Token").fill("txg_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    tab.errors.clear()
    tab.check_looks()
    page.get_by_label("Token").fill(office.ann.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    for path in EMPTY:
        tab.open(path)
        try:
            tab.check_looks((LOOKS[0], LOOKS[3]))
        except AssertionError as fault:
            raise AssertionError(f"{path}: {fault}") from None
    tab.is_calm()
    tab.close()


def test_cluster(browser: Browser, start_server: Servers, postgres: Database) -> None:
    """Its servers, with and without scripts; one of them stands still."""
    web = free_port()
    first, *others = (
        start_server(
            "--cluster",
            f"--cluster-name=gear-{name}",
            f"--advertise=gear-{name}.example:4730",
            f"--web={f'tcp:{web}:interface=127.0.0.1' if name == 'a' else ''}",
            store=postgres.url,
        )
        for name in "abc"
    )
    for count, server in enumerate((first, *others)):
        client = server.connect()
        for _ in range(3 * count + 1):
            far = client.submit(b"mail.send", b"to: a@b.example", b"", P.SUBMIT_JOB_BG).decode("ascii")
    tab = Tab(browser, f"http://127.0.0.1:{web}", LOOKS[0])
    page = tab.open("/cluster")
    expect(page.get_by_role("navigation").get_by_role("link", name="Cluster")).to_be_visible()
    rows = page.locator("#servers tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(2)).to_contain_text("gear-c.example:4730")
    # What a server says of itself comes with its next beat but one, at the latest.
    expect(rows.nth(1).locator("td").nth(2)).to_have_text("4")
    others[1].pause()
    try:
        expect(rows.nth(2)).to_contain_text("no sign of life")
        picture(tab, "cluster")
    finally:
        others[1].resume()
    expect(rows.nth(2)).to_contain_text("alive")
    tab.check_looks((LOOKS[0], LOOKS[3]))
    # A list has what the server has, and says where others are; the page of one of those is at each server.
    expect(tab.open("/jobs").locator("main")).to_contain_text("gear-c.example:4730")
    picture(tab, "others")
    tab.check_looks((LOOKS[0], LOOKS[3]))
    page = tab.open(f"/jobs/{far}")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Job {far}")
    expect(page.get_by_text("mail.send")).to_be_visible()
    picture(tab, "farjob")
    tab.check_looks((LOOKS[0], LOOKS[3]))
    with page.expect_download() as download:
        page.get_by_role("link", name="Its workload").click()
    assert Path(download.value.path()).read_bytes() == b"to: a@b.example"
    page.get_by_role("button", name="Cancel the job").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(page.locator("main")).to_contain_text("The job is cancelled")
    tab.open(f"/jobs/{far}", 404)
    tab.is_calm()
    tab.close()
    plain = Tab(browser, f"http://127.0.0.1:{web}", LOOKS[3], java_script_enabled=False)
    expect(plain.open("/cluster").locator("#servers tr")).to_have_count(3)
    plain.close()


def test_read_without_scripts(browser: Browser, shop: Shop) -> None:
    """Every view can be read, and left, without JavaScript."""
    tab = Tab(browser, shop.base, LOOKS[0], java_script_enabled=False)
    for name in PLACES:
        page = tab.open(shop.path_of(name))
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.get_by_role("navigation").get_by_role("link", name="Jobs").is_visible(), name
        for row in page.locator("main tbody > tr").all()[:5]:
            assert row.is_visible(), name
        assert page.locator("#line:visible").count() == 0, name
    tab.is_calm()
    tab.close()
