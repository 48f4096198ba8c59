"""Tests of L{txgear.web.api.figures}."""

from __future__ import annotations

from typing import Any

import msgspec

from txgear.broker.statistics import MOST_COUNTED
from txgear.protocol.constants import CAN_DO, GRAB_JOB, SUBMIT_JOB_BG, WORK_COMPLETE
from txgear.protocol.packets import request
from txgear.server.recently import KNOWN_SECONDS
from txgear.test.web.api.apicase import ApiTestCase
from txgear.web.api import figures, functions
from txgear.web.api.figures import MOST_FIGURES, TABLES_AT_ONCE, FunctionTable
from txgear.web.api.functions import FunctionFigures, Functions

PATH = "/api/v1/figures"


class FiguresTestCase(ApiTestCase):
    parts = (figures, functions)

    def submit(self, *names: bytes) -> None:
        client = self.fixture.connect()
        for name in names:
            client.ask(request(SUBMIT_JOB_BG, name, b"", b"workload"))

    def work(self, name: bytes, handle: bytes) -> None:
        worker = self.fixture.connect()
        worker.ask(request(CAN_DO, name), request(GRAB_JOB))
        self.clock.advance(1.0)
        worker.ask(request(WORK_COMPLETE, handle, b""))

    def table(self, query: str = "") -> Any:
        """What is answered, by and by."""
        client = self.connect()
        client.ask_web("GET", PATH + query, self.headers)
        self.clock.pump([0] * 10)
        answer = client.web_answer()
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(
            msgspec.to_builtins(msgspec.json.decode(answer.body, type=FunctionTable)), answer.json
        )
        return answer.json

    def names(self, query: str = "") -> list[str]:
        return [row["function"] for row in self.table(query)["functions"]]


class TableTests(FiguresTestCase):
    def test_a_row(self) -> None:
        self.submit(b"f", b"f", b"f")
        self.clock.advance(3.0)
        self.work(b"f", b"H:test:1")
        found = self.table()
        (row,) = found["functions"]
        self.assertEqual(
            {name: row[name] for name in ("function", "queued", "running", "submitted", "completed")},
            {"function": "f", "queued": 2, "running": 0, "submitted": 3, "completed": 1},
        )
        self.assertEqual(
            (row["submitted_rate"], row["completed_rate"], row["failed_rate"]), (0.75, 0.25, 0.0)
        )
        self.assertTrue(2.5 < row["wait_p50"] < 3.5, row)
        self.assertTrue(0.83 < row["run_p95"] < 1.17, row)
        self.assertEqual((found["matched"], found["time"], found["seconds"]), (1, 4.0, 4.0))
        self.assertEqual(
            found["totals"],
            {
                "functions": 1,
                "queued": 2,
                "waiting": 0,
                "running": 0,
                "dead": 0,
                "submitted": 3,
                "completed": 1,
                "failed": 0,
                "submitted_rate": 0.75,
                "completed_rate": 0.25,
                "failed_rate": 0.0,
            },
        )

    def test_who_asks_twice_has_rates_of_his_own(self) -> None:
        self.submit(b"f")
        first = self.table()
        self.clock.advance(2.0)
        self.submit(*[b"f"] * 10)
        second = self.table()
        self.assertEqual(second["time"] - first["time"], 2.0)
        self.assertEqual(second["functions"][0]["submitted"] - first["functions"][0]["submitted"], 10)

    def test_orders(self) -> None:
        self.submit(b"a", b"b", b"b", b"c")
        self.clock.advance(1.0)
        self.work(b"a", b"H:test:1")
        self.assertEqual(self.names(), ["a", "b", "c"])
        self.assertEqual(self.names("?sort=queued"), ["b", "c", "a"])
        self.assertEqual(self.names("?sort=rate&limit=1"), ["a"])
        self.assertEqual(self.names("?function=[bc]"), ["b", "c"])
        self.assertEqual(self.table("?function=[bc]&limit=1")["matched"], 2)
        self.assertEqual(self.ask("GET", f"{PATH}?limit={MOST_FIGURES + 1}").code, "invalid_query")
        self.assertEqual(self.ask("GET", f"{PATH}?sort=colour").code, "invalid_query")

    def test_functions_that_are_counted_together(self) -> None:
        self.submit(*(b"%04d" % place for place in range(MOST_COUNTED + 1)))
        found = self.table()
        self.assertEqual((len(found["functions"]), found["matched"]), (MOST_FIGURES, MOST_COUNTED + 1))
        last = self.table("?function=1000")["functions"][0]
        self.assertEqual((last["queued"], last["submitted"], last["completed_rate"]), (1, None, None))
        self.assertEqual(self.names("?sort=rate&limit=1"), ["0000"])

    def test_a_function_that_has_gone(self) -> None:
        """What it did of late is in no sum; what has been counted is, so that it never goes back."""
        self.submit(b"gone")
        self.fixture.connect().ask(b"cancel job H:test:1\r\n")
        self.clock.advance(1.0)
        found = self.table()
        self.assertEqual((found["functions"], found["totals"]["submitted_rate"]), ([], 0.0))
        self.assertEqual((found["totals"]["submitted"], found["totals"]["failed"]), (1, 1))
        self.allow("http", "see", functions=["other"])
        self.assertEqual(self.table()["totals"]["submitted"], 0)

    def test_rights(self) -> None:
        self.submit(b"a", b"b")
        self.clock.advance(1.0)
        self.allow("http", "see", functions=["b"])
        found = self.table()
        self.assertEqual([row["function"] for row in found["functions"]], ["b"])
        self.assertEqual((found["matched"], found["totals"]["functions"]), (1, 1))
        self.assertEqual((found["totals"]["queued"], found["totals"]["submitted_rate"]), (1, 1.0))
        self.assertEqual(found["totals"]["submitted"], 1)

    def test_who_has_gone(self) -> None:
        """And those who wait for their turn."""
        self.submit(b"f")
        clients = [self.connect() for _ in range(TABLES_AT_ONCE + 1)]
        for client in clients:
            client.ask_web("GET", PATH, self.headers)
        for client in clients:
            client.leave()
        self.clock.pump([0] * 5)
        self.assertEqual(len(self.table()["functions"]), 1)

    def test_the_server_ends(self) -> None:
        client = self.connect()
        client.ask_web("GET", PATH, self.headers)
        self.server.cooperator.stop()
        self.clock.pump([0] * 2)
        self.assertEqual(self.flushLoggedErrors(), [])


class ListTests(FiguresTestCase):
    def test_with_figures(self) -> None:
        self.submit(b"a", b"b")
        self.clock.advance(KNOWN_SECONDS)
        page = self.read("/api/v1/functions?figures=true&limit=1", Functions)
        (row,) = page["functions"]
        self.assertEqual(row.keys(), set(FunctionFigures.__struct_fields__))
        self.assertEqual((row["function"], row["submitted"], row["submitted_rate"]), ("a", 1, 0.2))
        self.assertEqual(page["next"], "a")
        plain = self.read("/api/v1/functions?figures=false", Functions)["functions"]
        self.assertEqual([row["function"] for row in plain], ["a", "b"])
        self.assertNotIn("submitted", plain[0])
