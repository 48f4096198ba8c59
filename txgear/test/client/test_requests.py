"""
Tests for L{txgear.client.requests}.
"""

from __future__ import annotations

from txgear.client.requests import Request, Single
from txgear.client.submission import BackgroundSubmit
from txgear.test.support.clock import ClockTestCase


class RequestTests(ClockTestCase):
    def test_abstract(self) -> None:
        """What a request means is its subclass's matter."""
        request = Request([])
        self.assertRaises(NotImplementedError, request.answered, [])
        self.assertRaises(NotImplementedError, request.failed, Exception())
        self.assertRaises(NotImplementedError, request.lost, "")
        single: Single[object] = Single([])
        self.assertRaises(NotImplementedError, single.meaning, [])

    def test_ends_once(self) -> None:
        """A request ends once."""
        request = BackgroundSubmit([b"x"])
        request.answered([b"H:1"])
        request.lost("gone")
        request.answered([b"H:2"])
        self.assertEqual(b"H:1", self.successResultOf(request.answer))
        self.assertEqual([], request.chunks)
