"""Tests of L{txgear.web.pages.jobedit} and C{jobacts}: what the page of a job does."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.ended.archive import history_of
from txgear.broker.operators.inspection import MOST_SHOWN
from txgear.broker.rights import HTTP, READ, SEE, SUBMIT
from txgear.broker.states import CANCELLED, DELAYED, QUEUED
from txgear.protocol.constants import HIGH, LOW, WORK_COMPLETE, WORK_FAIL
from txgear.test.support.extras import PROPERTY, given, st
from txgear.test.support.web import WebAnswer
from txgear.test.web.pages.test_job import BROWSER, PAGE, JobPageTestCase, seen
from txgear.web.pages.jobedit import CRLF, LF, as_typed, line_ends

EDIT = f"{PAGE}/edit"
SCRIPT = {"Accept": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
WORKLOADS = (b"", b"\n\na", b"a\r\nb", b"a\rb", b"\0\xff", b"<textarea>", b"a\nb\r\n", "ä".encode())


class LineTests(SynchronousTestCase):
    def test_how_lines_end(self) -> None:
        for text, ends in (
            ("", LF),
            ("one", LF),
            ("one\ntwo\n", LF),
            ("one\r\ntwo", CRLF),
            ("one\r\ntwo\n", None),
            ("one\rtwo", None),
            ("\0", None),
            ("\x1b", None),
            ("tab\t", LF),
        ):
            self.assertEqual(line_ends(text), ends, text)

    @PROPERTY
    @given(st.text(alphabet="a\r\n\t\0ä"))
    def test_there_and_back(self, text: str) -> None:
        """As a browser sends it."""
        if (ends := line_ends(text)) is not None:
            sent = re.sub("\r\n|\r|\n", "\r\n", text)
            self.assertEqual(as_typed(sent, ends), text)


class PostTestCase(JobPageTestCase):
    def post(self, target: str, accept: Mapping[str, str] = BROWSER, /, **fields: str) -> WebAnswer:
        """A form of a page, as a browser sends it."""
        page = self.ask("GET", "/jobs", BROWSER)
        visitor = page.headers["Set-Cookie"].partition(";")[0]
        token = page.body.decode().partition('name="form_token" value="')[2].partition('"')[0]
        headers = {**accept, "Cookie": visitor, "Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", target, headers, urlencode({"form_token": token, **fields}).encode())

    def done(self, target: str, **fields: str) -> str:
        """Where a browser is led after what was done."""
        answer = self.post(target, **fields)
        self.assertEqual(answer.status, 303, answer.body)
        return answer.headers["Location"]


class ActTests(PostTestCase):
    def test_begin_at_once(self) -> None:
        job = self.submit(delay=60.0)
        self.assertIn("Begin at once", seen(self.page().body))
        self.assertEqual(self.done(f"{PAGE}/requeue"), "/jobs/H%3Atest%3A1")
        self.assertEqual(job.state, QUEUED)
        self.assertNotIn("Begin at once", seen(self.page().body))
        self.assertEqual(self.post(f"{PAGE}/requeue").status, 409)

    def test_queue_again(self) -> None:
        self.policy(retries=0)
        job = self.submit()
        worker = self.worker()
        worker.say(WORK_FAIL, worker.grab()[0])
        worker.leave()
        self.assertIn("Queue again", seen(self.page().body))
        self.done(f"{PAGE}/requeue")
        self.assertEqual(job.state, QUEUED)

    def test_prioritise_and_move(self) -> None:
        job = self.submit()
        self.done(f"{PAGE}/prioritise", priority="high", function="f")
        self.done(f"{PAGE}/move", priority="high", function="g")
        self.assertEqual((job.priority, job.function.name), (HIGH, b"g"))
        for fields in ({"priority": "higher"}, {}):
            self.assertEqual(self.post(f"{PAGE}/prioritise", **fields).status, 400)
        self.assertEqual(self.post(f"{PAGE}/move").status, 400)
        self.assertEqual(self.post(f"{PAGE}/move", function="g").status, 409)

    def test_cancel_asks_first(self) -> None:
        job = self.submit()
        answer = self.post(f"{PAGE}/cancel")
        self.assertEqual(answer.status, 200)
        self.assertIn("Cancel the job H:test:1? It ends.", seen(answer.body))
        self.assertEqual(self.post(f"{PAGE}/cancel", SCRIPT).code, "not_sure")
        self.assertEqual(job.state, QUEUED)
        self.assertEqual(self.done(f"{PAGE}/cancel", sure="yes"), "/jobs")
        self.assertEqual(job.state, CANCELLED)
        self.assertEqual(self.post(f"{PAGE}/cancel", sure="yes").status, 404)

    def test_a_page_that_is_open_stays(self) -> None:
        self.submit()
        answer = self.post(f"{PAGE}/cancel", SCRIPT, sure="yes")
        self.assertEqual(answer.json, {"text": "The job is cancelled", "to": "/jobs/H%3Atest%3A1"})

    def test_forget(self) -> None:
        self.policy(results=60)
        self.submit()
        worker = self.worker()
        worker.say(WORK_COMPLETE, worker.grab()[0], b"r")
        worker.leave()
        self.assertIn("Forget the job H:test:1? Nothing", seen(self.post(f"{PAGE}/forget").body))
        self.assertEqual(self.done(f"{PAGE}/forget", sure="yes"), "/jobs")
        self.assertEqual(self.broker.archive.jobs, {})

    def test_without_its_token(self) -> None:
        self.submit()
        answer = self.ask("POST", f"{PAGE}/requeue", {**SCRIPT, **FORM}, b"")
        self.assertEqual(answer.status, 403)


class EditTests(PostTestCase):
    def fields(self, target: str = EDIT) -> dict[str, str]:
        """What the form has, as a browser would send it."""
        body = self.page(target).body.decode()
        found = {}
        for name, value in re.findall(r'<input name="(\w+)" value="([^"]*)"', body):
            found[name] = html.unescape(value)
        found["ends"] = re.search(r'name="ends" value="(\w+)"', body)[1]  # type: ignore[index]
        for name, value in re.findall(r'<textarea name="(\w+)"[^>]*>\n(.*?)</textarea>', body, re.DOTALL):
            found[name] = re.sub("\r\n|\r|\n", "\r\n", html.unescape(value))
        for chosen in re.findall(r'name="as" value="(\w+)" checked', body):
            found["as"] = chosen
        found["priority"] = re.search(r"<option selected>(\w+)", body)[1]  # type: ignore[index]
        return found

    def copied(self, **changed: str) -> Any:
        """The copy, of the form with this changed."""
        target = self.done(EDIT, **{**self.fields(), **changed})
        return self.broker.table.jobs[int(target.rpartition("%3A")[2])]

    def test_what_is_not_changed_is_the_same(self) -> None:
        original = self.submit(b"one\ntwo\n", priority=LOW, settings={"timeout": 3, "retries": {"fail": 2}})
        copy = self.copied()
        for name in ("workload", "priority", "function"):
            self.assertEqual(getattr(copy, name), getattr(original, name), name)
        self.assertEqual(history_of(copy).settings, history_of(original).settings)
        self.assertEqual(history_of(copy).copy_of, "H:test:1")
        self.assertIn("Copies", self.section("facts"))

    def test_any_workload_comes_back_as_it_was(self) -> None:
        for workload in WORKLOADS:
            self.broker.operations.cancel(b"H:test:1", self.clock.seconds())
            self.start()
            self.submit(workload)
            self.assertEqual(self.copied().workload, workload)

    def test_what_is_changed(self) -> None:
        self.submit(b"one\r\ntwo", settings={"timeout": 3})
        copy = self.copied(
            function="g", priority="high", unique="u", delay="1m", workload="x\r\ny", policy=""
        )
        self.assertEqual((copy.function.name, copy.unique, copy.priority), (b"g", b"u", HIGH))
        self.assertEqual((copy.workload, copy.state, history_of(copy).settings), (b"x\r\ny", DELAYED, {}))
        copy = self.copied(**{"as": "base64", "base64": "/w==\r\n", "policy": '{"retries": 3}'})
        self.assertEqual((copy.workload, history_of(copy).settings), (b"\xff", {"retries": 3}))

    def test_one_that_is_too_long_is_kept(self) -> None:
        self.submit(b"x" * (MOST_SHOWN + 1))
        fields = self.fields()
        self.assertEqual((fields["as"], fields["workload"], fields["base64"]), ("keep", "", ""))
        self.assertEqual(len(self.copied().workload), MOST_SHOWN + 1)

    def test_one_whose_workload_is_not_kept(self) -> None:
        self.policy(results=60)
        self.submit()
        worker = self.worker()
        worker.say(WORK_COMPLETE, worker.grab()[0], b"r")
        worker.leave()
        self.assertIn("The workload of the job is not kept", seen(self.page(EDIT).body))
        self.assertEqual(self.copied(workload="again").workload, b"again")
        answer = self.post(EDIT, **{**self.fields(), "as": "keep"})
        self.assertEqual(answer.status, 409)
        self.assertIn("say which one the copy is to have", seen(answer.body))

    def test_what_is_wrong_is_said_and_nothing_is_lost(self) -> None:
        self.submit()
        fields = self.fields()
        for wrong, status, words in (
            ({"delay": "soon"}, 400, "delay: a time is wanted"),
            ({"priority": "higher"}, 400, "A priority is high, normal or low"),
            ({"as": "base64", "base64": "?"}, 400, "The workload is no Base64"),
            ({"policy": "{"}, 400, "The settings are wrong"),
            ({"policy": '{"timeout": "soon"}'}, 400, "timeout"),
            ({"unique": "u" * 65}, 400, "Unique value too large"),
            ({"as": "file"}, 400, "A workload is kept, or given"),
        ):
            answer = self.post(EDIT, **{**fields, "workload": "a long text", **wrong})
            self.assertEqual(answer.status, status, wrong)
            self.assertIn(words, seen(answer.body))
            self.assertIn(b"a long text", answer.body)
        answer = self.post(EDIT, SCRIPT, **{**fields, "delay": "soon"})
        self.assertEqual((answer.status, answer.code), (400, "invalid_argument"))
        self.assertEqual(self.ask("POST", EDIT, {**BROWSER, **FORM}, b"").status, 403)
        self.assertEqual([job.function.name for job in self.broker.table.jobs.values()], [b"f"])

    def test_one_that_is_there_already(self) -> None:
        self.submit(unique=b"u")
        self.assertEqual(self.done(EDIT, **{**self.fields(), "unique": "u"}), "/jobs/H%3Atest%3A1")
        answer = self.post(EDIT, SCRIPT, **{**self.fields(), "unique": "u"})
        self.assertEqual(answer.json["text"], "There is a job with this unique already: this is it")

    def test_rights(self) -> None:
        self.submit(b"a secret")
        self.allow(HTTP, SEE, SUBMIT)
        answer = self.ask("GET", EDIT, {**self.headers, **BROWSER})
        self.assertEqual(answer.status, 403)
        self.assertNotIn(b"secret", answer.body)
        self.allow(HTTP, READ, SUBMIT)
        self.assertEqual(self.ask("GET", EDIT, {**self.headers, **BROWSER}).status, 404)
        self.allow(HTTP, SEE, READ)
        self.assertNotIn("Copy with changes", seen(self.ask("GET", PAGE, {**self.headers, **BROWSER}).body))
