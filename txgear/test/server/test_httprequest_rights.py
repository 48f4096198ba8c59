"""Tests of L{txgear.server.httprequest}: who asks, and what it may do."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.rights import HTTP, SEE, SUBMIT, WORK
from txgear.errors import AccessDenied
from txgear.protocol.constants import WORK_COMPLETE, WORK_DATA
from txgear.security.access import NOBODY, Access, Identity, Rule
from txgear.security.guesses import AT_ONCE
from txgear.security.tokens import Token, new_token
from txgear.server.httpexchange import bearer_token
from txgear.test.support.http import HttpAnswer, HttpTestCase

WEB, OPS, MUTE = (new_token().encode() for _ in range(3))


def identity(name: str, secret: bytes) -> Identity:
    token = Token.of(secret)
    assert token is not None
    return Identity(name, tokens=(token,))


def allow(who: str, *acts: str, functions: tuple[str, ...] | None = None) -> Rule:
    return Rule(True, (who,), frozenset(acts), functions)


WORKER = Identity("worker", addresses=(ip_network("192.0.2.1/32"),))
"""On the Gearman port; clients of HTTP come from another address."""
IDENTITIES = [identity("web", WEB), identity("ops", OPS), identity("mute", MUTE), WORKER]
RULES = (
    allow("web", HTTP),
    allow("web", SUBMIT, functions=("mail.*",)),
    allow("ops", HTTP, SUBMIT, SEE),
    allow("mute", SUBMIT, SEE),
    allow("worker", WORK),
)


def bearer(token: bytes) -> str:
    return f"Authorization: Bearer {token.decode()}"


class TokenTests(SynchronousTestCase):
    def test_read(self) -> None:
        for values, token in (
            (None, None),
            ([], None),
            ([b"Bearer x.y-z"], b"x.y-z"),
            ([b"bEARER   x  "], b"x"),
            ([b"Bearer"], b""),
            ([b"Basic eDp5"], None),
            ([b"Bearerx"], None),
            ([b""], None),
        ):
            self.assertEqual(bearer_token(values), token)

    def test_several(self) -> None:
        """What a proxy has added, and what its user has sent ahead, look the same."""
        for other in (b"Bearer x", b"Basic eDp5"):
            error = self.assertRaises(AccessDenied, bearer_token, [b"Bearer x", other])
            self.assertEqual(error.act, "login")


class HttpRightsTestCase(HttpTestCase):
    def start(self, **choices: Any) -> None:
        super().start(**choices)
        self.server.guard.replace(Access(IDENTITIES, RULES))

    def refused(self) -> dict[tuple[str, str], int]:
        """What the guard was told since the last time."""
        found = dict(self.server.guard.refused)
        self.server.guard.refused.clear()
        return found

    def post(self, function: str, *headers: str) -> HttpAnswer:
        return self.ask("POST", f"/{function}", "X-Gearman-Background: true", *headers, body=b"w")


class RightsTests(HttpRightsTestCase):
    def test_submit(self) -> None:
        answer = self.post("mail.send", bearer(WEB))
        self.assertEqual((answer.status, answer.body), (202, b"H:test:1\n"))
        answer = self.post("pay", bearer(WEB))
        self.assertEqual((answer.status, answer.command), (403, "ERROR"))
        self.assertEqual(answer.body, b"Not allowed: submit pay\n")
        self.assertIsNone(answer.headers["WWW-Authenticate"])
        self.assertEqual(self.refused(), {("web", "submit"): 1})
        self.assertEqual(len(self.queued()), 1)

    def test_result(self) -> None:
        """What becomes of a job is its submitter's, whatever else that may see or read."""
        client, worker = self.connect(), self.worker(b"mail.send")
        client.ask("POST", "/mail.send", bearer(WEB), body=b"w")
        handle, _, _ = worker.grab()
        worker.say(WORK_COMPLETE, handle, b"result")
        self.assertEqual(client.answer().body, b"result")

    def test_the_same_body_by_chance(self) -> None:
        """
        Requests with one body share a job only of those who may see it. Whoever may not has jobs of its own,
        unless it names a unique.
        """
        self.assertEqual([self.post("mail.send", bearer(OPS)).status for _ in range(2)], [202, 202])
        self.assertEqual(len(self.queued()), 1)
        self.assertEqual([self.post("mail.send", bearer(WEB)).status for _ in range(2)], [202, 202])
        self.assertEqual(len(self.queued()), 3)
        self.assertEqual(self.post("mail.send", bearer(WEB), "X-Gearman-Unique: -").status, 403)

    def test_head(self) -> None:
        """A function that may not be known is like one that is not there."""
        self.server.broker.operations.create_function(b"mail.send")
        for token, function, status in (
            (OPS, "mail.send", 200),
            (OPS, "mail.bulk", 404),
            (WEB, "mail.send", 404),
            (WEB, "mail.bulk", 404),
        ):
            answer = self.ask("HEAD", f"/{function}", bearer(token))
            self.assertEqual((answer.status, answer.body), (status, b""))
        self.assertEqual(self.refused(), {})

    def test_http_itself(self) -> None:
        """Whoever may submit may not do it in this way."""
        for method, body in (("POST", b"w"), ("GET", None), ("HEAD", None)):
            answer = self.ask(method, "/mail.send", bearer(MUTE), body=body)
            self.assertEqual(answer.status, 403)
            self.assertEqual(answer.body, b"" if method == "HEAD" else b"Not allowed: http\n")
        self.assertEqual(self.refused(), {("mute", "http"): 3})
        self.assertEqual(self.queued(), [])

    def test_rules_that_are_lifted(self) -> None:
        """Where nothing is asked of anybody the header is for somebody else."""
        self.server.guard.replace(Access())
        self.assertEqual(self.post("f", bearer(b"a.json.web.token")).status, 202)
        self.assertEqual(self.refused(), {})


class UnknownTests(HttpRightsTestCase):
    """Requests without an identity, where rules leave nothing to nobody."""

    def test_without_a_token(self) -> None:
        for method, body in (("POST", b"w"), ("PUT", b"w"), ("GET", None), ("HEAD", None), ("DELETE", None)):
            client = self.connect()
            client.ask(method, "/mail.send", body=body)
            answer = client.answer(method)
            self.assertEqual(answer.status, 401)
            self.assertEqual(answer.headers["WWW-Authenticate"], "Bearer")
            self.assertEqual(answer.body, b"" if method == "HEAD" else b"Not allowed: http\n")
            # One answer for each connection: it keeps nothing of who is unknown.
            self.assertTrue(client.closed)
            self.assertEqual(answer.headers["Connection"], "close")
        self.assertEqual(self.refused(), {(NOBODY, "http"): 5})
        self.assertEqual(self.queued(), [])

    def test_a_body_is_not_taken(self) -> None:
        """The answer comes before it, and nobody is asked to send it."""
        for length in ("Content-Length: 67108864", "Transfer-Encoding: chunked"):
            client = self.connect()
            client.ask("POST", "/mail.send", length, "Expect: 100-continue")
            self.assertEqual(client.answer().status, 401)
            client.send(b"1000000\r\n" + b"x" * 100_000)
            self.assertEqual(client.heard(), b"")
            self.clock.advance(60)
            self.assertTrue(client.aborted)

    def test_a_wrong_token(self) -> None:
        """Also where nobody may use HTTP."""
        for rules in (RULES, (*RULES, allow(NOBODY, HTTP, SUBMIT))):
            self.start()
            self.server.guard.replace(Access(IDENTITIES, rules))
            for token in (b"", b"txg_x", new_token().encode(), WEB[:-1] + b"!"):
                answer = self.post("mail.send", bearer(token))
                self.assertEqual((answer.status, answer.body), (401, b"This token is not known\n"))
                self.assertEqual(answer.headers["WWW-Authenticate"], "Bearer")
                self.assertEqual(self.refused(), {(NOBODY, "login"): 1})
            self.assertEqual(self.queued(), [])

    def test_guesses(self) -> None:
        """Who fails again and again is hung up on without a word."""
        for _ in range(AT_ONCE):
            self.assertEqual(self.post("f", bearer(b"guess")).status, 401)
        client = self.connect()
        client.ask("POST", "/f", bearer(b"guess"), body=b"w")
        self.assertEqual((client.heard(), client.aborted), (b"", True))
        # Others of the same network are not locked out.
        self.assertEqual(self.post("mail.send", bearer(WEB)).status, 202)

    def test_what_nobody_may(self) -> None:
        more = (allow(NOBODY, HTTP), allow(NOBODY, SUBMIT, functions=("f",)))
        self.server.guard.replace(Access(IDENTITIES, (*RULES, *more)))
        self.assertEqual(self.post("f").status, 202)
        answer = self.post("g")
        self.assertEqual((answer.status, answer.body), (403, b"Not allowed: submit g\n"))


class TurnedAwayTests(HttpRightsTestCase):
    """An identity that is gone is told so, and its connections end."""

    def forget_ops(self) -> None:
        self.server.guard.replace(Access([IDENTITIES[0], WORKER], RULES))
        self.clock.pump([0.0] * 10)

    def test_while_the_job_is_under_way(self) -> None:
        client, worker = self.connect(), self.worker(b"pay")
        client.ask("POST", "/pay", bearer(OPS), body=b"w")
        worker.grab()
        self.forget_ops()
        answer = client.answer()
        self.assertEqual((answer.status, answer.body), (403, b"Not known any more: log in again\n"))
        self.assertTrue(client.closed)

    def test_while_the_result_is_under_way(self) -> None:
        """What has begun is broken off, and nobody takes it for whole."""
        client, worker = self.connect(), self.worker(b"pay")
        client.ask("POST", "/pay", bearer(OPS), body=b"w")
        handle, _, _ = worker.grab()
        worker.say(WORK_DATA, handle, b"a part")
        self.forget_ops()
        heard = client.heard()
        self.assertTrue(heard.endswith(b"a part\r\n"), heard)
        self.assertTrue(client.closed)

    def test_while_a_request_comes(self) -> None:
        """Its body, or its header."""
        for head in (b"", b"\r\n\r\n"):
            self.start()
            client = self.connect()
            client.ask("HEAD", "/pay", bearer(OPS))
            self.assertEqual(client.answer("HEAD").status, 404)
            client.send(b"POST /pay HTTP/1.1\r\nContent-Length: 4\r\n" + bearer(OPS).encode() + head)
            self.forget_ops()
            answer = client.answer()
            self.assertEqual((answer.status, answer.body), (403, b"Not known any more: log in again\n"))
            client.send(b"rest" if head else b"\r\n\r\nrest")
            self.assertEqual(client.heard(), b"")
            self.assertTrue(client.closed)

    def test_between_requests(self) -> None:
        client = self.connect()
        client.ask("HEAD", "/pay", bearer(OPS))
        client.heard()
        self.forget_ops()
        self.assertEqual((client.heard(), client.closed), (b"", True))


class EachRequestTests(HttpRightsTestCase):
    """A connection may carry the requests of many users."""

    def test_one_after_the_other(self) -> None:
        client = self.connect()
        for token, function, status in (
            (WEB, "mail.send", 202),
            (OPS, "pay", 202),
            (WEB, "pay", 403),
            (OPS, "mail.send", 202),
        ):
            client.ask("POST", f"/{function}", "X-Gearman-Background: true", bearer(token), body=b"w")
            self.assertEqual(client.answer().status, status)
            self.assertFalse(client.closed)
        client.ask("POST", "/mail.send", body=b"w")
        self.assertEqual(client.answer().status, 401)

    def test_sent_ahead(self) -> None:
        """Each is who it is when it is its turn."""
        client = self.connect()
        worker = self.worker(b"pay")
        client.ask("POST", "/pay", bearer(OPS), body=b"w")
        client.ask("POST", "/pay", bearer(WEB), body=b"w")
        handle, _, _ = worker.grab()
        self.assertEqual(client.heard(), b"")
        worker.say(WORK_COMPLETE, handle, b"paid")
        self.assertEqual([answer.status for answer in client.answers()], [200, 403])

    def test_the_token_is_nowhere(self) -> None:
        """No log, list or answer has it."""
        with capturedLogs() as events:
            client = self.connect()
            for token in (WEB, b"txg_guess_secret"):
                client.ask("POST", "/g", bearer(token), "X-Gearman-Background: true", body=b"w")
                heard = client.heard()
                self.assertNotIn(token, heard)
            self.server.notices.stop()
        text = " ".join(str(formatEvent(event)) + repr(event) for event in events)
        for secret in (WEB.decode(), "guess"):
            self.assertNotIn(secret, text)
        self.assertIn("Not allowed: submit g", text)
