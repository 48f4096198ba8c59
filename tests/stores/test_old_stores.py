"""Stores that earlier versions have written are opened by today's, and nothing is lost."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from make import FAR, chunks, digests, jobs, marks

from crashpeers import Line
from processes import Servers
from txgear.broker.records import (
    ASIDE,
    PAUSED,
    ByKey,
    InLane,
    JobRecord,
    Lane,
    LaneCount,
    StoredValue,
    lane_of,
)
from txgear.broker.states import DEAD, DONE
from txgear.stores import make_store
from wirepeer import P, packet

pytestmark = pytest.mark.txgear_only

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*.sqlite"))


CONFIG = """
[[function]]
name = "unique"
{setting} = "1d"
"""


class Old(NamedTuple):
    """
    A store that an earlier version has written.

    @ivar url: of a copy: opening it brings its tables up to date.
    @ivar jobs: what is in it, with workloads and results.
    @ivar marks: what is remembered beside them.
    @ivar chunks: of the history of figures.
    """

    url: str
    jobs: list[tuple[JobRecord, bytes, bytes | None]]
    marks: list[StoredValue]
    chunks: list[tuple[int, bytes]]


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Old:
    copy = shutil.copy(request.param, tmp_path / "jobs.sqlite")
    name = request.param.stem
    return Old(f"sqlite:///{copy}", jobs(name), marks(name), [] if "0002" in name else chunks())


def test_there_are_nine() -> None:
    assert len(FILES) == 9


def counts(jobs: list[tuple[JobRecord, bytes, bytes | None]]) -> list[LaneCount]:
    """How many jobs there are in each lane."""
    found: dict[Lane, list[int]] = {}
    for job, _, _ in jobs:
        found.setdefault(lane_of(job), []).append(job.size)
    return [LaneCount(lane, len(sizes), sum(sizes)) for lane, sizes in found.items()]


def test_all_is_there(old: Old) -> None:
    store = make_store(old.url)
    store.open()
    try:
        assert store.replay(0, 1000) == [job for job, _, _ in old.jobs]
        assert sorted(store.lanes()) == sorted(counts(old.jobs))
        for job, _, _ in old.jobs:
            assert job.number in {found.number for found in store.rows(InLane(lane_of(job), 0, 100))}
            if job.unique not in (b"", b"-"):
                assert job.number in {found.number for found in store.rows(ByKey([job.unique]))}
        numbers = range(1, 1000)
        assert store.workloads(numbers) == {
            job.number: workload if result is None else b"" for job, workload, result in old.jobs
        }
        assert store.results(numbers) == {job.number: result for job, _, result in old.jobs if result}
        assert sorted(store.values()) == sorted(old.marks)
        assert store.imported([*digests(), bytes(32)]) == set(digests())
        assert store.history(0, 10) == old.chunks
        # After those that were reserved and not given back.
        assert store.reserve(1) == 501
    finally:
        store.close(None)


def test_a_server_goes_on_with_it(old: Old, start_server: Servers) -> None:
    """Each job that is due is handed out, those of higher priority first; the others are as they were."""
    server = start_server("--job-handle-prefix", "H:new", store=old.url)
    line = Line(server.port)
    waiting = {job.prefix + b":%d" % job.number for job, _, _ in old.jobs if not job.state}
    assert {row.split(b"\t")[0] for row in line.lines(b"show jobs")} == waiting
    due = [(job, workload) for job, workload, _ in old.jobs if not job.state and job.due < 4e9]
    done = []
    for function in dict.fromkeys(job.function for job, _ in due):
        line.send(packet(P.CAN_DO, function))
        expected = sorted((job.priority, job.place) for job, _ in due if job.function == function)
        got: list[tuple[int, int]] = []
        while len(got) < len(expected):
            line.send(packet(P.GRAB_JOB_UNIQ))
            kind, body = line.read()
            if kind == P.NO_JOB:
                line.send(packet(P.PRE_SLEEP))
                assert line.read()[0] == P.NOOP
                continue
            handle, name, unique, workload = body.split(b"\0", 3)
            job, kept = next(each for each in due if each[0].prefix + b":%d" % each[0].number == handle)
            assert (name, unique, workload) == (job.function, job.unique, kept)
            got.append((job.priority, job.place))
            done.append(handle)
            line.send(packet(P.WORK_COMPLETE, handle, b""))
        assert [priority for priority, _ in got] == [priority for priority, _ in expected]
        if function != b"later":
            assert got == expected
        line.send(packet(P.CANT_DO, function))
    assert {row.split(b"\t")[0] for row in line.lines(b"show jobs")} == waiting - set(done)
    for asked, aside in ((b"dead", False), (b"dead review=check", True)):
        dead = [
            job.prefix + b":%d" % job.number
            for job, _, _ in old.jobs
            if job.state == DEAD and (job.kind == ASIDE) == aside
        ]
        assert [row.split(b"\t")[0] for row in line.lines(asked)] == dead
    for mark in old.marks:
        if mark.kind == PAUSED:
            assert b"paused\tyes" in line.lines(b"policy " + mark.name)
    line.close()


@pytest.mark.parametrize("setting", ["once", "unique_for"])
def test_uniques_stay_taken(old: Old, setting: str, tmp_path: Path, start_server: Servers) -> None:
    """By a job's own settings, and by those of its function, under the name of then and that of now."""
    config = tmp_path / "policies.toml"
    config.write_text(CONFIG.format(setting=setting), "utf-8")
    server = start_server("--config", str(config), store=old.url)
    line = Line(server.port)
    for job, _, _ in old.jobs:
        handle = job.prefix + b":%d" % job.number
        if job.state == DONE and job.ended > FAR - 10:
            line.send(packet(P.SUBMIT_JOB_BG, job.function, job.unique, b"again"))
            assert line.read() == (P.JOB_CREATED, handle)
        if job.function == b"own":
            assert b"setting\tunique_for\t86400" in line.lines(b"job " + handle)
    line.close()
    assert ("function.once is called unique_for now" in server.log()) == (setting == "once")


def tables(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """The columns of all tables."""
    with closing(sqlite3.connect(path)) as file:
        names = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: file.execute(f"PRAGMA table_info({name})").fetchall() for name in names}


@pytest.mark.parametrize("before", [7, 6, 5, 4, 3, 2])
def test_back_to_the_revisions_before(tmp_path: Path, before: int) -> None:
    """As docs/upgrading.md says: nothing is lost but what those versions have no place for."""
    copy = Path(shutil.copy(FOLDER / "schema-0008.sqlite", tmp_path / "jobs.sqlite"))
    page = (FOLDER.parent.parent / "docs" / "upgrading.md").read_text("utf-8")
    scripts = [part.partition("```")[0] for part in page.split("```sql\n")[1:]]
    steps = sorted((script for script in scripts if "version_num" in script), key=revision_of, reverse=True)
    assert [revision_of(step) for step in steps] == [7, 6, 5, 4, 3, 2]
    with closing(sqlite3.connect(copy)) as file:
        for step in steps:
            if revision_of(step) >= before:
                file.executescript(step)
    old = "schema-0002-tenants" if before == 2 else f"schema-000{before}"
    assert tables(copy) == tables(FOLDER / f"{old}.sqlite")
    with closing(sqlite3.connect(copy)) as file:
        assert file.execute("SELECT version_num FROM txgear_schema").fetchall() == [(f"000{before}",)]
    store = make_store(f"sqlite:///{copy}")
    store.open()
    made = jobs("schema-0008")
    assert [job[:-2] for job in store.replay(0, 1000)] == [job[:-2] for job, _, _ in made]
    assert store.workloads(range(1000)) == {
        job.number: workload if result is None else b"" for job, workload, result in made
    }
    if before == 2:
        assert sorted(store.values()) == sorted(mark._replace(text="") for mark in marks("schema-0003"))
    store.close(None)


def revision_of(script: str) -> int:
    """To which revision a script of docs/upgrading.md leads."""
    return int(script.partition("version_num = '")[2].partition("'")[0])
