"""
Mutants of the access rules: one place of the package is made wrong, and the unit tests that are to notice it
do. Each runs in a copy of the package; several run at a time.

A place that is not there any more, or is there twice, fails as well: whoever moves it moves it in
C{mutants.py}, too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import pytest

import txgear
from mutants import MUTANTS, Mutant

pytestmark = pytest.mark.txgear_only

PACKAGE: Final = Path(txgear.__file__).parent
MODULE_SECONDS: Final = 60.0
"""Seconds for one module of unit tests, on a machine that has a lot to do; one is enough on others."""


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
        # The first run is of all of them, later ones of one or two.
        timeout=MODULE_SECONDS * len(modules),
        check=False,
    )
    return done.stdout


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> SimpleQueue[Path]:
    """Folders with a copy of the package, whose unit tests pass: one for each processor."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, folder / "txgear", ignore=shutil.ignore_patterns("__pycache__"))
    modules = {module for mutant in MUTANTS for module in mutant.tests.split()}
    said = run_unit_tests(folder, modules, keep=True)
    assert "\nPASSED (" in said, said
    found: SimpleQueue[Path] = SimpleQueue()
    found.put(folder)
    for _ in range(1, os.cpu_count() or 1):
        another = tmp_path_factory.mktemp("copy")
        shutil.copytree(folder / "txgear", another / "txgear")
        found.put(another)
    return found


def said_of(mutant: Mutant, copies: SimpleQueue[Path]) -> str:
    """What trial says of a copy that is made wrong, and right again afterwards."""
    copy = copies.get()
    original, place = PACKAGE / mutant.file, copy / "txgear" / mutant.file
    try:
        place.write_text(original.read_text().replace(mutant.right, mutant.wrong))
        # Python takes what it has compiled by time and size: this is of no time in which anything was.
        os.utime(place, (0, 0))
        return run_unit_tests(copy, set(mutant.tests.split()), keep=False)
    finally:
        shutil.copy2(original, place)
        copies.put(copy)


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, copies: SimpleQueue[Path]) -> Iterator[Mapping[Mutant, Future[str]]]:
    """The runs of all mutants that were asked for, as many at a time as there are copies."""
    asked = [
        mutant
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
        if isinstance(mutant := item.callspec.params["mutant"], Mutant)
    ]
    with ThreadPoolExecutor(copies.qsize()) as pool:
        yield {mutant: pool.submit(said_of, mutant, copies) for mutant in asked}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant(runs: Mapping[Mutant, Future[str]], mutant: Mutant) -> None:
    text = (PACKAGE / mutant.file).read_text()
    assert text.count(mutant.right) == 1, f"{mutant.file} has moved on: {mutant.right!r}"
    said = runs[mutant].result()
    # Where a module cannot be imported it is no test that fails.
    assert re.search(r"^FAILED \(", said, re.MULTILINE), f"nobody has noticed it\n{said}"
    assert re.search(r"^txgear\.test\.[\w.]+Tests\.test_\w+$", said, re.MULTILINE), said
