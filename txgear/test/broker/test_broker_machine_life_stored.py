"""
Any sequence of events, with policies in force and with a store:
L{txgear.test.broker.test_broker_machine_life} where background jobs are kept.

The server may start again with what the store has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.broker import Broker
from txgear.broker.records import PAUSED, READY
from txgear.broker.rules import Rules
from txgear.test.broker.test_broker_machine import GRACES, RETRIES, WAKEUPS, BrokerMachine, drawn_from
from txgear.test.broker.test_broker_machine_life import CHOICES, LIFE_EVENTS, LifeMachine, life_of, policies
from txgear.test.broker.test_broker_machine_stored import BUDGET, STORED_EVENTS, StoredMachine, WatchedJournal
from txgear.test.support.clock import START
from txgear.test.support.extras import initialize, rule, run_machine
from txgear.test.support.model_jobs import PolicyJob

STORED_LIFE_EVENTS: Final[dict[str, tuple[int, dict[str, Iterable[Any]]]]] = (
    STORED_EVENTS
    | LIFE_EVENTS
    | {
        "flood": (3, STORED_EVENTS["flood"][1]),
        "crash": (1, STORED_EVENTS["crash"][1]),
        "misread": (10, STORED_EVENTS["misread"][1]),
        "retry": (6, STORED_EVENTS["retry"][1]),
        "shelve": (4, {"kept": (True, True, False)}),
        "restart": (2, {"away": (0.0, 3.0), "prefix": (b"H:test", b"100%d")}),
    }
)


class StoredLifeJournal(WatchedJournal):
    """@ivar storing_results: the jobs whose results are on their way."""

    def __init__(self, machine: BrokerMachine, budget: int) -> None:
        super().__init__(machine, budget)
        self.storing_results: list[int] = []

    def put_result(self, number: int, result: bytes) -> None:
        super().put_result(number, result)
        self.storing_results.append(number)

    def restart(self) -> None:
        super().restart()
        self.storing_results = []


class StoredLifeMachine(LifeMachine, StoredMachine):
    """The same with a journal."""

    journal: StoredLifeJournal

    @initialize(retries=RETRIES, wakeups=WAKEUPS, rules=CHOICES, grace=GRACES)
    def start(self, retries: int, wakeups: int, rules: int, grace: float) -> None:
        self.journal = StoredLifeJournal(self, BUDGET)
        self.broker_rules = Rules(b"H:test", retries, wakeups, BUDGET, grace)
        self.broker = Broker(self.outbox, self.broker_rules, self.journal)
        self.model = self.make_model(self.choices[rules], retries, durable=True, budget=BUDGET)
        self.model.absences.grace = grace
        self.begin_watch()
        self.broker.operations.set_policies(policies(self.choices[rules]), self.now)
        self.open_doors()

    @rule(event=drawn_from(STORED_LIFE_EVENTS))
    def happen(self, event: tuple[str, dict[str, Any]]) -> None:
        self.step(event)
        self.compare_changes()

    def compare_changes(self) -> None:
        self.compare_store()

    def compare_store(self) -> None:
        kept = self.journal.kept()
        found = [record._replace(history=None, kind=READY, wake=0.0) for record in kept]
        assert found == self.model.records()
        lives = {
            known.job.number: known.life() for known in [*self.model.jobs, *self.model.past] if known.stored
        }
        assert {record.number: life_of(record.history) for record in kept} == lives
        paused = {
            name for (kind, name), mark in self.journal.stored_values.items() if kind == PAUSED and mark.value
        }
        assert paused == self.model.paused

    def hear(self) -> None:
        super().hear()
        self.agree_on_ends()

    def agree_on_ends(self) -> None:
        """Of several that end at once it is the broker's own choice which one is first."""
        together: dict[float, list[PolicyJob]] = {}
        for known in self.model.past:
            together.setdefault(known.ended, []).append(known)
        for group in together.values():
            if sorted(known.place for known in group) != sorted(known.job.place for known in group):
                continue
            indices = [self.model.past.index(known) for known in group]
            shelved = sorted(known.shelved for known in group)
            group.sort(key=lambda known: known.job.place)
            for known, index, shelf in zip(group, indices, shelved, strict=True):
                known.place, known.shelved = known.job.place, shelf
                self.model.past[index] = known

    def answer_readings(self) -> None:
        self.journal.answer_readings()

    def settle(self) -> None:
        while StoredMachine.store_answers(self):
            self.hear()

    def shelve(self, kept: bool) -> None:
        """The first of the results that are on their way is in the store, or never will be."""
        if not self.journal.storing_results or self.journal.storing_results[0] in (
            adding.record.number for adding in self.journal.adding
        ):
            return
        number = self.journal.storing_results.pop(0)
        if kept or not self.journal.results.get(number) or number in self.journal.storing_results:
            self.broker.store_events.result_stored([number])
            return
        del self.journal.results[number]
        known = next((known for known in self.model.past if known.job.number == number), None)
        if known is not None:
            self.model.lose_result(known)
        self.broker.store_events.result_refused(number)

    def restart(self, away: float, prefix: bytes) -> None:
        self.note_absences()
        self.compare_store()

        # As there.
        self.now = max(self.now + away + self.model.offset, START)
        self.model.count_anew()
        self.model.read_until = -inf
        self.journal.restart()
        self.broker = Broker(self.outbox, replace(self.broker_rules, prefix=prefix), self.journal)
        self.set_up_again()
        self.broker.operations.set_policies(policies(self.model.rules), self.now)
        self.model.counter += 5
        self.broker.store_events.reserve(self.model.counter + 1, 10_000)
        self.broker.store_events.begin(self.journal.lanes(), self.journal.stored_values.values(), self.now)
        self.load_all()
        self.model.restart(self.now)
        self.agree_on_names()
        for known in [*self.model.jobs, *self.model.past]:
            old, number = known.job, known.job.number
            job = (self.broker.archive.jobs if known in self.model.past else self.broker.table.jobs)[number]
            for name in ("handle", "unique", "priority", "reducer", "background", "stored"):
                assert getattr(job, name) == getattr(old, name), name
            assert job.created == known.created
            assert (job.key is None) == (known.key is None)
            known.job = job
        self.agree_on_turns()
        self.open_doors()

    def load_all(self) -> None:
        """Those that have ended stay there, too: that they are rows is tested elsewhere."""
        ended = [record for record in self.journal.kept() if record.state]
        self.broker.stock.hold_all(sorted(ended, key=lambda record: record.place), self.now)
        super().load_all()

    def agree_on_names(self) -> None:
        """Of several with one name others join the first that is read: the one of the lowest number."""
        taken = set()
        for known in sorted(self.model.jobs, key=lambda known: known.job.number):
            assert isinstance(known, PolicyJob)
            known.key = known.first_key if known.first_key not in taken else None
            taken.add(known.key)

    def agree_on_turns(self) -> None:
        """Of those that are there at once it is the broker's own choice whose turn comes first."""

    def set_up_again(self) -> None:
        """What holds for the next server beside policies."""

    def store_answers(self) -> bool:
        self.pass_time(0.0)
        return StoredMachine.store_answers(self)


class StoredLifeMachineTests(SynchronousTestCase):
    def test_any_sequence_of_events_with_a_store(self) -> None:
        run_machine(StoredLifeMachine, 30)
