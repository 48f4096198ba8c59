"""
Every act of every view, done in a browser by what a person sees: what has come of it is looked for on the
server, by text commands.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from browserpeer import Secret, write_rules
from browsing import LOOKS, Post, Tab, browser
from dashboardpages import PLACES, routes
from operating import Operator
from processes import Program, Server, free_port, wait_until
from shop import open_shop
from wirepeer import P, WirePeer

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

Do = Callable[["Stage"], None]
ACTS: Final[dict[str, Do]] = {}
"""What can be done: where a form is sent, the word in it that says what is wanted, and C{all} for all that
match; with what does it."""

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


def act(*keys: str) -> Callable[[Do], Do]:
    """This is how these are done."""

    def known(do: Do) -> Do:
        for each in keys:
            assert each not in ACTS, each
            ACTS[each] = do
        return do

    return known


@dataclass
class Stage:
    """
    A server, somebody before its dashboard, and an operator who looks at what has come of it.
    """

    server: Server
    tab: Tab
    operator: Operator
    client: WirePeer
    folder: Path

    @property
    def page(self) -> Page:
        return self.tab.page

    def open(self, path: str) -> Page:
        return self.tab.open(path)

    def press(self, name: str, within: Locator | None = None, sure: str = "") -> None:
        """
        Press a button.

        @param sure: what is to be answered to the question that comes then.
        """
        (within or self.page.get_by_role("main")).get_by_role("button", name=name, exact=True).click()
        if sure:
            self.page.get_by_role("dialog").get_by_role("button", name=sure, exact=True).click()

    def done(self, text: str = "") -> None:
        """The page says what has been done."""
        note = self.page.locator("#notes .note:not(.critical)")
        expect(note).to_be_visible()
        expect(note).to_contain_text(text)

    def order(self, line: str) -> str:
        answer = self.operator.order(line)
        assert answer.startswith("OK"), answer
        return answer

    def submit(self, function: str, count: int = 1) -> list[str]:
        """Background jobs; their handles."""
        name = function.encode()
        return [
            self.client.submit(
                name, b"%d" % number, b"%s-%d" % (name[-20:], number), P.SUBMIT_JOB_BG
            ).decode()
            for number in range(count)
        ]

    def ended(self, function: str, count: int = 1, how: P = P.WORK_FAIL) -> list[str]:
        """Jobs that have ended so."""
        handles = self.submit(function, count)
        with WirePeer(self.server.port) as worker:
            worker.can_do(function.encode())
            for _ in range(count):
                worker.send(how, worker.grab_soon().handle, *([b"it is so"] if how != P.WORK_FAIL else []))
            worker.sync()
        return handles

    def settings(self, function: str) -> list[str]:
        """What C{functions} says of one; nothing if it does not list it."""
        rows = self.server.list(f"functions function={function}")
        return rows[0] if rows else []

    def jobs(self, words: str) -> list[str]:
        """The handles of those that a list has."""
        return [row[0] for row in self.server.list(words)]

    def fact(self, command: str, name: str) -> str:
        """A value of a thing that a text command tells all of."""
        return next(value for fact, value, *_ in self.server.list(command) if fact == name)

    def until(self, is_so: Callable[[], object]) -> None:
        """Wait until the server is so."""

        def looked() -> object:
            # The browser has its turns meanwhile, and its news are heard.
            self.page.wait_for_timeout(10)
            return is_so()

        wait_until(looked, what="what was done")

    def select(self, *handles: str) -> Locator:
        """Mark rows; what can be done with them."""
        for handle in handles:
            self.page.get_by_role("checkbox", name=f"Select {handle}", exact=True).check()
        return self.page.get_by_role("group", name="With the selected jobs")

    def all_that_match(self) -> Locator:
        """What can be done with all that match."""
        self.page.get_by_text("Do something to all that match").click()
        return self.page.get_by_role("group", name="With all that match")

    def confirm(self, button: str) -> None:
        """See how many there are, say yes, and see the end of it."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(re.compile(r"Task \d+"))
        self.press(button)
        self.ended_well()

    def ended_well(self) -> None:
        """The page of a task shows its end."""
        facts = self.page.locator("#head")
        expect(facts).to_contain_text("Ended")
        expect(facts).to_contain_text("done")


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


# A function


@act("/functions/<name>/pause", "/functions/<name>/resume")
def pause(at: Stage) -> None:
    at.submit("f.pause")
    at.open("/functions/f.pause")
    at.press("Pause")
    at.until(lambda: at.settings("f.pause")[7] == "yes")
    at.done("It is paused")
    at.press("Resume")
    at.until(lambda: at.settings("f.pause")[7] == "no")
    at.done("It is not paused")


@act("/functions/<name>/create", "/functions/<name>/drop")
def keep_and_forget(at: Stage) -> None:
    handle = at.submit("f.keep")[0]
    at.open("/functions/f.keep")
    at.press("Keep when unused")
    at.done("It stays")
    at.order(f"cancel job {handle}")
    assert at.settings("f.keep")
    at.press("Forget", sure="Yes, forget")
    at.until(lambda: not at.settings("f.keep"))
    expect(at.page).to_have_url(f"{at.tab.base}/")
    at.done("forgotten")


@act("/functions/<name>/purge")
def purge(at: Stage) -> None:
    at.submit("f.purge", 3)
    at.submit("f.purge.not", 1)
    at.open("/functions/f.purge")
    at.press("Purge", sure="No, leave it")
    assert len(at.jobs("jobs function=f.purge")) == 3
    at.press("Purge", sure="Yes, purge")
    at.until(lambda: at.jobs("jobs function=f.purge") == [])
    assert len(at.jobs("jobs function=f.purge.not")) == 1
    at.done("3 jobs")


@act("/functions/<name>/maxqueue")
def bounds(at: Stage) -> None:
    at.submit("f.bounds")
    at.open("/functions/f.bounds")
    at.page.get_by_label("High priority").fill("7")
    at.page.get_by_label("Low priority").fill("2")
    at.press("Set the bounds")
    at.done()
    assert at.settings("f.bounds")[8] == '{"high":7,"normal":0,"low":2}'


@act("/functions/<name>/submit")
def job_by_hand(at: Stage) -> None:
    at.submit("f.submit")
    page = at.open("/functions/f.submit")
    page.get_by_label("Workload, as text").fill("one\n\u00e4")
    page.get_by_label("Unique").fill("by hand")
    page.get_by_role("combobox", name="Priority").select_option("high")
    at.press("Submit")
    at.until(lambda: len(at.jobs("jobs function=f.submit")) == 2)
    new = next(row for row in at.server.list("jobs function=f.submit") if row[3] == "high")
    assert new[7] == "by\\x20hand"
    assert at.operator.workload(new[0]) == "one\\x0a\u00e4"
    expect(page.get_by_role("heading", level=1)).to_contain_text(new[0])
    at.done()


# The list of jobs


@act("/jobs cancel", "/jobs prioritise", "/jobs move")
def some_jobs(at: Stage) -> None:
    first, second, third = at.submit("s.jobs", 3)
    page = at.open("/jobs?function=s.jobs")
    group = at.select(first, third)
    group.get_by_label("Priority").select_option("high")
    at.press("Set", group)
    at.until(lambda: [at.operator.job(each).facts["priority"] for each in (first, third)] == ["high"] * 2)
    assert at.operator.job(second).facts["priority"] == "normal"
    at.done("2 jobs")
    group = at.select(second)
    group.get_by_label("Function").fill("s.moved")
    at.press("Move", group)
    at.until(lambda: at.jobs("jobs function=s.moved") == [second])
    expect(page.get_by_role("row", name=second)).to_have_count(0)
    at.press("Cancel", at.select(first), sure="Yes, cancel 1")
    at.until(lambda: at.jobs("jobs function=s.jobs") == [third])
    at.done("1 job is cancelled")


@act("/jobs forget")
def some_kept_jobs(at: Stage) -> None:
    first, second = at.ended("kept.some", 2, P.WORK_COMPLETE)
    at.open("/jobs?of=kept&function=kept.some")
    at.press("Forget", at.select(second), sure="Yes, forget 1")
    at.until(lambda: at.jobs("kept function=kept.some") == [first])
    at.done("1 job is forgotten")


@act("/jobs prioritise all", "/jobs move all", "/jobs cancel all", "/tasks/<number>/confirm")
def all_jobs(at: Stage) -> None:
    count = 2_000
    handles = at.submit("a.jobs", 3)
    at.client.send_raw(b"".join(bulk(b"a.jobs", number) for number in range(count - 3)))
    for _ in range(count - 3):
        at.client.expect(P.JOB_CREATED)
    others = at.submit("b.jobs", 2)
    at.open("/jobs?function=a.jobs")
    group = at.all_that_match()
    group.get_by_label("Priority").select_option("low")
    at.press("Set for all", group)
    expect(at.page.get_by_role("button", name="Give 2,000 jobs low priority")).to_be_visible()
    # Nothing is done before one says so.
    assert at.operator.job(handles[0]).facts["priority"] == "normal"
    at.confirm("Give 2,000 jobs low priority")
    expect(at.page.locator("#progress")).to_contain_text("2,000")
    assert at.operator.job(handles[0]).facts["priority"] == "low"

    at.open("/jobs?function=a.jobs")
    group = at.all_that_match()
    group.get_by_label("Function").fill("c.jobs")
    at.press("Move all", group)
    at.confirm("Move 2,000 jobs to c.jobs")
    assert at.server.status("c.jobs") == (count, 0, 0)
    assert at.server.status("b.jobs") == (2, 0, 0)

    at.open("/jobs?function=c.jobs")
    at.press("Cancel all", at.all_that_match())
    at.confirm("Cancel 2,000 jobs")
    assert at.server.unused("c.jobs")
    assert at.jobs("jobs function=b.jobs") == others


@act("/jobs forget all")
def all_kept_jobs(at: Stage) -> None:
    at.ended("kept.all", 3, P.WORK_COMPLETE)
    at.open("/jobs?of=kept&function=kept.all")
    at.press("Forget all", at.all_that_match())
    at.confirm("Forget 3 jobs")
    assert at.jobs("kept function=kept.all") == []


def bulk(function: bytes, number: int) -> bytes:
    """A packet that submits a job."""
    body = function + b"\0\0%d" % number
    return b"\0REQ" + P.SUBMIT_JOB_BG.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body


@act("/tasks/<number>/stop", "/tasks/<number>/again")
def stop_a_task(at: Stage) -> None:
    """A task that takes long is stopped; a count is made once more."""
    handles = at.submit("t.jobs", 2)
    at.open("/jobs?function=t.jobs")
    at.press("Cancel all", at.all_that_match())
    expect(at.page.get_by_role("button", name="Cancel 2 jobs")).to_be_visible()
    at.order(f"cancel job {handles[0]}")
    at.press("Count again")
    expect(at.page.get_by_role("button", name="Cancel 1 job")).to_be_visible()
    assert at.jobs("jobs function=t.jobs") == handles[1:]

    many = 60_000
    at.client.send_raw(b"".join(bulk(b"t.many", number) for number in range(many)))
    for _ in range(many):
        at.client.expect(P.JOB_CREATED)
    at.open("/jobs?function=t.many")
    at.press("Cancel all", at.all_that_match())
    at.press("Cancel 60,000 jobs")
    # At once: it would end within a second or two.
    at.page.get_by_role("button", name="Stop", exact=True).click(force=True)
    expect(at.page.locator("#head")).to_contain_text("stopped")
    number = at.page.url.rpartition("/")[2]
    row = next(row for row in at.server.list("tasks") if row[0] == number)
    assert row[2] == "stopped"
    left = at.server.status("t.many")
    assert left is not None
    assert left[0] == many - int(row[6])
    assert left[0] > 0
    at.order("purge t.many")
    at.until(lambda: at.server.unused("t.many"))


# One job


@act("/jobs/<handle>/requeue", "/jobs/<handle>/prioritise", "/jobs/<handle>/move")
def one_job(at: Stage) -> None:
    """One that is dead gets another function and priority, and its attempts; one that waits begins now."""
    dead = at.ended("dead.one")[0]
    page = at.open(f"/jobs/{dead}")
    acts = page.get_by_role("main")
    acts.get_by_label("Priority").select_option("high")
    at.press("Set")
    at.until(lambda: at.operator.job(dead).facts["priority"] == "high")
    acts.get_by_label("Function").fill("dead.other")
    at.press("Move")
    at.until(lambda: at.operator.job(dead).facts["function"] == "dead.other")
    assert at.operator.state(dead) == "dead"
    at.press("Queue again")
    at.until(lambda: at.operator.state(dead) == "queued")
    at.done("queued")
    retried = at.ended("later.one")[0]
    assert at.operator.state(retried) == "waiting"
    at.open(f"/jobs/{retried}")
    at.press("Begin at once")
    at.until(lambda: at.operator.state(retried) == "queued")
    at.done("queued")


@act("/jobs/<handle>/cancel", "/jobs/<handle>/forget")
def end_of_a_job(at: Stage) -> None:
    handle, other = at.submit("e.cancel", 2)
    at.open(f"/jobs/{handle}")
    at.press("Cancel", sure="No, leave it")
    assert at.operator.state(handle) == "queued"
    at.press("Cancel", sure="Yes, cancel")
    at.until(lambda: at.jobs("jobs function=e.cancel") == [other])
    at.done()
    dead, stays = at.ended("dead.forget", 2)
    at.open(f"/jobs/{dead}")
    at.press("Forget", sure="Yes, forget")
    at.until(lambda: at.operator.dead("dead.forget") == [stays])
    at.done("forgotten")


@act("/jobs/<handle>/edit")
def edited(at: Stage) -> None:
    """What is made of a dead job is another one, and each of them leads to the other."""
    dead = at.ended("dead.edit")[0]
    page = at.open(f"/jobs/{dead}")
    page.get_by_role("link", name="Copy with changes").click()
    page.get_by_label("This text").check()
    page.get_by_role("textbox", name="Text", exact=True).fill('{"to": "somebody else"}')
    page.get_by_role("textbox", name="Function").fill("dead.edited")
    at.press("Submit the copy")
    at.until(lambda: at.jobs("jobs function=dead.edited"))
    at.done()
    copy = at.jobs("jobs function=dead.edited")[0]
    assert at.operator.workload(copy) == '{"to": "somebody else"}'
    assert at.operator.workload(dead) == "0"
    assert at.operator.state(dead) == "dead"
    expect(page.get_by_role("heading", level=1)).to_contain_text(copy)
    page.get_by_role("main").get_by_role("link", name=dead, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(dead)
    page.get_by_role("main").get_by_role("link", name=copy, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(copy)


# The dead, and reviews


@act("/dead requeue", "/dead move", "/dead review", "/dead forget")
def some_dead(at: Stage) -> None:
    requeued, moved, reviewed, forgotten, stays = at.ended("dead.some", 5)
    at.open("/dead?function=dead.some")
    at.press("Queue again", at.select(requeued))
    at.until(lambda: at.operator.state(requeued) == "queued")
    group = at.select(moved)
    group.get_by_label("Function").fill("dead.some.moved")
    at.press("Move", group)
    at.until(lambda: at.operator.dead("dead.some.moved") == [moved])
    group = at.select(reviewed)
    group.get_by_label("Review").fill("some")
    at.press("Set aside", group)
    at.until(lambda: at.jobs("dead review=some") == [reviewed])
    at.press("Forget", at.select(forgotten), sure="Yes, forget 1")
    at.until(lambda: at.operator.dead("dead.some") == [stays])
    at.done("1 job is forgotten")


@act("/dead requeue all", "/dead forget all", "/dead review all", "/dead move all")
def dead_groups(at: Stage) -> None:
    """All of a function that died of one thing, and all that match."""
    failed = at.ended("dead.group", 3)
    raised = at.ended("dead.group", 2, P.WORK_EXCEPTION)
    page = at.open("/dead?function=dead.group")
    group = page.get_by_role("group", name="With all of dead.group that died of fail")
    group.get_by_role("button", name="Queue again").click()
    at.confirm("Queue again 3 jobs")
    assert at.jobs("jobs function=dead.group") == failed
    assert at.operator.dead("dead.group") == raised

    aside = at.ended("dead.aside", 2)
    at.open("/dead?function=dead.aside")
    every = at.all_that_match()
    every.get_by_label("Review").fill("aside")
    at.press("Set all aside", every)
    at.confirm("Set 2 jobs aside in aside")
    assert at.jobs("dead review=aside") == aside

    at.open("/dead?function=dead.group")
    every = at.all_that_match()
    every.get_by_label("Function").fill("dead.away")
    at.press("Move all", every)
    at.confirm("Move 2 jobs to dead.away")
    page = at.open("/dead?function=dead.away")
    group = page.get_by_role("group", name="With all of dead.away that died of exception")
    group.get_by_role("button", name="Forget").click()
    at.confirm("Forget 2 jobs")
    assert at.operator.dead("dead.away") == []


@act(
    "/reviews/<name> requeue",
    "/reviews/<name> move",
    "/reviews/<name> put-back",
    "/reviews/<name> forget",
)
def some_of_a_review(at: Stage) -> None:
    """They are looked at one by one."""
    requeued, moved, back, forgotten, stays = at.ended("dead.review", 5)
    at.order("review dead one-by-one function=dead.review")
    at.until(lambda: len(at.jobs("dead review=one-by-one")) == 5)
    at.open("/reviews/one-by-one")
    at.press("Put back", at.select(back))
    at.until(lambda: at.operator.dead("dead.review") == [back])
    at.press("Queue again", at.select(requeued))
    at.until(lambda: at.operator.state(requeued) == "queued")
    group = at.select(moved)
    group.get_by_label("Function").fill("dead.review.moved")
    at.press("Move", group)
    at.until(lambda: at.operator.job(moved).facts["function"] == "dead.review.moved")
    at.press("Forget", at.select(forgotten), sure="Yes, forget 1")
    at.until(lambda: at.operator.find(forgotten) is None)
    at.done("1 job is forgotten")
    assert set(at.jobs("dead review=one-by-one")) <= {stays, moved}


def _has(at: Stage, words: str, count: int) -> bool:
    return len(at.jobs(words)) == count


@act(
    "/reviews/<name> requeue all",
    "/reviews/<name> move all",
    "/reviews/<name> put-back all",
    "/reviews/<name> forget all",
)
def all_of_a_review(at: Stage) -> None:
    for number, (button, order) in enumerate(
        (
            ("Move all", "Move 2 jobs to dead.batch.moved"),
            ("Put back all", "Put back 2 jobs"),
            ("Queue again all", "Queue again 2 jobs"),
            ("Forget all", "Forget 2 jobs"),
        )
    ):
        name = f"dead.batch.{number}"
        handles = at.ended(name, 2)
        at.order(f"review dead batch-{number} function={name}")
        aside = f"dead review=batch-{number}"
        wait_until(partial(_has, at, aside, 2), what=aside)
        at.open(f"/reviews/batch-{number}")
        every = at.all_that_match()
        if button == "Move all":
            every.get_by_label("Function").fill("dead.batch.moved")
        at.press(button, every)
        at.confirm(order)
        states = [at.operator.state(handle) for handle in handles]
        assert states == [{"Queue again all": "queued", "Forget all": ""}.get(button, "dead")] * 2
        if button == "Put back all":
            assert at.operator.dead(name) == handles


# Workers, schedules

WORKER: Final = """
import sys
from twisted.internet.task import react
from txgear import Worker

async def main(reactor):
    worker = Worker(reactor, [sys.argv[1]], client_id="steered")
    worker.function("w.steered")(lambda job: job.workload)
    worker.on_word("restart", lambda _: print("restarted", flush=True))
    worker.startService()
    await worker.when_stopped()

react(main)
"""


@act(
    "/workers/<descriptor>/tell pause",
    "/workers/<descriptor>/tell resume",
    "/workers/<descriptor>/tell grow",
    "/workers/<descriptor>/tell shrink",
    "/workers/<descriptor>/tell restart",
    "/workers/<descriptor>/tell unregister",
    "/workers/<descriptor>/tell register",
    "/workers/<descriptor>/tell stop",
)
def steered(at: Stage) -> None:
    """A worker of txgear's own does what it is told."""
    worker = Program([sys.executable, "-c", WORKER, f"tcp:127.0.0.1:{at.server.port}"], at.folder, "worker")
    try:
        at.server.wait_for_workers("w.steered")
        at.open("/workers?function=w.steered")
        at.page.get_by_role("main").get_by_role("link", name="steered", exact=True).click()
        at.press("Pause")
        at.done()
        handle = at.submit("w.steered")[0]
        expect(at.page.locator("#facts")).to_contain_text("paused")
        assert at.operator.state(handle) == "queued"
        at.press("Go on")
        at.until(lambda: at.operator.state(handle) == "")
        for button, done, concurrency in (("Grow", "grown", "2"), ("Shrink", "shrunk", "1")):
            at.press(button)
            at.done(done)
            assert at.fact("worker steered", "concurrency") == concurrency
        at.press("Restart")
        wait_until(lambda: worker.stdout == b"restarted\n", what="the new process")
        at.press("Unregister w.steered")
        at.until(lambda: at.server.unused("w.steered"))
        at.press("Register w.steered")
        at.until(lambda: at.fact("worker steered", "functions") == "1")
        # It counts as another worker until the page knows of it.
        expect(at.page.get_by_role("button", name="Unregister w.steered")).to_be_visible()
        at.press("Stop", sure="Yes, stop")
        at.done("stops")
        assert worker.wait() == 0
        at.until(lambda: at.server.unused("w.steered"))
    finally:
        worker.stop()


@act("/workers/<descriptor>/tell disconnect")
def disconnected(at: Stage) -> None:
    worker = at.server.connect()
    worker.can_do(b"w.gone")
    handle = at.submit("w.gone")[0]
    worker.grab_soon()
    at.open("/workers?function=w.gone")
    at.page.get_by_role("main").get_by_role("row").nth(1).get_by_role("link").first.click()
    at.press("End its connection", sure="Yes, end its connection")
    at.done("ended")
    worker.read_to_end()
    at.until(lambda: at.operator.state(handle) == "queued")


@act("/schedules/run")
def run_now(at: Stage) -> None:
    at.open("/schedules")
    at.press("Run now yearly")
    at.until(lambda: len(at.jobs("jobs function=by.clock")) == 1)
    at.done()


# The server


def apart(at: Stage, browser: Browser, *options: str) -> tuple[Server, Tab]:
    """Another server, for what ends it."""
    web = free_port()
    server = Server(at.folder, f"--web=tcp:{web}:interface=127.0.0.1", *options)
    return server, Tab(browser, f"http://127.0.0.1:{web}", LOOKS[0])


def end(at: Stage, button: str) -> None:
    browser = at.tab.page.context.browser
    assert browser is not None
    server, tab = apart(at, browser, "--allow-shutdown")
    try:
        worker = server.connect()
        worker.can_do(b"last")
        client = server.connect()
        client.submit(b"last")
        job = worker.grab_soon()
        page = tab.open("/server")
        page.get_by_role("button", name=button, exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name=f"Yes, {button[0].lower()}{button[1:]}").click()
        expect(page.locator("#notes .note")).to_contain_text(
            "drains" if button == "Drain and end" else "ends"
        )
        if button == "Drain and end":
            expect(page.locator("#state")).to_contain_text("drains")
            client.send(P.SUBMIT_JOB, b"last", b"", b"")
            assert b"shutting down" in client.expect(P.ERROR).body
            worker.complete(job)
            client.expect(P.WORK_COMPLETE)
        assert server.wait() == 0
        at.tab.posts += tab.posts
    finally:
        tab.close()
        server.stop()


@act("/server/end drain")
def drain(at: Stage) -> None:
    end(at, "Drain and end")


@act("/server/end now")
def end_at_once(at: Stage) -> None:
    end(at, "End at once")


@act("/sign-in", "/sign-out")
def sign_in_and_out(at: Stage) -> None:
    ann = Secret.new()
    rules = at.folder / "rules.toml"
    write_rules(rules, ann=ann)
    browser = at.tab.page.context.browser
    assert browser is not None
    audit = at.folder / "audit.log"
    server, tab = apart(at, browser, "--config", str(rules), f"--audit-log={audit}")
    try:
        page = tab.open("/workers?function=x")
        page.get_by_label("Token").fill(ann.token)
        page.get_by_role("button", name="Sign in").click()
        expect(page).to_have_url(f"{tab.base}/workers?function=x")
        wait_until(lambda: '"login"' in audit.read_text(), what="a login")
        before = page.context.cookies()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        assert '"logout"' in audit.read_text()
        # What was kept of it lets nobody in.
        page.context.add_cookies(before)  # type: ignore[arg-type]
        tab.open("/workers")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        at.tab.posts += tab.posts
    finally:
        tab.close()
        server.stop()


# All of them


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
