"""
Tests for L{txgear.daemon.passwords}.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.passwords import password
from txgear.errors import ConfigurationError


class PasswordTests(SynchronousTestCase):
    """Secrets that stand on no command line."""

    def of(self, text: bytes | None, variable: str | None = None) -> str | None:
        """The password that a file with this text, and the variable, stand for."""
        path = None
        if text is not None:
            path = self.mktemp()
            Path(path).write_bytes(text)
        return password("some-file", path, "SECRET", {} if variable is None else {"SECRET": variable})

    def test_nowhere(self) -> None:
        """There need not be one; an empty variable is none."""
        self.assertIsNone(self.of(None))
        self.assertIsNone(self.of(None, ""))

    def test_file(self) -> None:
        """It is the first line of a file, without its end, whatever the others say."""
        for text in (b"p w:/@\xc3\xa9", b"p w:/@\xc3\xa9\n", b"p w:/@\xc3\xa9\r\nanother\n"):
            self.assertEqual(self.of(text), "p w:/@\xe9")

    def test_order(self) -> None:
        """The file comes before the variable."""
        self.assertEqual(self.of(None, "variable"), "variable")
        self.assertEqual(self.of(b"file", "variable"), "file")

    def test_mistakes(self) -> None:
        """A file that has none, or cannot be read, is one line, which names the option and the file."""
        for text, expected in ((b"", "is empty"), (b"\nsecret\n", "is empty"), (b"\xff", "not UTF-8")):
            error = self.assertRaises(ConfigurationError, self.of, text)
            self.assertIn("--some-file: ", str(error))
            self.assertIn(expected, str(error))
        error = self.assertRaises(ConfigurationError, password, "some-file", "/nowhere", "SECRET", {})
        self.assertEqual(str(error), "--some-file: cannot read /nowhere: No such file or directory")
