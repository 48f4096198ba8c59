"""Stores that earlier versions have written are opened by today's, and nothing is lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from make import FAR, digests, jobs, marks

from crashpeers import Line
from processes import Servers
from txgear.broker.records import PAUSED, JobRecord
from txgear.broker.states import DEAD, DONE
from txgear.stores import make_store
from wirepeer import P, packet

pytestmark = pytest.mark.txgear_only

FILES = sorted(Path(__file__).parent.glob("*.sqlite"))


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
    """

    url: str
    jobs: list[tuple[JobRecord, bytes, bytes | None]]


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Old:
    copy = shutil.copy(request.param, tmp_path / "jobs.sqlite")
    return Old(f"sqlite:///{copy}", jobs(request.param.stem))


def test_there_are_three() -> None:
    assert len(FILES) == 3


def test_all_is_there(old: Old) -> None:
    store = make_store(old.url)
    store.open()
    try:
        assert store.replay(0, 1000) == [job for job, _, _ in old.jobs]
        numbers = range(1, 1000)
        assert store.workloads(numbers) == {
            job.number: workload if result is None else b"" for job, workload, result in old.jobs
        }
        assert store.results(numbers) == {job.number: result for job, _, result in old.jobs if result}
        assert sorted(store.values()) == sorted(marks())
        assert store.imported([*digests(), bytes(32)]) == set(digests())
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
    dead = [job.prefix + b":%d" % job.number for job, _, _ in old.jobs if job.state == DEAD]
    assert [row.split(b"\t")[0] for row in line.lines(b"dead")] == dead
    for mark in marks():
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
