"""
Tests for L{txgear.cli.look.history}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.look.history import steps

FOUND: dict[str, Any] = {
    "function": None,
    "span": "hour",
    "start": "2026-11-28T23:59:50.000Z",
    "step": 10,
    "submitted": [1.5, None, 0.0],
    "queued": [3, None, 0],
    "wait_p95": [0.25, None, None],
}


class StepsTests(SynchronousTestCase):
    def test_the_newest_is_first_and_those_without_a_server_are_none(self) -> None:
        self.assertEqual(
            list(steps(FOUND)),
            [
                {"time": "2026-11-29T00:00:10Z", "submitted": 0.0, "queued": 0, "wait_p95": None},
                {"time": "2026-11-28T23:59:50Z", "submitted": 1.5, "queued": 3, "wait_p95": 0.25},
            ],
        )

    def test_there_is_none_yet(self) -> None:
        self.assertEqual(list(steps({**FOUND, "start": None})), [])
