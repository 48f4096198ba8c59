"""
Mutants of the access rules: one place of the package is made wrong, and the unit tests that are to notice it
do. Each runs in a copy of the package; several run at a time.

A place that is not there any more, or is there twice, fails as well: whoever moves it moves it in
C{mutants.py}, too.
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import pytest

import txgear
from mutants import MUTANTS, Mutant
from unittrial import run_unit_tests

pytestmark = pytest.mark.txgear_only

PACKAGE: Final = Path(txgear.__file__).parent
MODULE_SECONDS: Final = 60.0
"""Seconds for one module of unit tests, on a machine that has a lot to do; one is enough on others."""


def said_by(folder: Path, modules: set[str]) -> str:
    """What trial says of these modules, of the copy in this folder."""
    return run_unit_tests(folder, modules, folder / "log", MODULE_SECONDS * len(modules))


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> SimpleQueue[Path]:
    """Folders with a copy of the package, whose unit tests pass: one for each processor."""
    count = os.cpu_count() or 1
    folders = [tmp_path_factory.mktemp("copy") for _ in range(count)]
    first, *others = [folder / "txgear" for folder in folders]
    shutil.copytree(PACKAGE, first, ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(first, quiet=1)
    for other in others:
        shutil.copytree(first, other)
    modules = sorted({module for mutant in MUTANTS for module in mutant.tests.split()})
    shares = [set(modules[number::count]) for number in range(count)]
    with ThreadPoolExecutor(count) as pool:
        for said in pool.map(said_by, folders, shares):
            assert "\nPASSED (" in said, said
    found: SimpleQueue[Path] = SimpleQueue()
    for folder in folders:
        found.put(folder)
    return found


def said_of(mutant: Mutant, copies: SimpleQueue[Path]) -> str:
    """What trial says of a copy that is made wrong, and right again afterwards."""
    copy = copies.get()
    original, place = PACKAGE / mutant.file, copy / "txgear" / mutant.file
    try:
        place.write_text(original.read_text().replace(mutant.right, mutant.wrong))
        # Python takes what it has compiled by time and size: this is of no time in which anything was.
        os.utime(place, (0, 0))
        return said_by(copy, set(mutant.tests.split()))
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
