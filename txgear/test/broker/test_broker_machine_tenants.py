"""
Any sequence of events, with tenants: L{txgear.test.broker.test_broker_machine_life} where peers have names
and rights, jobs are on accounts, and functions take turns.

Quotas may be set anew, peers become others and lose rights, policies with turns come and go, and the server
may start again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.history import owner_of
from txgear.broker.model import Function, Peer
from txgear.broker.rights import SEE, SUBMIT, WORK
from txgear.broker.sharedlanes import SharedLanes
from txgear.broker.states import PAGED, QUEUED
from txgear.broker.tenants import Quota
from txgear.errors import AccessDenied, QueueError, ServerError
from txgear.policies import Rate
from txgear.protocol.constants import PRIORITIES
from txgear.test.broker.test_broker_machine import FUNCTIONS, PEERS, drawn_from
from txgear.test.broker.test_broker_machine_life import (
    EACH,
    FLOW,
    LIFE_EVENTS,
    NARROW,
    ONCE,
    TRIES,
    LifeMachine,
)
from txgear.test.broker.test_broker_machine_life_stored import STORED_LIFE_EVENTS, StoredLifeMachine
from txgear.test.support.broker import FakeRights, overflowed, queued
from txgear.test.support.extras import invariant, rule, run_machine
from txgear.test.support.model_jobs import ModelJob, PolicyRules
from txgear.test.support.model_tenants import TenantModel

TURNS: Final = {"turns": True}
NAMES: Final = (None, "a", "b", "c")

RULES: Final[tuple[PolicyRules, ...]] = (
    (("f", TURNS), ("g", {**EACH, **TURNS})),
    (("[fg]", {**TRIES, **TURNS}), ("h", ONCE)),
    (("*", TURNS),),
    (("f", {**NARROW, **TURNS}), ("g", TURNS)),
    (("g", {**FLOW, **TURNS}), ("f", EACH)),
    (("h", TURNS), ("f", TRIES)),
    (),
)

QUOTAS: Final[tuple[Mapping[str, Quota], ...]] = (
    {},
    {"a": Quota(running=1)},
    {"a": Quota(running=2), "b": Quota(running=1)},
    {"a": Quota(queued=4, bytes=400), "b": Quota(running=3, connections=1)},
    {"b": Quota(submits=Rate(1.0, 3)), "c": Quota(running=1, queued=6)},
    {"a": Quota(running=3), "c": Quota(connections=2, running=2)},
)

DENIED: Final = tuple((act, name) for act in (SUBMIT, SEE, WORK) for name in FUNCTIONS)

TENANT_EVENTS: Final[dict[str, tuple[int, dict[str, Iterable[Any]]]]] = {
    "identify": (3, {"index": PEERS, "name": NAMES}),
    "judge": (2, {"index": PEERS, "chosen": (None, *range(0, 2 ** len(DENIED), 37))}),
    "set_quotas": (3, {"chosen": range(len(QUOTAS))}),
    "crowd": (
        6,
        {
            "name": FUNCTIONS,
            "priority": PRIORITIES,
            "counts": ((3, 1, 0), (1, 1, 1), (0, 4, 2), (5, 0, 1)),
            "background": (True, True, False),
        },
    ),
    "serve": (
        6,
        {"index": PEERS, "name": FUNCTIONS, "times": (2, 4), "then": ("", "work_complete", "work_fail")},
    ),
}
"""What may happen where there are tenants, beside all the rest."""


class TenantMachine(LifeMachine):
    """The same with tenants."""

    model: TenantModel
    choices = RULES

    def make_model(self, rules: PolicyRules, retries: int, durable: bool, budget: int) -> TenantModel:
        model = TenantModel(rules, lambda: self.now, retries, durable, budget)
        model.start(QUOTAS[(retries + len(rules)) % len(QUOTAS)])
        self.submitter: Peer | None = None
        self.set_up_quotas(model.quotas)
        return model

    def set_up_quotas(self, quotas: Mapping[str, Quota]) -> None:
        self.broker.tenants.set_quotas(quotas, self.now)

    @rule(event=drawn_from(LIFE_EVENTS | TENANT_EVENTS))
    def happen(self, event: tuple[str, dict[str, Any]]) -> None:
        self.step(event)

    # What happens

    def connect(self, exceptions: bool) -> None:
        super().connect(exceptions)
        peer = self.peers[-1]
        self.model.who[peer] = None
        self.identify(peer, NAMES[len(self.peers) % len(NAMES)])

    def identify(self, peer: Peer, name: str | None) -> None:
        tenant = None if name is None else self.broker.tenants.get(name)
        same = self.model.who[peer] == name
        try:
            self.broker.identify(peer, tenant)
        except AccessDenied:
            assert not (same or self.model.has_room_for_peer(name))
            return
        assert same or self.model.has_room_for_peer(name)
        self.model.who[peer] = name

    def judge(self, peer: Peer, chosen: int | None) -> None:
        """
        What the peer may do changes.

        @param chosen: a bit for each thing that it may not; C{None} for no rules.
        """
        denied = None
        if chosen is not None:
            denied = {denied for index, denied in enumerate(DENIED) if chosen >> index & 1}
        peer.rights = None if denied is None else FakeRights(*denied)
        self.model.denied[peer] = denied
        lost = [name for name in self.model.abilities[peer] if not self.model.may_work(peer, name)]
        self.model.forget_abilities(peer, lost)
        for known in self.model.running[peer].copy():
            if not self.model.may_work(peer, known.function):
                self.model.lose(known)
        self.broker.rejudge(peer, self.now)

    def forbid_some(self, peer: Peer, chance: int) -> None:
        if chance % 3 == 0:
            self.judge(peer, 2 ** len(DENIED) - 1 - (1 << (chance + len(DENIED) - 1) % len(DENIED)))

    def can_do(self, peer: Peer, name: bytes, timeout: float) -> None:
        if self.model.may_work(peer, name):
            super().can_do(peer, name, timeout)
            return
        try:
            self.broker.can_do(peer, name, timeout, self.now)
        except AccessDenied:
            return
        raise AssertionError("it may not work for that")

    def set_quotas(self, chosen: int) -> None:
        self.model.set_quotas(QUOTAS[chosen])
        self.set_up_quotas(QUOTAS[chosen])

    def refusal(
        self, peer: Peer, name: bytes, joined: ModelJob | None, refused: bool, size: int
    ) -> type[ServerError] | None:
        model, tenant = self.model, self.model.who[peer]
        if not model.may_submit(peer, name):
            return AccessDenied
        if not model.take_token(tenant) or model.draining:
            return QueueError
        if joined is not None and not model.may_join(peer, joined):
            return AccessDenied
        if refused or (joined is None and not model.has_room(tenant, size)):
            return QueueError
        return None

    def submit(self, peer: Peer, *arguments: Any, **rest: Any) -> None:
        self.submitter = peer
        super().submit(peer, *arguments, **rest)

    def make_known(self, own: Mapping[str, Any], *fields: Any) -> ModelJob:
        known = super().make_known(own, *fields)
        assert self.submitter is not None
        known.tenant = self.model.who[self.submitter]
        return known

    def crowd(self, name: bytes, priority: int, counts: tuple[int, ...], background: bool) -> None:
        """Several submit a few each."""
        for peer, count in zip(self.peers, counts, strict=False):
            for _ in range(count):
                self.submit(peer, name, b"", b"one", priority, background, 0.0)
                self.hear()
        self.settle()

    def serve(self, peer: Peer, name: bytes, times: int, then: str) -> None:
        """A worker grabs several."""
        self.allow(peer, name)
        for _ in range(times):
            self.grab(peer)
            self.hear()
        if then and self.model.running[peer]:
            self.answer(peer, True, b"", then)

    # What is always true

    def to_be_woken(self, function: Function) -> int:
        available = min(self.model.startable(function.name), self.model.available(function.name))
        return int(min(available, 1) if self.model.rate(function.name) is not None else available)

    def waits_for_a_read(self, peer: Peer, priority: int) -> bool:
        able = [name for name in self.model.rings[priority] if name in self.model.abilities[peer]]
        return any(not self.model.open_front(name, priority) for name in able)

    def lanes_are_right(self, name: bytes, function: Function) -> None:
        lanes, model = function.lanes, self.model
        assert isinstance(lanes, SharedLanes) >= (name in model.shared)
        if not isinstance(lanes, SharedLanes):
            super().lanes_are_right(name, function)
            return
        for party in {known.tenant for known in model.lying(name)}:
            for state, jobs in ((QUEUED, queued(lanes)), (PAGED, overflowed(lanes))):
                found = [job for job in jobs if (job.tenant and job.tenant.name) == party]
                expected = [model.of_party(name, priority, party, state) for priority in PRIORITIES]
                assert found == [known.job for some in expected for known in some]
        fronts = [model.open_front(name, priority) for priority in PRIORITIES]
        assert lanes.counts == [len(front) for front in fronts]
        assert lanes.total_of(PRIORITIES[1]) == len(model.lanes.get((name, PRIORITIES[1]), ()))
        assert lanes.ready + lanes.paged + lanes.held == len(model.lying(name))
        assert lanes.startable == model.startable(name)

    @invariant()
    def tenants_are_counted(self) -> None:
        for known in [*self.model.jobs, *self.model.past]:
            assert (known.job.tenant and known.job.tenant.name) == known.tenant
        for name in NAMES[1:]:
            tenant = self.broker.tenants.get(name)
            jobs = [known for known in self.model.jobs if known.tenant == name]
            assert tenant.quota == self.model.quota(name)
            assert tenant.connections == list(self.model.who.values()).count(name)
            assert (tenant.queued, tenant.running) == (len(jobs), self.model.running_of(name))
            assert tenant.bytes == sum(known.size for known in jobs)
            assert tenant.held == self.model.held(name)

    def teardown(self) -> None:
        if hasattr(self, "broker"):
            for peer in self.peers:
                self.judge(peer, None)
                self.hear()
            self.identify(self.peers[0], None)
        super().teardown()


class StoredTenantMachine(TenantMachine, StoredLifeMachine):
    """The same with a journal."""

    model: TenantModel

    @rule(event=drawn_from(STORED_LIFE_EVENTS | TENANT_EVENTS))
    def happen(self, event: tuple[str, dict[str, Any]]) -> None:
        self.step(event)
        self.compare_changes()

    def set_up_again(self) -> None:
        self.set_up_quotas(self.model.quotas)

    def agree_on_turns(self) -> None:
        for (name, priority), parties in self.model.parties.items():
            lanes = self.broker.functions.by_name[name].lanes
            assert isinstance(lanes, SharedLanes)
            turns = {
                party.tenant and party.tenant.name: party.turns[priority] for party in lanes.parties.values()
            }
            parties.sort(key=turns.__getitem__)

    def compare_store(self) -> None:
        super().compare_store()
        owners = {record.number: owner_of(record.history or b"{}") for record in self.journal.kept()}
        assert owners == self.model.owners()

    def nothing_is_stuck(self, name: bytes, priority: int, coming: bool) -> None:
        model = self.model
        if name not in model.shared:
            super().nothing_is_stuck(name, priority, coming)
            return
        ready, able = len(model.open_front(name, priority)), model.able(name)
        for party in {known.tenant for known in model.lying(name)}:
            front = model.of_party(name, priority, party, QUEUED)
            overflow = model.of_party(name, priority, party, PAGED)
            assert not (overflow and overflow[0].loaded)
            if overflow and not model.held(party) and able and (not front or ready < able):
                assert coming, "nothing waits that nobody will read"


class TenantMachineTests(SynchronousTestCase):
    def test_any_sequence_of_events(self) -> None:
        # With a store nearly all of this happens as well.
        run_machine(TenantMachine, 15)

    def test_any_sequence_of_events_with_a_store(self) -> None:
        run_machine(StoredTenantMachine, 40)
