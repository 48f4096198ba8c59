"""
What a broker does, by its rules, as simple as it can be said: lists and nothing
else. L{txgear.test.broker.test_broker_machine} holds the broker against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import takewhile
from math import inf

from txgear.broker.model import Peer
from txgear.broker.records import UNREADABLE_SECONDS, JobRecord, JobUpdate
from txgear.broker.sleepers import WAKE_SECONDS
from txgear.broker.states import CANCELLED, DELAYED, DONE, FAILED, PAGED, QUEUED, RUNNING, STORING
from txgear.errors import QueueError, ServerError
from txgear.protocol.constants import (
    PRIORITIES,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.test.support.broker import Heard
from txgear.test.support.model_absences import ModelAbsences
from txgear.test.support.model_jobs import Key, ModelJob, renamed


class BrokerModel:
    """
    What a broker does, by the rules, as simple as it can be said.

    A lane here is all that is queued: what can be handed out, and behind it
    what is PAGED.

    A job's C{due} is by the server's time, its C{at} by the wall clock, which is C{offset} ahead.
    """

    def __init__(self, retries: int, durable: bool, budget: int) -> None:
        self.retries = retries
        self.durable = durable
        self.budget = budget
        self.counter = 0
        self.updates: list[JobUpdate] = []
        self.deleted: list[int] = []
        self.jobs: list[ModelJob] = []
        self.lanes: dict[tuple[bytes, int], list[ModelJob]] = {}
        self.rings: list[list[bytes]] = [[] for _ in PRIORITIES]
        self.abilities: dict[Peer, dict[bytes, float]] = {}
        self.running: dict[Peer, list[ModelJob]] = {}
        self.asleep: set[Peer] = set()
        self.woken: dict[Peer, tuple[float, bytes]] = {}
        self.limits: dict[bytes, tuple[int, ...]] = {}
        self.created: set[bytes] = set()
        self.draining = False
        self.told: list[tuple[Peer, Heard]] = []
        self.scheduled = 0
        self.read_until = -inf  # when whoever waits for a read gives up
        self.offset = 0.0
        self.absences = ModelAbsences(self)
        # By function and by what it is of: how many there have been.
        self.tally: Counter[tuple[bytes, str]] = Counter()

    @property
    def live(self) -> Sequence[ModelJob]:
        """The jobs that have not ended."""
        return self.jobs

    def count(self, known: ModelJob, what: str) -> None:
        self.tally[known.function, what] += 1

    def lane(self, known: ModelJob) -> list[ModelJob]:
        return self.lanes.setdefault((known.function, known.priority), [])

    def front(self, function: bytes, priority: int) -> list[ModelJob]:
        """What can be handed out at once."""
        return [known for known in self.lanes.get((function, priority), []) if known.state == QUEUED]

    def overflow(self, function: bytes, priority: int) -> list[ModelJob]:
        """What waits until there is room in memory."""
        return [known for known in self.lanes.get((function, priority), []) if known.state == PAGED]

    def ready(self, function: bytes) -> int:
        """How many jobs of a function could be handed out, if nothing held it back."""
        return sum(len(self.front(function, priority)) for priority in PRIORITIES)

    def behind(self, known: ModelJob) -> bool:
        """Whether there is something behind which this one would have to go."""
        return bool(self.overflow(known.function, known.priority))

    def beside(self, known: ModelJob) -> list[ModelJob]:
        """Those among which it has its place, as long as it waits until there is room in memory."""
        return self.overflow(known.function, known.priority)

    def first_of(self, function: bytes, priority: int) -> ModelJob | None:
        """The next that is handed out."""
        return self.lanes[function, priority][0] if self.front(function, priority) else None

    def able(self, function: bytes) -> int:
        return sum(function in abilities for abilities in self.abilities.values())

    def used(self) -> int:
        return sum(known.size for known in self.jobs if known.takes_memory)

    def total(self, function: bytes) -> int:
        return sum(known.function == function for known in self.jobs)

    def functions(self) -> set[bytes]:
        """Those that anything is known of."""
        able = {function for abilities in self.abilities.values() for function in abilities}
        return {known.function for known in self.jobs} | able | set(self.limits) | self.created

    def in_use(self, function: bytes) -> bool:
        """Whether it cannot be dropped."""
        able = any(function in abilities for abilities in self.abilities.values())
        return able or self.total(function) > 0

    def drop_function(self, function: bytes) -> None:
        self.limits.pop(function, None)
        self.created.discard(function)

    def find(self, key: Key | None) -> ModelJob | None:
        return next((known for known in self.jobs if key is not None and known.key == key), None)

    def still_done(self, key: Key | None) -> ModelJob | None:
        """A job that is done, and is the same: of that nothing is known here."""
        return None

    def refuses(self, function: bytes, priority: int, size: int) -> bool:
        """Whether there is no room for one more."""
        return 0 < self.limits.get(function, (0, 0, 0))[priority] <= self.total(function)

    def schedule(self, known: ModelJob, due: float) -> None:
        self.scheduled += 1
        known.due = (due, self.scheduled)

    def appoint(self, known: ModelJob, at: float) -> None:
        self.scheduled += 1
        known.at = (at, self.scheduled)

    def wall(self, moment: float) -> float:
        """The same by the wall clock."""
        return moment + self.offset if moment else 0.0

    def enqueue(self, known: ModelJob, *, first: bool = False) -> None:
        known.due = known.at = None
        if self.draining and not known.clients:
            known.state = DELAYED
            return
        lane, where = self.lane(known), (known.function, known.priority)
        if not lane:
            self.open_lane(*where)
        known.returned = first and known.loaded
        if not known.returned:
            later = [*takewhile(lambda other: other.place > known.place, reversed(self.beside(known)))]
            known.state = PAGED
            lane.insert(lane.index(later[-1]) if later else len(lane), known)
            self.advance(*where)
            return
        before = [other for other in lane if other.state == QUEUED and other.returned]
        known.state = QUEUED
        lane.insert(sum(other.place < known.place for other in before), known)

    def advance(self, function: bytes, priority: int) -> None:
        """Whoever is first behind the front comes into it if its workload is there."""
        for known in self.overflow(function, priority):
            if not known.loaded:
                return
            known.state = QUEUED

    def open_lane(self, function: bytes, priority: int) -> None:
        """Its turn comes after those of all others."""
        if not self.throttled(function):
            self.rings[priority].append(function)

    def throttled(self, function: bytes) -> bool:
        """Whether no job of this function is to be handed out."""
        return False

    def advance_all(self) -> None:
        for function, priority in self.lanes:
            self.advance(function, priority)

    def put_last(self, known: ModelJob) -> None:
        self.counter += 1
        known.place = self.counter

    def note(self, known: ModelJob, due: float = 0.0) -> None:
        if known.storing or known.stored:
            known.kept_due = self.wall(due)
            self.updates.append(JobUpdate(known.job.number, known.place, known.kept_due, known.retries))

    def take_out(self, known: ModelJob) -> None:
        """Off its lane or its worker."""
        if known.state in (QUEUED, PAGED):
            self.lane(known).remove(known)
            ring = self.rings[known.priority]
            if known.function in ring and not self.lane(known):
                ring.remove(known.function)
        if known.worker is not None:
            self.running[known.worker].remove(known)
            self.count(known, "runs")
        known.state, known.worker, known.due, known.at = DELAYED, None, None, None

    def end(self, known: ModelJob, outcome: int = CANCELLED) -> None:
        self.take_out(known)
        self.jobs.remove(known)
        self.count(known, "completed" if outcome == DONE else "failed")
        if known.storing or known.stored:
            self.deleted.append(known.job.number)

    def add(self, known: ModelJob, due: float, delay: float = 0.0) -> None:
        self.jobs.append(known)
        self.count(known, "submitted")
        self.put_last(known)
        known.begins = known.created + delay if delay else 0.0
        if known.background and self.durable:
            known.state = STORING
            self.store(known, due or self.wall(known.begins))
        else:
            self.begin_to_wait(known, due, known.created, known.begins)

    def join(self, known: ModelJob, client: Peer, background: bool) -> None:
        self.count(known, "joined")
        if not background:
            known.clients.insert(0, client)
            return
        if self.durable and not known.background:
            self.store(known, self.waits_until(known) if known.state == DELAYED else 0.0)
        known.background = True

    def store(self, known: ModelJob, due: float) -> None:
        known.storing, known.kept_due, known.kept_created = True, due, self.wall(known.created)

    def waits_until(self, known: ModelJob) -> float:
        """By the wall clock."""
        return known.at[0] if known.at else self.wall(known.due[0]) if known.due else 0.0

    # What the store does

    def commit(self, known: ModelJob, now: float) -> None:
        known.storing, known.stored = False, True
        if known.state != STORING:
            return
        full = self.used() > self.budget  # it is counted already
        due = 0.0 if known.begins else known.kept_due
        waits = due > self.wall(now) or known.begins > now or self.expires_now(known, now)
        crowded = full and self.ready(known.function) >= self.able(known.function)
        known.loaded = not known.size or not (waits or crowded or self.behind(known))
        if known.kept_due and not waits:
            # The store has it as one that waits.
            self.note(known)
        self.begin_to_wait(known, due, now, known.begins)

    def expires_now(self, known: ModelJob, now: float) -> bool:
        """Whether it is not to be handed out any more: here none expires."""
        return False

    def begin_to_wait(self, known: ModelJob, due: float, now: float, begins: float = 0.0) -> None:
        if due > self.wall(now):
            known.state = DELAYED
            self.appoint(known, due)
        elif begins > now:
            known.state = DELAYED
            self.schedule(known, begins)
        else:
            self.enqueue(known)

    def refuse(self, known: ModelJob) -> None:
        known.storing = known.background = False
        if known.state == STORING or not (known.clients or known.state == RUNNING):
            self.end(known, FAILED if known.state == STORING else CANCELLED)

    def read(
        self, wanted: Collection[ModelJob], missing: ModelJob | None, bad: Collection[ModelJob], now: float
    ) -> None:
        """
        @param bad: those of them that cannot be read.
        """
        for known in wanted:
            if known.state == PAGED and known not in bad:
                if known is missing:
                    self.fail(known)
                known.loaded, known.unreadable = True, False
        for known in bad:
            if known.state == PAGED:
                self.put_off(known, now)
        self.advance_all()

    def put_off(self, known: ModelJob, now: float) -> None:
        """Others go on, and nobody waits for it who would not know for how long."""
        self.told += [(client, (WORK_FAIL, known.job.handle)) for client in known.clients]
        known.clients, known.unreadable = [], True
        self.take_out(known)
        self.begin_to_wait(known, 0.0, now, now + UNREADABLE_SECONDS)

    def count_anew(self) -> None:
        """The next server's time begins with what the wall clock shows."""
        for known in self.jobs:
            known.created = known.kept_created
        self.offset = 0.0

    def restart(self, now: float) -> None:
        """Only what the store has is left."""
        self.draining = False
        self.asleep.clear()
        for nothing in (self.lanes, self.abilities, self.running, self.woken, self.limits, self.created):
            nothing.clear()
        self.rings = [[] for _ in PRIORITIES]
        self.jobs = [known for known in self.jobs if known.stored]
        self.tally.clear()
        for known in sorted(self.jobs, key=lambda known: known.place):
            known.clients, known.worker, known.loaded, known.unreadable = [], None, not known.size, False
            known.due, known.at = None, None
            self.count(known, "restored")
            if not known.kept_due:
                self.begin_to_wait(known, 0.0, now)
        for known in sorted(self.jobs, key=lambda known: known.job.number):
            if known.kept_due:
                self.wait_again(known)
        self.absences.server_started(now)

    def wait_again(self, known: ModelJob) -> None:
        """Also where its time has come meanwhile: then it is behind those that waited for nothing."""
        known.state = DELAYED
        self.appoint(known, known.kept_due)

    def records(self) -> list[JobRecord]:
        """What the store has."""
        return [
            self.record(known)
            for known in sorted(self.jobs, key=lambda known: known.job.number)
            if known.stored
        ]

    def record(self, known: ModelJob) -> JobRecord:
        return JobRecord(
            known.job.number,
            known.place,
            known.job.handle.rpartition(b":")[0],
            known.function,
            known.unique,
            known.digest,
            known.job.reducer,
            known.priority,
            known.kept_due,
            known.retries,
            known.size,
            known.kept_created,
        )

    def answer(self, known: ModelJob, what: str) -> None:
        """What clients are told of a good answer."""
        handle = known.job.handle
        failed, raised = (WORK_FAIL, handle), (WORK_EXCEPTION, handle, b"data")
        for client in known.clients:
            told: dict[str, Heard] = {
                "work_data": (WORK_DATA, handle, b"data"),
                "work_warning": (WORK_WARNING, handle, b"data"),
                "work_status": (WORK_STATUS, handle, b"1", b"2"),
                "work_complete": (WORK_COMPLETE, handle, b"data"),
                "work_fail": failed,
                "work_exception": raised if client.exceptions else failed,
            }
            self.told.append((client, told[what]))
        if what in ("work_complete", "work_fail", "work_exception"):
            self.end(known, DONE if what == "work_complete" else FAILED)

    def fail(self, known: ModelJob) -> None:
        self.answer(known, "work_fail")

    def cancel(self, known: ModelJob) -> None:
        self.fail(known)

    def lose(self, known: ModelJob, words: bytes = b"") -> None:
        """
        @param words: why; nothing is kept of that here.
        """
        known.retries += 1
        if not (known.background or known.clients):
            self.end(known)
        elif 0 <= self.retries <= known.retries:
            self.fail(known)
        else:
            self.count(known, "retried")
            self.take_out(known)
            first = known.retries == 1
            if not first:
                self.put_behind(known)
            self.note(known)
            self.enqueue(known, first=first)

    def put_behind(self, known: ModelJob) -> None:
        """Behind all others, where it keeps no memory from them."""
        self.put_last(known)
        full = self.used() > self.budget or self.behind(known)
        if known.stored and known.size and full:
            known.loaded = False

    # Operators change jobs

    def reprioritise(self, known: ModelJob, priority: int) -> type[ServerError] | None:
        """
        @return: what is wrong with that; C{None} if it was done.
        """
        if known.state == RUNNING:
            return ServerError
        if priority != known.priority:
            self.put_elsewhere(known, known.function, priority)
        return None

    def put_elsewhere(self, known: ModelJob, function: bytes, priority: int) -> None:
        queued = known.state in (QUEUED, PAGED)
        if queued:
            self.take_out(known)
            self.advance(known.function, known.priority)
        moved, known.function, known.priority = known.function != function, function, priority
        known.left = known.left and not moved
        if moved:
            known.key = renamed(known.key, function)
            known.first_key = renamed(known.first_key, function)
            self.enter(known)
        if known.unique == b"-" and (known.stored or known.storing):
            # What is only not its name now, as another had it, the store does not know any more.
            known.first_key = known.key
        if queued:
            self.put_behind(known)
            self.note(known)
            self.enqueue(known)

    def enter(self, known: ModelJob) -> None:
        """It is one of another function: what holds there holds for it."""
        if known.state == DELAYED and known.due is not None:
            # Behind those that have the same time.
            self.schedule(known, known.due[0])

    def move(self, known: ModelJob, function: bytes, now: float) -> type[ServerError] | None:
        """
        @return: as in L{reprioritise}.
        """
        key = renamed(known.key, function)
        if known.state == RUNNING or known.function == function or self.find(key) or self.still_done(key):
            return ServerError
        if self.refuses(function, known.priority, known.size):
            return QueueError
        self.put_elsewhere(known, function, known.priority)
        return None

    def correct(self, known: ModelJob, workload: bytes, unavailable: bool) -> type[ServerError] | None:
        """
        @param unavailable: whether the store takes nothing.
        @return: as in L{reprioritise}.
        """
        if known.state == RUNNING:
            return ServerError
        if unavailable and (known.stored or known.storing):
            return QueueError
        key = (known.function, b"-", workload) if known.unique == b"-" and workload else None
        if self.find(key) not in (None, known):
            return ServerError
        if not self.has_room_for_growth(known, len(workload) - known.size):
            return QueueError
        self.give_workload(known, workload)
        if known.unique == b"-":
            known.key = known.first_key = key
        return None

    def has_room_for_growth(self, known: ModelJob, growth: int) -> bool:
        return True

    def give_workload(self, known: ModelJob, workload: bytes) -> None:
        known.workload, known.left = workload, False
        known.loaded = not known.stored or known.state == QUEUED or not workload
        if known.stored:
            known.unreadable = False
        if known.state == PAGED:
            self.advance(known.function, known.priority)

    def take_workload_back(self, known: ModelJob, workload: bytes) -> None:
        """The store has kept the old one."""
        known.workload, known.unreadable, known.left = workload, False, False
        if known.unique == b"-":
            known.key = known.first_key = None
        known.loaded = not workload
        if known.state == QUEUED:
            self.take_out(known)
            self.advance(known.function, known.priority)
            self.put_behind(known)
            self.note(known)
            self.enqueue(known)
        elif known.state == PAGED:
            self.advance(known.function, known.priority)

    def forget_abilities(self, peer: Peer, gone: list[bytes]) -> None:
        """One that speaks this server's own packets goes on with what it has."""
        for function in gone:
            self.abilities[peer].pop(function, None)
        if peer in self.woken and self.woken[peer][1] in gone:
            del self.woken[peer]
        if not peer.extended:
            for known in self.running[peer].copy():
                if known.function in gone:
                    self.lose(known)

    def forget_all(self, peer: Peer, words: bytes = b"") -> None:
        """All its functions and its jobs, those included of functions that it has not named."""
        lost, self.running[peer] = self.running[peer], []
        self.forget_abilities(peer, list(self.abilities[peer]))
        self.running[peer] = lost
        for known in lost.copy():
            self.lose(known, words)

    def can_do(self, peer: Peer, function: bytes, timeout: float) -> None:
        self.abilities[peer].pop(function, None)
        self.abilities[peer][function] = timeout

    def leave(self, peer: Peer, now: float) -> None:
        for known in self.jobs.copy():
            if peer in known.clients:
                known.clients = [client for client in known.clients if client is not peer]
                if known.state == RUNNING or known.clients:
                    continue
                if not known.background:
                    self.end(known)
                elif self.draining and known.state in (QUEUED, PAGED):
                    self.take_out(known)
        self.rise(peer)
        if self.absences.leave(peer, now):
            del self.abilities[peer]
        else:
            self.forget_all(peer, self.absences.forget(peer))
            del self.abilities[peer], self.running[peer]
        self.advance_all()

    def rise(self, peer: Peer) -> None:
        self.asleep.discard(peer)
        self.woken.pop(peer, None)

    def next_job(self, worker: Peer, now: float) -> ModelJob | None:
        """Of one whose workload is being read, what is of a lower priority waits."""
        for priority, ring in enumerate(self.rings):
            able = [function for function in ring if function in self.abilities[worker]]
            for function in able:
                if (known := self.first_of(function, priority)) is not None:
                    return known
            if able and now < self.read_until:
                return None
        return None

    def grab(self, worker: Peer, now: float) -> ModelJob | None:
        self.rise(worker)
        known = self.next_job(worker, now)
        if known is not None:
            self.take_out(known)
            ring = self.rings[known.priority]
            if known.function in ring:
                ring.remove(known.function)
                ring.append(known.function)
            known.state, known.worker = RUNNING, worker
            self.running[worker].append(known)
            self.begin(known, worker, now)
        return known

    def begin(self, known: ModelJob, worker: Peer, now: float) -> None:
        if timeout := self.abilities[worker].get(known.function, 0.0):
            self.schedule(known, now + timeout)

    def may_work(self, peer: Peer, function: bytes) -> bool:
        return True

    def hand_over(self, known: ModelJob, worker: Peer) -> None:
        """It is another's, under the same attempt."""
        known.worker = worker
        self.running[worker].append(known)

    def claim(self, known: ModelJob, worker: Peer, now: float) -> None:
        """A worker has it already, and is not sent it."""
        self.take_out(known)
        known.state = RUNNING
        self.hand_over(known, worker)
        self.count(known, "waits")
        self.begin(known, worker, now)
        self.advance(known.function, known.priority)

    def expire(self, now: float) -> None:
        for known in sorted(self.jobs, key=lambda known: known.due or (inf, 0)):
            if known.due is not None and known.due[0] <= now:
                if known.state == RUNNING:
                    self.lose(known)
                else:
                    self.begin_at_last(known)
        for known in sorted(self.jobs, key=lambda known: known.at or (inf, 0)):
            if known.at is not None and known.at[0] <= self.wall(now):
                self.begin_at_last(known)
        self.absences.expire(now)
        self.give_up_woken(now)

    def begin_at_last(self, known: ModelJob) -> None:
        """What it waited for is over."""
        self.put_last(known)
        self.note(known)
        self.enqueue(known)

    def give_up_woken(self, now: float) -> None:
        for peer, (sent, _) in list(self.woken.items()):
            if sent + WAKE_SECONDS <= now:
                del self.woken[peer]

    def deadline(self) -> float:
        return min(
            [known.due[0] for known in self.jobs if known.due is not None]
            + [known.at[0] - self.offset for known in self.jobs if known.at is not None]
            + [sent + WAKE_SECONDS for sent, _ in self.woken.values()]
            + [self.absences.deadline()]
        )

    def drain(self) -> None:
        self.draining = True
        for known in self.jobs:
            if known.state in (QUEUED, PAGED) and not known.clients:
                self.take_out(known)
        self.advance_all()

    def drained(self) -> bool:
        states = {known.state for known in self.jobs}
        waited_for = any(self.is_waited_for(known) for known in self.jobs)
        return self.draining and not states & {RUNNING, QUEUED, PAGED} and not waited_for

    def is_waited_for(self, known: ModelJob) -> bool:
        """Whether a client waits for a job that is on its way to where it can be handed out."""
        again = known.state == DELAYED and known.retries > 0 and not known.background
        return (known.state == STORING or again) and bool(known.clients)
