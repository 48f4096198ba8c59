"""
Mutants of the access rules: one place of the package is made wrong, and the unit tests that are to notice it
do. Each runs in a copy of the package.

A place that is not there any more, or is there twice, fails as well: whoever moves it moves it in
C{mutants.py}, too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import txgear
from mutants import MUTANTS, Mutant
from processes import PATIENCE

pytestmark = pytest.mark.txgear_only

PACKAGE: Final = Path(txgear.__file__).parent


def run_unit_tests(folder: Path, modules: set[str], *, keep: bool) -> str:
    """
    What trial says of these modules, of the copy in this folder.

    @param keep: whether to keep what the modules are compiled to.
    """
    names = [f"txgear.test.{module}" for module in sorted(modules)]
    done = subprocess.run(
        [sys.executable, "-m", "twisted.trial", f"--temp-directory={folder / 'trial'}", *names],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "" if keep else "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package, whose unit tests pass."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, folder / "txgear", ignore=shutil.ignore_patterns("__pycache__"))
    modules = {module for mutant in MUTANTS for module in mutant.tests.split()}
    said = run_unit_tests(folder, modules, keep=True)
    assert "\nPASSED (" in said, said
    return folder


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant(copy: Path, mutant: Mutant) -> None:
    original, place = PACKAGE / mutant.file, copy / "txgear" / mutant.file
    text = original.read_text()
    assert text.count(mutant.right) == 1, f"{mutant.file} has moved on: {mutant.right!r}"
    try:
        place.write_text(text.replace(mutant.right, mutant.wrong))
        # Python takes what it has compiled by time and size: this is of no time in which anything was.
        os.utime(place, (0, 0))
        said = run_unit_tests(copy, set(mutant.tests.split()), keep=False)
    finally:
        shutil.copy2(original, place)
    # Where a module cannot be imported it is no test that fails.
    assert re.search(r"^FAILED \(", said, re.MULTILINE), f"nobody has noticed it\n{said}"
    assert re.search(r"^txgear\.test\.[\w.]+Tests\.test_\w+$", said, re.MULTILINE), said
