"""Tests of L{txgear.web.pages.schedules}."""

from __future__ import annotations

from urllib.parse import urlencode

from txgear.server.schedules import Schedule
from txgear.stores.memory import MemoryStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.support.web import WebAnswer, WebPeer, WebTestCase
from txgear.web.pages import dashboard

BROWSER = {"Accept": "text/html"}
HOSTILE = Schedule(b"<script>\xff", "30 2 * * *", b"mail", "Europe/Berlin", unique=b"u")
NEVER = Schedule(b"never", "0 0 */31 2 SUN#2", b"g")


class PageTestCase(WebTestCase):
    parts = (dashboard,)

    def page(self, target: str = "/schedules") -> str:
        client = self.connect()
        client.ask_web("GET", target, {**self.headers, **BROWSER})
        self.clock.advance(0)
        answer = client.web_answer()
        self.assertEqual(answer.status, 200, answer.body)
        self.cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
        return answer.body.decode()

    def send(self, target: str, html: str, **fields: str) -> WebPeer:
        """Send a form of a page that was shown."""
        token = html.partition('name="form_token" value="')[2].partition('"')[0]
        said = {"Cookie": self.cookie, "Origin": "http://localhost"}
        client = self.connect()
        client.ask_web(
            "POST",
            target,
            {**self.headers, **BROWSER, **said, "Content-Type": "application/x-www-form-urlencoded"},
            urlencode({"form_token": token, **fields}).encode(),
        )
        return client

    def post(self, target: str, html: str, **fields: str) -> WebAnswer:
        """The same, where it is answered at once."""
        return self.send(target, html, **fields).web_answer()


class SchedulesTests(PageTestCase):
    def put(self, *schedules: Schedule) -> None:
        self.server.scheduler.start(schedules, [])
        self.addCleanup(self.server.scheduler.stop)

    def test_nothing(self) -> None:
        self.assertIn("There are no schedules: they stand in the file of", self.page())
        self.server.config = "/etc/<x>.toml"
        self.assertIn("they stand in /etc/&lt;x&gt;.toml", self.page())

    def test_rows(self) -> None:
        self.put(HOSTILE, NEVER)
        html = self.page()
        self.assertIn("At 02:30 every day", html)
        self.assertIn("&lt;script&gt;\\xff", html)
        self.assertNotIn("<script>\\", html)
        self.assertIn('<time datetime="1970-01-01T01:30:00.000Z" data-until>in 1 h 13 min</time>', html)
        self.assertIn("Mon 02:30 CET", html)
        self.assertIn(">never</span>", html)
        self.assertIn('<a href="/functions/mail">mail</a>', html)
        self.assertIn("none since the server started", html)

    def test_many(self) -> None:
        self.put(*(Schedule(b"s%d" % number, "0 5 * * *", b"f") for number in range(51)))
        html = self.page()
        self.assertEqual(html.count("<tr id="), 50)
        self.assertIn('href="/schedules?after=50"', html)
        self.assertEqual(self.page("/schedules?after=50").count("<tr id="), 1)

    def test_many_of_which_some_are_hidden(self) -> None:
        """Each stands on one page."""
        self.put(*(Schedule(b"s%d" % number, "0 5 * * *", b"fg"[number % 2 :][:1]) for number in range(120)))
        self.allow("http", "see", "settings", functions=["g"])
        pages = [self.page(), self.page("/schedules?after=50")]
        self.assertEqual([page.count("<tr id=") for page in pages], [50, 10])
        self.assertNotIn("after=", pages[1])
        self.assertIn(">s99<", pages[0])
        self.assertNotIn(">s99<", pages[1])

    def test_run_now(self) -> None:
        self.put(HOSTILE)
        html = self.page()
        self.assertIn('<button form="act" name="schedule" value="&lt;script&gt;\\xff">', html)
        answer = self.post("/schedules/run", html, schedule="<script>\\xff")
        self.assertEqual((answer.status, answer.headers["Location"]), (303, "/schedules"))
        (job,) = self.broker.table.jobs.values()
        self.assertEqual((job.function.name, job.unique), (b"mail", b"u"))
        html = self.page()
        self.assertIn('<a href="/jobs/H%3Atest%3A1">H:test:1</a> <span class="badge">queued</span>', html)
        self.assertIn("by hand", html)
        self.post("/schedules/run", html, schedule="<script>\\xff")
        self.assertIn("its unique was still taken", self.page())
        self.broker.operations.cancel(job.handle, self.clock.seconds())
        self.assertIn("H:test:1 has ended, and is not kept", self.page())

    def test_run_what_is_not_there(self) -> None:
        answer = self.post("/schedules/run", self.page(), schedule="x")
        self.assertEqual(answer.status, 404)
        self.assertIn(b"There is no such schedule", answer.body)
        self.assertEqual(self.post("/schedules/run", "", schedule="x").status, 403)

    def test_rights(self) -> None:
        self.put(HOSTILE, NEVER)
        self.allow("http", "see", "submit")
        self.assertEqual(self.ask("GET", "/schedules", BROWSER).status, 403)
        self.allow("http", "see", "settings", functions=["g"])
        html = self.page()
        self.assertIn("never", html)
        self.assertNotIn("mail", html)
        self.assertNotIn("Run now", html)
        self.assertEqual(self.post("/schedules/run", html, schedule="never").status, 403)
        self.assertEqual(self.post("/schedules/run", html, schedule="<script>\\xff").status, 404)
        self.assertEqual(len(self.broker.table.jobs), 0)

    def test_it_is_refused(self) -> None:
        self.put(HOSTILE)
        self.broker.drain(self.clock.seconds())
        answer = self.post("/schedules/run", self.page(), schedule="<script>\\xff")
        self.assertEqual(answer.status, 503)

    def test_a_run_by_the_clock(self) -> None:
        self.put(Schedule(b"s", "* * * * *", b"f"))
        client = self.connect()
        client.ask_web("GET", "/schedules", {"Accept": "text/event-stream"})
        self.clock.advance(0)
        client.heard()
        self.clock.advance(60)
        self.clock.advance(0.25)
        self.clock.advance(0)
        self.assertIn(b"/jobs/H%3Atest%3A1", client.heard())
        client.leave()

    def test_with_a_store(self) -> None:
        self.use(DurableServerFixture(MemoryStore()))
        self.put(NEVER)
        client = self.send("/schedules/run", self.page(), schedule="never")
        self.assertEqual(client.heard(), b"")
        self.fixture.thread.run_all()
        self.assertEqual(client.web_answer().status, 303)
