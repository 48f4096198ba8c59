"""What is done at the dashboard to functions, workers, schedules and the server, by what people see there."""

from __future__ import annotations

import sys
from typing import Final

from playwright.sync_api import Browser, expect

from browserpeer import Secret, write_rules
from browsing import LOOKS, Tab
from dashboardstage import Acts, Stage
from processes import Program, Server, free_port, wait_until
from wirepeer import P

ACTS: Final = Acts()


# A function


@ACTS.by("/functions/<name>/pause", "/functions/<name>/resume")
def pause(at: Stage) -> None:
    at.submit("f.pause")
    at.open("/functions/f.pause")
    at.press("Pause")
    at.until(lambda: at.settings("f.pause")[7] == "yes")
    at.done("It is paused")
    at.press("Resume")
    at.until(lambda: at.settings("f.pause")[7] == "no")
    at.done("It is not paused")


@ACTS.by("/functions/<name>/create", "/functions/<name>/drop")
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


@ACTS.by("/functions/<name>/purge")
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


@ACTS.by("/functions/<name>/maxqueue")
def bounds(at: Stage) -> None:
    at.submit("f.bounds")
    at.open("/functions/f.bounds")
    at.page.get_by_label("High priority").fill("7")
    at.page.get_by_label("Low priority").fill("2")
    at.press("Set the bounds")
    at.done()
    assert at.settings("f.bounds")[8] == '{"high":7,"normal":0,"low":2}'


@ACTS.by("/functions/<name>/submit")
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


@ACTS.by(
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


@ACTS.by("/workers/<descriptor>/tell disconnect")
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


@ACTS.by("/schedules/run")
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


@ACTS.by("/server/end drain")
def drain(at: Stage) -> None:
    end(at, "Drain and end")


@ACTS.by("/server/end now")
def end_at_once(at: Stage) -> None:
    end(at, "End at once")


@ACTS.by("/sign-in", "/sign-out")
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
