"""
Jobs, functions and peers. They point at each other, so they stand together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from txgear.broker.counts import Counts
from txgear.broker.lanes import Lanes
from txgear.broker.sharedlanes import SharedLanes
from txgear.broker.states import DONE, NEW, STATE_NAMES, STORING
from txgear.errors import QUEUE_FULL, QueueError
from txgear.protocol.textlines import text

if TYPE_CHECKING:
    from txgear.broker.about import About
    from txgear.broker.history import History
    from txgear.broker.keys import Key
    from txgear.broker.limits import Throttle
    from txgear.broker.quickacks import QuickAcks
    from txgear.broker.tenants import Tenant
    from txgear.policies import Policy
    from txgear.protocol.packets import Data


class Reply:
    """
    The answer to those who submitted a job, while it waits for the disk; it holds its place in the output
    of each of them.

    @ivar packet: its type and its arguments, or C{None} before it is known.
    @ivar size: bytes that wait with it.
    @ivar peers: whose output waits for it.
    @ivar asked: whether the store is asked first if it has the job already, and was told nothing of it.
    @ivar others: those of the peers whose answer is another one.
    @ivar changed: whether the store is to be told more of the job than that it is there.
    @ivar why: the word for why that is an ERROR, where that is known: see L{QueueError.why}.
    @cvar late: whether others may have come into their lanes that were submitted later.
    """

    __slots__ = ("changed", "others", "packet", "peers", "size")

    asked: bool = False
    why: str = ""
    late: bool = False

    def __init__(self, size: int) -> None:
        self.packet: tuple[int | Data, ...] | None = None
        self.size = size
        self.peers: list[Peer] = []
        self.others: Mapping[Peer, tuple[int | Data, ...]] | None = None
        self.changed = False


class AskedReply(Reply):
    """The same of a job of which the store is asked whether it has it already."""

    __slots__ = ("asked", "why")

    late = True

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.asked = True
        self.why = ""


MOST_NAMED: Final = 100
"""Bytes of what a peer calls itself that are remembered with what it has ordered."""

NO_PROGRESS: Final = (0, 0)
"""Of a job whose worker has sent none."""


class Appointment:
    """
    That a job is not to begin before a time by the wall clock.

    @ivar job: the job.
    @ivar due: the time, in seconds since the epoch; 0.0 where it waits for that no more.
    """

    __slots__ = ("due", "job")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.due = 0.0


class Crowd:
    """
    The clients of a job that has several, newest first; the same peer may be there several times.

    Any number of them may come and go: each costs the same.
    """

    __slots__ = ("_counter", "_joins", "_places")

    def __init__(self, first: Peer) -> None:
        self._counter = 0
        self._joins: dict[int, Peer] = {}  # in the order of their coming
        self._places: dict[Peer, list[int]] = {}
        self.add(first)

    def __len__(self) -> int:
        return len(self._joins)

    def __iter__(self) -> Iterator[Peer]:
        return reversed(self._joins.values())

    def add(self, client: Peer) -> None:
        """One more, or one once more."""
        self._counter += 1
        self._joins[self._counter] = client
        self._places.setdefault(client, []).append(self._counter)

    def remove(self, client: Peer) -> None:
        """This peer is none of them any more, however often it was there, if it was."""
        for place in self._places.pop(client, ()):
            del self._joins[place]


class Job(Struct, eq=False, gc=False):
    """
    One piece of work.

    A server may hold millions of them, so Python's collector of cycles does not look at them: it would take
    longer than all else that is done to submit one. So there must be no way from a job that is over back to
    itself; its worker, its clients, its appointment, its run, and those who watch or follow it are let go of.
    Where a broker is given up that has jobs, they let go of all (L{let_go}).

    @ivar naming: what its handle looks like, with C{%d} for the number.
    @ivar kept_handle: its handle, made once, while it runs and is needed often; that of another, where it was
        found to be the same; empty otherwise.
    @ivar number: its place in the order in which the server took jobs; no other job ever has it.
    @ivar place: its turn among the jobs of its function and priority: its
        number, or a later one once it was put behind the others.
    @ivar function: what is to be done.
    @ivar unique: what its first submitter called it; may be empty.
    @ivar key: what other submits are compared with, or C{None} if none may join.
    @ivar workload: what the worker gets; of a job that has ended otherwise than dead its result. Empty while
        only the store has it.
    @ivar size: bytes of the workload, wherever it is; of its result, where a job has ended with one.
    @ivar reply: what those wait for who submitted it, while it is on its way to the store; otherwise C{None}.
    @ivar stored: whether the store has it.
    @ivar created: when it was submitted, by the server's time; 0.0 where that is not known.
    @ivar since: when it was queued, began to run, or ended, by the server's time: whichever came last. 0.0 of
        jobs that are neither ready, nor run, nor have ended.
    @ivar history: what it has beyond the classic protocol, or C{None}.
    @ivar archived: what was its history, of a job that has ended and is kept. Empty where that was not made
        yet, as nothing is to be said but that its result is kept.
    @ivar run: with which others of its function it is kept, of a job that has ended and is kept. C{None} for
        the dead, and where only the unique is kept.
    @ivar priority: L{constants.HIGH}, C{NORMAL} or C{LOW}.
    @ivar reducer: the reducer's name for a worker that grabs with GRAB_JOB_ALL, or empty.
    @ivar background: true if it is to be done even when no client waits for it.
    @ivar clients: those who hear of it, newest first; the same peer may be there several times. Most jobs
        have one or none: only of several it is a L{Crowd}.
    @ivar tenant: on whose account it is; C{None} for nobody's.
    @ivar worker: who runs it, or C{None}.
    @ivar retries: how many of its attempts have ended without a result and were followed by another.
    @ivar due: when it is tried again or its delay is over (L{DELAYED}), its worker's time is over
        (L{RUNNING}), it expires, or (having ended) it is forgotten, by the server's time; 0.0 for never.
    @ivar appointment: the time by the wall clock for which it waits (L{DELAYED}), or C{None}.
    @ivar progress: the last one that its worker sent: a number, and what that is a part of.
    """

    naming: bytes
    number: int
    function: Function
    unique: bytes
    key: Key | None
    workload: Data
    priority: int
    background: bool
    reducer: bytes
    created: float
    place: int
    size: int
    tenant: Tenant | None = None
    history: History | None = None
    kept_handle: bytes = b""
    reply: Reply | None = None
    stored: bool = False
    since: float = 0.0
    archived: bytes = b""
    run: Run | None = None
    state: int = NEW
    clients: tuple[()] | tuple[Peer] | Crowd = ()
    worker: Peer | None = None
    retries: int = 0
    due: float = 0.0
    appointment: Appointment | None = None
    progress: tuple[int, int] = NO_PROGRESS

    @property
    def handle(self) -> bytes:
        """Its name on the wire; made when it is needed, as a long queue has millions of them."""
        return self.kept_handle or self.naming % self.number

    def join(self, client: Peer) -> None:
        """One more waits for it."""
        clients = self.clients
        if not clients:
            self.clients = (client,)
        else:
            if isinstance(clients, tuple):
                clients = self.clients = Crowd(clients[0])
            clients.add(client)
        client.attached[self] = None

    def part(self, client: Peer) -> None:
        """A client does not wait for it any more, if it did."""
        clients = self.clients
        if isinstance(clients, Crowd):
            clients.remove(client)
            if not clients:
                self.clients = ()
        elif client in clients:
            self.clients = ()

    def part_all(self) -> None:
        """No client waits for it any more."""
        for client in self.clients:
            client.attached.pop(self, None)
        self.clients = ()

    def let_go(self, nowhere: Function) -> None:
        """
        Refer to nothing of the broker any more, which is given up with all its jobs.

        @param nowhere: a function that no other job was ever of.
        """
        self.function = nowhere
        self.tenant = self.reply = self.run = self.worker = self.appointment = None
        self.clients = ()

    def reply_for(self, background: bool) -> Reply | None:
        """
        What the answer to a submit of it waits for.

        @param background: whether it was a background submit.
        @return: what will hold the answer; C{None} if it is the handle, at once.
        """
        # A client that waits for a job that is handed out already needs no disk.
        return self.reply if background or self.state == STORING else None

    @property
    def loaded(self) -> bool:
        """Whether its workload is in memory."""
        return not self.size or bool(self.workload)

    @property
    def wanted(self) -> bool:
        """Whether anybody would miss it."""
        return self.background or bool(self.clients)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.state >= DONE

    def __repr__(self) -> str:
        return f"<Job {self.handle!r} of {self.function.name!r}, {STATE_NAMES[self.state]}>"


class Function:
    """
    All that is known of one function.

    @ivar name: what it is called.
    @ivar lanes: its jobs that can be handed out, or only wait for their workloads; for each tenant where they
        take turns, or one may not have more than so many at workers.
    @ivar delayed: its jobs that are not to be handed out yet, as far as they are in memory, and
    @ivar later: how many there are that are not.
    @ivar running: how many of its jobs are at workers.
    @ivar workers: the peers that can do it.
    @ivar sleepers: those of them that wait for a NOOP, who fell asleep first being first; see
        L{txgear.broker.sleepers.Sleepers}.
    @ivar woken: how many of them were sent a NOOP for this function and have not grabbed since.
    @ivar max_queued: jobs in all at which a submit of each priority is refused (0 for never), or C{None}.
    @ivar created: whether an operator asked for it to be kept.
    @ivar policy: what the operator has set for it, or C{None}.
    @ivar throttle: what holds its jobs back, or C{None}.
    @ivar throttled: whether that holds all of them back now.
    @ivar due: when its throttle is to be looked at again, by the server's time; 0.0 for never.
    @ivar bytes: of the workloads of all its jobs.
    @ivar kept: how many jobs have ended and are still known.
    @ivar names_stay: whether the uniques of some of these may be taken by settings of their own.
    @ivar asks: whether its policy or an operator has each submit looked at, as L{judge} has found.
    @ivar times: whether its policy bounds the time that a worker has for a job.
    @ivar keeps: for how many seconds the result of each job is kept, where its policy says no more of that;
        0.0 otherwise.
    @ivar counts: what its jobs are counted in; others may be as well.
    """

    __slots__ = (
        "asks",
        "bytes",
        "counts",
        "created",
        "delayed",
        "due",
        "keeps",
        "kept",
        "lanes",
        "later",
        "max_queued",
        "name",
        "names_stay",
        "policy",
        "running",
        "sleepers",
        "throttle",
        "throttled",
        "times",
        "woken",
        "workers",
    )

    def __init__(self, name: bytes, counts: Counts | None = None) -> None:
        """
        @param counts: what its jobs are counted in; by default its own.
        """
        self.name = name
        self.counts = Counts() if counts is None else counts
        self.lanes: Lanes[Job] | SharedLanes[Job] = Lanes()
        self.delayed: dict[Job, None] = {}
        self.later = 0
        self.running = 0
        self.workers: dict[Peer, None] = {}
        # Taken from its front: a plain dict would be walked over all that has been taken since it grew.
        self.sleepers: OrderedDict[Peer, None] = OrderedDict()
        self.woken = 0
        self.max_queued: tuple[int, int, int] | None = None
        self.created = False
        self.policy: Policy | None = None
        self.throttle: Throttle | None = None
        self.throttled = False
        self.due = 0.0
        self.bytes = 0
        self.kept = 0
        self.names_stay = False
        self.asks = self.times = False
        self.keeps = 0.0

    def judge(self) -> None:
        """
        Its policy or L{max_queued} has changed: note what is to be done for each job, so that nearly each has
        one look for it.
        """
        policy, self.keeps = self.policy, 0.0
        self.asks = self.max_queued is not None
        self.times = False
        if policy is not None:
            self.asks |= bool(policy.unique_for or policy.expires or policy.max_queue or policy.max_bytes)
            self.times = bool(policy.timeout or policy.lease)
            bounds = policy.results
            if bounds is not None and bounds.keep > policy.unique_for and not (bounds.jobs or bounds.bytes):
                self.keeps = bounds.keep

    @property
    def total(self) -> int:
        """Jobs of every state, as C{status} shows them and C{maxqueue} counts them."""
        lanes = self.lanes
        return lanes.ready + lanes.paged + lanes.held + len(self.delayed) + self.later + self.running

    @property
    def waiting(self) -> int:
        """How many are not to be handed out yet."""
        return len(self.delayed) + self.later

    @property
    def waiting_since(self) -> float:
        """
        Since when the job of it has been ready that has been so for longest, by the server's time; 0.0 where
        none is. It costs the same however many there are.

        It is exact but where several have come back from workers that were lost: of these the one counts
        that comes first.
        """
        return min([job.since for job in self.lanes.heads()], default=0.0)

    def ready_for(self, now: float) -> float:
        """For how many seconds that job has been ready; 0.0 where none is."""
        since = self.waiting_since
        return max(now - since, 0.0) if since else 0.0

    @property
    def holds_names(self) -> bool:
        """Whether the unique of one of its jobs that is done may be taken still."""
        return self.kept > 0 and (self.names_stay or (self.policy is not None and self.policy.unique_for > 0))

    @property
    def paused(self) -> bool:
        """Whether an operator has paused it."""
        return self.throttle is not None and self.throttle.paused

    @property
    def unused(self) -> bool:
        """Whether nothing would be lost with it."""
        return not (self.total or self.workers or self.created or self.max_queued or self.kept or self.paused)

    def check_room(self, priority: int, size: int) -> None:
        """
        @raise QueueError: there is no room for one more job of this priority and size.
        """
        if (policy := self.policy) is not None:
            if 0 < policy.max_queue <= self.total:
                raise QueueError(f"Job queue is full: max_queue is {policy.max_queue}", why=QUEUE_FULL)
            if 0 < policy.max_bytes < self.bytes + size:
                raise QueueError(f"Job queue is full: max_bytes is {policy.max_bytes}", why=QUEUE_FULL)
        if self.max_queued is not None and 0 < self.max_queued[priority] <= self.total:
            raise QueueError("Job queue is full", why=QUEUE_FULL)

    def share(self) -> SharedLanes[Job]:
        """Have lanes for each tenant, from now on, if there are none."""
        lanes = self.lanes
        if not isinstance(lanes, SharedLanes):
            shared: SharedLanes[Job] = SharedLanes(self.policy is not None and self.policy.turns)
            shared.take_over(lanes)
            lanes = self.lanes = shared
        return lanes

    def arrange_lanes(self) -> None:
        """Have those lanes that are wanted: for each tenant, or for all."""
        lanes, turns = self.lanes, self.policy is not None and self.policy.turns
        if turns:
            self.share().set_turns(True)
        elif isinstance(lanes, SharedLanes):
            if lanes.bounded:
                lanes.set_turns(False)
            else:
                self.lanes = lanes.merged()

    def unassigned(self) -> list[Job]:
        """
        Every job that no worker has: those in the lanes and their overflow, in the order of being handed
        out, then those that are delayed.
        """
        return [*self.lanes.all(), *self.delayed]

    def __repr__(self) -> str:
        return f"<Function {self.name!r}>"


class Link(Protocol):
    """What can be known of the way to a peer; L{txgear.server.tcplink.TcpLink} is one."""

    @property
    def acks(self) -> QuickAcks:
        """Whether the peer is acknowledged at once, and how often it was."""

    def round_trip(self) -> float:
        """Seconds to the peer and back."""

    def heard(self) -> float:
        """Seconds since the last bytes came from it."""


class Rights(Protocol):
    """What one identity may do. It may change at any time: nobody keeps an answer."""

    @property
    def submits(self) -> Collection[bytes]:
        """Functions of which it is known that it may submit jobs of them; of all others L{may} tells."""

    def may(self, act: str, function: bytes = b"") -> bool:
        """
        @param act: one of L{txgear.broker.rights.ACTS}.
        @param function: the function's name; empty for an act that is for none.
        """


class Peer:
    """
    One connection, as the broker knows it: a client, a worker, or both.

    @ivar descriptor: the number that C{workers} shows for it, its socket's where it has one.
    @ivar address: where it comes from.
    @ivar client_id: what it calls itself.
    @ivar kind: what its connection speaks: C{gearman}, C{http} (jobs over HTTP), C{web}, or C{other}.
    @ivar connected: whether it is there.
    @ivar exceptions: whether it asked for WORK_EXCEPTION packets.
    @ivar restarts: whether it asked for L{RESTARTED<txgear.protocol.constants.RESTARTED>} packets, which say
        that what was sent of a job is void.
    @ivar extended: whether it speaks this server's own packets too.
    @ivar about: what it has said of itself as a worker; C{None} for nothing.
    @ivar paused: whether it has said that it takes no job for now, as somebody told it.
    @ivar encrypted: whether its connection has TLS, and the handshake is over.
    @ivar abilities: the functions that it can do, with the seconds
        that it gives itself for a job (0.0 for no bound).
    @ivar running: the jobs that it holds as a worker, by handle, oldest first.
    @ivar attached: the jobs that it waits for as a client, in the order of its first asking for them.
    @ivar asleep: whether it waits for a NOOP.
    @ivar barred: while it sleeps: the priority of which something is being read that it can do, so that no
        job of a lower one is for it; C{None} for none.
    @ivar woken_for: the function for which it was sent a NOOP that it has not answered.
    @ivar missed: when it was sent the last NOOP that it did not answer in time; 0.0 for never.
    @ivar enrolled: when it could do anything for the first time, or again; 0.0 for never. This and the next
        two are by the server's time.
    @ivar asked: when it last asked for a job, or said that it sleeps, or that it is not L{paused} any more;
        0.0 for never.
    @ivar freed: when it last had a job no more that it had; 0.0 for never.
    @ivar link: the way to it, if it is one of which something is known.
    @ivar unread: whether the server reads nothing of it for now, so that its silence means nothing.
    @ivar raised: the handle of the last job that it ended with an exception, until it speaks of it again.
    @ivar rights: what it may do; C{None} where there are no access rules, and everybody may do anything.
    @ivar tenant: on whose account its jobs are; C{None} for nobody's.
    """

    __slots__ = (
        "abilities",
        "about",
        "address",
        "asked",
        "asleep",
        "attached",
        "barred",
        "client_id",
        "connected",
        "descriptor",
        "encrypted",
        "enrolled",
        "exceptions",
        "extended",
        "freed",
        "kind",
        "link",
        "missed",
        "paused",
        "raised",
        "restarts",
        "rights",
        "running",
        "tenant",
        "unread",
        "woken_for",
    )

    def __init__(self, descriptor: int, address: str, exceptions: bool = False) -> None:
        self.descriptor = descriptor
        self.address = address
        self.client_id = b"-"
        self.kind = "other"
        self.connected = False
        self.exceptions = exceptions
        self.extended = False
        self.about: About | None = None
        self.paused = False
        self.encrypted = False
        self.restarts = False
        self.abilities: dict[Function, float] = {}
        self.running: dict[bytes, Job] = {}
        self.attached: dict[Job, None] = {}
        self.asleep = False
        self.barred: int | None = None
        self.woken_for: Function | None = None
        self.enrolled = self.asked = self.freed = self.missed = 0.0
        self.raised: bytes | None = None
        self.link: Link | None = None
        self.unread = False
        self.rights: Rights | None = None
        self.tenant: Tenant | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """What it can be told as a worker, such as C{pause}."""
        return () if self.about is None else self.about.state.words

    @property
    def works(self) -> bool:
        """Whether it is a worker: it can do something, or can be told to."""
        return bool(self.abilities or self.words)

    @property
    def name(self) -> str:
        """What it calls itself, or where it comes from, for people to read."""
        return f"{self.address} {self.descriptor}" if self.client_id in (b"", b"-") else text(self.client_id)

    @property
    def who(self) -> str:
        """Who does what it orders, for people to read: its identity; without one, where it comes from."""
        if self.tenant is not None:
            return self.tenant.name
        if self.client_id in (b"", b"-"):
            return self.address
        return f"{text(self.client_id[:MOST_NAMED])} at {self.address}"

    def __repr__(self) -> str:
        return f"<Peer {self.descriptor} {self.address}>"


class Run:
    """
    Jobs whose results are kept (see L{txgear.broker.ended.results}): they have ended one after the other, and
    none of them is to be forgotten before those ahead of it.

    @ivar jobs: those that are still here, by number; the first is the first that has ended.
    @ivar due: no later than when that one is to be forgotten, by the server's time; 0.0 while somebody is at
        it.
    @ivar last: when the last one that came is.
    """

    __slots__ = ("due", "jobs", "last")

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.due = self.last = 0.0
