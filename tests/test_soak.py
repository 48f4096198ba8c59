"""The soak in its short form: half a minute of load with disturbances."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest

from processes import Programs

pytestmark = pytest.mark.txgear_only

SOAK: Final = Path(__file__).parents[1] / "bench" / "soak.py"

#: Seconds for the load, and the bounds of all that comes before and after it.
LIMIT: Final = 30 + 150.0


@pytest.mark.parametrize(
    "words", [("--seconds", "30"), ("--seconds", "15", "--rows")], ids=["memory", "rows"]
)
def test_soak(programs: Programs, words: tuple[str, ...]) -> None:
    """2,000 connections come and go, workers die, clients leave: each job ends once, no peer is left."""
    soak = programs.start([sys.executable, SOAK, *words], name="soak")
    status = soak.wait(LIMIT)
    said = soak.stdout.decode("utf-8", "backslashreplace")
    assert status == 0, f"{said}\n{soak.log()}"
    assert said.rstrip().endswith("verdict: passed")
    assert not soak.stderr
