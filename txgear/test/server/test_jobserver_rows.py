"""
Any sequence of packets, orders and answers of the store, to a server that holds hardly any job in memory:
what peers see must be right wherever a job is.

Everything here is seen by peers alone, and what the store has after a kill; L{txgear.test.support.rows} says
what that allows. The store does one thing at a time, when an event says so, so that whatever can happen while
a job is read, written or let go of does happen.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.paging import PATIENCE
from txgear.policies import CLASSIC, Policies
from txgear.protocol import constants as c
from txgear.protocol.packets import Decoder, request
from txgear.test.support.clock import START
from txgear.test.support.journal import FaultyStore
from txgear.test.support.rows import (
    DEAD,
    DELAYED,
    DONE,
    GONE,
    KEPT,
    LIVE,
    QUEUED,
    RUNNING,
    Known,
    Ledger,
    Submit,
    key_of,
)
from txgear.test.support.server import DurableServerFixture, FakePeer

PLAIN: Final = b"f"
OTHER: Final = b"g"
AGAIN: Final = b"again"
ONCE: Final = b"once"
FUNCTIONS: Final = (PLAIN, OTHER, AGAIN, ONCE)
BACKOFF: Final = 2.0
POLICIES: Final = Policies(
    [
        ("again", CLASSIC.with_settings({"retries": 1, "backoff": BACKOFF, "dead": "1d"})),
        ("once", CLASSIC.with_settings({"results": "1d", "unique_for": "1d"})),
    ]
)
"""What is dead, and what is done and known, stays so for longer than any run."""
MEMORY: Final = (0, 900, 2500, 6000)
"""Bytes for none, one, some and several jobs."""
CLIENTS: Final = (0, 1)
WORKERS: Final = (2, 3)
SUBMITS: Final = {
    True: (c.SUBMIT_JOB_HIGH_BG, c.SUBMIT_JOB_BG, c.SUBMIT_JOB_LOW_BG),
    False: (c.SUBMIT_JOB_HIGH, c.SUBMIT_JOB, c.SUBMIT_JOB_LOW),
}
PLACES: Final = tuple(range(6))
RUNS: Final = 350
STEPS: Final = 60
"""Of each run."""

EVENTS: Final[dict[str, tuple[int, dict[str, Iterable[Any]]]]] = {
    "submit": (
        10,
        {
            "index": CLIENTS,
            "function": FUNCTIONS,
            "unique": (b"", b"u", b"v", b"-"),
            "priority": c.PRIORITIES,
            "background": (True, True, True, False),
            "delay": (0, 0, 0, 3),
        },
    ),
    "flood": (5, {"function": FUNCTIONS, "priority": c.PRIORITIES, "named": (False, True)}),
    "join": (
        8,
        {"index": CLIENTS, "which": PLACES, "background": (False, True, True), "twice": (False, True)},
    ),
    "grab": (10, {"index": WORKERS}),
    "finish": (8, {"index": WORKERS, "well": (True, True, False)}),
    "lose": (2, {"index": WORKERS}),
    "leave": (1, {"index": CLIENTS}),
    "status": (4, {"index": CLIENTS, "which": PLACES, "ended": (False, True)}),
    "status_by_unique": (2, {"index": CLIENTS, "unique": (b"u", b"v", b"1", b"2")}),
    "cancel": (3, {"which": PLACES}),
    "requeue": (3, {"which": PLACES}),
    "store": (12, {"times": (1, 1, 2, 3)}),
    "settle": (2, {}),
    "pass_time": (2, {"seconds": (1.0, 5.0)}),
    "look": (2, {}),
    "requeue_all": (1, {}),
    "kill": (2, {"settled": (False, True)}),
}
"""What may happen, how often that is tried, and with what."""


@dataclass(eq=False)
class Asked:
    """
    A question whose answer is still to come.

    @ivar kinds: the types of the packets that may answer it; C{TEXT} for a line of text.
    @ivar answered: called with what it says; it is compared there.
    @ivar look: called after each step: what may be true meanwhile.
    """

    kinds: tuple[int, ...]
    answered: Callable[[int, list[bytes]], None]
    look: Callable[[], None] = lambda: None


@dataclass(eq=False)
class Line:
    """
    One peer, and what it waits for.

    @ivar awake: whether a worker has been told that there may be a job.
    """

    peer: FakePeer
    asked: deque[Asked] = field(default_factory=deque)
    functions: tuple[bytes, ...] = ()
    awake: bool = True
    decoder: Decoder = field(default_factory=lambda: Decoder(c.RESPONSE_MAGIC))


class Rows:
    """Each event is sent to the server, and what is heard is held against the ledger."""

    def __init__(self, memory: int) -> None:
        """
        @param memory: bytes that the queue may take.
        """
        self.memory = memory
        self.store_behind = FaultyStore()
        self.ledger = Ledger()
        self.workloads = 0
        self.begin(START)

    def begin(self, at: float) -> None:
        """A server starts."""
        self.clock = Clock()
        self.clock.advance(at)
        self.fixture = DurableServerFixture(
            self.store_behind, clock=self.clock, policies=POLICIES, queue_memory=self.memory
        )
        self.thread = self.fixture.thread
        # Seconds for which the store has done nothing though it was asked to; and since it had nothing to do.
        self.held = self.behind = 0.0
        # Who is to be told of the end of which job, and how; and who was.
        self.told: list[tuple[FakePeer, bytes, int]] = []
        self.heard: list[tuple[FakePeer, bytes, int]] = []
        self.lines = [Line(self.fixture.connect()) for _ in (*CLIENTS, *WORKERS)]
        for index in WORKERS:
            self.can_do(self.lines[index], FUNCTIONS if index == WORKERS[0] else (PLAIN, AGAIN))
        self.hear()

    def can_do(self, line: Line, functions: tuple[bytes, ...]) -> None:
        line.functions = functions
        line.peer.tell(*(request(c.CAN_DO, function) for function in functions))

    @property
    def now(self) -> float:
        """By the wall clock."""
        return self.clock.seconds()

    def happen(self, name: str, arguments: dict[str, Any]) -> None:
        """One of the L{EVENTS}."""
        if "index" in arguments:
            arguments["line"] = self.lines[arguments.pop("index")]
        getattr(self, name)(**arguments)
        self.hear()

    # What is heard

    def hear(self) -> None:
        """What the server has said, to clients first: what they are told of may be at a worker already."""
        self.ledger.watch()
        for line in self.lines:
            for asked in line.asked:
                asked.look()
        for line in self.lines:
            for kind, arguments in list(line.decoder.feed(line.peer.heard())):
                self.packet(line, kind, [bytes(argument) for argument in arguments])
        self.ledger.watch()

    def packet(self, line: Line, kind: int, arguments: list[bytes]) -> None:
        if kind in (c.WORK_COMPLETE, c.WORK_FAIL):
            self.heard.append((line.peer, arguments[0], kind))
        elif kind == c.NOOP:
            line.awake = True
        else:
            assert line.asked, f"nobody asked for {kind} {arguments}"
            asked = line.asked.popleft()
            assert kind in asked.kinds, (asked.kinds, kind, arguments)
            asked.answered(kind, arguments)

    def over(self, job: Known, kind: int, state: str = GONE) -> None:
        """
        A job is over, and those who wait for it are to be told.

        @param kind: the type of the packet that tells them.
        @param state: what it is then, where its function has dead jobs.
        """
        self.told += [(peer, job.handle, kind) for peer in self.ledger.end(job, kind)]
        job.left = DEAD if job.function == AGAIN and state == DEAD else GONE
        if job.function == ONCE:
            job.left = DONE if kind == c.WORK_COMPLETE and job.key is not None else KEPT
        job.state = job.left if job.background else GONE

    # Clients

    def submit(
        self,
        line: Line,
        function: bytes,
        unique: bytes,
        priority: int,
        background: bool,
        delay: int,
        workload: bytes | None = None,
    ) -> None:
        """
        @param workload: by default one of its own; where that is its unique, one of two.
        """
        self.workloads += 1
        if workload is None:
            workload = b"%d" % (self.workloads % 2 if unique == b"-" else self.workloads)
        key = key_of(function, unique, workload)
        due = float(int(self.now) + delay) if delay and background else 0.0
        for other in self.ledger.open:
            if key is not None and other.key == key:
                # Either may be first, so they want the same.
                workload, priority, due = other.workload, other.priority, other.due
                background = background or bool(due)
        if due:
            priority = c.NORMAL
        where = self.ledger.now()[2]
        wanted = Submit(line.peer, where, function, unique, workload, priority, background, due)
        self.ledger.open.append(wanted)
        self.ledger.watch()
        line.asked.append(Asked((c.JOB_CREATED,), lambda kind, said: self.created(wanted, said[0])))
        if due:
            line.peer.tell(request(c.SUBMIT_JOB_EPOCH, function, unique, b"%d" % due, workload))
        else:
            line.peer.tell(request(SUBMITS[background][priority], function, unique, workload))

    def created(self, submit: Submit, handle: bytes) -> None:
        known = self.ledger.jobs.get(handle)
        was_assumed = known is not None and known.assumed is submit
        job = self.ledger.created(submit, handle)
        if submit.background:
            if job.state == GONE:
                # It had joined before the end.
                job.state = job.left
            return
        if job.state in LIVE:
            job.clients.append(submit.peer)
        elif not was_assumed:
            # It had joined before that, or is told what was brought.
            self.told.append((submit.peer, handle, job.ended))

    def flood(self, function: bytes, priority: int, named: bool) -> None:
        """More jobs at once than there is memory for."""
        for index in range(6):
            unique = b"%d" % (index if index < 3 else self.workloads) if named else b""
            self.submit(self.lines[index % 2], function, unique, priority, True, 0)

    def pick(self, which: int, *states: str) -> Known | None:
        """One of the youngest."""
        jobs = self.ledger.of(*states)
        return jobs[-1 - which % len(jobs)] if jobs else None

    def join(self, line: Line, which: int, background: bool, twice: bool) -> None:
        """One more asks for a job that there is, or for one that has ended; or two do."""
        named = [job for job in self.ledger.jobs.values() if job.key is not None]
        if not named:
            return
        job = named[which * 7 % len(named)]
        for other in (line, self.lines[0])[: 1 + twice]:
            self.submit(other, job.function, job.unique, job.priority, background, 0, job.workload)

    def leave(self, line: Line) -> None:
        """A client goes, and another one comes; who has joined is known by then."""
        self.settle()
        for job in self.ledger.of(*LIVE):
            job.clients = [client for client in job.clients if client is not line.peer]
            if not (job.background or job.clients or job.state == RUNNING):
                job.state = GONE
        line.peer.leave()
        self.lines[self.lines.index(line)] = Line(self.fixture.connect())

    # Workers

    def grab(self, line: Line) -> None:
        def answered(kind: int, said: list[bytes]) -> None:
            if kind == c.NO_JOB:
                ready = self.ledger.ready(line.functions)
                assert not ready or self.thread.waiting, f"{ready[0].handle!r} is there, and nobody gets it"
                line.awake = False
                return
            handle, function, unique, workload = said
            job = self.ledger.jobs.get(handle) or self.ledger.assume(handle, function, unique, workload)
            assert (job.function, job.unique, job.workload) == (function, unique, workload)
            patient = self.behind < PATIENCE
            self.ledger.begin(job, line.peer, line.functions, patient)

        line.asked.append(Asked((c.NO_JOB, c.JOB_ASSIGN_UNIQ), answered))
        line.peer.tell(request(c.GRAB_JOB_UNIQ))
        self.hear()
        assert not line.asked, "a grab is answered at once"
        if not line.awake:
            line.peer.tell(request(c.PRE_SLEEP))

    def held_by(self, line: Line) -> list[Known]:
        """The jobs that a worker has."""
        return [job for job in self.ledger.of(RUNNING) if job.worker is line.peer]

    def finish(self, line: Line, well: bool) -> None:
        """A worker's job is done, or has failed."""
        for job in [job for job in self.held_by(line) if not job.unsure][-1:]:
            if well:
                self.over(job, c.WORK_COMPLETE)
                line.peer.tell(request(c.WORK_COMPLETE, job.handle, b"result"))
            else:
                self.attempt_failed(job)
                line.peer.tell(request(c.WORK_FAIL, job.handle))

    def attempt_failed(self, job: Known) -> None:
        """What becomes of a job that has failed, or whose worker was lost where that is the same."""
        job.tries += 1
        if job.function == AGAIN and job.tries < 2 and (job.background or job.clients or job.assumed):
            job.due = self.now + BACKOFF
            self.ledger.put_behind(job, DELAYED)
        else:
            self.over(job, c.WORK_FAIL, DEAD)

    def lose(self, line: Line) -> None:
        """A worker goes with its jobs, and another one comes; who has joined them is known by then."""
        self.settle()
        since = self.ledger.now()
        for job in self.held_by(line):
            if job.function == AGAIN:
                self.attempt_failed(job)
                continue
            job.losses += 1
            if not (job.background or job.clients or job.assumed):
                self.over(job, c.WORK_FAIL)
            elif job.losses == 1:
                job.state, job.worker = QUEUED, None
            else:
                self.ledger.put_behind(job, QUEUED, since)
        line.peer.leave()
        self.lines[self.lines.index(line)] = other = Line(self.fixture.connect())
        self.can_do(other, line.functions)

    # Questions

    def status(self, line: Line, which: int, ended: bool) -> None:
        """Ask for a job that there is, or for any."""
        jobs = list(self.ledger.jobs.values())
        job = jobs[which * 5 % len(jobs)] if ended and jobs else self.pick(which, *LIVE)
        handle = b"H:test:9999" if job is None else job.handle
        may_be: set[tuple[bytes, bytes]] = set()

        def look() -> None:
            live = job is not None and job.state in LIVE
            may_be.add((b"1" if live else b"0", b"1" if job is not None and job.state == RUNNING else b"0"))
            if job is not None and job.unsure:
                may_be.add((b"0", b"0"))

        def answered(kind: int, said: list[bytes]) -> None:
            look()
            assert said[0] == handle
            assert (said[1], said[2]) in may_be, f"{handle!r} is {said[1:3]}, and may be {may_be}"

        look()
        line.asked.append(Asked((c.STATUS_RES,), answered, look))
        line.peer.tell(request(c.GET_STATUS, handle))

    def status_by_unique(self, line: Line, unique: bytes) -> None:
        may_be: set[tuple[bytes, bytes]] = set()

        def look() -> None:
            jobs = [job for job in self.ledger.of(*LIVE) if job.unique == unique]
            may_be.update((b"1", b"1" if job.state == RUNNING else b"0") for job in jobs)
            if not any(not job.unsure for job in jobs):
                may_be.add((b"0", b"0"))
            if any(submit.unique == unique for submit in self.ledger.open):
                may_be.add((b"1", b"0"))

        def answered(kind: int, said: list[bytes]) -> None:
            look()
            assert said[0] == unique
            assert (said[1], said[2]) in may_be, f"{unique!r} is {said[1:3]}, and may be {may_be}"

        look()
        line.asked.append(Asked((c.STATUS_RES_UNIQUE,), answered, look))
        line.peer.tell(request(c.GET_STATUS_UNIQUE, unique))

    # Orders

    def order(
        self, job: Known, command: bytes, done: Callable[[], None], may_fail: Callable[[], bool]
    ) -> None:
        """
        Say something of one job.

        @param done: called where it was.
        @param may_fail: whether it may be refused by then.
        """
        job.unsure += 1

        def answered(kind: int, said: list[bytes]) -> None:
            job.unsure -= 1
            if said[0] == b"OK":
                done()
            else:
                assert may_fail(), f"{command!r} was answered with {said[0]!r}"

        line = self.lines[CLIENTS[-1]]
        line.asked.append(Asked((c.TEXT,), answered))
        line.peer.tell(command + b" job " + job.handle + b"\n")

    def cancel(self, which: int) -> None:
        job = self.pick(which, *LIVE)
        if job is None or job.unsure:
            return

        def done() -> None:
            assert job.state in LIVE
            self.over(job, c.WORK_FAIL)

        self.order(job, b"cancel", done, lambda: job.state not in LIVE)

    def requeue(self, which: int) -> None:
        """One that is dead, or waits."""
        job = self.pick(which, DEAD, DELAYED)
        if job is None or job.unsure:
            return
        since = self.ledger.now()

        def done() -> None:
            # A worker may have it by now, as the answer stands behind others.
            if job.state in (DEAD, DELAYED):
                self.ledger.requeue(job, since)

        self.order(job, b"requeue", done, lambda: job.state not in (DEAD, DELAYED))

    def requeue_all(self) -> None:
        self.settle()
        jobs, since = self.ledger.of(DEAD), self.ledger.now()
        if self.say(b"requeue function " + AGAIN) == [b"OK %d" % len(jobs)]:
            for job in jobs:
                self.ledger.requeue(job, since)
        else:
            assert not jobs
        self.settle()

    def say(self, command: bytes) -> list[bytes]:
        """What a command is answered, when all is settled; of a list all rows but the last."""
        peer = self.fixture.connect()
        peer.tell(command + b"\n")
        lines: list[bytes] = []
        for _ in range(100):
            lines += peer.heard().splitlines()
            if lines and (lines[-1] == b"." or lines[0][:2] == b"OK" or lines[0][:3] == b"ERR"):
                peer.leave()
                return [line for line in lines if line != b"."]
            self.run_store()
            self.clock.advance(0.01)
        raise AssertionError(f"{command!r} is not answered")

    # The store, and time

    def run_store(self) -> None:
        """It does all that it is asked to."""
        while self.thread.waiting:
            self.thread.run()
            self.hear()

    def store(self, times: int) -> None:
        """It does the next things that it is asked to."""
        for _ in range(times):
            if self.thread.waiting:
                self.held = 0.0
                self.thread.run()
                self.hear()
        if not self.thread.waiting:
            self.behind = 0.0

    def settle(self) -> None:
        """All that can be done without time is done, and all that has ended is written."""
        for _ in range(4):
            self.run_store()
            self.clock.advance(0.1)
            self.ledger.ripen(self.now)
            self.hear()
        self.run_store()
        self.held = self.behind = 0.0
        self.ledger.settled()
        told, heard = Counter(self.told), Counter(self.heard)
        assert told == heard, f"not told: {told - heard}; told to others: {heard - told}"
        self.told.clear()
        self.heard.clear()
        assert not any(line.asked for line in self.lines)
        for line in self.lines:
            for job in self.ledger.ready(line.functions):
                # Somebody is about to take it: who was woken, or does not sleep.
                able = [other for other in self.lines if job.function in other.functions]
                assert any(other.awake for other in able), f"nobody is woken for {job.handle!r}"

    def pass_time(self, seconds: float) -> None:
        """The store does nothing meanwhile, as long as it would not be taken for lost."""
        if self.held + seconds > 4.0:
            self.settle()
        for _ in range(int(seconds * 2)):
            if self.thread.waiting and self.held >= 3.5:
                self.run_store()
            if self.thread.waiting:
                self.held += 0.5
                self.behind += 0.5
            else:
                self.held = self.behind = 0.0
            self.clock.advance(0.5)
            self.ledger.ripen(self.now)
            self.hear()

    def look(self) -> None:
        """All counts are right, and the store has what it must."""
        self.settle()
        live = self.ledger.of(*LIVE)
        rows = [row.split(b"\t") for row in self.say(b"status")]
        for function in FUNCTIONS:
            jobs = [job for job in live if job.function == function]
            found = next((row[1:3] for row in rows if row[0] == function), [b"0", b"0"])
            expected = [b"%d" % len(jobs), b"%d" % sum(job.state == RUNNING for job in jobs)]
            assert found == expected, (function, found, expected)
        assert sorted(row.split(b"\t")[0] for row in self.say(b"show jobs")) == sorted(
            job.handle for job in live
        )
        kept = {job.number for job in self.ledger.of(*LIVE, DEAD, DONE, KEPT) if job.background}
        assert self.store_behind.kept.keys() == kept, (self.store_behind.kept, kept)
        self.fixture.server.broker.check()
        self.fixture.journal.check()

    def kill(self, settled: bool) -> None:
        """The server is killed, and another one starts."""
        if settled:
            self.settle()
        at = self.now + 1.0
        store = self.store_behind
        self.ledger.start_again(store.kept, store.kept_workloads, at, settled)
        self.begin(at)

    def end(self) -> None:
        """In the end workers do all that is left."""
        self.look()
        for line in self.lines[2:]:
            while self.held_by(line):
                self.finish(line, True)
                self.hear()
        for _ in range(400):
            self.settle()
            if not self.ledger.of(*LIVE):
                break
            line = self.lines[WORKERS[0]]
            self.grab(line)
            self.hear()
            for _ in self.held_by(line):
                self.finish(line, True)
            self.hear()
            if self.ledger.of(DELAYED):
                self.clock.advance(1.0)
        assert not self.ledger.of(*LIVE), self.ledger.of(*LIVE)
        self.look()


class RowsTests(SynchronousTestCase):
    def test_any_sequence_of_events(self) -> None:
        """The same runs each time, and many: what can go wrong is rare."""
        names = [name for name, (weight, _) in EVENTS.items() for _ in range(weight)]
        for seed in range(RUNS):
            chance = random.Random(seed)
            rows = Rows(chance.choice(MEMORY))
            events: list[tuple[str, dict[str, Any]]] = []
            try:
                for _ in range(STEPS):
                    name = chance.choice(names)
                    drawn = {word: chance.choice(list(some)) for word, some in EVENTS[name][1].items()}
                    events.append((name, drawn))
                    rows.happen(name, drawn.copy())
                rows.end()
            except Exception as error:
                told = "\n".join(f"{name} {drawn}" for name, drawn in events)
                raise AssertionError(f"run {seed}, with {rows.memory} bytes:\n{told}") from error
