"""
Tests for L{txgear.cli.imitate.gearmanworker}.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.imitate.gearmanwords import read
from txgear.cli.imitate.gearmanworker import PAUSE, Worker
from txgear.cli.imitate.libgearman import LOST, UNREACHABLE, Failure
from txgear.protocol.constants import (
    CAN_DO,
    ERROR,
    GRAB_JOB_ALL,
    JOB_ASSIGN_ALL,
    NO_JOB,
    NOOP,
    PRE_SLEEP,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_FAIL,
)
from txgear.protocol.packets import Decoder
from txgear.test.cli.imitate.test_gearmanclient import Outputs


class Server:
    """A connection to a server with jobs, which answers at once, and wakes a worker when it sleeps."""

    def __init__(self, *jobs: bytes, down: int = 0, ends: bool = False, first: Any = ()) -> None:
        """
        @param down: how often it cannot be reached.
        @param ends: whether it goes when a result is sent.
        @param first: packets that come in front of the first answer.
        """
        self.received: deque[Any] = deque(first)
        self.heard: list[Any] = []
        self.jobs = list(jobs)
        self.down = down
        self.ends = ends
        self.connected = False

    def connect(self, timeout: float | None) -> None:
        if self.down:
            self.down -= 1
            raise Failure(UNREACHABLE, "nobody")
        self.connected = True

    def send(self, data: bytes) -> None:
        for kind, arguments in Decoder().feed(data):
            self.heard.append((kind, [bytes(each) for each in arguments]))
            if len(self.heard) > 100:
                raise AssertionError("it never ends")
            if kind == GRAB_JOB_ALL:
                self._grabbed()
            elif kind == PRE_SLEEP:
                self.received.append((NOOP, []))
            elif kind in (WORK_COMPLETE, WORK_DATA, WORK_FAIL) and self.ends:
                self.connected = self.ends = False
                raise Failure(LOST, "gone")

    def receive(self) -> None:
        raise AssertionError("there is nothing to wait for")

    def _grabbed(self) -> None:
        if self.jobs:
            self.received.append((JOB_ASSIGN_ALL, [b"H", b"f", b"u", b"", self.jobs.pop(0)]))
        else:
            self.received.append((NO_JOB, []))

    def told(self) -> list[Any]:
        """What it was told of jobs."""
        return [each for each in self.heard if each[0] not in (CAN_DO, GRAB_JOB_ALL, PRE_SLEEP)]


class WorkerTests(SynchronousTestCase):
    def ran(self, words: list[str], *servers: Server) -> Worker:
        """A worker that has run to its end."""
        self.outputs = Outputs()
        self.slept: list[float] = []
        worker = Worker(servers, read(["-f", "f", *words]), self.outputs, self.slept.append)  # type: ignore[arg-type]
        worker.run()
        return worker

    def test_without_a_command(self) -> None:
        server = Server(b"w")
        worker = self.ran(["-c", "1"], server)
        self.assertEqual(server.told(), [(WORK_COMPLETE, [b"H", b""])])
        self.assertEqual((self.outputs.said, worker.troubled), ([b"w"], False))

    def test_abilities(self) -> None:
        """The last function comes first, as libgearman has it."""
        server = Server(b"w")
        self.ran(["-f", "g", "-c", "1"], server)
        self.assertEqual(server.heard[:3], [(CAN_DO, [b"g"]), (CAN_DO, [b"f"]), (GRAB_JOB_ALL, [])])

    def test_functions_that_cannot_be(self) -> None:
        for name in ("", "x" * 513):
            error = self.assertRaises(Failure, Worker, (), read(["-f", name]), None)
            self.assertIn("_worker_function_create(GEARMAN_INVALID_ARGUMENT)", error.text)

    def test_command(self) -> None:
        server = Server(b"abc")
        self.ran(["-c", "1", "tr", "a-z", "A-Z"], server)
        self.assertEqual(server.told(), [(WORK_COMPLETE, [b"H", b"ABC"])])

    def test_failing_command(self) -> None:
        """It counts twice, with a line that says nothing; where it is strict neither."""
        command = ["--", "sh", "-c", "printf part; exit 3"]
        told = [(WORK_DATA, [b"H", b"part"]), (WORK_FAIL, [b"H"])]
        server = Server(b"1", b"2")
        self.ran(["-c", "2", *command], server)
        self.assertEqual(server.told(), told)
        self.assertEqual(self.outputs.said, [b"!gearman: gearman_worker_work : GEARMAN_UNKNOWN_STATE\n"])
        server = Server(b"1", b"2")
        worker = self.ran(["--strict", "-c", "2", *command], server)
        self.assertEqual(server.told(), told * 2)
        self.assertEqual((self.outputs.said, worker.troubled), ([], False))

    def test_signal(self) -> None:
        """A command that a signal has ended succeeds, unless it is strict."""
        for strict, told in (([], WORK_COMPLETE), (["--strict"], WORK_FAIL)):
            server = Server(b"1")
            self.ran(["-c", "1", *strict, "--", "sh", "-c", "kill -9 $$"], server)
            self.assertEqual([kind for kind, _ in server.told()], [told])

    def test_no_such_command(self) -> None:
        for strict, told in (([], WORK_COMPLETE), (["--strict"], WORK_FAIL)):
            server = Server(b"1")
            worker = self.ran(["-c", "1", *strict, "/nonexistent"], server)
            self.assertEqual([kind for kind, _ in server.told()], [told])
            self.assertTrue(worker.troubled)

    def test_lines(self) -> None:
        """As the C tool sends them, and as they are."""
        for option, data in (
            ("-n", [b"a\n", b"a\nb\n", b"a\nb\nlast"]),
            ("-N", [b"a", b"a\nb", b"a\nb\nlas"]),
            ("-n --strict", [b"a\n", b"b\n", b"last"]),
            ("-N --strict", [b"a", b"b", b"last"]),
        ):
            server = Server(b"1")
            self.ran(["-c", "1", *option.split(), "--", "printf", "a\\nb\\nlast"], server)
            self.assertEqual([arguments[1] for kind, arguments in server.told()], [*data, b""], option)

    def test_lost_while_it_runs(self) -> None:
        """The job is another's then; it counts."""
        server = Server(b"1", ends=True)
        worker = self.ran(["-n", "-c", "1", "echo"], server)
        said = b"!gearman: gearman_job_send_data() failed with : GEARMAN_LOST_CONNECTION\n"
        self.assertEqual((self.outputs.said, worker.troubled), ([said], True))
        self.ran(["-c", "1", "echo"], Server(b"1", ends=True))
        self.assertEqual(self.outputs.said, [])

    def test_no_server(self) -> None:
        """Each try is said and counts, and there is a pause between two."""
        worker = self.ran(["-c", "2"], Server(down=2))
        self.assertEqual(self.outputs.said, [b"!gearman: gearman_worker_work : nobody\n"] * 2)
        self.assertEqual((self.slept, worker.troubled), ([PAUSE], True))

    def test_lost(self) -> None:
        """It is connected again after a pause; with a timeout that is an error, and counts."""
        for words, said in (([], []), (["-t", "20"], [b"Option timeout return reached"])):
            server = Server(b"1")
            fails = [1]

            def grabbed(server: Server = server, fails: list[int] = fails) -> None:
                if fails:
                    fails.clear()
                    server.connected = False
                    raise Failure(LOST, "gone")
                Server._grabbed(server)

            server._grabbed = grabbed  # type: ignore[method-assign]
            self.ran(["-c", "2" if words else "1", *words], server)
            self.assertEqual(len(server.told()), 1)
            self.assertEqual(self.slept, [0.02 if words else PAUSE])
            found = [each for each in self.outputs.said if each.startswith(b"!")]
            self.assertEqual(
                [text in each for text, each in zip(said, found, strict=True)], [True] * len(said)
            )

    def test_several_servers(self) -> None:
        """One that is down is passed over; the one that had a job is asked again first."""
        down, first, second = Server(down=9), Server(), Server(b"1", b"2")
        self.ran(["-c", "2"], down, first, second)
        self.assertEqual(len(second.told()), 2)
        self.assertEqual([kind for kind, _ in first.heard].count(GRAB_JOB_ALL), 1)

    def test_sleeps_and_wakes(self) -> None:
        """NO_JOB is followed by PRE_SLEEP, and that by another look."""
        server = Server()
        server.jobs = []
        looked: list[int] = []

        def grabbed() -> None:
            looked.append(1)
            if len(looked) == 2:
                server.jobs.append(b"1")
            Server._grabbed(server)

        server._grabbed = grabbed  # type: ignore[method-assign]
        self.ran(["-c", "1"], server)
        self.assertEqual([kind for kind, _ in server.heard][1:4], [GRAB_JOB_ALL, PRE_SLEEP, GRAB_JOB_ALL])

    def test_unexpected(self) -> None:
        """An ERROR is said, and counts."""
        server = Server(b"1", first=[(ERROR, [b"DENIED", b"x"])])
        self.ran(["-c", "2"], server)
        self.assertIn(
            b"gearman_worker_grab_job(GEARMAN_UNEXPECTED_PACKET) unexpected packet:GEARMAN_ERROR ->",
            self.outputs.said[0],
        )
        self.assertEqual(len(server.told()), 1)
