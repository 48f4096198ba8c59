"""
Reads of many connections in one turn.

Twisted's reactor calls each ready connection on its own, in a logging context:
with small packets that costs as much as the work itself, and each peer that is
written to is sent its packets in as many system calls as connections had
something for it. Here the connections wait in an epoll of their own, which is
one descriptor to the reactor. When it is ready, all connections that are ready are read,
and then the turn ends once: measured with 256 clients and 64 workers, this
takes a third off a job.

Only readiness and the read are ours. Where the peer ends its side, the
transport's C{readConnectionLost} is called, as the reactor would. For any other event the connection is
given back to the reactor, which does all writing, too.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from math import inf
from typing import Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

AVAILABLE: Final = hasattr(select, "epoll")
"""Whether this system has epoll; without it the reactor reads as always."""

MAX_EVENTS: Final = 64
"""Connections that are read in one turn at the most: the answers to all wait for the last of them."""
READ_SECONDS: Final = 0.01
"""
Seconds after which a turn puts off what it can: of a connection that is read later hardly more
than one request is carried out in this turn.
"""
MOST_ROUNDS: Final = 8
"""
Times that all connections are read before the reactor's other descriptors and timers have their turn, where
that takes no longer than L{READ_SECONDS}: most rounds are done in a tenth of a millisecond.
"""
MERGE_FROM: Final = 4
"""
Connections from which their turns are made one. With two or three the peers
would only wait for each other, where they could work side by side.
"""


@implementer(IReadDescriptor)
class BatchedReads:
    """
    The plain TCP connections of one server, which are read together.

    @ivar reading: whether a turn is under way that ends when all have been read.
    @ivar now: when what is being read was ready, in C{seconds}: what comes together comes at one time, and
        to ask for it costs as much as a small request; 0.0 while nothing is read.
    @ivar ends: when that turn is to end, in C{seconds}; infinite while there is none.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorFDSet,
        end_turn: Callable[[], None],
        seconds: Callable[[], float],
        epoll: select.epoll | None = None,
    ) -> None:
        """
        @param end_turn: called once after each round of reads.
        @param seconds: the time, to measure how long a turn takes.
        @param epoll: where the connections wait; a new one by default.
        """
        self._reactor = reactor
        self._end_turn = end_turn
        self._epoll = select.epoll() if epoll is None else epoll
        self._seconds = seconds
        self._transports: dict[int, Connection] = {}
        self.ends = inf
        self.now = 0.0
        self.reading = False
        reactor.addReader(self)

    def add(self, transport: Connection) -> None:
        """Read this connection here from now on; once this has stopped, the reactor reads it."""
        if self._epoll.closed:
            transport.startReading()
            return
        transport.stopReading()
        fd = transport.fileno()
        self._transports[fd] = transport
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int, transport: Connection) -> None:
        """
        Read this connection here no more; nothing happens if it was not.

        @param fd: its descriptor, which a connection that is lost does not know any more.
        """
        if self._transports.get(fd) is transport:
            del self._transports[fd]
            if transport.connected:
                self._epoll.unregister(fd)

    def doRead(self) -> None:
        """
        Part of C{IReadDescriptor}: some of the connections are ready. Where they are many, more will be by
        the time that they are read: these are read as well, and a turn of the reactor is spared.
        """
        transports = self._transports
        rounds_end = inf
        for _ in range(MOST_ROUNDS):
            events = self._epoll.poll(0, MAX_EVENTS)
            merged = self.reading = len(events) >= MERGE_FROM
            now = self.now = self._seconds()
            if merged:
                self.ends = now + READ_SECONDS
                rounds_end = min(rounds_end, self.ends)
            for fd, event in events:
                transport = transports.get(fd)
                if transport is None:
                    continue
                try:
                    if event != select.EPOLLIN:
                        self._give_back(fd, transport)
                        continue
                    # What the transport's own doRead does, with two calls less for each read.
                    try:
                        data = transport.socket.recv(transport.bufferSize)
                    except BlockingIOError:
                        continue
                    except OSError:
                        self._ended(fd, transport, CONNECTION_LOST)
                        continue
                    if data:
                        transport.protocol.dataReceived(data)
                    else:
                        self._ended(fd, transport, CONNECTION_DONE)
                except Exception:
                    # As in the reactor: a defect of ours costs the one connection.
                    self.log.failure("a connection failed")
                    transport.abortConnection()
            self.now = 0.0
            if not merged:
                return
            self.reading = False
            self.ends = inf
            self._end_turn()
            if now >= rounds_end or self._epoll.closed:
                return

    def _give_back(self, fd: int, transport: Connection) -> None:
        self.remove(fd, transport)
        transport.startReading()

    def _ended(self, fd: int, transport: Connection, why: Exception) -> None:
        """
        The peer sends no more. Where ten thousand leave at once, this is cheaper than giving each back to
        the reactor, which would have to watch it, and to read it once more.
        """
        if isinstance(why, ConnectionDone):
            transport.readConnectionLost(Failure(why))
            if transport.connected:
                self.remove(fd, transport)
        else:
            self._give_back(fd, transport)

    def fileno(self) -> int:
        """Part of C{IReadDescriptor}."""
        return self._epoll.fileno()

    def connectionLost(self, reason: Failure) -> None:
        """Part of C{IReadDescriptor}: the reactor gives up all that it reads."""
        self.stop()

    def logPrefix(self) -> str:
        """Part of C{IReadDescriptor}."""
        return "txgear"

    def stop(self) -> None:
        """Give the connections back to the reactor, and the descriptor to the system."""
        if self._epoll.closed:
            return
        self.reading = False
        self._reactor.removeReader(self)
        for transport in self._transports.values():
            transport.startReading()
        self._transports.clear()
        self._epoll.close()
