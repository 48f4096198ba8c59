"""Tests of L{txgear.web.payloads}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.web.answers import Problem
from txgear.web.payloads import MOST_HELD, PIECE, Payloads, Sending


class FakeStreamed:
    """
    What an answer is written to.

    @ivar room: pieces that it takes until it is full.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.written: list[bytes] = []
        self.finished = 0

    @property
    def full(self) -> bool:
        return self.room <= 0

    def write(self, data: bytes) -> None:
        self.room -= 1
        self.written.append(data)

    def finish(self) -> None:
        self.finished += 1


class PayloadsTests(SynchronousTestCase):
    def test_room(self) -> None:
        payloads = Payloads()
        release = payloads.hold(MOST_HELD - 1)
        other = payloads.hold(1)
        with self.assertRaises(Problem) as caught:
            payloads.hold(1)
        self.assertEqual((caught.exception.status, caught.exception.headers), (503, {"Retry-After": "1"}))
        payloads.hold(0)
        for _ in range(2):
            release()
        self.assertEqual(payloads.held, 1)
        other()
        payloads.hold(2 * MOST_HELD)
        self.assertEqual(payloads.held, 2 * MOST_HELD)


class SendingTests(SynchronousTestCase):
    def send(self, data: bytes, room: int) -> tuple[FakeStreamed, list[int]]:
        streamed: Any = FakeStreamed(room)
        over: list[int] = []
        Sending(streamed, (data[:100], b"", data[100:]), lambda: over.append(1)).go_on()
        return streamed, over

    def test_all_at_once(self) -> None:
        for data in (b"", b"x", b"x" * PIECE, b"x" * PIECE + b"y"):
            streamed, over = self.send(data, 9)
            self.assertEqual((b"".join(streamed.written), streamed.finished, over), (data, 1, [1]))

    def test_as_there_is_room(self) -> None:
        data = b"a" * PIECE + b"b" * PIECE + b"c"
        streamed, over = self.send(data, 1)
        sent: Any = streamed
        self.assertEqual((len(streamed.written), over), (1, []))
        for pieces in (1, 2, 3):
            self.assertEqual(len(streamed.written), pieces)
            streamed.room = 1
            if not streamed.finished:
                sent.on_drain()
        self.assertEqual((b"".join(streamed.written), streamed.finished, over), (data, 1, [1]))

    def test_nobody_reads_any_more(self) -> None:
        streamed, over = self.send(b"a" * PIECE * 2, 1)
        sent: Any = streamed
        sent.on_gone()
        self.assertEqual((streamed.finished, over), (0, [1]))
