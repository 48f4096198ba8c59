"""Tests of L{txgear.web.api.diagnosis}."""

from __future__ import annotations

from typing import Any

import msgspec

from txgear.broker.diagnosis.findings import Trend
from txgear.protocol.constants import CAN_DO, SUBMIT_JOB_BG
from txgear.protocol.packets import request
from txgear.test.support.web import WebTestCase
from txgear.web.api import diagnosis
from txgear.web.api.diagnosis import DEAR, MOST_SECONDS, SPARE, SURVEYS_AT_ONCE, Diagnosis, Troubles

HOSTILE = b"<b>\"'\\xff\xff\n\x1b[2J\xe2\x80\xae/..%2F?#&" + b"x" * 8000
PATH = "/api/v1/diagnosis"


class DiagnosisTestCase(WebTestCase):
    parts = (diagnosis,)

    def submit(self, *names: bytes) -> None:
        client = self.fixture.connect()
        for name in names:
            client.ask(request(SUBMIT_JOB_BG, name, b"", b""))

    def found(self, path: str, kind: Any) -> Any:
        """What is answered, by and by."""
        client = self.connect()
        client.ask_web("GET", path, self.headers)
        self.clock.pump([0] * 5)
        answer = client.web_answer()
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(msgspec.to_builtins(msgspec.json.decode(answer.body, type=kind)), answer.json)
        return answer.json


class FunctionTests(DiagnosisTestCase):
    def test_one_function(self) -> None:
        self.submit(b"f")
        self.clock.advance(5)
        self.assertEqual(
            self.found("/api/v1/functions/f/diagnosis", Diagnosis),
            {
                "function": "f",
                "findings": [
                    {
                        "code": "never_a_worker",
                        "severity": "critical",
                        "text": "1 job waits, and there has been no worker since the server started",
                        "facts": {"jobs": 1, "longest": 5.0},
                    }
                ],
            },
        )

    def test_how_it_has_fared(self) -> None:
        self.submit(b"f")
        self.server.trend = {b"f": Trend(60.0, 100, 50)}.get
        codes = [
            found["code"] for found in self.found("/api/v1/functions/f/diagnosis", Diagnosis)["findings"]
        ]
        self.assertIn("wait_grows", codes)

    def test_one_that_nobody_uses_any_more(self) -> None:
        worker = self.fixture.connect()
        worker.ask(request(CAN_DO, b"f"))
        worker.leave()
        (found,) = self.found("/api/v1/functions/f/diagnosis", Diagnosis)["findings"]
        self.assertEqual(found["code"], "idle")

    def test_one_that_there_is_not_and_one_that_is_not_seen(self) -> None:
        self.assertEqual(self.ask("GET", "/api/v1/functions/f/diagnosis").code, "unknown_function")
        self.submit(b"f", b"g")
        self.allow("http", "see", functions=("g",))
        self.assertEqual(self.ask("GET", "/api/v1/functions/f/diagnosis").code, "unknown_function")
        self.found("/api/v1/functions/g/diagnosis", Diagnosis)

    def test_who_paused_is_for_those_who_may_know_of_others(self) -> None:
        self.submit(b"f")
        self.broker.operations.pause(b"f", self.clock.seconds(), "alice")
        for rights, by in ((("http", "see"), None), (("http", "see", "peers"), "alice")):
            self.allow(*rights)
            found = self.found("/api/v1/functions/f/diagnosis", Diagnosis)["findings"]
            (facts,) = (each["facts"] for each in found if each["code"] == "paused")
            self.assertEqual(facts["by"], by)


class AllTests(DiagnosisTestCase):
    def test_all_is_well(self) -> None:
        self.assertEqual(self.found(PATH, Troubles), {"server": [], "functions": [], "complete": True})

    def test_the_worst_first_with_paths_that_lead_there(self) -> None:
        self.submit(b"f", HOSTILE, HOSTILE)
        first, second = self.found(PATH, Troubles)["functions"]
        self.assertTrue(first["function"].startswith("<b>"))
        self.assertEqual(second["function"], "f")
        for row in (first, second):
            whole = self.found(row["diagnosis"], Diagnosis)
            self.assertEqual(whole["function"], row["function"])
            self.assertEqual(whole["findings"], row["findings"])

    def test_what_is_of_the_server(self) -> None:
        self.submit(b"f")
        self.broker.drain(self.clock.seconds())
        (found,) = self.found(PATH, Troubles)["server"]
        self.assertEqual(found["code"], "draining")

    def test_what_is_not_seen(self) -> None:
        self.submit(b"f", b"g")
        self.allow("http", "see", functions=("g",))
        (row,) = self.found(PATH, Troubles)["functions"]
        self.assertEqual(row["function"], "g")

    def takes(self, seconds: float) -> None:
        """Each survey takes so long for each function."""

        def trend(name: bytes) -> Trend | None:
            self.surveyed.append(name)
            self.clock.rightNow += seconds
            return None

        self.surveyed: list[bytes] = []
        self.server.trend = trend

    def test_a_dear_one_is_told_again(self) -> None:
        """For as long as it is worth; to those who may see the same."""
        self.submit(b"f")
        self.takes(2 * DEAR)
        first = self.found(PATH, Troubles)
        self.submit(b"g")
        self.clock.advance(2 * DEAR * SPARE - 0.1)
        self.assertEqual(self.found(PATH, Troubles), first)
        self.allow("http", "see")
        self.assertEqual(len(self.found(PATH, Troubles)["functions"]), 2)
        self.allow("http", "see", functions=("g",))
        self.assertEqual([row["function"] for row in self.found(PATH, Troubles)["functions"]], ["g"])
        self.rules("")
        self.headers = {}
        self.clock.advance(0.2)
        self.assertEqual(len(self.found(PATH, Troubles)["functions"]), 2)
        self.assertEqual(self.surveyed, [b"f", b"f", b"g", b"g", b"f", b"g"])

    def test_one_that_takes_long_is_told_for_seconds(self) -> None:
        self.submit(b"f")
        self.takes(1.0)
        self.found(PATH, Troubles)
        self.submit(b"g")
        self.clock.advance(MOST_SECONDS - 0.1)
        self.assertEqual(len(self.found(PATH, Troubles)["functions"]), 1)
        self.clock.advance(0.2)
        self.assertEqual(len(self.found(PATH, Troubles)["functions"]), 2)

    def test_a_cheap_one_is_made_anew(self) -> None:
        self.submit(b"f")
        self.takes(DEAR / 4)
        self.found(PATH, Troubles)
        self.submit(b"g")
        self.assertEqual(len(self.found(PATH, Troubles)["functions"]), 2)

    def test_not_more_than_so_many_at_once(self) -> None:
        self.submit(b"f")
        clients = [self.connect() for _ in range(SURVEYS_AT_ONCE + 2)]
        for client in clients:
            client.ask_web("GET", PATH, {})
        self.assertEqual([client.heard() for client in clients], [b""] * len(clients))
        # One that waits for its turn goes, and one whose answer is being made.
        clients.pop().leave()
        clients.pop(0).leave()
        self.clock.pump([0] * 20)
        for client in clients:
            self.assertEqual(client.web_answer().status, 200)
        # And there is a turn for whoever comes next.
        self.found(PATH, Troubles)

    def test_the_server_ends_meanwhile(self) -> None:
        client = self.connect()
        client.ask_web("GET", PATH, {})
        self.server.cooperator.stop()
        self.clock.pump([0] * 5)
        self.assertEqual(client.heard(), b"")
