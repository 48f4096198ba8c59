"""Tests of L{txgear.web.pages.sessions} and L{txgear.web.sessions}."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from txgear.security.audit import LOGIN
from txgear.security.sessions import LIFE
from txgear.security.tokens import Token, new_token
from txgear.test.support.web import WebAnswer, WebPeer, WebTestCase
from txgear.web.api import functionacts, functions
from txgear.web.events import readers
from txgear.web.pages import dashboard
from txgear.web.sessions import COOKIE, SECURE_COOKIE
from txgear.web.web import WebOptions

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
NAVIGATION = {**HTML, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}
EVENTS = {"Accept": "text/event-stream"}
FORM = "application/x-www-form-urlencoded"

RULES = """
[[identity]]
name = "ops"
tokens = ["{ops}"]

[[identity]]
name = "guest"
tokens = ["{guest}"]

[[identity]]
name = "worker"
tokens = ["{worker}"]

[[identity]]
name = "here"
addresses = ["192.0.2.1"]

[[access]]
identities = ["ops", "here"]
allow = ["all"]

[[access]]
identities = ["guest"]
allow = ["http", "see"]

[[access]]
identities = ["worker"]
allow = ["work"]
"""
NOBODY = """
[[access]]
identities = ["nobody"]
allow = ["http", "see"]
"""


def stored(token: str) -> str:
    """A token as it stands in the file."""
    found = Token.of(token.encode())
    assert found is not None
    return str(found)


class Browser:
    """
    One browser, with its cookies.
    """

    def __init__(self, case: SignInTestCase, address: str = "127.0.0.1") -> None:
        self.case = case
        self.address = address
        self.cookies: dict[str, str] = {}

    def open(self, method: str, target: str, headers: Mapping[str, str], body: Any = None) -> WebPeer:
        """A request of a new connection."""
        client = self.case.connect(self.address)
        said = {**headers}
        if self.cookies and "Cookie" not in said:
            said["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        client.ask_web(method, target, said, body)
        return client

    def ask(
        self, method: str, target: str, headers: Mapping[str, str] = NAVIGATION, body: Any = None
    ) -> WebAnswer:
        """A request, and its answer."""
        client = self.open(method, target, headers, body)
        answer = client.web_answer()
        for said in answer.headers.get_all("Set-Cookie", []):  # type: ignore[attr-defined]
            name, _, rest = said.partition("=")
            self.cookies[name] = rest.partition(";")[0]
            if "Max-Age=0" in said:
                del self.cookies[name]
        return answer

    def form_token(self, target: str = "/sign-in") -> str:
        """The token of the forms of a page."""
        found = re.search(rb'name="form_token" value="([^"]+)"', self.ask("GET", target).body)
        assert found is not None
        return found[1].decode()

    def post(self, target: str, headers: Mapping[str, str] | None = None, **fields: str) -> WebAnswer:
        """Send a form, and follow nothing."""
        body = urlencode(fields).encode()
        said = {"Content-Type": FORM, "Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
        return self.ask("POST", target, {**NAVIGATION, **said, **(headers or {})}, body)

    def sign_in(self, token: str, next: str = "/", headers: Mapping[str, str] | None = None) -> WebAnswer:
        """As somebody does who is led there."""
        return self.post("/sign-in", headers, form_token=self.form_token(), token=token, next=next)

    def sign_out(self) -> WebAnswer:
        return self.post("/sign-out", form_token=self.form_token("/"))


class SignInTestCase(WebTestCase):
    parts = (dashboard, functionacts, functions, readers)
    more = ""

    def start(self, options: WebOptions | None = None, **choices: Any) -> None:
        super().start(options, **choices)
        self.ops, self.guest, self.of_worker = new_token(), new_token(), new_token()
        self.set_rules()
        self.browser = Browser(self)

    def set_rules(self, more: str | None = None, **tokens: str) -> None:
        known = {"ops": self.ops, "guest": self.guest, "worker": self.of_worker, **tokens}
        text = RULES.format(**{name: stored(token) for name, token in known.items()})
        self.rules(text + (self.more if more is None else more))
        # All who are connected are judged anew.
        for _ in range(3):
            self.clock.advance(0)

    def acts_of(self, act: str) -> list[dict[str, Any]]:
        """What the audit log has of an act, the newest first."""
        return [line for line in self.server.audit.last(0, 100)[0] if line["act"] == act]


class LeadTests(SignInTestCase):
    def test_a_page(self) -> None:
        answer = self.browser.ask("GET", "/?a=b&c=%2F%2Fd")
        self.assertEqual((answer.status, answer.body), (303, b""))
        self.assertEqual(answer.headers["Location"], "/sign-in?next=/%3Fa%3Db%26c%3D%252F%252Fd")
        self.assertEqual(answer.headers["Vary"], "Accept, Cookie")
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        self.assertEqual(self.acts_of("http"), [], "nobody was refused anything")
        self.assertEqual(
            self.browser.sign_in(self.ops, "/?a=b&c=%2F%2Fd").headers["Location"], "/?a=b&c=%2F%2Fd"
        )

    def test_the_connection_is_kept(self) -> None:
        client = self.browser.open("GET", "/", HTML)
        self.assertEqual(client.web_answer().status, 303)
        self.assertFalse(client.closed)

    def test_programs(self) -> None:
        for headers in ({}, {"Accept": "application/json"}, {"Accept": "*/*"}):
            answer = self.browser.ask("GET", "/", headers)
            self.assertEqual((answer.status, answer.code), (401, "access_denied"))
        self.assertEqual(len(self.acts_of("http")), 3)

    def test_a_wrong_token_of_a_program(self) -> None:
        answer = self.browser.ask("GET", "/", {**HTML, "Authorization": f"Bearer {new_token()}"})
        self.assertEqual(answer.status, 401)

    def test_head(self) -> None:
        self.assertEqual(self.browser.ask("HEAD", "/").status, 303)

    def test_a_form(self) -> None:
        """It gets its problem, and is not sent a second time elsewhere."""
        answer = self.browser.post("/sign-out-of-something-else")
        self.assertEqual(answer.status, 401)
        self.assertIn(b"The server does not know you", answer.body)

    def test_a_page_that_was_kept_open(self) -> None:
        answer = self.browser.ask("GET", "/", EVENTS)
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "text/event-stream"))
        self.assertEqual(answer.body, b"event: reload\ndata: {}\n\n")
        self.assertEqual(self.browser.ask("GET", "/events", EVENTS).status, 401)

    def test_what_one_may_not_do_who_is_known(self) -> None:
        self.browser.sign_in(self.guest)
        self.set_rules('[[access]]\nidentities = ["guest"]\ndeny = ["http"]\n')
        answer = self.browser.ask("GET", "/")
        self.assertEqual(answer.status, 403)
        self.assertIn(b"You may not do this", answer.body)
        self.assertIn(b"Sign out", answer.body)
        self.assertNotIn(b"data-key", answer.body)

    def test_nobody_has_a_token(self) -> None:
        self.rules(
            '[[identity]]\nname = "a"\naddresses = ["192.0.2.1"]\n'
            '[[access]]\nidentities = ["a"]\nallow = ["all"]'
        )
        self.assertEqual(self.browser.ask("GET", "/").status, 401)
        self.assertIn(b"Nobody has a token", self.browser.ask("GET", "/sign-in").body)

    def test_no_rules(self) -> None:
        self.rules("")
        page = self.browser.ask("GET", "/")
        self.assertEqual(page.status, 200)
        self.assertNotIn(b"Sign in", page.body)
        answer = self.browser.ask("GET", "/sign-in?next=/jobs")
        self.assertEqual((answer.status, answer.headers["Location"]), (303, "/jobs"))

    def test_whose_address_is_known(self) -> None:
        page = Browser(self, "192.0.2.1").ask("GET", "/")
        self.assertEqual(page.status, 200)
        self.assertIn(b"here", page.body)
        self.assertNotIn(b"Sign", page.body)

    def test_whose_address_may_too_little(self) -> None:
        """Whoever has a token as well is led from what was refused to the sign-in, and back."""
        link = b'href="/sign-in?next=/settings">Sign in as somebody else</a>'
        self.set_rules('[[access]]\nidentities = ["here"]\ndeny = ["settings"]\n')
        here = Browser(self, "192.0.2.1")
        page = here.ask("GET", "/settings")
        self.assertEqual(page.status, 403)
        self.assertIn(link, page.body)
        self.assertNotIn(b"Sign", here.ask("GET", "/jobs/H:none:1").body, "it is not there for anybody")
        form = here.ask("GET", "/sign-in?next=/settings")
        self.assertEqual(form.status, 200)
        here.sign_in(self.guest, "/settings")
        page = here.ask("GET", "/settings")
        self.assertEqual(page.status, 403)
        self.assertNotIn(b"Sign in", page.body, "who has signed in signs out first")

    def test_nobody_may_look(self) -> None:
        self.set_rules(NOBODY)
        page = self.browser.ask("GET", "/")
        self.assertEqual(page.status, 200)
        self.assertIn(b'<a href="/sign-in?next=/">Sign in</a>', page.body)
        self.assertNotIn(b"Sign out", page.body)


class ElsewhereTests(SignInTestCase):
    """A link of another web site: the browser sends no cookies of C{SameSite=Strict}."""

    LINK: Final = {**HTML, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"}

    def test_once_more(self) -> None:
        for rules in ("", NOBODY):
            self.set_rules(rules)
            answer = self.browser.ask("GET", "/?a='&b=\"", self.LINK)
            self.assertEqual(answer.status, 200)
            self.assertIn(b'content="0; url=/?a=&#39;&amp;b=&#34;"', answer.body)
            self.assertNotIn("Set-Cookie", answer.headers)

    def test_who_is_known(self) -> None:
        answer = Browser(self, "192.0.2.1").ask("GET", "/", self.LINK)
        self.assertNotIn(b"refresh", answer.body)

    def test_what_a_page_of_another_site_loads(self) -> None:
        """Of the same host, so that the cookie comes along."""
        self.browser.sign_in(self.ops)
        for site in ("same-site", "cross-site"):
            for mode in ("no-cors", "cors", "websocket"):
                headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
                self.assertEqual(self.browser.ask("GET", "/api/v1/functions", headers).status, 401)
            headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
            self.assertEqual(self.browser.ask("GET", "/api/v1/functions", headers).status, 200)


class SignInTests(SignInTestCase):
    def test_page(self) -> None:
        answer = self.browser.ask("GET", "/sign-in?next=/jobs")
        self.assertEqual(answer.status, 200)
        self.assertIn(b'name="next" value="/jobs"', answer.body)
        self.assertNotIn(b"data-key", answer.body, "no navigation")
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        self.assertIn("frame-ancestors 'none'", answer.headers["Content-Security-Policy"])

    def test_session(self) -> None:
        answer = self.browser.sign_in(self.ops, "/?a=b")
        self.assertEqual((answer.status, answer.headers["Location"]), (303, "/?a=b"))
        said = answer.headers["Set-Cookie"]
        self.assertTrue(said.startswith(f"{COOKIE}="))
        for part in ("HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={int(LIFE)}"):
            self.assertIn(part, said)
        self.assertNotIn("Secure", said)
        self.assertNotIn("Domain", said)
        self.assertNotIn(self.ops, said)
        page = self.browser.ask("GET", "/")
        self.assertEqual(page.status, 200)
        self.assertIn(b"ops", page.body)
        self.assertIn(b"Sign out", page.body)
        self.assertNotIn(b"Sign in", page.body)
        self.assertEqual(self.browser.ask("GET", "/sign-in?next=/jobs").headers["Location"], "/jobs")
        line = self.acts_of(LOGIN)[0]
        self.assertEqual((line["outcome"], line["identity"]), ("done", "ops"))
        self.assertEqual((line["token"], line["request"]), (self.ops[4:12], answer.headers["Request-Id"]))

    def test_behind_a_proxy_with_tls(self) -> None:
        """The browser's own word tells it."""
        answer = self.browser.sign_in(self.ops, headers={"Origin": "https://localhost"})
        said = answer.headers["Set-Cookie"]
        self.assertTrue(said.startswith(f"{SECURE_COOKIE}="))
        self.assertIn("Secure", said)
        self.assertEqual(self.browser.ask("GET", "/").status, 200)

    def test_a_cookie_that_stood_there_before(self) -> None:
        """A session has a new ID each time, and the one before ends."""
        self.browser.sign_in(self.ops)
        before = dict(self.browser.cookies)
        token = self.browser.form_token("/")
        self.browser.post("/sign-in", form_token=token, token=self.guest)
        self.assertNotEqual(self.browser.cookies[COOKIE], before[COOKIE])
        self.assertIn(b"guest", self.browser.ask("GET", "/").body)
        self.browser.cookies = before
        self.assertEqual(self.browser.ask("GET", "/").status, 303)

    def test_wrong(self) -> None:
        for token in (new_token(), "", "x", self.ops[:-1], "x" * 1000, "\N{SNOWMAN}", "txg_\0"):
            answer = self.browser.sign_in(token, "/jobs")
            self.assertEqual((answer.status, answer.headers["WWW-Authenticate"]), (401, "Bearer"))
            self.assertIn(b"This token is not known", answer.body)
            self.assertIn(b'name="next" value="/jobs"', answer.body)
            self.assertNotIn(COOKIE, self.browser.cookies)
            self.clock.advance(10)
        self.assertEqual(self.server.guard.wrong_tokens, 7)
        self.assertEqual([line["outcome"] for line in self.acts_of(LOGIN)], ["refused"] * 7)
        self.assertNotIn(self.ops[13:-1], str(self.acts_of(LOGIN)))

    def test_guesses(self) -> None:
        """After ten of one place nothing is answered; a right one is taken all the same."""
        for _ in range(10):
            self.assertEqual(self.browser.sign_in(new_token()).status, 401)
        body = urlencode({"form_token": self.browser.form_token(), "token": new_token()}).encode()
        client = self.browser.open("POST", "/sign-in", {**HTML, "Content-Type": FORM}, body)
        self.assertTrue(client.closed)
        self.assertEqual(client.heard(), b"")
        self.assertEqual(self.browser.sign_in(self.ops).status, 303)

    def test_whose_identity_may_not_use_it(self) -> None:
        answer = self.browser.sign_in(self.of_worker)
        self.assertEqual(answer.status, 403)
        self.assertNotIn(COOKIE, self.browser.cookies)

    def test_where_one_is_led(self) -> None:
        for next in (
            "//evil.example",
            "https://evil.example",
            "/\\evil",
            "/\r\nX: y",
            "/\t/evil",
            "\N{SNOWMAN}",
        ):
            self.browser.cookies.clear()
            self.assertEqual(self.browser.sign_in(self.ops, next).headers["Location"], "/")
        answer = self.browser.ask("GET", "/sign-in?next=//evil.example")
        self.assertEqual(answer.headers["Location"], "/")

    def test_token_of_the_form(self) -> None:
        self.browser.form_token()
        for wrong in ("", "x", Browser(self).form_token()):
            answer = self.browser.post("/sign-in", form_token=wrong, token=self.ops)
            self.assertEqual(answer.status, 403)
            self.assertIn(b"Nothing was done", answer.body)
        right = self.browser.form_token()
        self.browser.cookies.clear()
        self.assertEqual(self.browser.post("/sign-in", form_token=right, token=self.ops).status, 403)

    def test_from_another_site(self) -> None:
        token = self.browser.form_token()
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://localhost:81"},
        ):
            answer = self.browser.post("/sign-in", headers, form_token=token, token=self.ops)
            self.assertEqual(answer.status, 403, headers)
            self.assertIn(b"another web site", answer.body)
            self.assertNotIn("Set-Cookie", answer.headers)
            self.assertNotIn(b"form_token", answer.body)

    def test_hostile_forms(self) -> None:
        token = self.browser.form_token()
        headers = {**NAVIGATION, "Content-Type": FORM}
        for body, status in (
            (b"token=\xff", 400),
            (b"token=%ff", 400),
            (b"&".join(b"a=1" for _ in range(1001)), 400),
            (f"form_token={token}&token=a&token=b".encode(), 400),
            (f"form_token={token}&form_token={token}&token=a".encode(), 400),
            (b"x" * 20_000, 413),
        ):
            answer = self.browser.ask("POST", "/sign-in", headers, body)
            self.assertEqual(answer.status, status, body[:50])
            self.assertIn(b"<h1>", answer.body)
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/json", ""):
            answer = self.browser.ask("POST", "/sign-in", {**headers, "Content-Type": kind}, b"token=a")
            self.assertEqual(answer.status, 415)

    def test_script(self) -> None:
        """A problem for who takes JSON."""
        answer = self.browser.post("/sign-in", {"Accept": "application/json"}, token="x")
        self.assertEqual(answer.code, "stale_form")


class WebOriginTests(SignInTestCase):
    """Pages are not for the sites of C{--web-origin}, which the API is for."""

    SITE: Final = {"Origin": "https://board.example"}

    def start(self, options: WebOptions | None = None, **choices: Any) -> None:
        super().start(WebOptions(origins=("https://board.example",)))

    def test_pages(self) -> None:
        self.browser.sign_in(self.ops)
        token = self.browser.form_token("/")
        for target in ("/", "/sign-in"):
            answer = self.browser.ask("GET", target, {**HTML, **self.SITE})
            self.assertNotIn("Access-Control-Allow-Origin", answer.headers)
            self.assertIn("Origin", answer.headers["Vary"])
            self.assertIn("Cookie", answer.headers["Vary"])
        answer = self.browser.post("/sign-out", self.SITE, form_token=token)
        self.assertEqual(answer.status, 403)
        preflight = {**self.SITE, "Access-Control-Request-Method": "POST"}
        answer = self.browser.ask("OPTIONS", "/sign-out", preflight)
        self.assertNotIn("Access-Control-Allow-Origin", answer.headers)

    def test_api(self) -> None:
        answer = self.browser.ask(
            "GET", "/api/v1/functions", {**self.SITE, "Authorization": f"Bearer {self.ops}"}
        )
        self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "https://board.example")
        self.assertNotIn("Access-Control-Allow-Credentials", answer.headers)


class ProblemPageTests(SignInTestCase):
    def page(self, status: int, method: str = "GET", target: str = "/nothing", **headers: str) -> str:
        """A problem as a browser that is signed in sees it."""
        said = {**NAVIGATION, **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer = self.browser.ask(method, target, said)
        self.assertEqual(
            (answer.status, answer.headers["Content-Type"]), (status, "text/html; charset=utf-8")
        )
        self.assertIn("frame-ancestors 'none'", answer.headers["Content-Security-Policy"])
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        self.assertIn(answer.headers["Request-Id"], answer.body.decode())
        return answer.body.decode()

    def test_each(self) -> None:
        self.browser.sign_in(self.ops)
        self.assertIn("There is nothing here", self.page(404))
        self.assertIn("This address takes no such request", self.page(405, "POST", "/"))
        self.assertIn("Sign out", self.page(404))

    def test_by_another_name(self) -> None:
        """What a page of another site may see that has taken this address as its own says nothing."""
        self.browser.sign_in(self.ops)
        page = self.page(421, target="/", Host="evil.example")
        self.assertIn("--web-host", page)
        for word in ("ops", "form_token", "data-key", "Sign"):
            self.assertNotIn(word, page)

    def test_no_rules_and_open(self) -> None:
        self.rules("")
        self.web.everywhere = True
        page = self.page(403, target="/")
        self.assertIn("This server has no access rules", page)
        self.assertIn("--config", page)
        self.page(403, target="/sign-in")
        self.flushLoggedErrors()

    def test_programs(self) -> None:
        answer = self.browser.ask("GET", "/nothing", {"Authorization": f"Bearer {self.ops}"})
        self.assertEqual(answer.code, "not_found")
        answer = self.browser.ask(
            "GET", "/api/v1/functions/x", {**HTML, "Authorization": f"Bearer {self.ops}"}
        )
        self.assertEqual(answer.code, "unknown_function")
