"""Tests of L{txgear.journal.chunks}, as the journal uses it: jobs come first, and lose nothing."""

from __future__ import annotations

import zlib
from itertools import pairwise

from zope.interface import implementer

from txgear.broker.records import HistoryChunk
from txgear.errors import StoreRefused, StoreUnavailable
from txgear.interfaces import IJobStore
from txgear.journal.chunks import BETWEEN_SECONDS, MOST_CHUNK, MOST_WAITING, OVERDUE_SECONDS, PAGE, Chunks
from txgear.journal.journal import Journal
from txgear.test.support.journal import FaultyStore, ManualThread
from txgear.test.support.server import DurableServerTestCase, created, submit

GONE = StoreUnavailable("the connection is gone")
FULL = StoreRefused("the disk is full")


class ChunksTestCase(DurableServerTestCase):
    """@ivar chunks: of a journal whose store has nothing to do."""

    def setUp(self) -> None:
        super().setUp()
        found = self.fixture.journal.chunks
        assert found is not None
        self.chunks: Chunks = found

    def put(self, *chunks: HistoryChunk, deleted: tuple[int, ...] = ()) -> None:
        self.chunks.put(chunks, deleted)
        self.fixture.server.end_turn()

    @property
    def kept(self) -> dict[int, bytes]:
        return {number: zlib.decompress(chunk) for number, chunk in self.store.kept_history.items()}


class WriteTests(ChunksTestCase):
    def test_one_after_the_other(self) -> None:
        self.put((1, b"one"), (2, b"two"), deleted=(7,))
        self.thread.run()
        self.assertEqual(self.kept, {1: b"one"})
        self.thread.run_all()
        self.assertEqual(self.kept, {1: b"one", 2: b"two"})
        self.assertEqual(self.store.take(), ["put_history"] * 2)
        self.assertFalse(self.chunks.ready)

    def test_they_replace_and_delete_others(self) -> None:
        self.put((1, b"one"), (2, b"two"))
        self.thread.run_all()
        self.put((1, b"another"), deleted=(2,))
        self.thread.run_all()
        self.assertEqual(self.kept, {1: b"another"})
        self.put(deleted=(1,))
        self.thread.run_all()
        self.assertEqual(self.kept, {})

    def test_they_are_small_there(self) -> None:
        self.put((1, bytes(30_000)))
        self.thread.run_all()
        self.assertLess(len(self.store.kept_history[1]), 300)

    def test_jobs_come_first(self) -> None:
        self.chunks.put([(1, b"one"), (2, b"two")], [])
        self.client.tell(submit())
        self.thread.run()
        self.assertEqual(self.store.take(), ["write"])
        self.assertEqual(self.client.heard(), created(1))
        self.client.tell(submit())
        self.thread.run()
        # The one that was at the store already.
        self.assertEqual(self.store.take(), ["put_history"])
        self.thread.run()
        self.assertEqual(self.store.take(), ["write"])
        self.assertEqual(self.client.heard(), created(2))
        self.thread.run_all()
        self.assertEqual(self.kept, {1: b"one", 2: b"two"})

    def test_what_nobody_waits_for_may_come_later(self) -> None:
        self.client.tell(submit())
        self.thread.run()
        self.fixture.server.broker.operations.pause(b"f", self.fixture.server.seconds())
        self.put((1, b"one"))
        self.store.take()
        self.thread.run()
        self.assertEqual(self.store.take(), ["put_history"])

    def test_under_a_load_that_never_lets_up_one_now_and_then(self) -> None:
        self.client.tell(submit())
        self.chunks.put([(number, b"%d" % number) for number in range(1, 6)], [])
        calls: list[str] = []
        for _ in range(int(OVERDUE_SECONDS) * 10 + 25):
            self.client.tell(submit())
            self.clock.advance(0.1)
            self.thread.run()
            calls += self.store.take()
        written = [place for place, call in enumerate(calls) if call == "put_history"]
        self.assertGreaterEqual(written[0], OVERDUE_SECONDS * 10 - 1)
        self.assertEqual(len(written), 3)
        for earlier, later in pairwise(written):
            self.assertGreaterEqual(later - earlier, BETWEEN_SECONDS * 10 - 1)

    def test_what_waits_is_bounded(self) -> None:
        with_gap = self.logged(
            self.chunks.put, [(number, bytes(MOST_WAITING // 4)) for number in range(1, 7)], []
        )
        self.assertEqual(with_gap, ["the history of figures has gaps in memory:, which does not take it"])
        self.assertEqual(self.logged(self.chunks.put, [(7, bytes(MOST_WAITING // 4))], []), [])
        self.fixture.server.end_turn()
        self.thread.run_all()
        self.assertEqual(list(self.kept), [4, 5, 6, 7])


class ReadTests(ChunksTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.pages: list[tuple[list[HistoryChunk], bool]] = []

    def read(self) -> None:
        self.chunks.read(lambda chunks, more: self.pages.append((chunks, more)))
        self.fixture.server.end_turn()
        self.thread.run_all()

    def test_nothing(self) -> None:
        self.read()
        self.assertEqual(self.pages, [([], False)])
        self.assertFalse(self.chunks.ready)

    def test_page_by_page(self) -> None:
        chunks = [(number, b"%d" % number) for number in range(1, 2 * PAGE + 1)]
        self.put(*chunks)
        self.thread.run_all()
        self.read()
        self.assertEqual(self.pages, [(chunks[:PAGE], True), (chunks[PAGE:], True), ([], False)])

    def test_what_is_to_be_written_comes_first(self) -> None:
        self.chunks.put([(1, b"one")], [])
        self.read()
        self.assertEqual(self.pages, [([(1, b"one")], False)])

    def test_what_is_damaged_is_empty(self) -> None:
        whole = zlib.compress(bytes(500))
        chunks = [b"", b"no zlib", whole[:-3], zlib.compress(bytes(MOST_CHUNK + 1)), zlib.compress(b"whole")]
        self.store.put_history(list(enumerate(chunks, 1)), [])
        self.read()
        self.assertEqual(self.pages, [([*((number, b"") for number in range(1, 5)), (5, b"whole")], False)])

    def test_nobody_reads_at_the_end(self) -> None:
        self.chunks.read(lambda chunks, more: self.pages.append((chunks, more)))
        closing = self.fixture.journal.close()
        self.thread.run_all()
        self.successResultOf(closing)
        self.assertEqual((self.pages, self.store.take()), ([], ["close"]))


class TroubleTests(ChunksTestCase):
    def test_a_store_that_refuses_it(self) -> None:
        """It is not asked again, and jobs are taken as before."""
        self.store.fail("put_history", FULL)
        self.put((1, b"one"), (2, b"two"))
        self.assertEqual(
            self.logged(self.thread.run_all),
            ["memory: does not keep the history of figures, and nothing else is lost: the disk is full"],
        )
        self.put((3, b"three"))
        self.assertTrue(self.chunks.off)
        self.assertEqual((self.kept, self.store.take()), ({}, ["put_history"]))
        self.client.tell(submit())
        self.thread.run_all()
        self.assertEqual(self.client.heard(), created(1))

    def test_a_store_that_is_lost_over_it_once(self) -> None:
        self.store.fail("put_history", GONE)
        self.put((1, b"one"), deleted=(2,))
        self.assertEqual(self.logged(self.thread.run_all), [])
        self.assertEqual(self.store.take(), ["put_history", "open", "known", "put_history"])
        self.assertEqual(self.kept, {1: b"one"})

    def test_a_store_that_is_lost_over_it_each_time(self) -> None:
        self.store.fail("put_history", GONE, times=9)
        self.put((1, b"one"))
        (line,) = self.logged(self.thread.run_all)
        self.assertIn("does not keep the history of figures, and nothing else is lost", line)
        self.assertEqual(self.store.take().count("put_history"), 2)
        self.assertIsNone(self.fixture.journal.unavailable)
        self.client.tell(submit())
        self.thread.run_all()
        self.assertEqual(self.client.heard(), created(1))

    def test_a_store_that_cannot_read_it(self) -> None:
        pages: list[bool] = []
        self.store.fail("history", FULL)
        self.chunks.read(lambda chunks, more: pages.append(more))
        self.fixture.server.end_turn()
        (line,) = self.logged(self.thread.run_all)
        self.assertIn("the disk is full", line)
        self.assertEqual((pages, self.chunks.ready), ([], False))

    def test_a_store_that_is_lost_while_it_is_read(self) -> None:
        self.store.put_history([(1, zlib.compress(b"one"))], [])
        pages: list[list[HistoryChunk]] = []
        self.store.fail("history", GONE)
        self.chunks.read(lambda chunks, more: pages.append(chunks))
        self.fixture.server.end_turn()
        self.thread.run_all()
        self.assertEqual(pages, [[(1, b"one")]])


class EndTests(ChunksTestCase):
    def test_the_rest_is_written_at_once(self) -> None:
        self.put((1, b"one"))
        self.chunks.put([(number, b"more") for number in range(2, 9)], [])
        closing = self.fixture.journal.close()
        self.thread.run_all()
        self.successResultOf(closing)
        self.assertEqual(sorted(self.kept), list(range(1, 9)))
        self.assertEqual(self.store.take(), ["put_history", "put_history", "close"])

    def test_a_store_that_does_not_answer_is_not_waited_for_any_longer(self) -> None:
        self.store.fail("put_history", GONE, times=9)
        self.chunks.put([(1, b"one")], [])
        closing = self.fixture.journal.close()
        self.thread.run_all()
        self.successResultOf(closing)
        self.assertEqual(self.store.take()[-1], "close")


@implementer(IJobStore)
class PlainStore:
    """One that keeps jobs, and no history."""

    def __init__(self) -> None:
        self._store = FaultyStore()

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


class PlainTests(DurableServerTestCase):
    def test_a_store_without_history(self) -> None:
        journal = Journal(PlainStore(), ManualThread(), self.clock, 5.0)
        self.assertIsNone(journal.chunks)
