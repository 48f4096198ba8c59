"""
What others may provide to a txgear server, and what the server provides to them.

Light on purpose: the plugin cache pickles these interfaces, and every plugin
imports them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Any

    from twisted.internet.interfaces import IProtocolFactory, IReactorTime

    from txgear.broker.broker import Broker
    from txgear.broker.model import Job, Peer
    from txgear.broker.orders import Mail, Orders, Post
    from txgear.broker.ports import Outbox
    from txgear.broker.records import (
        Batch,
        HistoryChunk,
        JobRecord,
        LaneCount,
        Lease,
        Question,
        StoredValue,
        StoreReport,
        Swap,
        Taken,
    )
    from txgear.protocol.packets import Packet


class PeerLine(Protocol):
    """
    How one peer is reached. A protocol module provides one for each connection.
    """

    def write_packets(self, packets: list[Packet]) -> None:
        """
        Write what a turn brought for this peer.

        @param packets: in order; each its type and then its arguments. The type
            L{constants.TEXT} stands for the answer to a text command.
        """

    def pause_reading(self) -> None:
        """Stop reading the peer: too much waits for the disk on its behalf."""

    def resume_reading(self) -> None:
        """Read the peer again: nothing waits for the disk any more. This follows L{pause_reading} only."""

    def drain(self) -> None:
        """The server drains: end the connection if nothing is waited for on it, or once that is so."""

    def close(self) -> None:
        """End the connection once what was written has left."""

    def abort(self) -> None:
        """End the connection now; what was not written is lost."""


class IServerSettings(Interface):
    """What the operator decided, as far as every protocol keeps to it."""

    max_packet: int = Attribute("Bytes of the largest packet body that is taken, and so of a workload.")


class IJobServer(Interface):
    """
    A job server, as the protocols of its ports use it.

    Whatever happens to a protocol (bytes, a lost connection, a call of its own) is one turn:
    the protocol calls the L{broker}, and then L{end_turn}.
    """

    clock: IReactorTime = Attribute("The reactor's clock, for timers.")

    settings: IServerSettings = Attribute("What the operator decided; does not change.")

    broker: Broker = Attribute("The rules: takes jobs, gives them to workers, and ends them.")

    outbox: Outbox = Attribute(
        "Takes packets for peers, by C{send}. Each comes to its peer's C{write_packets}, in order."
    )

    def seconds() -> float:
        """The server's time now. Spans are measured by it; nobody can set it."""

    def wall_clock() -> float:
        """The time of day, in seconds since the epoch: for what is shown, and for times that peers name."""

    def accept(line: PeerLine, transport: Any) -> Peer:
        """
        Set up the socket of a new connection (TCP_NODELAY, keep-alive), and L{connect} it.

        @param line: carries packets to the peer.
        @param transport: the connection. Its descriptor and its address are what the text command
            C{workers} shows.
        @return: how the broker knows the peer; L{disconnect} ends it.
        """

    def secured(peer: Peer, transport: Any) -> None:
        """
        Tell that the TLS of a connection is up: its handshake has been completed, and nothing that the peer
        says has been handed out yet. A protocol that provides Twisted's C{IHandshakeListener} calls this.

        @param peer: what L{accept} returned.
        @param transport: the same as there.
        """

    def connect(line: PeerLine, descriptor: int, address: str) -> Peer:
        """
        Make a peer known to the broker.

        @param line: carries packets to the peer.
        @param descriptor: the number that the text command C{workers} shows.
        @param address: where the peer comes from.
        @return: how the broker knows the peer; L{disconnect} ends it.
        """

    def disconnect(peer: Peer) -> None:
        """
        Forget a peer whose connection has ended; call it once. Jobs that only this peer waited for
        are dropped, and jobs that it was doing go to other workers. This ends a turn.
        """

    def created(peer: Peer, job: Job, background: bool) -> None:
        """
        Answer a submit: with JOB_CREATED, at once or when the job is safe on disk, or with ERROR if it
        cannot be stored. All that the peer is sent later comes behind this answer.

        @param job: what C{broker.submit} returned.
        @param background: whether it was a background submit.
        """

    def end_turn() -> None:
        """Send the packets that this turn brought, and set the timer for the next one."""


class IProtocolModule(Interface):
    """
    What a port speaks.

    A module that provides this and C{twisted.plugin.IPlugin} is found in
    C{txgear.plugins}, which other distributions may extend by a folder
    C{txgear/plugins} (without an C{__init__.py}) of their own.
    """

    name: str = Attribute("The word for C{--protocol}: lower-case letters, digits and dashes.")

    description: str = Attribute("One line for the help.")

    parameters: list[tuple[str, str | None, Any, str, Any]] = Attribute(
        """
        The options it adds to the command line, each as in C{optParameters}
        of L{twisted.python.usage.Options}: long name, short name or C{None},
        default, help, and a callable that turns the text into a value or
        raises C{ValueError}. Long names start with the module's own name, so
        that they meet nobody else's.
        """
    )

    port_option: str = Attribute("The option that has the number of its TCP port.")

    def factory(server: IJobServer, options: Mapping[str, Any]) -> IProtocolFactory:
        """
        Make what listens on the module's ports; called once, before they open.

        @param server: all of the job server that a protocol may use.
        @param options: the whole command line, by long names.
        @return: a protocol factory.
        @raise txgear.errors.ConfigurationError: the options make no sense.
        """


class ITlsProtocolModule(IProtocolModule):
    """
    What a port can speak over TLS as well. The server puts TLS between the port and what C{factory} makes;
    whose protocols should call L{IJobServer.secured}, as Twisted's C{IHandshakeListener}.
    """

    tls_port_option: str = Attribute(
        "The option that has the number of its TCP port for TLS; by default C{None}, for no such port."
    )


class IJobStore(Interface):
    """
    Where background jobs outlive the server.

    Every method blocks until it is done. They are called one at a time, not
    always from the same thread, and never from the reactor's once the server
    is up. Each may raise

      - L{txgear.errors.StoreUnavailable}: no answer, or the connection is lost.
        Nothing but L{open} and L{close} may follow.
      - L{txgear.errors.StoreRefused}: what was given is not taken, and nothing of
        it was done; the store can be worked with as before. Where one value is too
        large, L{txgear.errors.ValueTooLarge}: of these texts it alone is for clients.
      - L{txgear.errors.StoreTaken}: another server has the store; nothing was done.
      - L{txgear.errors.StoreUnusable} otherwise (L{open} only).

    Jobs are told apart by their number and nothing else.
    """

    name: str = Attribute("What it is and where, for the log; without a password.")

    def open() -> None:
        """
        Connect, lock others out, and bring the schema up to date. Called again after
        L{txgear.errors.StoreUnavailable}, it lets go of what is left of the old connection first.

        @raise txgear.errors.StoreTaken: since it was opened last, another server has had it.
        """

    def reserve(count: int) -> int:
        """
        Set that many job numbers apart, for good.

        @return: the first of them; at least 1, and above all that were ever reserved or given to L{close}.
        """

    def replay(after: int, limit: int) -> list[JobRecord]:
        """
        Read what is kept, by and by.

        @param after: a job's number, or 0 for the beginning.
        @param limit: jobs to return at the most.
        @return: the kept jobs with a higher number, in the order of their numbers;
            fewer than C{limit} only if there are no more.
        """

    def lanes() -> list[LaneCount]:
        """How many jobs are kept: each lane that has any. That takes the same however many they are."""

    def rows(question: Question, workloads: dict[int, bytes] | None = None) -> list[JobRecord]:
        """
        Read jobs that are kept. That takes as long as is needed for those that are found, however many there
        are, but for L{InOrder<txgear.broker.records.InOrder>}.

        @param workloads: where their workloads are put, by number, as far as they come with the jobs: each
            has few bytes. The others are for L{workloads} to read. By default nobody wants any.
        @return: them, with their kinds and when they wake; of L{ByNumber<txgear.broker.records.ByNumber>} and
            L{ByKey<txgear.broker.records.ByKey>} in any order.
        """

    def hashes(after: int, limit: int) -> list[int]:
        """
        Read by what jobs with keys are found, by and by.

        @param after: one of them, or -1 for the beginning.
        @param limit: how many at the most; fewer only if there are no more.
        @return: numbers in growing order, below 2**63, of which those of C{limit} follow each other; their
            last bits are what L{hash_of<txgear.broker.keys.hash_of>} makes of the keys.
        """

    def write(batch: Batch) -> None:
        """
        Do all that the batch says as one transaction, and return when it would
        survive a loss of power.
        """

    def workloads(numbers: Sequence[int]) -> dict[int, bytes]:
        """
        Read workloads.

        @return: them by number; without those that are not kept.
        """

    def results(numbers: Sequence[int]) -> dict[int, bytes]:
        """
        Read results.

        @return: those that are kept and not empty, by number.
        """

    def values() -> list[StoredValue]:
        """All values that are kept, with 0 for their numbers."""

    def known(numbers: Sequence[int]) -> set[int]:
        """Those of the numbers whose jobs are kept."""

    def close(next_number: int | None) -> None:
        """
        Let go of everything; does not fail, and twice is once.

        @param next_number: the first number that was not used, if that is
            known: those from there on are no longer reserved.
        """


class ILeasedStore(IJobStore):
    """
    A store that is the server's as long as it writes something from time to time: another server takes it
    for dead otherwise.
    """

    beat_seconds: float = Attribute("Seconds after the last change from which on C{renew} is due.")

    def renew() -> None:
        """
        Show that this server lives. Each call that changes something does so, too, as does L{open}.

        @raise txgear.errors.StoreTaken: another server has the store.
        """


class IPartedStore(ILeasedStore):
    """
    A store that several servers have at once, each a part of the job numbers, and with it all jobs in it. A
    server's own are the part that it makes when it opens the store, which is empty, and those that it takes
    over. All other methods speak of the server's own jobs only.

    After L{txgear.errors.StoreTaken} the server has none of its parts any more, and L{open} makes a new one,
    which is empty: what the server knows of stored jobs is to be forgotten first.
    """

    lease_seconds: float = Attribute(
        "Seconds for which the lease of a part stands still before another server may take it over."
    )

    def leases() -> list[Lease]:
        """The leases of all parts, as they are now."""

    def tell(status: bytes) -> None:
        """
        Have something in the lease of the part that new jobs come to, for the other servers. It is written
        with whatever changes next; this asks nothing of the database.

        @param status: not more than L{txgear.stores.schema.MAX_STATUS} bytes.
        """

    def shared() -> list[StoredValue]:
        """
        The values that hold for all servers, those of L{SHARED<txgear.broker.records.SHARED>} and of
        L{SLOTS<txgear.broker.records.SLOTS>}, with 0 for their numbers.
        """

    def swap(swaps: Sequence[Swap]) -> list[bool]:
        """
        Put values in the place of others, each if that is there as somebody has read it.

        @param swaps: each kind and name once.
        @return: for each whether it was done.
        """

    def take(lease: Lease) -> Taken | None:
        """
        Take over the part of another server, or one that nobody has, if its lease is as it was read: in one
        statement, of which one server's has an effect. Numbers that are reserved from then on are above all
        of that part.

        @param lease: what L{leases} has answered. If it is ours already, as after a taking of which nothing
            was heard, what is in it is read only.
        @return: what is in the part; C{None} if its owner lives, or another server was quicker.
        """

    def exchange(post: Post) -> Mail:
        """
        Ask the owners of other parts for something, and see what has come of it; look at jobs of whichever
        server. Nothing of this is in a part of anybody's.
        """

    def orders(known: Collection[int]) -> Orders:
        """
        What this server is asked for. Some at a time: others follow at the next call.

        @param known: the numbers of orders that it has heard of.
        @raise txgear.errors.StoreTaken: another server has a part of this one's.
        """

    def answer(answers: Mapping[int, bytes]) -> None:
        """
        Answer orders, by their numbers. One that is not there any more is passed over.

        @param answers: none of them empty.
        @raise txgear.errors.StoreTaken: another server has a part of this one's; nothing is answered.
        """


class IHistoryStore(IJobStore):
    """
    A store that keeps the history of figures as well. A server whose store does not begins anew after a
    restart.
    """

    def put_history(chunks: Sequence[HistoryChunk], deleted: Sequence[int]) -> None:
        """
        Keep some of it, as one transaction.

        @param chunks: each replaces the one of its number.
        @param deleted: numbers of others that are not to be kept; one that is not kept has no effect.
        """

    def history(after: int, limit: int) -> list[HistoryChunk]:
        """
        Read what is kept, by and by.

        @param after: a number, or 0 for the beginning.
        @param limit: chunks to return at the most.
        @return: those with higher numbers, in the order of these; fewer than C{limit} only if there are no
            more.
        """


class IPatientStore(IJobStore):
    """A store that knows for how long it may be silent though nothing is wrong with it."""

    timeout: float = Attribute("Seconds in which it answers; known when it is open.")


class IReportingStore(IJobStore):
    """A store that can say what it is, and how durable its settings are now."""

    def report() -> StoreReport:
        """Ask the database itself; this takes some milliseconds at the most."""
