"""The crash test of a runtime in short: each disturbance once, and some more."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from runtimecrash import run

pytestmark = pytest.mark.txgear_only

#: Of all that is random; it is told with the figures.
SEED: Final = os.environ.get("TXGEAR_CRASH_SEED") or str(time.time_ns())

#: Seconds of disturbances.
SECONDS: Final = 18.0


def test_crash(tell: Callable[[str], None], tmp_path: Path) -> None:
    """No job that was answered is lost, each ends once, and no process is left."""
    counts, wrong = run(tmp_path, SEED, SECONDS)
    tell(f"TXGEAR_CRASH_SEED={SEED}\n" + "\n".join(f"{count:8} {what}" for what, count in counts.items()))
    assert not wrong, f"TXGEAR_CRASH_SEED={SEED}\n" + "\n".join(wrong)
    assert counts["jobs in the background"]
    assert counts["child killed"]
