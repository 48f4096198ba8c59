"""
Judges whether each module without I/O is covered by its own tests alone: all lines and all branches of
C{txgear/broker/limits.py} by C{txgear/test/broker/test_limits.py} and C{test_limits_*.py}.

What the tests of others run on their way does not count: whoever changes a module finds in one place what it
has to do, and these tests alone say whether it still does.

usage: coverage run .ci/own_tests.py FOLDER FILE ... && python .ci/covered_alone.py FILE ...

Each FILE is a module.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from itertools import count, groupby
from pathlib import Path
from typing import Final

from coverage import Coverage

ROOT: Final = Path(__file__).resolve().parent.parent / "txgear"

IMPORTED: Final = "^$"
"""The context of what runs while modules are imported."""


def own_tests(module: Path) -> list[Path]:
    """The test files of a module, those of its aspects included."""
    folder = ROOT / "test" / module.parent.relative_to(ROOT)
    return sorted([*folder.glob(f"test_{module.stem}.py"), *folder.glob(f"test_{module.stem}_*.py")])


def name_of(test: Path) -> str:
    """A test file as Python names it."""
    return ".".join(test.relative_to(ROOT.parent).with_suffix("").parts)


def context_of(test: Path) -> str:
    """What L{coverage} is asked for, a regular expression."""
    return f"^{re.escape(name_of(test))}$"


def judged(coverage: Coverage, module: Path) -> list[str]:
    """The lines that its own tests do not run, and the branches that they do not take."""
    contexts = [IMPORTED, *map(context_of, own_tests(module))]
    with tempfile.NamedTemporaryFile() as report:
        coverage.json_report([str(module)], outfile=report.name, contexts=contexts)
        (found,) = json.load(report)["files"].values()
    lines = found["missing_lines"]
    branches = [(line, to) for line, to in found["missing_branches"] if not {line, to} & set(lines)]
    return [*in_runs(lines), *(f"{line}->{'exit' if to < 0 else to}" for line, to in branches)]


def in_runs(lines: list[int]) -> Iterator[str]:
    """Neighbours as one."""
    offset = count()
    for _, run in groupby(lines, lambda line: line - next(offset)):
        first, *rest = run
        yield f"{first}-{rest[-1]}" if rest else str(first)


def main(names: list[str]) -> int:
    """@return: the exit status."""
    coverage = Coverage()
    coverage.load()
    status = 0
    for module in map(Path.resolve, map(Path, names)):
        if missing := judged(coverage, module):
            tests = "" if own_tests(module) else " (it has none)"
            print(f"{module.relative_to(ROOT.parent)}: its own tests{tests} miss {', '.join(missing)}")
            status = 1
    if not status:
        print(f"{len(names)} modules without I/O, each covered by its own tests alone")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
