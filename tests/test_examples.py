"""The programs in `examples/`, as `make demo` runs them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

import pytest

from processes import Program, Programs

EXAMPLES: Final = Path(__file__).parent.parent / "examples"

#: Seconds for the demo; it takes six.
RUNNING: Final = 120.0

#: What each program shows, behind its name and line by line, in this order. The trace has lines of the
#: worker's connection and of the client's: nobody says which of them is there first.
SHOWN: Final = {
    "server": [["policies for 2 patterns, 0 schedules", "is ready: store sqlite:", "has ended"]],
    "worker": [["waits for jobs", "reverse: Hello World!", "mail: attempt 1", "attempt 2", "attempt 3"]],
    "client": [
        [
            *("reverse: !dlroW olleH", "resize: 0 of 4", "resize: 3 of 4", "resize: photo, smaller"),
            *("pending", "mail: done sent to kim@example.org"),
        ]
    ],
    "app": [["ready", "asked for reverse: !edisni olleH"]],
    "trace": [
        ["-> CAN_DO reverse", "-> GRAB_JOB", "<- NO_JOB", "-> PRE_SLEEP", "-> WORK_COMPLETE", "-> WORK_FAIL"],
        ['-> SUBMIT_JOB reverse "" "Hello World!"', "<- WORK_COMPLETE", "-> SUBMIT_JOB_BG mail"],
    ],
}

pytestmark = pytest.mark.txgear_only


def demo(programs: Programs, folder: Path, *words: str) -> Program:
    """A demo that has ended, and whatever it had started with it."""
    program = programs.start([sys.executable, folder / "demo.py", *words], name="demo")
    program.wait(RUNNING)
    # It was a session of its own: nobody is left in it.
    with pytest.raises(ProcessLookupError):
        os.killpg(program.pid, 0)
    return program


def lines(program: Program, name: str) -> list[str]:
    """What one of its programs said."""
    found = program.stdout.decode().splitlines()
    return [line.partition(" | ")[2] for line in found if line.partition(" | ")[0].strip() == name]


@pytest.mark.parametrize("words", [(), ("--trace",)])
def test_all_work(programs: Programs, words: tuple[str, ...]) -> None:
    program = demo(programs, EXAMPLES, *words)
    names = [name for name in SHOWN if words or name != "trace"]
    assert program.wait() == 0
    for name in names:
        for sequence in SHOWN[name]:
            said = iter(lines(program, name))
            for wanted in sequence:
                assert any(wanted in line for line in said), f"{name} did not say {wanted!r}"
    last = program.stdout.decode().splitlines()[-1]
    assert last.startswith("==> all worked: ")
    assert set(last.removeprefix("==> all worked: ").split(", ")) == set(names)


def test_the_status_tells_of_failure(programs: Programs, tmp_path: Path) -> None:
    """A mail that is never sent is the client's error, and the demo's."""
    copied = tmp_path / "examples"
    shutil.copytree(EXAMPLES, copied)
    worker = copied / "worker.py"
    changed = worker.read_text().replace("job.attempt < 3", "job.attempt < 30")
    worker.write_text(changed)
    policies = copied / "policies.toml"
    policies.write_text(policies.read_text().replace('backoff = "1s"', "backoff = 0"))
    program = demo(programs, copied)
    assert program.wait() == 1
    assert lines(program, "client")[-1] == "mail: dead"
    assert program.stdout.decode().splitlines()[-1] == "==> ended badly: {'client': 1}"


def test_a_server_that_does_not_start(programs: Programs, tmp_path: Path) -> None:
    copied = tmp_path / "examples"
    shutil.copytree(EXAMPLES, copied)
    (copied / "policies.toml").write_text("[[function]]\n")
    program = demo(programs, copied)
    assert program.wait() == 1
    assert b"==> the server has ended before it was ready" in program.stderr
    assert not lines(program, "worker")
