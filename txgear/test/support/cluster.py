"""
Several servers over one database, all of it in memory: their clocks, what they ask the database and when it
answers are the test's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from txgear.broker.orders import Mail, Order, Orders, Post, Sighting
from txgear.broker.records import (
    ASIDE,
    LAST_NUMBER,
    OWN,
    SCHEDULED,
    SHARED,
    SLOTS,
    Batch,
    DoneElsewhere,
    HistoryChunk,
    JobRecord,
    LaneCount,
    Lease,
    Naming,
    Question,
    StoredValue,
    Swap,
    Taken,
    handle_of,
    key_of_record,
)
from txgear.cluster.member import Member
from txgear.errors import StoreRefused, StoreTaken, StoreUnavailable
from txgear.interfaces import IHistoryStore, IPartedStore
from txgear.stores.memory import MemoryStore
from txgear.test.support.clock import START
from txgear.test.support.server import DurableServerFixture, FakePeer

T = TypeVar("T")

SIZE: Final = 1000
"""Job numbers of each part."""
NUMBERS: Final = 100
"""Job numbers that a server reserves when it starts."""
LEASE: Final = 8.0


class Row:
    """A lease, as it is in the database."""

    def __init__(self, part: int, first: int, owner: bytes, name: str) -> None:
        self.part = part
        self.first = self.next = first
        self.end = first + SIZE
        self.owner = owner
        # Whether its server knows of no others.
        self.is_strange = False
        self.term = 1
        self.beat = 0
        self.name = name
        self.status = b""

    def __contains__(self, number: int) -> bool:
        return self.first <= number < self.end


class Written(NamedTuple):
    """
    A write that was committed.

    @ivar owner: whose it was.
    @ivar owners: who had each part when that was.
    @ivar batch: what was in it.
    """

    owner: bytes
    owners: dict[int, bytes]
    batch: Batch


class OrderRow:
    """An order, as it is in the database."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.answer: bytes | None = None

    def is_open(self, parts: Collection[int]) -> bool:
        return self.order.part in parts and not self.answer


class Database:
    """
    What all servers share.

    @ivar rows: all jobs.
    @ivar leases: by part.
    @ivar log: all that was committed.
    @ivar orders: by number.
    @ivar names: which job has each name.
    """

    def __init__(self) -> None:
        self.rows = MemoryStore()
        self.rows.open()
        self.leases: dict[int, Row] = {}
        self.log: list[Written] = []
        self.orders: dict[int, OrderRow] = {}
        self.owners = 0
        self.names: dict[tuple[bytes, bytes | int], int] = {}

    @property
    def kept(self) -> dict[int, JobRecord]:
        """All jobs, by number."""
        return dict(self.rows._jobs)

    def exchange(self, post: Post, ours: Collection[int]) -> Mail:
        for number in post.over:
            self.orders.pop(number, None)
        self.orders.update((order.number, OrderRow(order)) for order in post.new)
        gone = {each for each in post.withdrawn if each in self.orders and self.orders[each].answer is None}
        for number in gone:
            del self.orders[number]
        rows = {number: self.orders[number].answer for number in post.waiting if number in self.orders}
        seen = []
        for record in self.kept.values():
            if record.number in post.numbers or record.unique in post.uniques:
                (part,) = (row.part for row in self.leases.values() if record.number in row)
                seen.append(Sighting(record, part, part in ours))
        results = {
            number: self.rows._results[number] for number in post.results if number in self.rows._results
        }
        return Mail(seen, {number: answer for number, answer in rows.items() if answer}, gone, results)

    def write(self, batch: Batch) -> None:
        """What a real one decides: who is first with a name, or with a time of a schedule."""
        kept, said = self.kept, {each.number: each for each in batch.names}
        over = {*batch.deleted, *batch.deleted_all}
        names = {
            name: number
            for name, number in self.names.items()
            if number in kept and number not in over and number not in said
        }
        joined: dict[int, JobRecord] = {}
        for job, _ in batch.new_jobs:
            _, function, key = said.pop(job.number, Naming(job.number, job.function, key_of_record(job)))
            if key is None or job.number in over:
                continue
            if (other := names.setdefault((function, key), job.number)) != job.number:
                joined[job.number] = kept[other]
        for number, function, key in said.values():
            if key is not None and number not in over:
                names.setdefault((function, key), number)
        marks = {value.name: value for value in self.rows.values() if value.kind == SCHEDULED}
        values: list[StoredValue] = []
        passed: dict[int, bytes] = {}
        handles = {job.number: handle_of(job) for job, _ in batch.new_jobs}
        for value in batch.values:
            mark = marks.get(value.name, StoredValue(SCHEDULED, value.name, 0.0))
            if value.kind != SCHEDULED or not value.value:
                values.append(value)
            elif value.number and value.number not in handles:
                if value.text == mark.text:
                    values.append(value._replace(text=""))
            elif value.value > mark.value:
                text = handles[value.number].decode() if value.number else value.text
                values.append(value._replace(text=text))
            elif value.number and value.number not in joined:
                passed[value.number] = mark.text.encode()
        if joined or passed:
            raise DoneElsewhere(joined, passed)
        self.rows.write(batch._replace(values=values))
        self.names = names

    def new_owner(self) -> bytes:
        self.owners += 1
        return b"owner %d" % self.owners

    def make_part(self, owner: bytes, name: str) -> Row:
        part = len(self.leases) + 1
        first = max([row.end for row in self.leases.values()], default=0)
        self.leases[part] = Row(part, first, owner, name)
        return self.leases[part]


@implementer(IHistoryStore, IPartedStore)
class ClusterStore:
    """
    One server's.

    @ivar is_cut: whether the database does not answer it.
    @ivar hesitates: whether it cannot write jobs at present.
    @ivar faults: names of methods whose next call does what it is to do, and is not answered.
    @ivar broken: names of those that are never done.
    @ivar opened: how often it was opened.
    """

    beat_seconds = 2.0
    lease_seconds = LEASE

    def __init__(self, database: Database, name: str) -> None:
        self.name = f"cluster:{name}"
        self.server = name
        self.database = database
        self.is_cut = self.hesitates = False
        self.faults: list[str] = []
        self.broken: set[str] = set()
        self.opened = 0
        self._is_open = False
        self.owner = b""
        self.parts: dict[int, Row] = {}
        self._status = b""

    # To have it

    def open(self) -> None:
        self.opened += 1
        self._reach()
        if not self.parts:
            self.owner = self.database.new_owner()
            home = self.database.make_part(self.owner, self.server)
            self.parts = {home.part: home}
        if any(row.owner != self.owner for row in self.parts.values()):
            raise StoreTaken("another server has taken it")
        # A taking of which nothing was heard is ours.
        self.parts = {row.part: row for row in self.database.leases.values() if row.owner == self.owner}
        self._is_open = True
        self._fence()
        self._end("open", None)

    def close(self, next_number: int | None) -> None:
        if self._is_open and not self.is_cut:
            for row in self.database.leases.values():
                if row.owner == self.owner:
                    row.owner, row.name, row.status = b"", "", b""
        self.parts = {}
        self._is_open = False

    def renew(self) -> None:
        self._change("renew", lambda: None)

    def leases(self) -> list[Lease]:
        self._try("leases")
        return self._end(
            "leases",
            [
                Lease(
                    row.part,
                    row.owner,
                    row.term,
                    row.beat,
                    row.name,
                    "",
                    row.owner == self.owner,
                    b"" if row.is_strange else row.owner,
                    row.status,
                    row.first,
                    row.end,
                )
                for row in self.database.leases.values()
            ],
        )

    def tell(self, status: bytes) -> None:
        self._status = status

    def shared(self) -> list[StoredValue]:
        self._reach()
        return [value for value in self.database.rows.values() if value.kind in (*SHARED, SLOTS)]

    def swap(self, swaps: Sequence[Swap]) -> list[bool]:
        def swap() -> list[bool]:
            rows = self.database.rows
            there = {(value.kind, value.name): value.value for value in rows.values()}
            done = [there.get((value.kind, value.name), 0.0) == before for value, before in swaps]
            values = [value for (value, _), is_done in zip(swaps, done, strict=True) if is_done]
            rows.write(Batch((), (), (), values=values))
            return done

        return self._change("swap", swap)

    def take(self, lease: Lease) -> Taken | None:
        self._reach()
        row = self.database.leases[lease.part]
        if row.owner != self.owner:
            if (row.owner, row.term, row.beat) != lease[1:4]:
                return None
            row.owner, row.term, row.beat, row.name = self.owner, row.term + 1, 0, self.server
            row.status = b""
        home = self.database.make_part(self.owner, self.server)
        self.parts.update({row.part: row, home.part: home})
        found = self._of([row])
        aside = [each for each in found.replay(-1, LAST_NUMBER) if each.kind & ~OWN == ASIDE]
        return self._end("take", Taken(found.lanes(), aside))

    def reserve(self, count: int) -> int:
        home = self.parts[max(self.parts)]

        def reserve() -> int:
            first = home.next or 1
            home.next = min(first + count, home.end)
            if first + NUMBERS > home.end:
                raise StoreRefused("the job numbers are used up")
            return first

        return self._change("reserve", reserve)

    # Orders

    def exchange(self, post: Post) -> Mail:
        self._try("exchange")
        return self._end("exchange", self.database.exchange(post, self.parts))

    def orders(self, known: Collection[int]) -> Orders:
        self._try("orders")
        open_ = {number for number, order in self.database.orders.items() if order.is_open(self.parts)}
        fresh = [number for number in open_ if number not in known]
        if fresh:
            self._fence()
        for number in fresh:
            self.database.orders[number].answer = b""
        return self._end("orders", Orders([self.database.orders[number].order for number in fresh], open_))

    def answer(self, answers: Mapping[int, bytes]) -> None:
        def answer() -> None:
            for number, text in answers.items():
                if number in self.database.orders:
                    self.database.orders[number].answer = text

        self._change("answer", answer)

    # Jobs

    def write(self, batch: Batch) -> None:
        if self.hesitates:
            raise StoreUnavailable("no answer")

        def write() -> None:
            numbers = [
                *(job.number for job, _ in batch.new_jobs),
                *(update.number for update in batch.updates),
                *batch.deleted,
                *batch.deleted_all,
            ]
            assert all(any(number in row for row in self.parts.values()) for number in numbers)
            self.database.write(batch)
            owners = {row.part: row.owner for row in self.database.leases.values()}
            self.database.log.append(Written(self.owner, owners, batch))

        self._change("write", write)

    def replay(self, after: int, limit: int) -> list[JobRecord]:
        return self._read("replay", lambda store: store.replay(after, limit))

    def lanes(self) -> list[LaneCount]:
        return self._read("lanes", MemoryStore.lanes)

    def rows(self, question: Question, workloads: dict[int, bytes] | None = None) -> list[JobRecord]:
        return self._read("rows", lambda store: store.rows(question))

    def hashes(self, after: int, limit: int) -> list[int]:
        return self._read("hashes", lambda store: store.hashes(after, limit))

    def workloads(self, numbers: Sequence[int]) -> dict[int, bytes]:
        return self._read("workloads", lambda store: store.workloads(numbers))

    def results(self, numbers: Sequence[int]) -> dict[int, bytes]:
        return self._read("results", lambda store: store.results(numbers))

    def known(self, numbers: Sequence[int]) -> set[int]:
        return self._read("known", lambda store: store.known(numbers))

    def values(self) -> list[StoredValue]:
        self._reach()
        return self.database.rows.values()

    def put_history(self, chunks: Sequence[HistoryChunk], deleted: Sequence[int]) -> None:
        self._change("put_history", lambda: None)

    def history(self, after: int, limit: int) -> list[HistoryChunk]:
        return self._read("history", lambda store: store.history(after, limit))

    # How it is done

    def _reach(self) -> None:
        if self.is_cut:
            self._is_open = False
            raise StoreUnavailable("no answer")

    def _end(self, name: str, result: T) -> T:
        if name in self.faults:
            self.faults.remove(name)
            self._is_open = False
            raise StoreUnavailable("the connection was lost")
        return result

    def _try(self, name: str) -> None:
        self._reach()
        if name in self.broken:
            self._is_open = False
            raise StoreUnavailable("permission denied")

    def _fence(self) -> None:
        rows = self.parts.values()
        if any(row.owner != self.owner for row in rows):
            raise StoreTaken("another server has taken it")
        for row in rows:
            row.beat += 1
        if self._status:
            self.parts[max(self.parts)].status, self._status = self._status, b""

    def _change(self, name: str, change: Callable[[], T]) -> T:
        self._try(name)
        self._fence()
        return self._end(name, change())

    def _of(self, rows: Collection[Row]) -> MemoryStore:
        """The jobs of some parts."""
        found, every = MemoryStore(), self.database.rows
        found.open()
        ours = [number for number in every._jobs if any(number in row for row in rows)]
        found._jobs = {number: every._jobs[number] for number in ours}
        found._workloads, found._results = every._workloads, every._results
        return found

    def _read(self, name: str, read: Callable[[MemoryStore], T]) -> T:
        self._reach()
        return self._end(name, read(self._of(self.parts.values())))


class SlowThread:
    """
    A thread whose calls take their time: some until the database has carried them out, which goes on while
    the process is stopped, and some until its answer is heard.

    @ivar until_done: seconds of the first;
    @ivar until_heard: seconds of the second.
    """

    def __init__(self, world: Clock, clock: Clock) -> None:
        self.until_done = self.until_heard = 0.0
        self._world = world
        self._clock = clock

    def __call__(self, call: Callable[[], Any]) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()

        def work() -> None:
            try:
                value = call()
            except Exception:
                value = Failure()
            self._clock.callLater(self.until_heard, result.callback, value)

        self._world.callLater(self.until_done, work)
        return result


class NodeClock(Clock):
    """
    The clock of one server.

    @ivar turn: seconds that what is to be done at once waits at the least, as a turn takes so long.
    """

    turn = 0.0

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> Any:
        return super().callLater(delay or self.turn, callable, *args, **kw)


class Node:
    """
    A server.

    @ivar is_frozen: whether its process is stopped.
    @ivar taken: how often it has heard that another has taken one of its parts.
    """

    def __init__(self, world: World, name: str, **choices: Any) -> None:
        self.world = world
        self.clock = NodeClock()
        self.clock.advance(world.clock.seconds())
        self.is_frozen = self.is_gone = False
        self.taken = 0
        self.store = ClusterStore(world.database, name)
        self.thread = SlowThread(world.clock, self.clock)
        self.fixture = DurableServerFixture(
            self.store, self.thread, clock=self.clock, numbers=NUMBERS, lease=LEASE, **choices
        )
        self.server, self.journal = self.fixture.server, self.fixture.journal
        self.server.store_taken = self._has_lost_it
        self.server.cluster = self.member = Member(self.server, self.store, lambda: world.chance)
        self.server.elsewhere = self.member.elsewhere
        self.member.start()
        self.server.end_turn()

    def _has_lost_it(self) -> None:
        self.taken += 1
        self.member.stop()

    def connect(self) -> FakePeer:
        return self.fixture.connect()

    def kill(self) -> None:
        """Nothing of it happens any more."""
        self.is_frozen = self.is_gone = True

    def freeze(self) -> None:
        self.is_frozen = True

    def thaw(self, *, timers: bool = True) -> None:
        """
        Let the process go on.

        @param timers: whether what has become due meanwhile happens now; otherwise with the next step.
        """
        self.is_frozen = False
        self.clock.rightNow = self.world.clock.seconds()
        if timers:
            self.clock.advance(0)

    def leave(self) -> Deferred[None]:
        """End in order."""
        self.member.stop()
        return self.journal.close()


class World:
    """
    All of them, and the time.

    @ivar chance: what comes in place of random numbers.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.database = Database()
        self.nodes: list[Node] = []
        self.chance = 0.5

    def join(self, name: str, **choices: Any) -> Node:
        node = Node(self, name, **choices)
        self.nodes.append(node)
        return node

    def run(self, seconds: float, step: float = 0.05) -> None:
        """Let time pass."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            for node in self.nodes:
                if not node.is_frozen:
                    node.clock.advance(self.clock.seconds() - node.clock.seconds())
