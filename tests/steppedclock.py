"""The machine's clock as only some programs see it: it can be set while they run."""

from __future__ import annotations

import os
import time
from pathlib import Path


class Clock:
    """The clock that programs see which run with :attr:`environment`."""

    def __init__(self, folder: Path) -> None:
        places = self._places()
        self._file = folder / "clock"
        self.ahead = 0
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(places[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Debian's version knows this name only.
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    @staticmethod
    def _places() -> list[Path]:
        return [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]

    @classmethod
    def missing(cls) -> str:
        """What keeps it from running on this machine; nothing if it can."""
        return "" if cls._places() else "there is no libfaketime"

    def set(self, ahead: int) -> None:
        """Let it be so many seconds ahead of the machine's."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{ahead:+d}\n")
        os.replace(fresh, self._file)
        self.ahead = ahead

    def now(self) -> float:
        return time.time() + self.ahead
