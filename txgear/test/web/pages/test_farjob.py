"""Tests of L{txgear.web.pages.farjob}: pages of jobs that another server of a cluster has."""

from __future__ import annotations

from urllib.parse import urlencode

from txgear.daemon.config import parse_config
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import WORK_COMPLETE, WORK_FAIL
from txgear.protocol.packets import request
from txgear.server.elsewhere import PATIENCE
from txgear.test.support.http import HttpTransport
from txgear.test.support.orders import ANSWERED, OrdersTestCase, handle
from txgear.test.support.web import WebAnswer, WebPeer
from txgear.web.apisite import make_api
from txgear.web.site import make_web

BROWSER = {"Accept": "text/html,*/*;q=0.8"}
PAGE = "/jobs/H%3Atest%3A1"


class FarJobTests(OrdersTestCase):
    def setUp(self) -> None:
        super().setUp()
        webs = {self.a: make_api(self.a.server), self.b: make_web(self.b.server)}
        for node, web in webs.items():
            web.start()
            self.addCleanup(web.stop)
            node.server.web_channel = web.switched
        self.factory = webs[self.b].factory(("localhost",))
        settings = {"results": "1h", "retries": 0, "dead": {"keep": "1h"}}
        policies = Policies([("f", CLASSIC.with_settings(settings))])
        self.a.server.broker.operations.set_policies(policies, self.world.clock.seconds())

    def call(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        seconds: float = ANSWERED,
    ) -> WebAnswer:
        peer = WebPeer(self.factory, HttpTransport())
        peer.ask_web(method, path, {**BROWSER, **(headers or {})}, body)
        self.world.run(seconds)
        return peer.web_answer()

    def page(self, path: str = PAGE) -> str:
        answer = self.call("GET", path)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.body.decode()

    def post(self, act: str, **fields: str) -> WebAnswer:
        first = self.call("GET", PAGE)
        token = first.body.decode().partition('name="form_token" value="')[2].partition('"')[0]
        headers = {
            "Cookie": first.headers["Set-Cookie"].partition(";")[0],
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return self.call(
            "POST", f"{PAGE}/{act}", headers, urlencode({"form_token": token, **fields}).encode()
        )

    def test_one_that_is_queued(self) -> None:
        self.submit(unique=b"<u>")
        html = self.page()
        self.assertIn("Another server of the cluster has this job", html)
        self.assertIn("<dd><bdi>&lt;u&gt;</bdi></dd>", html)
        self.assertIn("<dd><bdi>queued</bdi></dd>", html)
        self.assertIn(f'formaction="{PAGE}/cancel"', html)
        self.assertNotIn(f"{PAGE}/forget", html)
        self.assertNotIn(f"{PAGE}/requeue", html)
        self.assertEqual(self.call("GET", f"{PAGE}/workload").body, b"w")

    def test_it_is_cancelled(self) -> None:
        self.submit()
        asked = self.post("cancel")
        self.assertEqual(asked.status, 200)
        self.assertIn(b"Whoever waits for it hears that it failed.", asked.body)
        done = self.post("cancel", sure="yes")
        self.assertEqual((done.status, done.headers["Location"]), (303, "/jobs"))
        self.assertEqual(self.a.server.broker.table.jobs, {})

    def test_one_that_is_dead(self) -> None:
        self.submit()
        self.grab().tell(request(WORK_FAIL, handle(1)))
        self.world.run(0.3)
        html = self.page()
        self.assertIn('<td data-label="Why">fail</td>', html)
        self.assertIn(f"{PAGE}/forget", html)
        done = self.post("requeue")
        self.assertEqual((done.status, done.headers["Location"]), (303, PAGE))
        self.assertIn("<dd><bdi>queued</bdi></dd>", self.page())

    def test_one_that_is_done(self) -> None:
        self.submit()
        self.grab().tell(request(WORK_COMPLETE, handle(1), b"done"))
        self.world.run(0.3)
        self.assertIn("<dd><bdi>done</bdi></dd>", self.page())
        self.assertEqual(self.call("GET", f"{PAGE}/result").body, b"done")
        self.assertEqual(self.post("forget", sure="yes").status, 303)
        self.assertEqual(self.call("GET", PAGE).status, 404)

    def test_one_of_this_server(self) -> None:
        self.submit(node=self.b)
        (number,) = self.b.server.broker.table.jobs
        self.assertNotIn("Another server", self.page(f"/jobs/H:test:{number}"))
        self.assertEqual(self.call("GET", f"/jobs/H:test:{number}/workload").body, b"w")

    def test_one_that_nobody_has(self) -> None:
        self.submit()
        for path in ("/jobs/H:test:7", "/jobs/H:test:7/workload", "/jobs/x"):
            self.assertEqual(self.call("GET", path).status, 404, path)
        self.a.server.broker.operations.cancel(handle(1), self.world.clock.seconds())
        self.world.run(0.3)

    def test_one_that_ends_before_something_is_done_to_it(self) -> None:
        """What cannot be done is said on a page."""
        self.submit()
        worker = self.grab()
        answer = self.post("requeue")
        self.assertEqual(answer.status, 409)
        self.assertIn(b"The job is not dead, and does not wait", answer.body)
        worker.leave()

    def test_a_server_that_does_not_answer(self) -> None:
        self.submit()
        self.a.freeze()
        answer = self.call("GET", PAGE, seconds=PATIENCE + 0.5)
        self.assertEqual(answer.status, 504)
        self.assertIn(b"The server that has the job does not answer", answer.body)

    def test_rights(self) -> None:
        rules = """
            [[access]]
            identities = ["nobody"]
            allow = ["http", "see"]
        """
        self.submit()
        self.b.server.guard.replace(parse_config(rules, "test").access)
        self.world.run(0.1)
        self.assertNotIn(f"{PAGE}/cancel", self.page())
        self.assertEqual(self.call("GET", f"{PAGE}/workload").status, 401)
        self.assertEqual(self.post("cancel", sure="yes").status, 401)
