"""What L{txgear.broker.rows.stock.Stock} has for those who look at jobs that are not in memory."""

from __future__ import annotations

from txgear.broker.model import Job
from txgear.broker.operators.loading import named
from txgear.broker.ports import Found
from txgear.broker.records import WAITING, InOrder, Lane
from txgear.broker.states import DELAYED, PAGED
from txgear.protocol.constants import HIGH, NORMAL
from txgear.test.broker.operators.test_loading import LoadingCase


class StockTests(LoadingCase):
    def held(self, handle: bytes) -> Job:
        """A row that is in memory from now on."""
        held: list[Job] = []

        def then(answered: bool, now: float) -> None:
            held.extend(named(self.broker, [handle]))
            self.broker.stock.hold(held[0])

        self.broker.stock.load_handles([handle], then, self.fixture.now)
        self.fixture.answer()
        return held[0]

    def test_who_is_held_stays(self) -> None:
        handle, stock = self.rows()[0], self.broker.stock
        job = self.held(handle)
        stock.hold(job)
        stock.settle(job, self.fixture.now)
        stock.release(job, self.fixture.now)
        self.assertEqual(named(self.broker, [handle]), [job])
        stock.release(job, self.fixture.now)
        self.assertEqual(named(self.broker, [handle]), [])

    def test_lacks(self) -> None:
        handle, *_ = self.rows()
        stock = self.broker.stock
        self.assertTrue(stock.lacks([handle]))
        self.assertFalse(stock.lacks([b"H:test:1", b"", b"H:test:999999"]))

    def test_a_watcher_keeps_it(self) -> None:
        for watch in (self.broker.lifecycle.watch, self.broker.lifecycle.follow):
            handle = self.rows()[0]
            there = self.held(handle)
            stop = watch(there, lambda *said: None)
            self.broker.stock.release(there, self.fixture.now)
            self.assertEqual(named(self.broker, [handle]), [there])
            stop(self.fixture.now)
            self.assertEqual(named(self.broker, [handle]), [])

    def test_visit(self) -> None:
        self.rows()
        found: list[Found | None] = []
        there: list[int] = []

        def look(what: Found | None, now: float) -> None:
            found.append(what)
            there.append(len(self.broker.table.jobs))

        self.broker.stock.visit(InOrder(0, 4), look)
        self.fixture.answer()
        (what,) = found
        assert what is not None
        self.assertEqual([record.number for record in what.records], [1, 2, 3, 4])
        self.assertEqual([job.number for job in what.jobs], [1, 2, 3, 4])
        self.assertEqual((there, len(self.broker.table.jobs)), ([4], 1))
        self.broker.stock.visit(InOrder(0, 4), look)
        self.journal.asking.pop(0).done(None, {}, self.fixture.now)
        self.assertIsNone(found[1])

    def test_peek(self) -> None:
        self.fixture.set(retries=0, results="1h")
        handles = self.rows(4)
        self.fixture.submit(None, workload=b"w", delay=9999.0)
        self.fixture.commit()
        found: list[Found | None] = []
        before = dict(self.broker.table.jobs)
        self.broker.stock.peek(InOrder(0, 9), lambda what, now: found.append(what))
        self.fixture.answer()
        (what,) = found
        assert what is not None
        self.assertEqual(len(what.records), 6)
        rows = {job.handle: job.state for job in what.jobs}
        self.assertEqual(set(handles) <= set(rows), True)
        self.assertEqual(set(rows.values()) <= {PAGED, DELAYED}, True)
        self.assertEqual(self.broker.table.jobs, before)
        self.broker.stock.peek(InOrder(0, 9), lambda what, now: found.append(what))
        self.journal.asking.pop(0).done(None, {}, self.fixture.now)
        self.assertIsNone(found[1])

    def test_in_which_lanes_there_are_any(self) -> None:
        self.rows()
        peer = self.fixture.tenant("t")
        for priority, delay in ((HIGH, 0.0), (HIGH, 0.0), (NORMAL, 9999.0)):
            self.broker.submit(
                peer, b"f", b"", b"w", self.fixture.now, priority, background=True, delay=delay
            )
        self.fixture.commit()
        self.fixture.answer()
        function = self.broker.functions.by_name[b"f"]
        lanes = self.broker.stock.lanes_of(function)
        self.assertEqual(lanes[0], Lane(b"f", "t", WAITING))
        self.assertEqual(lanes[1:], [Lane(b"f", "t", HIGH), Lane(b"f", "", NORMAL)])
