"""A queue that is longer than the memory, in its short form."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest

from processes import Programs

pytestmark = pytest.mark.txgear_only

LONG_QUEUE: Final = Path(__file__).parents[1] / "bench" / "longqueue.py"

#: MiB: the server alone has some 80, the workloads of this queue 190.
BOUND: Final = 170


def test_workloads_beyond_the_budget_stay_in_the_store(programs: Programs) -> None:
    """200 MB of jobs are taken, survive a restart and are done, with 16 MiB of memory for them."""
    words = ["--jobs", "20000", "--queue-memory", "16", "--bound", str(BOUND), "--share", "0"]
    run = programs.start([sys.executable, LONG_QUEUE, *words], name="longqueue")
    assert run.wait(120) == 0, run.log()
    assert "drained" in run.stdout.decode()
