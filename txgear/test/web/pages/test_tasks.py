"""Tests of L{txgear.web.pages.tasks}: what is done to all jobs that match a filter."""

from __future__ import annotations

import json
from typing import cast

from txgear.broker.operators.bulkacts import KEPT_SECONDS, MOST_FAILURES
from txgear.errors import ServerError
from txgear.protocol.constants import LOW
from txgear.server.elsewhere import Elsewhere
from txgear.test.support.elsewhere import FakeElsewhere
from txgear.test.web.pages.test_jobs import BROWSER, HOSTILE, SCRIPT, PageTestCase


class TasksTestCase(PageTestCase):
    def count(self, *fields: tuple[str, str], of: str = "/jobs?function=f") -> str:
        """
        Have all jobs counted to which something is to be done.

        @return: the address of the page that tells of it, when it is done.
        """
        answer = self.send(of, ("to", "all"), *fields)
        self.assertEqual(answer.status, 303, answer.body)
        self.end()
        return answer.headers["Location"]

    def end(self) -> None:
        """Let the task end."""
        self.clock.pump([0.001] * 20)

    def confirm(self, target: str) -> str:
        answer = self.send(f"{target}/confirm")
        self.assertEqual(answer.status, 303, answer.body)
        return answer.headers["Location"]


class CourseTests(TasksTestCase):
    def test_it_is_counted_then_asked_then_done(self) -> None:
        jobs = [self.submit() for _ in range(3)]
        other = self.submit(b"g")
        preview = self.count(("act", "cancel"))
        self.assertEqual(preview, "/tasks/1")
        self.assertFalse(any(job.ended for job in jobs))
        html = self.see(preview)
        for said in (
            ">counted<",
            'All jobs that have not ended of functions that match <bdi class="mono">f</bdi>',
            "<code><bdi>jobs function=f</bdi></code>",
            '<button class="danger" formaction="/tasks/1/confirm">Cancel 3 jobs</button>',
            "Count again",
            '<a href="/jobs?function=f">Those that match now</a>',
            "Whoever waits for them hears that they failed.",
        ):
            self.assertIn(said, html)
        self.assertNotIn("<progress", html)
        begun = self.confirm(preview)
        self.assertEqual(begun, "/tasks/2")
        self.end()
        self.assertTrue(all(job.ended for job in jobs))
        self.assertFalse(other.ended)
        html = self.see(begun)
        self.assertIn(">done<", html)
        self.assertIn("<dt>Done</dt><dd>3</dd>", html)
        self.assertNotIn("<button", html.partition("<h1>")[2].partition("</h1>")[2])

    def test_other_servers_do_it_too(self) -> None:
        """What they do is counted, shown and waited for."""
        self.submit()
        elsewhere = FakeElsewhere()
        self.server.elsewhere = cast("Elsewhere", elsewhere)
        preview = self.count(("act", "cancel"))
        html = self.see(preview)
        self.assertNotIn("/confirm", html)
        self.assertIn("<bdi>b</bdi></th>", html)
        self.assertIn("under way", html)
        said = {
            "state": "done",
            "ended": True,
            "counted": True,
            "figures": [5, 5, 4, 0, 0, 0],
            "failures": [],
        }
        elsewhere.asked[0][2].callback([json.dumps(said).encode()])
        html = self.see(preview)
        self.assertIn('formaction="/tasks/1/confirm">Cancel 5 jobs</button>', html)
        self.assertIn(">ended<", html)
        begun = self.confirm(preview)
        self.end()
        elsewhere.asked[1][2].errback(ServerError("b does not answer", "NOT_ANSWERED"))
        html = self.see(begun)
        self.assertIn("<dt>Done</dt><dd>1</dd>", html)
        self.assertIn('<span class="badge warning">not done</span> <bdi>b does not answer</bdi>', html)

    def test_to_confirm_again_does_nothing_more(self) -> None:
        self.submit()
        preview = self.count(("act", "prioritise"), ("priority", "low"))
        self.assertIn("Give 1 job low priority", self.see(preview))
        self.assertEqual([self.confirm(preview), self.confirm(preview)], ["/tasks/2"] * 2)
        self.assertEqual(len(self.server.bulk_acts.all(self.server.seconds())), 2)
        html = self.see(preview)
        self.assertIn('<a href="/tasks/2">Task 2</a>', html)
        self.assertNotIn("/confirm", html)
        self.end()
        self.assertEqual(self.broker.table.jobs[1].priority, LOW)

    def test_without_a_filter_it_is_for_all(self) -> None:
        self.submit(b"f")
        self.submit(b"g")
        self.assertIn(
            "Move 2 jobs to h", self.see(self.count(("act", "move"), ("function", "h"), of="/jobs"))
        )

    def test_a_long_name(self) -> None:
        self.submit()
        html = self.see(self.count(("act", "move"), ("function", "x" * 1000)))
        self.assertIn(f"Move 1 job to {'x' * 79}…</button>", html)
        self.assertIn("x" * 1000, html)

    def test_it_is_counted_again(self) -> None:
        preview = self.count(("act", "cancel"))
        self.assertNotIn("/confirm", self.see(preview))
        self.submit()
        answer = self.send(f"{preview}/again")
        self.assertEqual(answer.headers["Location"], "/tasks/2")
        self.end()
        self.assertIn("Cancel 1 job</button>", self.see("/tasks/2"))

    def test_how_far_it_is_and_stopped(self) -> None:
        for _ in range(3):
            self.submit()
        self.send("/jobs", ("to", "all"), ("act", "cancel"))
        html = self.see("/tasks/1")
        self.assertIn("Waits for its turn", html)
        self.assertIn('<progress max="3" value="0">', html)
        self.assertEqual(self.send("/tasks/1/confirm", accept=SCRIPT).code, "not_counted")
        answer = self.send("/tasks/1/stop", accept=SCRIPT)
        self.assertEqual(answer.json, {"text": "The task is stopped", "to": "/tasks/1"})
        self.end()
        html = self.see("/tasks/1")
        self.assertIn(">stopped<", html)
        self.assertNotIn("/confirm", html)
        self.assertEqual(self.send("/tasks/1/stop", accept=SCRIPT).json["text"], "The task had ended")

    def test_failures(self) -> None:
        for _ in range(MOST_FAILURES + 1):
            self.submit()
            self.worker().grab()
        begun = self.confirm(self.count(("act", "move"), ("function", "<b>")))
        self.end()
        html = self.see(begun)
        self.assertIn(f"To which it could not be done, the first {MOST_FAILURES}", html)
        self.assertIn(f"<dt>Failed</dt><dd>{MOST_FAILURES + 1}</dd>", html)
        self.assertIn('<a href="/jobs/H%3Atest%3A1"><bdi>H:test:1</bdi></a>', html)
        self.assertIn("A worker has the job", html)
        self.assertNotIn("<b>", html)

    def test_kept_open(self) -> None:
        self.submit()
        client = self.connect()
        self.send("/jobs", ("to", "all"), ("act", "cancel"))
        client.ask_web("GET", "/tasks/1", {"Accept": "text/event-stream"})
        self.end()
        self.assertIn(b">counted<", client.heard())
        self.clock.advance(0.25)
        self.confirm("/tasks/1")
        self.clock.advance(0.25)
        self.clock.advance(0)
        self.assertIn(b"Task 2", client.heard())
        self.clock.advance(KEPT_SECONDS)
        self.clock.advance(0)
        self.assertIn(b"event: gone", client.heard())


class ListTests(TasksTestCase):
    def test_all_of_them(self) -> None:
        self.assertIn("There are no tasks.", self.see("/tasks"))
        self.submit(HOSTILE)
        preview = self.count(("act", "move"), ("function", "<b>"), of="/jobs?text=x&state=queued,waiting")
        self.confirm(preview)
        self.end()
        html = self.see("/tasks")
        self.assertNotIn("There are no tasks.", html)
        self.assertNotIn("<b>", html)
        newest, older = html.split("<tr")[2:]
        self.assertIn('<a href="/tasks/2">2</a>', newest)
        self.assertIn("Move to <bdi>&lt;b&gt;</bdi>", newest)
        self.assertIn("Count, to move to", older)
        self.assertIn("queued or waiting", older)

    def test_unknown(self) -> None:
        for number in ("1", "x", "%C2%B2", "-1", "9" * 30):
            self.see(f"/tasks/{number}", 404)
            self.assertEqual(self.send(f"/tasks/{number}/stop", accept=SCRIPT).code, "unknown_task")


class RightsTests(TasksTestCase):
    def test_others_are_not_seen_and_not_confirmed(self) -> None:
        self.submit()
        self.count(("act", "cancel"))
        self.allow("http", "see", "cancel")
        self.see("/tasks/1", 404)
        self.assertIn("There are no tasks.", self.see("/tasks"))
        self.allow("http", "see", "cancel", "peers")
        self.assertNotIn("/confirm", self.see("/tasks/1"))
        answer = self.send("/tasks/1/confirm", accept=SCRIPT)
        self.assertEqual((answer.status, answer.code), (409, "not_yours"))

    def test_rights_are_asked_for_again(self) -> None:
        self.submit()
        self.allow("http", "see", "move")
        preview = self.count(("act", "move"), ("function", "g"))
        self.assertIn("/confirm", self.see(preview))
        self.deny("move", function="g")
        self.assertNotIn("/confirm", self.see(preview))
        answer = self.send(f"{preview}/confirm", accept=SCRIPT)
        self.assertEqual(answer.status, 403)
        self.assertEqual(len(self.server.bulk_acts.all(self.server.seconds())), 1)

    def test_no_page_without_a_form(self) -> None:
        self.submit()
        preview = self.count(("act", "cancel"))
        headers = {**BROWSER, "Content-Type": "application/x-www-form-urlencoded"}
        self.assertEqual(self.ask("POST", f"{preview}/confirm", headers, b"").status, 403)
        self.assertEqual(len(self.broker.table.jobs), 1)
