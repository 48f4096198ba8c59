"""Tests of L{txgear.web.pages.store}, L{txgear.web.api.store} and L{txgear.server.storestate}."""

from __future__ import annotations

from twisted.logger import capturedLogs

from txgear.errors import StoreUnavailable
from txgear.protocol.constants import SUBMIT_JOB_BG
from txgear.protocol.packets import request
from txgear.test.support.journal import AWAY, WELL, FaultyStore, ReportingStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.web.api.apicase import ApiTestCase
from txgear.web.api import server, store
from txgear.web.api.server import Server
from txgear.web.api.store import StoreState
from txgear.web.pages import dashboard

BROWSER = {"Accept": "text/html"}


class StoreTests(ApiTestCase):
    parts = (dashboard, server, store)

    def page(self) -> str:
        client = self.connect()
        client.ask_web("GET", "/store", {**self.headers, **BROWSER})
        self.clock.advance(0)
        answer = client.web_answer()
        self.assertEqual(answer.status, 200, answer.body)
        return answer.body.decode()

    def keep(self, kept: FaultyStore) -> None:
        """Have this store."""
        self.use(DurableServerFixture(kept))
        self.submit()

    def submit(self) -> None:
        """A job that is kept."""
        self.fixture.connect().tell(request(SUBMIT_JOB_BG, b"f", b"", b"abc"))
        self.fixture.thread.run_all()

    def test_without_a_store(self) -> None:
        html = self.page()
        self.assertIn("Those that have not ended are lost when the server ends", html)
        self.assertNotIn("Changes on their way", html)
        found = self.read("/api/v1/store", StoreState)
        self.assertEqual((found["state"], found["commits"], found["report"]), ("memory", None, None))

    def test_a_durable_store(self) -> None:
        self.keep(ReportingStore())
        html = self.page()
        self.assertIn("<strong>The store works.</strong>", html)
        self.assertIn("<strong>Durable:</strong>", html)
        self.assertNotIn("<dt>Machines</dt>", html)
        self.assertIn("<dt><code>synchronous</code></dt><dd>FULL</dd>", html)
        self.assertIn("<li>1 commit</li>", html)
        self.assertIn("Commits since the server started", html)
        found = self.read("/api/v1/store", StoreState)
        self.assertEqual((found["state"], found["jobs"], found["ended"]), ("ok", 1, 0))
        self.assertEqual((found["commits"]["count"], found["rows"]["mean"]), (1, 1.0))
        self.assertEqual(found["report"]["settings"], {"synchronous": "FULL"})
        self.assertEqual(found["report"]["asked"], "1970-01-01T00:16:40.000Z")

    def test_doubts(self) -> None:
        kept = ReportingStore()
        kept.said = WELL._replace(doubts=("synchronous is <OFF>",), promise="primary with <1> standby")
        with capturedLogs():
            self.keep(kept)
        html = self.page()
        self.assertIn("<strong>Less than durable:</strong> synchronous is &lt;OFF&gt;.", html)
        self.assertNotIn("<strong>Durable:</strong>", html)
        self.assertIn("<dt>Machines</dt><dd>primary with &lt;1&gt; standby</dd>", html)

    def test_it_is_asked_again_when_one_looks(self) -> None:
        kept = ReportingStore()
        self.keep(kept)
        before = kept.questions
        self.clock.advance(61)
        self.page()
        self.fixture.thread.run_all()
        self.assertEqual(kept.questions, before + 1)

    def test_a_store_that_does_not_say(self) -> None:
        self.keep(FaultyStore())
        self.assertIn("This store does not say how durable it is", self.page())
        self.use(DurableServerFixture(ReportingStore()))
        self.assertIn("The store has not said yet", self.page())

    def test_away(self) -> None:
        kept = FaultyStore()
        self.keep(kept)
        kept.fail("write", StoreUnavailable("the cable is out"), times=99)
        kept.fail("open", StoreUnavailable("the cable is <out>"), times=99)
        with capturedLogs():
            self.fixture.connect().tell(request(SUBMIT_JOB_BG, b"f", b"", b"abc"))
            self.fixture.thread.run()
            self.assertIn("The store was lost a moment ago", self.page())
            for _ in range(6):
                self.clock.advance(5)
                self.submit()
            html = self.page()
            found = self.read("/api/v1/store", StoreState)
            own = self.read("/api/v1/server", Server)["store"]
            self.allow("http", "metrics")
            stranger = self.read("/api/v1/store", StoreState)
        self.assertIn("The store does not answer, for", html)
        self.assertIn("the cable is &lt;out&gt;", html)
        self.assertEqual((found["state"], found["why"], found["losses"]), ("away", "the cable is <out>", 1))
        self.assertEqual((own["available"], own["why"]), (False, "the cable is <out>"))
        # Who may not know where it is reads what clients do.
        self.assertEqual((stranger["state"], stranger["why"]), ("away", AWAY.decode()))
        self.assertIsNotNone(found["since"])
        self.assertIn("are refused, and their clients told so", html)

    def test_the_end(self) -> None:
        self.keep(FaultyStore())
        self.fixture.journal.settle()
        self.assertIn("no job is kept any more", self.page())

    def test_live(self) -> None:
        self.keep(ReportingStore())
        client = self.connect()
        client.ask_web("GET", "/store", {"Accept": "text/event-stream"})
        self.clock.advance(0)
        client.heard()
        self.submit()
        self.clock.advance(0.5)
        self.clock.advance(0)
        self.assertIn(b'"card-jobs"', client.heard())
        client.leave()

    def test_rights(self) -> None:
        self.allow("http", "see", "settings")
        self.assertEqual(self.ask("GET", "/store", BROWSER).status, 403)
        self.assertEqual(self.ask("GET", "/api/v1/store").code, "access_denied")

    def test_where_it_is_is_for_who_may_see_settings(self) -> None:
        kept = FaultyStore()
        kept.name = "sqlite:///secret/place"
        self.keep(kept)
        self.assertIn("sqlite:///secret/place", self.page())
        self.allow("http", "metrics")
        self.assertNotIn("secret", self.page())
        self.assertEqual(self.read("/api/v1/store", StoreState)["name"], "sqlite")
