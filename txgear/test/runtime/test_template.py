"""
Tests for L{txgear.runtime.template}: which process may be copied.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from txgear.runtime.template import REACTOR, unfit


class UnfitTests(SynchronousTestCase):
    def setUp(self) -> None:
        # trial has a reactor, which these tests do not need.
        installed = sys.modules.pop(REACTOR, None)
        if installed is not None:
            self.addCleanup(sys.modules.__setitem__, REACTOR, installed)
        self.tasks = Path(self.mktemp())

    def test_fit(self) -> None:
        """One thread, and no reactor; also where the system does not tell of threads."""
        self.assertEqual("", unfit(self.tasks))
        self.tasks.mkdir()
        (self.tasks / "7").mkdir()
        self.assertEqual("", unfit(self.tasks))

    def test_thread(self) -> None:
        """A thread of Python's is named."""
        go_on = threading.Event()
        thread = threading.Thread(target=go_on.wait, name="poller")
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(go_on.set)
        self.assertEqual("a module has started a thread as it was imported: poller", unfit(self.tasks))

    def test_other_threads(self) -> None:
        """Those of a library of C."""
        self.tasks.mkdir()
        for number in range(3):
            (self.tasks / str(number)).mkdir()
        self.assertEqual(
            "a module has started 2 threads as it was imported, which are none of Python's", unfit(self.tasks)
        )

    def test_reactor(self) -> None:
        """Its descriptors would be those of all copies."""
        sys.modules[REACTOR] = ModuleType(REACTOR)
        self.addCleanup(sys.modules.pop, REACTOR)
        self.assertEqual(
            "a module has imported twisted.internet.reactor, which installs it", unfit(self.tasks)
        )
