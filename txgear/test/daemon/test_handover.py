"""
Tests for L{txgear.daemon.handover}.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.handover import HandOver, HandOverConnection, HandOverFactory, Offer
from txgear.daemon.predecessor import ANSWER_SECONDS, PROTOCOL, PidFileOffer
from txgear.errors import ConfigurationError
from txgear.net.ownports import OwnSocket, Place


class FakeGiver:
    """
    A server that hands over.

    @ivar did: what it was told.
    @ivar refuses: why it does not.
    """

    def __init__(self) -> None:
        self.did: list[object] = []
        self.refuses: str | None = None
        self.sockets: list[OwnSocket] = []
        self.pid_file: PidFileOffer | None = None
        self.released: Callable[[], None] | None = None
        self.stopped: Deferred[None] = Deferred()

    def offer(self) -> Offer:
        if self.refuses is not None:
            raise ConfigurationError(self.refuses)
        return Offer("sqlite:////x", self.sockets, self.pid_file)

    def give_way(self, released: Callable[[], None]) -> Deferred[None]:
        self.offer()
        self.released = released
        self.did.append("give way")
        return self.stopped

    def go_on(self) -> None:
        self.did.append("go on")

    def leave(self, has_pid_file: bool) -> None:
        self.did.append(("leave", has_pid_file))


class FakeHandle:
    """A socket that knows who has connected, or a number."""

    def __init__(self, uid: int = 0, number: int = 0) -> None:
        self.uid = uid
        self.number = number

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return struct.pack("=iII", 9, self.uid, 0)

    def fileno(self) -> int:
        return self.number


class FakeTransport(StringTransport):
    """
    A connection over a Unix socket.

    @ivar descriptors: what was sent with how many bytes before.
    """

    def __init__(self, uid: int) -> None:
        super().__init__()
        self.uid = uid
        self.descriptors: list[int] = []

    def getHandle(self) -> FakeHandle:  # noqa: N802
        return FakeHandle(self.uid)

    def sendFileDescriptor(self, number: int) -> None:  # noqa: N802
        self.descriptors.append(number)


class FakePredecessor:
    """An old server."""

    def __init__(self) -> None:
        self.pid = 7
        self.store = "sqlite:////x"
        self.sockets = [OwnSocket(Place("tcp", "::1", 1), FakeHandle())]  # type: ignore[arg-type]
        self.did: list[object] = []

    def end(self) -> None:
        self.did.append("end")

    def done(self, has_pid_file: bool) -> None:
        self.did.append(("done", has_pid_file))

    def give_up(self) -> None:
        self.did.append("give up")


class HandOverTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="txgear-")
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "s"
        self.reactor: Any = MemoryReactorClock()
        self.giver = FakeGiver()
        self.predecessor: FakePredecessor | None = None
        find: Any = lambda path: self.predecessor  # noqa: E731
        self.handover = HandOver(self.reactor, str(self.path), self.giver, find)
        self.addCleanup(self.handover.close)


class NewServerTests(HandOverTestCase):
    """The one that takes over."""

    def test_alone(self) -> None:
        """Where no server runs there is nothing to do."""
        self.assertEqual(self.handover.find(), [])
        self.assertFalse(self.handover.has_store("sqlite:////x"))
        self.handover.take_over()
        self.handover.started(False)
        self.handover.not_started()

    def test_taken_over(self) -> None:
        predecessor = self.predecessor = FakePredecessor()
        self.assertEqual(self.handover.find(), predecessor.sockets)
        self.assertTrue(self.handover.has_store("sqlite:////x"))
        self.assertFalse(self.handover.has_store(None))
        self.handover.take_over()
        self.handover.started(True)
        self.handover.not_started()
        self.assertEqual(predecessor.did, ["end", ("done", True)])

    def test_not_started(self) -> None:
        predecessor = self.predecessor = FakePredecessor()
        self.handover.find()
        self.handover.listen()
        self.handover.not_started()
        self.assertEqual(predecessor.did, ["give up"])
        self.assertEqual(self.reactor.readers, set())

    def test_kept(self) -> None:
        """Who goes on has sockets, and looks for nobody; once."""
        sockets = [OwnSocket(Place("tcp", "::1", 1), FakeHandle())]  # type: ignore[arg-type]
        self.handover.keep(sockets)
        self.predecessor = FakePredecessor()
        self.assertIs(self.handover.find(), sockets)
        self.assertEqual(self.handover.find(), self.predecessor.sockets)


class PathTests(HandOverTestCase):
    """The socket at the path."""

    def inode(self) -> int:
        return self.path.stat().st_ino

    def test_listen(self) -> None:
        """It is for its user alone, takes the place of any that is there, and goes in the end."""
        os.mknod(self.path, 0o140666)
        self.handover.listen()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual([each.name for each in self.path.parent.iterdir()], ["s"])
        [port] = self.reactor.readers
        self.assertIsInstance(port.factory, HandOverFactory)
        self.assertIsInstance(port.factory.buildProtocol(None), HandOverConnection)
        self.handover.close()
        self.assertFalse(self.path.exists())
        self.assertEqual(self.reactor.readers, set())

    def test_again(self) -> None:
        """Who goes on is found again, whatever is at the path."""
        self.handover.listen()
        before = self.inode()
        self.handover.listen()
        self.assertNotEqual(self.inode(), before)
        self.assertEqual(len(self.reactor.readers), 1)

    def test_another_s(self) -> None:
        """The socket of the next server stays."""
        self.handover.listen()
        self.path.unlink()
        self.path.touch()
        self.handover.close()
        self.assertTrue(self.path.exists())

    def test_impossible(self) -> None:
        self.path.mkdir()
        error = self.assertRaises(ConfigurationError, self.handover.listen)
        self.assertIn(f"--handover {self.path}: ", str(error))


class OldServerTests(HandOverTestCase):
    """The one that gives way."""

    def connect(self, uid: int | None = None) -> tuple[HandOverConnection, FakeTransport]:
        connection = HandOverConnection(self.handover)
        transport = FakeTransport(os.geteuid() if uid is None else uid)
        connection.makeConnection(transport)
        return connection, transport

    def tell(self, connection: HandOverConnection, **message: Any) -> None:
        connection.dataReceived(json.dumps(message).encode() + b"\n")

    def heard(self, transport: FakeTransport) -> list[dict[str, Any]]:
        lines = list(map(json.loads, transport.value().splitlines()))
        transport.clear()
        return lines

    def greeted(self, pid: int = 9) -> tuple[HandOverConnection, FakeTransport]:
        connection, transport = self.connect()
        self.tell(connection, handover=PROTOCOL, version="9", pid=pid)
        return connection, transport

    def lose(self, connection: HandOverConnection) -> None:
        connection.connectionLost(Failure(ConnectionDone()))

    def test_offer(self) -> None:
        """The new server gets what there is, each with what it is for."""
        places = [Place("tcp", "127.0.0.1", 0), Place("unix", "/run/gear")]
        handles: list[Any] = [FakeHandle(number=11), FakeHandle(number=12)]
        self.giver.sockets = list(map(OwnSocket, places, handles))
        self.giver.pid_file = PidFileOffer("/run/pid", 13)
        _, transport = self.greeted()
        first, *others = self.heard(transport)
        self.assertEqual(
            (first["handover"], first["store"], first["sockets"], first["pid_file"], first["pid"]),
            (PROTOCOL, "sqlite:////x", 2, 1, os.getpid()),
        )
        self.assertEqual(
            others,
            [
                {"kind": "tcp", "where": "127.0.0.1", "port": 0},
                {"kind": "unix", "where": "/run/gear", "port": 0},
                {"kind": "pid-file", "where": "/run/pid", "port": 0},
            ],
        )
        self.assertEqual(transport.descriptors, [11, 12, 13])
        self.assertEqual(self.giver.did, [])

    def test_whole(self) -> None:
        """It stops when it is told to, says when the store is free, and ends when the other one serves."""
        connection, transport = self.greeted()
        self.heard(transport)
        self.tell(connection, end=True)
        self.assertEqual(self.giver.did, ["give way"])
        self.assertEqual(self.heard(transport), [])
        assert self.giver.released is not None
        self.giver.released()
        self.assertEqual(self.heard(transport), [{"released": True}])
        self.tell(connection, done=True, pid_file=True)
        self.lose(connection)
        # Some peers have not hung up yet.
        self.assertEqual(self.giver.did, ["give way"])
        self.giver.stopped.callback(None)
        self.assertEqual(self.giver.did, ["give way", ("leave", True)])

    def test_fails_early(self) -> None:
        """A new server that goes before it has told the old one to end has changed nothing."""
        connection, _ = self.greeted()
        self.lose(connection)
        self.assertEqual(self.giver.did, [])
        self.assertIsNone(self.handover.successor)
        _, transport = self.greeted()
        self.assertIn("handover", self.heard(transport)[0])

    def test_fails_late(self) -> None:
        """Later the old server starts again, when it has stopped."""
        connection, _ = self.greeted()
        self.tell(connection, end=True)
        self.lose(connection)
        self.assertEqual(self.giver.did, ["give way"])
        self.giver.stopped.callback(None)
        self.assertEqual(self.giver.did, ["give way", "go on"])
        self.assertIsNone(self.handover.successor)

    def test_a_defect(self) -> None:
        """It starts again as well if its end has met a defect."""
        connection, _ = self.greeted()
        self.tell(connection, end=True)
        self.lose(connection)
        self.giver.stopped.errback(Failure(ZeroDivisionError()))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.giver.did, ["give way", "go on"])

    def test_two(self) -> None:
        """The second one is told; once the first has gone, the next one may."""
        first, _ = self.greeted(pid=21)
        second, transport = self.greeted(pid=22)
        self.assertEqual(self.heard(transport), [{"refused": "process 21 takes over at this moment"}])
        self.assertTrue(transport.disconnecting)
        self.lose(second)
        self.assertIs(self.handover.successor, first)

    def test_not_now(self) -> None:
        """One that drains, or has lost its store, says so; also if that is so by now only."""
        self.giver.refuses = "the server there drains"
        connection, transport = self.greeted()
        self.assertEqual(self.heard(transport), [{"refused": "the server there drains"}])
        self.giver.refuses = None
        connection, transport = self.greeted()
        self.heard(transport)
        self.giver.refuses = "the server there drains"
        self.tell(connection, end=True)
        self.assertEqual(self.heard(transport), [{"refused": "the server there drains"}])
        self.lose(connection)
        self.assertEqual(self.giver.did, [])

    def test_other_version(self) -> None:
        connection, transport = self.connect()
        self.tell(connection, handover=PROTOCOL + 1, version="99", pid=9)
        [answer] = self.heard(transport)
        self.assertIn("hands over in another way: stop it first", answer["refused"])
        self.assertIsNone(self.handover.successor)

    def test_another_user(self) -> None:
        """Nobody else is given a socket, nor heard."""
        connection, transport = self.connect(uid=12345)
        self.assertTrue(transport.disconnecting)
        self.tell(connection, handover=PROTOCOL, version="9", pid=9)
        self.assertEqual((transport.value(), transport.descriptors), (b"", []))
        self.lose(connection)

    def test_root(self) -> None:
        connection, transport = self.connect(uid=0)
        self.assertFalse(transport.disconnecting)
        self.lose(connection)

    def test_silent(self) -> None:
        connection, transport = self.connect()
        self.reactor.advance(ANSWER_SECONDS)
        self.assertTrue(transport.disconnecting)
        self.lose(connection)
        connection, transport = self.connect()
        self.lose(connection)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_nonsense(self) -> None:
        """What makes no sense ends the connection, and nothing else."""
        for line in (b"hello", b"[]", b"{}", b'{"handover": 1, "pid": "x"}', b"1", b"[" * 10_000):
            connection, transport = self.connect()
            connection.dataReceived(line + b"\n")
            self.assertTrue(transport.disconnecting, line)
            self.lose(connection)
        connection, transport = self.connect()
        connection.dataReceived(b"x" * 20_000)
        self.assertTrue(transport.disconnecting)
        self.lose(connection)

    def test_out_of_order(self) -> None:
        """Nobody is done before the old server has been told to end."""
        connection, transport = self.greeted()
        self.heard(transport)
        self.tell(connection, done=True, pid_file=False)
        self.assertTrue(transport.disconnecting)
        self.lose(connection)
        self.assertEqual(self.giver.did, [])
