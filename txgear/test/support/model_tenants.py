"""
What a broker does where there are tenants: L{txgear.test.support.model_policies} with quotas, turns and
rights.

L{txgear.test.broker.test_broker_machine_tenants} holds the broker against it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from math import inf

from txgear.broker.model import Peer
from txgear.broker.rights import SEE, SUBMIT, WORK
from txgear.broker.states import PAGED, QUEUED, RUNNING
from txgear.broker.tenants import UNBOUNDED, Quota
from txgear.protocol.constants import PRIORITIES
from txgear.test.support.model_jobs import ModelJob, PolicyJob, PolicyRules
from txgear.test.support.model_policies import PolicyModel


class TenantModel(PolicyModel):
    """
    A lane is that of all; where parties share it, each one's jobs in it are a lane of their own.

    @ivar shared: the functions in which that is so.
    @ivar parties: for each lane of these the parties that have something in it, whose turn is next first.
    @ivar who: who each peer is.
    @ivar denied: what each peer may not do; C{None} for one without rules.
    """

    def start(self, quotas: Mapping[str, Quota]) -> None:
        self.quotas = quotas
        self.shared: set[bytes] = set()
        self.parties: dict[tuple[bytes, int], list[str | None]] = {}
        self.who: dict[Peer, str | None] = {}
        self.denied: dict[Peer, set[tuple[str, bytes]] | None] = {}
        self.tokens: dict[str, float] = {}

    # Quotas

    def quota(self, tenant: str | None) -> Quota:
        return UNBOUNDED if tenant is None else self.quotas.get(tenant, UNBOUNDED)

    def running_of(self, tenant: str | None) -> int:
        return sum(known.tenant == tenant and known.state == RUNNING for known in self.jobs)

    def held(self, tenant: str | None) -> bool:
        return 0 < self.quota(tenant).running <= self.running_of(tenant)

    def has_room_for_peer(self, tenant: str | None) -> bool:
        bound = self.quota(tenant).connections
        return not bound or list(self.who.values()).count(tenant) < bound

    def has_room(self, tenant: str | None, size: int) -> bool:
        jobs = [known for known in self.jobs if known.tenant == tenant]
        quota = self.quota(tenant)
        too_much = 0 < quota.bytes < sum(known.size for known in jobs) + size
        return not (0 < quota.queued <= len(jobs) or too_much)

    def take_token(self, tenant: str | None) -> bool:
        rate = self.quota(tenant).submits
        if tenant is None or rate is None:
            return True
        full = max(self.tokens.get(tenant, 0.0), self.now)
        if (full - self.now) / rate.interval > rate.burst - 1:
            return False
        self.tokens[tenant] = full + rate.interval
        return True

    def set_quotas(self, quotas: Mapping[str, Quota]) -> None:
        before, self.quotas = self.quotas, quotas
        for tenant in list(self.tokens):
            if self.quota(tenant).submits != before.get(tenant, UNBOUNDED).submits:
                # There are two rates: one of them is none.
                del self.tokens[tenant]
        self.arrange_lanes()

    def has_room_for_growth(self, known: ModelJob, growth: int) -> bool:
        too_much = False
        if known.tenant is not None and growth > 0:
            size = sum(each.size for each in self.jobs if each.tenant == known.tenant)
            too_much = 0 < self.quota(known.tenant).bytes < size + growth
        return not too_much and super().has_room_for_growth(known, growth)

    # Rights

    def may(self, peer: Peer, act: str, function: bytes) -> bool:
        denied = self.denied.get(peer)
        return denied is None or (act, function) not in denied

    def may_submit(self, peer: Peer, function: bytes) -> bool:
        return self.may(peer, SUBMIT, function)

    def may_work(self, peer: Peer, function: bytes) -> bool:
        return self.may(peer, WORK, function)

    def may_join(self, peer: Peer, known: ModelJob) -> bool:
        own = known.tenant is not None and known.tenant == self.who[peer]
        return own or self.may(peer, SEE, known.function)

    # Lanes

    def take_turns(self, function: bytes) -> bool:
        return bool(self.set_for(function, "turns"))

    def lying(self, function: bytes) -> list[ModelJob]:
        return [known for priority in PRIORITIES for known in self.lanes.get((function, priority), [])]

    def reload(self, rules: PolicyRules) -> None:
        super().reload(rules)
        self.arrange_lanes()

    def arrange_lanes(self) -> None:
        for function in {function for function, _ in self.lanes} | self.shared:
            bounded = any(self.quota(known.tenant).running for known in self.lying(function))
            if self.take_turns(function) or bounded:
                self.share(function)
            elif function in self.shared:
                self.merge(function)

    def share(self, function: bytes) -> None:
        if function not in self.shared:
            self.shared.add(function)
            for priority in PRIORITIES:
                self.settle_parties(function, priority)
                self.advance(function, priority)

    def merge(self, function: bytes) -> None:
        """By their places, first those that have come back; nothing passes what is not in memory."""
        self.shared.discard(function)
        for priority in PRIORITIES:
            self.parties.pop((function, priority), None)
            lane = self.lanes.get((function, priority), [])
            behind = min((known.place for known in lane if known.state == PAGED), default=inf)
            for known in lane:
                if not known.returned and known.place > behind:
                    known.state = PAGED
            lane.sort(key=lambda known: (known.state == PAGED, not known.returned, known.place))
            self.advance(function, priority)

    def settle_parties(self, function: bytes, priority: int) -> None:
        """Who has nothing has no turn; who comes is behind all others."""
        if function in self.shared:
            lane = self.lanes.get((function, priority), [])
            there = dict.fromkeys(known.tenant for known in lane)
            parties = [party for party in self.parties.get((function, priority), []) if party in there]
            parties += [party for party in there if party not in parties]
            self.parties[function, priority] = parties

    def of_party(self, function: bytes, priority: int, party: str | None, state: int) -> list[ModelJob]:
        lane = self.lanes.get((function, priority), [])
        return [known for known in lane if known.state == state and known.tenant == party]

    def has_open(self, function: bytes, priority: int) -> bool:
        lane = self.lanes.get((function, priority), [])
        return any(not self.held(party) for party in {known.tenant for known in lane})

    def open_front(self, function: bytes, priority: int) -> list[ModelJob]:
        return [known for known in self.front(function, priority) if not self.held(known.tenant)]

    def ready(self, function: bytes) -> int:
        return sum(len(self.open_front(function, priority)) for priority in PRIORITIES)

    def startable(self, function: bytes) -> int:
        """How many may be handed out before any tenant has as many at workers as it may."""
        found = 0
        for party in {known.tenant for known in self.lying(function)}:
            ready = sum(len(self.of_party(function, priority, party, QUEUED)) for priority in PRIORITIES)
            bound = self.quota(party).running
            found += min(ready, max(bound - self.running_of(party), 0)) if bound else ready
        return found

    def behind(self, known: ModelJob) -> bool:
        if known.function not in self.shared:
            return super().behind(known)
        return bool(self.of_party(known.function, known.priority, known.tenant, PAGED))

    def beside(self, known: ModelJob) -> list[ModelJob]:
        if known.function not in self.shared:
            return super().beside(known)
        return self.of_party(known.function, known.priority, known.tenant, PAGED)

    def first_of(self, function: bytes, priority: int) -> ModelJob | None:
        if function not in self.shared:
            return super().first_of(function, priority)
        parties = [party for party in self.parties.get((function, priority), []) if not self.held(party)]
        fronts = [self.of_party(function, priority, party, QUEUED)[:1] for party in parties]
        firsts = [known for front in fronts for known in front]
        if not self.take_turns(function):
            firsts.sort(key=lambda known: known.place)
        return firsts[0] if firsts else None

    def enqueue(self, known: ModelJob, *, first: bool = False) -> None:
        function = known.function
        lies = not (self.draining and not known.clients)
        if self.take_turns(function) or (lies and self.quota(known.tenant).running):
            self.share(function)
        super().enqueue(known, first=first)
        self.settle_parties(function, known.priority)

    def advance(self, function: bytes, priority: int) -> None:
        if function not in self.shared:
            super().advance(function, priority)
            return
        for party in {known.tenant for known in self.lanes.get((function, priority), [])}:
            for known in self.of_party(function, priority, party, PAGED):
                if not known.loaded:
                    break
                known.state = QUEUED

    def take_out(self, known: ModelJob) -> None:
        super().take_out(known)
        self.settle_parties(known.function, known.priority)

    def grab(self, worker: Peer, now: float) -> ModelJob | None:
        known = super().grab(worker, now)
        if known is not None and known.function in self.shared:
            parties = self.parties[known.function, known.priority]
            if known.tenant in parties:
                parties.remove(known.tenant)
                parties.append(known.tenant)
        return known

    def turn_over(self, remembered: Container[bytes]) -> None:
        self.shared = {function for function in self.shared if function in remembered}
        super().turn_over(remembered)

    def as_cancelled(self, function: bytes, queued: list[PolicyJob]) -> list[PolicyJob]:
        """Whose jobs come first where parties share a lane is the broker's own choice."""
        if function in self.shared:
            places = {
                job: place for known in queued for place, job in enumerate(known.job.function.lanes.all())
            }
            queued = sorted(queued, key=lambda known: places[known.job])
        return queued

    # Peers

    def leave(self, peer: Peer, now: float) -> None:
        super().leave(peer, now)
        del self.who[peer]
        self.denied.pop(peer, None)

    def restart(self, now: float) -> None:
        self.shared.clear()
        self.parties.clear()
        self.who.clear()
        self.denied.clear()
        self.tokens.clear()
        super().restart(now)

    def owners(self) -> dict[int, str | None]:
        """On whose account the jobs are that the store has, by number."""
        kept: list[PolicyJob] = [known for known in [*self.jobs, *self.past] if known.stored]
        return {known.job.number: known.tenant for known in kept}
