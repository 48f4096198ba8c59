"""Tests of L{txgear.web.pages.function}, L{functioncharts<txgear.web.pages.functioncharts>} and
L{functionacts<txgear.web.pages.functionacts>}."""

from __future__ import annotations

import re
from typing import cast
from urllib.parse import unquote, urlencode

from markupsafe import escape

from txgear.broker.shares import Share
from txgear.policies import Policies, Policy, Rate, Retries
from txgear.protocol.constants import PRE_SLEEP, WORK_COMPLETE, WORK_FAIL
from txgear.protocol.textlines import text
from txgear.server.elsewhere import Elsewhere
from txgear.server.figureseries import SPANS
from txgear.stores.memory import MemoryStore
from txgear.test.support.clusterview import FakeCluster, server_shown
from txgear.test.support.elsewhere import FakeElsewhere
from txgear.test.support.journal import FaultyStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.support.web import WebAnswer, WebPeer, WebTestCase
from txgear.web.pages import dashboard, function, functioncharts
from txgear.web.pages.formats import function_path
from txgear.web.pages.forms import TOKEN

BROWSER = {"Accept": "text/html"}
SCRIPT = {"Accept": "application/json"}


class FunctionTestCase(WebTestCase):
    parts = (dashboard,)

    def get(self, path: str) -> WebAnswer:
        client = self.connect()
        client.ask_web("GET", path, {**self.headers, **BROWSER})
        self.clock.pump([0] * 3)
        return client.web_answer()

    def page(self, path: str = "/functions/f") -> str:
        answer = self.get(path)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.body.decode()

    def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> WebAnswer:
        """Send a form of a page of ours, which is answered at once."""
        return self.posting(path, headers, **fields).web_answer()

    def posting(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> WebPeer:
        """Send a form of a page of ours."""
        first = self.get(path.rpartition("/")[0])
        visitor = first.headers["Set-Cookie"].partition(";")[0]
        token = first.body.decode().partition('name="form_token" value="')[2].partition('"')[0]
        said = {
            "Cookie": visitor,
            "Content-Type": "application/x-www-form-urlencoded",
            **self.headers,
            **(SCRIPT if headers is None else headers),
        }
        client = self.connect()
        client.ask_web("POST", path, said, urlencode({TOKEN: token, **fields}).encode())
        self.clock.pump([0] * 3)
        return client

    def submit(self, name: bytes = b"f", **rest: object) -> None:
        self.broker.submit(None, name, b"", b"w", self.server.seconds(), background=True, **rest)

    def set(self, **settings: object) -> None:
        policy = Policy(**settings)  # type: ignore[arg-type]
        self.broker.operations.set_policies(Policies([("f*", policy)]), self.server.seconds())

    def pass_time(self, seconds: float) -> None:
        while seconds > 0:
            self.clock.advance(min(seconds, 1.0))
            self.clock.pump([0] * 20)
            seconds -= 1.0

    def kept_open(self, path: str = "/functions/f") -> WebPeer:
        client = self.connect()
        client.ask_web("GET", path, {**self.headers, "Accept": "text/event-stream"})
        self.clock.pump([0] * 3)
        return client


class ClusterTests(FunctionTestCase):
    def test_whose_figures_these_are(self) -> None:
        self.submit()
        self.assertNotIn("this server's own", self.page())
        self.server.cluster = FakeCluster(server_shown("a", 1, own=True), server_shown("b", 2))
        told = "All figures here are this server's own. Not in them: the jobs of <bdi>b</bdi>"
        self.assertIn(told, self.page())


class PageTests(FunctionTestCase):
    def card(self, html: str, label: str) -> str:
        found = re.search(rf"<dt>{label}</dt><dd>(.*?)</dd>", html, re.DOTALL)
        assert found is not None, html
        return re.sub(r"<[^>]*>", " ", found[1]).strip()

    def test_why_nothing_happens(self) -> None:
        self.submit()
        html = self.page()
        words = "1 job waits, and there has been no worker since the server started"
        self.assertIn(f'<span class="badge critical">critical</span> {words}', html)

    def test_numbers(self) -> None:
        worker = self.worker(b"f")
        for _ in range(3):
            self.submit()
        self.submit(delay=50.0)
        worker.grab()
        html = self.page()
        self.assertEqual(
            [self.card(html, label) for label in ("Queued", "Running", "For later")], ["2", "1", "1"]
        )
        self.assertEqual(self.card(html, "Workers").split(), ["1", "1", "busy,", "0", "asleep"])
        self.assertEqual(self.card(html, "Oldest waits"), "less than 1 s")
        self.assertIn('href="/jobs?function=f&amp;state=queued"', html)

    def test_unknown(self) -> None:
        answer = self.get("/functions/nothing")
        self.assertEqual(answer.status, 404)
        self.assertIn(b"There is no such function", answer.body)
        self.assertEqual(self.ask("GET", "/functions/f?span=year", BROWSER).status, 404)
        self.submit()
        self.assertEqual(self.ask("GET", "/functions/f?span=year", BROWSER).status, 400)

    def test_what_one_may_not_see_is_not_there(self) -> None:
        self.submit(b"secret")
        self.allow("http", "see", functions=("mail.*",))
        self.assertEqual(self.get("/functions/secret").status, 404)

    def test_one_that_nobody_uses_any_more(self) -> None:
        worker = self.worker(b"f")
        self.submit()
        worker.say(WORK_COMPLETE, worker.grab()[0], b"")
        self.pass_time(11)
        worker.leave()
        self.assertEqual(self.broker.functions.by_name, {})
        html = self.page()
        self.assertIn("No jobs now", html)
        self.assertIn("<dt>with a result</dt><dd>1</dd>", html)

    def test_one_of_which_there_is_only_the_history(self) -> None:
        worker = self.worker(b"f")
        self.submit()
        worker.say(WORK_COMPLETE, worker.grab()[0], b"")
        self.pass_time(11)
        worker.leave()
        self.broker.statistics.by_name.clear()
        self.broker.statistics._unused.clear()
        self.assertIn("No job has begun", self.page())
        self.allow("http", "see", functions=("mail.*",))
        self.assertEqual(self.get("/functions/f").status, 404)

    def test_hostile_names(self) -> None:
        for name, path in (
            (b"<script>x</script>", "%3Cscript%3Ex%3C%2Fscript%3E"),
            (b"\xff/'\"", "%5Cxff%2F'%22"),
        ):
            self.submit(name)
            html = self.page(f"/functions/{path}")
            self.assertNotIn("<script>x", html)
            self.assertIn("1 job waits", html)

    def test_its_name_is_what_was_meant(self) -> None:
        """A name that reads like another one, escaped, is found by its own path."""
        self.submit(b"\\x41")
        self.submit(b"A")
        self.submit(b"A")
        self.assertIn("2 jobs wait", self.page("/functions/A"))

    def test_jobs(self) -> None:
        worker = self.worker(b"f")
        self.set(retries=Retries(3))
        for _ in range(30):
            self.submit()
        self.submit(delay=50.0)
        handle = worker.grab()[0].decode()
        html = self.page()
        rows = re.findall(r'<tr id="job-(\d+)"', html)
        self.assertEqual(rows, [str(number) for number in range(1, 21)])
        self.assertIn(f'<a href="/jobs/{handle.replace(":", "%3A")}">{handle}</a>', html)
        self.assertIn("20 of 31", html)

    def test_workers(self) -> None:
        for _ in range(25):
            self.worker(b"f")
        html = self.page()
        self.assertEqual(html.count('<tr id="worker-'), 20)
        self.assertIn("20 of 25", html)
        self.assertIn('href="/workers?function=f"', html)

    def test_a_silent_worker(self) -> None:
        self.worker(b"f").say(PRE_SLEEP)
        self.worker(b"f")
        self.clock.advance(100)
        html = self.page()
        self.assertIn('<span class="badge warning">silent</span> has not asked for <time', html)
        self.assertIn("1 silent", html)

    def test_of_those_that_only_the_store_has_it_is_said_how_many_there_are(self) -> None:
        fixture = DurableServerFixture(FaultyStore(), queue_memory=0)
        self.use(fixture)
        for _ in range(4):
            self.submit()
            self.server.end_turn()
            fixture.thread.run_all()
        self.submit(delay=9999.0)
        self.server.end_turn()
        fixture.thread.run_all()
        self.assertEqual(list(self.broker.table.jobs), [1])
        self.assertIn("1 of 5, the first of those in memory; 4 are in the store only", self.page())

    def test_who_may_not_see_who_is_connected_is_shown_no_workers(self) -> None:
        worker = self.worker(b"f")
        self.submit()
        worker.grab()
        self.allow("http", "see")
        html = self.page()
        self.assertNotIn('<tr id="worker-', html)
        self.assertNotIn("/workers/", html)

    def test_how_jobs_ended(self) -> None:
        worker = self.worker(b"f")
        self.set(retries=Retries(0))
        for kind, more in ((WORK_COMPLETE, (b"",)), (WORK_FAIL, ())):
            self.submit()
            worker.say(kind, worker.grab()[0], *more)
        self.submit(delay=100.0)
        self.broker.operations.cancel(
            next(iter(self.broker.table.jobs.values())).handle, self.server.seconds()
        )
        html = self.page()
        self.assertIn("<dt>with a result</dt><dd>1</dd>", html)
        self.assertIn("<dt>its worker said that it failed</dt><dd>1</dd>", html)
        self.assertIn("<dt>an operator cancelled it</dt><dd>1</dd>", html)
        self.assertIn('<a href="/dead?function=f">1</a>', html)
        self.assertIn("2 jobs: 50 % within", html)

    def test_counted_with_others(self) -> None:
        self.submit()
        self.broker.functions.by_name[b"f"].counts = self.broker.statistics.other
        self.assertIn("this one is counted together with others", self.page())


class SetTests(FunctionTestCase):
    def test_nothing(self) -> None:
        self.submit()
        self.assertIn("No policy matches this function", self.page())

    def test_where_each_setting_stands(self) -> None:
        self.set(concurrency=2, max_queue=100, max_bytes=1000, rate=Rate(10.0, 1), timeout=90.0)
        worker = self.worker(b"f")
        for _ in range(3):
            self.submit()
        self.assertIn("1 may start now", self.page())
        worker.grab()
        html = self.page()
        self.assertIn("It has the policy for <code>f*</code>, the first that matches", html)
        self.assertIn("1 of 2 run", html)
        self.assertIn("3 of 100 are there", html)
        self.assertIn("3 B of 1,000 bytes are used", html)
        self.assertIn("the next may start at <time", html)
        self.assertIn("An attempt may take 90 s.", html)

    def test_a_share_of_it(self) -> None:
        self.broker.operations.set_share(Share(2, 0), 0.0)
        self.set(concurrency=4, rate=Rate(0.1, 1))
        self.submit()
        html = self.page()
        self.assertIn(
            "4 jobs may run at once, at all 2 servers of the cluster together, 2 at this one.", html
        )
        self.assertIn("0 of 2 run", html)
        self.assertIn("10 jobs a second may start, at all 2 servers of the cluster together, 5/s", html)

    def test_the_file_is_named_to_those_who_may_see_the_settings(self) -> None:
        self.server.config = "/etc/txgear.toml"
        self.set(concurrency=2)
        self.submit()
        self.assertIn("of /etc/txgear.toml", self.page())
        self.allow("http", "see")
        self.assertNotIn("/etc/txgear.toml", self.page())

    def test_what_an_operator_has_set(self) -> None:
        self.broker.operations.limit_function(b"f", (0, 5, 7))
        html = self.page()
        self.assertIn("of normal priority from 5 jobs on, of low priority from 7 jobs on", html)
        self.assertIn('name="normal" value="5"', html)
        self.broker.operations.limit_function(b"f", (0, 0, 0))
        self.broker.operations.create_function(b"f")
        self.assertIn("It stays when nobody uses it", self.page())


class LiveTests(FunctionTestCase):
    def test_what_changes_is_told(self) -> None:
        self.worker(b"f")
        client = self.kept_open()
        first = client.heard()
        for part in (b"card-queued", b"chart-rate", b"histogram-waits", b"policy", b"acts"):
            self.assertIn(part, first)
        self.submit()
        self.clock.advance(0.25)
        self.clock.pump([0] * 3)
        heard = client.heard()
        self.assertIn(b"card-queued", heard)
        self.assertNotIn(b"chart-rate", heard)
        self.clock.advance(1)
        self.clock.pump([0] * 3)
        self.assertIn(b'"job-1"', client.heard())
        client.leave()

    def test_charts_go_with_the_steps_of_the_history(self) -> None:
        self.worker(b"f")
        client, day = self.kept_open(), self.kept_open("/functions/f?span=day")
        client.heard()
        day.heard()
        self.pass_time(12)
        self.assertIn(b"chart-rate", client.heard())
        heard = day.heard()
        self.assertIn(b"histogram-waits", heard)
        self.assertNotIn(b"chart-rate", heard)

    def test_it_goes(self) -> None:
        self.broker.operations.create_function(b"f")
        client = self.kept_open()
        client.heard()
        self.broker.operations.drop_function(b"f")
        self.broker.statistics.by_name.clear()
        self.broker.statistics._unused.clear()
        self.clock.advance(0.25)
        self.clock.pump([0] * 3)
        self.assertIn(b"event: gone", client.heard())


class NameTests(FunctionTestCase):
    """Names that addresses make something else of."""

    def test_each_has_an_address(self) -> None:
        for name in (b"", b".", b"..", b"...", b"/", b"a/../b", b"\\x2e", b"%2e", b"?#;", b"\xff"):
            self.submit(name)
            path = function_path(name)
            self.assertNotIn(unquote(path).rpartition("/")[2], (".", ".."))
            self.assertIn(f'href="{path}">', self.page("/"))
            title = f"<h1><bdi>{escape(text(name) or '(no name)')}</bdi></h1>"
            self.assertIn(title, self.page(path))
            answer = self.post(f"{path}/pause")
            self.assertEqual((answer.status, answer.json["to"]), (200, path))
            self.assertTrue(self.broker.functions.by_name[name].paused)


class ActTests(FunctionTestCase):
    def button(self, act: str) -> bool:
        return f'<button form="{act}"' in self.page()

    def test_pause_and_resume(self) -> None:
        self.submit()
        self.assertEqual((self.button("pause"), self.button("resume")), (True, False))
        answer = self.post("/functions/f/pause")
        self.assertEqual((answer.status, answer.json["to"]), (200, "/functions/f"))
        self.assertTrue(self.broker.functions.by_name[b"f"].paused)
        self.assertEqual((self.button("pause"), self.button("resume")), (False, True))
        self.post("/functions/f/resume")
        self.assertFalse(self.broker.functions.by_name[b"f"].paused)
        self.assertEqual(self.post("/functions/f/resume").code, "not_paused")

    def test_without_javascript(self) -> None:
        self.submit()
        answer = self.post("/functions/f/pause", BROWSER)
        self.assertEqual((answer.status, answer.headers["Location"]), (303, "/functions/f"))

    def test_purge_asks_first(self) -> None:
        self.submit()
        self.submit()
        self.assertIn("Cancel all jobs of f that no worker has: 2 now?", self.page())
        html = self.post("/functions/f/purge", BROWSER).body.decode()
        self.assertEqual(self.post("/functions/f/purge").code, "not_sure")
        self.assertEqual(len(self.broker.table.jobs), 2)
        self.assertIn("<h1><bdi>Cancel 2 jobs?</bdi></h1>", html)
        self.assertIn('name="sure" value="yes"', html)
        answer = self.post("/functions/f/purge", sure="yes")
        self.assertEqual(answer.json["text"], "2 jobs are being cancelled")
        self.assertEqual(len(self.broker.table.jobs), 0)

    def test_purge_in_a_cluster(self) -> None:
        """It is done by the other servers as well, and answered when they have."""
        self.submit()
        elsewhere = FakeElsewhere()
        self.server.elsewhere = cast("Elsewhere", elsewhere)
        html = self.post("/functions/f/purge", BROWSER).body.decode()
        self.assertIn("1 job now here, and those of the other servers.", html)
        client = self.posting("/functions/f/purge", sure="yes")
        ((kind, parts, answer),) = elsewhere.asked
        self.assertEqual((kind, parts, client.heard()), ("command", (b"purge f",), b""))
        answer.callback([b"OK 41\n"])
        self.assertEqual(client.web_answer().json["text"], "42 jobs are being cancelled")

    def test_drop_asks_first(self) -> None:
        self.broker.operations.create_function(b"f")
        self.assertTrue(self.button("drop"))
        self.assertIn(b"Forget this function?", self.post("/functions/f/drop", BROWSER).body)
        self.assertEqual(len(self.broker.functions.by_name), 1)
        self.assertEqual(
            self.post("/functions/f/drop", sure="yes").json, {"text": "The function is forgotten", "to": "/"}
        )
        self.assertEqual(self.broker.functions.by_name, {})
        self.submit()
        self.assertFalse(self.button("drop"))
        self.assertEqual(self.post("/functions/f/drop", sure="yes").code, "function_in_use")

    def test_create(self) -> None:
        self.submit()
        self.assertTrue(self.button("create"))
        self.post("/functions/f/create")
        self.assertTrue(self.broker.functions.by_name[b"f"].created)
        self.assertFalse(self.button("create"))

    def test_bounds(self) -> None:
        self.submit()
        self.post("/functions/f/maxqueue", high="1", normal="", low=" 3 ")
        self.assertEqual(self.broker.functions.by_name[b"f"].max_queued, (1, 0, 3))
        for wrong in ("-1", "x", str(2**31)):
            self.assertEqual(self.post("/functions/f/maxqueue", high=wrong).code, "invalid_form")

    def test_who_may_not(self) -> None:
        self.submit()
        self.allow("http", "see")
        html = self.page()
        for act in ("pause", "purge", "create", "drop"):
            self.assertNotIn(f'<button form="{act}"', html)
        self.assertNotIn("Set the bounds", html)
        self.assertNotIn("<textarea", html)
        for act in ("pause", "purge", "create", "drop", "maxqueue", "submit"):
            self.assertEqual(self.post(f"/functions/f/{act}", sure="yes").status, 403, act)
        for act in ("purge", "drop"):
            self.assertEqual(self.post(f"/functions/f/{act}").status, 403, act)
        self.assertEqual(len(self.broker.table.jobs), 1)

    def test_a_form_of_another_site(self) -> None:
        self.submit()
        said = {"Content-Type": "application/x-www-form-urlencoded", **SCRIPT}
        self.assertEqual(self.ask("POST", "/functions/f/pause", said, b"x=1").code, "stale_form")


class SubmitTests(FunctionTestCase):
    def test_a_job(self) -> None:
        self.worker(b"f")
        self.assertIn("<textarea", self.page())
        answer = self.post(
            "/functions/f/submit",
            workload='{\r\n"x": "\N{EURO SIGN}"}',
            unique="u",
            priority="high",
            delay="90s",
        )
        (job,) = self.broker.table.jobs.values()
        self.assertEqual(answer.json["to"], f"/jobs/{job.handle.decode().replace(':', '%3A')}")
        self.assertEqual(answer.json["text"], "The job is submitted")
        self.assertEqual(bytes(job.workload), '{\n"x": "\N{EURO SIGN}"}'.encode())
        self.assertEqual((job.unique, job.priority, job.background), (b"u", 0, True))
        self.assertEqual(job.due, self.server.seconds() + 90)
        again = self.post("/functions/f/submit", unique="u")
        self.assertEqual(again.json["text"], "That was submitted before: this is the job")

    def test_what_makes_no_sense(self) -> None:
        self.worker(b"f")
        for field, value in (
            ("priority", "urgent"),
            ("delay", "soon"),
            ("unique", "a\0b"),
            ("unique", "x" * 100),
        ):
            answer = self.post("/functions/f/submit", None, **{field: value})
            self.assertEqual(answer.status, 400, (field, answer.body))
        self.assertEqual(len(self.broker.table.jobs), 0)

    def test_refused(self) -> None:
        self.worker(b"f")
        self.broker.operations.limit_function(b"f", (1, 1, 1))
        self.post("/functions/f/submit")
        self.assertEqual(self.post("/functions/f/submit").code, "queue_full")

    def test_it_is_told_once_it_is_on_the_disk(self) -> None:
        fixture = DurableServerFixture(MemoryStore())
        self.use(fixture)
        self.worker(b"f")
        client = self.posting("/functions/f/submit", workload="x")
        self.assertEqual(client.transport.value(), b"")
        fixture.thread.run_all()
        self.clock.pump([0] * 3)
        self.assertEqual(client.web_answer().status, 200)

    def test_what_the_store_does_not_take(self) -> None:
        store = FaultyStore()
        fixture = DurableServerFixture(store)
        self.use(fixture)
        self.worker(b"f")
        client = self.posting("/functions/f/submit", workload="x")
        store.too_large = 0
        fixture.thread.run_all()
        self.clock.pump([0] * 3)
        self.assertEqual(client.web_answer().code, "store_refused")


class ChartTests(WebTestCase):
    def test_before_there_are_figures(self) -> None:
        figures = {"start": None, "step": 10}
        names = ("submitted", "completed", "failed", "queued", "running", "delayed", "oldest")
        figures |= {name: [] for name in (*names, "wait_p50", "wait_p95", "wait_p99")}  # type: ignore[misc]
        found = functioncharts.over_time(figures, SPANS[0], 3600.0)
        self.assertEqual(found[0].ticks[0], None)
        self.assertEqual(found[0].ticks[-1], "1970-01-01T01:00:00.000Z")
        self.assertIn("came: now \N{EN DASH}, at most 0", found[0].svg)


class FirstJobsTests(FunctionTestCase):
    def test_those_of_other_functions_are_others(self) -> None:
        self.submit(b"g")
        self.submit(b"f")
        known = self.broker.functions.by_name
        self.assertEqual([job.number for job in function._first_jobs(self.broker, known[b"f"])], [2])
