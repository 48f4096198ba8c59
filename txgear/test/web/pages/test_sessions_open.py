"""Tests of L{txgear.web.pages.sessions} and L{txgear.web.sessions}: who is signed in, and for how long."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import maybeDeferred

from txgear.broker.records import SIGNED_OUT, StoredValue
from txgear.security.audit import LOGOUT
from txgear.security.sessions import LIFE
from txgear.security.tokens import new_token
from txgear.stores.memory import MemoryStore
from txgear.test.support.server import DurableServerFixture
from txgear.test.support.web import WebPeer
from txgear.test.web.pages.test_sessions import (
    EVENTS,
    HTML,
    NAVIGATION,
    RULES,
    Browser,
    SignInTestCase,
    stored,
)
from txgear.web.sessions import COOKIE, SECURE_COOKIE
from txgear.web.web import WebOptions


class SessionTests(SignInTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.worker(b"mail")
        self.browser.sign_in(self.ops)

    def test_what_it_counts_for(self) -> None:
        ask = self.browser.ask
        self.assertEqual(ask("GET", "/").status, 200)
        self.assertEqual(ask("HEAD", "/").status, 200)
        self.assertEqual(ask("GET", "/api/v1/functions", {}).json["functions"][0]["function"], "mail")
        client = self.browser.open("GET", "/events", EVENTS)
        self.clock.advance(0)
        self.assertIn(b"event: state", client.heard())
        client.leave()

    def test_what_it_does_not_count_for(self) -> None:
        for method, body in (("POST", {}), ("PUT", {}), ("PATCH", {}), ("DELETE", None)):
            answer = self.browser.ask(method, "/api/v1/functions/mail/pause", {}, body)
            self.assertEqual((answer.status, answer.code), (401, "access_denied"), method)
        bearer = {"Authorization": f"Bearer {self.ops}"}
        self.assertEqual(self.browser.ask("POST", "/api/v1/functions/mail/pause", bearer).status, 200)

    def test_one_connection_of_both(self) -> None:
        """A session counts for its request only."""
        cookie = {"Cookie": f"{COOKIE}={self.browser.cookies[COOKIE]}"}
        client = self.connect()
        for headers, status in ((cookie, 200), ({}, 401)):
            client.ask_web("GET", "/api/v1/functions", headers)
            self.assertEqual(client.web_answer().status, status)

    def test_a_token_beats_it(self) -> None:
        bearer = {**HTML, "Authorization": f"Bearer {self.guest}"}
        page = self.browser.ask("GET", "/", bearer)
        self.assertIn(b"guest", page.body)
        self.assertNotIn(b"Sign out", page.body)
        basic = {**HTML, "Authorization": "Basic eDp5"}
        self.assertIn(b"ops", self.browser.ask("GET", "/", basic).body)

    def test_hostile_cookies(self) -> None:
        good = self.browser.cookies[COOKIE]
        for said in (
            "",
            ";",
            "=",
            "txgear_session",
            f"{COOKIE}=",
            f"{COOKIE}={good}x",
            f"{COOKIE}={good[:-1]}",
            f"{COOKIE}={good}; {COOKIE}=x",
            f"{COOKIE}=x; {COOKIE}={good}",
            f"{COOKIE}={good}; {COOKIE}={good}",
            f"{COOKIE}=" + "x" * 8_000,
            f"{COOKIE}=\x01\x02\x1b[2J",
            f'{COOKIE}="\\377\\000"',
            f"{COOKIE}=\N{SNOWMAN}",
            "; ".join(f"a{number}=b" for number in range(1000)),
            f"{SECURE_COOKIE}=x; {COOKIE}={good}",
        ):
            answer = self.browser.ask("GET", "/", {**NAVIGATION, "Cookie": said})
            self.assertEqual(answer.status, 303, said[:60])
        for said in (f"a=b; {COOKIE}={good}", f"{SECURE_COOKIE}={good}"):
            self.assertEqual(self.browser.ask("GET", "/", {**NAVIGATION, "Cookie": said}).status, 200, said)

    def test_forms(self) -> None:
        """Their token is bound to the session, and to no other of the same identity."""
        other = Browser(self)
        other.sign_in(self.ops)
        foreign = other.form_token("/")
        self.assertEqual(self.browser.post("/sign-out", form_token=foreign).status, 403)
        self.assertEqual(self.browser.post("/sign-out", form_token="").status, 403)
        self.assertEqual(self.browser.ask("GET", "/").status, 200)
        self.assertEqual(self.browser.ask("GET", "/sign-out").status, 405)

    def test_its_time(self) -> None:
        self.clock.advance(LIFE + 1)
        self.assertEqual(self.browser.ask("GET", "/").status, 303)

    def test_sign_out(self) -> None:
        kept = dict(self.browser.cookies)
        answer = self.browser.sign_out()
        self.assertEqual((answer.status, answer.headers["Location"]), (303, "/sign-in?out=true"))
        self.assertNotIn(COOKIE, self.browser.cookies)
        self.assertIn(b"You are signed out", self.browser.ask("GET", "/sign-in?out=true").body)
        self.assertNotIn(b"You are signed out", self.browser.ask("GET", "/sign-in").body)
        line = self.acts_of(LOGOUT)[0]
        self.assertEqual((line["outcome"], line["identity"]), ("done", "ops"))
        self.assertEqual(line["request"], answer.headers["Request-Id"])
        self.browser.cookies = kept
        self.assertEqual(self.browser.ask("GET", "/").status, 303)
        self.assertEqual(self.browser.post("/sign-out").headers["Location"], "/sign-in?out=true")
        self.assertEqual(len(self.acts_of(LOGOUT)), 1)

    def test_sign_out_from_another_site(self) -> None:
        token = self.browser.form_token("/")
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"}):
            self.assertEqual(self.browser.post("/sign-out", headers, form_token=token).status, 403)
        self.assertEqual(self.browser.ask("GET", "/").status, 200)

    def test_a_token_that_is_replaced(self) -> None:
        self.set_rules(ops=new_token())
        self.assertEqual(self.browser.ask("GET", "/").status, 303)
        self.set_rules()
        self.assertEqual(self.browser.ask("GET", "/").status, 200)

    def test_an_identity_that_is_renamed(self) -> None:
        client = self.browser.open("GET", "/", EVENTS)
        self.clock.advance(0)
        self.rules(
            RULES.replace('"ops"', '"root"').format(
                ops=stored(self.ops), guest=stored(self.guest), worker=stored(self.of_worker)
            )
        )
        self.clock.advance(0.25)
        self.clock.advance(0)
        self.assertIn(b"event: reload", client.heard())
        self.assertIn(b"root", self.browser.ask("GET", "/").body)


class KeptOpenTests(SignInTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.browser.sign_in(self.ops)

    def open(self, target: str = "/") -> WebPeer:
        client = self.browser.open("GET", target, EVENTS)
        self.clock.advance(0)
        self.assertIn(b"HTTP/1.1 200", client.heard())
        return client

    def test_sign_out(self) -> None:
        """The pages of this session go, and those of another one stay."""
        pages, events = self.open(), self.open("/events")
        other = Browser(self)
        other.sign_in(self.ops)
        stays = other.open("GET", "/", EVENTS)
        self.clock.advance(0)
        stays.heard()
        self.browser.sign_out()
        self.assertTrue(pages.heard().rstrip(b"\r\n0").endswith(b"event: reload\ndata: {}"))
        self.assertNotIn(b"reload", events.heard())
        self.assertTrue(events.closed)
        self.assertNotIn(b"reload", stays.heard())
        self.assertFalse(stays.closed)
        stays.leave()
        self.assertEqual(self.server.guard._stand_ins, {})

    def test_sign_out_at_another_server(self) -> None:
        """Of two with the same store; which ends one session, and no other."""
        page = self.open()
        other = Browser(self)
        other.sign_in(self.ops)
        stays = other.open("GET", "/", EVENTS)
        self.clock.advance(0)
        (session, _), _ = self.web.sessions._streams.values()
        name = f"{session.token.id} {session.id}".encode()
        self.web.sessions.hear(StoredValue(SIGNED_OUT, name, session.began / 1000))
        self.assertIn(b"event: reload", page.heard())
        self.assertEqual(self.browser.ask("GET", "/").status, 303)
        self.assertNotIn(b"reload", stays.heard())
        stays.leave()

    def test_sign_out_while_one_reads_nothing(self) -> None:
        """A page that was told to load again, and has not read that, is in the way of no other."""
        stuck = self.open()
        stuck.transport.stuck = True
        for number in range(8):
            self.worker(b"%d" % number + b"f" * 8000)
        self.clock.pump([1.0, 0.0, 0.0])
        self.set_rules()
        self.clock.pump([1.0, 0.0, 0.0])
        page = self.open()
        self.assertEqual(len(self.web.sessions._streams), 2)
        out = self.browser.post("/sign-out", form_token=self.browser.form_token("/tasks"))
        self.assertEqual(out.status, 303)
        self.assertIn(b"event: reload", page.heard())

    def test_its_time(self) -> None:
        page = self.open()
        self.clock.pump([LIFE / 2, LIFE / 2])
        self.assertIn(b"event: reload", page.heard())
        self.assertEqual(self.web.sessions._streams, {})

    def test_who_leaves(self) -> None:
        page = self.open()
        page.leave()
        self.assertEqual(self.web.sessions._streams, {})
        self.browser.sign_out()

    def test_head(self) -> None:
        self.browser.ask("HEAD", "/events", EVENTS)
        self.clock.advance(0)
        self.assertEqual(self.web.sessions._streams, {})

    def test_a_token_that_is_taken_away(self) -> None:
        page, events = self.open(), self.open("/events")
        self.set_rules(ops=new_token())
        self.clock.advance(0.25)
        self.clock.advance(0)
        self.assertTrue(page.closed)
        self.assertTrue(events.closed)
        page.leave()
        events.leave()
        self.assertEqual(self.web.sessions._streams, {})

    def test_rights_that_are_taken_away(self) -> None:
        page = self.open()
        self.set_rules('[[access]]\nidentities = ["ops"]\ndeny = ["see"]\n')
        self.clock.advance(0.25)
        self.clock.advance(0)
        self.assertIn(b"event: reload", page.heard())


class RestartTests(SignInTestCase):
    """Sessions go on where there is a store."""

    def start(self, options: WebOptions | None = None, **choices: Any) -> None:
        self.store = MemoryStore()
        self.ops, self.guest, self.of_worker = new_token(), new_token(), new_token()
        self.start_on(self.store)
        self.browser = Browser(self)

    def start_on(self, store: MemoryStore) -> None:
        fixture = DurableServerFixture(store, maybeDeferred)
        self.use(fixture)
        self.web.sessions.restore(store.values())
        self.set_rules()

    def restart(self) -> None:
        """All that is to be kept has been written."""
        self.clock.advance(1)
        self.fixture.journal.abandon()
        self.store.close(None)
        self.start_on(self.store)

    def test_it_goes_on(self) -> None:
        self.browser.sign_in(self.ops)
        token = self.browser.form_token("/")
        self.restart()
        self.assertIn(b"ops", self.browser.ask("GET", "/").body)
        self.assertEqual(self.browser.post("/sign-out", form_token=token).status, 303)
        self.assertEqual(self.browser.ask("GET", "/").status, 303)

    def test_what_has_ended_stays_so(self) -> None:
        self.browser.sign_in(self.ops)
        kept = dict(self.browser.cookies)
        self.browser.sign_out()
        self.restart()
        self.browser.cookies = kept
        self.assertEqual(self.browser.ask("GET", "/").status, 303)

    def test_without_the_store(self) -> None:
        self.browser.sign_in(self.ops)
        self.start_on(MemoryStore())
        self.assertEqual(self.browser.ask("GET", "/").status, 303)
