"""
Tests for L{txgear.daemon.tap}.
"""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from txgear.daemon.startup import NotStarted
from txgear.daemon.tap import makeService
from txgear.errors import ConfigurationError
from txgear.test.daemon.test_options import parsed


class MakeServiceTests(SynchronousTestCase):
    """What C{twistd} gets."""

    def setUp(self) -> None:
        self.addCleanup(setattr, sys, "excepthook", sys.excepthook)

    def test_service(self) -> None:
        """The options make a service, which has not started."""
        service: Any = makeService(parsed("--protocol", "gear"))
        verifyObject(IService, service)
        self.assertFalse(service.running)

    def test_config(self) -> None:
        """What was read is what the server starts with."""
        path = Path(self.mktemp())
        path.write_text('[[function]]\nname = "f"\nonce = 60\n', "utf-8")
        options = parsed("--config", str(path))
        service: Any = makeService(options)
        self.assertIs(service._config, options.config)

    def test_errors_are_lines(self) -> None:
        """A server that cannot start says why in a line; a defect keeps its traceback."""
        ordinary: list[Any] = []
        sys.excepthook = lambda *arguments: ordinary.append(arguments)
        makeService(parsed())
        err = StringIO()
        self.patch(sys, "__stderr__", err)
        error = ConfigurationError("no room")
        sys.excepthook(ConfigurationError, error, None)
        self.assertEqual(err.getvalue(), "txgear: no room\n")
        # That was said when it happened.
        sys.excepthook(NotStarted, NotStarted(), None)
        self.assertEqual(err.getvalue(), "txgear: no room\n")
        self.assertEqual(ordinary, [])
        defect = ValueError()
        sys.excepthook(ValueError, defect, None)
        self.assertEqual(ordinary, [(ValueError, defect, None)])
