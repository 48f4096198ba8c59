"""Uniques and schedules over several stores of one real database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.engine.interfaces import DBAPICursor

from databases import Database
from txgear.broker.records import SCHEDULED, Batch, DoneElsewhere, JobUpdate, Naming, NewJob, StoredValue
from txgear.broker.states import DEAD, DONE
from txgear.journal.batches import Refusals, write_all
from txgear.stores import make_store
from txgear.stores.membership import Membership
from txgear.stores.partedstore import PartedStore
from txgear.stores.places import Tally
from txgear.test.support.batches import adding, addition, deleting, deleting_all, stored

Make = Callable[[str], PartedStore]


@pytest.fixture(params=["postgres", "mariadb", "galera"])
def urls(request: pytest.FixtureRequest) -> list[str]:
    """Where the stores are: at a node each, where there are several."""
    if request.param == "galera":
        return [node.url for node in request.getfixturevalue("galera").nodes]
    database: Database = request.getfixturevalue(request.param)
    return [database.url]


@pytest.fixture
def stores(urls: list[str]) -> Iterator[list[PartedStore]]:
    """Three that are open."""
    made: list[PartedStore] = []
    for index in range(3):
        store = make_store(urls[index % len(urls)], timeout=8.0, membership=Membership(f"s{index}", "", 12.0))
        assert isinstance(store, PartedStore)
        made.append(store)
        store.open()
    yield made
    for store in made:
        store.close(None)


def named(number: int, unique: bytes, function: bytes = b"f") -> NewJob:
    return stored(number, unique=unique, function=function), b""


def numbers(store: PartedStore, count: int) -> range:
    first = store.reserve(count)
    return range(first, first + count)


def lost(store: PartedStore, batch: Batch) -> dict[int, int]:
    """The numbers of the jobs that have the names of a batch's, by those of these."""
    with pytest.raises(DoneElsewhere) as caught:
        store.write(batch)
    assert not caught.value.passed
    return {number: record.number for number, record in caught.value.joined.items()}


def claims(store: PartedStore) -> list[int]:
    """The numbers of the jobs that have names."""

    def read(cursor: object) -> list[int]:
        cursor.execute("SELECT number FROM txgear_claims ORDER BY number")  # type: ignore[attr-defined]
        return [number for (number,) in cursor.fetchall()]  # type: ignore[attr-defined]

    return store._reading(read)


def own(store: PartedStore) -> list[int]:
    return [job.number for job in store.replay(0, 100_000)]


def test_a_name_is_one_job(stores: list[PartedStore]) -> None:
    a, b, _ = stores
    ours, theirs = numbers(a, 10), numbers(b, 10)
    a.write(adding(named(ours[0], b"u"), named(ours[1], b"u", b"g"), addition(ours[2])))
    assert claims(b) == [ours[0], ours[1]]
    before = own(b)
    batch = adding(addition(theirs[0]), named(theirs[1], b"v"), named(theirs[2], b"u"))
    assert lost(b, batch) == {theirs[2]: ours[0]}
    assert own(b) == before
    assert write_all(b, batch).joined.keys() == {theirs[2]}
    assert own(b) == [*before, theirs[0], theirs[1]]
    # It goes with the job.
    a.write(deleting([ours[0], ours[2]]))
    b.write(adding(named(theirs[3], b"u")))
    assert lost(a, adding(named(ours[3], b"u"))) == {ours[3]: theirs[3]}
    b.write(deleting_all([theirs[3]]))
    a.write(adding(named(ours[4], b"u")))
    assert claims(a) == [ours[1], ours[4], theirs[1]]
    # What ends and begins in one batch.
    a.write(Batch([named(ours[5], b"u")], (), [ours[4]]))
    assert lost(b, adding(named(theirs[4], b"u"))) == {theirs[4]: ours[5]}
    a.write(Batch([named(ours[6], b"u"), named(ours[7], b"u")], (), [ours[5], ours[6]]))
    assert lost(b, adding(named(theirs[4], b"u"))) == {theirs[4]: ours[7]}


def test_one_that_has_ended(stores: list[PartedStore]) -> None:
    """While it is kept its name may be taken; its server says when it is not."""
    a, b, _ = stores
    ours, theirs = numbers(a, 10), numbers(b, 10)

    def ends(number: int, state: int) -> Batch:
        return Batch((), [JobUpdate(number, number, 0.0, 0, state=state, ended=1.0)], ())

    a.write(adding(named(ours[0], b"u"), named(ours[1], b"v"), named(ours[2], b"w")))
    a.write(ends(ours[0], DONE))
    a.write(ends(ours[1], DONE)._replace(names=[Naming(ours[1])]))
    # Nobody has said it of this one.
    a.write(ends(ours[2], DEAD))
    batch = adding(*(named(theirs[index], name) for index, name in enumerate((b"u", b"v", b"w"))))
    assert lost(b, batch) == {theirs[0]: ours[0]}
    # Any server may find that out.
    b.write(Batch((), (), (), names=[Naming(ours[0])]))
    b.write(batch)
    assert claims(a) == list(theirs[:3])
    # A dead one is done once more, and has no name.
    a.write(Batch((), [JobUpdate(ours[2], ours[2], 0.0, 0)], (), names=[Naming(ours[2], b"f", b"w")]))
    assert claims(a) == list(theirs[:3])
    b.write(deleting(theirs[:3]))
    a.write(Batch((), (), (), names=[Naming(ours[2], b"f", b"w")]))
    assert lost(b, adding(named(theirs[3], b"w"))) == {theirs[3]: ours[2]}
    # It gets another.
    a.write(Batch((), (), (), names=[Naming(ours[2], b"f", b"x")]))
    b.write(adding(named(theirs[3], b"w")))
    assert claims(a) == [ours[2], theirs[3]]


def test_a_claim_that_was_left(stores: list[PartedStore]) -> None:
    a, b, _ = stores
    ours, theirs = numbers(a, 1), numbers(b, 1)
    a.write(adding(named(ours[0], b"u")))
    a._writing(lambda cursor: cursor.execute("DELETE FROM txgear_jobs"))
    b.write(adding(named(theirs[0], b"u")))
    assert claims(a) == [theirs[0]]


def test_two_take_a_claim_that_was_left(stores: list[PartedStore]) -> None:
    """One of them gets it, and the other one's job is the same."""
    a, *others = stores
    found: dict[int, dict[int, int]] = {}

    def work(index: int, number: int) -> None:
        gate.wait(60)
        refusals = write_all(others[index], adding(named(number, b"u")))
        found[index] = {number: record.number for number, record in refusals.joined.items()}

    for _ in range(10):
        (left,) = numbers(a, 1)
        a.write(adding(named(left, b"u")))
        a._writing(lambda cursor: cursor.execute("DELETE FROM txgear_jobs"))
        gate = threading.Barrier(2)
        theirs = [numbers(other, 1)[0] for other in others]
        threads = [threading.Thread(target=work, args=each) for each in enumerate(theirs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winner = 0 if found[1] else 1
        assert found == {winner: {}, 1 - winner: {theirs[1 - winner]: theirs[winner]}}
        assert claims(a) == [theirs[winner]]
        others[winner].write(deleting([theirs[winner]]))


def test_what_stands_for_a_name(stores: list[PartedStore]) -> None:
    """It is the same whether the database or the server works it out."""
    a, b, _ = stores
    digest = bytes(range(16))
    names: list[tuple[bytes, bytes, bytes | None]] = [
        (b"u", b"f", None),
        (b"-", b"f", digest),
        (b"-", b"f" + digest, digest),
        (b"'\\\xff%s\xc3\xa4\r\n" + b"\0" * 8, b"'\\%s\xfe\0", None),
        (b"x" * 64, b"y" * 8191, None),
        *((b"%d" % index, b"f", None) for index in range(1200)),
    ]

    def jobs(given: range) -> list[NewJob]:
        rows = zip(given, names, strict=True)
        return [(stored(number, unique=u, function=f, digest=d), b"w") for number, (u, f, d) in rows]

    def digests(cursor: object) -> dict[int, bytes]:
        cursor.execute("SELECT number, digest FROM txgear_claims")  # type: ignore[attr-defined]
        return {number: bytes(digest) for number, digest in cursor.fetchall()}  # type: ignore[attr-defined]

    assert a._claims is not None
    keys = [(f, u if d is None else int.from_bytes(d, "big")) for u, f, d in names]
    for every in (1, 2):
        # In a row, and with others in between.
        ours, theirs = numbers(a, every * len(names))[::every], numbers(b, len(names))
        batch = adding(*jobs(ours), *(addition(number + 1) for number in ours if every == 2))
        a._writing(lambda cursor: take_new(a, cursor, batch))  # noqa: B023 - at once
        assert a._reading(digests) == dict(zip(ours, a._claims._digests(keys), strict=True))
        assert lost(b, adding(*jobs(theirs))) == dict(zip(theirs, ours, strict=True))
        a.write(deleting([job.number for job, _ in batch.new_jobs]))
        assert claims(b) == []


def take_new(store: PartedStore, cursor: DBAPICursor, batch: Batch) -> None:
    """Write the new jobs of a batch in the transaction that is under way; all their names are free."""
    assert store._claims is not None
    tally = Tally()
    store._writer._add(cursor, store._parts, batch.new_jobs, tally)
    assert store._claims._take_new(cursor, batch)
    store._lanes.apply(cursor, tally)


def test_others_do_not_wait_for_who_takes_names(stores: list[PartedStore]) -> None:
    """What is read of the rows of its jobs keeps none of theirs, before or behind them."""
    ours, *rest = (list(numbers(store, 10)) for store in stores)
    a, b, c = stores
    for store, (first, second, *_) in zip(stores, (ours, *rest), strict=True):
        store.write(adding(named(first, b"%d" % first), named(second, b"%d" % second)))
    for index, (store, mine) in enumerate(zip(stores, (ours, *rest), strict=True)):

        def work(cursor: DBAPICursor) -> None:
            batch = adding(*(named(number, b"%d" % number) for number in mine[2:5]))  # noqa: B023 - at once
            take_new(store, cursor, batch)  # noqa: B023 - at once
            for other, theirs in zip((a, b, c), (ours, *rest), strict=True):
                if other is not store:  # noqa: B023 - at once
                    # The first and the last of them go, and come.
                    now = theirs[5 + index]  # noqa: B023 - at once
                    other.write(Batch([named(now, b"%d" % now)], (), theirs[:2]))

        store._writing(work)


def test_all_at_once(stores: list[PartedStore]) -> None:
    """Each name is one job, which all know; when it ends others can have the name."""
    names = [b"%d" % index for index in range(300)]
    found: dict[int, list[tuple[dict[int, int], dict[bytes, int]]]] = {}
    rounds = 5

    def work(index: int) -> None:
        store = stores[index]
        mine: list[tuple[dict[int, int], dict[bytes, int]]] = []
        for turn in range(rounds):
            gate.wait(60)
            ours = numbers(store, len(names))
            given = dict(zip(names, ours, strict=True))
            joined: dict[int, int] = {}
            order = names if (index + turn) % 2 else names[::-1]
            for start in range(0, len(names), 50):
                batch = adding(*(named(given[name], name) for name in order[start : start + 50]))
                refusals = write_all(store, batch)
                assert refusals._replace(joined={}) == Refusals({}, {}, {})
                joined |= {number: record.number for number, record in refusals.joined.items()}
            mine.append((joined, given))
            gate.wait(60)
            store.write(deleting([number for number in ours if number not in joined]))
        found[index] = mine

    gate = threading.Barrier(len(stores))
    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(stores)
    for turn in range(rounds):
        for name in names:
            jobs = set()
            for mine in found.values():
                joined, given = mine[turn]
                jobs.add(joined.get(given[name], given[name]))
            assert len(jobs) == 1, (turn, name, jobs)
    assert claims(stores[0]) == []


def test_a_time_of_a_schedule(stores: list[PartedStore]) -> None:
    a, b, c = stores
    ours, theirs = numbers(a, 10), numbers(b, 10)

    def due(number: int, at: float) -> Batch:
        return adding(addition(number))._replace(values=[StoredValue(SCHEDULED, b"s", at, number)])

    def marks() -> dict[bytes, float]:
        return {value.name: value.value for value in c.values()}

    a.write(due(ours[0], 60.0))
    for at in (60.0, 59.0):
        assert write_all(b, due(theirs[0], at)) == Refusals(
            {}, {}, {}, {}, {theirs[0]: b"H:test:%d" % ours[0]}
        )
    assert (own(b), marks()) == ([], {b"s": 60.0})
    b.write(due(theirs[1], 120.0))
    # One that has no job of its own.
    a.write(Batch((), (), (), values=[StoredValue(SCHEDULED, b"s", 119.0)]))
    assert marks() == {b"s": 120.0}
    a.write(Batch((), (), (), values=[StoredValue(SCHEDULED, b"s", 180.0, text="H:other:7")]))
    assert write_all(b, due(theirs[2], 180.0)).passed == {theirs[2]: b"H:other:7"}
    # One that was refused, and is there all the same: only what came with it is put back.
    a.write(due(ours[1], 240.0))
    back = StoredValue(SCHEDULED, b"s", 180.0, theirs[3], f"H:test:{theirs[3]}")
    b.write(Batch((), (), (), values=[back]))
    assert marks() == {b"s": 240.0}
    back = StoredValue(SCHEDULED, b"s", 180.0, ours[1], f"H:test:{ours[1]}")
    a.write(Batch((), (), [ours[1]], values=[back]))
    assert marks() == {b"s": 180.0}
    b.write(due(theirs[3], 240.0))
    # Forgotten.
    a.write(Batch((), (), (), values=[StoredValue(SCHEDULED, b"s", 0.0)]))
    assert marks() == {}
    a.write(due(ours[2], 1.0))
    assert (own(a), own(b)) == ([ours[0], ours[2]], [theirs[1], theirs[3]])


def test_a_name_and_a_time(stores: list[PartedStore]) -> None:
    """What has joined another job has no time of its own."""
    a, b, _ = stores
    (ours,), (theirs,) = numbers(a, 1), numbers(b, 1)
    value = StoredValue(SCHEDULED, b"s", 60.0)
    a.write(adding(named(ours, b"u")))
    refusals = write_all(b, adding(named(theirs, b"u"))._replace(values=[value._replace(number=theirs)]))
    assert set(refusals.joined) == {theirs}
    assert not refusals.passed
    assert a.values() == []
