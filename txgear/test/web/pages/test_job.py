"""Tests of L{txgear.web.pages.job}, C{jobcontent} and C{story}: the page of one job."""

from __future__ import annotations

import html
import json
import re
from typing import Any
from urllib.parse import quote

from txgear.broker.model import Job
from txgear.broker.rights import HTTP, PEERS, READ, SEE
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import (
    SUBMIT_JOB_EPOCH,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
)
from txgear.protocol.packets import request
from txgear.protocol.traces import Trace
from txgear.test.support.journal import FaultyStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.support.web import WebAnswer, WebPeer, WebTestCase
from txgear.web.events import readers
from txgear.web.pages import dashboard
from txgear.web.pages.jobcontent import AGAIN_SECONDS, PATIENCE

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
EVENTS = {"Accept": "text/event-stream"}
PAGE = "/jobs/H:test:1"
HOSTILE = b"<script>\"'\\xff\xff\n\x1b[2J\xe2\x80\xae/..%2F?#&"


def seen(markup: bytes | str) -> str:
    """What is read of a page, in one line."""
    text = markup if isinstance(markup, str) else markup.decode()
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


class JobPageTestCase(WebTestCase):
    parts = (dashboard, readers)

    def policy(self, **settings: Any) -> None:
        policies = Policies([("*", CLASSIC.with_settings(settings))])
        self.broker.operations.set_policies(policies, self.clock.seconds())

    def submit(
        self, workload: bytes = b"work", function: bytes = b"f", unique: bytes = b"", **rest: Any
    ) -> Job:
        now = self.clock.seconds()
        job: Job = self.broker.submit(None, function, unique, workload, now, background=True, **rest)
        return job

    def page(self, target: str = PAGE) -> WebAnswer:
        client = self.connect()
        client.ask_web("GET", target, {**self.headers, **BROWSER})
        self.clock.advance(0)
        answer = client.web_answer()
        self.assertEqual(answer.status, 200, answer.body)
        return answer

    def section(self, name: str, target: str = PAGE) -> str:
        """What is read in a part of the page."""
        body = self.page(target).body.decode()
        return seen(body.partition(f'id="{name}"')[2].partition("</section>")[0].partition(">")[2])


class PageTests(JobPageTestCase):
    def test_one_that_is_queued(self) -> None:
        self.submit(priority=2, reducer=b"r", unique=b"u 1", settings={"timeout": 3})
        text = seen(self.page().body)
        for words in (
            "Job H:test:1 queued of f",
            "Submitted for the background",
            "It waits for a worker",
            "Priority low",
            "Reducer r",
            "Unique u 1",
            "timeout An attempt may take 3 s. The job's own.",
            "Nobody. It is done all the same.",
            "There is none yet.",
        ):
            self.assertIn(words, text)
        self.assertIn('href="/jobs?unique=u+1&amp;function=f"', self.page().body.decode())

    def test_its_trace(self) -> None:
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        self.submit(trace=Trace(parent))
        self.assertIn(f"Trace {parent}", self.section("facts"))
        self.submit()
        self.assertNotIn("Trace", self.section("facts", "/jobs/H:test:2"))

    def test_one_that_runs(self) -> None:
        self.policy(timeout=60)
        self.submit()
        worker = self.worker()
        handle, *_ = worker.grab()
        worker.say(WORK_STATUS, handle, b"3", b"4")
        text = self.section("timeline")
        for words in ("Running", "3 of 4", "Its time is over in 60 s", "At the worker"):
            self.assertIn(words, text)
        self.assertIn('max="4" value="3"', self.page().body.decode())
        self.assertRegex(self.page().body.decode(), r'href="/workers/\d+"')
        self.assertIn("From the rule for * .", self.section("settings"))

    def test_its_attempts(self) -> None:
        self.policy(retries=1, backoff=30, dead=60)
        self.submit()
        worker = self.worker()
        worker.say(WORK_EXCEPTION, worker.grab()[0], HOSTILE)
        text = self.section("timeline")
        self.assertIn("Attempt 1: its worker told of an exception After 0.0 ms", text)
        self.assertIn("Waits for its next attempt It begins in 30 s", text)
        body = self.page().body
        self.assertNotIn(b'<script>"', body)
        self.assertNotIn(b"\x1b", body)
        self.clock.advance(30)
        worker.say(WORK_FAIL, worker.grab()[0])
        text = self.section("timeline")
        self.assertIn("Attempt 2: its worker said that it failed", text)
        self.assertIn("Dead: it has failed, and no attempt is left", text)
        self.assertIn("Forgotten in 60 s", text)

    def test_who_waits(self) -> None:
        client = self.fixture.connect()
        client.tell(request(7, b"f", b"", b"x"))
        text = self.section("waiters")
        self.assertIn("1 client waits for it. 192.0.2.1 connection 1", text)

    def test_one_that_is_done(self) -> None:
        self.policy(results=60)
        self.submit()
        worker = self.worker()
        handle, *_ = worker.grab()
        worker.say(WORK_DATA, handle, b"some ")
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertIn("Done", self.section("timeline"))
        text = self.section("result")
        self.assertIn("11 B; the first 5 bytes came with WORK_DATA", text)
        self.assertIn("some result", text)
        self.assertIn("its workload is not kept", self.section("workload"))
        self.assertNotIn('id="output"', self.page().body.decode())

    def test_there_is_no_such_job(self) -> None:
        answer = self.ask("GET", PAGE, BROWSER)
        self.assertEqual(answer.status, 404)
        self.submit()
        for query in ("workload=xml", "result=1", "workload=text&workload=hex", "form=text"):
            self.assertEqual(self.ask("GET", f"{PAGE}?{query}", BROWSER).status, 400, query)

    def test_hostile_names(self) -> None:
        self.submit(HOSTILE, HOSTILE, HOSTILE[:60], reducer=HOSTILE[:60])
        for form in ("", "text", "json", "php", "hex"):
            body = self.page(f"{PAGE}?workload={form}").body
            self.assertEqual(body.count(b"<script"), 2, form)
            self.assertNotIn(b"\x1b", body.partition(b'id="workload"')[2])

    def test_copies(self) -> None:
        original = self.submit()
        self.broker.operations.link_copy(original, self.submit())
        self.assertIn("Copies H:test:2", self.section("facts"))
        self.assertIn("Copy of H:test:1", self.section("facts", "/jobs/H:test:2"))

    def test_rights(self) -> None:
        client = self.fixture.connect()
        client.tell(request(7, b"f", b"", b"a secret"))
        worker = self.worker()
        worker.grab()
        self.allow(HTTP, SEE)
        body = self.page().body.decode()
        self.assertNotIn("secret", body)
        self.assertNotIn("192.0.2", body)
        self.assertNotIn("data-events", body)
        self.assertNotIn('<button class="danger"', body)
        self.assertIn("You may not read what jobs of this function carry and bring.", seen(body))
        self.assertIn("You may not see who is connected.", seen(body))
        self.allow(HTTP, SEE, READ, PEERS)
        self.assertIn("secret", self.page().body.decode())
        self.allow(HTTP, READ)
        self.assertEqual(self.ask("GET", PAGE, {**self.headers, **BROWSER}).status, 404)


class PayloadTests(JobPageTestCase):
    def test_each_form(self) -> None:
        self.submit(b'{"a": [1, 2], "a": 1E999}')
        for form, words in (
            ("", '{"a"'),
            ("text", '{"a": [1, 2], "a": 1E999}'),
            ("json", "object 2 a : array 2 1 2 a : 1E999"),
            ("php", "This is not what PHP's serialize() makes: a value is wanted, at byte 0."),
            ("hex", "00000000 7b 22 61 22"),
        ):
            if form:
                self.assertIn(words, self.section("workload", f"{PAGE}?workload={form}"))
        self.assertIn('aria-current="true">JSON', self.page().body.decode())

    def test_download(self) -> None:
        self.policy(results=60)
        self.submit(b"<script>")
        answer = self.ask("GET", f"{PAGE}/workload", BROWSER)
        self.assertEqual(answer.body, b"<script>")
        for name, value in (
            ("Content-Type", "application/octet-stream"),
            ("Content-Disposition", 'attachment; filename="H_test_1.workload"'),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.assertEqual(answer.headers[name], value)
        worker = self.worker()
        worker.say(WORK_COMPLETE, worker.grab()[0], b"<b>")
        answer = self.ask("GET", f"{PAGE}/result", BROWSER)
        self.assertEqual(
            (answer.body, answer.headers["Content-Disposition"], answer.headers["Content-Type"]),
            (b"<b>", 'attachment; filename="H_test_1.result"', "application/octet-stream"),
        )

    def test_one_that_is_long(self) -> None:
        self.submit(b"x" * 100_000)
        text = self.section("workload")
        self.assertIn("100 kB, of which the first 66 kB are shown", text)
        self.assertIn("There is more: download all of it", text)


class LiveTests(JobPageTestCase):
    def watch(self) -> WebPeer:
        client = self.connect()
        client.ask_web("GET", PAGE, EVENTS)
        self.clock.advance(0)
        client.heard()
        return client

    def change(self, client: WebPeer) -> dict[str, str]:
        """The parts that have changed, as they are read."""
        self.clock.advance(0.25)
        self.clock.advance(0)
        parts: dict[str, str] = {}
        for block in client.heard().decode().split("\n\n"):
            if "event: change" in block:
                parts.update(json.loads(block.partition("data: ")[2].partition("\n")[0])["parts"])
        return {name: seen(part) for name, part in parts.items()}

    def test_it_changes_as_the_job_does(self) -> None:
        self.policy(results=60)
        self.submit()
        client = self.watch()
        self.assertEqual(self.change(client), {})
        worker = self.worker()
        handle, *_ = worker.grab()
        parts = self.change(client)
        self.assertIn("Running", parts["timeline"])
        self.assertNotIn("workload", parts)
        worker.say(WORK_COMPLETE, handle, b"brought")
        parts = self.change(client)
        self.assertIn("brought", parts["result"])
        self.assertIn("its workload is not kept", parts["workload"])
        client.leave()
        self.assertEqual(self.server.guard._stand_ins, {})

    def test_one_of_which_nothing_is_kept(self) -> None:
        """The page that is open shows how it has ended."""
        self.submit()
        client = self.watch()
        worker = self.worker()
        worker.say(WORK_COMPLETE, worker.grab()[0], b"brought")
        parts = self.change(client)
        self.assertIn(
            "Done Nothing is kept of it: this page is the last that knows of it.", parts["timeline"]
        )
        self.assertEqual(parts["acts"], "")
        self.assertIn("Nobody any more", parts["waiters"])
        self.assertNotIn("Forgotten", parts["facts"])
        self.assertEqual(self.ask("GET", PAGE, BROWSER).status, 404)
        self.assertEqual(self.change(client), {})

    def test_one_that_is_forgotten(self) -> None:
        self.policy(results=60)
        self.submit()
        worker = self.worker()
        worker.say(WORK_COMPLETE, worker.grab()[0], b"brought")
        client = self.watch()
        self.broker.operations.forget(b"H:test:1")
        self.clock.advance(0.25)
        self.clock.advance(0)
        self.assertIn(b"event: gone", client.heard())

    def test_another_workload(self) -> None:
        job = self.submit()
        client = self.watch()
        self.broker.operations.correct(job, b"else", self.clock.seconds())
        self.assertIn("else", self.change(client)["workload"])

    def test_what_its_worker_says(self) -> None:
        """What is kept stands in the page, and what comes is told from there on."""
        self.policy(results=60)
        self.submit()
        worker = self.worker()
        handle, *_ = worker.grab()
        worker.say(WORK_DATA, handle, b"one\x1b")
        body = self.page().body.decode()
        self.assertIn('one<span class="odd">\\x1b</span></pre>', body)
        path = html.unescape(re.search(r'data-events="([^"]*)"', body)[1])  # type: ignore[index]
        place = re.search(r'data-place="([^"]*)"', body)[1]  # type: ignore[index]
        worker.say(WORK_DATA, handle, b"two")
        client = self.connect()
        client.ask_web("GET", f"{path}&last_event_id={quote(place)}", {})
        heard = client.heard()
        self.assertIn(b'event: data\ndata: {"text":"two"}', heard)
        self.assertNotIn(b'"one', heard)


class StoredTests(JobPageTestCase):
    """The workload lies in the store."""

    def setUp(self) -> None:
        self.store = FaultyStore()
        self.use(DurableServerFixture(self.store))
        self.fixture.thread.run_all()
        # Its time is far: nobody reads it ahead.
        self.fixture.connect().ask(request(SUBMIT_JOB_EPOCH, b"f", b"", b"99999999999", b"w" * 100))
        self.fixture.thread.run_all()
        self.use(DurableServerFixture(self.store))
        self.thread = self.fixture.thread

    def asked(self) -> WebPeer:
        client = self.connect()
        client.ask_web("GET", PAGE, BROWSER)
        while not self.server.broker.table.jobs:
            self.thread.run()
        self.clock.advance(0)
        return client

    def test_the_page_waits_for_it(self) -> None:
        client = self.asked()
        self.assertEqual((client.heard(), self.web.payloads.held), (b"", 100))
        self.thread.run_all()
        self.clock.advance(0)
        self.assertIn(b"w" * 100, client.web_answer().body)
        self.assertEqual(self.web.payloads.held, 0)

    def test_but_not_for_long(self) -> None:
        client = self.asked()
        self.clock.advance(PATIENCE)
        self.clock.advance(0)
        self.assertIn(b"It is being read from the store", client.web_answer().body)
        self.thread.run_all()
        self.assertEqual(self.web.payloads.held, 0)

    def test_one_that_cannot_be_read(self) -> None:
        self.store.unreadable = {1}
        client = self.connect()
        client.ask_web("GET", PAGE, EVENTS)
        for _ in range(2):
            self.thread.run_all()
            self.clock.advance(0)
        self.assertIn(b"It cannot be read now", client.heard())
        self.store.unreadable = set()
        for _ in range(4 * int(AGAIN_SECONDS)):
            self.clock.advance(0.5)
            self.clock.advance(0)
            self.thread.run_all()
        self.assertIn(b"w" * 100, client.heard())
