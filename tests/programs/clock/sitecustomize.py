"""Shows a program another wall clock than the machine's, or lets it sleep where libfaketime does so.

Python imports this by itself where PYTHONPATH has its folder. TXGEAR_TEST_CLOCK names a file that has the
seconds by which the clock is ahead.

Without that variable the clock is libfaketime's. Since 3.11 Python's `time.sleep` waits for a time of the
monotonic clock. libfaketime 0.9.10, which Debian has, takes that for a time of the clock that it shows, and
asks the system for a negative span: the sleep fails with "Invalid argument"
(https://github.com/wolfcw/libfaketime/issues/426). It lets spans alone.
"""

from __future__ import annotations

import os
import select
import time
from pathlib import Path
from typing import SupportsIndex

if name := os.environ.get("TXGEAR_TEST_CLOCK"):
    _file = Path(name)
    _time, _time_ns = time.time, time.time_ns

    time.time = lambda: _time() + int(_file.read_text())
    time.time_ns = lambda: _time_ns() + int(_file.read_text()) * 10**9
else:

    def _sleep(seconds: float | SupportsIndex, /) -> None:
        select.select((), (), (), float(seconds))

    time.sleep = _sleep
