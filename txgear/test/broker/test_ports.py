"""Tests of L{txgear.broker.ports}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.ports import Reading


class ReadingTests(SynchronousTestCase):
    def test_who_wants_it_is_told_what_was_read(self) -> None:
        told: list[bytes | None] = []
        for result in (True, False):
            reading = Reading(7, result, told.append)
            self.assertEqual((reading.number, reading.result), (7, result))
            reading.done(b"read")
        self.assertEqual(told, [b"read"] * 2)
