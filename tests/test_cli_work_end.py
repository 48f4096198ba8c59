"""How `txgear work` ends: a command whose time is up, what is left of it, and the worker itself."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from cliworkers import Workers, alive, outcome, pids, text_of, wait_for_end, workers
from processes import wait_until
from wirepeer import P

__all__ = ["workers"]

pytestmark = pytest.mark.txgear_only


# The time limit, and what is left of a command


def test_the_time_limit_ends_all_processes(workers: Workers, function: str) -> None:
    """Those that ignore SIGTERM, that hold the pipes open, and that have gone away as daemons do."""
    path = workers.folder / "pids"
    script = f"""
        trap '' TERM
        echo $$ >> {path}
        (trap '' TERM; sh -c 'echo $$ >> {path}; exec sleep 600') &
        setsid sh -c 'echo $$ >> {path}; trap "" TERM; while :; do sleep 6; done' </dev/null >/dev/null 2>&1 &
        sleep 600 & echo $! >> {path}
        echo part
        while :; do sleep 600; done
    """
    # Enough for all of them to begin on a machine that is busy.
    worker = workers.at(function, "--time-limit", "2500ms", command=script)
    got = workers.job(function)
    assert [(each.type, text_of(each)) for each in got] == [
        (P.WORK_DATA, b"part\n"),
        (P.WORK_EXCEPTION, b"the time limit of 2.5 s was over"),
    ]
    numbers = pids(path, 4)
    # When the job has ended, none is left: not a moment later.
    assert [number for number in numbers if alive(number)] == []
    assert worker.running


def test_a_polite_command_is_asked_first(workers: Workers, function: str) -> None:
    """SIGTERM comes before SIGKILL, and nothing waits for the latter."""
    path = workers.folder / "said"
    workers.at(
        function, "--time-limit", "1", command=f"trap 'echo bye > {path}; exit 0' TERM; sleep 600 & wait"
    )
    began = time.monotonic()
    assert workers.told(function)[0] == P.WORK_EXCEPTION
    assert path.read_text() == "bye\n"
    assert time.monotonic() - began < 5


def test_what_goes_on_behind_a_command(workers: Workers, function: str) -> None:
    """A command has ended when it has, also if a daemon that it started holds its pipes; that goes on."""
    path = workers.folder / "pids"
    workers.at(function, command=f"sleep 600 & echo $! >> {path}; echo out")
    began = time.monotonic()
    assert workers.told(function) == (P.WORK_COMPLETE, b"out\n")
    assert time.monotonic() - began < 4
    [number] = pids(path, 1)
    assert alive(number)
    os.kill(number, signal.SIGKILL)


# The end of the worker


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_commands_finish(workers: Workers, function: str, number: signal.Signals) -> None:
    """It takes no more jobs, and ends well when those that run are done."""
    gate = workers.folder / "gate"
    os.mkfifo(gate)
    worker = workers.at(function, command=f"cat {gate}; echo out")
    peer = workers.client()
    peer.submit(function.encode())
    workers.server.wait_for_running(function)
    worker.signal(number)
    wait_until(lambda: b"finishes 1 job;" in worker.stderr)
    peer.send(P.SUBMIT_JOB_BG, function.encode(), b"", b"later")
    peer.expect(P.JOB_CREATED)
    gate.write_text("")
    assert text_of(outcome(peer)[-1]) == b"out\n"
    assert worker.wait() == 0
    assert workers.server.status(function) == (1, 0, 0)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_commands(
    workers: Workers, function: str, number: signal.Signals, status: int
) -> None:
    """No process is left, and the server has the job again: it has not failed."""
    path = workers.folder / "pids"
    worker = workers.at(
        function, command=f"trap '' TERM; echo $$ >> {path}; sleep 600 & echo $! >> {path}; wait; wait"
    )
    peer = workers.client()
    peer.submit(function.encode())
    numbers = pids(path, 2)
    worker.signal(number)
    wait_until(lambda: b"finishes 1 job;" in worker.stderr)
    worker.signal(number)
    assert worker.wait() == status
    assert [each for each in numbers if alive(each)] == []
    wait_until(lambda: workers.server.status(function) == (1, 0, 0))
    assert peer.sync() == []
    assert b": void after" in worker.stderr


def test_a_worker_that_is_killed(workers: Workers, function: str) -> None:
    """Its commands end all the same, and the server has the job again."""
    path = workers.folder / "pids"
    script = (
        f"trap '' TERM; echo $$ >> {path}; setsid sleep 600 & echo $! >> {path}; while :; do sleep 1; done"
    )
    worker = workers.at(function, command=script)
    peer = workers.client()
    peer.submit(function.encode())
    numbers = pids(path, 2)
    worker.kill()
    wait_for_end(numbers)
    wait_until(lambda: workers.server.status(function) == (1, 0, 0))


def test_an_idle_worker_leaves_no_process(workers: Workers, function: str) -> None:
    """Neither when it ends well nor when it is killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        worker = workers.at(function, command="true")
        children = [
            int(each) for each in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        ]
        assert len(children) == 1
        worker.signal(number)
        worker.wait()
        wait_for_end(children)
