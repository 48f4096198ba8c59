"""
The lanes of a function whose jobs are of several parties that are not to be in each other's way: tenants,
and whoever has none.

Each party has L{Lanes} of its own, so what one has in the overflow is behind its own jobs only. A party is
held while its tenant has as many jobs at workers as it may: what it has is there, and counted nowhere that
matters to workers.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final, Generic, Protocol, TypeVar

from txgear.broker.entries import Item
from txgear.broker.lanes import LOW, Lanes
from txgear.broker.overflow import Overflow, Rows
from txgear.broker.states import PAGED, QUEUED, TO_PAGED
from txgear.broker.tenants import Tenant
from txgear.protocol.constants import PRIORITIES

SLACK: Final = 64
"""Entries of parties that are not worth a sweep."""


class OwnedItem(Item, Protocol):
    """
    What lies in shared lanes: a job.

    @ivar tenant: whose it is; C{None} for nobody's.
    """

    tenant: Tenant | None


T = TypeVar("T", bound=OwnedItem)


class Party(Generic[T]):
    """
    All that one tenant has here, or whoever has none.

    @ivar lanes: its items.
    @ivar bounded: whether its tenant may have only so many at workers.
    @ivar held: whether none is to be handed out for now; both are true of one that has something.
    @ivar turns: for each priority, its turn: the lowest is served next. 0 where it has nothing.
    @ivar entries: for each priority, what it is looked for by in the order; C{None} where it is not there.
    """

    __slots__ = ("bounded", "entries", "held", "lanes", "tenant", "turns")

    def __init__(self, tenant: Tenant | None) -> None:
        self.tenant = tenant
        self.lanes: Lanes[T] = Lanes()
        self.bounded = False
        self.held = False
        self.turns = [0, 0, 0]
        self.entries: list[int | None] = [None, None, None]

    @property
    def empty(self) -> bool:
        """Whether it has nothing."""
        return not (self.lanes.ready or self.lanes.paged)

    @property
    def surplus(self) -> int:
        """How many of its items could not be handed out if all others were; of one that is bounded."""
        assert self.tenant is not None
        return max(self.lanes.ready - (self.tenant.quota.running - self.tenant.running), 0)


class SharedLanes(Generic[T]):
    """
    It is asked for the same as L{Lanes}. Of one priority the party is next that was served longest ago, or
    without turns the one whose first item has the lowest place.

    @ivar turns: whether parties take turns.
    @ivar parties: by their tenants, those included that have nothing.
    @ivar counts: how many are in each lane, by priority; without those of parties that are held.
    @ivar ready: the sum of C{counts}.
    @ivar overflow: by priority, the parties that have something behind their lane; without those that are
        held. Only where there are some.
    @ivar paged: how many are there.
    @ivar limited: the parties that have a bound, and items that may be handed out.
    """

    __slots__ = (
        "_dry",
        "_order",
        "_totals",
        "_turn",
        "counts",
        "limited",
        "overflow",
        "paged",
        "parties",
        "ready",
        "turns",
    )

    def __init__(self, turns: bool) -> None:
        self.turns = turns
        self.parties: dict[Tenant | None, Party[T]] = {}
        self.counts = [0, 0, 0]
        self.ready = 0
        self.overflow: dict[int, dict[Party[T], None]] = {}
        self.paged = 0
        self.limited: dict[Party[T], None] = {}
        # Of each priority, all that there are, whether or not they are held.
        self._totals = [0, 0, 0]
        # By priority, heaps of the parties that have something in their lane. An entry that does not say what
        # its party is looked for by is stale.
        self._order: tuple[list[tuple[int, Party[T]]], ...] = ([], [], [])
        self._turn = 0
        # By priority, those that have something behind their lane, and nothing in it.
        self._dry: tuple[dict[Party[T], None], ...] = ({}, {}, {})

    @property
    def held(self) -> int:
        """How many items are of parties that are held."""
        return sum(self._totals) - self.ready - self.paged

    @property
    def startable(self) -> int:
        """How many of what is ready may be handed out before one of those ends that are at workers."""
        return self.ready - sum(party.surplus for party in self.limited)

    @property
    def bounded(self) -> bool:
        """Whether any party that has something has a bound."""
        return any(party.bounded and not party.empty for party in self.parties.values())

    def total_of(self, priority: int) -> int:
        """Items of this priority, wherever they are."""
        return self._totals[priority]

    # Parties

    def _party(self, item: T) -> Party[T]:
        """Whose this is."""
        return self._party_of(item.tenant)

    def _party_of(self, tenant: Tenant | None) -> Party[T]:
        party = self.parties.get(tenant)
        if party is None:
            party = self.parties[tenant] = Party(tenant)
        if tenant is not None and not party.lanes.ready and not party.lanes.paged:
            # What has changed meanwhile, nobody has told it.
            party.bounded, party.held = tenant.quota.running > 0, tenant.held
        return party

    def has(self, tenant: Tenant) -> bool:
        """Whether there is anything of a tenant's."""
        party = self.parties.get(tenant)
        return party is not None and not party.empty

    def forget_absent(self) -> None:
        """Know those parties no more that have nothing."""
        self.parties = {tenant: party for tenant, party in self.parties.items() if not party.empty}
        for order in self._order:
            # Not what they were looked for by either: what comes back has its place again, of another party
            # now, and two that are alike cannot be put in order.
            order[:] = [each for each in order if each[1].tenant in self.parties]
            heapify(order)

    def tenants(self) -> list[Tenant]:
        """Those that have anything here."""
        return [tenant for tenant in self.parties if tenant is not None and self.has(tenant)]

    def judge(self, tenant: Tenant) -> None:
        """What a tenant may have at workers has changed, or what it has there."""
        party = self.parties.get(tenant)
        if party is None or party.empty:
            return
        party.bounded = tenant.quota.running > 0
        if party.held != tenant.held:
            party.held = tenant.held
            sign = -1 if party.held else 1
            lanes = party.lanes
            self.paged += sign * lanes.paged
            self.ready += sign * lanes.ready
            for priority in PRIORITIES:
                self.counts[priority] += sign * lanes.counts[priority]
        for priority in PRIORITIES:
            self._sort_in(party, priority)

    def _sort_in(self, party: Party[T], priority: int, gone: T | None = None) -> None:
        """
        Have a party where it will be looked for, now that it has something of a priority for the first time,
        or nothing more, or another that is the next.

        @param gone: an item that is not there any more, although its state does not say so yet.
        """
        lanes = party.lanes
        count, behind = lanes.counts[priority], priority in lanes.overflow
        if not (count or behind):
            party.turns[priority] = 0
        elif not party.turns[priority]:
            self._turn += 1
            party.turns[priority] = self._turn
        if party.bounded and lanes.ready and not party.held:
            self.limited[party] = None
        elif self.limited:
            self.limited.pop(party, None)
        if behind and not party.held:
            self.overflow.setdefault(priority, {})[party] = None
        elif (others := self.overflow.get(priority)) is not None:
            others.pop(party, None)
            if not others:
                del self.overflow[priority]
        if behind and not count and not party.held:
            self._dry[priority][party] = None
        elif self._dry[priority]:
            self._dry[priority].pop(party, None)
        if count and not party.held:
            self._enter(party, priority, gone)

    def _enter(self, party: Party[T], priority: int, gone: T | None = None) -> None:
        """A party that has something in its lane is looked for by this."""
        entry = party.turns[priority] if self.turns else party.lanes.head(priority, gone).place
        if party.entries[priority] == entry:
            return
        party.entries[priority] = entry
        order = self._order[priority]
        heappush(order, (entry, party))
        if len(order) > 2 * len(self.parties) + SLACK:
            order[:] = {(entry, other) for entry, other in order if other.entries[priority] == entry}
            heapify(order)

    def _next(self, priority: int) -> Party[T]:
        """The party whose turn it is, taken out of the order; there is one."""
        order = self._order[priority]
        while True:
            entry, party = heappop(order)
            if party.entries[priority] != entry:
                continue
            party.entries[priority] = None
            if party.lanes.counts[priority] and not party.held:
                return party

    def set_turns(self, turns: bool) -> None:
        """Let parties take turns, or not, from now on."""
        if turns == self.turns:
            return
        self.turns = turns
        for priority in PRIORITIES:
            self._order[priority].clear()
            for party in self.parties.values():
                party.entries[priority] = None
                self._sort_in(party, priority)

    # In the lanes

    def append(self, item: T) -> bool:
        """As L{Lanes.append}; C{False} as well if it may not be handed out."""
        party = self._party(item)
        return self._came(party, item.priority, party.lanes.append(item))

    def put_back(self, item: T) -> bool:
        """As L{Lanes.put_back}, among those of its party; C{False} as well if it may not be handed out."""
        party = self._party(item)
        party.lanes.put_back(item)
        return self._came(party, item.priority, True)

    def squeeze_in(self, item: T) -> bool:
        """As L{Lanes.squeeze_in}, among those of its party."""
        party = self.parties.get(item.tenant)
        if party is None or not party.lanes.squeeze_in(item):
            return False
        self._came(party, item.priority, True)
        return True

    def _came(self, party: Party[T], priority: int, first: bool) -> bool:
        self._totals[priority] += 1
        opened = False
        if not party.held:
            self.ready += 1
            self.counts[priority] += 1
            opened = self.counts[priority] == 1
        if first:
            self._sort_in(party, priority)
        return opened

    def take(self, priority: int) -> T:
        """As L{Lanes.take}, of the party whose turn it is."""
        party = self._next(priority)
        item = party.lanes.take(priority)
        self._totals[priority] -= 1
        self.ready -= 1
        self.counts[priority] -= 1
        # Behind all others, if there is more of it.
        self._turn += 1
        party.turns[priority] = self._turn
        if party.lanes.counts[priority]:
            self._enter(party, priority)
        else:
            self._sort_in(party, priority)
        return item

    def remove(self, item: T) -> bool:
        """As L{Lanes.remove}; C{False} as well if it could not be handed out."""
        return self._removed(item, again=False)

    def withdraw(self, item: T) -> bool:
        """As L{Lanes.withdraw}; C{False} as well if it could not be handed out."""
        return self._removed(item, again=True)

    def _removed(self, item: T, *, again: bool) -> bool:
        party, priority = self.parties[item.tenant], item.priority
        emptied = party.lanes.withdraw(item) if again else party.lanes.remove(item)
        self._totals[priority] -= 1
        if not party.held:
            self.ready -= 1
            self.counts[priority] -= 1
        if emptied or not self.turns:
            self._sort_in(party, priority, item)
        return not party.held and not self.counts[priority]

    def all(self) -> list[T]:
        """As L{Lanes.all}, for each party after the other."""
        return list(self.in_turn())

    def in_turn(self) -> Iterator[T]:
        """As L{Lanes.in_turn}, for each party after the other."""
        for party in self.parties.values():
            yield from party.lanes.in_turn()

    # In the overflow

    def behind(self, item: T) -> bool:
        """As L{Lanes.behind}: others of the same party."""
        party = self.parties.get(item.tenant)
        return party is not None and item.priority in party.lanes.overflow

    def append_overflow(self, item: T) -> bool:
        """As L{Lanes.append_overflow}; C{False} as well if it may not be handed out."""
        party, priority = self._party(item), item.priority
        alone = self._alone(priority)
        party.lanes.append_overflow(item)
        self._totals[priority] += 1
        if not party.held:
            self.paged += 1
        self._sort_in(party, priority)
        return alone and not party.held

    def remove_overflow(self, item: T, *, again: bool = False) -> None:
        """As L{Lanes.remove_overflow}."""
        party = self.parties[item.tenant]
        party.lanes.remove_overflow(item, again=again)
        self._left_overflow(party, item.priority)
        self._sort_in(party, item.priority)

    def pop_loaded(self, priority: int, owner: Tenant | None) -> T | None:
        """As L{Lanes.pop_loaded}, of this party."""
        party = self.parties.get(owner)
        found = None if party is None else party.lanes.pop_loaded(priority, owner)
        if party is not None and found is not None:
            self._left_overflow(party, priority)
            # It comes into the lane: until then the party has its turn, even if that was all.
            turn = party.turns[priority]
            self._sort_in(party, priority)
            party.turns[priority] = turn
        return found

    def _left_overflow(self, party: Party[T], priority: int, count: int = 1) -> None:
        self._totals[priority] -= count
        if not party.held:
            self.paged -= count

    def to_read(self, priority: int) -> tuple[Overflow[T] | None, int]:
        """As L{Lanes.to_read}: first of those that have nothing else, and of the others in turn."""
        parties = self._dry[priority] or self.overflow.get(priority)
        if not parties:
            return None, 0
        party = next(iter(parties))
        # Next time it is another's turn.
        del parties[party]
        parties[party] = None
        return party.lanes.overflow[priority], party.lanes.counts[priority]

    def firsts(self) -> list[T]:
        """As L{Lanes.firsts}, of all parties."""
        return [item for party in self.parties.values() for item in party.lanes.firsts()]

    def heads(self) -> list[T]:
        """As L{Lanes.heads}, of all parties, those included that are held."""
        return [item for party in self.parties.values() for item in party.lanes.heads()]

    # Not in memory

    def rows(self, priority: int) -> dict[Tenant | None, Rows]:
        """As L{Lanes.rows}, of all parties."""
        found: dict[Tenant | None, Rows] = {}
        for party in self.parties.values():
            found.update(party.lanes.rows(priority))
        return found

    def has_rows(self, priority: int, owner: Tenant | None) -> bool:
        """As L{Lanes.has_rows}."""
        party = self.parties.get(owner)
        return party is not None and party.lanes.has_rows(priority, owner)

    @property
    def rows_count(self) -> int:
        """As L{Lanes.rows_count}, of all parties."""
        return sum(party.lanes.rows_count for party in self.parties.values())

    def owners(self) -> set[Tenant | None]:
        """As L{Lanes.owners}."""
        return {owner for party in self.parties.values() for owner in party.lanes.owners()}

    def may_spare(self, item: T) -> bool:
        """As L{Lanes.may_spare}."""
        return self.parties[item.tenant].lanes.may_spare(item)

    def last(self, priority: int, owner: Tenant | None) -> T | None:
        """As L{Lanes.last}."""
        party = self.parties.get(owner)
        return None if party is None else party.lanes.last(priority, owner)

    def may_pass_by(self, item: T) -> bool:
        """As L{Lanes.may_pass_by}."""
        party = self.parties.get(item.tenant)
        return party is None or party.lanes.may_pass_by(item)

    def may_follow(self, item: T, owner: Tenant | None) -> bool:
        """As L{Lanes.may_follow}."""
        party = self.parties.get(owner)
        return party is not None and party.lanes.may_follow(item, owner)

    def add_rows(self, priority: int, owner: Tenant | None, count: int, place: int = 1) -> bool:
        """As L{Lanes.add_rows}; C{False} as well if they may not be handed out."""
        party = self._party_of(owner)
        alone = self._alone(priority)
        party.lanes.add_rows(priority, owner, count, place)
        return self._rows_came(party, priority, count, alone)

    def _alone(self, priority: int) -> bool:
        return not (self.counts[priority] or priority in self.overflow)

    def _rows_came(self, party: Party[T], priority: int, count: int, alone: bool) -> bool:
        self._totals[priority] += count
        if not party.held:
            self.paged += count
        self._sort_in(party, priority)
        return alone and not party.held

    def take_row(self, priority: int, owner: Tenant | None) -> None:
        """As L{Lanes.take_row}."""
        party = self.parties[owner]
        party.lanes.take_row(priority, owner)
        self._left_overflow(party, priority)

    def has_rows_only(self, priority: int, owner: Tenant | None, after: int) -> bool:
        """As L{Lanes.has_rows_only}, of a party."""
        party = self.parties.get(owner)
        return party is not None and party.lanes.has_rows_only(priority, owner, after)

    def take_rows(self, priority: int, owner: Tenant | None, items: Sequence[T]) -> None:
        """As L{Lanes.take_rows}, of a party."""
        party = self.parties[owner]
        lanes = party.lanes
        paged = lanes.paged
        lanes.take_rows(priority, owner, items)
        gone = paged - lanes.paged
        self._totals[priority] += len(items) - gone
        if not party.held:
            self.ready += len(items)
            self.counts[priority] += len(items)
            self.paged -= gone
        self._sort_in(party, priority)

    def is_low(self, priority: int) -> bool:
        """As L{Lanes.is_low}, or whether a party has nothing in its lane."""
        return self.counts[priority] < LOW or bool(self._dry[priority])

    def read(self, priority: int, owner: Tenant | None, after: int, read_to: int | None) -> int:
        """As L{Lanes.read}."""
        party = self._party_of(owner)
        missing = party.lanes.read(priority, owner, after, read_to)
        self._left_overflow(party, priority, missing)
        self._sort_in(party, priority)
        return missing

    # As other lanes

    def take_over(self, lanes: Lanes[T]) -> None:
        """Put all that is in lanes for all into these, of which none has anything, in its order."""
        for priority in PRIORITIES:
            owned: dict[Tenant | None, tuple[list[T], list[T], list[T]]] = {}
            for kind, items in enumerate(lanes.kinds(priority)):
                for item in items:
                    tenant = item.tenant
                    if tenant not in owned:
                        owned[tenant] = [], [], []
                    owned[tenant][kind].append(item)
            for owner, rows in lanes.rows(priority).items():
                party = self._party_of(owner)
                party.lanes.fill_rows(priority, owner, rows)
                self._rows_came(party, priority, rows.count, alone=False)
            for kinds in owned.values():
                self._fill(priority, *kinds)

    def _fill(self, priority: int, returned: list[T], queued: list[T], paged: list[T]) -> None:
        """Let one party have all these."""
        party = self._party((returned or queued or paged)[0])
        count = len(returned) + len(queued)
        party.lanes.fill(priority, returned, queued, paged)
        self._totals[priority] += count + len(paged)
        if not party.held:
            self.ready += count
            self.counts[priority] += count
            self.paged += len(paged)
        self._sort_in(party, priority)

    def merged(self) -> Lanes[T]:
        """
        All that is here in lanes for all, by their places. What was in the lane of its party, and comes after
        what another has behind its lane, is PAGED.
        """
        lanes: Lanes[T] = Lanes()
        for priority in PRIORITIES:
            kinds: tuple[list[T], list[T], list[T]] = ([], [], [])
            for party in self.parties.values():
                for kind, items in zip(kinds, party.lanes.kinds(priority), strict=True):
                    kind += items
                for owner, rows in party.lanes.rows(priority).items():
                    lanes.fill_rows(priority, owner, rows)
            for kind in kinds:
                kind.sort(key=lambda item: item.place)
            returned, queued, paged = kinds
            behind = [item.place - 1 for item in paged[:1]]
            behind += [rows.read_to for rows in lanes.rows(priority).values()]
            cut = bisect(queued, min(behind, default=inf), key=lambda item: item.place)
            for item in queued[cut:]:
                item.state = TO_PAGED[item.state]
            paged = sorted([*paged, *queued[cut:]], key=lambda item: item.place)
            lanes.fill(priority, returned, queued[:cut], paged)
        return lanes

    def check(self) -> None:
        """
        Do the counts say what is there, and is each party where it will be looked for?

        @raise AssertionError: they do not.
        """
        counts, paged, limited = [0, 0, 0], 0, set()
        totals = [sum(party.lanes.total_of(p) for party in self.parties.values()) for p in PRIORITIES]
        assert totals == self._totals, (totals, self._totals)
        for tenant, party in self.parties.items():
            lanes = party.lanes
            lanes.check()
            assert party.tenant is tenant, party
            assert all(item.tenant is tenant for item in lanes.all() if item.state in (QUEUED, PAGED)), tenant
            if party.empty:
                continue
            assert party.held == (tenant is not None and tenant.held), tenant
            assert party.bounded == (tenant is not None and tenant.quota.running > 0), tenant
            if party.held:
                continue
            counts = [sum(both) for both in zip(counts, lanes.counts, strict=True)]
            paged += lanes.paged
            if party.bounded and lanes.ready:
                limited.add(party)
            for priority, order in enumerate(self._order):
                if lanes.counts[priority]:
                    entry = party.turns[priority] if self.turns else lanes.head(priority).place
                    assert party.entries[priority] == entry, (tenant, priority)
                    assert (entry, party) in order, (tenant, priority)
        assert (counts, paged) == (self.counts, self.paged), (counts, paged, self.counts, self.paged)
        assert self.ready == sum(counts), (self.ready, counts)
        assert limited == self.limited.keys(), (limited, self.limited)
        for priority in PRIORITIES:
            able = [party for party in self.parties.values() if not party.held]
            behind = {party for party in able if priority in party.lanes.overflow}
            assert behind == self.overflow.get(priority, {}).keys(), priority
            assert (priority in self.overflow) == bool(behind), priority
            dry = {party for party in behind if not party.lanes.counts[priority]}
            assert dry == self._dry[priority].keys(), priority
