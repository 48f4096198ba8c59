"""Several stores over one real database, each with its own parts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine.interfaces import DBAPICursor
from zope.interface.verify import verifyObject

from databases import Database
from txgear.broker.orders import Mail, Order, Orders, Post
from txgear.broker.records import (
    PAUSED,
    SCHEDULED,
    SLOTS,
    Batch,
    InLane,
    Lease,
    NewJob,
    StoredValue,
    Swap,
    Taken,
)
from txgear.cli.care.storecopying import Copy
from txgear.errors import StoreError, StoreTaken, StoreUnusable
from txgear.interfaces import IHistoryStore, IPartedStore
from txgear.stores import make_store, partedstore
from txgear.stores.membership import Membership
from txgear.stores.partedstore import PartedStore
from txgear.stores.parts import PART_NUMBERS
from txgear.stores.places import Tally
from txgear.stores.schema import MAX_STATUS, jobs
from txgear.stores.sql import SqlStore
from txgear.test.support.batches import adding, addition, deleting, deleting_all, stored
from txgear.test.support.stores import living

Make = Callable[[str], PartedStore]


@pytest.fixture(params=["postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    """One server of each kind, with an empty database."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def server(database: Database) -> Iterator[Make]:
    """Makes the open store of a server with a name."""
    made: list[PartedStore] = []

    def make(name: str) -> PartedStore:
        store = make_store(
            database.url, timeout=3.0, membership=Membership(name, f"{name}.example:4730", 8.0)
        )
        assert isinstance(store, PartedStore)
        made.append(store)
        store.open()
        return store

    yield make
    for store in made:
        store.close(None)


def add(store: SqlStore, count: int) -> list[int]:
    """Have a store keep new jobs; their numbers."""
    first = store.reserve(count)
    numbers = list(range(first, first + count))
    store.write(adding(*[addition(number) for number in numbers]))
    return numbers


def own(store: SqlStore) -> list[int]:
    return [job.number for job in store.replay(0, 1000)]


def lease_of(store: PartedStore, name: str) -> Lease:
    """The lease of another server's only part, as it is now."""
    (found,) = (lease for lease in store.leases() if lease.name == name)
    return found


def test_each_has_its_own_jobs(server: Make) -> None:
    one, two, three = server("one"), server("two"), server("three")
    assert verifyObject(IPartedStore, one)
    assert not IHistoryStore.providedBy(one)
    ones, twos, threes = add(one, 3), add(two, 4), add(three, 5)
    assert (own(one), own(two), own(three)) == (ones, twos, threes)
    assert len({number // PART_NUMBERS for number in ones + twos + threes}) == 3
    assert [sum(lane.jobs for lane in store.lanes()) for store in (one, two, three)] == [3, 4, 5]
    found = {lease.name: lease for lease in two.leases() if lease.name}
    assert found.keys() == {"one", "two", "three"}
    assert [name for name, lease in found.items() if lease.is_ours] == ["two"]
    assert found["one"].address == "one.example:4730"
    # Nothing of others' is changed.
    one.write(deleting(twos))
    assert own(two) == twos
    with pytest.raises(StoreError):
        one.write(adding(addition(twos[-1] + 1)))


def test_a_part_is_taken_while_its_owner_lives_and_does_not_know(server: Make, database: Database) -> None:
    old, new = server("old"), server("new")
    numbers = add(old, 3)
    mine = add(new, 1)
    taken = new.take(lease_of(new, "old"))
    assert taken is not None
    assert sum(lane.jobs for lane in taken.lanes) == 3
    before = database.execute("SELECT * FROM txgear_jobs ORDER BY number")
    with pytest.raises(StoreTaken):
        old.write(Batch([addition(numbers[-1] + 1)], (), numbers))
    assert database.execute("SELECT * FROM txgear_jobs ORDER BY number") == before
    assert own(new) == sorted(numbers + mine)
    lane = new.lanes()[0].lane
    assert len(new.rows(InLane(lane, 0, 10))) == 4
    new.write(deleting(numbers))
    assert own(new) == mine
    # It comes back with nothing.
    old.open()
    assert (own(old), old.lanes()) == ([], [])
    again = add(old, 2)
    assert own(old) == again
    assert not set(again) & set(numbers)


def test_a_beat_after_the_look_keeps_it(server: Make) -> None:
    old, new = server("old"), server("new")
    seen = lease_of(new, "old")
    old.renew()
    assert new.take(seen) is None
    old.renew()
    assert new.take(lease_of(old, "new")._replace(part=99)) is None
    # What is ours is read only.
    numbers = add(old, 2)
    found = old.take(lease_of(old, "old"))
    assert found is not None
    assert [each.jobs for each in found.lanes] == [2]
    assert own(old) == numbers


def test_new_numbers_are_above_those_of_what_was_taken(server: Make) -> None:
    old, new = server("old"), server("new")
    numbers = add(new, 2)
    taken = old.take(lease_of(old, "new"))
    assert taken is not None
    assert [each.jobs for each in taken.lanes] == [2]
    assert old.reserve(1) > max(numbers)
    # What had its number before is kept all the same.
    first = add(old, 1)
    assert own(old) == sorted(numbers + first)


def test_of_two_that_take_one_wins(server: Make) -> None:
    one, two = server("one"), server("two")
    for _ in range(20):
        third = server("third")
        add(third, 1)
        seen = [lease_of(store, "third") for store in (one, two)]
        found: list[Taken | None] = [None, None]

        def take(at: int, store: PartedStore) -> None:
            found[at] = store.take(seen[at])  # noqa: B023 - ended in this round

        threads = [threading.Thread(target=take, args=each) for each in enumerate((one, two))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [each is None for each in found].count(True) == 1
        with pytest.raises(StoreTaken):
            third.renew()
        winner = one if found[0] else two
        winner.write(deleting(own(winner)))
        winner._tidy_at = 0.0


def test_what_a_server_says_of_itself(server: Make) -> None:
    """It leaves with the next change, and stays until the part is another's."""
    one, two = server("one"), server("two")
    one.tell(b"first")
    assert lease_of(two, "one").status == b""
    one.renew()
    assert lease_of(two, "one").status == b"first"
    add(one, 1)
    assert lease_of(two, "one").status == b"first"
    one.tell(b"not yet")
    one.tell(b"\x00\xff" * (MAX_STATUS // 2))
    with pytest.raises(StoreError):
        one.write(adding(addition(1)))
    assert lease_of(two, "one").status == b"first"
    add(one, 1)
    assert lease_of(two, "one").status == b"\x00\xff" * (MAX_STATUS // 2)
    assert two.take(lease_of(two, "one")) is not None
    assert {lease.status for lease in two.leases()} == {b""}
    two.tell(b"both")
    two.renew()
    said = {lease.part: lease.status for lease in two.leases() if lease.is_ours}
    assert said == {part: b"both" if part == max(said) else b"" for part in said}
    two.close(None)
    assert {lease.status for lease in server("three").leases()} == {b""}


def test_what_was_closed_is_taken_at_once(server: Make) -> None:
    old, new = server("old"), server("new")
    numbers = add(old, 3)
    old.close(None)
    (free,) = (lease for lease in new.leases() if not lease.owner and lease.part > 1)
    taken = new.take(free)
    assert taken is not None
    assert own(new) == numbers


def test_a_store_from_before(server: Make, database: Database) -> None:
    alone = make_store(database.url)
    alone.open()
    numbers = add(alone, 3)
    alone.close(None)
    one = server("one")
    assert own(one) == []
    (first,) = (lease for lease in one.leases() if lease.part == 1)
    assert one.take(first) is not None
    assert own(one) == numbers
    assert one.reserve(1) > max(numbers)


@pytest.mark.parametrize("dies", [False, True])
def test_tables_of_before_change_when_nobody_lives_who_has_them(
    server: Make, database: Database, dies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of that version would not find what a newer one has written."""
    monkeypatch.setattr(partedstore, "CUT_SECONDS", 0.0)
    old = server("old")
    (number,) = add(old, 1)
    database.execute("ALTER TABLE txgear_jobs DROP COLUMN workload")
    database.execute("UPDATE txgear_schema SET version_num = '0007'")
    if not dies:
        with living(old), pytest.raises(StoreUnusable, match="in use by another server: old"):
            server("new")
        old.close(None)
    new = server("new")
    if dies:
        with pytest.raises(StoreTaken):
            old.renew()
    (free,) = (lease for lease in new.leases() if lease.first <= number < lease.end)
    assert new.take(free) is not None
    assert own(new) == [number]
    new.write(adding(addition(new.reserve(1), b"small")))
    assert database.execute("SELECT count(*) FROM txgear_workloads") == [(0,)]


def test_without_others_there_is_one_server_with_all_parts(server: Make, database: Database) -> None:
    one, two = server("one"), server("two")
    numbers = add(one, 3) + add(two, 3)
    one.close(None)
    alone = make_store(database.url)
    with living(two), pytest.raises(StoreUnusable, match="in use by another server: two"):
        alone.open()
    alone.close(None)
    two.close(None)
    alone.open()
    numbers += add(alone, 1)
    assert own(alone) == sorted(numbers)
    assert len(set(numbers)) == 7
    alone.close(None)


def test_values_of_all(server: Make) -> None:
    """Those that hold for all are read without the others."""
    one, two = server("one"), server("two")
    pause = StoredValue(PAUSED, b"f", 1.5, text="ops")
    one.write(Batch((), (), (), values=[pause, StoredValue(SCHEDULED, b"s", 60.0)]))
    assert two.shared() == [pause]
    two.write(Batch((), (), (), values=[pause._replace(value=0.0)]))
    assert one.shared() == []
    assert len(one.values()) == 1


def test_values_that_take_the_place_of_others(server: Make) -> None:
    one, two = server("one"), server("two")

    def slots(name: bytes, version: float, text: str = "a=1") -> StoredValue:
        return StoredValue(SLOTS, name, version, text=text)

    assert one.swap([Swap(slots(b"f", 1.0), 0.0), Swap(slots(b"g", 1.0), 0.0)]) == [True, True]
    # What they have read is not there any more.
    assert two.swap([Swap(slots(b"f", 2.0), 0.0), Swap(slots(b"g", 2.0), 3.0)]) == [False, False]
    assert two.swap([Swap(slots(b"f", 2.0, "b=1"), 1.0), Swap(slots(b"h", 1.0), 0.0)]) == [True, True]
    assert one.swap([Swap(slots(b"f", 0.0, ""), 1.0), Swap(slots(b"g", 0.0, ""), 1.0)]) == [False, True]
    assert sorted(one.shared()) == [slots(b"f", 2.0, "b=1"), slots(b"h", 1.0)]
    assert one.swap([Swap(slots(b"f", 2.0**50 + 1), 2.0)]) == [True]
    assert two.swap([Swap(slots(b"f", 2.0**50), 2.0**50 + 1)]) == [True]


def test_of_two_that_swap_one_does(server: Make) -> None:
    """They count together, and neither counts what the other one has."""
    stores = [server("one"), server("two")]
    done = [0, 0]

    def swap(at: int) -> None:
        store = stores[at]
        for number in range(60):
            there = next(iter(store.shared()), StoredValue(SLOTS, b"f", 0.0, text="0"))
            after = there._replace(value=1.0 + at + 2 * number, text=str(int(there.text) + 1))
            done[at] += store.swap([Swap(after, there.value)]) == [True]

    threads = [threading.Thread(target=swap, args=[at]) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (found,) = stores[0].shared()
    assert int(found.text) == sum(done) >= 60


def test_it_has_what_it_had_after_a_lost_connection(server: Make) -> None:
    old, new = server("old"), server("new")
    numbers = add(old, 2)
    assert new.take(lease_of(new, "old")) is not None
    numbers += add(new, 1)
    new._disconnect()
    new.open()
    assert own(new) == sorted(numbers)
    new.renew()


def test_a_taking_that_nobody_hears_of(server: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = server("old"), server("new")
    numbers = add(old, 2)

    def lose(*_: object) -> None:
        new._disconnect()
        raise StoreError("lost")

    with monkeypatch.context() as patched:
        patched.setattr(new, "_contents", lose)
        with pytest.raises(StoreError):
            new.take(lease_of(new, "old"))
    new.open()
    assert own(new) == []
    new.leases()
    (free,) = (lease for lease in new.leases() if not lease.owner and lease.part > 1)
    assert new.take(free) is not None
    assert own(new) == numbers


def test_rows_do_not_grow_with_restarts(server: Make, database: Database) -> None:
    for _ in range(10):
        server("one").close(None)
    last = server("one")
    last.leases()
    assert len(last.leases()) <= 2
    for _ in range(10):
        other = server("other")
        add(other, 1)
        assert last.take(lease_of(last, "other")) is not None
        last.write(deleting(own(last)))
        add(last, 1)
        last._tidy_at = 0.0
        last.leases()
    assert len(last.leases()) <= 4


def test_a_part_with_many_jobs_is_taken_at_once(server: Make) -> None:
    old, new = server("old"), server("new")
    for _ in range(20):
        add(old, 5000)
    began = time.monotonic()
    taken = new.take(lease_of(new, "old"))
    seconds = time.monotonic() - began
    assert taken is not None
    assert sum(lane.jobs for lane in taken.lanes) == 100_000
    assert seconds < 0.5


def test_a_full_part_is_followed_by_another(server: Make, database: Database) -> None:
    one = server("one")
    first = one.reserve(10)
    left = PART_NUMBERS - first % PART_NUMBERS
    assert left > PART_NUMBERS // 2 - 10
    assert one.reserve(left - 50) == first + 10
    assert one.reserve(100) >= first + left


# Orders


def give(store: PartedStore, number: int, part: int, asked: bytes = b"do") -> None:
    assert store.exchange(Post(new=[Order(number, part, asked)])) == Mail([], {}, set())


def part_of(store: PartedStore) -> int:
    (part,) = (lease.part for lease in store.leases() if lease.is_ours)
    return part


def test_an_order_and_its_answer(server: Make) -> None:
    one, two, three = server("one"), server("two"), server("three")
    give(one, 7, part_of(two))
    assert three.orders(()) == Orders([], set())
    assert two.orders(()) == Orders([Order(7, part_of(two), b"do")], {7})
    # Who was interrupted in the middle gets it again; who has it knows that.
    assert two.orders(()).orders == [Order(7, part_of(two), b"do")]
    assert two.orders({7}) == Orders([], {7})
    assert one.exchange(Post(waiting=[7])).answers == {}
    two.answer({7: b"done", 8: b"gone"})
    assert two.orders({7}) == Orders([], set())
    assert one.exchange(Post(waiting=[7, 9])).answers == {7: b"done"}
    one.exchange(Post(over=[7]))
    assert one.exchange(Post(waiting=[7])).answers == {}


def test_of_an_asker_that_gives_up_and_an_owner_that_begins_one_wins(server: Make) -> None:
    one, two = server("one"), server("two")
    part = part_of(two)
    give(one, 1, part)
    give(one, 2, part)
    assert one.exchange(Post(withdrawn=[1, 3])).withdrawn == {1}
    assert [order.number for order in two.orders(()).orders] == [2]
    assert one.exchange(Post(withdrawn=[2])).withdrawn == set()
    wins = []
    for number in range(100, 120):
        give(one, number, part)
        begun: list[Orders] = []
        thread = threading.Thread(target=lambda begun=begun: begun.append(two.orders({2})))
        thread.start()
        withdrawn = one.exchange(Post(withdrawn=[number])).withdrawn
        thread.join()
        assert (number in withdrawn) != bool(begun[0].orders)
        wins.append(bool(withdrawn))
        two.answer({number: b"done"})


def test_who_has_lost_its_part_answers_nothing(server: Make) -> None:
    one, old, new = server("one"), server("old"), server("new")
    part = part_of(old)
    give(one, 1, part)
    give(one, 2, part)
    old.orders(())
    assert new.take(lease_of(new, "old")) is not None
    give(one, 3, part)
    with pytest.raises(StoreTaken):
        old.answer({1: b"done"})
    assert one.exchange(Post(waiting=[1])).answers == {}
    # What had begun there, too.
    assert {order.number for order in new.orders(()).orders} == {1, 2, 3}
    new.answer({1: b"new"})
    assert one.exchange(Post(waiting=[1, 2, 3])).answers == {1: b"new"}


def test_jobs_of_others_are_seen(server: Make) -> None:
    one, two = server("one"), server("two")
    (mine,), (theirs,) = add(one, 1), add(two, 1)
    two.write(adding((addition(theirs + 1)[0]._replace(unique=b"u"), b"")))
    found = one.exchange(Post(numbers=[mine, theirs, theirs + 5, 10**18 - 1], uniques=[b"u", b"v"])).jobs
    assert [(each.record.number, each.part, each.is_ours) for each in found] == [
        (mine, part_of(one), True),
        (theirs, part_of(two), False),
        (theirs + 1, part_of(two), False),
    ]
    assert found[2].record.unique == b"u"


def test_orders_that_nobody_fetches_go(server: Make, database: Database) -> None:
    one, two = server("one"), server("two")
    for number in (1, 2):
        give(one, number, part_of(two))
    # Of a part that nobody has any more.
    give(one, 3, 99)
    two.orders(())
    two.answer({1: b"done"})

    def left() -> list[int]:
        two._tidy_at = 0.0
        two.leases()
        return [number for (number,) in database.execute("SELECT number FROM txgear_orders ORDER BY number")]

    assert left() == [1, 2]
    assert left() == [2]
    assert left() == [2]


# The fence of several parts


def test_the_fence_of_one_server_locks_no_rows_of_others(server: Make) -> None:
    one, two, three = server("one"), server("two"), server("three")
    add(two, 1)
    assert one.take(lease_of(one, "two")) is not None
    with closing(one._driver_connection().cursor()) as cursor:
        one._held.fence(one._driver_connection(), cursor)
        # Otherwise it would wait for as long as anybody waits for the store.
        three.renew()
    one._driver_connection().rollback()
    one.renew()


def named(first: int, count: int) -> list[NewJob]:
    """New jobs with uniques and workloads."""
    numbers = range(first, first + count)
    return [(stored(number, unique=b"%d" % number, size=1), b"w") for number in numbers]


def test_deletions_do_not_wait_for_others_jobs(server: Make) -> None:
    """Not even where they are most of what there is, so that reading it all would be less work."""
    one, two = server("one"), server("two")
    one.write(adding(*named(one.reserve(200), 200)))
    others = adding(*named(two.reserve(5), 5))
    numbers = own(one)

    def work(cursor: DBAPICursor) -> None:
        assert two._claims is not None
        two._writer._add(cursor, two._parts, others.new_jobs, Tally())
        two._claims.take(cursor, others)
        # It is there, and not committed.
        assert two._statements.known(cursor, jobs, [job.number for job, _ in others.new_jobs])
        one.write(deleting(numbers[:100]))
        one.write(deleting_all(numbers[100:]))

    two._writing(work)
    assert own(one) == []


def test_one_of_several_parts_is_taken(server: Make, database: Database) -> None:
    one, two, three = server("one"), server("two"), server("three")
    numbers, others = add(one, 1), add(two, 1)
    assert one.take(lease_of(one, "two")) is not None
    (part,) = (lease for lease in three.leases() if lease.first <= others[0] < lease.end)
    assert three.take(part) is not None
    before = database.execute("SELECT number FROM txgear_jobs ORDER BY number")
    with pytest.raises(StoreTaken):
        one.write(deleting(numbers))
    assert database.execute("SELECT number FROM txgear_jobs ORDER BY number") == before


@pytest.mark.parametrize("is_source", [True, False])
def test_a_copy_notices_a_server_that_begins(
    server: Make, database: Database, tmp_path: Path, is_source: bool
) -> None:
    """Where there are parts one with --cluster begins beside whoever has them; what it does is not copied."""
    before = server("before")
    add(before, 1)
    before.close(before.reserve(0))
    here = make_store(database.url, timeout=3.0)
    there = make_store(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    source, target = (here, there) if is_source else (there, here)
    with closing_stores(here, there):
        numbers = add(source, 9)
        if not is_source:
            # An empty part of it: this is about the jobs of the other one.
            target.write(deleting(own(target)))
        count = len(own(source))
        copy = Copy(source, target)
        assert copy.count() == count >= len(numbers)
        copy.run()
        assert copy.check(count) == ""
        add(server("a"), 1)
        for step in (copy.count, copy.run, lambda: copy.check(count)):
            with pytest.raises(StoreTaken, match=r"another server has begun to use it: a$"):
                step()


@contextmanager
def closing_stores(*stores: SqlStore) -> Iterator[None]:
    """They are open, and are closed whatever happens."""
    for store in stores:
        store.open()
    try:
        yield
    finally:
        for store in stores:
            store.close(None)
