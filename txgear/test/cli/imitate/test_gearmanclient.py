"""
Tests for L{txgear.cli.imitate.gearmanclient}.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from io import BytesIO
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.imitate.gearmanclient import Client, workloads
from txgear.cli.imitate.gearmanwords import read
from txgear.cli.imitate.libgearman import LOST, UNREACHABLE, Failure
from txgear.protocol.constants import (
    ERROR,
    JOB_CREATED,
    SUBMIT_JOB_HIGH_BG,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.protocol.packets import Decoder

Answers = Callable[[int, list[bytes]], list[tuple[int, list[bytes]]]]


class Server:
    """A connection to a server that answers at once."""

    def __init__(self, answers: Answers | None = None, trouble: str = "") -> None:
        self.received: deque[Any] = deque()
        self.submitted: list[tuple[int, list[bytes]]] = []
        self.trouble = trouble
        self._answers = answers

    def connect(self, timeout: float | None) -> None:
        if self.trouble == UNREACHABLE:
            raise Failure(UNREACHABLE, "nobody")

    def send(self, data: bytes) -> None:
        if self.trouble == LOST:
            raise Failure(LOST, "gone")
        for kind, arguments in Decoder().feed(data):
            self.submitted.append((kind, [bytes(each) for each in arguments]))
            if self._answers is not None:
                self.received.extend(self._answers(*self.submitted[-1]))

    def receive(self) -> None:
        raise Failure(LOST, "gone")


class Outputs:
    """Takes what would be shown."""

    def __init__(self) -> None:
        self.said: list[bytes] = []
        self.full = False

    def print(self, text: bytes) -> None:
        self.said.append(text)

    def write(self, text: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.said.append(text)

    def complain(self, text: bytes) -> None:
        self.said.append(b"!" + text)

    def flush(self) -> None:
        self.said.append(b"|")


def telling(*packets: tuple[int, list[bytes]]) -> Answers:
    """Make a job H, and tell this of it."""
    return lambda kind, arguments: [(JOB_CREATED, [b"H"]), *packets]


class ClientTests(SynchronousTestCase):
    def client(self, line: str, *servers: Server) -> Client:
        self.outputs = Outputs()
        return Client(servers, read(line.split()), self.outputs)  # type: ignore[arg-type]

    def test_all_that_is_told(self) -> None:
        """In order, with the function in front; packets of other jobs are nobody's."""
        server = Server(
            telling(
                (WORK_DATA, [b"OTHER", b"x"]),
                (WORK_DATA, [b"H", b"data"]),
                (WORK_WARNING, [b"H", b"warning"]),
                (WORK_STATUS, [b"H", b"1", b"3"]),
                (WORK_STATUS, [b"H", b"1", b"0"]),
                (WORK_COMPLETE, [b"H", b"result"]),
            )
        )
        client = self.client("-f f -P -v", server)
        client.submit(b"w")
        self.assertEqual(
            self.outputs.said,
            [
                *(b"Task created: H\n", b"f: ", b"|", b"data", b"!f: warning", b"f: 33% Complete\n"),
                *(b"f: 0% Complete\n", b"f: ", b"|", b"result"),
            ],
        )
        self.assertFalse(client.failed or client.troubled)

    def test_failures(self) -> None:
        """A fail is status 1, an exception where it is strict; a handle may have C's NUL at its end."""
        for line, packet, failed in (
            ("-f f", (WORK_FAIL, [b"H"]), True),
            ("-f f", (WORK_FAIL, [b"H\0"]), True),
            ("-f f", (WORK_EXCEPTION, [b"H", b"why"]), False),
            ("-f f --strict", (WORK_EXCEPTION, [b"H", b"why"]), True),
        ):
            client = self.client(line, Server(telling(packet)))
            client.submit(b"w")
            self.assertEqual(client.failed, failed)
            self.assertIn(self.outputs.said, ([b"!Job failed\n"], [b"!why"]))

    def test_packets(self) -> None:
        """The functions' jobs are sent last first, with uniques of 63 bytes at the most."""
        server = Server(telling())
        unique = "u" * 64
        self.client(f"-b -I -f f -f g -u {unique}", server).submit(b"w")
        wanted = [unique[:63].encode(), b"w"]
        self.assertEqual(server.submitted, [(SUBMIT_JOB_HIGH_BG, [name, *wanted]) for name in (b"g", b"f")])
        server = Server(telling())
        for line in ("-b -f f", "-b -f f -u #"):
            self.client(line, server).submit(b"hello")
        self.assertEqual(len(server.submitted[0][1][1]), 36)
        self.assertEqual(server.submitted[1][1][1], b"1067880409")

    def test_what_cannot_be_submitted(self) -> None:
        for line, workload in (
            ("-f " + "x" * 513, b"w"),
            ("-f f -u " + "x" * 65, b"w"),
            ("-f f", b""),
        ):
            server = Server(telling())
            client = self.client("-b " + line, server)
            client.submit(workload)
            self.assertEqual((server.submitted, client.troubled), ([], True))
            self.assertIn(
                b"gearman_client_add_task : add_task(GEARMAN_INVALID_ARGUMENT)", self.outputs.said[0]
            )
        server = Server(telling())
        self.client("-b -f f --strict", server).submit(b"")
        self.assertEqual(len(server.submitted), 1)

    def test_refused(self) -> None:
        """The error has the server's words; the job is forgotten, the others only where it is not strict."""

        def answers(kind: int, arguments: list[bytes]) -> list[tuple[int, list[bytes]]]:
            if arguments[0] == b"full":
                return [(ERROR, [b"QUEUE_ERROR", b"it is full"])]
            return [(JOB_CREATED, [b"H"]), (WORK_COMPLETE, [b"H", b"done"])]

        for line, said in (("", [b"!"]), ("--strict", [b"!", b"done"])):
            client = self.client(f"-f other -f full {line}", Server(answers))
            client.submit(b"w")
            self.assertIn(b"(GEARMAN_QUEUE_ERROR) QUEUE_ERROR:it is full ->", self.outputs.said[0])
            self.assertEqual([each if each == b"done" else b"!" for each in self.outputs.said], said)
            self.assertTrue(client.troubled)
        client = self.client("-f f", Server(lambda kind, arguments: [(ERROR, [b"ODD", b"x"])]))
        client.submit(b"w")
        self.assertIn(b"(GEARMAN_SERVER_ERROR) ODD:x", self.outputs.said[0])

    def test_servers(self) -> None:
        """The first that answers gets all; where none does that is said each time, and tried again."""
        down, up = Server(trouble=UNREACHABLE), Server(telling())
        self.client("-b -f f", down, up).submit(b"w")
        self.assertEqual((down.submitted, len(up.submitted)), ([], 1))
        client = self.client("-b -f f", down)
        client.submit(b"a")
        client.submit(b"b")
        self.assertEqual(self.outputs.said, [b"!gearman: gearman_client_run_tasks : nobody\n"] * 2)
        down.trouble, down._answers = "", telling()
        client.submit(b"c")
        self.assertEqual([arguments[2] for _, arguments in down.submitted], [b"c", b"b", b"a"])

    def test_lost(self) -> None:
        """What a lost server had is forgotten, so that the next job is not waited for in vain."""
        server = Server(trouble=LOST)
        client = self.client("-f f", server)
        client.submit(b"a")
        server.trouble, server._answers = "", telling((WORK_COMPLETE, [b"H", b"r"]))
        client.submit(b"b")
        self.assertEqual(self.outputs.said, [b"!gearman: gearman_client_run_tasks : gone\n", b"r"])

    def test_nobody_reads(self) -> None:
        client = self.client("-f f", Server(telling((WORK_COMPLETE, [b"H", b"r"]))))
        self.outputs.full = True
        client.submit(b"w")
        self.assertTrue(client.troubled)
        self.assertEqual(
            self.outputs.said, [b"!gearman: gearman_client_run_tasks : write (No space left on device)\n"]
        )


class WorkloadsTests(SynchronousTestCase):
    def made(self, line: str, stdin: bytes = b"") -> list[bytes | None]:
        return list(workloads(read(line.split()), BytesIO(stdin)))

    def test_all(self) -> None:
        self.assertEqual(self.made("one two"), [b"one", b"two"])
        self.assertEqual(self.made("-s", b"x"), [None])
        self.assertEqual(self.made("", b"a\nb"), [b"a\nb"])
        self.assertEqual(self.made(""), [None])
        self.assertEqual(self.made(os.fsdecode(b"\xff")), [b"\xff"])

    def test_lines(self) -> None:
        """As C has them, and as they are."""
        text = b"a\0b\n\n" + b"x" * 8192 + b"\nlast"
        long = b"x" * 8191
        self.assertEqual(self.made("-n", text), [b"a", b"\n", long, b"x\n", b"last"])
        self.assertEqual(self.made("-N", text), [b"", b"", long[1:], b"x", b"las"])
        self.assertEqual(self.made("--strict -N", text), [b"a\0b", b"", long + b"x", b"last"])
        self.assertEqual(self.made("--strict -n", text), [b"a\0b\n", b"\n", long + b"x\n", b"last"])
