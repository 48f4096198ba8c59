"""
Tests for L{txgear.runtime.template}: which process may be copied.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.template import REACTOR, unfit


class UnfitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tasks = Path(self.mktemp())

    def test_fit(self) -> None:
        """One thread, and no reactor; also where the system does not tell of threads."""
        self.assertEqual("", unfit([], self.tasks, {}))
        self.tasks.mkdir()
        (self.tasks / "7").mkdir()
        self.assertEqual("", unfit([], self.tasks, {"os"}))

    def test_thread(self) -> None:
        """Threads of Python's are named."""
        self.assertEqual(
            "a module has started a thread as it was imported: poller, other",
            unfit(["poller", "other"], self.tasks, {}),
        )

    def test_other_threads(self) -> None:
        """Those of a library of C."""
        self.tasks.mkdir()
        for number in range(3):
            (self.tasks / str(number)).mkdir()
        self.assertEqual(
            "a module has started 2 threads as it was imported, which are none of Python's",
            unfit([], self.tasks, {}),
        )

    def test_reactor(self) -> None:
        """Its descriptors would be those of all copies."""
        self.assertEqual(
            "a module has imported twisted.internet.reactor, which installs it",
            unfit([], self.tasks, {REACTOR}),
        )
