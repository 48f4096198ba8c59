"""
Tests for L{txgear.client.submission}, through a client: the packets that ask for jobs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from txgear.client import Client, Task
from txgear.client.submission import submission
from txgear.protocol.constants import (
    HIGH,
    JOB_CREATED,
    LOW,
    NORMAL,
)
from txgear.test.support.client import ClientTestCase


class PacketTests(ClientTestCase):
    def sent(self, ask: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self.asked: Any = ask(*arguments, **options)
        if not self.server.line.protocol.ready:
            self.connect()
        (packet,) = self.server.line.packets()
        return packet

    def test_foreground(self) -> None:
        """Each priority has its packet."""
        for priority, name in ((HIGH, "SUBMIT_JOB_HIGH"), (NORMAL, "SUBMIT_JOB"), (LOW, "SUBMIT_JOB_LOW")):
            self.assertEqual(
                (name, b"f", b"u", b"w"),
                self.sent(self.client.submit, "f", b"w", unique=b"u", priority=priority),
            )

    def test_background(self) -> None:
        """So have background jobs."""
        for priority, name in (
            (HIGH, "SUBMIT_JOB_HIGH_BG"),
            (NORMAL, "SUBMIT_JOB_BG"),
            (LOW, "SUBMIT_JOB_LOW_BG"),
        ):
            packet = self.sent(self.client.submit_background, b"f", b"w", unique="u", priority=priority)
            self.assertEqual((name, b"f", b"u", b"w"), packet)
            self.server.line.send(JOB_CREATED, b"H:%d" % priority)
            self.assertEqual(b"H:%d" % priority, self.successResultOf(self.asked))

    def test_reduce(self) -> None:
        """A job with a reducer carries one more, empty argument, as libgearman sends it."""
        line_bytes = b"f\0u\0sum\0\0w"
        self.client.submit("f", b"w", unique="u", reducer="sum")
        background = self.client.submit_background("f", b"w", unique="u", reducer="sum")
        _ = background.addErrback(lambda _: None)
        self.connect()
        self.assertEqual(2, self.server.line.transport.value().count(line_bytes))
        self.assertEqual(
            ["SUBMIT_REDUCE_JOB", "SUBMIT_REDUCE_JOB_BACKGROUND"],
            [packet[0] for packet in self.server.line.packets()],
        )

    def epoch(self, at: datetime | float) -> bytes:
        chunks = submission(Task("f", b"w", "u"), 100, True, at)
        self.assertEqual(b"f\0u\0", chunks[0][12:16])
        return chunks[0][16:-1]

    def test_epoch(self) -> None:
        """A time is a datetime or a number, and rounded up to a whole second."""
        self.assertEqual(b"1700000000", self.epoch(1700000000))
        self.assertEqual(b"1700000001", self.epoch(1700000000.25))
        self.assertEqual(b"1700000000", self.epoch(datetime.fromtimestamp(1700000000, timezone.utc)))
        self.assertEqual(b"0", self.epoch(0))

    def test_naive_datetime(self) -> None:
        """A naive datetime is local time."""
        before = os.environ.get("TZ")

        def restore() -> None:
            del os.environ["TZ"]
            if before is not None:
                os.environ["TZ"] = before
            time.tzset()

        self.addCleanup(restore)
        os.environ["TZ"] = "UTC-3"
        time.tzset()
        self.assertEqual(b"1700000000", self.epoch(datetime(2023, 11, 15, 1, 13, 20)))

    def test_json(self) -> None:
        """A JSON value takes the place of the workload; null is one."""
        self.assertEqual(
            ("SUBMIT_JOB", b"f", b"", '{"a":[1,"é"]}'.encode()),
            self.sent(self.client.submit, "f", json={"a": [1, "é"]}),
        )
        self.assertEqual(("SUBMIT_JOB", b"f", b"", b"null"), self.sent(self.client.submit, "f", json=None))

    def test_workloads(self) -> None:
        """Whatever is made of bytes is a workload."""
        for workload in (b"a\0b", bytearray(b"a\0b"), memoryview(b"a\0b")):
            self.assertEqual(
                ("SUBMIT_JOB", b"f", b"", b"a\0b"),
                self.sent(self.client.submit, "f", workload),
            )

    def test_refused_here(self) -> None:
        """What the protocol cannot carry is refused with clear words; nothing is even connected."""
        inf = float("inf")
        unfit: list[tuple[str, str, dict[str, Any]]] = [
            ("function is empty", "", {}),
            ("function holds a NUL", "a\0b", {}),
            ("function has 8192 bytes, 8191 is the most", "f" * 8192, {}),
            ("unique has 65 bytes, 64 is the most", "f", {"unique": "é" * 32 + "x"}),
            ("unique holds a NUL", "f", {"unique": b"\0"}),
            ("reducer is empty", "f", {"reducer": ""}),
            ("reducer has 65 bytes, 64 is the most", "f", {"reducer": "r" * 65}),
            ("priority is 3, not HIGH, NORMAL or LOW", "f", {"priority": 3}),
            ("a job with a time or a reducer has NORMAL priority", "f", {"reducer": "r", "priority": HIGH}),
            ("a job with a time or a reducer has NORMAL priority", "f", {"at": 5, "priority": LOW}),
            ("a job has a time or a reducer, not both", "f", {"at": 5, "reducer": "r"}),
            ("at is not between the years 1970 and 9999", "f", {"at": -1}),
            ("at is not between the years 1970 and 9999", "f", {"at": inf}),
            ("at is not between the years 1970 and 9999", "f", {"at": float("nan")}),
            ("Out of range float values are not JSON compliant", "f", {"json": inf}),
        ]
        for words, function, options in unfit:
            submit = self.client.submit_background if "at" in options else self.client.submit
            error = self.assertRaises(ValueError, submit, function, **options)
            self.assertIn(words, str(error))
        wrong: list[tuple[str, Any, Any, dict[str, Any]]] = [
            ("function is NoneType, not str or bytes", None, b"", {}),
            ("unique is int, not str or bytes", "f", b"", {"unique": 5}),
            ("workload is str, not bytes", "f", "text", {}),
            ("workload and json were both given", "f", b"x", {"json": 1}),
        ]
        for words, function, workload, options in wrong:
            error = self.assertRaises(TypeError, self.client.submit, function, workload, **options)
            self.assertIn(words, str(error))
        self.assertEqual(0, self.server.attempts)

    def test_too_large(self) -> None:
        """A job that does not fit the largest packet is refused."""
        client = self.make_client([self.server], max_packet=100)
        client.submit("f", bytes(97))
        error = self.assertRaises(ValueError, client.submit, "f", bytes(98))
        self.assertEqual("a job of 98 bytes does not fit a packet of 100 bytes", str(error))

    def test_client_ids(self) -> None:
        """A name that would forge the server's list of workers is refused."""
        for name in ("two words", "line\n", "\x7f", "x" * 128):
            self.assertRaises(ValueError, Client, self.clock, [self.server], client_id=name)
