"""Many jobs that have ended, in the short form of their measurement."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest

from processes import Programs

pytestmark = pytest.mark.txgear_only

ARCHIVE: Final = Path(__file__).parents[1] / "bench" / "archive.py"

#: Milliseconds: four times what a server may stall, for machines that have other things to do.
BOUND: Final = 200


def test_nothing_done_to_all_of_them_stalls_the_server(programs: Programs) -> None:
    """20,000 dead or kept jobs are listed, read, requeued, purged, dropped and aged out; none is missing."""
    run = programs.start([sys.executable, ARCHIVE, "--jobs", "20000", "--bound", str(BOUND)], name="archive")
    assert run.wait(180) == 0, run.log()
    shown = run.stdout.decode()
    for words in ("requeue function", "purge", "forget dead", "dead, aged: aged out", "kept, aged: aged out"):
        assert words in shown, shown
