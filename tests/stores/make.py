"""Makes a store with the version of txgear that runs it, for the tests of later versions: see README.md.

Usage: python make.py FILE
"""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from txgear.broker.ended.deadgroups import DEAD_REASONS
from txgear.broker.history import Aside, Attempt, History, owned_by, owner_of
from txgear.broker.records import (
    ASIDE,
    KEPT,
    NAMED,
    OWN,
    PAUSED,
    READY,
    SCHEDULED,
    Batch,
    JobRecord,
    JobUpdate,
    StoredValue,
)
from txgear.broker.records import DEAD as KIND_DEAD
from txgear.broker.states import DEAD, DONE, FAILED
from txgear.broker.tenants import Tenant
from txgear.stores import make_store

#: Seconds since the epoch: when all this was, and a time that no test will see.
THEN: Final = 1_790_000_000.5
FAR: Final = 4_102_444_800.0

#: Bytes of the large workload: dozens of SQLite's pages.
LARGE: Final = 150_000


def large() -> bytes:
    """The large workload: nothing that could be mistaken for zeros, or for another part of itself."""
    return b"".join(sha256(b"%d" % number).digest() for number in range(LARGE // 32 + 1))[:LARGE]


def history(**fields: Any) -> bytes:
    """What is kept of a job beyond the classic protocol."""
    made, tenant = History(fields.pop("settings", None)), fields.pop("tenant", None)
    for name, value in fields.items():
        setattr(made, name, value)
    kept = made.to_bytes(tenant)
    assert kept is not None
    return kept


def failures(count: int) -> list[Attempt]:
    """Attempts that ended without a result."""
    return [
        Attempt(THEN + number, THEN + number + 0.5, "exception", "worker-1", f"no {number} \u20ac")
        for number in range(count)
    ]


def kind_of(fields: dict[str, Any]) -> int:
    """What a job is counted as, if nothing else is said."""
    if fields.get("state") == DEAD:
        return KIND_DEAD + DEAD_REASONS.index("exception")
    return KEPT if fields.get("state") else READY


def jobs(name: str) -> list[tuple[JobRecord, bytes, bytes | None]]:
    """
    All jobs as they are to be found, with their workloads; of those that were done, with their results.

    @param name: of the file, without its ending: the first one has not all of them.
    """
    made: list[tuple[JobRecord, bytes, bytes | None]] = []

    def add(workload: bytes = b"", result: bytes | None = None, **fields: Any) -> None:
        number = len(made) + 1
        settings: dict[str, Any] = {
            "number": number,
            "place": number,
            "prefix": b"H:old",
            "function": b"f",
            "unique": b"",
            "digest": None,
            "reducer": b"",
            "priority": 1,
            "due": 0.0,
            "retries": 0,
            "size": len(workload if result is None else result),
            "created": THEN + number,
            "kind": kind_of(fields),
            **fields,
        }
        made.append((JobRecord(**settings), workload, result))

    for priority in (2, 1, 0):
        for unique in (b"", b"u%d" % priority):
            add(b"workload of %d" % priority, priority=priority, unique=unique)
    add(b"by its digest", unique=b"-", digest=sha256(b"by its digest").digest()[:16])
    add(b"", function=b"empty")
    add(bytes(range(256)), function="f\u00fcr alle Bytes \\x01".encode(), unique=bytes(range(1, 65)))
    add(large(), function=b"large")
    add(b"a\0b", function=b"reduce", reducer=b"sum")
    add(b"of another host", prefix=b"H:older")
    add(b"not before 2100", function=b"later", due=FAR)
    add(b"its time is over", function=b"later", due=THEN)
    add(b"lost once", function=b"lost", retries=1)
    add(b"lost twice", function=b"lost", retries=2, place=100)
    tried = {"attempts": failures(3), "counts": {"exception": 3}}
    add(b"tried thrice", function=b"tried", retries=3, place=101, history=history(**tried))
    settings = {"retries": {"fail": 5}, "backoff": 1.5}
    add(b"with settings", function=b"tried", due=FAR, history=history(settings=settings))
    add(b"dead", function=b"dead", due=FAR, state=DEAD, ended=THEN + 50, history=history(**tried))
    add(b"", function=b"dead", due=FAR, state=DEAD, ended=THEN + 51, history=history(**tried))
    done = history(data_size=5, result_size=11)
    add(
        result=b"data and result.",
        function=b"done",
        unique=b"r1",
        due=FAR,
        state=DONE,
        ended=THEN + 60,
        history=done,
    )
    add(result=b"", function=b"done", unique=b"r2", due=FAR, state=DONE, ended=THEN + 61, history=b"{}")
    add(
        result=large(),
        function=b"done",
        due=FAR,
        state=DONE,
        ended=THEN + 62,
        history=history(result_size=LARGE),
    )
    add(
        result=b"why",
        function=b"done",
        due=FAR,
        state=FAILED,
        ended=THEN + 63,
        history=history(result_size=3),
    )
    if name == "schema-0002":
        return made
    own = {"once": "1d", "results": "1h"}
    add(b"for its unique", function=b"own", unique=b"queued", history=history(settings=own))
    add(
        b"dead", function=b"own", due=FAR, state=DEAD, ended=THEN + 64, history=history(settings=own, **tried)
    )
    # These end in a time that no test will see, so that their uniques are always taken.
    done = history(settings=own, data_size=3, result_size=4)
    add(result=b"abcdefg", function=b"own", unique=b"taken", due=FAR, state=DONE, ended=FAR - 9, history=done)
    add(result=b"", function=b"unique", unique=b"taken", due=FAR, state=DONE, ended=FAR - 9, history=b"{}")
    if name == "schema-0002-once":
        return made
    add(b"on an account", function=b"tenants", history=owned_by("web"))
    add(b"on another", function=b"tenants", history=owned_by("batch-1"))
    add(b"tried", function=b"tenants", retries=3, history=history(tenant=Tenant("web"), **tried))
    add(
        b"dead",
        function=b"tenants",
        due=FAR,
        state=DEAD,
        ended=THEN + 65,
        history=history(tenant=Tenant("web"), **tried),
    )
    add(
        result=b"",
        function=b"unique",
        unique=b"web's",
        due=FAR,
        state=DONE,
        ended=FAR - 9,
        history=owned_by("web"),
    )
    if name not in ("schema-0004", "schema-0005", "schema-0006", "schema-0007", "schema-0008"):
        return made
    # What only a server knows, as it has the settings of functions.
    add(b"expires", function=b"kinds", wake=FAR)
    dead: dict[str, Any] = {"function": b"kinds", "due": FAR, "state": DEAD, "ended": THEN + 66}
    add(b"dead for longer", kind=KIND_DEAD + OWN, history=history(settings=own, **tried), **dead)
    aside = history(aside=Aside("check", THEN + 67, "alice"), **tried)
    add(b"in a review", kind=ASIDE, history=aside, **dead)
    add(
        result=b"",
        function=b"unique",
        unique=b"named",
        kind=NAMED,
        due=FAR,
        state=DONE,
        ended=FAR - 9,
        history=history(complete=None),
    )
    if name != "schema-0008":
        return made
    add(bytes(500), function=b"inline")
    add(bytes(501), function=b"inline")
    return made


def marks(name: str) -> list[StoredValue]:
    """
    What is remembered beside jobs.

    @param name: of the file, without its ending: only later ones have texts.
    """
    return [
        StoredValue(PAUSED, b"paused", THEN, text="" if "0002" in name else "alice, by the f\u00fcr page"),
        StoredValue(SCHEDULED, b"nightly", THEN + 1),
        StoredValue(SCHEDULED, b"x" * 8000, 1.0),
    ]


def digests() -> list[bytes]:
    """Rows of another server's queue that have been taken over."""
    return [sha256(b"row %d" % number).digest() for number in range(3)]


def chunks() -> list[tuple[int, bytes]]:
    """Chunks of the history of figures, as far as the store looks at them."""
    return [(1, b"one"), (2, bytes(range(256)))]


def main(path: str) -> None:
    store = make_store(f"sqlite:///{path}")
    store.open()
    first = store.reserve(1000)
    added, moves, results = [], [], []
    for job, workload, result in jobs(Path(path).stem):
        history = owned_by(owner) if (owner := owner_of(job.history or b"")) else None
        fresh = job._replace(size=len(workload), state=0, ended=0.0, history=history, kind=READY)
        added.append((fresh, workload))
        if job.history is not None:
            size = None if result is None else job.size
            moves.append(
                JobUpdate(
                    job.number,
                    job.place,
                    job.due,
                    job.retries,
                    size,
                    job.state,
                    job.ended,
                    job.history,
                    job.kind,
                    job.wake,
                )
            )
        if result is not None:
            results.append((job.number, result))
    # One that has ended, and is not to be there any more.
    gone = added[0][0]._replace(number=900, place=900)
    store.write(Batch([*added, (gone, b"gone")], (), ()))
    store.write(Batch((), moves, [900], results, values=marks(Path(path).stem)))
    store.take_over([], digests())
    store.put_history(chunks(), [])
    store.close(first + 500)


if __name__ == "__main__":
    main(sys.argv[1])
