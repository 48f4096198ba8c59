"""
Tests for L{txgear.daemon.predecessor}.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear._version import __version__
from txgear.daemon.predecessor import (
    ANSWER_SECONDS,
    PROTOCOL,
    RELEASE_SECONDS,
    Channel,
    Predecessor,
    check_place,
    connect,
    find_predecessor,
)
from txgear.errors import ConfigurationError

GREETING = {
    "handover": PROTOCOL,
    "version": "9",
    "pid": 7,
    "store": "sqlite:////x",
    "sockets": 0,
    "pid_file": 0,
}


class FakeSocket:
    """
    A connection to an old server that says what it is to say, and then nothing, or hangs up.

    @ivar heard: what it was told, line by line.
    """

    def __init__(self, *said: bytes | dict[str, Any] | Exception, uid: int | None = None) -> None:
        self.said = list(said)
        self.descriptors: dict[int, list[int]] = {}
        self.heard: list[dict[str, Any]] = []
        self.uid = os.geteuid() if uid is None else uid
        self.closed = False
        self.timeouts: list[float] = []
        self.gone = False

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert option == socket.SO_PEERCRED
        return struct.pack("=iII", 7, self.uid, 0)

    def settimeout(self, seconds: float) -> None:
        self.timeouts.append(seconds)

    def sendall(self, data: bytes) -> None:
        if self.gone:
            raise BrokenPipeError
        self.heard += map(json.loads, data.splitlines())

    def recvmsg(self, size: int, ancillary: int, flags: int) -> tuple[bytes, list[Any], int, None]:
        assert flags == socket.MSG_CMSG_CLOEXEC
        left = len(self.said)
        said = self.said.pop(0)
        if isinstance(said, Exception):
            raise said
        data = said if isinstance(said, bytes) else json.dumps(said).encode() + b"\n"
        numbers = array.array("i", self.descriptors.get(left, []))
        return data, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers.tobytes())] if numbers else [], 0, None

    def close(self) -> None:
        self.closed = True


class PredecessorTestCase(SynchronousTestCase):
    """
    @ivar slept: seconds between looks.
    """

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir(0o700)
        os.chmod(folder, 0o700)
        # A path that is short enough, wherever the tests run.
        self.path = os.path.relpath(folder / "s")
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def find(self, *sockets: FakeSocket | OSError | None) -> Predecessor | None:
        """Look for a server, where each attempt to connect gives the next of these."""
        left = list(sockets)

        def connect(path: str) -> Any:
            found = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(found, OSError):
                raise found
            return found

        return find_predecessor(self.path, connect, lambda: self.now, self.sleep)

    def refusal(self, *sockets: FakeSocket | OSError | None) -> str:
        error = self.assertRaises(ConfigurationError, self.find, *sockets)
        for sock in sockets:
            if isinstance(sock, FakeSocket):
                self.assertTrue(sock.closed)
        prefix = f"--handover {self.path}: "
        self.assertTrue(str(error).startswith(prefix), str(error))
        return str(error).removeprefix(prefix)

    def pipe(self) -> tuple[int, int]:
        """The ends of a pipe, closed with the test if they are open still."""
        ends = os.pipe()
        for end in ends:
            self.addCleanup(self.close_open, end)
        return ends

    def close_open(self, descriptor: int) -> None:
        try:
            os.close(descriptor)
        except OSError:
            return


class FindTests(PredecessorTestCase):
    """Looking for a server that runs."""

    def test_none(self) -> None:
        self.assertIsNone(self.find(None))

    def test_greeting(self) -> None:
        """Both sides say who they are; the answer may come in pieces."""
        text = json.dumps(GREETING).encode()
        sock = FakeSocket(text[:5], text[5:], b"\n")
        found = self.find(sock)
        assert found is not None
        self.assertEqual(
            (found.pid, found.store, found.sockets, found.pid_file), (7, "sqlite:////x", [], None)
        )
        self.assertEqual(sock.heard, [{"handover": PROTOCOL, "version": __version__, "pid": os.getpid()}])
        found.give_up()
        self.assertTrue(sock.closed)

    def test_descriptors(self) -> None:
        """They may come ahead of the lines that say what they are."""
        listener = socket.socket(socket.AF_INET6)
        self.addCleanup(listener.close)
        read, _ = self.pipe()
        sock = FakeSocket(
            {**GREETING, "sockets": 1, "pid_file": 1},
            {"kind": "tcp", "where": "::1", "port": 4730},
            {"kind": "pid-file", "where": "/run/pid", "port": 0},
        )
        passed = [os.dup(listener.fileno()), os.dup(read)]
        sock.descriptors = {3: passed[:1], 2: passed[1:]}
        found = self.find(sock)
        assert found is not None
        [own] = found.sockets
        self.assertEqual((own.place, own.is_owner), (("tcp", "::1", 4730), False))
        self.assertEqual(own.socket.family, socket.AF_INET6)
        self.assertEqual(found.pid_file, ("/run/pid", passed[1]))
        found.give_up()
        for descriptor in passed:
            self.assertRaises(OSError, os.fstat, descriptor)

    def test_missing_descriptor(self) -> None:
        """Nothing stays open of what makes no sense."""
        sock = FakeSocket({**GREETING, "sockets": 1}, {"kind": "tcp", "where": "::1", "port": 4730})
        self.assertEqual(self.refusal(sock), "what listens there is no txgear")

    def test_left_descriptors(self) -> None:
        read, _ = self.pipe()
        sock = FakeSocket(b"[]\n")
        sock.descriptors = {1: [read]}
        self.assertEqual(self.refusal(sock), "what listens there is no txgear")
        self.assertRaises(OSError, os.fstat, read)

    def test_refused(self) -> None:
        self.assertEqual(
            self.refusal(FakeSocket({"refused": "the server there drains"})), "the server there drains"
        )

    def test_other_version(self) -> None:
        sock = FakeSocket({**GREETING, "handover": PROTOCOL + 1})
        self.assertEqual(
            self.refusal(sock), "the server there, txgear 9, hands over in another way: stop it first"
        )

    def test_no_txgear(self) -> None:
        for said in (b"220 smtp\n", b"[1]\n", b"{}\n", b"[" * 100_000 + b"\n"):
            self.assertEqual(self.refusal(FakeSocket(said)), "what listens there is no txgear", said[:10])

    def test_another_user(self) -> None:
        if os.geteuid() == 12345:
            self.fail("the tests run as a user that is meant to be another one")
        sock = FakeSocket(uid=12345)
        self.assertEqual(self.refusal(sock), "it is another user who listens there")
        self.assertEqual(sock.heard, [])

    def test_no_answer(self) -> None:
        self.assertEqual(
            self.refusal(FakeSocket(TimeoutError())), "the server there does not answer within 5 seconds"
        )

    def test_error(self) -> None:
        self.assertEqual(self.refusal(PermissionError(13, "Permission denied")), "Permission denied")

    def test_just_replaced(self) -> None:
        """A server that has just given way hangs up: the next one is at the same path."""
        for end in (b"", ConnectionResetError()):
            self.slept.clear()
            found = self.find(FakeSocket(end), FakeSocket(GREETING))
            self.assertIsNotNone(found)
            self.assertEqual(len(self.slept), 1)
        self.slept.clear()
        self.assertIsNone(self.find(FakeSocket(b""), None))

    def test_hangs_up(self) -> None:
        """It is not looked for for ever."""

        class Ends(FakeSocket):
            def recvmsg(self, size: int, ancillary: int, flags: int) -> tuple[bytes, list[Any], int, None]:
                return b"", [], 0, None

        self.assertEqual(self.refusal(Ends()), "the server there hangs up")
        self.assertGreaterEqual(self.now, ANSWER_SECONDS)
        self.assertLess(self.now, ANSWER_SECONDS + 1)

    def test_connect(self) -> None:
        """Where nothing is, nobody listens; another mistake is one."""
        self.assertIsNone(connect(self.path))
        Path(self.path).touch()
        self.assertRaises(OSError, connect, f"{self.path}/below")


class TakeOverTests(PredecessorTestCase):
    """Having it end."""

    def found(self, *said: bytes | dict[str, Any] | Exception) -> tuple[Predecessor, FakeSocket]:
        sock = FakeSocket(*said)
        channel: Any = Channel(sock, lambda: self.now)  # type: ignore[arg-type]
        return Predecessor("/run/s", channel, dict(GREETING)), sock

    def test_released(self) -> None:
        found, sock = self.found({"released": True})
        found.end()
        self.assertEqual(sock.timeouts, [RELEASE_SECONDS])
        found.done(True)
        self.assertEqual(sock.heard, [{"end": True}, {"done": True, "pid_file": True}])
        self.assertTrue(sock.closed)

    def test_dead(self) -> None:
        """One that is no more has let go of everything."""
        for end in (b"", ConnectionResetError()):
            found, sock = self.found(end)
            sock.gone = True
            found.end()
            found.done(False)
            self.assertTrue(sock.closed)

    def test_too_slow(self) -> None:
        found, _ = self.found(TimeoutError())
        error = self.assertRaises(ConfigurationError, found.end)
        self.assertEqual(
            str(error),
            "--handover /run/s: the server there, process 7, has not let go of its store within 5 seconds;"
            " it goes on",
        )

    def test_refused(self) -> None:
        found, _ = self.found({"refused": "the server there drains"})
        error = self.assertRaises(ConfigurationError, found.end)
        self.assertEqual(str(error), "--handover /run/s: the server there drains")


class PlaceTests(PredecessorTestCase):
    """Where the socket may be."""

    def refusal_of(self, path: str) -> str:
        return str(self.assertRaises(ConfigurationError, check_place, path))

    def with_mode(self, mode: int) -> Callable[[], None]:
        folder = os.path.dirname(self.path)
        os.chmod(folder, mode)
        return lambda: check_place(self.path)

    def test_folder(self) -> None:
        """Only its user may write to the folder; who may read it is all the same."""
        for mode in (0o700, 0o755):
            self.with_mode(mode)()
        for mode in (0o770, 0o777, 0o1777, 0o702):
            error = self.assertRaises(ConfigurationError, self.with_mode(mode))
            self.assertIn("is not for this user alone to write", str(error))

    def test_no_folder(self) -> None:
        self.assertIn("the folder /nosuch: No such file", self.refusal_of("/nosuch/s"))
        Path(self.path).touch()
        self.assertIn("is no folder", self.refusal_of(f"{self.path}/s"))
        self.assertIn("it is a file, and no socket", self.refusal_of(self.path))

    def test_long(self) -> None:
        self.assertIn("more than 90 bytes", self.refusal_of("/" + "x" * 90))
