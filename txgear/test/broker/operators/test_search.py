"""Tests of L{txgear.broker.operators.search}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Function, Peer
from txgear.broker.operators.search import (
    MOST_SEARCHED,
    OF_CONNECTIONS,
    OF_DEAD,
    OF_ENDED,
    OF_FUNCTIONS,
    OF_JOBS,
    Bounds,
    Search,
    contains,
    page_by_place,
)
from txgear.broker.rights import SEE
from txgear.errors import InvalidArgument
from txgear.protocol.packets import Pieces
from txgear.test.broker.operators.test_inspection import InspectionTestCase, numbers
from txgear.test.support.broker import FakeRights, make_job


class PageByPlaceTests(SynchronousTestCase):
    def page(self, *places: int, last: int = 100, limit: int = 100, work: int = 100) -> object:
        jobs = [make_job(number=number + 1) for number in range(len(places))]
        for job, place in zip(jobs, places, strict=True):
            job.place = place
        bounds = Bounds(work=work)
        look = lambda job: (1, {"place": job.place} if job.place % 2 else None)  # noqa: E731
        found, following = page_by_place(jobs, last, limit, look, bounds)
        return [row["place"] for row in found], following

    def test_in_order_as_far_as_it_goes(self) -> None:
        self.assertEqual(self.page(), ([], None))
        self.assertEqual(self.page(5, 1, 3, 2), ([1, 3, 5], None))
        self.assertEqual(self.page(5, 1, 3, 2, last=3), ([1, 3], None))
        self.assertEqual(self.page(5, 1, 3, 2, limit=1), ([1], 1))
        self.assertEqual(self.page(5, 1, 3, 2, work=2), ([1], 2))


class SearchTests(SynchronousTestCase):
    def test_everything_where_nothing_is_said(self) -> None:
        self.assertEqual(Search.parse({}, OF_JOBS), Search())
        self.assertEqual((Search().limit, Search().after), (50, 0))
        self.assertTrue(Search().function.fullmatch(b"\xff\n"))

    def test_values(self) -> None:
        search = Search.parse(
            {
                "function": b"mail.?[\xe0-\xff]",
                "state": b"Queued,waiting",
                "worker": b"w\xff",
                "older": b"1.5h",
                "text": b"\xff",
                "after": b"12",
                "limit": b"200",
            },
            OF_JOBS,
        )
        self.assertTrue(search.function.fullmatch(b"mail.\xff\xff"))
        self.assertFalse(search.function.fullmatch(b"mail.\xffx"))
        self.assertEqual(search.state, {"queued", "waiting"})
        self.assertEqual((search.worker, search.older, search.text), ("w\\xff", 5400.0, b"\xff"))
        self.assertEqual((search.after, search.limit), (12, 200))

    def test_values_of_the_dead(self) -> None:
        self.assertEqual((Search().reason, Search().review), (frozenset(), ""))
        search = Search.parse({"reason": b"Fail,unknown", "review": b"r\xff"}, OF_DEAD)
        self.assertEqual((search.reason, search.review), ({"fail", "unknown"}, "r\\xff"))
        for value in (b"", b"fail,", b"paged"):
            with self.assertRaisesRegex(
                InvalidArgument, "reason is one or more of fail, exception, .*unknown"
            ):
                Search.parse({"reason": value}, OF_DEAD)

    def test_mistakes(self) -> None:
        for name, value, problem in (
            ("state", b"paged", "state is one or more of waiting, storing, queued, running, "),
            ("state", b"", "state is"),
            ("older", b"old", "older: a time is wanted, .* not 'old'"),
            ("after", b"-1", "after is the number"),
            ("after", b"", "after is the number"),
            ("limit", b"0", "limit is a number from 1 to 200"),
            ("limit", b"201", "limit is a number from 1 to 200"),
            ("limit", b"many", "limit is a number from 1 to 200"),
            ("size", b"1", "size is not known; there are function, unique, state, "),
            ("function", b"[" * 101, "function is a pattern with at most 100 of the characters"),
            ("function", b"*a?" * 51, "function is a pattern with at most 100 of the characters"),
            ("function", b"f" * 8192, "function has at most 8191 bytes"),
            ("text", b"x" * 8192, "text has at most 8191 bytes"),
        ):
            with self.assertRaisesRegex(InvalidArgument, problem):
                Search.parse({name: value}, OF_JOBS)
        with self.assertRaisesRegex(
            InvalidArgument, "state is not known; there are function, unique, text, after, limit"
        ):
            Search.parse({"state": b"queued"}, OF_ENDED)

    def test_long_names(self) -> None:
        """As long as a function's may be, with as many wildcards as there may be."""
        for pattern in (b"f" * 8191, b"[f]" * 100 + b"f" * 7891, b"*f" * 100 + b"f" * 7991):
            name = pattern.replace(b"[f]", b"f").replace(b"*", b"")
            search = Search.parse({"function": pattern}, OF_FUNCTIONS)
            self.assertTrue(search.function.fullmatch(name))
            self.assertFalse(search.function.fullmatch(name[:-100]))

    def test_yes_or_no(self) -> None:
        for value, found in ((b"yes", True), (b"NO", False)):
            self.assertIs(Search.parse({"paused": value}, OF_FUNCTIONS).paused, found)
            self.assertIs(Search.parse({"quickack": value}, OF_CONNECTIONS).quickack, found)
        with self.assertRaisesRegex(InvalidArgument, "paused is yes or no"):
            Search.parse({"paused": b"perhaps"}, OF_FUNCTIONS)

    def test_functions(self) -> None:
        """They match, and whoever asks may know of them; that is looked at once for each."""
        peer = Peer(1, "-")
        search = Search.parse({"function": b"mail.*"}, OF_FUNCTIONS)
        functions = [Function(name) for name in (b"mail.send", b"mail.bulk", b"crawl")]
        self.assertEqual(list(map(search.functions(peer), functions)), [True, True, False])
        peer.rights = rights = FakeRights((SEE, b"mail.bulk"))
        wanted = search.functions(peer)
        self.assertEqual(list(map(wanted, functions)), [True, False, False])
        rights.denied.clear()
        self.assertEqual(list(map(wanted, functions)), [True, False, False])

    def test_text_in_workloads(self) -> None:
        """Only the first part of a large one is searched, in whatever pieces it has come."""
        self.assertTrue(contains(b"a needle in it", b"needle"))
        self.assertFalse(contains(b"nothing", b"needle"))
        self.assertTrue(contains(Pieces([b"a nee", b"dle in it"]), b"needle"))
        hay = b"-" * MOST_SEARCHED
        self.assertFalse(contains(hay + b"needle", b"needle"))
        self.assertFalse(contains(Pieces([hay, b"needle"]), b"needle"))


class PageTests(InspectionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.bounds = Bounds(few=0)

    def pages(self, **words: bytes) -> list[list[int]]:
        """The numbers of all pages, each asked for as the last one says."""
        found, after = [], 0
        while True:
            page = self.jobs(after=b"%d" % after, **words)
            found.append(numbers(page))
            if page["next"] is None:
                return found
            self.assertGreater(page["next"], after)
            after = page["next"]

    def test_one_after_the_other(self) -> None:
        for _ in range(7):
            self.fixture.submit(None)
        for few in (0, 100):
            self.bounds = Bounds(few=few)
            self.assertEqual(self.pages(), [[1, 2, 3, 4, 5, 6, 7]])
            self.assertEqual(self.pages(limit=b"3"), [[1, 2, 3], [4, 5, 6], [7]])
            self.assertEqual(self.pages(limit=b"7"), [[1, 2, 3, 4, 5, 6, 7]])
            self.assertEqual(self.jobs(after=b"7"), {"jobs": [], "next": None})
            self.assertEqual(self.jobs(after=b"9" * 40), {"jobs": [], "next": None})

    def test_in_the_order_of_numbers(self) -> None:
        """One that was dead is the last that the broker has."""
        jobs = [self.fixture.submit(None) for _ in range(4)]
        self.broker.table.jobs[jobs[0].number] = self.broker.table.jobs.pop(jobs[0].number)
        self.bounds = Bounds()
        self.assertEqual(self.pages(limit=b"3"), [[1, 2, 3], [4]])

    def test_none_may_be_wanted(self) -> None:
        self.bounds = Bounds(few=0, work=3)
        for index in range(8):
            self.fixture.submit(None, b"g" if index == 6 else b"f")
        self.assertEqual(self.pages(function=b"g"), [[], [], [7]])

    def test_a_search_in_workloads_is_work(self) -> None:
        self.bounds = Bounds(few=0, work=4)
        for _ in range(4):
            self.fixture.submit(None, workload=b"x" * 3072)
        self.assertEqual(self.pages(text=b"x"), [[1], [2], [3], [4]])
        self.assertEqual(self.pages(text=b"y"), [[], [], [], []])

    def test_numbers_that_no_job_has(self) -> None:
        self.bounds = Bounds(few=0, numbers=10)
        jobs = [self.fixture.submit(None) for _ in range(60)]
        for job in jobs:
            if job.number not in (2, 3, 8, 15, 55, 56):
                self.fixture.cancel(job)
        self.assertEqual(self.pages(), [[2, 3, 8], [15], [], [55, 56]])
        for number in (55, 56):
            self.fixture.cancel(jobs[number - 1])
        self.assertEqual(self.pages(), [[2, 3, 8], [15], []])

    def test_another_server_has_begun_with_higher_numbers(self) -> None:
        self.fixture.submit(None)
        self.broker.store_events.reserve(10**9, 1000)
        self.fixture.submit(None)
        self.assertEqual(self.pages(), [[1], [], [10**9]])
        self.broker.store_events.reserve(2 * 10**9, 1000)
        self.fixture.submit(None)
        # Requeued, and so behind the one that is newer.
        self.broker.table.jobs[10**9] = self.broker.table.jobs.pop(10**9)
        self.assertEqual(self.pages(), [[1], [], [10**9], [], [2 * 10**9]])
