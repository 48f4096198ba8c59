"""
Tests of L{txgear.broker.life.lookups}: submits of which the store is asked have their turns among the others
as if it had not been.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.broker import Broker
from txgear.broker.model import AskedReply, Peer
from txgear.broker.paging import JOB_BYTES
from txgear.broker.rules import Rules
from txgear.broker.tenants import Quota
from txgear.protocol.constants import NORMAL
from txgear.stores.memory import MemoryStore
from txgear.test.support.batches import adding
from txgear.test.support.broker import FakeOutbox, record
from txgear.test.support.clock import START
from txgear.test.support.extras import PROPERTY, given, st
from txgear.test.support.lazyjournal import LazyJournal

PLAIN, ASKED, WRITE, FIND, LOAD = "plain", "asked", "write", "find", "load"
EVENTS = st.lists(st.sampled_from([PLAIN, PLAIN, ASKED, ASKED, WRITE, FIND, LOAD]), min_size=2, max_size=40)
BUDGETS = st.sampled_from([0, 2 * JOB_BYTES, 6 * JOB_BYTES, 1000 * JOB_BYTES])


class TurnsTests(SynchronousTestCase):
    """Jobs of one connection are handed out in the order of their submits."""

    def begin(self, budget: int, *, bounded: bool) -> None:
        store = MemoryStore()
        store.open()
        # There has to be something for which the store is asked.
        waiting = record(1, function=b"other", unique=b"there", due=START * 2)
        store.write(adding((waiting, b"")))
        self.now = START
        self.journal = LazyJournal(store)
        self.broker = Broker(FakeOutbox(), Rules(b"H:test", queue_memory=budget), self.journal)
        self.journal.listener = self.broker.store_events
        self.broker.store_events.reserve(2, 1000)
        self.broker.store_events.begin(store.lanes(), (), self.now)
        self.client = Peer(1, "192.0.2.1")
        self.broker.connect(self.client)
        if bounded:
            self.broker.tenants.set_quotas({"t": Quota(running=9)}, self.now)
            self.broker.identify(self.client, self.broker.tenants.get("t"))
        self.numbers: list[int] = []

    def submit(self, background: bool, *, asked: bool) -> None:
        unique = b""
        if asked:
            # The journal takes it for hidden, though no job has it.
            unique = b"u%d" % len(self.numbers)
            self.journal.hide(unique)
        job = self.broker.submit(self.client, b"f", unique, b"work", self.now, NORMAL, background)
        self.assertEqual(isinstance(job.reply, AskedReply), asked)
        self.numbers.append(job.number)

    def happen(self, event: str) -> None:
        """Something that the store does, from its beginning to its end."""
        if event == WRITE:
            self.journal.begin_write()
        elif event == FIND:
            self.journal.begin_answers(2, lost=False)
        else:
            self.journal.begin_load()
        self.journal.end(self.now)
        self.broker.check()

    def do_all(self) -> None:
        while not self.journal.idle:
            for event in (WRITE, FIND, LOAD):
                self.happen(event)
        if self.broker.timers.deadline <= self.now:
            self.broker.expire(self.now)

    def order(self) -> list[int]:
        """The numbers of all jobs, as they are handed out."""
        worker = Peer(2, "192.0.2.2")
        self.broker.connect(worker)
        self.broker.can_do(worker, b"f", 0.0, self.now)
        found = []
        for _ in range(3 * len(self.numbers)):
            self.do_all()
            job = self.broker.grab(worker, self.now)
            if job is not None:
                found.append(job.number)
                self.broker.reports.work_complete(worker, job.handle, b"", self.now)
        return found

    def in_order(self, events: list[str], budget: int, *, background: bool, bounded: bool) -> None:
        self.begin(budget, bounded=bounded)
        for event in events:
            if event in (PLAIN, ASKED):
                self.submit(background, asked=event == ASKED)
            else:
                self.happen(event)
        self.do_all()
        self.assertEqual(self.order(), self.numbers)

    @PROPERTY
    @given(EVENTS, BUDGETS, st.booleans(), st.booleans())
    def test_whenever_the_store_answers(
        self, events: list[str], budget: int, background: bool, bounded: bool
    ) -> None:
        self.in_order(events, budget, background=background, bounded=bounded)

    def test_one_behind_which_others_have_come(self) -> None:
        for background in (False, True):
            for budget in (0, 1000 * JOB_BYTES):
                events = [PLAIN, ASKED, PLAIN, PLAIN, WRITE, FIND]
                self.in_order(events, budget, background=background, bounded=False)
