"""
Tests for L{txgear.cli.look.result}.
"""

from __future__ import annotations

import base64
import json
from email.message import Message
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.look.result import MOST_TEXT, write_as_json
from txgear.test.cli.support import writing


def as_json(pieces: list[bytes], data_size: int = 0) -> Any:
    """What is written of a result that comes in these pieces."""
    size = sum(map(len, pieces))
    headers = Message()
    for name, value in (
        ("Handle", "H:1"),
        ("Outcome", "done"),
        ("Data-Size", data_size),
        ("Result-Size", size - data_size),
    ):
        headers[f"Txgear-{name}"] = str(value)
    with writing() as written:
        write_as_json(headers, pieces)
    return json.loads(written.out)


class WriteAsJSONTests(SynchronousTestCase):
    def test_text(self) -> None:
        self.assertEqual(
            as_json([b'a\x00"', b"\xc3", b"\xa9"], 1),
            {"handle": "H:1", "outcome": "done", "size": 5, "data_size": 1, "text": 'a\0"é'},
        )
        self.assertEqual(as_json([])["text"], "")

    def test_what_is_no_text(self) -> None:
        found = as_json([b"\xff\0"])
        self.assertEqual(base64.b64decode(found["base64"]), b"\xff\0")
        self.assertNotIn("text", found)

    def test_what_is_long_is_written_as_it_comes(self) -> None:
        """However it comes."""
        for size in (MOST_TEXT + 1, MOST_TEXT + 2, MOST_TEXT + 3):
            pieces = [b"a", b"bc", b"", b"defg", b"x" * (size - 7)]
            found = as_json(pieces)
            self.assertEqual(base64.b64decode(found["base64"]), b"".join(pieces))
