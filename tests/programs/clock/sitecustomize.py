"""Shows a program another wall clock than the machine's: it is ahead by the seconds in a file.

Python imports this by itself where PYTHONPATH has its folder; TXGEAR_TEST_CLOCK names the file.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_file = Path(os.environ["TXGEAR_TEST_CLOCK"])
_time, _time_ns = time.time, time.time_ns

time.time = lambda: _time() + int(_file.read_text())
time.time_ns = lambda: _time_ns() + int(_file.read_text()) * 10**9
