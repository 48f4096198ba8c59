"""Uniques over a queue that is longer than the memory: whoever submits what there is already joins it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from processes import Server, Servers
from wirepeer import P, WirePeer, packet

pytestmark = pytest.mark.txgear_only

JOBS: Final = 2000
SPAN: Final = 500
"""How far the clients are apart that submit all jobs, each in turn."""
NAMES: Final = [b"unique-%04d" % number for number in range(JOBS)]
#: The least there is: a twentieth of the jobs fits into it.
MEMORY: Final = ("--queue-memory", "64K")


def submit(peers: Iterable[WirePeer], kind: int = P.SUBMIT_JOB_BG) -> dict[bytes, set[bytes]]:
    """Each peer submits all jobs at once, each beginning elsewhere; the handles that were told, by unique."""
    orders = [(peer, NAMES[first:] + NAMES[:first]) for first, peer in enumerate_spans(peers)]
    for peer, names in orders:
        peer.send_raw(b"".join(packet(kind, b"long", name, b"work of " + name) for name in names))
    told: dict[bytes, set[bytes]] = {}
    for peer, names in orders:
        for name in names:
            told.setdefault(name, set()).add(peer.expect(P.JOB_CREATED, timeout=60).body)
    return told


def enumerate_spans(peers: Iterable[WirePeer]) -> Iterable[tuple[int, WirePeer]]:
    return ((index * SPAN % JOBS, peer) for index, peer in enumerate(peers))


def total(server: Server) -> int:
    status = server.status("long")
    assert status is not None
    return status[0]


def test_each_is_one_job_wherever_it_is(start_server: Servers, tmp_path: Path) -> None:
    """Over a restart, too, from the first moment on; and all of them are done once."""
    store = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    server = start_server(*MEMORY, store=store)
    told = submit(server.connect() for _ in range(4))
    assert {len(handles) for handles in told.values()} == {1}
    assert len(set.union(*told.values())) == JOBS
    assert total(server) == JOBS

    assert server.stop() == 0
    server = start_server(*MEMORY, store=store)
    waiting = server.connect()
    again = submit([waiting], P.SUBMIT_JOB)
    assert again == told
    assert submit(server.connect() for _ in range(2)) == told
    assert total(server) == JOBS

    asker = server.connect()
    for name in NAMES[::100]:
        (handle,) = told[name]
        assert asker.status_of(handle) == [b"1", b"0", b"0", b"0"]
        asker.send(P.GET_STATUS_UNIQUE, name)
        asker.expect(P.STATUS_RES_UNIQUE, name, b"1", b"0", b"0", b"0", b"1")

    worker = server.connect(timeout=30)
    worker.can_do(b"long")
    done = []
    for _ in range(JOBS):
        job = worker.grab_soon(timeout=30)
        assert job.workload == b"work of " + job.unique
        assert told[job.unique] == {job.handle}
        worker.complete(job, b"done")
        done.append(job.unique)
    assert sorted(done) == NAMES
    results = {waiting.expect(P.WORK_COMPLETE, timeout=30).args[0] for _ in range(JOBS)}
    assert results == set.union(*told.values())
    server.wait_for_total("long", 0)
