"""
Runs the own tests of modules without I/O, and notes for coverage which test file has run what.

usage: coverage run .ci/own_tests.py FOLDER FILE ...

FOLDER is where trial works and logs; each FILE is a module. There is a context of coverage for each test
file, and none for what runs while modules are imported: covered_alone.py asks for them. Nothing else is
measured, as that takes twice the time.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from coverage import Coverage
from covered_alone import name_of, own_tests
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


def main(folder: str, files: list[str]) -> int:
    """@return: the exit status."""
    modules = [Path(file).resolve() for file in files]
    for module in modules:
        # One that has nothing to run has no tests.
        import_module(name_of(module))
    names = sorted({name_of(test) for module in modules for test in own_tests(module)})
    result = TrialRunner(ByFileReporter, workingDirectory=folder).run(TestLoader().loadByNames(names))
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
