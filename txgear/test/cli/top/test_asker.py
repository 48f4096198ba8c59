"""Tests of L{txgear.cli.top.asker} and L{txgear.cli.top.acts}: what servers are asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.statuses import DENIED, UNREACHABLE, CommandError
from txgear.cli.top.acts import ACTS
from txgear.cli.top.asker import MOST_ACTS, MOST_PAGES, SURVEY_SECONDS, Asker, Look, News, Question
from txgear.cli.top.views import DEAD, FUNCTIONS, JOBS, WORKERS, View

TOTALS = {"queued": 1, "running": 0, "waiting": 0, "dead": 0}
TOTALS |= {"submitted_rate": 0, "completed_rate": 0, "failed_rate": 0}


def function(name: str, queued: int, workers: int) -> dict[str, Any]:
    row: dict[str, Any] = {"function": name, "queued": queued, "workers": workers, "paused": False}
    return {**row, "dead": 0, "completed_rate": None, "failed_rate": None}


JOB = {"handle": "H:1", "state": "queued"}
ANSWERS: dict[str, Any] = {
    "/api/v1/server": {"uptime": 1.0, "store": {"available": True}, "draining": False},
    "/api/v1/figures": {
        "functions": [function("f", 1, 1), function("g", 0, 0), function("h", 2, 0)],
        "matched": 5,
        "totals": TOTALS,
        "time": 60.0,
    },
    "/api/v1/jobs": {"jobs": [JOB], "next": 7},
    "/api/v1/jobs/H%3A1": {"handle": "H:1"},
    "/api/v1/diagnosis": {
        "functions": [
            {"function": "f", "findings": [{"code": "no_worker", "severity": "critical", "text": "!"}]}
        ]
    },
    "/api/v1/functions/a%2Fb/purge": {"function": "a/b", "jobs": 3},
    "/api/v1/workers/9": {"enrolled": "then"},
    "/api/v1/workers/9/steer": {"text": "2 jobs are finished first"},
}


class FakeApi:
    """Answers what is expected, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.fails: dict[str, CommandError] = {}
        self.closed = 0
        self.answers: dict[str, Any] = {}
        self.begins: Callable[[str], None] = lambda path: None

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self.send("GET", path, query)

    def send(self, method: str, path: str, query: Any = None, body: Any = None) -> Any:
        self.asked.append((method, path, query or body))
        self.begins(path)
        if path in self.fails:
            raise self.fails[path]
        return {**ANSWERS, **self.answers}.get(path)

    def close(self) -> None:
        self.closed += 1


def question(view: View = FUNCTIONS, detail: str = "", of: int = 0) -> Question:
    return Question(view, {}, view.orders[0], 50, detail, of)


class LookTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.api = FakeApi()
        self.now = 100.0
        self.look = Look(self.api, lambda: self.now)  # type: ignore[arg-type]

    def paths(self) -> list[str]:
        asked, self.api.asked = self.api.asked, []
        return [path.removeprefix("/api/v1/") for _, path, _ in asked]

    def test_functions(self) -> None:
        """One request has them all; what is wrong is asked for less often."""
        heard = self.look.take(question(), 0)
        self.assertEqual(self.api.asked[0][2], {"limit": 50, "sort": "queued"})
        self.assertEqual(self.paths(), ["figures", "diagnosis", "server"])
        self.assertEqual((heard.rows[0]["severity"], heard.rows[0]["code"]), ("critical", "no_worker"))
        self.assertEqual((heard.more, heard.matched, heard.uptime), (True, 5, 60.0))
        # The server names the worst hundred; those that nobody can do are seen without it.
        self.assertNotIn("code", heard.rows[1])
        self.assertEqual(heard.rows[2]["finding"], "2 jobs wait, and there is no worker")
        self.now += SURVEY_SECONDS - 1
        self.assertEqual(self.look.take(question(), 0).rows[0]["finding"], "!")
        self.assertEqual(self.paths(), ["figures"])
        self.now += 1
        self.look.take(question(), 0)
        self.assertEqual(self.paths(), ["figures", "diagnosis", "server"])

    def test_what_takes_long_is_asked_for_seldom(self) -> None:
        def slow(path: str) -> None:
            if path == "/api/v1/diagnosis":
                self.now += 0.5

        self.api.begins = slow
        self.look.take(question(), 0)
        self.now += 49.0
        self.look.take(question(), 0)
        self.assertEqual(self.paths().count("diagnosis"), 1)
        self.now += 1.0
        self.look.take(question(), 0)
        self.assertEqual(self.paths().count("diagnosis"), 1)

    def test_pages_with_few_rows(self) -> None:
        """Where few pass a filter some pages more are asked for, and not all of them."""
        heard = self.look.take(question(JOBS), 0)
        self.assertEqual(self.paths().count("jobs"), MOST_PAGES)
        self.assertEqual((len(heard.rows), heard.more), (MOST_PAGES, True))

    def test_who_may_not_see_the_server(self) -> None:
        self.api.fails["/api/v1/server"] = CommandError("Not allowed: settings", DENIED)
        heard = self.look.take(question(), 0)
        self.now += SURVEY_SECONDS
        self.assertEqual((heard.server, heard.totals), (None, TOTALS))
        self.api.fails["/api/v1/server"] = CommandError("one: refused", UNREACHABLE)
        self.assertRaises(CommandError, self.look.take, question(), 0)

    def test_another_list(self) -> None:
        heard = self.look.take(question(JOBS), 0)
        self.assertEqual(self.paths(), ["figures", *["jobs"] * MOST_PAGES, "server"])
        self.assertEqual((heard.totals, heard.matched, heard.rows[0]), (TOTALS, None, JOB))

    def test_detail(self) -> None:
        """It is asked of the server that has it."""
        wanted = question(JOBS, "/api/v1/jobs/H%3A1", 1)
        self.assertIsNone(self.look.take(wanted, 0).detail)
        self.assertEqual(self.look.take(wanted, 1).detail, {"handle": "H:1"})
        self.api.fails["/api/v1/jobs/H%3A1"] = CommandError("There is no such job", code="unknown_job")
        self.assertEqual(self.look.take(wanted, 1).detail, {"gone": "There is no such job"})
        self.api.fails["/api/v1/jobs/H%3A1"] = CommandError("one: refused", UNREACHABLE)
        self.assertRaises(CommandError, self.look.take, wanted, 1)


class AskerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.api = FakeApi()
        self.news: list[News] = []
        self.asker = Asker(lambda: self.api, 3, self.hear, 0.0)  # type: ignore[arg-type, return-value]

    def hear(self, news: News) -> None:
        """It is stopped with the first look, so that it runs in this thread."""
        self.news.append(news)
        if not news.said:
            self.asker.stop()

    def test_looks(self) -> None:
        self.asker.ask(question())
        self.asker.run()
        [news] = self.news
        self.assertIsNotNone(news.heard)
        self.assertEqual((news.of, news.status), (3, 0))

    def test_acts(self) -> None:
        """Each has a connection of its own, and says what has come of it."""

        def refused(api: object) -> str:
            raise CommandError("Not allowed: cancel", DENIED)

        self.asker.act(lambda api: "done")
        self.asker.act(refused)
        self.assertEqual([news.said for news in self.news], ["done", "Not allowed: cancel"])
        self.assertEqual(self.api.closed, 2)

    def test_acts_at_once_are_bounded(self) -> None:
        """One that a worker does not answer holds up neither looks nor a few more acts."""
        gate = Event()
        self.addCleanup(gate.set)

        def waits(api: object) -> str:
            return "done" if gate.wait(10.0) else "late"

        self.assertEqual([self.asker.do(waits) for _ in range(MOST_ACTS + 1)], [True] * MOST_ACTS + [False])

    def test_no_answer(self) -> None:
        """It is said, and the connection made anew the next time."""
        self.api.fails["/api/v1/figures"] = CommandError("one: Connection refused", UNREACHABLE)
        self.asker.ask(question())
        self.asker.run()
        [news] = self.news
        self.assertEqual((news.error, news.status), ("one: Connection refused", UNREACHABLE))
        self.assertEqual(self.api.closed, 1)

    def test_answers_that_make_no_sense(self) -> None:
        """They are told of in the row of the server, and end nothing."""
        good = ANSWERS["/api/v1/figures"]
        answers: tuple[Any, ...] = (
            [],
            None,
            {"functions": 7},
            {**good, "totals": {}},
            {**good, "totals": {**good["totals"], "queued": "many"}},
            {**good, "functions": [{}]},
            {**good, "functions": [{**good["functions"][0], "function": 7}]},
            {**good, "functions": [{**good["functions"][0], "queued": "many"}]},
            {**good, "time": None},
        )
        for bad in answers:
            self.news.clear()
            self.api.answers = {"/api/v1/figures": bad}
            self.asker.look(question())
            self.assertIn("is not what this version of txgear expects", self.news[0].error, bad)
            self.assertEqual((self.news[0].status, self.asker.failure), (UNREACHABLE, None))
        self.news.clear()
        self.asker.act(lambda api: str(good["jobs"]))
        self.assertIn("KeyError: 'jobs'", self.news[0].said)

    def test_defect(self) -> None:
        """It is no secret."""

        def defect(api: object) -> str:
            raise ZeroDivisionError

        self.asker.act(defect)
        self.assertIsInstance(self.asker.failure, ZeroDivisionError)
        self.asker.failure = None
        self.api.begins = lambda path: 1 / 0  # type: ignore[assignment]
        self.asker.ask(question())
        self.asker._stopped = False
        self.asker.run()
        self.assertIsInstance(self.asker.failure, ZeroDivisionError)


class ActTests(SynchronousTestCase):
    def test_requests(self) -> None:
        """Each act is one request, and says what came of it."""
        row = {
            "handle": "H:1",
            "function": "a/b",
            "paused": False,
            "descriptor": 9,
            "client_id": "w",
            "enrolled": "then",
        }
        row |= {"condition": "paused", "queued": 3, "waiting": 0}
        jobs = {
            "k": ("/cancel", None, "H:1 is cancelled"),
            "r": ("/requeue", None, "H:1 is queued"),
            "+": ("/prioritise", {"priority": "high"}, "H:1 has high priority"),
            "=": ("/prioritise", {"priority": "normal"}, "H:1 has normal priority"),
            "-": ("/prioritise", {"priority": "low"}, "H:1 has low priority"),
            "x": ("/forget", None, "H:1 is forgotten"),
        }
        wanted: dict[View, dict[str, tuple[str, Any, str]]] = {
            FUNCTIONS: {
                "p": ("/functions/a%2Fb/pause", None, "a/b is paused"),
                "K": ("/functions/a%2Fb/purge", None, "3 jobs of a/b are cancelled"),
            },
            WORKERS: {
                "p": ("/workers/9/steer", {"word": "resume"}, "w: resume, 2 jobs are finished first"),
                "k": ("/workers/9/steer", {"word": "stop"}, "w: stop, 2 jobs are finished first"),
                "K": ("/workers/9/disconnect", None, "the connection of w has ended"),
            },
            JOBS: {key: said for key, said in jobs.items() if key != "x"},
            DEAD: {key: said for key, said in jobs.items() if key != "k"},
        }
        for view, acts in ACTS.items():
            self.assertEqual({act.key for act in acts}, set(wanted[view]))
            for act in acts:
                api = FakeApi()
                path, body, said = wanted[view][act.key]
                self.assertEqual(act.do(api, row), said)  # type: ignore[arg-type]
                *before, (method, asked, sent) = api.asked
                # A worker's number may be another's by now.
                self.assertEqual(before, [("GET", "/api/v1/workers/9", None)] if view is WORKERS else [])
                self.assertEqual((method, sent), ("POST", body))
                self.assertTrue(asked.endswith(path), asked)

    def test_it_is_asked_before(self) -> None:
        act = next(act for act in ACTS[FUNCTIONS] if act.key == "K")
        for queued, asked in (
            (1, "Cancel the one job of f that waits?"),
            (1200, "Cancel all 1,200 jobs of f that wait?"),
        ):
            row = {"function": "f", "queued": queued, "waiting": 0}
            self.assertEqual(act.asked(row), asked)

    def test_a_function_that_is_paused(self) -> None:
        api = FakeApi()
        act = ACTS[FUNCTIONS][0]
        self.assertEqual(act.do(api, {"function": "f", "paused": True}), "f goes on")  # type: ignore[arg-type]
        self.assertEqual(api.asked[0][1], "/api/v1/functions/f/resume")

    def test_a_worker_that_has_gone(self) -> None:
        """Nothing is done to the one that has its number now."""
        row = {"descriptor": 9, "client_id": "w", "enrolled": "before", "condition": "busy"}
        for act in ACTS[WORKERS]:
            api = FakeApi()
            error = self.assertRaises(CommandError, act.do, api, row)
            self.assertEqual(str(error), "w has gone, and another worker has its number")
            self.assertEqual(len(api.asked), 1)

    def test_no_key_means_two_things(self) -> None:
        taken = {view.key for view in ACTS} | set("?/<>oJWDq")
        for acts in ACTS.values():
            keys = [act.key for act in acts]
            self.assertEqual(len(set(keys)), len(keys))
            self.assertFalse(taken & set(keys))
