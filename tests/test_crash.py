"""The crash tests in short: five kills for each kind of store, and one of each database with it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from crash import run, run_lives
from crashbook import CHANGED, DUPLICATE, LOST, NUMBER, OTHER, RETURNED
from crashfigures import table
from databases import Database

pytestmark = pytest.mark.txgear_only

KILLS: Final = 5
KILLS_OF_BOTH: Final = 1

#: What may be wrong. All else that is counted must have been tried.
WRONG: Final = (LOST, DUPLICATE, NUMBER, RETURNED, CHANGED, OTHER)

#: Of all that is random; it is told with the figures.
SEED: Final = os.environ.get("TXGEAR_CRASH_SEED") or str(time.time_ns())

Tell = Callable[[str], None]


def crash(
    tell: Tell, name: str, url: str, folder: Path, kills: int = KILLS, database: Database | None = None
) -> None:
    """Let a server on this store be killed, show the figures, and fail if anything was wrong."""
    figures = run(name, url, folder, SEED, kills, database)
    tell(f"TXGEAR_CRASH_SEED={SEED}\n{table([figures])}")
    assert not figures.details, "\n".join(figures.details)
    assert figures.kills == kills
    # What was not tried was not passed.
    tried = ["answered", "completed", "drained"]
    if database is None:
        tried += ["joined", "workers lost", "retried and there", "foreground results", "taken up again"]
        assert not figures.counts["refused"]
    for what in tried:
        assert figures.counts[what] > 0, what


def test_sqlite(tell: Tell, tmp_path: Path) -> None:
    """No job that was answered is lost, or done again over a second after its end: on SQLite."""
    crash(tell, "sqlite", f"sqlite:///{tmp_path / 'jobs.sqlite'}", tmp_path)


def test_postgresql(tell: Tell, tmp_path: Path, postgres: Database) -> None:
    """The same on PostgreSQL."""
    crash(tell, "postgresql", postgres.url, tmp_path)


def test_mariadb(tell: Tell, tmp_path: Path, mariadb: Database) -> None:
    """The same on MariaDB."""
    crash(tell, "mysql", mariadb.url, tmp_path)


def test_postgresql_killed_too(tell: Tell, tmp_path: Path, postgres: Database) -> None:
    """The same if PostgreSQL itself is killed, too."""
    crash(tell, "postgresql, killed too", postgres.url, tmp_path, KILLS_OF_BOTH, postgres)


def test_mariadb_killed_too(tell: Tell, tmp_path: Path, mariadb: Database) -> None:
    """The same if MariaDB itself is killed, too."""
    crash(tell, "mysql, killed too", mariadb.url, tmp_path, KILLS_OF_BOTH, mariadb)


def crash_lives(tell: Tell, name: str, url: str, folder: Path) -> None:
    """The same for jobs with policies, and for schedules."""
    figures = run_lives(name, url, folder, SEED, KILLS)
    tell(f"TXGEAR_CRASH_SEED={SEED}\n{table([figures])}")
    assert not figures.details, "\n".join(figures.details)
    assert figures.kills == KILLS
    for _, keys in figures.columns:
        for what in keys:
            # Nothing need be undone, though a little mostly is.
            assert what in (*WRONG, "undone") or figures.counts[what] > 0, what


def test_lives_sqlite(tell: Tell, tmp_path: Path) -> None:
    """Attempts, the dead, results, uniques that stay taken and schedules survive: on SQLite."""
    crash_lives(tell, "sqlite", f"sqlite:///{tmp_path / 'jobs.sqlite'}", tmp_path)


def test_lives_postgresql(tell: Tell, tmp_path: Path, postgres: Database) -> None:
    """The same on PostgreSQL."""
    crash_lives(tell, "postgresql", postgres.url, tmp_path)


def test_lives_mariadb(tell: Tell, tmp_path: Path, mariadb: Database) -> None:
    """The same on MariaDB."""
    crash_lives(tell, "mysql", mariadb.url, tmp_path)
