"""Tests of L{txgear.worker.state}."""

from __future__ import annotations

import os
from json import loads
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.protocol.constants import HEADER_SIZE, MAX_OPTIONS
from txgear.server.steering import read_state
from txgear.worker.state import FunctionState, State, memory_taken

RESIZE = FunctionState(b"resize", True, 7, 1, 2)
STATE = State(("pause", "stop"), False, 4, (RESIZE,), 1_000_000)


def said(state: State) -> dict[str, Any]:
    """What a state's packet says."""
    found: dict[str, Any] = loads(state.packet()[HEADER_SIZE:])
    return found


class PacketTests(SynchronousTestCase):
    def test_all_of_it(self) -> None:
        self.assertEqual(
            {
                "words": ["pause", "stop"],
                "paused": False,
                "concurrency": 4,
                "memory": 1_000_000,
                "functions": [{"name": "resize", "in_use": True, "done": 7, "failed": 1, "active": 2}],
            },
            said(STATE),
        )

    def test_memory_is_not_known(self) -> None:
        self.assertNotIn("memory", said(STATE._replace(memory=None)))

    def test_a_name_that_is_no_text(self) -> None:
        (function,) = said(STATE._replace(functions=(RESIZE._replace(name=b"\xff"),)))["functions"]
        self.assertEqual("\\xff", function["name"])

    def test_as_many_as_fit(self) -> None:
        """Those in use first; a server takes it."""
        functions = [RESIZE._replace(name=b"aside-%d" % n, in_use=False) for n in range(200)]
        functions += [RESIZE._replace(name=b"used-%d" % n) for n in range(20)]
        state = STATE._replace(functions=tuple(functions))
        shown = [function["name"] for function in said(state)["functions"]]
        self.assertEqual([f"used-{n}" for n in range(20)], shown[:20])
        self.assertEqual([f"aside-{n}" for n in range(len(shown) - 20)], shown[20:])
        size = len(state.packet()) - HEADER_SIZE
        self.assertTrue(MAX_OPTIONS - 100 < size <= MAX_OPTIONS, size)
        read_state(state.packet()[HEADER_SIZE:])

    def test_a_name_that_fills_it(self) -> None:
        state = STATE._replace(functions=(RESIZE._replace(name=b"x" * 8191),))
        self.assertEqual([], said(state)["functions"])


class NewsTests(SynchronousTestCase):
    def test_the_same(self) -> None:
        self.assertFalse(STATE.is_news(STATE))
        nothing = STATE._replace(memory=None)
        self.assertFalse(nothing.is_news(nothing))

    def test_another_one(self) -> None:
        for other in (
            STATE._replace(paused=True),
            STATE._replace(functions=(RESIZE._replace(done=8),)),
            STATE._replace(memory=None),
        ):
            with self.subTest(other=other):
                self.assertTrue(other.is_news(STATE))
                self.assertTrue(STATE.is_news(other))

    def test_memory(self) -> None:
        """It changes with every breath."""
        self.assertFalse(STATE._replace(memory=1_100_000).is_news(STATE))
        self.assertTrue(STATE._replace(memory=1_100_001).is_news(STATE))
        self.assertTrue(STATE._replace(memory=899_999).is_news(STATE))


class MemoryTests(SynchronousTestCase):
    def statm(self, text: str) -> Path:
        path = Path(self.mktemp())
        path.write_text(text)
        return path

    def test_pages(self) -> None:
        self.assertEqual(3 * os.sysconf("SC_PAGE_SIZE"), memory_taken(self.statm("10 3 2 1 0 1 0\n")))

    def test_cannot_tell(self) -> None:
        self.assertIsNone(memory_taken(Path(self.mktemp())))
        self.assertIsNone(memory_taken(self.statm("")))
        self.assertIsNone(memory_taken(self.statm("a b c")))

    def test_this_process(self) -> None:
        taken = memory_taken()
        if taken is None:
            self.skipTest("the system does not tell")
        self.assertTrue(5_000_000 < taken < 50_000_000_000, taken)
