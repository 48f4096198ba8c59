"""Tests of L{txgear.web.web}: what is admitted, and how it is answered."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from txgear.broker.rights import HTTP, PAUSE, SEE, check
from txgear.errors import QueueError
from txgear.net.stream import CLOSE_SECONDS
from txgear.security.audit import Audit
from txgear.test.support.web import WebTestCase
from txgear.web.acts import record
from txgear.web.answers import Answer, Problem
from txgear.web.request import MOST_JSON, WebRequest
from txgear.web.routes import Operation, Route
from txgear.web.web import MOST_ACCEPT, Web, WebOptions


class Thing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What these routes take and answer."""

    name: str = ""
    size: int = 0


class Life:
    """Lives as long as the server."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def start(self) -> None:
        self.log.append("start")

    def stop(self) -> None:
        self.log.append("stop")


waiting: list[Deferred[Answer]] = []


def thing(request: WebRequest, name: str) -> Answer:
    if name == "none":
        raise Problem(404, "unknown_thing", f"There is no thing {name}", {"name": name}, {"X-Why": name})
    if name == "full":
        raise QueueError("The queue is full")
    if name == "defect":
        raise KeyError("secret")
    return Answer(Thing(name=name, size=request.query(Thing).size), headers={"X-Name": name})


def put(request: WebRequest, name: str) -> Answer:
    return Answer(request.body(Thing), 201)


def raw(request: WebRequest) -> Answer:
    return Answer(request.raw_body, content_type="application/octet-stream")


def act(request: WebRequest) -> Answer:
    check(request.peer, PAUSE, b"f")
    record(request, PAUSE, function=b"f\n", arguments=None, answer="OK")
    return Answer(None, 204)


def later(request: WebRequest) -> Deferred[Answer]:
    waiting.append(Deferred(waiting.remove))
    return waiting[-1]


def see(request: WebRequest) -> Answer:
    check(request.peer, SEE, b"f")
    return Answer({"seen": True})


def text(request: WebRequest) -> Answer:
    return Answer(b"<b>", content_type="text/plain; charset=utf-8")


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    return [
        Route("GET", "/things/<name>", thing, Operation("a", "", "", query=Thing, answers={200: Thing})),
        Route("PUT", "/things/<name>", put, Operation("b", "", "", body=Thing, answers={201: Thing})),
        Route("POST", "/raw", raw, Operation("c", "", "", raw_body=True, answers={200: bytes})),
        Route("POST", "/act", act, Operation("d", "", "")),
        Route("GET", "/later", later),
        Route("GET", "/see", see),
        Route("GET", "/text", text, types=("text/plain",)),
    ]


class Recording(Audit):
    """An audit log in memory."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def record(self, act: str, outcome: str, peer: Any = None, **details: Any) -> None:
        self.lines.append((act, outcome, details))


class WebCase(WebTestCase):
    parts = (sys.modules[__name__],)


class AnswerTests(WebCase):
    def test_json(self) -> None:
        answer = self.ask("GET", "/things/a%2Fb?size=7")
        self.assertEqual((answer.status, answer.json), (200, {"name": "a/b", "size": 7}))
        headers = answer.headers
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
        self.assertEqual(headers["Cache-Control"], "no-store")
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.assertIn("frame-ancestors 'none'", headers["Content-Security-Policy"])
        self.assertTrue(headers["Server"].startswith("txgear/"))
        self.assertNotIn("Access-Control-Allow-Origin", headers)

    def test_hostile_names(self) -> None:
        """Nothing of a name breaks out of the JSON, or of a header."""
        for part, name in (
            ("%22%7D%3Cscript%3E", '"}<script>'),
            ("%0D%0AX-Evil%3A%201", "\r\nX-Evil: 1"),
            ("%E2%80%AE", "\u202e"),
            ("%00", "\x00"),
            ("%F0%9F%92%A9", "\U0001f4a9"),
        ):
            answer = self.ask("GET", f"/things/{part}")
            self.assertEqual((answer.status, answer.json["name"]), (200, name))
            self.assertNotIn("X-Evil", answer.headers)
            self.assertTrue(answer.headers["X-Name"].isprintable() and answer.headers["X-Name"].isascii())

    def test_head(self) -> None:
        whole, head = self.ask("GET", "/things/a"), self.ask("HEAD", "/things/a")
        self.assertEqual((head.status, head.body), (200, b""))
        for name in ("Content-Length", "Content-Type", "ETag"):
            self.assertEqual(head.headers[name], whole.headers[name])

    def test_no_body(self) -> None:
        answer = self.ask("POST", "/act")
        self.assertEqual((answer.status, answer.body), (204, b""))
        for name in ("Content-Type", "Content-Length", "Transfer-Encoding"):
            self.assertNotIn(name, answer.headers)

    def test_problem(self) -> None:
        answer = self.ask("GET", "/things/none")
        self.assertEqual((answer.status, answer.code), (404, "unknown_thing"))
        self.assertEqual(answer.headers["X-Why"], "none")
        found = answer.json
        self.assertEqual(found.pop("instance"), f"urn:txgear:request:{answer.headers['Request-Id']}")
        self.assertEqual(
            found,
            {
                "type": "urn:txgear:problem:unknown_thing",
                "title": "Not Found",
                "status": 404,
                "detail": "There is no thing none",
                "name": "none",
            },
        )

    def test_ids(self) -> None:
        ids = {self.ask("GET", "/things/a").headers["Request-Id"] for _ in range(3)}
        self.assertEqual(len(ids), 3)

    def test_error_of_the_broker(self) -> None:
        answer = self.ask("GET", "/things/full")
        self.assertEqual((answer.status, answer.code), (503, "queue_error"))
        self.assertEqual(answer.headers["Retry-After"], "1")

    def test_defect(self) -> None:
        """Nothing of it is told, but the log has it, by the id of the answer."""
        with capturedLogs() as events:
            answer = self.ask("GET", "/things/defect")
        self.assertEqual((answer.status, answer.code), (500, "internal_error"))
        self.assertNotIn(b"secret", answer.body)
        (event,) = events
        self.assertIn(answer.headers["Request-Id"], formatEvent(event))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_wrong_query(self) -> None:
        self.assertEqual(self.ask("GET", "/things/a?size=x").code, "invalid_query")
        self.assertEqual(self.ask("GET", "/things/a?sise=1").code, "invalid_query")

    def test_life(self) -> None:
        life = self.web.own(Life())
        self.web.start()
        self.web.stop()
        self.assertEqual(life.log, ["start", "stop"])


class TagTests(WebCase):
    def test_not_modified(self) -> None:
        first = self.ask("GET", "/things/a")
        tag = first.headers["ETag"]
        for known in (tag, f'"x", {tag}', f"W/{tag}", "*"):
            answer = self.ask("GET", "/things/a", {"If-None-Match": known})
            self.assertEqual((answer.status, answer.body), (304, b""), known)
            self.assertEqual(answer.headers["ETag"], tag)
            self.assertNotIn("Content-Length", answer.headers)

    def test_modified(self) -> None:
        tag = self.ask("GET", "/things/a").headers["ETag"]
        for known in ('"x"', "", "x", tag + "x" * MOST_ACCEPT):
            self.assertEqual(self.ask("GET", "/things/a", {"If-None-Match": known}).status, 200)
        self.assertEqual(self.ask("GET", "/things/b", {"If-None-Match": tag}).status, 200)

    def test_in_several_headers(self) -> None:
        tag = self.ask("GET", "/things/a").headers["ETag"]
        for known, status in ((tag, 304), ('"y"', 200)):
            client = self.connect()
            client.ask_web("GET", "/things/a", {"If-None-Match": f'"x"\r\nIf-None-Match: {known}'})
            self.assertEqual(client.web_answer().status, status)

    def test_of_this_server_only(self) -> None:
        """Nobody works out the tag of what they may not see."""
        tag = self.ask("GET", "/things/a").headers["ETag"]
        self.start()
        self.assertNotEqual(self.ask("GET", "/things/a").headers["ETag"], tag)

    def test_not_of_bytes_and_problems(self) -> None:
        for method, path in (("GET", "/text"), ("GET", "/things/none")):
            self.assertNotIn("ETag", self.ask(method, path).headers)


class RequestTests(WebCase):
    """What is refused before an endpoint sees it."""

    def refused(self, method: str, path: str, status: int, code: str, **more: Any) -> Any:
        answer = self.ask(method, path, **more)
        self.assertEqual((answer.status, answer.code), (status, code))
        return answer

    def test_not_found(self) -> None:
        self.refused("GET", "/nothing", 404, "not_found")

    def test_method(self) -> None:
        answer = self.refused("DELETE", "/things/a", 405, "method_not_allowed")
        self.assertEqual(answer.headers["Allow"], "GET, HEAD, OPTIONS, PUT")
        self.refused("TRACE", "/see", 405, "method_not_allowed")

    def test_options(self) -> None:
        answer = self.ask("OPTIONS", "/things/a")
        self.assertEqual((answer.status, answer.headers["Allow"]), (204, "GET, HEAD, OPTIONS, PUT"))
        self.refused("OPTIONS", "/nothing", 404, "not_found")

    def test_accept(self) -> None:
        for accept in ("application/json", "*/*", "text/html, */*;q=0.1", "application/*", "", "x" * 2000):
            self.assertEqual(self.ask("GET", "/things/a", {"Accept": accept}).status, 200, accept)
        for accept in ("text/html", "application/json;q=0", "image/*"):
            self.refused("GET", "/things/a", 406, "not_acceptable", headers={"Accept": accept})
        self.refused("GET", "/text", 406, "not_acceptable", headers={"Accept": "application/json"})
        several = {"Accept": "text/html\r\nAccept: application/json"}
        self.assertEqual(self.ask("GET", "/things/a", several).status, 200)
        self.assertEqual(self.ask("GET", "/see", {"Accept": "text/html"}).status, 200)
        self.assertEqual(self.ask("POST", "/raw", {"Accept": "text/html"}, body=b"x").status, 200)

    def test_body(self) -> None:
        answer = self.ask("PUT", "/things/a", body={"name": "x"})
        self.assertEqual((answer.status, answer.json), (201, {"name": "x", "size": 0}))
        self.refused("PUT", "/things/a", 422, "invalid_body", body={"more": 1})
        self.refused("PUT", "/things/a", 415, "unsupported_media_type", body=b"{}")
        self.refused("PUT", "/things/a", 415, "unsupported_media_type")
        kind = {"Content-Type": "application/json"}
        self.refused("PUT", "/things/a", 400, "malformed_json", body=b"{", headers=kind)
        self.refused("PUT", "/things/a", 400, "malformed_json", body=b"", headers=kind)
        packed = {**kind, "Content-Encoding": "gzip"}
        self.refused("PUT", "/things/a", 415, "unsupported_content_encoding", body=b"{}", headers=packed)

    def test_raw_body(self) -> None:
        """It has any type, and all the bytes that a workload may have."""
        for kind in ("text/plain", "application/x-www-form-urlencoded", "x"):
            body = bytes(range(256)) * 8192
            answer = self.ask("POST", "/raw", {"Content-Type": kind}, body=body)
            self.assertEqual((answer.status, answer.body), (200, body))

    def test_no_body_is_wanted(self) -> None:
        self.refused("POST", "/act", 400, "unexpected_body", body={"a": 1})
        self.refused("GET", "/see", 400, "unexpected_body", body=b"x")
        for kind in ("text/plain", "application/x-www-form-urlencoded", "Multipart/form-data; boundary=x"):
            self.refused("POST", "/act", 415, "unsupported_media_type", headers={"Content-Type": kind})

    def test_no_query_is_wanted(self) -> None:
        """An operation of the API has none but what it says; of others nobody says it."""
        self.refused("POST", "/act?dry=true", 400, "invalid_query")
        self.refused("PUT", "/things/a?x", 400, "invalid_query")
        self.assertEqual(self.ask("POST", "/act?").status, 204)
        self.assertEqual(self.ask("GET", "/see?x=1").status, 200)

    def test_large_body(self) -> None:
        """It is refused unread; what has no length is refused where it becomes too long."""
        client = self.connect()
        head = {"Content-Type": "application/json", "Content-Length": str(MOST_JSON + 1)}
        client.ask_web("PUT", "/things/a", head)
        answer = client.web_answer()
        self.assertEqual(
            (answer.status, answer.code, answer.json["most"]), (413, "content_too_large", MOST_JSON)
        )
        self.assertEqual(answer.headers["Connection"], "close")
        client.send(b" " * 100_000)
        self.assertEqual(client.heard(), b"")
        self.clock.advance(CLOSE_SECONDS)
        self.assertTrue(client.aborted)
        client = self.connect()
        client.ask_web("PUT", "/things/a", {**head, "Content-Length": "", "Transfer-Encoding": "chunked"})
        self.assertEqual(client.heard()[:12], b"HTTP/1.1 400")
        client = self.connect()
        client.send(b"PUT /things/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n")
        client.send(b"Content-Type: application/json\r\n\r\n")
        for _ in range(17):
            client.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
        self.assertEqual(client.heard()[:12], b"HTTP/1.1 413")

    def test_small_bodies_of_refused_requests(self) -> None:
        """They are read, so that the connection can be kept."""
        client = self.connect()
        client.ask_web("PUT", "/nothing", {}, {"a": 1})
        answer = client.web_answer()
        self.assertEqual(answer.status, 404)
        self.assertNotIn("Connection", answer.headers)
        client.ask_web("GET", "/see", {})
        self.assertEqual(client.web_answer().status, 200)

    def test_expected_continue(self) -> None:
        """Nobody is asked to send what is refused."""
        client = self.connect()
        head = {"Expect": "100-continue", "Content-Length": "5", "Content-Type": "application/json"}
        client.ask_web("PUT", "/nothing", head)
        self.assertEqual(client.web_answer().status, 404)
        client = self.connect()
        client.ask_web("PUT", "/things/a", head)
        self.assertEqual(client.heard(), b"HTTP/1.1 100 Continue\r\n\r\n")

    def test_repeated_header(self) -> None:
        client = self.connect()
        client.send(b"GET /see HTTP/1.1\r\nHost: localhost\r\nOrigin: http://a\r\nOrigin: http://b\r\n\r\n")
        client._methods.append("GET")
        self.assertEqual(client.web_answer().code, "repeated_header")


class HostTests(WebCase):
    def status(
        self, host: str, to: str | None = "127.0.0.1", version: str = "1.1", path: str = "/see"
    ) -> int:
        client = self.connect(to=to)
        client.send(f"GET {path} HTTP/{version}\r\n{host}\r\n".encode())
        client._methods.append("GET")
        return client.web_answer().status

    def test_own(self) -> None:
        for host in ("localhost", "LOCALHOST:4780", "127.0.0.1:4780", "[::1]:4780", "localhost:9"):
            self.assertEqual(self.status(f"Host: {host}\r\n"), 200, host)
        self.assertEqual(self.status("Host: 192.0.2.1:4780\r\n", to="192.0.2.1"), 200)
        self.assertEqual(self.status("Host: localhost\r\n", to=None), 200)

    def test_others(self) -> None:
        """Such as a web site's whose name leads here."""
        for host in ("evil.example", "evil.example:4780", "127.0.0.1.evil.example", ""):
            self.assertEqual(self.status(f"Host: {host}\r\n"), 421, host)
            self.assertEqual(self.status(f"Host: {host}\r\n", path="/nothing"), 421, host)
            self.assertEqual(self.status(f"Host: {host}\r\n", to=None), 421, host)
        self.assertEqual(self.status("Host: localhost\r\n", to="192.0.2.1"), 421)

    def test_bad(self) -> None:
        for host in ("", "Host: localhost\r\nHost: localhost\r\n", "Host: a b\r\n", "Host: ::1\r\n"):
            self.assertEqual(self.status(host), 400, host)

    def test_old(self) -> None:
        """HTTP/1.0 needs none; browsers do not speak it."""
        self.assertEqual(self.status("", version="1.0"), 200)
        self.assertEqual(self.status("Host: evil.example\r\n", version="1.0"), 421)

    def test_targets(self) -> None:
        """One without a path is that of the front; one that is no path is none."""
        self.assertEqual(self.status("Host: localhost\r\n", path="http://localhost"), 404)
        self.assertEqual(self.status("Host: localhost\r\n", path="http://localhost?see"), 400)
        for path in ("see", "?", "localhost:80", "#", "%2Fsee"):
            self.assertEqual(self.status("Host: localhost\r\n", path=path), 400, path)
        self.assertEqual(self.status("Host: localhost\r\n", path="*"), 404)

    def test_whole_addresses(self) -> None:
        """As proxies are asked: what stands there counts."""
        self.assertEqual(self.status("Host: evil.example\r\n", path="http://localhost:4780/see"), 200)
        self.assertEqual(self.status("Host: localhost\r\n", path="http://evil.example/see"), 421)

    def test_named(self) -> None:
        self.start(WebOptions(hosts=("gear.example",)))
        self.assertEqual(self.status("Host: gear.example\r\n", to="192.0.2.1"), 200)


class OriginTests(WebCase):
    """Pages of other web sites."""

    def test_changes(self) -> None:
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:81"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Origin": "http://localhost", "Sec-Fetch-Site": "same-site"},
        ):
            answer = self.ask("POST", "/act", headers)
            self.assertEqual((answer.status, answer.code), (403, "other_origin"), headers)
            self.assertNotIn("Access-Control-Allow-Origin", answer.headers)

    def test_own(self) -> None:
        for headers in ({}, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}):
            self.assertEqual(self.ask("POST", "/act", headers).status, 204)

    def test_reads(self) -> None:
        """A page may ask, but does not see the answer."""
        answer = self.ask("GET", "/see", {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"})
        self.assertEqual(answer.status, 200)
        self.assertNotIn("Access-Control-Allow-Origin", answer.headers)
        self.assertEqual(answer.headers["Cross-Origin-Resource-Policy"], "same-origin")

    def test_preflight(self) -> None:
        asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        answer = self.ask("OPTIONS", "/act", asked)
        self.assertEqual(answer.headers["Allow"], "OPTIONS, POST")
        for name in answer.headers:
            self.assertFalse(name.lower().startswith("access-control"))


class NamedOriginTests(WebCase):
    """Pages of web sites that the operator has named."""

    def setUp(self) -> None:
        self.start(WebOptions(origins=("https://board.example",)))

    def test_beyond_ascii(self) -> None:
        """A letter that is one of ASCII in lower case makes no other name of it."""
        self.start(WebOptions(origins=("https://kiosk.example",)))
        for method, path, status in (("GET", "/see", 200), ("POST", "/act", 403)):
            answer = self.ask(method, path, {"Origin": "https://\u212aiosk.example"})
            self.assertEqual(answer.status, status)
            self.assertNotIn("Access-Control-Allow-Origin", answer.headers)

    def test_named(self) -> None:
        headers = {"Origin": "https://board.example", "Sec-Fetch-Site": "cross-site"}
        for method, path, status in (("POST", "/act", 204), ("GET", "/see", 200), ("GET", "/nothing", 404)):
            answer = self.ask(method, path, headers)
            self.assertEqual(answer.status, status)
            self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "https://board.example")
            self.assertEqual(answer.headers["Vary"], "Origin")
            self.assertNotIn("Access-Control-Allow-Credentials", answer.headers)

    def test_others(self) -> None:
        answer = self.ask("POST", "/act", {"Origin": "https://evil.example"})
        self.assertEqual(answer.status, 403)
        self.assertNotIn("Access-Control-Allow-Origin", answer.headers)
        self.assertEqual(answer.headers["Vary"], "Origin")
        self.assertEqual(self.ask("GET", "/see").headers["Vary"], "Origin")

    def test_preflight(self) -> None:
        """It is answered before anybody is known, as browsers send no token with it."""
        self.allow(HTTP, PAUSE)
        asked = {
            "Authorization": "",
            "Origin": "https://board.example",
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "authorization, content-type",
        }
        answer = self.ask("OPTIONS", "/things/a", asked)
        self.assertEqual(answer.status, 204)
        self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "https://board.example")
        self.assertEqual(answer.headers["Access-Control-Allow-Headers"], "authorization, content-type")
        self.assertIn("PUT", answer.headers["Access-Control-Allow-Methods"])
        asked["Origin"] = "https://evil.example"
        answer = self.ask("OPTIONS", "/things/a", asked)
        self.assertEqual(answer.status, 401)
        self.assertNotIn("Access-Control-Allow-Headers", answer.headers)


class RightsTests(WebCase):
    def test_nobody(self) -> None:
        """Whoever is not known is told so, also for what does not exist."""
        self.allow(HTTP, SEE)
        self.headers = {}
        for path in ("/see", "/nothing"):
            answer = self.ask("GET", path)
            self.assertEqual((answer.status, answer.code), (401, "access_denied"))
            self.assertEqual(answer.headers["WWW-Authenticate"], "Bearer")
            self.assertEqual(answer.headers["Connection"], "close")
        self.assertEqual(self.server.guard.refusals(), {"nobody": 2})

    def test_wrong_token(self) -> None:
        self.allow(HTTP, SEE)
        answer = self.ask("GET", "/see", {"Authorization": "Bearer txg_aaaaaaaa_" + "b" * 43})
        self.assertEqual((answer.status, answer.json["detail"]), (401, "This token is not known"))

    def test_allowed(self) -> None:
        self.allow(HTTP, SEE)
        self.assertEqual(self.ask("GET", "/see").status, 200)

    def test_denied(self) -> None:
        """By the endpoint, or as HTTP is not for it at all."""
        self.allow(HTTP)
        answer = self.ask("GET", "/see")
        self.assertEqual((answer.status, answer.code), (403, "access_denied"))
        self.assertEqual(answer.json["detail"], "Not allowed: see f")
        self.allow(SEE)
        self.assertEqual(self.ask("GET", "/see").json["detail"], "Not allowed: http")
        self.assertEqual(self.server.guard.refused["me", "see"], 1)

    def test_each_request_is_its_own(self) -> None:
        """A proxy carries those of many users on one connection."""
        self.allow(HTTP, SEE)
        client = self.connect()
        client.ask_web("GET", "/see", self.headers)
        self.assertEqual(client.web_answer().status, 200)
        client.ask_web("GET", "/see", {})
        self.assertEqual(client.web_answer().status, 401)

    def test_everywhere_without_rules(self) -> None:
        """Rules that go while the server runs leave nothing open; the log says so once."""
        self.web.everywhere = True
        self.allow(HTTP, SEE)
        self.assertEqual(self.ask("GET", "/see").status, 200)
        with capturedLogs() as events:
            self.rules("")
            for _ in range(3):
                answer = self.ask("GET", "/see")
                self.assertEqual((answer.status, answer.code), (403, "no_access_rules"))
        self.assertEqual(len([each for each in events if "are refused until" in formatEvent(each)]), 1)
        self.rules('[[identity]]\nname = "a"\n')
        self.assertEqual(self.ask("GET", "/see").status, 403)
        self.allow(HTTP, SEE)
        self.assertEqual(self.ask("GET", "/see").status, 200)


class ActsTests(WebCase):
    def test_recorded(self) -> None:
        audit = self.server.audit = Recording()
        with capturedLogs() as events:
            answer = self.ask("POST", "/act")
        about = {
            "function": b"f\n",
            "arguments": None,
            "answer": "OK",
            "request": answer.headers["Request-Id"],
        }
        self.assertEqual(audit.lines, [("pause", "done", about)])
        self.assertEqual(
            [formatEvent(each) for each in events], ["127.0.0.1 (web): pause function=f\\x0a answer=OK"]
        )
        self.server.notices.stop()

    def test_identity(self) -> None:
        self.allow(HTTP, PAUSE)
        with capturedLogs() as events:
            self.ask("POST", "/act")
        self.assertIn("127.0.0.1 (web), identity me: pause", formatEvent(events[-1]))
        self.server.notices.stop()


class LaterTests(WebCase):
    def setUp(self) -> None:
        super().setUp()
        waiting.clear()
        self.client = self.connect()
        self.client.ask_web("GET", "/later", {})

    def test_answered(self) -> None:
        self.assertEqual(self.client.heard(), b"")
        waiting.pop().callback(Answer({"late": True}))
        self.assertEqual(self.client.web_answer().json, {"late": True})

    def test_failed(self) -> None:
        waiting.pop().errback(Problem(409, "too_late", "Too late"))
        self.assertEqual(self.client.web_answer().code, "too_late")

    def test_gone(self) -> None:
        """Nobody waits any more: it is cancelled, and nothing is logged."""
        self.client.leave()
        self.assertEqual(waiting, [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_the_server_ends(self) -> None:
        _ = self.server.close_connections()
        self.assertEqual(self.client.web_answer().code, "server_ends")
        self.assertEqual(waiting, [])

    def test_turned_away(self) -> None:
        """Its identity is gone meanwhile."""
        self.client.leave()
        self.allow(HTTP)
        client = self.connect()
        client.ask_web("GET", "/later", self.headers)
        self.rules('[[identity]]\nname = "b"\n[[access]]\nidentities = ["b"]\nallow = ["all"]\n')
        self.clock.pump([0.1] * 5)
        answer = client.web_answer()
        self.assertEqual((answer.status, answer.code), (403, "access_denied"))
        self.assertTrue(client.closed)
        self.assertEqual(waiting, [])
        self.server.notices.stop()
