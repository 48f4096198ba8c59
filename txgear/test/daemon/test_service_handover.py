"""
Tests for L{txgear.daemon.service} and L{txgear.daemon.process}: a server takes the place of another one, and
gives way to the next.
"""

from __future__ import annotations

import atexit
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent

from txgear.daemon.handover import HandOver
from txgear.daemon.options import Options
from txgear.daemon.pidfile import PidFile
from txgear.daemon.predecessor import PidFileOffer
from txgear.daemon.process import ProcessService
from txgear.daemon.service import ServerService
from txgear.daemon.startup import NotStarted, StandardError
from txgear.errors import ConfigurationError, StoreUnusable
from txgear.net.ownports import OwnSocket, Place
from txgear.protocol.constants import ECHO_REQ, ECHO_RES, JOB_CREATED, SUBMIT_JOB_BG
from txgear.protocol.packets import request, response
from txgear.test.daemon.test_process import ProcessTestCase
from txgear.test.daemon.test_service import ServiceTestCase
from txgear.test.support.journal import FaultyStore

PLACE = Place("tcp", "127.0.0.1", 0)


class OldServer:
    """
    A server whose place is taken.

    @ivar did: what it was asked, and what the store of the new one was asked meanwhile.
    """

    def __init__(self, store: str | None, steps: list[str]) -> None:
        self.pid = 7
        self.store = store
        self.steps = steps
        self.refuses: str | None = None
        self.pid_file: PidFileOffer | None = None
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.sockets = [OwnSocket(PLACE, self.listener, is_owner=False)]

    def end(self) -> None:
        self.steps.append("end")
        if self.refuses is not None:
            raise ConfigurationError(self.refuses)

    def done(self, has_pid_file: bool) -> None:
        self.steps.append("done with the pid file" if has_pid_file else "done")

    def give_up(self) -> None:
        self.steps.append("give up")


class StoreWithSteps(FaultyStore):
    """
    @ivar steps: where it notes that it is opened.
    """

    steps: list[str]

    def open(self) -> None:
        self.steps.append("open")
        super().open()


class HandOverTestCase(ServiceTestCase):
    """
    @ivar folder: where the socket is.
    """

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="txgear-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.words = [f"--handover={self.folder / 's'}", "--listen=127.0.0.1", "--port=0"]
        self.steps: list[str] = []

    def store(self) -> StoreWithSteps:
        store = StoreWithSteps()
        store.steps = self.steps
        return store

    def prepared(self, store: StoreWithSteps | None = None, old: OldServer | None = None) -> ServerService:
        """A service that is not started."""
        service = self.service(*self.words, store=store)
        find: Any = lambda path: old  # noqa: E731
        service._handover = HandOver(self.reactor, str(self.folder / "s"), service, find)
        self.addCleanup(self.close, service)
        if old is not None:
            self.addCleanup(old.listener.close)
        return service

    def close(self, service: ServerService) -> None:
        service.scheduler.stop()
        service.server.stop()
        service.leave(False)
        assert service._handover is not None
        service._handover.close()

    def listens(self, service: ServerService) -> list[Place]:
        own = service._open.own
        return [] if own is None else [each.place for each in own.sockets]


class TakeOverTests(HandOverTestCase):
    """The new server."""

    def test_order(self) -> None:
        """What may fail comes before the old server is told to end, and the store after it."""
        store = self.store()
        old = OldServer(store.name, self.steps)
        service = self.prepared(store, old)
        service.startService()
        self.assertEqual(self.steps, ["end", "open", "done"])
        self.assertEqual(len(self.reactor.adoptedPorts), 1)
        self.assertEqual(self.listens(service), [PLACE])
        self.assertTrue(old.sockets[0].is_owner)

    def test_another_store(self) -> None:
        """One that the old server does not have is opened while it serves."""
        service = self.prepared(self.store(), OldServer("sqlite:////other", self.steps))
        service.startService()
        self.assertEqual(self.steps, ["open", "end", "done"])

    def test_no_store(self) -> None:
        service = self.prepared(None, OldServer(None, self.steps))
        service.startService()
        self.assertEqual(self.steps, ["end", "done"])

    def test_nobody_there(self) -> None:
        """A start as any other one, but that who connects waits for the store already."""
        service = self.prepared(self.store())
        service.startService()
        self.assertEqual(self.listens(service), [PLACE])
        self.assertTrue((self.folder / "s").exists())

    def test_port_not_free(self) -> None:
        """A server that cannot listen leaves the old one as it is."""
        old = OldServer(None, self.steps)
        self.words += ["--listen=203.0.113.7"]
        service = self.prepared(None, old)
        error = self.assertRaises(ConfigurationError, service.startService)
        self.assertIn("cannot listen on 203.0.113.7", str(error))
        self.assertEqual(self.steps, ["give up"])
        self.assertFalse((self.folder / "s").exists())

    def test_old_server_stays(self) -> None:
        old = OldServer(None, self.steps)
        old.refuses = "it goes on"
        error = self.assertRaises(ConfigurationError, self.prepared(None, old).startService)
        self.assertEqual(str(error), "it goes on")
        self.assertEqual(self.steps, ["end", "give up"])

    def test_bad_store(self) -> None:
        """If the store cannot be opened, the old server is told, who starts again then."""
        store = self.store()
        store.fail("open", StoreUnusable("it is damaged"))
        service = self.prepared(store, OldServer(store.name, self.steps))
        self.assertRaises(ConfigurationError, service.startService)
        self.assertEqual(self.steps, ["end", "open", "give up"])

    def test_not_named_any_more(self) -> None:
        """What the new options do not name is closed."""
        old = OldServer(None, self.steps)
        other = socket.socket()
        old.sockets.append(OwnSocket(Place("tcp", "192.0.2.1", 4730), other, is_owner=False))
        self.prepared(None, old).startService()
        self.assertEqual(other.fileno(), -1)
        self.assertGreaterEqual(old.listener.fileno(), 0)


class GiveWayTests(HandOverTestCase):
    """The old server."""

    def begun(self, store: StoreWithSteps | None = None) -> ServerService:
        service = self.prepared(store)
        service.startService()
        return service

    def connect_own(self) -> tuple[Any, StringTransport]:
        protocol = self.reactor.adoptedPorts[-1][2].buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    def test_offer(self) -> None:
        service = self.begun(store := self.store())
        offer = service.offer()
        self.assertEqual((offer.store, [own.place for own in offer.sockets]), (store.name, [PLACE]))
        self.assertIsNone(offer.pid_file)

    def test_not_now(self) -> None:
        """One that drains or ends hands nothing over; nor does one without its store."""
        service = self.begun()
        self.successResultOf(service.drain())
        error = self.assertRaises(ConfigurationError, service.offer)
        self.assertEqual(str(error), "the server there drains, or ends")
        service = self.begun(self.store())
        assert service.server.journal is not None
        service.server.journal._link.refuse("not at present", "gone")
        error = self.assertRaises(ConfigurationError, service.give_way, lambda: None)
        self.assertEqual(str(error), "the server there cannot use its store: gone")
        self.assertTrue(service.running)

    def give_way(self, service: ServerService) -> Any:
        stopped = service.give_way(lambda: self.steps.append("released"))
        while "released" not in self.steps:
            self.reactor.deliver()
        return stopped

    def test_stops(self) -> None:
        """The store is let go of before the last peers have hung up; the sockets stay open."""
        service = self.begun(store := self.store())
        protocol, transport = self.connect_own()
        protocol.dataReceived(request(ECHO_REQ, b"first"))
        stopped = self.give_way(service)
        self.assertEqual(transport.value(), response(ECHO_RES, b"first"))
        self.assertTrue(transport.disconnecting)
        self.assertIsNotNone(store.closed_with)
        self.assertNoResult(stopped)
        self.assertEqual(self.listens(service), [PLACE])
        protocol.connectionLost()
        self.successResultOf(stopped)

    def test_goes_on(self) -> None:
        """If the new server fails, the old one listens on the same sockets, and has its jobs."""
        service = self.begun(self.store())
        protocol, transport = self.connect_own()
        protocol.dataReceived(request(SUBMIT_JOB_BG, b"f", b"u", b"data"))
        while response(JOB_CREATED, b"")[:8] not in transport.value():
            self.reactor.deliver()
        before = service.offer().sockets
        stopped = self.give_way(service)
        protocol.connectionLost()
        self.successResultOf(stopped)
        service.go_on()
        self.assertTrue(service.running)
        self.assertEqual(service.offer().sockets, before)
        self.assertEqual(len(service.server.broker.table), 1)
        protocol, transport = self.connect_own()
        protocol.dataReceived(request(ECHO_REQ, b"again"))
        self.assertEqual(transport.value(), response(ECHO_RES, b"again"))
        self.assertFalse(transport.disconnecting)

    def test_cannot_go_on(self) -> None:
        """A store that is gone by then ends it."""
        service = self.begun(store := self.store())
        ended: list[bool] = []
        service.end = lambda: ended.append(True)
        self.successResultOf(self.give_way(service))
        store.fail("open", StoreUnusable("it is damaged"))
        with capturedLogs() as events:
            service.go_on()
        self.assertIn("it is damaged", " ".join(str(formatEvent(event)) for event in events))
        self.assertEqual(ended, [True])

    def test_leaves(self) -> None:
        """When the new server has started, this one closes the sockets, and ends."""
        service = self.begun()
        ended: list[bool] = []
        service.end = lambda: ended.append(True)
        sockets = service.offer().sockets
        self.successResultOf(service.give_way(lambda: None))
        service.leave(False)
        self.assertEqual([own.socket.fileno() for own in sockets], [-1])
        self.assertEqual(ended, [True])

    def test_jobs_in_memory(self) -> None:
        service = self.begun()
        protocol, _ = self.connect_own()
        protocol.dataReceived(request(SUBMIT_JOB_BG, b"f", b"u", b"data"))
        with capturedLogs() as events:
            stopped = service.give_way(lambda: None)
        self.assertIn("1 background job in memory is given up", [formatEvent(event) for event in events])
        self.assertNoResult(stopped)
        protocol.connectionLost()

    def test_ordinary_end(self) -> None:
        """Without a successor nothing is left."""
        service = self.begun()
        sockets = service.offer().sockets
        self.successResultOf(service.stopService())
        self.assertEqual([own.socket.fileno() for own in sockets], [-1])
        self.assertFalse((self.folder / "s").exists())


class ProcessHandOverTests(ProcessTestCase):
    """The pid file of a whole process goes with the sockets; and its status."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="txgear-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.pid_path = self.folder / "pid"
        self.held = PidFile(str(self.pid_path))
        self.addCleanup(self.held.release)

    def started_process(self, old: OldServer | None = None) -> ProcessService:
        options = Options()
        options.parseOptions(
            ["--store=memory:", f"--handover={self.folder / 's'}", "--listen=127.0.0.1", "--port=0"]
        )
        service = ProcessService(
            self.reactor,
            options.settings(),
            [options.modules["gear"]],
            options,
            None,
            options.config,
            pid_file=PidFile(str(self.pid_path)),
            notes=(),
            stderr=StandardError(False),
            guard=lambda: None,
            environ={},
        )
        find: Any = lambda path: old  # noqa: E731
        handover = service._handover = HandOver(self.reactor, str(self.folder / "s"), service, find)
        self.addCleanup(handover.close)
        self.addCleanup(lambda: atexit.unregister(service.end_of_process))
        service.privilegedStartService()
        service.startService()
        self.addCleanup(service._pid_file.release)  # type: ignore[union-attr]
        self.addCleanup(service.server.stop)
        self.addCleanup(service.scheduler.stop)
        self.addCleanup(service.leave, False)
        return service

    def test_offered(self) -> None:
        service = self.started_process()
        offered = service.offer().pid_file
        assert offered is not None
        self.assertEqual(offered.path, str(self.pid_path))
        duplicate = os.dup(offered.descriptor)
        self.addCleanup(os.close, duplicate)
        self.successResultOf(service.give_way(lambda: None))
        service.leave(True)
        self.assertTrue(self.pid_path.exists())
        self.assertRaises(OSError, os.fstat, offered.descriptor)
        self.assertEqual(self.reactor.stopped, 1)

    def old_server(self) -> OldServer:
        """One that holds the pid file."""
        old = OldServer(None, [])
        self.addCleanup(old.listener.close)
        self.held.take()
        self.pid_path.write_text("1")
        assert self.held.descriptor is not None
        old.pid_file = PidFileOffer(str(self.pid_path), os.dup(self.held.descriptor))
        return old

    def test_borrowed(self) -> None:
        """The new server has it when it has started."""
        old = self.old_server()
        self.started_process(old)
        self.assertEqual(old.steps, ["end", "done with the pid file"])
        self.assertEqual(self.pid_path.read_text(), str(os.getpid()))

    def test_borrowed_in_vain(self) -> None:
        """If it does not start, the file is the old server's."""
        old = self.old_server()
        old.refuses = "it goes on"
        self.assertRaises(NotStarted, self.started_process, old)
        self.assertEqual(self.pid_path.read_text(), "1")

    def test_another_server_s(self) -> None:
        """The file of a server that does not hand over keeps this one off."""
        self.held.take()
        old = OldServer(None, [])
        self.addCleanup(old.listener.close)
        for each in (None, old):
            with capturedLogs() as events:
                self.assertRaises(NotStarted, self.started_process, each)
            self.assertIn("holds the pid file", " ".join(str(formatEvent(event)) for event in events))
        self.assertEqual(old.steps, ["give up"])

    def test_status(self) -> None:
        """A process that cannot go on has another status than one that ends."""
        service = self.started_process()
        statuses: list[int] = []
        service._exit = statuses.append
        self.successResultOf(service.give_way(lambda: None))
        service.go_on()
        service.end_of_process()
        self.assertEqual(statuses, [])
        self.successResultOf(service.give_way(lambda: None))
        (self.folder / "s").unlink()
        (self.folder / "s").mkdir()
        service.go_on()
        service.end_of_process()
        self.assertEqual((statuses, self.reactor.stopped), ([1], 1))

    def test_status_of_one_that_has_lost_its_store(self) -> None:
        """Another server has taken it: nobody has asked this one to end, and whoever starts it is to see."""
        service = self.started_process()
        statuses: list[int] = []
        service._exit = statuses.append
        service.server.store_taken()
        service.end_of_process()
        self.assertEqual((statuses, self.reactor.stopped), ([1], 1))
