"""What is done to jobs at the dashboard, by what a person sees there."""

from __future__ import annotations

from functools import partial
from typing import Final

from playwright.sync_api import expect

from dashboardstage import Acts, Stage
from processes import wait_until
from wirepeer import P

ACTS: Final = Acts()


# The list of jobs


@ACTS.by("/jobs cancel", "/jobs prioritise", "/jobs move")
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


@ACTS.by("/jobs forget")
def some_kept_jobs(at: Stage) -> None:
    first, second = at.ended("kept.some", 2, P.WORK_COMPLETE)
    at.open("/jobs?of=kept&function=kept.some")
    at.press("Forget", at.select(second), sure="Yes, forget 1")
    at.until(lambda: at.jobs("kept function=kept.some") == [first])
    at.done("1 job is forgotten")


@ACTS.by("/jobs prioritise all", "/jobs move all", "/jobs cancel all", "/tasks/<number>/confirm")
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


@ACTS.by("/jobs forget all")
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


@ACTS.by("/tasks/<number>/stop", "/tasks/<number>/again")
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


@ACTS.by("/jobs/<handle>/requeue", "/jobs/<handle>/prioritise", "/jobs/<handle>/move")
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


@ACTS.by("/jobs/<handle>/cancel", "/jobs/<handle>/forget")
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


@ACTS.by("/jobs/<handle>/edit")
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


@ACTS.by("/dead requeue", "/dead move", "/dead review", "/dead forget")
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


@ACTS.by("/dead requeue all", "/dead forget all", "/dead review all", "/dead move all")
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


@ACTS.by(
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


@ACTS.by(
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
