from __future__ import annotations

from typing import Any

from txgear.broker.model import Peer
from txgear.broker.operators.listing import BUCKETS, MOST_ASKED, PLACES, find
from txgear.broker.operators.search import BOUNDS, OF_DEAD, OF_ENDED, OF_JOBS, Search
from txgear.broker.records import InLane
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import HIGH, NORMAL
from txgear.test.support.broker import BrokerTestCase, DurableBrokerTestCase, FakeRights

KNOWN = {"jobs": OF_JOBS, "dead": OF_DEAD, "kept": OF_ENDED}


class ListingCase(DurableBrokerTestCase):
    queue_memory = 0

    def setUp(self) -> None:
        super().setUp()
        self.peer = self.fixture.connect()
        self.bounds = BOUNDS

    def asked(self, of: str, **words: str) -> list[dict[str, Any] | None]:
        """What is told, by and by."""
        search = Search.parse({name: word.encode() for name, word in words.items()}, KNOWN[of])
        told: list[dict[str, Any] | None] = []
        find(self.broker, self.peer, of, search, self.fixture.now, told.append, self.bounds)
        return told

    def page(self, of: str, **words: str) -> tuple[list[int], int | None]:
        """The numbers of the jobs of a page, and where the next one begins."""
        told = self.asked(of, **words)
        self.fixture.answer()
        (page,) = told
        assert page is not None
        return [int(job["handle"].rpartition(":")[2]) for job in page["jobs"]], page["next"]

    def whole(self, of: str, **words: str) -> list[int]:
        """The numbers of the jobs of all pages."""
        found: list[int] = []
        after: int | None = 0
        for _ in range(3 * BUCKETS):
            jobs, after = self.page(of, **words, after=str(after))
            found += jobs
            if after is None:
                return found
        raise AssertionError("there is no end")

    def gone(self, of: str, **words: str) -> None:
        """The store does not answer."""
        told = self.asked(of, **words)
        while self.journal.asking:
            self.journal.asking.pop(0).done(None, {}, self.fixture.now)
        self.assertEqual(told, [None])


class LiveTests(ListingCase):
    """Nearly all are rows: of a lane the first one is in memory."""

    def fill(self, count: int = 5) -> None:
        self.fixture.store(*(b"%d" % number for number in range(count)))
        self.fixture.answer()

    def test_each_once_in_order(self) -> None:
        self.fill(3)
        self.fixture.submit(self.peer, b"f", b"foreground", b"w")
        self.fixture.store(b"x", b"y", priority=HIGH, unique=b"")
        self.fixture.submit(None, b"f", workload=b"later", delay=9999.0)
        self.fixture.commit()
        self.fixture.answer()
        self.assertGreater(self.broker.table.rows, 2)
        self.assertEqual(self.whole("jobs"), [1, 2, 3, 4, 5, 6, 7])
        for limit in ("1", "2", "3"):
            self.assertEqual(self.whole("jobs", limit=limit), [1, 2, 3, 4, 5, 6, 7])

    def test_what_is_looked_for(self) -> None:
        self.fill()
        self.fixture.store(b"w", function=b"g")
        self.fixture.submit(None, b"g", b"named", workload=b"later", delay=9999.0)
        self.fixture.commit()
        self.assertEqual(self.whole("jobs", function="g"), [6, 7])
        self.assertEqual(self.whole("jobs", state="waiting"), [7])
        self.assertEqual(self.whole("jobs", state="running"), [])
        self.assertEqual(self.whole("jobs", worker="w"), [])
        self.assertEqual(self.whole("jobs", unique="named"), [7])
        self.assertEqual(self.whole("jobs", unique="named", function="f"), [])
        self.assertEqual(self.whole("jobs", unique="other"), [])
        self.assertEqual(self.whole("jobs", text="nam"), [7])
        self.peer.rights = FakeRights(("see", b"g"))
        self.assertEqual(self.whole("jobs"), [1, 2, 3, 4, 5])

    def test_one_that_is_cancelled_and_not_gone_from_the_store(self) -> None:
        self.fill(2)
        handle = b"H:test:2"

        def cancel(answered: bool, now: float) -> None:
            self.broker.operations.cancel(handle, now)

        self.broker.stock.load_handles([handle], cancel, self.fixture.now)
        self.fixture.answer()
        self.fill(2)
        self.assertEqual(self.whole("jobs"), [1, 3, 4])

    def test_a_bounded_number_of_questions(self) -> None:
        self.fill(1)
        self.bounds = BOUNDS._replace(rows=3)
        self.fixture.store(*(b"%d" % number for number in range(3 * MOST_ASKED)))
        found, following = self.page("jobs", state="waiting", limit="1")
        self.assertEqual(found, [])
        assert following is not None
        self.assertLess(following, self.broker.table.last_number)
        self.assertEqual(self.page("jobs", state="waiting", after=str(following)), ([], None))

    def of_two(self) -> None:
        """Rows of two functions; one job of g is behind the others."""
        self.fill(20)
        self.fixture.store(*(b"%d" % number for number in range(4)), function=b"g")
        self.fixture.answer()

        def put_behind(answered: bool, now: float) -> None:
            for priority in (HIGH, NORMAL):
                self.broker.operations.reprioritise(self.broker.table.jobs[22], priority, now)

        self.broker.stock.load_handles([b"H:test:22"], put_behind, self.fixture.now)
        self.fixture.answer()
        self.assertNotIn(22, self.broker.table.jobs)

    def test_rows_of_other_functions_are_not_looked_at(self) -> None:
        self.of_two()
        self.asked("jobs", function="g")
        lanes = [asking.question for asking in self.journal.asking]
        self.assertEqual({lane.lane.function for lane in lanes if isinstance(lane, InLane)}, {b"g"})
        self.assertEqual(len(lanes), 1)
        self.journal.asking.clear()
        # That is in the order of their turns.
        for limit in ("1", "2", "100"):
            self.assertEqual(self.whole("jobs", function="g", limit=limit), [21, 23, 24, 22])
        self.bounds = BOUNDS._replace(rows=2)
        self.assertEqual(self.whole("jobs", function="g"), [21, 23, 24, 22])
        (page,) = self.asked("jobs", function="none")
        self.assertEqual(page, {"jobs": [], "next": None})

    def hold(self, *numbers: int) -> None:
        """These come into memory, and stay there."""
        jobs = self.broker.table.jobs

        def keep(answered: bool, now: float) -> None:
            for number in numbers:
                self.broker.stock.hold(jobs[number])

        handles = [b"H:test:%d" % number for number in numbers]
        self.broker.stock.load_handles(handles, keep, self.fixture.now)
        self.fixture.answer()

    def release(self, *numbers: int) -> None:
        for number in numbers:
            self.broker.stock.release(self.broker.table.jobs[number], self.fixture.now)
            self.assertNotIn(number, self.broker.table.jobs)

    def test_one_that_comes_into_memory_between_two_pages(self) -> None:
        self.of_two()
        found, after = self.page("jobs", function="g", limit="2")
        self.assertEqual(found, [21, 23])
        self.hold(22)
        self.assertEqual(self.page("jobs", function="g", after=str(after)), ([24, 22], None))

    def test_one_that_leaves_it_between_two_pages(self) -> None:
        self.of_two()
        self.hold(22)
        found, after = self.page("jobs", function="g", limit="3")
        self.assertEqual(found, [21, 23, 24])
        self.release(22)
        self.assertEqual(self.page("jobs", function="g", after=str(after)), ([22], None))

    def test_all_come_into_memory_between_two_pages(self) -> None:
        self.of_two()
        _, after = self.page("jobs", function="g", limit="2")
        self.hold(*range(2, 21), 22, 23, 24)
        self.assertEqual(self.broker.table.rows, 0)
        self.assertEqual(self.page("jobs", function="g", after=str(after)), ([24, 22], None))

    def test_other_functions_come_and_go_between_two_pages(self) -> None:
        """It does not matter then whether those that are looked for are all there are."""
        self.of_two()
        found, after = self.page("jobs", function="g", limit="3")
        self.assertEqual(found, [21, 23, 24])
        self.broker.operations.purge(b"f", self.fixture.now)
        while b"f" in self.broker.functions.by_name:
            self.fixture.pass_time(0.1)
            self.fixture.answer()
            self.fixture.commit()
        self.assertEqual(self.page("jobs", function="g", after=str(after)), ([22], None))

    def test_of_so_many_lanes_all_rows_are_looked_at(self) -> None:
        self.of_two()
        self.bounds = BOUNDS._replace(lanes=0)
        self.assertEqual(self.whole("jobs", function="g"), [21, 22, 23, 24])

    def test_one_that_leaves_the_memory_to_where_nobody_looks(self) -> None:
        self.of_two()
        job = self.fixture.submit(None, b"g", workload=b"w", delay=9999.0)
        told = self.asked("jobs", function="g")
        self.fixture.commit()
        self.assertNotIn(job.number, self.broker.table.jobs)
        self.fixture.answer()
        (page,) = told
        assert page is not None
        numbers = [int(row["handle"].rpartition(":")[2]) for row in page["jobs"]]
        self.assertEqual(numbers, [21, 23, 24, 22, job.number])

    def test_the_store_does_not_answer(self) -> None:
        self.fill()
        self.gone("jobs")
        self.gone("jobs", unique="u")


class EndedTests(ListingCase):
    def setUp(self) -> None:
        super().setUp()
        settings = {"retries": 0, "results": "1h", "dead": "1h"}
        self.fixture.policies = Policies([("*", CLASSIC.with_settings(settings))])
        self.broker.operations.set_policies(self.fixture.policies, self.fixture.now)
        self.worker: Peer = self.fixture.worker(b"f", b"g")
        self.ends: list[int] = []

    def end(self, *numbers: bool, function: bytes = b"f", unique: bytes = b"") -> None:
        """Jobs end: done, or dead."""
        for done in numbers:
            self.fixture.submit(None, function, unique, b"w")
            self.fixture.commit()
            self.fixture.answer()
            job = self.fixture.grab(self.worker)
            assert job is not None
            self.ends.append(job.number)
            if done:
                self.complete(self.worker, job)
            else:
                self.fails(self.worker, job)
            self.fixture.answer()

    def listed(self, of: str, **words: str) -> list[int]:
        """Which of those that have ended are listed: 1 is the one that ended first."""
        return [1 + self.ends.index(number) for number in self.whole(of, **words)]

    def rows(self) -> None:
        """The store has all of it: they are rows."""
        for job in list(self.broker.archive.jobs.values()):
            self.broker.stock.settle(job, self.fixture.now)
        self.assertEqual(len(self.broker.archive.jobs), 0)

    def test_rows_and_what_is_in_memory(self) -> None:
        self.end(True, False, False)
        self.end(False, True, function=b"g")
        self.rows()
        self.end(False, True)
        self.assertEqual(len(self.broker.archive.jobs), 2)
        for limit in ("1", "2", "100"):
            self.assertEqual(self.listed("dead", limit=limit), [2, 3, 4, 6])
            self.assertEqual(self.listed("kept", limit=limit), [1, 5, 7])
        self.assertEqual(self.listed("dead", function="g"), [4])
        self.assertEqual(self.listed("dead", reason="fail"), [2, 3, 4, 6])
        self.assertEqual(self.listed("dead", reason="timeout"), [])
        self.assertEqual(self.listed("dead", review="r"), [])
        self.peer.rights = FakeRights(("see", b"g"))
        self.assertEqual(self.listed("kept"), [1, 7])

    def test_one_that_leaves_the_memory_while_the_store_is_asked(self) -> None:
        """It is there once, whether or not the answer has it."""
        self.end(False, False)
        self.rows()
        self.end(False)
        told = self.asked("dead")
        self.rows()
        self.fixture.answer()
        (page,) = told
        assert page is not None
        self.assertEqual(
            [job["handle"] for job in page["jobs"]], [f"H:test:{number}" for number in self.ends]
        )

    def test_by_unique(self) -> None:
        self.end(False, unique=b"u")
        self.end(False, unique=b"v")
        self.rows()
        self.assertEqual(self.listed("dead", unique="u"), [1])
        self.assertEqual(self.listed("dead", unique="u", reason="fail"), [1])
        self.assertEqual(self.listed("dead", unique="u", reason="timeout"), [])
        self.end(False, function=b"g", unique=b"u")
        self.assertEqual(self.listed("dead", unique="u"), [1, 3])
        self.assertEqual(self.listed("dead", unique="u", reason="timeout"), [])

    def test_more_of_a_unique_than_are_read_at_once(self) -> None:
        self.bounds = BOUNDS._replace(rows=4)
        self.end(*(number % 3 == 0 for number in range(20)), unique=b"u")
        self.rows()
        dead = [number + 1 for number in range(20) if number % 3]
        self.assertEqual(self.listed("dead", unique="u"), dead)
        self.assertEqual(self.listed("dead", unique="u", limit="3"), dead)

    def test_more_than_are_read_at_once(self) -> None:
        self.bounds = BOUNDS._replace(rows=4)
        self.end(*(number % 3 == 0 for number in range(20)))
        self.rows()
        dead = [number + 1 for number in range(20) if number % 3]
        self.assertEqual(self.listed("dead"), dead)
        self.assertEqual(self.listed("dead", limit="3"), dead)

    def test_the_store_does_not_answer(self) -> None:
        self.end(False)
        self.rows()
        self.gone("dead")

    def test_a_great_many_lanes(self) -> None:
        self.bounds = BOUNDS._replace(lanes=10)
        names = [b"f%d" % number for number in range(15)]
        self.worker = self.fixture.worker(*names)
        for name in names:
            self.end(False, function=name)
        self.rows()
        first, following = self.page("dead")
        assert following is not None
        self.assertGreater(following, PLACES)
        self.assertLess(len(first), 10)
        self.end(False, function=b"f0")
        self.assertEqual(sorted(self.listed("dead", limit="1")), list(range(1, len(names) + 2)))
        # One that has begun without buckets goes on so.
        after = str(self.ends[1])
        self.assertEqual(self.page("dead", after=after, limit="2")[0], self.ends[1:3])


class WithoutStoreTests(BrokerTestCase):
    def test_at_once(self) -> None:
        self.fixture.set(retries=0, results="1h")
        worker = self.fixture.worker(b"f")
        for end in (self.complete, self.fails):
            job = self.fixture.submit(None)
            self.grabbed(worker, job)
            end(worker, job)
        told: list[dict[str, Any] | None] = []
        for of in KNOWN:
            find(self.broker, worker, of, Search(), self.fixture.now, told.append)
        self.assertEqual([len(page["jobs"]) for page in told if page is not None], [0, 1, 1])
