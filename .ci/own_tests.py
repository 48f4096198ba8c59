"""
Runs unit tests as trial does, and notes for coverage which test file has run what.

usage: coverage run .ci/unit.py FOLDER [NAME ...]

FOLDER is where trial works and logs; each NAME is a package, a module or a test, by default all of txgear.
There is a context of coverage for each test file, and none for what runs while modules are imported:
covered_alone.py asks for them.
"""

from __future__ import annotations

import sys
from typing import Any

from coverage import Coverage
from twisted.trial.reporter import TreeReporter
from twisted.trial.runner import TestLoader, TrialRunner


class ByFileReporter(TreeReporter):
    """Tells coverage when the tests of another file begin."""

    _file = ""

    def startTest(self, method: Any) -> None:  # noqa: N802
        file = method.id().rsplit(".", 2)[0]
        coverage = Coverage.current()
        if file != self._file and coverage is not None:
            # A switch writes down all that was gathered: that is done once a file, not once a test.
            coverage.switch_context(file)
            self._file = file
        super().startTest(method)


def main(folder: str, names: list[str]) -> int:
    """@return: the exit status."""
    suite = TestLoader().loadByNames(names or ["txgear"], recurse=True)
    result = TrialRunner(ByFileReporter, workingDirectory=folder).run(suite)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
