"""Tests of L{txgear.web.api.workers}."""

from __future__ import annotations

from typing import Any

import msgspec

from txgear.protocol.constants import (
    CAN_DO,
    GRAB_JOB,
    OPTION_REQ,
    PRE_SLEEP,
    SET_CLIENT_ID,
    STEER,
    STEERED,
    SUBMIT_JOB_BG,
    WORKER_STATE,
)
from txgear.protocol.packets import request, response
from txgear.server.steering import ANSWER_SECONDS
from txgear.test.support.server import FakePeer
from txgear.test.support.web import WebTestCase
from txgear.web.api import workers
from txgear.web.api.workers import Connections, Steered, Worker, Workers

HOSTILE = b"<b>\"'\\xff\xff\n\x1b[2J\xe2\x80\xae/..%2F?#&" + b"x" * 8000


class WorkersTestCase(WebTestCase):
    parts = (workers,)

    def known(self, *names: bytes, client_id: bytes = b"", then: bytes = b"") -> FakePeer:
        """A worker of these functions."""
        peer: FakePeer = self.fixture.connect()
        if client_id:
            peer.tell(request(SET_CLIENT_ID, client_id))
        for name in names:
            peer.tell(request(CAN_DO, name))
        peer.ask(then)
        return peer

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
