"""
The job server: the broker with an outbox, a clock and a timer.

Protocols are built on a L{JobServer} and its broker. What plugins of others may use of it is
L{txgear.interfaces.IJobServer}.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorFDSet, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from txgear.broker.broker import Broker
from txgear.broker.diagnosis.findings import Trend
from txgear.broker.model import Job, Peer
from txgear.broker.operators.bulkacts import BulkActs
from txgear.broker.paging import JOB_BYTES
from txgear.broker.quickacks import Tally
from txgear.broker.records import StoredValue
from txgear.errors import AccessDenied
from txgear.interfaces import IJobServer, PeerLine
from txgear.journal.journal import Journal
from txgear.net.batchedreads import AVAILABLE, BatchedReads
from txgear.net.stream import ENDING, Stream, Traffic
from txgear.protocol.constants import JOB_CREATED
from txgear.security.audit import Audit
from txgear.security.tls import ServerTLS
from txgear.server import turns
from txgear.server.budget import Budget
from txgear.server.census import Census
from txgear.server.clusterview import Cluster
from txgear.server.descriptors import Descriptors
from txgear.server.elsewhere import Elsewhere
from txgear.server.guard import NO_RIGHTS, Guard
from txgear.server.handshakes import HANDSHAKE_SECONDS, Handshakes, is_shaken, tls_under
from txgear.server.lag import Lag
from txgear.server.listings import LISTS_AT_ONCE
from txgear.server.looks import Looks
from txgear.server.notices import Notices
from txgear.server.outbox import Outbox
from txgear.server.recently import Recently
from txgear.server.schedules import Scheduler
from txgear.server.servertime import ServerTime
from txgear.server.settings import Settings
from txgear.server.setup import Setup
from txgear.server.sockets import before_first_data, host_of, socket_of
from txgear.server.steering import Steering
from txgear.server.visitors import VisitorTransport


@implementer(IJobServer)
class JobServer:
    """
    One job server, as the protocols of its ports use it.

    Whatever happens to a protocol (bytes, a lost connection, a call of its own) is one turn: the protocol
    calls the L{broker}, and then L{end_turn}.

    @ivar clock: the reactor's clock, for timers.
    @ivar reads: reads the connections of this server together, or C{None}.
    @ivar cooperator: does postponed work in pieces.
    @ivar patient: does work in smaller ones that is in no hurry.
    @ivar list_slots: bounds how many long lists are made at the same time.
    @ivar settings: what the operator decided.
    @ivar seconds: the server's time now, by which spans are measured: see L{ServerTime.seconds}.
    @ivar wall_clock: the time of day now: see L{ServerTime.wall_clock}.
    @ivar started: the server's time when it was made.
    @ivar budget: bounds the memory of packets that have not arrived whole.
    @ivar outbox: takes the packets for peers.
    @ivar notices: logs what may come in floods.
    @ivar audit: keeps what operators have done, and who was refused. The service sets it.
    @ivar descriptors: says which descriptors are the last ones.
    @ivar handshakes: bounds and counts those of TLS.
    @ivar steering: tells workers what to do that understand it.
    @ivar census: counts the workers, once the service has started it.
    @ivar recently: what functions have done of late, once the service has started it.
    @ivar lag: measures how late the reactor is, once the service has started it.
    @ivar made: connections that were made since the start.
    @ivar traffic: the bytes of those that speak Gearman's protocol.
    @ivar tls: the TLS of the ports, or C{None}. The service sets it.
    @ivar quick_acks: counts the acknowledgements that were sent at once.
    @ivar unread: bytes that peers had left unread when they went.
    @ivar journal: carries background jobs to the store, or C{None}.
    @ivar broker: the rules.
    @ivar bulk_acts: what is done to all jobs that a search is for.
    @ivar guard: knows who the peers are, and notes what they are refused.
    @ivar headers_refused: how many connections of proxies were closed for want of a good header; C{None} if
        there are no such proxies. The service counts them.
    @ivar lingers: whether connections that are closed wait for their peers to hang up: those see the end of
        what we send, and no reset, whatever they send meanwhile. L{give_way} sets it.
    @ivar trend: says how the function of a name has fared of late, where that is known.
    @ivar config: the path of the file of policies and schedules, or C{None}. The service sets it.
    @ivar setup: how it was set up, for people. The service sets it.
    @ivar scheduler: submits jobs by the clock, once the service has started it.
    @ivar cluster: its membership among other servers over one database, or C{None}. The service sets it.
    @ivar hear: called with a value of the store that another server has kept there, and that holds for more
        than functions. The service sets it.
    @ivar elsewhere: the jobs of these others, or C{None}. The service sets it.
    @ivar looks: at how far these others are with tasks of here.
    @ivar listens: tells whether the ports for jobs are open. The service sets it.
    @ivar web_channel: makes the protocol of a connection that speaks HTTP from now on; or says when it is to
        be asked again, which never fails. C{None} where HTTP is not spoken. The service sets it.
    @ivar shutdown: called when the text command C{shutdown} comes, with whether to drain first. The service
        sets it.
    @ivar store_taken: called when another server has taken the store: this one is to end. The service sets
        it.
    @ivar hang_up: reads the file of policies, schedules and rules again, and those of TLS, and goes on in new
        log files: what SIGHUP does. Called with who asks for it. The service sets it.
    """

    def __init__(
        self,
        clock: IReactorTime,
        settings: Settings,
        journal: Journal | None = None,
        wall_seconds: Callable[[], float] | None = None,
    ) -> None:
        """
        @param clock: the reactor, or a clock. Where it can watch descriptors, connections are read in
            batches.
        @param journal: carries background jobs to the disk; without one they are in memory only.
        @param wall_seconds: reads the wall clock, in seconds since the epoch; by default C{clock} is
            that as well.
        """
        self.clock = clock
        self.settings = settings
        self.journal = journal
        self.outbox = Outbox()
        self.broker = Broker(self.outbox, settings.rules, journal, random.random)
        self._timers = self.broker.timers
        self._time = ServerTime(clock, wall_seconds or clock.seconds, self._timers, self._time_has_come)
        self.seconds = self._time.seconds
        self.wall_clock = self._time.wall_clock
        self.started = self.seconds()
        self.reads: BatchedReads | None = None
        if AVAILABLE and IReactorFDSet.providedBy(clock):
            self.reads = BatchedReads(clock, self.end_turn, self.seconds)
        self.cooperator = turns.cooperator(clock, clock.seconds)
        self.patient = turns.cooperator(clock, clock.seconds, turns.PATIENT_SECONDS)
        self.list_slots = DeferredSemaphore(LISTS_AT_ONCE)
        largest = min(settings.max_packet, settings.unfinished_memory)
        self.budget = Budget(clock, self.seconds, settings.unfinished_memory, largest)
        self.steering = Steering(clock, self.outbox.send)
        self.notices = Notices(clock)
        self.broker.lifecycle.witness = self.broker.stock.witness = self.notices
        self.audit = Audit(clock, self.wall_clock)
        self.descriptors = Descriptors()
        self.handshakes = Handshakes(clock, self.notices)
        self.lag = Lag(clock)
        self.made = 0
        self.traffic = Traffic()
        self.tls: ServerTLS | None = None
        self.quick_acks = Tally()
        self.unread = 0
        self.census = Census(self.broker, clock, self.cooperator, self.seconds)
        self.recently = Recently(self.broker.statistics, clock, self.cooperator)
        self.bulk_acts = BulkActs(self.broker)
        self.guard = Guard(
            self.broker,
            self.outbox,
            self.notices,
            self.cooperator,
            self.seconds,
            self.end_turn,
            lambda: self.audit,
        )
        self.broker.lookups.denied = self.guard.denied
        if journal is not None:
            journal.begin(
                self.broker.store_events, self._store_answered, self._store_taken, settings.queue_memory
            )
        self.shutdown: Callable[[bool], None] = lambda graceful: None
        self.store_taken: Callable[[], None] = lambda: None
        self.hang_up: Callable[[Peer], None] = lambda peer: None
        self.trend: Callable[[bytes], Trend | None] = lambda name: None
        self.config: str | None = None
        self.setup = Setup()
        self.scheduler = Scheduler(self)
        self.cluster: Cluster | None = None
        self.hear: Callable[[StoredValue], None] = lambda value: None
        self.elsewhere: Elsewhere | None = None
        self.looks = Looks(clock)
        self._visitors: set[Peer] = set()
        self.listens: Callable[[], bool] = lambda: True
        self.web_channel: Callable[[], Protocol | Deferred[None]] | None = None
        self._accepted = 0
        self._drained: list[Deferred[None]] = []
        self._closed: Deferred[None] | None = None
        self.lingers = False
        self.headers_refused: int | None = None

    def _store_taken(self) -> None:
        self.store_taken()

    def accept(self, line: PeerLine, transport: Any) -> Peer:
        """
        Part of L{IJobServer}.
        """
        if isinstance(transport, VisitorTransport):
            self.visit(transport.peer, line)
            return transport.peer
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
            self.settings.keep_alive.apply(transport)
        sock = socket_of(transport)
        if sock is None:
            self._accepted += 1
        descriptor = self._accepted if sock is None else sock.fileno()
        tls = tls_under(transport)
        # It is over where another one had the connection before.
        if tls is not None and not is_shaken(tls):
            self.handshakes.begin(tls)
        if isinstance(transport, ProtocolWrapper) and not isinstance(transport, TLSMemoryBIOProtocol):
            # Behind haproxy: what stands before the first data says who it is. Until then it is the proxy.
            peer = self._connect(line, descriptor, host_of(transport))
            before_first_data(
                transport.wrappedProtocol, lambda: self._address_known(peer, host_of(transport))
            )
            return peer
        peer = self._connect(line, descriptor, host_of(transport))
        self._admit(peer, tls is not None)
        return peer

    def _address_known(self, peer: Peer, address: str) -> None:
        peer.address = address
        self._admit(peer)

    def _admit(self, peer: Peer, shakes_hands: bool = False) -> None:
        """
        Let the guard see a peer whose address is known.

        @param shakes_hands: whether there is to be a TLS handshake first.
        """
        try:
            self.guard.arrived(peer)
        except AccessDenied as error:
            # Its protocol has only begun to connect. Within a handshake nothing can be told; L{secured}
            # finds out again, unless the protocol does not tell when that is over.
            seconds = HANDSHAKE_SECONDS if shakes_hands else 0
            self.clock.callLater(seconds, self._turn_away, peer, error)

    def _turn_away(self, peer: Peer, error: AccessDenied) -> None:
        # There may be room for it by now.
        if peer.connected and peer.rights is NO_RIGHTS:
            self.guard.turn_away(peer, error)

    def secured(self, peer: Peer, transport: Any) -> None:
        """
        Part of L{IJobServer}.
        """
        if (tls := tls_under(transport)) is not None:
            self.handshakes.complete(tls)
            peer.encrypted = True
            try:
                self.guard.secured(peer, transport)
            except AccessDenied as error:
                self.guard.turn_away(peer, error)

    def freed(self) -> int:
        """
        Bytes of large things that were freed since the start: output that was not read, unfinished packets,
        and the TLS of connections.
        """
        return self.unread + self.budget.freed + self.handshakes.freed

    def held(self) -> int:
        """Bytes that the jobs in memory take, about; without a store their workloads do not count."""
        pager = self.broker.pager
        return JOB_BYTES * len(self.broker.table.jobs) if pager is None else pager.memory

    def connect(self, line: PeerLine, descriptor: int, address: str) -> Peer:
        """
        Part of L{IJobServer}.
        """
        peer = self._connect(line, descriptor, address)
        self._admit(peer)
        return peer

    def _connect(self, line: PeerLine, descriptor: int, address: str) -> Peer:
        self.made += 1
        peer = Peer(descriptor, address, self.settings.exceptions)
        self.outbox.connect(peer, line)
        self.broker.connect(peer)
        return peer

    def visit(self, peer: Peer, line: PeerLine) -> None:
        """
        Something is to be done here for a peer of another server, which is shown nowhere as connected.
        L{disconnect} follows.

        @param line: takes what it is sent.
        """
        self._visitors.add(peer)
        self.outbox.connect(peer, line)

    def disconnect(self, peer: Peer) -> None:
        """Part of L{IJobServer}."""
        self.guard.left(peer)
        self.outbox.disconnect(peer)
        if peer in self._visitors:
            self._visitors.discard(peer)
            return
        self.broker.disconnect(peer, self.seconds())
        self.steering.left(peer)
        self.end_turn()
        self._check_all_gone()

    def created(self, peer: Peer, job: Job, background: bool) -> None:
        """
        Part of L{IJobServer}. Where the job is done already, its result follows the answer.
        """
        reply = job.reply_for(background)
        if reply is None or self.journal is None:
            self.outbox.send(peer, JOB_CREATED, job.handle)
        else:
            pending, crowded = self.journal.pending_bytes, False
            if reply.asked:
                pending += self.broker.lookups.bytes
                crowded = self.journal.crowded
            self.outbox.hold(peer, reply, crowded or pending > self.settings.queue_memory)
        if not background and job.ended:
            self.broker.repeat(peer, job)

    def read(self, job: Job, done: Callable[[bytes | None], None]) -> None:
        """As L{Archive.read<txgear.broker.ended.archive.Archive.read>}; the job stays in memory meanwhile."""
        stock = self.broker.stock

        def come(found: bytes | None) -> None:
            try:
                done(found)
            finally:
                stock.release(job, self.seconds())

        stock.hold(job)
        self.broker.archive.read(job, come)

    def _store_answered(self) -> None:
        if self.journal is not None and not self.journal.crowded:
            self.outbox.resume()
        self.end_turn()

    def end_turn(self) -> None:
        """
        Part of L{IJobServer}. Where several connections are read together, their turns end once, after all of
        them.
        """
        if self.reads is not None and self.reads.reading:
            return
        self.outbox.flush()
        if self.journal is not None:
            self.journal.turn_ended()
        if self._timers.deadline < self._time.timer_at:
            self._time.set_timer(self._timers.deadline)
        if self._drained and self.broker.drained:
            waiting, self._drained = self._drained, []
            for waiter in waiting:
                waiter.callback(None)

    def _time_has_come(self, now: float) -> None:
        self.broker.expire(now)
        self.end_turn()

    def drain(self) -> Deferred[None]:
        """
        Take no new job, hand out no new background job, and wait for jobs that run or that clients wait for.
        In a cluster background jobs are taken still: another server hands them out, and who is sending one
        cannot know that this one ends.

        @return: a Deferred that fires with C{None} once they have ended; cancelling
            it stops the waiting, not the draining.
        """
        done: Deferred[None] = Deferred(self._drained.remove)
        self._drained.append(done)
        self.broker.drain(self.seconds(), self.cluster is not None)
        self.end_turn()
        # A client that stays would be refused all that it submits; one that is hung up on looks elsewhere.
        for line in self.outbox.lines():
            line.drain()
        return done

    def give_way(self) -> None:
        """
        Carry out no more requests: another server will, when their peers have seen our end and asked it.
        What was asked before is still answered. L{close_connections} follows.
        """
        self.lingers = True
        for line in self.outbox.lines():
            if isinstance(line, Stream):
                line.stop_reading(ENDING)

    def close_connections(self) -> Deferred[None]:
        """
        End all connections, each once what was written has left. The jobs stay as they are: no worker is to
        blame that goes now.

        @return: a Deferred that fires with C{None} when no connection is left; cancelling it stops the
            waiting.
        """
        closed: Deferred[None] = Deferred(lambda waiter: setattr(self, "_closed", None))
        self._closed = closed
        self.broker.halted = True
        self.outbox.flush()
        for line in self.outbox.lines():
            line.close()
        self._check_all_gone()
        return closed

    def _check_all_gone(self) -> None:
        if self._closed is not None and not self.broker.peers:
            closed, self._closed = self._closed, None
            closed.callback(None)

    def stop(self) -> None:
        """Stop all timers, and the common reading of connections: those that are left are read one by one."""
        self._time.stop()
        self.census.stop()
        self.recently.stop()
        self.cooperator.stop()
        self.patient.stop()
        self.handshakes.stop()
        self.lag.stop()
        self.notices.stop()
        self.looks.stop()
        self.audit.stop()
        self.budget.stop()
        if self.reads is not None:
            self.reads.stop()
