"""Tests of L{txgear.web.pages.worker}."""

from __future__ import annotations

import re

from txgear.protocol.constants import (
    GRAB_JOB,
    OPTION_REQ,
    STEER,
    STEERED,
    SUBMIT_JOB_BG,
    WORK_STATUS,
    WORKER_STATE,
)
from txgear.protocol.packets import request, response
from txgear.server.steering import ANSWER_SECONDS
from txgear.test.support.server import FakePeer
from txgear.test.support.web import WebPeer
from txgear.test.support.workerpages import HOSTILE, SCRIPT, WorkerPagesTestCase
from txgear.web.pages.worker import ROWS

EXTENDED = request(OPTION_REQ, b"txgear-1")


class WorkerTestCase(WorkerPagesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.line = self.known(b"f", client_id=b"mailer", then=EXTENDED)
        self.state(b'"words":["pause","resume","stop"]')
        self.path = self.path_of(self.line)

    def state(self, said: bytes) -> None:
        self.line.tell(request(WORKER_STATE, b"{%s}" % said))

    @staticmethod
    def path_of(line: FakePeer) -> str:
        return f"/workers/{line.protocol.peer.descriptor}"

    def buttons(self, html: str) -> list[str]:
        return re.findall(r'<button name="word" value="([a-z]*)"', html)

    @property
    def enrolled(self) -> str:
        return self.html(self.path).partition('name="enrolled" value="')[2].partition('"')[0]


class PageTests(WorkerTestCase):
    def test_what_is_known(self) -> None:
        html = self.html(self.path)
        self.assertIn("<h1><bdi>Worker mailer</bdi></h1>", html)
        self.assertIn('<a href="/functions/f"><bdi>f</bdi></a>', html)
        self.assertIn("It has no job in hand.", html)
        self.assertEqual(self.buttons(html), ["pause", "stop", "disconnect"])

    def test_jobs_in_hand_and_their_progress(self) -> None:
        client = self.fixture.connect()
        for _ in range(ROWS + 2):
            client.ask(request(SUBMIT_JOB_BG, b"f", b"", b""))
            self.line.ask(request(GRAB_JOB))
        page = self.open(self.path)
        self.assertIn(b"And 2 more.", page.heard())
        self.line.tell(request(WORK_STATUS, b"H:test:1", b"3", b"10"))
        change = self.changes(page)
        self.assertIn(b"3 of 10", change)
        self.assertNotIn(b"H:test:2", change)
        page.leave()
        self.assertIn('<progress max="10" value="3"', self.html(self.path))

    def test_paused(self) -> None:
        page = self.open(self.path)
        page.heard()
        self.state(b'"words":["pause","resume","stop"],"paused":true')
        self.assertIn(b"takes no jobs, as it was told", self.changes(page))
        page.leave()
        self.assertEqual(self.buttons(self.html(self.path)), ["resume", "stop", "disconnect"])

    def test_words_that_have_no_button(self) -> None:
        self.state(b'"words":["dance","pause","rest","register"]')
        html = self.html(self.path)
        self.assertEqual(self.buttons(html), ["pause", "disconnect"])
        self.assertIn("It also understands dance, rest.", html)

    def test_what_it_says_of_itself(self) -> None:
        html = self.html(self.path)
        for absent in ("<dt>Group", "<dt>Machine", "<dt>Memory", "<dt>Jobs at once", "<dt>Since it started"):
            self.assertNotIn(absent, html)
        page = self.open(self.path)
        page.heard()
        about = self.line.protocol.peer.about
        assert about is not None
        about.id, about.group, about.host, about.pid, about.version = "images-3", "a&b", "vm", 7, "txgear 1"
        self.state(b'"concurrency":4,"memory":5242880,"functions":[{"name":"f","done":1234,"failed":5}]')
        changed = self.changes(page).decode()
        for html in (changed.replace('\\"', '"'), self.html(self.path)):
            self.assertIn("<bdi>images-3</bdi>, <bdi>mailer</bdi> in the classic list", html)
            self.assertIn('<a href="/workers?group=a%26b"><bdi>a&amp;b</bdi></a>', html)
            self.assertIn('<a href="/workers?host=vm"><bdi>vm</bdi></a>, process 7', html)
            self.assertIn("<dt>Jobs at once</dt><dd>4</dd>", html)
            self.assertIn("<dt>Memory</dt><dd>5.2 MB</dd>", html)
        self.assertIn("1,234 done, 5 failed", html)
        page.leave()

    def test_functions_in_use_and_not(self) -> None:
        functions = b'[{"name":"f","done":3},{"name":"g\\\\xff","in_use":false,"failed":2}]'
        self.state(b'"words":["register","unregister"],"functions":%s' % functions)
        html = self.html(self.path)
        rows = html.partition('id="functions"')[2].partition("</tbody>")[0].split("</tr>")
        self.assertIn('<button class="quiet" form="act" name="unregister" value="f">', rows[0])
        self.assertIn('<button class="quiet" form="act" name="register" value="g\\xff">', rows[1])
        self.assertIn("not in use", rows[1])
        self.assertIn('<td class="number" data-label="Failed">2</td>', rows[1])
        self.allow_beside_workers("http", "peers", "see")
        self.assertNotIn('name="register"', self.html(self.path))

    def test_one_that_does_nothing_now(self) -> None:
        line = self.fixture.connect()
        line.ask(EXTENDED, request(WORKER_STATE, b'{"words":["pause","register"]}'))
        html = self.html(self.path_of(line))
        self.assertIn("does no function now", html)
        self.assertIn('name="enrolled" value=""', html)
        self.assertIn("does no function now", self.html("/workers?condition=unused"))

    def test_by_its_id(self) -> None:
        self.assertIn("<h1><bdi>Worker mailer</bdi></h1>", self.html("/workers/mailer"))
        self.known(b"f", client_id=b"mailer")
        self.assertIn("2 workers are called so", self.html("/workers/mailer", 409))

    def test_classic(self) -> None:
        html = self.html(self.path_of(self.known(b"f")))
        self.assertIn("it speaks the classic protocol", html)
        self.assertEqual(self.buttons(html), ["disconnect"])

    def test_it_goes(self) -> None:
        page = self.open(self.path)
        page.heard()
        self.line.leave()
        self.assertIn(b"event: gone", self.changes(page))
        self.html(self.path, 404)

    def test_another_has_its_number(self) -> None:
        page = self.open(self.path)
        page.heard()
        self.line.leave()
        other = self.known(b"g")
        other.protocol.peer.descriptor = int(self.path.rpartition("/")[2])
        following = self.open(self.path)
        told = following.heard()
        self.assertIn(b"/functions/g", told)
        self.assertNotIn(b"/functions/f", told)
        self.assertIn(b"event: gone", self.changes(page))
        self.assertNotIn(b"event: gone", following.heard())

    def test_what_is_not_there(self) -> None:
        for path in ("/workers/99", "/workers/x", "/workers/%C2%B2", f"/workers/{'9' * 5000}"):
            self.html(path, 404)
        self.html(f"{self.path}?x=1", 400)

    def test_who_may_only_look(self) -> None:
        self.allow_beside_workers("http", "peers", "see")
        self.assertEqual(self.buttons(self.html(self.path)), [])
        self.allow_beside_workers("http", "peers")
        self.assertIn("Nothing that you may see.", self.html(self.path))
        self.allow_beside_workers("http")
        self.html(self.path, 404)

    def test_hostile_names(self) -> None:
        self.fixture.connect().ask(request(SUBMIT_JOB_BG, HOSTILE, b"", b""))
        line = self.known(HOSTILE, client_id=HOSTILE, then=request(GRAB_JOB))
        html = self.html(self.path_of(line))
        self.assertNotIn('<b>"', html)
        self.assertIn("{{ 7 * 7 }}", html)


class TellTests(WorkerTestCase):
    def told(self, word: str, **fields: str) -> WebPeer:
        return self.post(f"{self.path}/tell", None, word=word, enrolled=self.enrolled, **fields)

    def test_pause(self) -> None:
        client = self.told("pause")
        self.assertEqual(self.line.heard(), response(STEER, b"1", b"pause", b""))
        self.line.tell(request(STEERED, b"1", b"done", b"2 jobs are finished first"))
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.headers["Location"]), (303, self.path))
        (line,) = self.server.audit.last(0, 10)[0]
        self.assertEqual([line["act"], line["worker"], line["arguments"]], ["manage", "mailer", "pause"])

    def test_a_function_is_put_aside(self) -> None:
        self.state(b'"words":["register","unregister"],"functions":[{"name":"g\\\\xff"}]')
        client = self.post(f"{self.path}/tell", SCRIPT, unregister="g\\xff", enrolled=self.enrolled)
        self.assertEqual(self.line.heard(), response(STEER, b"1", b"unregister", b"g\xff"))
        self.line.tell(request(STEERED, b"1", b"done", b""))
        answer = client.web_answer().json
        self.assertEqual(answer, {"text": "The worker does the function no more", "to": self.path})
        (line,) = self.server.audit.last(0, 10)[0]
        self.assertEqual(line["arguments"], "unregister g\\xff")

    def test_a_script_is_told(self) -> None:
        client = self.post(f"{self.path}/tell", SCRIPT, word="pause", enrolled=self.enrolled)
        self.line.tell(request(STEERED, b"1", b"done", b"2 jobs are finished first"))
        text = "The worker takes no more jobs: 2 jobs are finished first"
        self.assertEqual(client.web_answer().json, {"text": text, "to": self.path})

    def test_it_does_not_answer(self) -> None:
        client = self.told("pause")
        self.clock.advance(ANSWER_SECONDS)
        answer = client.web_answer()
        self.assertEqual(answer.status, 504)
        self.assertIn(b"it may still do it", answer.body)

    def test_to_stop_is_asked_for_twice(self) -> None:
        answer = self.told("stop").web_answer()
        self.assertEqual((answer.status, self.line.heard()), (200, b""))
        self.assertIn(b"does not come back by itself", answer.body)
        answer = self.posted(f"{self.path}/tell", SCRIPT, word="stop", enrolled=self.enrolled)
        self.assertEqual((answer.status, answer.code), (409, "not_sure"))
        client = self.told("stop", sure="yes")
        self.line.tell(request(STEERED, b"1", b"done", b""))
        self.assertEqual(client.web_answer().headers["Location"], "/workers")

    def test_its_connection_ends(self) -> None:
        self.assertEqual(self.told("disconnect").web_answer().status, 200)
        self.assertFalse(self.line.transport.disconnected)
        answer = self.told("disconnect", sure="yes").web_answer()
        self.assertEqual((answer.status, answer.headers["Location"]), (303, "/workers"))
        self.assertTrue(self.line.transport.disconnected)
        (line,) = self.server.audit.last(0, 10)[0]
        self.assertEqual([line["act"], line["arguments"]], ["manage", "disconnect"])

    def test_another_worker_by_now(self) -> None:
        for enrolled in ("", "1970-01-01T00:00:00.000Z"):
            answer = self.posted(
                f"{self.path}/tell", SCRIPT, word="disconnect", sure="yes", enrolled=enrolled
            )
            self.assertEqual((answer.status, answer.code), (409, "another_worker"))
        self.assertFalse(self.line.transport.disconnected)

    def test_other_words(self) -> None:
        for word in ("", "dance", "PAUSE", HOSTILE.decode("latin-1")):
            answer = self.posted(f"{self.path}/tell", SCRIPT, word=word, enrolled=self.enrolled)
            self.assertEqual((answer.status, answer.code), (400, "unknown_word"))

    def test_who_may_not(self) -> None:
        for acts, status in ((("http", "peers", "see"), 403), (("http", "manage"), 404)):
            for word in ("pause", "disconnect"):
                self.setUp()
                enrolled = self.enrolled
                self.allow_beside_workers(*acts)
                answer = self.posted(f"{self.path}/tell", word=word, sure="yes", enrolled=enrolled)
                self.assertEqual(answer.status, status, (acts, word))
                self.assertNotIn(b"pause", self.line.heard())
                self.assertFalse(self.line.transport.disconnected)

    def test_without_a_token(self) -> None:
        body = b"word=disconnect&sure=yes"
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://localhost"}
        self.assertEqual(self.ask("POST", f"{self.path}/tell", headers, body).status, 403)
        self.assertFalse(self.line.transport.disconnected)
