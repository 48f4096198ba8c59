"""Tests of L{txgear.server.ownprocess}."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear.server.ownprocess import OWN, figures


class FiguresTests(SynchronousTestCase):
    def test_of_this_process(self) -> None:
        found = figures()
        self.assertEqual(found.pid, os.getpid())
        if not OWN.exists():
            self.assertEqual((found.memory, found.descriptors), (None, None))
            return
        assert found.memory is not None
        assert found.descriptors is not None
        self.assertGreater(found.memory, 1 << 20)
        self.assertEqual(found.limit, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self.assertLess(found.descriptors, found.limit or 0)
        read, write = os.pipe()
        try:
            self.assertEqual(figures().descriptors, found.descriptors + 2)
        finally:
            os.close(read)
            os.close(write)

    def test_a_system_that_does_not_tell(self) -> None:
        found = figures(Path(self.mktemp()))
        self.assertEqual((found.memory, found.descriptors), (None, None))

    def test_one_by_one(self) -> None:
        """As systems have it that do not count them."""
        folder = Path(self.mktemp())
        (folder / "fd").mkdir(parents=True)
        for name in "012":
            (folder / "fd" / name).touch()
        (folder / "statm").write_text("9 3 1 1 0 1 0\n")
        found = figures(folder)
        self.assertEqual(found.memory, 3 * resource.getpagesize())
        self.assertIn(found.descriptors, (3, (folder / "fd").stat().st_size))
