"""
Tests for L{txgear.cli.run.submitjobs}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.cli.run import submitjobs
from txgear.cli.run.submitjobs import (
    Wanted,
    from_json_lines,
    from_workloads,
    lines,
    to_json_line,
    whole,
)
from txgear.protocol.constants import MAX_PACKET

USUAL = Wanted(b"")


class PieceReader:
    """Reads these pieces, whatever size is asked for."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter(pieces)
        self.reads = 0

    def __call__(self, size: int) -> bytes:
        self.reads += 1
        return next(self._pieces, b"")


class ByteTests(SynchronousTestCase):
    """Bytes from files."""

    def test_whole(self) -> None:
        """All of them."""
        self.assertEqual(whole(PieceReader(b"ab", b"c\n"), "f"), b"abc\n")
        self.assertEqual(whole(PieceReader(), "f"), b"")

    def test_whole_too_large(self) -> None:
        """What no packet holds is not read to its end."""
        endless = PieceReader(*[bytes(1024 * 1024)] * 1000)
        self.assertRaises(CommandError, whole, endless, "f")
        self.assertEqual(endless.reads, MAX_PACKET // (1024 * 1024) + 1)

    def test_lines(self) -> None:
        """Each with its end, the last one as it is, in whatever pieces they come."""
        text = b"one\n\ntwo\r\nthree"
        wanted = [b"one\n", b"\n", b"two\r\n", b"three"]
        for size in (1, 2, 3, 5, 100):
            pieces = [text[at : at + size] for at in range(0, len(text), size)]
            self.assertEqual(list(lines(PieceReader(*pieces), "f")), wanted)
        self.assertEqual(list(lines(BytesIO(b"a\nb\n").read, "f")), [b"a\n", b"b\n"])

    def test_lines_come_at_once(self) -> None:
        """A line is there when its end is, not when the next one is."""
        reader = PieceReader(b"one\ntw", b"o\n")
        found = lines(reader, "f")
        self.assertEqual((next(found), reader.reads), (b"one\n", 1))
        self.assertEqual((next(found), reader.reads), (b"two\n", 2))

    def test_line_without_end(self) -> None:
        """It is not gathered for ever."""
        endless = PieceReader(*[bytes(16 * 1024 * 1024)] * 100)
        error = self.assertRaises(CommandError, list, lines(endless, "f"))
        self.assertEqual(error.status, MISUSED)
        self.assertLess(endless.reads, 12)


class WorkloadTests(SynchronousTestCase):
    """Jobs of workloads."""

    def test_each_function_gets_each(self) -> None:
        """As with C{gearman}."""
        found = list(from_workloads([b"1", b"2"], [b"f", b"g"], Wanted(b"", unique=b"u"), False, "line"))
        self.assertEqual(
            [(job.function, job.workload, job.unique, job.place) for job in found],
            [
                (b"f", b"1", b"u", "line 1"),
                (b"g", b"1", b"u", "line 1"),
                (b"f", b"2", b"u", "line 2"),
                (b"g", b"2", b"u", "line 2"),
            ],
        )

    def test_json(self) -> None:
        """It is sent as it stands; what is none is refused with its place."""
        [job] = from_workloads([b' {"a": 1.0}\n'], [b"f"], USUAL, True, "")
        self.assertEqual(job.workload, b' {"a": 1.0}\n')
        for bad in (b"", b"{", b"NaN", b"\xff", b"[" * 100_000):
            error = self.assertRaises(
                CommandError, list, from_workloads([b"1", bad], [b"f"], USUAL, True, "line")
            )
            self.assertEqual(error.status, MISUSED)
            self.assertIn("line 2 is no JSON", error.text)

    def test_what_no_packet_carries(self) -> None:
        """It is refused before anything is sent."""
        for usual in (
            Wanted(b"", unique=b"x" * 65),
            Wanted(b"", when=1e9, priority="high"),
            Wanted(b"", when=1e9, delay=3.0, policy={"retries": 1}),
            Wanted(b"", policy={"retries": "x"}),
            Wanted(b"", policy={"rate": "1/s"}),
        ):
            self.assertRaises(CommandError, list, from_workloads([b""], [b"f"], usual, False, ""))
        self.assertRaises(CommandError, list, from_workloads([b""], [b"a\0b"], USUAL, False, ""))
        self.assertRaises(
            CommandError, list, from_workloads([bytes(MAX_PACKET + 1)], [b"f"], USUAL, False, "")
        )


class JsonLineTests(SynchronousTestCase):
    """Lines of JSON."""

    def read(self, *rows: Any, usual: Wanted = USUAL) -> Iterator[Wanted]:
        return from_json_lines((json.dumps(row).encode() + b"\n" for row in rows), usual)

    def test_all_members(self) -> None:
        """Each of them has its meaning."""
        [job] = self.read(
            {
                "function": "mail",
                "workload": "höllo",
                "unique": "u",
                "priority": "high",
                "when": "2026-01-01T00:00:00Z",
                "policy": {"retries": 3},
            }
        )
        self.assertEqual(
            job,
            Wanted(b"mail", "höllo".encode(), b"u", "high", 1767225600.0, None, {"retries": 3}, "line 1"),
        )

    def test_workloads(self) -> None:
        """As text, as bytes, as a value, or none."""
        rows = [{"workload": "a"}, {"base64": "/wA="}, {"json": {"a": [1, None]}}, {}]
        found = self.read(*rows, usual=Wanted(b"f"))
        self.assertEqual([job.workload for job in found], [b"a", b"\xff\0", b'{"a":[1,null]}', b""])

    def test_what_a_line_does_not_say(self) -> None:
        """It is as the command line has it; settings are added up."""
        usual = Wanted(b"f", unique=b"u", priority="low", delay=5.0, policy={"retries": 1, "lease": "5s"})
        one, two = self.read(
            {"policy": {"retries": 2}}, {"function": "g", "when": 1e9, "priority": "normal"}, usual=usual
        )
        self.assertEqual(
            (one.function, one.unique, one.priority, one.delay, one.policy),
            (b"f", b"u", "low", 5.0, {"retries": 2, "lease": "5s"}),
        )
        # A time of its own stands for the command line's, whichever of the two it is.
        self.assertEqual((two.function, two.when, two.delay, two.priority), (b"g", 1e9, None, "normal"))

    def test_empty_lines_count(self) -> None:
        """They are passed over, and the places of others stay right."""
        [job] = from_json_lines([b"\n", b"  \r\n", b'{"function": "f"}'], USUAL)
        self.assertEqual(job.place, "line 3")

    def test_mistakes(self) -> None:
        """Each is refused with its line, and what stands before it is not."""
        for bad, why in (
            (b"nonsense", "line 2: "),
            (b"[1]", "an object is wanted"),
            (b'{"workload": "x"}', "names no function"),
            (b'{"function": ""}', "names no function"),
            (b'{"function": 5}', "function: text is wanted"),
            (b'{"function": "f", "colour": 1}', "there is no 'colour'"),
            (b'{"function": "f", "workload": 1}', "workload: text is wanted"),
            (b'{"function": "f", "workload": "", "base64": ""}', "one workload"),
            (b'{"function": "f", "base64": "%"}', "line 2: "),
            (b'{"function": "f", "json": NaN}', "there is no NaN"),
            (b'{"function": "f", "priority": "urgent"}', "priority: "),
            (b'{"function": "f", "when": "18:30"}', "when: a date is wanted as well"),
            (b'{"function": "f", "when": true}', "when: "),
            (b'{"function": "f", "delay": "soon"}', "delay: "),
            (b'{"function": "f", "policy": []}', "policy: "),
            (b'{"function": "f", "policy": {"retries": -1}}', "retries: "),
            (b'{"function": "f", "unique": "' + b"x" * 65 + b'"}', "unique has 65 bytes"),
            (b"[" * 100_000, "nested too deeply"),
            (b"\xff", "line 2: "),
        ):
            with self.subTest(bad[:60]):
                found = from_json_lines([b'{"function": "f"}\n', bad], USUAL)
                self.assertEqual(next(found).function, b"f")
                error = self.assertRaises(CommandError, next, found)
                self.assertEqual(error.status, MISUSED)
                self.assertIn("line 2: ", error.text)
                self.assertIn(why, error.text)

    def test_round_trip(self) -> None:
        """What is written is read again, byte by byte the same, with what became of it passed over."""
        for wanted in (
            Wanted(b"f"),
            Wanted(b"f", b"text\n\x00", b"u"),
            Wanted(
                b"\xff\xc3\xbc",
                bytes(range(256)),
                b"\xfe\\udcff",
                "low",
                None,
                1.5,
                {"backoff": {"kind": "fixed"}},
            ),
            Wanted("ü".encode(), b"\xed\xb3\xbf", b"", "normal", 1767225600.25, None, {}),
        ):
            with self.subTest(wanted):
                line = to_json_line(wanted, "failed", 'the "worker" said no\n', b"H:vm:1")
                self.assertEqual(line.count(b"\n"), 1)
                [found] = from_json_lines([line], USUAL)
                self.assertEqual(found, Wanted(**{**vars(wanted), "place": "line 1"}))
        said = json.loads(to_json_line(Wanted(b"f"), "lost", "gone", None))
        self.assertEqual((said["outcome"], said["why"], "handle" in said), ("lost", "gone", False))

    def test_members_are_those_that_are_read(self) -> None:
        """The error that lists them lists all."""
        self.assertEqual(
            set(submitjobs.MEMBERS),
            {"function", "workload", "base64", "json", "unique", "priority", "when", "delay", "policy"},
        )
