"""Tests of L{txgear.server.figurehistory}, with a store: what it has over restarts."""

from __future__ import annotations

import zlib
from typing import Any
from unittest.mock import Mock

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.statistics import MOST_COUNTED
from txgear.server.figurechunks import Block, number_of, parts, place_of, read
from txgear.server.figurehistory import FigureHistory
from txgear.server.figurerows import ROW, Figures, pack
from txgear.test.support.journal import FaultyStore
from txgear.test.support.server import DurableServerFixture

BEGIN = 1_800_000_000.0
"""A block of each span begins at this moment."""


class StoredTestCase(SynchronousTestCase):
    """@ivar history: of a server with a store."""

    def setUp(self) -> None:
        self.store = FaultyStore()
        self.clock = Clock()
        self.clock.advance(BEGIN)
        self.begin()

    def begin(self, offset: float = 0.0) -> None:
        """
        A server starts.

        @param offset: what the wall clock is ahead of its time.
        """
        self.fixture = DurableServerFixture(self.store, clock=self.clock)
        self.fixture.wall.ahead = offset
        self.server, self.thread = self.fixture.server, self.fixture.thread
        self.server.seconds()
        self.history = FigureHistory(self.server)
        self.history.start()
        self.run_thread()

    def end(self) -> None:
        """The server ends, and what it has to write is written."""
        self.history.stop()
        closing = self.fixture.journal.close()
        self.run_thread()
        self.successResultOf(closing)
        self.server.stop()

    def run_thread(self) -> None:
        self.thread.run_all()

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds // 10):
            self.clock.advance(10)
            for _ in range(300):
                self.clock.advance(0)
                self.run_thread()

    def submit(self, name: bytes = b"f") -> None:
        self.server.broker.submit(None, name, b"", b"", self.server.seconds(), background=True)
        self.server.end_turn()
        self.run_thread()

    def figures(self, name: bytes | None = b"f", span: str = "hour") -> dict[str, Any]:
        series = self.history.total if name is None else self.history.by_name.get(name)
        return self.history.figures(series, span)

    def chunks(self) -> list[tuple[int, int, Block, list[bytes]]]:
        """Span and block of each chunk by its number, and by what is in it; and its names."""
        found = []
        for number, chunk in sorted(self.store.kept_history.items()):
            block, series = read(zlib.decompress(chunk))
            found.append((*place_of(number), block, [name for _, name, _ in series]))
        return found

    def put(self, span: int, first: int, *names: bytes, steps: int = 30, present: bytes = b"\1") -> None:
        """A chunk that an earlier server has left."""
        rows = pack(Figures(queued=5), [None] * 6) * steps
        (chunk,) = parts(Block(span, first, present * steps), [(2, name, rows) for name in names])
        block = (30, 12)[span]
        self.store.put_history([(number_of(span, first // block), zlib.compress(chunk))], [])


class WriteTests(StoredTestCase):
    def test_each_block_when_it_is_over(self) -> None:
        self.submit()
        self.pass_time(290)
        self.assertEqual(self.chunks(), [])
        self.pass_time(10)
        (found,) = self.chunks()
        first = int(BEGIN) // 10
        self.assertEqual(found, (0, first // 30, Block(0, first, b"\1" * 30), [b"", b"f"]))
        self.pass_time(3300)
        self.assertEqual(sorted(found[0] for found in self.chunks()), [0] * 12 + [1])

    def test_what_is_too_old_goes(self) -> None:
        self.submit()
        self.pass_time(3600 + 900)
        blocks = [block for span, block, _, _ in self.chunks() if not span]
        self.assertEqual(len(blocks), 13)
        self.assertEqual(max(blocks), int(BEGIN + 4200) // 300)

    def test_the_rest_at_the_end(self) -> None:
        self.pass_time(30)
        self.submit()
        self.pass_time(20)
        self.end()
        (found,) = self.chunks()
        self.assertEqual(found[2].present, b"\1" * 5 + bytes(25))
        self.assertEqual(self.store.take()[-2:], ["put_history", "close"])

    def test_much_is_many_chunks(self) -> None:
        for number in range(200):
            self.server.broker.operations.create_function(b"%d" % number)
            self.server.broker.functions.by_name[b"%d" % number].counts.submitted = 1
        self.pass_time(300)
        found = self.chunks()
        self.assertGreater(len(found), 3)
        names = [name for _, _, _, names in found for name in names]
        self.assertEqual(len(names), len(set(names)))


class RestartTests(StoredTestCase):
    def test_it_goes_on(self) -> None:
        self.pass_time(600)
        self.submit()
        self.pass_time(300)
        self.end()
        self.clock.advance(40)
        self.begin()
        found = self.figures()
        self.assertEqual((found["submitted"][60], len(found["submitted"])), (0.1, 94))
        self.assertEqual(found["submitted"][90:], [None] * 4)
        self.assertEqual((self.figures(None)["submitted"][60], found["queued"][89]), (0.1, 1))
        self.pass_time(20)
        self.assertEqual(self.figures()["queued"][-2:], [1, 1])
        day = self.figures(span="day")
        self.assertEqual(day["queued"], [0, 0, 1])
        self.assertEqual(self.figures(None)["start"], BEGIN)

    def test_a_block_in_which_it_was_stopped_is_one(self) -> None:
        self.submit()
        self.pass_time(100)
        self.end()
        self.begin()
        self.pass_time(200)
        (found,) = self.chunks()
        self.assertEqual(found[2].present, b"\1" * 30)
        self.end()
        self.begin()
        self.assertEqual(self.figures()["queued"], [1] * 30)

    def test_a_server_that_ends_before_it_has_read_all(self) -> None:
        """It does not replace what it has not read."""
        self.submit()
        self.pass_time(100)
        self.end()
        before = self.store.kept_history
        fixture = DurableServerFixture(self.store, clock=self.clock)
        history = FigureHistory(fixture.server)
        history.start()
        history.stop()
        closing = fixture.journal.close()
        fixture.thread.run_all()
        self.successResultOf(closing)
        self.assertEqual(self.store.kept_history, before)

    def test_what_is_too_old_or_not_yet_is_passed_over_and_goes(self) -> None:
        now = int(BEGIN)
        self.put(0, now // 10 - 30, b"just")
        self.put(0, now // 10 - 3600, b"old")
        self.put(0, now // 10 + 3600, b"not yet")
        self.put(1, now // 300 - 12, b"day", steps=12)
        self.end()
        self.begin()
        self.assertEqual(set(self.history.by_name), {b"just", b"old", b"not yet", b"day"})
        self.assertEqual(
            (set(self.figures(b"old")["queued"]), set(self.figures(b"just")["queued"])), ({0}, {5})
        )
        self.assertEqual(self.figures(b"day", "day")["queued"], [5] * 12)
        self.pass_time(300)
        self.assertEqual(len([span for span, *_ in self.chunks() if not span]), 2)
        self.assertEqual(set(self.history.by_name), {b"just", b"day"})

    def test_steps_at_which_nobody_looked_stay_so(self) -> None:
        self.put(0, int(BEGIN) // 10 - 30, b"f", present=b"\0")
        self.end()
        self.begin()
        self.assertEqual(self.figures()["queued"], [])

    def test_the_clock_was_set_meanwhile(self) -> None:
        """What is stored is by the wall clock; what is read by the one of now."""
        self.pass_time(300)
        self.fixture.wall.ahead = 7205.0
        self.submit()
        self.pass_time(300)
        self.assertEqual(self.figures()["start"], BEGIN + 7205.0)
        self.end()
        self.clock.advance(7200)
        self.begin()
        found = self.figures()
        self.assertLess(abs(found["start"] - (BEGIN + 7205.0 + 300.0)), 5.1)
        self.assertEqual((len(found["queued"]), found["queued"][-1]), (30, 1))

    def test_no_more_functions_than_may_be(self) -> None:
        for number in range(MOST_COUNTED - 1):
            self.history._make(b"%d" % number)
        self.put(0, int(BEGIN) // 10 - 30, b"one", b"too many")
        self.history._chunks.read(self.history._read)  # type: ignore[union-attr]
        self.server.end_turn()
        self.run_thread()
        self.assertIn(b"one", self.history.by_name)
        self.assertNotIn(b"too many", self.history.by_name)


class TroubleTests(StoredTestCase):
    def test_chunks_that_are_damaged(self) -> None:
        good = int(BEGIN) // 10 - 30
        self.put(0, good, b"f")
        damaged = [b"", b"\1", b"\1" + b"\xff" * 200]
        for number, chunk in enumerate(damaged, 1):
            self.store.put_history([(number, zlib.compress(chunk))], [])
        (chunk,) = parts(Block(7, good, b"\1"), [(2, b"f", bytes(ROW))])
        self.store.put_history([(4, zlib.compress(chunk))], [])
        self.end()
        with capturedLogs() as logs:
            self.begin()
        lines = [formatEvent(event) for event in logs]
        (line,) = [line for line in lines if "history" in str(line)]
        assert line is not None
        self.assertTrue(
            line.startswith("4 chunks of the history of figures are passed over: a chunk is"), line
        )
        self.assertEqual(self.figures()["queued"], [5] * 30)

    def test_a_store_that_keeps_none(self) -> None:
        self.end()
        fixture = DurableServerFixture(FaultyStore())
        fixture.journal.chunks = None
        history = FigureHistory(fixture.server)
        with capturedLogs() as logs:
            history.start()
        (line,) = map(formatEvent, logs)
        self.assertEqual(line, "memory: keeps no history of figures: it begins anew with each start")
        for _ in range(40):
            fixture.clock.advance(10)
        self.assertEqual(len(history.figures(None, "hour")["queued"]), 40)
        history.stop()

    def test_what_is_of_a_block_at_which_nobody_looked_is_not_written(self) -> None:
        self.history.stop()
        self.history._chunks = chunks = Mock()
        self.assertEqual(list(self.history._write(0, 5)), [])
        self.assertEqual(chunks.put.mock_calls, [])
