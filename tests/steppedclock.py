"""The machine's clock as only some programs see it: it can be set while they run."""

from __future__ import annotations

import os
import time
from pathlib import Path

from processes import programs_folder


class Steps:
    """A clock that a file tells.

    :ivar ahead: by how many seconds it is ahead of the machine's.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.ahead = 0
        self.set(0)

    def set(self, ahead: int) -> None:
        """Let it be so many seconds ahead of the machine's."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{ahead:+d}\n")
        os.replace(fresh, self._file)
        self.ahead = ahead

    def now(self) -> float:
        return time.time() + self.ahead


def _python_path() -> str:
    """Where Python is to look for modules first: what makes the clock, and then where it does already."""
    return os.pathsep.join(filter(None, [str(programs_folder() / "clock"), os.environ.get("PYTHONPATH", "")]))


class PythonClock(Steps):
    """The clock that Python's own code sees in programs which run with :attr:`environment`.

    It costs nothing. Under libfaketime a program with several threads stands still for seconds now and then,
    where the machine has a lot to do: Python's own lock waits by the clock.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.environment = {"PYTHONPATH": _python_path(), "TXGEAR_TEST_CLOCK": str(self._file)}


class Clock(Steps):
    """The clock that all code sees of programs which run with :attr:`environment`, by libfaketime."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        places = self._places()
        self.environment = {
            "LD_PRELOAD": str(places[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Debian's version knows this name only.
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": _python_path(),
        }

    @staticmethod
    def _places() -> list[Path]:
        return [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]

    @classmethod
    def missing(cls) -> str:
        """What keeps it from running on this machine; nothing if it can."""
        return "" if cls._places() else "there is no libfaketime"
