"""Tests of L{txgear.web.api.schedules}."""

from __future__ import annotations

from txgear.server.schedules import Schedule
from txgear.test.web.api.apicase import ApiTestCase
from txgear.web.api import schedules
from txgear.web.api.schedules import Schedules

DAILY = Schedule(b"n\xff", "0 5 * * *", b"f", unique=b"u", workload=b"abc")
NEVER = Schedule(b"never", "0 0 */31 2 SUN#2", b"g")


class SchedulesTests(ApiTestCase):
    parts = (schedules,)

    def put(self) -> None:
        self.server.scheduler.start([DAILY, NEVER], [])
        self.addCleanup(self.server.scheduler.stop)

    def test_list(self) -> None:
        self.assertEqual(self.read("/api/v1/schedules", Schedules), {"schedules": []})
        self.put()
        self.assertEqual(
            self.read("/api/v1/schedules", Schedules)["schedules"],
            [
                {
                    "name": "n\\xff",
                    "cron": "0 5 * * *",
                    "words": "At 05:00 every day",
                    "timezone": "UTC",
                    "function": "f",
                    "unique": "u",
                    "priority": "normal",
                    "size": 3,
                    "last": "1970-01-01T00:16:40.000Z",
                    "next": "1970-01-01T05:00:00.000Z",
                    "upcoming": [f"1970-01-0{day}T05:00:00.000Z" for day in range(1, 6)],
                    "remarks": [],
                    "run": None,
                    "refused": None,
                },
                {
                    "name": "never",
                    "cron": "0 0 */31 2 SUN#2",
                    "words": "At 00:00 on the first day of month if it's on the second Sunday of the month"
                    " in February",
                    "timezone": "UTC",
                    "function": "g",
                    "unique": "",
                    "priority": "normal",
                    "size": 0,
                    "last": "1970-01-01T00:16:40.000Z",
                    "next": None,
                    "upcoming": [],
                    "remarks": [],
                    "run": None,
                    "refused": None,
                },
            ],
        )
        self.allow("http", "settings", "see", functions=["g"])
        (found,) = self.read("/api/v1/schedules", Schedules)["schedules"]
        self.assertEqual(found["name"], "never")

    def test_many(self) -> None:
        """They are looked at in pieces, and one that is gone by then is left out."""
        many = [Schedule(b"s%d" % number, "0 5 * * *", b"f") for number in range(12)]
        self.server.scheduler.start(many, [])
        self.addCleanup(self.server.scheduler.stop)
        client = self.connect()
        client.ask_web("GET", "/api/v1/schedules", {})
        self.server.scheduler.replace(many[:11])
        self.clock.advance(0.1)
        self.assertEqual(len(client.web_answer().json["schedules"]), 11)

    def test_who_has_gone_meanwhile(self) -> None:
        many = [Schedule(b"s%d" % number, "0 5 * * *", b"f") for number in range(12)]
        self.server.scheduler.start(many, [])
        self.addCleanup(self.server.scheduler.stop)
        client = self.connect()
        client.ask_web("GET", "/api/v1/schedules", {})
        client.leave()
        self.clock.advance(0.1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_run(self) -> None:
        self.put()
        answer = self.ask("POST", "/api/v1/schedules/n%5Cxff/run")
        self.assertEqual((answer.status, answer.json["joined"]), (202, False))
        self.assertEqual(answer.headers["Location"], "/api/v1/jobs/H%3Atest%3A1")
        self.assertTrue(self.ask("POST", "/api/v1/schedules/n%5Cxff/run").json["joined"])
        run = self.read("/api/v1/schedules", Schedules)["schedules"][0]["run"]
        self.assertEqual(
            run,
            {
                "at": "1970-01-01T00:16:40.000Z",
                "handle": "H:test:1",
                "joined": True,
                "by_hand": True,
                "state": "queued",
            },
        )
        self.broker.operations.cancel(b"H:test:1", self.clock.seconds())
        run = self.read("/api/v1/schedules", Schedules)["schedules"][0]["run"]
        self.assertIsNone(run["state"])

    def test_run_what_is_not_there(self) -> None:
        answer = self.ask("POST", "/api/v1/schedules/daily/run")
        self.assertEqual((answer.status, answer.code), (404, "unknown_schedule"))

    def test_rights(self) -> None:
        self.put()
        self.allow("http", "see", "submit")
        for method, path in (("GET", "schedules"), ("POST", "schedules/never/run")):
            answer = self.ask(method, f"/api/v1/{path}")
            self.assertEqual((answer.status, answer.code), (403, "access_denied"), path)
        self.allow("http", "settings", "submit")
        self.assertEqual(self.ask("POST", "/api/v1/schedules/never/run").status, 404)
        self.allow("http", "settings", "see")
        self.assertEqual(self.ask("POST", "/api/v1/schedules/never/run").status, 403)
        self.assertEqual(len(self.broker.table.jobs), 0)
