"""
Tests for L{txgear.net.unixsockets}.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError
from txgear.net import unixsockets
from txgear.net.unixsockets import path_of, remove_stale


class PathTests(SynchronousTestCase):
    def test_endpoints(self) -> None:
        for text, path in (
            ("unix:/run/s", "/run/s"),
            ("unix:/run/s:mode=600", "/run/s"),
            ("unix:address=/run/s", "/run/s"),
            ("unix:/run/a\\:b", "/run/a:b"),
            ("haproxy:unix:/run/s", "/run/s"),
            ("tcp:4730", None),
            ("unix:", None),
        ):
            self.assertEqual(path_of(text), path, text)


class MakeRoomTests(SynchronousTestCase):
    def setUp(self) -> None:
        # The path of a socket has a hundred letters at the most.
        folder = tempfile.TemporaryDirectory(prefix="txgear-")
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "s"
        self.lock = Path(folder.name) / "s.lock"
        self.patch(unixsockets, "is_served", lambda path: False)

    def test_nothing(self) -> None:
        remove_stale(str(self.path))

    def test_left_behind(self) -> None:
        """The socket of a killed server goes, and its lock, whoever's number that has."""
        os.mknod(self.path, 0o140600)
        os.symlink(str(os.getpid()), self.lock)
        remove_stale(str(self.path))
        self.assertEqual(list(self.path.parent.iterdir()), [])

    def test_alive(self) -> None:
        self.patch(unixsockets, "is_served", lambda path: True)
        os.symlink("1", self.lock)
        error = self.assertRaises(ConfigurationError, remove_stale, str(self.path))
        self.assertEqual(str(error), "another server listens there")
        self.assertTrue(os.path.islink(self.lock))

    def test_a_file(self) -> None:
        """What is no socket is somebody's."""
        self.path.write_text("dear diary")
        error = self.assertRaises(ConfigurationError, remove_stale, str(self.path))
        self.assertEqual(str(error), "it is a file, and no socket")
        self.assertTrue(self.path.exists())

    def test_no_folder(self) -> None:
        error = self.assertRaises(ConfigurationError, remove_stale, "/nosuch/s")
        self.assertEqual(str(error), "there is no folder /nosuch")

    def test_not_ours(self) -> None:
        def refuse(path: object) -> None:
            raise PermissionError(13, "Permission denied")

        os.mknod(self.path, 0o140600)
        self.patch(os, "unlink", refuse)
        error = self.assertRaises(ConfigurationError, remove_stale, str(self.path))
        self.assertEqual(str(error), "Permission denied")
