"""Tests of L{txgear.web.pages.overview}, and of the list and the survey that it shows."""

from __future__ import annotations

import re
from functools import partial

from txgear.broker.model import Peer
from txgear.policies import Policies, Policy, Retries
from txgear.protocol.constants import WORK_COMPLETE, WORK_FAIL
from txgear.server.setup import PortShown
from txgear.stores.memory import MemoryStore
from txgear.test.support.clusterview import FakeCluster, server_shown
from txgear.test.support.server import DurableServerFixture
from txgear.test.support.web import WebPeer, WebTestCase
from txgear.web.api import functionlist
from txgear.web.api.functionlist import FunctionList, FunctionQuery
from txgear.web.pages import dashboard, lately
from txgear.web.pages.survey import PERIOD

POLICIES = Policies([("*", Policy(retries=Retries(0)))])
BROWSER = {"Accept": "text/html"}


class OverviewTestCase(WebTestCase):
    parts = (dashboard,)

    def page(self, query: str = "") -> str:
        client = self.connect()
        client.ask_web("GET", f"/{query}", {**self.headers, **BROWSER})
        # A look is taken in pieces.
        self.clock.pump([0] * 3)
        answer = client.web_answer()
        self.assertEqual(answer.status, 200, answer.body)
        return answer.body.decode()

    def submit(self, name: bytes = b"f", **rest: object) -> None:
        self.broker.submit(None, name, b"", b"w", self.server.seconds(), background=True, **rest)

    def rows(self, html: str) -> list[str]:
        """The names of the functions that are listed."""
        return re.findall(r'<th scope="row" data-label="Function"><a href="[^"]*">([^<]*)</a>', html)

    def pass_time(self, seconds: float) -> None:
        while seconds > 0:
            self.clock.advance(min(seconds, 1.0))
            for _ in range(20):
                self.clock.advance(0)
            seconds -= 1.0

    def kept_open(self, query: str = "") -> WebPeer:
        client = self.connect()
        client.ask_web("GET", f"/{query}", {**self.headers, "Accept": "text/event-stream"})
        self.clock.advance(0)
        return client


class WrongTests(OverviewTestCase):
    def test_all_is_well(self) -> None:
        self.worker(b"f")
        self.assertIn('class="finding ok">Nothing is wrong.', self.page())

    def test_what_is_wrong_comes_first(self) -> None:
        self.submit(b"mail.send")
        html = self.page()
        self.assertIn('class="finding critical"', html)
        self.assertIn("1 job waits, and there has been no worker since the server started", html)
        self.assertLess(html.index("1 job waits"), html.index("Jobs queued"))
        self.assertNotIn("Nothing is wrong", html)
        self.assertIn('<a href="/functions/mail.send">mail.send</a></strong>', html)

    def test_of_the_server(self) -> None:
        self.broker.drain(self.server.seconds())
        html = self.page()
        self.assertIn("<strong>The server</strong>", html)
        self.assertIn("the server is to end", html)
        self.assertIn(">is to end</a>", html)

    def test_of_one_that_ends_at_once(self) -> None:
        self.use(DurableServerFixture(MemoryStore()))
        self.fixture.journal.settle()
        html = self.page()
        self.assertIn("the server ends", html)
        self.assertIn(">is to end</a>", html)
        self.assertNotIn("does not answer", html)

    def test_of_many_only_the_worst(self) -> None:
        for place in range(25):
            self.submit(b"f%d" % place)
        html = self.page()
        self.assertEqual(html.count('class="finding critical"'), 20)
        self.assertIn('Something is wrong with <a href="/troubles">5 more functions</a>.', html)

    def test_what_one_may_not_see_is_not_told(self) -> None:
        self.submit(b"secret.f")
        self.submit(b"mail.send")
        self.allow("http", "see", functions=("mail.*",))
        html = self.page()
        self.assertIn("mail.send", html)
        self.assertNotIn("secret", html)
        self.assertEqual(self.rows(html), ["mail.send"])

    def test_those_who_may_see_other_things_are_told_other_things(self) -> None:
        self.submit(b"secret.f")
        self.assertIn("secret.f", self.page())
        self.allow("http", "see", functions=("mail.*",))
        self.assertNotIn("secret", self.page())

    def test_a_page_that_is_kept_open_hears_of_it(self) -> None:
        client = self.kept_open()
        self.assertIn(b"all-well", client.heard())
        self.submit(b"f")
        self.pass_time(PERIOD + 2)
        heard = client.heard()
        self.assertIn(b"1 job waits, and there has been no worker", heard)
        client.leave()
        self.assertEqual(self.server.guard._stand_ins, {})

    def test_it_is_made_once_for_all_who_see_the_same(self) -> None:
        self.page()
        self.submit(b"f")
        # What was found a moment ago is shown, while the next is made.
        self.assertIn("Nothing is wrong", self.page())
        self.clock.advance(PERIOD)
        self.page()
        self.clock.advance(0)
        self.assertIn("1 job waits", self.page())

    def test_what_nobody_has_asked_for_in_a_while_is_not_shown(self) -> None:
        self.page()
        self.submit(b"f")
        self.clock.advance(60)
        self.assertIn("1 job waits", self.page())


class ClusterTests(OverviewTestCase):
    def test_whose_figures_these_are(self) -> None:
        self.assertNotIn("this server's own", self.page())
        other = server_shown("b", 2, address="b.example:4730")
        self.server.cluster = FakeCluster(server_shown("a", 1, own=True), other)
        told = "the jobs of <bdi>b</bdi> at <bdi>b.example:4730</bdi> (12 queued, 3 running).</p>"
        self.assertIn(f"All figures here are this server's own. Not in them: {told}", self.page())


class CardTests(OverviewTestCase):
    def card(self, html: str, label: str) -> tuple[str, str]:
        found = re.search(rf"<dt>{label}</dt><dd><a href=\"([^\"]*)\">([^<]*)</a>", html)
        assert found is not None, html
        return found[1], found[2]

    def test_counts(self) -> None:
        worker = self.worker(b"f")
        for _ in range(3):
            self.submit()
        self.submit(delay=50.0)
        worker.grab()
        html = self.page()
        self.assertEqual(self.card(html, "Jobs queued"), ("/jobs?state=queued", "2"))
        self.assertEqual(self.card(html, "Jobs running"), ("/jobs?state=running", "1"))
        self.assertEqual(self.card(html, "Jobs for later"), ("/jobs?state=waiting", "1"))
        self.assertEqual(self.card(html, "Dead jobs"), ("/dead", "0"))
        self.assertEqual(self.card(html, "Store"), ("/store", "works"))
        self.assertEqual(self.card(html, "Connections"), ("/server", "2"))

    def test_rates_of_the_server(self) -> None:
        for _ in range(20):
            self.submit()
        self.pass_time(20)
        self.assertEqual(self.card(self.page(), "In per second"), ("/server", "0"))

    def test_workers_as_they_were_counted(self) -> None:
        self.worker(b"f")
        self.server.census.start()
        self.clock.advance(0)
        html = self.page()
        self.assertEqual(self.card(html, "Workers"), ("/workers", "1"))
        self.assertIn("0 busy, 0 asleep", html)

    def test_who_may_not_see_the_server_has_none_of_its_cards(self) -> None:
        self.submit(b"secret")
        self.allow("http", "see", functions=("mail.*",))
        html = self.page()
        for label in ("Connections", "Store", "Workers</dt>", "In per second"):
            self.assertNotIn(f"<dt>{label}", html)
        self.assertEqual(self.card(html, "Jobs queued")[1], "0")


class FunctionsTests(OverviewTestCase):
    def test_a_row(self) -> None:
        self.submit(b"mail.[1]")
        self.broker.operations.pause(b"mail.[1]", self.server.seconds())
        html = self.page()
        self.assertIn(
            '<a href="/functions/mail.%5B1%5D">mail.[1]</a> <span class="badge warning">paused', html
        )
        self.assertIn("<title>jobs queued, last hour: now", html)
        self.assertIn("data-age>less than 1 s</time>", html)

    def test_a_row_is_short(self) -> None:
        for _ in range(3):
            self.submit()
        self.pass_time(30)
        row = re.search(r"<tr id=\"function-.*?</tr>", self.page(), re.DOTALL)
        assert row is not None
        self.assertLess(len(row[0]), 1500 + 60)

    def test_the_dead_lead_to_the_dead_of_the_function(self) -> None:
        self.broker.operations.set_policies(POLICIES, self.server.seconds())
        worker = self.worker(b"mail[1]")
        self.submit(b"mail[1]")
        worker.say(WORK_FAIL, worker.grab()[0])
        html = self.page("?sort=dead")
        self.assertIn('<a href="/dead?function=mail%5B%5B%5D1%5D">1</a>', html)

    def test_one_without_anything_can_be_forgotten(self) -> None:
        self.submit(b"g")
        self.broker.operations.create_function(b"f")
        button = '<button form="act" formaction="/functions/f/drop"'
        html = self.page()
        self.assertIn(button, html)
        self.assertNotIn("/functions/g/drop", html)
        self.allow("http", "see")
        self.assertNotIn(button, self.page())

    def test_hostile_names(self) -> None:
        for name in (b"<script>alert(1)</script>", b"\xff\x01\"'", b"\xe2\x80\xae", b"x" * 8000):
            self.submit(name)
        html = self.page()
        self.assertNotIn("<script>alert", html)
        self.assertEqual(len(self.rows(html)), 4)

    def test_a_pattern(self) -> None:
        for name in (b"mail.a", b"mail.b", b"other"):
            self.submit(name)
        html = self.page("?function=mail.*")
        self.assertEqual(self.rows(html), ["mail.a", "mail.b"])
        self.assertIn('value="mail.*"', html)
        self.assertIn("2 of 2 functions", html)
        self.assertIn("No function has such a name", self.page("?function=nothing"))

    def test_what_is_no_query(self) -> None:
        for query in ("?sort=colour", "?unknown=1", f"?function={'*' * 101}", f"?function={'x' * 1001}"):
            self.assertEqual(self.ask("GET", f"/{query}", BROWSER).status, 400, query)

    def test_sorted(self) -> None:
        self.worker(b"b")
        for name, count in ((b"a", 1), (b"b", 0), (b"c", 3)):
            for _ in range(count):
                self.submit(name)
        self.assertEqual(self.rows(self.page()), ["a", "b", "c"])
        html = self.page("?sort=queued")
        self.assertEqual(self.rows(html), ["c", "a", "b"])
        self.assertIn('aria-sort="descending"><a href="/?sort=queued">Queued', html)
        self.assertEqual(self.rows(self.page("?sort=workers")), ["b", "a", "c"])
        for sort in ("oldest", "running", "rate", "dead"):
            self.assertEqual(len(self.rows(self.page(f"?sort={sort}"))), 3)

    def test_pages(self) -> None:
        for place in range(250):
            self.submit(b"f%03d" % place)
        names, query = [], ""
        for count in (100, 100, 50):
            html = self.page(query)
            self.assertIn(f"{count} of 250 functions", html)
            names += self.rows(html)
            more = re.search(r'<a href="/(\?[^"]*)" rel="next">', html)
            query = more[1].replace("&amp;", "&") if more else ""
        self.assertEqual(names, [f"f{place:03}" for place in range(250)])
        self.assertEqual(query, "")
        self.assertIn('<a href="/">First page</a>', html)

    def test_pages_of_those_that_are_sorted_otherwise(self) -> None:
        for place in range(130):
            for _ in range(place % 3):
                self.submit(b"f%03d" % place)
        for sort in ("queued", "oldest"):
            first = self.page(f"?sort={sort}")
            self.assertNotIn('rel="next"', first)
        for place in range(130):
            self.worker(b"f%03d" % place)
        for sort in ("queued", "oldest"):
            first = self.page(f"?sort={sort}")
            more = re.search(r'<a href="/(\?[^"]*)" rel="next">', first)
            assert more is not None
            self.clock.advance(5)
            second = self.page(more[1].replace("&amp;", "&"))
            self.assertEqual(len(set(self.rows(first) + self.rows(second))), 130)

    def test_nothing_yet(self) -> None:
        html = self.page()
        self.assertIn("curl --data-binary hello http://localhost/api/v1/functions/upper/jobs", html)
        self.assertIn("txgear work upper -- tr a-z A-Z", html)
        for place in ("[::1]:4730", "/run/gear.sock"):
            self.server.setup.ports = partial(list, [PortShown("gear", place, False)])
            self.assertIn("txgear work upper -- tr a-z A-Z", self.page())
        shown = [PortShown("gear", "[::1]:4731", True), PortShown("gear", "[::1]:4732", False)]
        self.server.setup.ports = partial(list, shown)
        self.assertIn("txgear work upper --server 127.0.0.1:4732 -- tr a-z A-Z", self.page())

    def test_one_that_nobody_uses_any_more_stays_for_an_hour(self) -> None:
        worker = self.worker(b"f")
        self.submit()
        worker.say(WORK_COMPLETE, worker.grab()[0], b"")
        self.pass_time(20)
        worker.leave()
        self.assertEqual(self.broker.functions.by_name, {})
        self.assertEqual(self.rows(self.page()), ["f"])
        self.clock.pump([10, 0] * 400)
        self.assertEqual(self.rows(self.page()), [])

    def test_what_does_not_change_is_not_told_again(self) -> None:
        self.submit()
        client = self.kept_open()
        client.heard()
        self.pass_time(8)
        self.assertNotIn(b"function-", client.heard())


class ListTests(OverviewTestCase):
    def test_many_are_passed_over_in_steps(self) -> None:
        for place in range(functionlist.STEP * 3):
            self.broker.functions.get(b"f%04d" % place)
        found = FunctionList(self.broker, Peer(1, "x"), FunctionQuery(), lambda name: 0.0)
        self.assertEqual(len(list(found.steps())), 3)
        self.assertEqual([function.name for function in found.rows], [b"f%04d" % n for n in range(100)])
        self.assertEqual(found.matched, functionlist.STEP * 3)

    def test_sorted_by_what_has_ended(self) -> None:
        self.worker(b"a")
        self.worker(b"b")
        query = FunctionQuery(sort="rate")
        found = FunctionList(self.broker, Peer(1, "x"), query, {b"b": 2.0, b"a": 1.0}.__getitem__)
        self.assertEqual(list(found.steps()), [])
        self.assertEqual([function.name for function in found.rows], [b"b", b"a"])


class RecentTests(OverviewTestCase):
    def test_it_is_made_once_for_each_step(self) -> None:
        worker = self.worker(b"f")
        self.submit()
        worker.say(WORK_COMPLETE, worker.grab()[0], b"")
        recent = lately.Recent(self.web.history)
        function = self.broker.functions.by_name[b"f"]
        recent.begin()
        first = recent.of(function, True)
        self.assertIs(recent.of(function, True), first)
        self.assertEqual(recent.rate(b"f"), 0.0)
        self.pass_time(10)
        recent.begin()
        second = recent.of(function, True)
        self.assertIsNot(second, first)
        self.assertIsNotNone(second.wait[0])
        self.assertEqual(recent.of(self.broker.functions.get(b"g"), False).wait, (None, None))
        self.assertEqual(recent.rate(b"f"), 0.1)
