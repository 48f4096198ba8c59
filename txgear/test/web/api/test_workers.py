"""Tests of L{txgear.web.api.workers}."""

from __future__ import annotations

from typing import Any

import msgspec

from txgear.protocol.constants import (
    GRAB_JOB,
    OPTION_REQ,
    PRE_SLEEP,
    STEER,
    STEERED,
    SUBMIT_JOB_BG,
    WORKER_STATE,
)
from txgear.protocol.packets import request, response
from txgear.server.steering import ANSWER_SECONDS
from txgear.test.support.web import WebPeer, WebTestCase
from txgear.web.api import workers
from txgear.web.api.workers import Connections, Steered, SteeredSeveral, Worker, Workers

HOSTILE = b"<b>\"'\\xff\xff\n\x1b[2J\xe2\x80\xae/..%2F?#&" + b"x" * 8000


class WorkersTestCase(WebTestCase):
    parts = (workers,)

    def found(self, path: str, kind: Any) -> Any:
        answer = self.ask("GET", path)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(msgspec.to_builtins(msgspec.json.decode(answer.body, type=kind)), answer.json)
        return answer.json

    def names(self, query: str = "") -> list[str | None]:
        found = self.found(f"/api/v1/workers{query}", Workers)
        return [row["client_id"] for row in found["workers"]]


class ListTests(WorkersTestCase):
    def test_nobody(self) -> None:
        self.fixture.connect()
        self.assertEqual(self.found("/api/v1/workers", Workers), {"workers": [], "next": None})

    def test_which_are_wanted(self) -> None:
        self.known(b"mail", client_id=b"one", then=request(PRE_SLEEP))
        self.known(b"mail", b"resize", client_id=b"two")
        self.assertEqual(self.names(), ["one", "two"])
        self.assertEqual(self.names("?function=re*"), ["two"])
        self.assertEqual(self.names("?worker=ne"), ["one"])
        self.assertEqual(self.names("?condition=asleep"), ["one"])
        self.clock.advance(60)
        self.assertEqual(self.names("?condition=silent"), ["two"])
        self.assertEqual(self.names("?condition=silent&function=x"), [])

    def test_pages(self) -> None:
        for name in (b"a", b"b", b"c"):
            self.known(b"f", client_id=name)
        page = self.found("/api/v1/workers?limit=2", Workers)
        self.assertEqual([row["client_id"] for row in page["workers"]], ["a", "b"])
        self.assertEqual(self.names(f"?limit=2&after={page['next']}"), ["c"])

    def test_what_makes_no_sense(self) -> None:
        for query in (
            "condition=tired",
            "limit=0",
            "limit=201",
            "after=-1",
            "after=x",
            "x=1",
            "limit=1&limit=2",
        ):
            self.assertEqual(self.ask("GET", f"/api/v1/workers?{query}").status, 400, query)

    def test_those_of_others(self) -> None:
        self.known(b"f", client_id=b"other")
        self.allow("http", "see")
        self.assertEqual(self.names(), [])
        self.allow("http", "see", "peers")
        self.assertEqual(self.names(), ["other"])

    def test_names_that_break_out_of_nothing(self) -> None:
        self.known(HOSTILE, client_id=HOSTILE)
        (row,) = self.found("/api/v1/workers", Workers)["workers"]
        self.assertTrue(row["names"][0].startswith("<b>\"'\\x5cxff\\xff\n"))


class OneTests(WorkersTestCase):
    def test_a_worker(self) -> None:
        self.fixture.connect().ask(request(SUBMIT_JOB_BG, b"f", b"", b""))
        self.known(*(b"f%d" % number for number in range(20)), b"f", client_id=b"me", then=request(GRAB_JOB))
        (row,) = self.found("/api/v1/workers", Workers)["workers"]
        self.clock.advance(3)
        found = self.found(f"/api/v1/workers/{row['descriptor']}", Worker)
        self.assertEqual((found["condition"], found["functions"], len(found["names"])), ("busy", 21, 21))
        self.assertEqual([job["seconds"] for job in found["in_hand"]], [3.0])

    def test_what_it_can_be_told(self) -> None:
        peer = self.known(b"f", then=request(OPTION_REQ, b"txgear-1"))
        peer.tell(request(WORKER_STATE, b'{"words":["pause"],"paused":true}'))
        found = self.found(f"/api/v1/workers/{peer.protocol.peer.descriptor}", Worker)
        self.assertEqual((found["words"], found["condition"]), (["pause"], "paused"))

    def test_by_id(self) -> None:
        numbers = [self.known(b"f", client_id=name).protocol.peer.descriptor for name in (b"a/b", b"c", b"c")]
        found = self.found("/api/v1/workers/a%2Fb", Worker)
        self.assertEqual((found["descriptor"], found["id"]), (numbers[0], "a/b"))
        answer = self.ask("GET", "/api/v1/workers/c")
        self.assertEqual((answer.status, answer.code), (409, "several_workers"))
        found = self.found("/api/v1/workers?id=c", Workers)["workers"]
        self.assertEqual([row["descriptor"] for row in found], numbers[1:])

    def test_its_functions_with_counts(self) -> None:
        peer = self.known(b"f", then=request(OPTION_REQ, b"txgear-1"))
        peer.tell(request(WORKER_STATE, b'{"functions":[{"name":"f","done":3},{"name":"g","in_use":false}]}'))
        found = self.found(f"/api/v1/workers/{peer.protocol.peer.descriptor}", Worker)
        self.assertEqual(
            [[each[name] for name in ("function", "in_use", "done", "failed")] for each in found["counts"]],
            [["f", True, 3, 0], ["g", False, 0, 0]],
        )

    def test_one_that_there_is_not(self) -> None:
        client = self.fixture.connect().protocol.peer.descriptor
        for word in ("99", "x", "-1", "%C2%B2", "9" * 5000, str(client)):
            self.assertEqual(self.ask("GET", f"/api/v1/workers/{word}").code, "unknown_worker", word)

    def test_one_of_which_one_may_not_know(self) -> None:
        number = self.known(b"f").protocol.peer.descriptor
        self.allow("http", "see")
        self.assertEqual(self.ask("GET", f"/api/v1/workers/{number}").code, "unknown_worker")


class SteerTests(WorkersTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.line = self.known(b"f", client_id=b"me", then=request(OPTION_REQ, b"txgear-1"))
        self.line.ask(request(WORKER_STATE, b'{"words":["pause"]}'))
        self.path = f"/api/v1/workers/{self.line.protocol.peer.descriptor}"

    def audited(self) -> list[dict[str, Any]]:
        return self.server.audit.last(0, 100)[0]

    def test_it_waits_for_the_answer(self) -> None:
        client = self.connect()
        client.ask_web("POST", f"{self.path}/steer", self.headers, {"word": "pause"})
        self.assertEqual(client.heard(), b"")
        self.assertEqual(self.line.heard(), response(STEER, b"1", b"pause", b""))
        self.line.tell(request(STEERED, b"1", b"done", b"2 jobs"))
        answer = client.web_answer()
        self.assertEqual(answer.status, 200)
        found = msgspec.json.decode(answer.body, type=Steered)
        self.assertEqual((found.descriptor, found.word, found.text), (1, "pause", "2 jobs"))
        (line,) = self.audited()
        self.assertEqual(
            [line[name] for name in ("act", "worker", "arguments", "answer")],
            ["manage", "me", "pause", "OK 2 jobs"],
        )

    def test_what_goes_wrong(self) -> None:
        for said, status, code in (
            (request(STEERED, b"1", b"refused", b"no"), 409, "refused_by_worker"),
            (b"", 504, "not_answered"),
        ):
            self.setUp()
            client = self.connect()
            client.ask_web("POST", f"{self.path}/steer", {}, {"word": "pause"})
            self.line.tell(said)
            self.clock.advance(ANSWER_SECONDS)
            answer = client.web_answer()
            self.assertEqual((answer.status, answer.code), (status, code))
            self.assertTrue(self.audited()[0]["answer"].startswith(code.upper()))

    def test_nobody_waits_for_it_any_more(self) -> None:
        client = self.connect()
        client.ask_web("POST", f"{self.path}/steer", {}, {"word": "pause"})
        client.leave()
        self.assertEqual(self.line.ask(request(STEERED, b"1", b"done", b""))[-6:], b"pause\0")
        self.assertEqual(self.audited(), [])

    def test_what_makes_no_sense(self) -> None:
        for body, status in (({}, 422), ({"word": "PAUSE"}, 422), ({"word": 1}, 422), ({"x": 1}, 422)):
            self.assertEqual(self.ask("POST", f"{self.path}/steer", body=body).status, status, body)
        answer = self.ask("POST", f"{self.path}/steer", body={"word": "grow"})
        self.assertEqual((answer.status, answer.code), (409, "not_steerable"))
        for path in ("steer", "disconnect"):
            sent = {"word": "pause"} if path == "steer" else None
            answer = self.ask("POST", f"/api/v1/workers/99/{path}", body=sent)
            self.assertEqual(answer.code, "unknown_worker")

    def test_rights(self) -> None:
        for acts, status in (
            (("http", "peers"), 403),
            (("http", "manage"), 404),
            (("http", "peers", "manage"), 204),
        ):
            self.allow(*acts)
            for path, done in (("steer", 409), ("disconnect", 204)):
                expected = done if status == 204 else status
                body = {"word": "grow"} if path == "steer" else None
                answer = self.ask("POST", f"{self.path}/{path}", body=body)
                self.assertEqual(answer.status, expected, (acts, path))
                self.assertEqual(self.line.transport.disconnected, expected == 204)
        self.assertEqual(self.line.heard(), b"")

    def test_disconnected(self) -> None:
        self.assertEqual(self.ask("POST", f"{self.path}/disconnect").status, 204)
        self.assertTrue(self.line.transport.disconnected)
        (line,) = self.audited()
        self.assertEqual([line["act"], line["arguments"]], ["manage", "disconnect"])


class SteerSeveralTests(WorkersTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.lines = [
            self.known(b"f", client_id=name, then=request(OPTION_REQ, b"txgear-1"))
            for name in (b"one", b"one", b"two")
        ]
        for line in self.lines[1:]:
            line.ask(request(WORKER_STATE, b'{"words":["pause","register"]}'))

    def sent(self, **body: object) -> WebPeer:
        client: WebPeer = self.connect()
        client.ask_web("POST", "/api/v1/steering", self.headers, body)
        return client

    def test_all_that_match(self) -> None:
        client = self.sent(word="pause", id="one")
        self.assertEqual(client.heard(), b"")
        self.lines[1].tell(request(STEERED, b"1", b"done", b"2 jobs"))
        answer = client.web_answer()
        found = msgspec.json.decode(answer.body, type=SteeredSeveral)
        self.assertEqual((found.word, len(found.workers)), ("pause", 2))
        classic, told = found.workers
        self.assertEqual((classic.descriptor, classic.done, classic.code), (1, False, "not_steerable"))
        self.assertEqual((told.id, told.done, told.code, told.text), ("one", True, "", "2 jobs"))
        self.assertEqual(self.lines[2].heard(), b"")
        (line,) = self.server.audit.last(0, 100)[0]
        self.assertEqual([line["worker"], line["arguments"], line["answer"]], ["one", "pause", "OK 2 jobs"])

    def test_an_argument(self) -> None:
        client = self.sent(word="register", worker="two", argument="g")
        self.assertEqual(self.lines[2].heard(), response(STEER, b"1", b"register", b"g"))
        self.lines[2].tell(request(STEERED, b"1", b"done", b""))
        self.assertEqual(client.web_answer().status, 200)
        self.assertEqual(self.server.audit.last(0, 100)[0][0]["arguments"], "register g")

    def test_their_connections_end(self) -> None:
        answer = self.ask("POST", "/api/v1/steering", body={"word": "disconnect", "function": "*"})
        self.assertEqual(len(answer.json["workers"]), 3)
        self.assertTrue(all(line.transport.disconnected for line in self.lines))

    def test_what_makes_no_sense(self) -> None:
        for body, status, code in (
            ({"word": "pause"}, 422, "which_workers"),
            ({"id": "one"}, 422, "invalid_body"),
            ({"word": "register", "id": "one"}, 400, "invalid_arguments"),
            ({"word": "pause", "id": "one", "condition": "busy"}, 422, "invalid_body"),
            ({"word": "pause", "id": "nobody"}, 200, None),
        ):
            answer = self.ask("POST", "/api/v1/steering", body=body)
            self.assertEqual(answer.status, status, (body, answer.body))
            if code:
                self.assertEqual(answer.code, code, body)
        self.assertEqual(self.lines[1].heard(), b"")

    def test_rights(self) -> None:
        self.allow("http", "peers")
        self.assertEqual(self.sent(word="pause", function="*").web_answer().status, 403)
        self.allow("http", "manage")
        answer = self.sent(word="pause", id="two").web_answer()
        self.assertEqual((answer.status, answer.json["workers"]), (200, []))
        self.assertEqual(self.lines[2].heard(), b"")


class ConnectionsTests(WorkersTestCase):
    def test_everybody(self) -> None:
        self.known(b"f", client_id=b"me")
        self.fixture.connect()
        page = self.found("/api/v1/connections?limit=1", Connections)
        (row,) = page["connections"]
        self.assertEqual((row["client_id"], row["names"], row["encrypted"]), ("me", ["f"], False))
        page = self.found(f"/api/v1/connections?after={page['next']}", Connections)
        # The web's own is one.
        self.assertEqual(page["total"]["connections"], len(page["connections"]) + 1)

    def test_filters(self) -> None:
        self.known(client_id=b"me")
        found = self.found("/api/v1/connections?worker=me&quickack=false", Connections)["connections"]
        self.assertEqual([row["client_id"] for row in found], ["me"])
        found = self.found("/api/v1/connections?quickack=true", Connections)["connections"]
        self.assertEqual(found, [])
        self.assertEqual(self.ask("GET", "/api/v1/connections?quickack=2").status, 400)
        kinds = [
            row["kind"] for row in self.found("/api/v1/connections?kind=web", Connections)["connections"]
        ]
        self.assertEqual(set(kinds), {"web"})
        self.assertEqual(self.ask("GET", "/api/v1/connections?kind=tin").status, 400)

    def test_ones_own(self) -> None:
        self.fixture.connect()
        self.allow("http")
        found = self.found("/api/v1/connections", Connections)
        self.assertEqual([row["identity"] for row in found["connections"]], ["me"])
