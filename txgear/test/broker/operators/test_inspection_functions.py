"""Tests of L{txgear.broker.operators.inspection}: functions, and pages of them."""

from __future__ import annotations

from typing import Any

from txgear.broker.counts import VALUES
from txgear.broker.operators import inspection
from txgear.broker.operators.inspection import LONGEST_PLACE
from txgear.broker.operators.search import OF_FUNCTIONS, Bounds, Search
from txgear.errors import InvalidArgument
from txgear.protocol import textlines
from txgear.test.broker.operators.test_inspection import InspectionTestCase


class FunctionTests(InspectionTestCase):
    def functions(self, **words: bytes) -> list[dict[str, Any]]:
        found = inspection.functions(self.broker, self.peer, Search.parse(words, OF_FUNCTIONS))
        return [inspection.function(self.broker, function, self.fixture.now) for function in found]

    def test_what_is_told_of_each(self) -> None:
        for due in (0.0, 0.0, self.fixture.now + 9):
            self.fixture.submit(None, due=due)
        self.fixture.grab(self.fixture.worker(b"f"))
        self.broker.operations.limit_function(b"f", (0, 7, 0))
        self.fixture.now += 2.5
        self.assertEqual(
            self.functions(),
            [
                {
                    "function": "f",
                    "queued": 1,
                    "waiting": 1,
                    "running": 1,
                    "oldest": 2.5,
                    "workers": 1,
                    "dead": 0,
                    "kept": 0,
                    "paused": False,
                    "maxqueue": {"high": 0, "normal": 7, "low": 0},
                }
            ],
        )

    def test_those_that_have_ended(self) -> None:
        self.set_policy(retries=0, dead={"keep": 60}, results="1h")
        worker = self.fixture.worker(b"f")
        for _ in range(3):
            self.fixture.submit(None)
        self.fail_one(worker, b"")
        self.fail_one(worker, b"")
        self.complete(worker)
        (found,) = self.functions()
        self.assertEqual((found["dead"], found["kept"]), (2, 1))

    def test_filters(self) -> None:
        for name in (b"a", b"b", b"c"):
            self.broker.operations.create_function(name)
        self.broker.operations.pause(b"b", self.fixture.now)
        for words, names in (
            ({}, ["a", "b", "c"]),
            ({"paused": b"yes"}, ["b"]),
            ({"paused": b"No"}, ["a", "c"]),
            ({"function": b"[bc]", "paused": b"no"}, ["c"]),
        ):
            self.assertEqual([found["function"] for found in self.functions(**words)], names)
        with self.assertRaisesRegex(InvalidArgument, "paused is yes or no"):
            self.functions(paused=b"perhaps")
        with self.assertRaisesRegex(InvalidArgument, "state is not known; there are function, paused"):
            self.functions(state=b"queued")


class FunctionPageTests(InspectionTestCase):
    def page(self, **words: bytes) -> tuple[list[str], str | None]:
        """The names of a page, and what comes next."""
        known = ("function", "paused", "behind", "limit")
        search = Search.parse(words, known)
        found = inspection.function_page(self.broker, self.peer, search, self.fixture.now, self.bounds)
        return [row["function"] for row in found["functions"]], found["next"]

    def test_by_their_names(self) -> None:
        for name in (b"c", b"a", b"b\xff", b"B"):
            self.fixture.submit(None, name)
        self.assertEqual(self.page(), (["B", "a", "b\\xff", "c"], None))
        self.assertEqual(self.page(limit=b"3"), (["B", "a", "b\\xff"], "b\\xff"))
        self.assertEqual(self.page(limit=b"3", behind=b"b\xff"), (["c"], None))
        self.assertEqual(self.page(behind=b"c"), ([], None))
        self.broker.operations.pause(b"a", self.fixture.now)
        self.assertEqual(self.page(paused=b"yes"), (["a"], None))
        self.assertEqual(self.page(paused=b"no", function=b"[abc]*"), (["b\\xff", "c"], None))

    def test_long_names(self) -> None:
        """What is asked for next stays short, and none is left out."""
        names = [b"x" * LONGEST_PLACE, *(b"x" * 8000 + b"%d" % number for number in range(5)), b"y"]
        self.assertEqual(list(map(inspection.place, names[:1])), names[:1])
        for name in names:
            self.fixture.submit(None, name)
        seen: list[str] = []
        behind: str | None = ""
        while behind is not None:
            found, behind = self.page(limit=b"1", behind=textlines.unescaped(behind.encode()))
            seen += found
            self.assertLessEqual(len(textlines.unescaped((behind or "").encode())), LONGEST_PLACE)
        self.assertEqual(sorted(seen), [name.decode() for name in sorted(names)])
        self.assertEqual(seen[-1], "y")

    def test_it_costs_no_more(self) -> None:
        """However many are not wanted."""
        for number in range(50):
            self.fixture.submit(None, b"%02d" % number)
        self.bounds = Bounds(work=10)
        self.assertEqual(self.page(function=b"49"), ([], "01"))
        self.assertEqual(self.page(function=b"49", behind=b"48"), (["49"], None))

    def test_one(self) -> None:
        worker = self.fixture.worker(b"f")
        self.fixture.submit(None, unique=b"u")
        self.fixture.submit(None, unique=b"u")
        self.fixture.now += 4
        self.complete(worker)
        self.fixture.leave(worker)
        self.fixture.submit(None, workload=b"12345")
        function = self.broker.functions.by_name[b"f"]
        found = inspection.function_details(self.broker, function, self.fixture.now)
        counts = found.pop("counts")
        self.assertEqual(
            found,
            {
                **inspection.function(self.broker, function, self.fixture.now),
                "pattern": None,
                "settings": {},
                "room": None,
                "share": None,
                "bytes": 5,
                "created": False,
            },
        )
        moments = counts.pop("worker_left"), counts.pop("last_end")
        self.assertEqual(moments, ("1970-01-01T00:16:44.000Z",) * 2)
        waits = counts.pop("wait")
        self.assertTrue(3.3 < waits["p50"] < 4.7, waits)
        self.assertEqual(counts.pop("run")["p99"], VALUES[0])
        self.assertEqual(
            counts,
            {
                "submitted": 2,
                "joined": 1,
                "refused": {},
                "restored": 0,
                "requeued": 0,
                "completed": 1,
                "failed": {},
                "retried": 0,
            },
        )

    def test_one_with_a_policy(self) -> None:
        self.set_policy(concurrency=2)
        function = self.fixture.submit(None).function
        found = inspection.function_details(self.broker, function, self.fixture.now)
        self.assertEqual((found["pattern"], found["settings"], found["room"]), ("*", {"concurrency": 2}, 2))
        self.assertEqual((found["counts"]["worker_left"], found["counts"]["last_end"]), (None, None))

    def test_one_that_is_counted_with_others(self) -> None:
        function = self.fixture.submit(None).function
        function.counts = self.broker.statistics.other
        found = inspection.function_details(self.broker, function, self.fixture.now)
        self.assertIsNone(found["counts"])
