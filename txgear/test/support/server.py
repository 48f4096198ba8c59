"""
For the floor C{server}, and whatever needs a whole server: one in memory, with or without a store, and peers
that talk to it over transports in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.base import DelayedCall
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.restore import restore
from txgear.interfaces import IJobStore
from txgear.journal.journal import NUMBERS, Journal
from txgear.journal.link import InThread
from txgear.policies import Policies
from txgear.protocol.constants import (
    ECHO_REQ,
    ECHO_RES,
    JOB_CREATED,
    SUBMIT_JOB_BG,
)
from txgear.protocol.packets import request, response
from txgear.server.gear import GearFactory
from txgear.server.jobserver import JobServer
from txgear.server.settings import Settings
from txgear.test.support.clock import START, FakeWallClock
from txgear.test.support.journal import FaultyStore, ManualThread
from txgear.test.support.net import error


class FakePeer:
    """
    One connection to a server, from the peer's side.

    @ivar transport: what the protocol writes to.
    """

    def __init__(self, fixture: ServerFixture, host: str) -> None:
        kind = IPv6Address if ":" in host else IPv4Address
        self.transport = StringTransport(peerAddress=kind("TCP", host, 50000))
        self.protocol = fixture.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def tell(self, *packets: bytes) -> None:
        """Send these bytes, all in one."""
        self.protocol.dataReceived(b"".join(packets))

    def heard(self) -> bytes:
        """What came back since the last time."""
        value: bytes = self.transport.value()
        self.transport.clear()
        return value

    def ask(self, *packets: bytes) -> bytes:
        """Send these bytes, all in one, and return what came back."""
        self.tell(*packets)
        return self.heard()

    def leave(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def closed(self) -> bool:
        """Whether the server has ended the connection."""
        return bool(self.transport.disconnecting)


class ServerFixture:
    """A server with a clock that stands at L{START}, and connections to it."""

    def __init__(self, **choices: Any) -> None:
        """
        @param choices: what differs from the default L{Settings}.
        """
        self.clock = Clock()
        self.clock.advance(START)
        self.wall = FakeWallClock(self.clock)
        self.server = JobServer(self.clock, Settings(prefix=b"H:test", **choices), wall_seconds=self.wall)
        self.factory = GearFactory(self.server)

    def connect(self, host: str = "192.0.2.1") -> FakePeer:
        return FakePeer(self, host)


HANDLES = [b"H:test:%d" % number for number in range(1000)]
"""The handle of each job number."""


def submit(workload: bytes = b"w", function: bytes = b"f", unique: bytes = b"") -> bytes:
    """A background submit."""
    return request(SUBMIT_JOB_BG, function, unique, workload)


def created(*numbers: int) -> bytes:
    """The answers to submits that were taken."""
    return b"".join(response(JOB_CREATED, HANDLES[number]) for number in numbers)


def refused(reason: bytes) -> bytes:
    """The answer to a submit that cannot be stored."""
    return error(b"QUEUE_ERROR", reason)


class DurableServerFixture(ServerFixture):
    """
    A server with a store, and connections to it.

    @ivar thread: where the store is called.
    """

    def __init__(
        self,
        store: IJobStore,
        in_thread: InThread | None = None,
        *,
        clock: Clock | None = None,
        numbers: int = NUMBERS,
        policies: Policies | None = None,
        lease: float | None = None,
        **choices: Any,
    ) -> None:
        """
        @param store: not open; what it keeps is queued.
        @param in_thread: where the store is called, by default a L{ManualThread}.
        @param clock: by default one of its own that stands at L{START}.
        @param numbers: how many job numbers it begins with.
        @param policies: what is set for functions.
        @param lease: seconds without a change after which another server may take the store.
        @param choices: what differs from the default L{Settings}.
        """
        if clock is None:
            clock = Clock()
            clock.advance(START)
        self.clock = clock
        self.thread = ManualThread()
        # Nobody comes back to a job where a test says nothing of it: so no server waits for that.
        settings = Settings(prefix=b"H:test", **{"worker_grace": 0.0, **choices})
        self.journal = Journal(store, in_thread or self.thread, clock, settings.store_timeout, lease)
        self.wall = FakeWallClock(clock)
        self.server = JobServer(clock, settings, self.journal, wall_seconds=self.wall)
        self.factory = GearFactory(self.server)
        if policies is not None:
            self.server.broker.operations.set_policies(policies, clock.seconds())
        found = restore(self.server.broker, self.journal, store, clock.seconds(), numbers)
        if found.jobs or found.dead or found.others:
            # What is asked of the store first is read from now on.
            self.server.end_turn()

    def calls(self) -> list[DelayedCall]:
        """What is to come by the clock, but for the server's look at what has its time."""
        calls = [call for call in self.clock.getDelayedCalls() if isinstance(call, DelayedCall)]
        return [call for call in calls if call.func != self.server._time._timer_fired]


class DurableServerTestCase(SynchronousTestCase):
    """
    A server whose store is called when the test says so.

    @ivar client: a connection to it.
    @ivar other: another.
    """

    def setUp(self) -> None:
        self.store = FaultyStore()
        self.begin()

    def tearDown(self) -> None:
        self.fixture.journal.check()

    def begin(self, **choices: Any) -> None:
        """
        Start the server, again if it was there: the old one is left as after a kill.

        @param choices: what differs from the default.
        """
        self.fixture = DurableServerFixture(self.store, **choices)
        self.clock, self.thread = self.fixture.clock, self.fixture.thread
        self.client, self.other = self.fixture.connect(), self.fixture.connect()
        self.thread.run_all()
        self.store.take()
        self.store.batches.clear()

    def begin_anew(self, **choices: Any) -> None:
        """L{begin} with a store that is new, too."""
        self.store = FaultyStore()
        self.begin(**choices)

    def run_on(self, seconds: float = 60.0) -> None:
        """Let this much time pass, the store answering at once."""
        end = self.clock.seconds() + seconds
        self.thread.run_all()
        while self.clock.seconds() < end:
            self.clock.advance(0.01)
            self.thread.run_all()

    def submit_one(self) -> None:
        """The client's submit reaches the store's thread."""
        self.client.tell(submit())
        self.assertEqual(len(self.thread.waiting), 1)

    def recall(self) -> None:
        """All jobs that have ended and are kept are in memory from now on."""
        ended = [record for record in self.store.kept.values() if record.state]
        self.fixture.server.broker.stock.hold_all(ended, self.clock.seconds())

    def numbers(self) -> list[int]:
        """The jobs that are kept, by number."""
        return sorted(self.store.kept)

    def logged(self, action: Callable[..., Any], *arguments: Any) -> list[str]:
        """What the log hears while something is done."""
        with capturedLogs() as events:
            action(*arguments)
        return [formatEvent(event) for event in events]

    def assert_well(self) -> None:
        """The server has nothing to do, and takes jobs."""
        self.thread.run_all()
        self.fixture.server.notices.stop()
        self.assertEqual(self.fixture.calls(), [])
        line = self.fixture.connect()
        line.tell(submit(b"", b"well"))
        self.thread.run_all()
        self.assertTrue(line.heard().startswith(response(JOB_CREATED, b"")[:8]))
        line.leave()

    def assert_alive(self, line: FakePeer) -> None:
        """A connection is answered at once."""
        self.assertEqual(line.ask(request(ECHO_REQ, b"x")), response(ECHO_RES, b"x"))
