"""Tests of L{txgear.web.pages.live}: who is told what, whenever they come, and however slowly they read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from twisted.internet.task import Clock

from txgear.test.support.web import WebPeer, WebTestCase
from txgear.web.pages import dashboard
from txgear.web.pages.live import BEAT_SECONDS, MOST_OF_ONE, MOST_READERS, SPARE, PageReader, Watched

EVENTS = {"Accept": "text/event-stream"}


class LiveTests(WebTestCase):
    parts = (dashboard,)

    def open(self, target: str = "/") -> WebPeer:
        client = self.connect()
        client.ask_web("GET", target, {**self.headers, **EVENTS})
        return client

    def look(self) -> None:
        """Let looks be taken, with all their pieces."""
        self.clock.advance(0.25)
        for _ in range(100):
            self.clock.advance(0.001)


class JoinTests(LiveTests):
    def test_within_a_look(self) -> None:
        """Whoever comes while others are looking is told all that is found, as these are."""
        for number in range(600):
            self.worker(b"function%d" % number)
        first = self.open()
        self.clock.advance(0)
        second = self.open()
        self.look()
        told = first.heard()
        self.assertIn(b"event: change", told)
        change = told.partition(b"event: change")[2].partition(b"\n\n")[0]
        self.assertIn(change, second.heard())

    def test_between_looks(self) -> None:
        first = self.open()
        self.look()
        first.heard()
        self.assertIn(b"event: change", self.open().heard())


class Board:
    look = 0

    def news(self, since: int) -> Mapping[str, Any]:
        return {"parts": {}, "rows": {}}


class SlowView:
    """
    A page on which nothing changes.

    @ivar looked: when it was looked at.
    """

    seconds = 0.25

    def __init__(self, clock: Clock, costs: list[float]) -> None:
        """
        @param costs: how long the looks take, one after the other.
        """
        self.board = Board()
        self.looked: list[float] = []
        self._clock = clock
        self._costs = costs

    def look(self) -> Iterator[None]:
        self.looked.append(self._clock.seconds())
        self._clock.rightNow += self._costs.pop(0)
        yield


class QuietStream:
    """The connection of somebody who reads all."""

    full = False

    def write(self, data: bytes) -> None:
        pass


class CostTests(LiveTests):
    def waits(self, *costs: float) -> list[float]:
        """Seconds from the end of each look to the next one."""
        view: Any = SlowView(self.clock, [*costs, 0.0])
        watched = Watched(self.server, view, lambda: None)
        watched.join(PageReader(cast(Any, QuietStream())))
        for _ in range(400):
            self.clock.advance(0.05)
            if len(view.looked) > len(costs):
                break
        ends = [began + cost for began, cost in zip(view.looked, costs, strict=False)]
        return [began - end for began, end in zip(view.looked[1:], ends, strict=True)]

    def test_one_look_that_takes_long(self) -> None:
        """The first has templates made, and any may wait for a processor: the next one is not late for it."""
        for wait in self.waits(0.1, 0.0, 0.1, 0.0):
            self.assertLess(wait, 2 * SlowView.seconds)

    def test_looks_that_take_long(self) -> None:
        """They take one part in so many of the server's time."""
        *_, last = self.waits(0.1, 0.1)
        self.assertGreater(last, 0.1 * SPARE - 0.2)


class RoomTests(LiveTests):
    def test_of_all(self) -> None:
        for _ in range(MOST_READERS):
            self.open()
        self.look()
        self.assertEqual(self.ask("GET", "/workers", EVENTS).code, "too_many_readers")

    def test_of_one_identity(self) -> None:
        self.allow("http", "see")
        pages = [self.open() for _ in range(MOST_OF_ONE)]
        refused = self.ask("GET", "/workers", EVENTS)
        self.assertEqual((refused.code, refused.headers["Retry-After"]), ("too_many_readers", "10"))
        self.assertIn("of your identity", refused.json["detail"])
        pages[0].leave()
        self.look()
        self.assertIn(b"HTTP/1.1 200", self.open("/workers").heard())

    def test_who_reads_nothing(self) -> None:
        """It is told each part once, as it is when it reads again."""
        slow = self.open()
        self.look()
        slow.heard()
        slow.transport.stuck = True
        for number in range(8):
            self.worker(b"%d" % number + b"f" * 8000)
        self.look()
        unread = len(slow.transport.value())
        for number in range(5):
            self.worker(b"mail%d" % number)
            self.look()
        self.clock.advance(BEAT_SECONDS)
        self.look()
        self.assertEqual(len(slow.transport.value()), unread)
        slow.transport.stuck = False
        slow.heard()
        self.look()
        told = slow.heard()
        for number in range(5):
            self.assertEqual(told.count(b'<a href=\\"/functions/mail%d\\">' % number), 1, told[:3000])
