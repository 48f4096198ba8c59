"""Many jobs that have ended, in the short form of their measurement."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest

from processes import Programs

pytestmark = pytest.mark.txgear_only

ARCHIVE: Final = Path(__file__).parents[1] / "bench" / "archive.py"

#: Milliseconds: twice what a server may stall. What other programs take of the machine is not counted; but
#: the reactor may wait for the interpreter's lock, while they keep the thread that has it from going on.
BOUND: Final = 100


def test_nothing_done_to_all_of_them_stalls_the_server(programs: Programs) -> None:
    """20,000 dead or kept jobs are listed, read, requeued, purged, dropped and aged out; none is missing."""
    run = programs.start([sys.executable, ARCHIVE, "--jobs", "20000", "--bound", str(BOUND)], name="archive")
    assert run.wait(180) == 0, run.log()
    shown = run.stdout.decode()
    for words in ("requeue function", "purge", "forget dead", "dead, aged: aged out", "kept, aged: aged out"):
        assert words in shown, shown
