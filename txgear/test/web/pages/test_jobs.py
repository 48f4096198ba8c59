"""Tests of L{txgear.web.pages.jobs}, and of what L{txgear.web.pages.bulk} does to the jobs that it lists."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

from txgear.broker.model import Peer
from txgear.broker.operators.search import Bounds
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import HIGH, NORMAL, WORK_COMPLETE
from txgear.security.access import Access, Rule
from txgear.server.clusterview import Status
from txgear.test.support.clusterview import FakeCluster, server_shown
from txgear.test.support.web import WebAnswer
from txgear.test.web.api.apicase import ActsTestCase
from txgear.web import reading
from txgear.web.pages import dashboard, jobs
from txgear.web.pages.bulk import MOST_SELECTED
from txgear.web.pages.joblist import IDLE_SECONDS
from txgear.web.pages.pages import Pages

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
SCRIPT = {"Accept": "application/json"}
HOSTILE = b"<b>\"'&\xe2\x80\xae\xff x"


class PageTestCase(ActsTestCase):
    parts = (dashboard,)

    def see(self, target: str, status: int = 200) -> str:
        """A page."""
        answer = self.ask("GET", target, BROWSER)
        self.assertEqual(answer.status, status)
        return answer.body.decode()

    def to(self, target: str) -> str:
        """Where an address leads."""
        answer = self.ask("GET", target, BROWSER)
        self.assertEqual(answer.status, 303, answer.body)
        return answer.headers["Location"]

    def send(self, target: str, *fields: tuple[str, str], accept: dict[str, str] = BROWSER) -> WebAnswer:
        """A form of a page, as a browser sends it."""
        page = self.ask("GET", "/jobs", BROWSER)
        visitor = page.headers["Set-Cookie"].partition(";")[0]
        token = page.body.decode().partition('name="form_token" value="')[2].partition('"')[0]
        headers = {**accept, "Cookie": visitor, "Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", target, headers, urlencode([("form_token", token), *fields]).encode())

    def deny(self, act: str, function: str) -> None:
        """Allow something less of what L{allow} has."""
        access = self.server.guard.access
        rules = [*access.rules, Rule(False, ("me",), frozenset((act,)), (function,))]
        self.server.guard.replace(Access(access.identities.values(), rules))

    def rows(self, html: str) -> list[str]:
        """The handles that are listed."""
        return [unescape(each) for each in re.findall(r'name="handle" value="([^"]*)" form="act"', html)]


class ClusterTests(PageTestCase):
    def test_servers_whose_jobs_are_not_listed(self) -> None:
        self.assertNotIn("Not in this list", self.see("/jobs"))
        b, c = server_shown("b", 2, address="b.example:4730"), server_shown("c", 3, status=Status())
        self.server.cluster = FakeCluster(server_shown("a", 1, own=True), b, c)
        for path in ("/jobs", "/jobs?of=kept", "/dead"):
            html = self.see(path)
            self.assertIn(
                "<bdi>b</bdi> at <bdi>b.example:4730</bdi> (12 queued, 3 running), <bdi>c</bdi>.", html
            )


class ListTests(PageTestCase):
    def test_live(self) -> None:
        self.submit(b"mail", priority=HIGH)
        self.submit(HOSTILE)
        self.worker(b"mail").grab()
        html = self.see("/jobs")
        self.assertEqual(self.rows(html), ["H:test:1", "H:test:2"])
        self.assertNotIn("<b>", html)
        self.assertIn('href="/functions/%3Cb%3E%22%27%26%E2%80%AE%5Cxff%20x"', html)
        first, second = html.split("<tr")[2:]
        for said in (">running<", ">high<", "data-age>less than 1 s<", 'href="/jobs/H%3Atest%3A1"'):
            self.assertIn(said, first)
        self.assertIn(">queued<", second)
        self.assertIn("2 jobs.", html)

    def test_kept(self) -> None:
        policies = Policies([("f", CLASSIC.with_settings({"results": "1h"}))])
        self.broker.operations.set_policies(policies, self.clock.seconds())
        self.submit()
        worker = self.worker()
        worker.say(WORK_COMPLETE, worker.grab()[0], b"12345")
        html = self.see("/jobs?of=kept")
        self.assertEqual(self.rows(html), ["H:test:1"])
        for said in (">done<", ">5 B<", "Kept until", 'value="forget"'):
            self.assertIn(said, html)
        self.assertIn("There are no jobs.", self.see("/jobs"))
        self.assertIn("No job matches.", self.see("/jobs?of=kept&text=nothing"))

    def test_filters(self) -> None:
        self.submit(b"mail.a")
        self.submit(b"mail.b")
        self.submit(b"other")
        self.clock.advance(7200)
        self.submit(b"mail.c")
        self.worker(b"mail.b").grab()
        self.assertEqual(self.rows(self.see("/jobs?function=mail.*&older=2h")), ["H:test:1", "H:test:2"])
        self.assertEqual(self.rows(self.see("/jobs?state=running")), ["H:test:2"])
        self.assertEqual(self.rows(self.see("/jobs?state=running,queued&after=2")), ["H:test:3", "H:test:4"])

    def test_pages(self) -> None:
        for _ in range(51):
            self.submit()
        html = self.see("/jobs?function=f")
        self.assertEqual(len(self.rows(html)), 50)
        self.assertIn('href="/jobs?function=f&amp;after=50" rel="next"', html)
        html = self.see("/jobs?function=f&after=50")
        self.assertEqual(self.rows(html), ["H:test:51"])
        self.assertIn('<a href="/jobs?function=f">First page</a>', html)

    def test_hidden(self) -> None:
        self.submit(b"mail")
        self.submit(b"other")
        self.allow("http", "see", "cancel", functions=("mail",))
        html = self.see("/jobs")
        self.assertEqual(self.rows(html), ["H:test:1"])
        self.assertIn('value="cancel"', html)
        self.assertNotIn('value="move"', html)
        self.allow("http", "see", functions=("mail",))
        self.assertNotIn('name="act"', self.see("/jobs"))

    def test_kept_open(self) -> None:
        self.submit()
        client = self.connect()
        client.ask_web("GET", "/jobs", {"Accept": "text/event-stream"})
        self.clock.advance(0)
        self.assertIn(b'"rows":["job-1"]', client.heard())
        worker = self.worker()
        worker.grab()
        self.clock.advance(0.25)
        self.clock.advance(0)
        heard = client.heard()
        self.assertIn(b'"job-1":', heard)
        self.assertIn(b">running<", heard)
        self.assertNotIn(b'"rows":["job-1"]', heard)
        worker.say(WORK_COMPLETE, b"H:test:1", b"")
        self.clock.advance(0.25)
        self.clock.advance(0)
        self.assertIn(b'"rows":[]', client.heard())


class SearchTests(PageTestCase):
    def test_a_line_leads_to_the_address_of_the_form(self) -> None:
        wanted = "/jobs?function=mail.%2A&state=queued&older=2h"
        self.assertEqual(self.to("/jobs?q=function%3Dmail.*+state%3Dqueued+older%3D2h"), wanted)
        form = "/jobs?function=mail.*&state=queued&older=2h&worker=&unique=&text="
        self.assertEqual(self.to(form), wanted)
        self.assertIn('value="function=mail.* state=queued older=2h"', self.see(wanted))
        self.assertEqual(self.to("/jobs?q="), "/jobs")
        self.assertEqual(self.to("/jobs?q=unique%3Da%5Cx20b&of=kept"), "/jobs?unique=a+b&of=kept")
        self.assertIn('value="unique=a\\x20b"', self.see("/jobs?unique=a+b&of=kept"))

    def test_a_handle_leads_to_the_job(self) -> None:
        self.submit()
        self.assertEqual(self.to("/jobs?q=+H:test:1+"), "/jobs/H%3Atest%3A1")
        html = self.see("/jobs?q=H:test:2")
        self.assertIn("There is no job with this handle.", html)
        self.assertIn('value="H:test:2" data-search', html)
        self.allow("http", "see", functions=("other",))
        self.assertIn("There is no job with this handle.", self.see("/jobs?q=H:test:1"))

    def test_wrong_values_are_told_beside_their_fields(self) -> None:
        self.submit()
        html = self.see("/jobs?older=soon&state=asleep")
        self.assertRegex(html, r'id="wrong-older">a time is wanted, such as 90')
        self.assertRegex(html, r'id="wrong-state">state is one or more of waiting')
        self.assertIn('name="older" size="6" value="soon"', html)
        self.assertIn('<option selected value="asleep">asleep</option>', html)
        self.assertEqual(self.rows(html), [])
        self.assertIn("makes no sense", html)
        for line, why in (
            ("limit%3D3", "limit cannot be looked for here; there are function"),
            ("state%3Dqueued+mail", "mail: one value is wanted, as in mail=value"),
            ("unique%3D" + "x" * 40_000, "A filter has at most"),
        ):
            with self.subTest(line=line[:40]):
                answer = self.ask("GET", f"/jobs?q={line}", BROWSER)
                self.assertIn(answer.status, (200, 414, 400))
                if answer.status == 200:
                    self.assertIn(f'id="wrong-q">{why}', unescape(answer.body.decode()))
        self.assertIn("state is not known", self.see("/jobs?of=kept&state=queued"))
        self.assertIn("The query has &#39;size&#39;", self.see("/jobs?size=3", 400))

    def test_hostile_values(self) -> None:
        for value in ("<script>", "'\"><b>", "\\x00", "\u202e", "[", "*" * 1000, "x" * 9000, "a=b"):
            for name in ("function", "unique", "worker", "older", "state", "text", "q"):
                with self.subTest(name=name, value=value[:9]):
                    answer = self.ask("GET", f"/jobs?{urlencode({name: value})}", BROWSER)
                    self.assertIn(answer.status, (200, 303))
                    html = answer.body.decode().partition("<main")[2]
                    self.assertNotIn("<script>", html)
                    self.assertNotIn("<b>", html)

    def test_the_other_list_has_what_it_can_be_asked_for(self) -> None:
        html = self.see("/jobs?function=a&state=queued")
        self.assertIn('href="/jobs?function=a&amp;of=kept"', html)


class Asked:
    """A request, as far as a view looks at it."""

    def __init__(self, query: bytes) -> None:
        self._query = query

    def query(self, kind: Any) -> Any:
        return reading.query(self._query, kind)


class Small(jobs.JobsView):
    """One that looks at two jobs in a piece, and at three pieces for a page."""

    bounds = Bounds(work=2)
    pieces = 3


class FewTests(PageTestCase):
    """Where few jobs match, and it takes long to find them."""

    def setUp(self) -> None:
        super().setUp()
        for name in (b"a", b"b", b"b", b"b", b"b", b"b", b"b", b"a"):
            self.submit(name)

    def view(self, query: bytes) -> Small:
        request: Any = Asked(query)
        return Small(Pages(self.web), Peer(1, "here"), request)

    def test_it_is_looked_for_in_pieces_up_to_a_bound(self) -> None:
        view = self.view(b"function=a")
        self.assertEqual(len(list(view.look())), 2)
        self.assertIn('id="job-1"', view.board.rows("rows"))
        end = view.board.html("end")
        self.assertIn("1 found up to job number 6; the last is number 8.", end)
        self.assertIn('<a href="/jobs?function=a&amp;after=6" rel="next">Look further</a>', end)
        view = self.view(b"function=a&after=6")
        list(view.look())
        self.assertIn('id="job-8"', view.board.rows("rows"))
        self.assertIn("1 job on this page, the last.", view.board.html("end"))

    def test_it_is_looked_for_again_where_something_may_have_changed(self) -> None:
        view = self.view(b"function=a")
        list(view.look())
        self.assertEqual(len(list(view.look())), 2)
        self.assertEqual(len(list(view.look())), 0)
        self.submit(b"b")
        self.assertEqual(len(list(view.look())), 0)
        self.worker(b"a").grab()
        self.assertEqual(len(list(view.look())), 2)
        self.assertIn(">running<", view.board.rows("rows"))
        self.clock.advance(IDLE_SECONDS)
        self.assertEqual(len(list(view.look())), 2)


class ActTests(PageTestCase):
    def test_selected(self) -> None:
        one, two, three = self.submit(), self.submit(), self.submit()
        self.audit()
        answer = self.send(
            "/jobs?function=f",
            ("act", "prioritise"),
            ("priority", "high"),
            ("function", ""),
            ("handle", "H:test:1"),
            ("handle", "H:test:3"),
            ("handle", "H:test:1"),
        )
        self.assertEqual((answer.status, answer.headers["Location"]), (303, "/jobs?function=f"))
        self.assertEqual([job.priority for job in (one, two, three)], [HIGH, NORMAL, HIGH])
        self.assertEqual(
            [(each["act"], each["handle"], each["arguments"]) for each in self.audited()],
            [("prioritise", "H:test:1", "high"), ("prioritise", "H:test:3", "high")],
        )
        self.send("/jobs", ("act", "move"), ("function", "g"), ("handle", "H:test:2"))
        self.assertEqual(two.function.name, b"g")

    def test_what_cannot_be_undone_asks_first(self) -> None:
        job = self.submit()
        fields = ("act", "cancel"), ("handle", "H:test:1")
        answer = self.send("/jobs", *fields)
        self.assertEqual(answer.status, 200)
        html = answer.body.decode()
        self.assertIn('<button class="danger">Cancel 1 job</button>', html)
        self.assertIn('name="handle" value="H:test:1"', html)
        self.assertFalse(job.ended)
        self.assertEqual(self.send("/jobs", *fields, accept=SCRIPT).code, "not_sure")
        answer = self.send("/jobs", *fields, ("sure", "yes"), accept=SCRIPT)
        self.assertEqual(answer.json, {"text": "1 job is cancelled", "to": "/jobs"})
        self.assertTrue(job.ended)

    def test_what_could_not_be_done_is_told(self) -> None:
        for _ in range(3):
            self.submit()
        worker = self.worker()
        worker.grab()
        fields = (
            ("act", "move"),
            ("function", "g"),
            ("handle", "H:test:1"),
            ("handle", "H:test:2"),
            ("handle", "<i>"),
        )
        answer = self.send("/jobs", *fields)
        html = answer.body.decode()
        self.assertIn("1 job is jobs of g now", html)
        self.assertIn("2 jobs left as they are", html)
        self.assertRegex(html, r'H:test:1</bdi></a></th><td data-label="Why"><bdi>A worker has the job')
        self.assertRegex(html, r"&lt;i&gt;</bdi></a></th><td[^>]*><bdi>There is no such job any more")
        said = self.send("/jobs", *fields, accept=SCRIPT).json["text"]
        self.assertEqual(
            said,
            "0 jobs are jobs of g now; H:test:1: A worker has the job;"
            " H:test:2: The job is one of that function already; <i>: There is no such job any more",
        )
        self.worker().grab()
        handles = ("handle", "H:test:1"), ("handle", "H:test:3")
        said = self.send("/jobs", *fields[:2], *handles, accept=SCRIPT).json["text"]
        self.assertEqual(said, "0 jobs are jobs of g now; H:test:1, H:test:3: A worker has the job")

    def test_what_has_ended(self) -> None:
        """It is not cancelled, and can be forgotten."""
        self.dead()
        sure = ("handle", "H:test:1"), ("sure", "yes")
        answer = self.send("/jobs", ("act", "cancel"), *sure, accept=SCRIPT)
        self.assertEqual(answer.json["text"], "0 jobs are cancelled; H:test:1: The job has ended")
        answer = self.send("/jobs?of=kept", ("act", "forget"), *sure, accept=SCRIPT)
        self.assertEqual(answer.json, {"text": "1 job is forgotten", "to": "/jobs?of=kept"})
        self.assertEqual(self.broker.archive.jobs, {})

    def test_what_one_may_not_do_is_told(self) -> None:
        self.submit(b"f")
        self.submit(b"g")
        self.submit(b"h")
        self.allow("http", "see", "prioritise", functions=("f", "g"))
        self.deny("prioritise", function="g")
        handles = [("handle", f"H:test:{number}") for number in (1, 2, 3)]
        answer = self.send("/jobs", ("act", "prioritise"), ("priority", "low"), *handles, accept=SCRIPT)
        self.assertEqual(
            answer.json["text"],
            "1 job is of low priority now; H:test:2: Not allowed: prioritise g;"
            " H:test:3: There is no such job any more",
        )
        self.assertEqual(self.server.guard.refusals(), {"me": 1})

    def test_mistakes(self) -> None:
        self.submit()
        one = ("handle", "H:test:1")
        for fields, code in (
            ((("act", "fly"), one), "unknown_act"),
            ((("act", "requeue"), one), "unknown_act"),
            ((("act", "prioritise"), ("priority", "highest"), one), "unknown_priority"),
            ((("act", "move"), one), "no_function"),
            ((("act", "cancel"), *(("handle", str(n)) for n in range(MOST_SELECTED + 1))), "too_many_jobs"),
        ):
            with self.subTest(code=code):
                self.assertEqual(self.send("/jobs", *fields, accept=SCRIPT).code, code)
        answer = self.send("/jobs?older=soon", ("act", "cancel"), one, accept=SCRIPT)
        self.assertEqual((answer.status, answer.code), (400, "invalid_argument"))
        answer = self.send("/jobs", ("act", "cancel"), accept=SCRIPT)
        self.assertIn("Nothing is selected", answer.json["text"])
        self.assertEqual(len(self.broker.table.jobs), 1)
