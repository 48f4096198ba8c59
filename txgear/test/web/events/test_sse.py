"""Tests of L{txgear.web.events.sse}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.protocol.constants import RESTARTED, WORK_COMPLETE, WORK_DATA, WORK_STATUS, WORK_WARNING
from txgear.protocol.packets import Pieces
from txgear.web.events.sse import event, said, told


class EventTests(SynchronousTestCase):
    def test_an_event_is_its_lines_and_an_empty_one(self) -> None:
        self.assertEqual(event("state", {"a": 1}, "1f-2"), b'id: 1f-2\nevent: state\ndata: {"a":1}\n\n')

    def test_nothing_in_the_data_ends_its_line(self) -> None:
        written = event("state", {"name": "a\r\nid: 7\n\ndata: b"})
        self.assertEqual(written, b'event: state\ndata: {"name":"a\\r\\nid: 7\\n\\ndata: b"}\n\n')


class ToldTests(SynchronousTestCase):
    def test_text_is_text_and_bytes_are_base64(self) -> None:
        self.assertEqual(said("h\u00e9\0".encode()), {"text": "h\u00e9\0"})
        self.assertEqual(said(Pieces([b"\xff", b"\xfe"])), {"base64": "//4="})

    def test_what_a_worker_says(self) -> None:
        self.assertEqual(told(WORK_DATA, (b"H:1", b"x")), b'event: data\ndata: {"text":"x"}\n\n')
        self.assertEqual(
            told(WORK_WARNING, (b"H:1", b"\xff")), b'event: warning\ndata: {"base64":"/w=="}\n\n'
        )
        progress = b'event: progress\ndata: {"numerator":3,"denominator":10}\n\n'
        self.assertEqual(told(WORK_STATUS, (b"H:1", b"3", b"10")), progress)
        self.assertEqual(told(RESTARTED, (b"H:1",)), b"event: restarted\ndata: {}\n\n")

    def test_the_end_is_told_otherwise(self) -> None:
        self.assertIsNone(told(WORK_COMPLETE, (b"H:1", b"done")))
