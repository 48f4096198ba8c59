"""
Runs modules of unit tests in processes of their own that need not start from nothing: Python, Twisted and all
else that is not txgear's is there before, and only txgear itself is imported anew.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

LOADED: Final = (
    "twisted.scripts.trial",
    "twisted.trial.runner",
    "twisted.trial.reporter",
    "twisted.trial.unittest",
    "twisted.internet.task",
    "twisted.internet.testing",
    "twisted.internet.endpoints",
    "twisted.internet.ssl",
    "twisted.logger",
    "twisted.web.server",
    "twisted.web.client",
    "hypothesis.stateful",
    "sqlalchemy.dialects",
    "alembic.command",
    "click.testing",
    "jinja2",
    "msgspec",
    "werkzeug.routing",
)
"""What most unit tests import of others."""


def _run(folder: str, names: list[str], log: str) -> None:
    """Be trial, in a process that has just begun."""
    # Two processes with one reactor would hear each other's events.
    assert not {"txgear", "twisted.internet.reactor"} & set(sys.modules)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.chdir(folder)
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = folder
    sys.dont_write_bytecode = True
    sys.argv = ["trial", "--exitfirst", f"--temp-directory={log}.trial", *names]
    from twisted.scripts.trial import run

    run()


def run_unit_tests(folder: Path, modules: Iterable[str], log: Path, seconds: float) -> str:
    """
    What trial says of these modules, up to the first test that fails.

    @param folder: has the package, the one that is imported.
    @param log: where trial writes; its folder is beside it.
    @param seconds: which it may take.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LOADED))
    names = [f"txgear.test.{module}" for module in sorted(modules)]
    # What the last one said is not what this one says, should it not even begin.
    log.unlink(missing_ok=True)
    process = context.Process(target=_run, args=(str(folder), names, str(log)))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
        raise AssertionError(f"{names} took more than {seconds} s")
    return log.read_text()
