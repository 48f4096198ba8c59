"""
Tests for L{txgear.cli.base.payloads}.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.payloads import write_payload
from txgear.cli.base.statuses import FAILED, CommandError
from txgear.test.cli.support import writing_bytes

BINARY = bytes(range(256))


def broken() -> Iterator[bytes]:
    """It ends too early."""
    yield b"first"
    raise CommandError("it has hung up")


class StandardOutputTests(SynchronousTestCase):
    def test_bytes_are_written_as_they_are(self) -> None:
        with writing_bytes() as raw:
            write_payload([b"a", BINARY], None)
        self.assertEqual(raw.getvalue(), b"a" + BINARY)

    def test_text_on_a_terminal_ends_its_line(self) -> None:
        for pieces, text in (
            ([b"a\tb"], b"a\tb\n"),
            ([b"a\r\n"], b"a\r\n"),
            ([b"\xc3", b"\xa9"], b"\xc3\xa9\n"),
            ([], b""),
        ):
            with writing_bytes(terminal=True) as raw:
                write_payload(pieces, None)
            self.assertEqual(raw.getvalue(), text)

    def test_a_terminal_is_not_written_what_is_no_text(self) -> None:
        for wrong in (b"\x1b[2J", b"\0", b"\xff", b"\xc2\x9b2J", b"\x07"):
            with writing_bytes(terminal=True) as raw:
                error = self.assertRaises(CommandError, write_payload, [b"text ", b"more " + wrong], None)
            self.assertEqual(error.status, FAILED)
            self.assertEqual(raw.getvalue(), b"text ")

    def test_unless_that_is_asked_for(self) -> None:
        with writing_bytes(terminal=True) as raw:
            write_payload([BINARY], "-")
        self.assertEqual(raw.getvalue(), BINARY)


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "file"

    def test_a_new_one(self) -> None:
        write_payload([b"a", BINARY], str(self.path))
        self.assertEqual(self.path.read_bytes(), b"a" + BINARY)
        self.assertEqual(list(self.folder.iterdir()), [self.path])

    def test_one_is_replaced_only_by_the_whole(self) -> None:
        self.path.write_bytes(b"before")
        self.assertRaises(CommandError, write_payload, broken(), str(self.path))
        self.assertEqual(self.path.read_bytes(), b"before")
        self.assertEqual(list(self.folder.iterdir()), [self.path])
        write_payload([b"after"], str(self.path))
        self.assertEqual(self.path.read_bytes(), b"after")

    def test_what_is_no_file_is_written_itself(self) -> None:
        link = self.folder / "link"
        link.symlink_to("file")
        write_payload([b"text"], str(link))
        self.assertEqual(self.path.read_bytes(), b"text")
        self.assertTrue(link.is_symlink())
        write_payload([b"text"], os.devnull)

    def test_where_nothing_can_be_written(self) -> None:
        for path in (self.folder, self.folder / "no" / "file"):
            error = self.assertRaises(CommandError, write_payload, [b"text"], str(path))
            self.assertEqual(error.status, FAILED)
            self.assertIn(f"cannot write {path}", error.text)
