"""The page about limits: its figures are those of the code, and it leaves out no bound that has a name."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Final, NamedTuple

import pytest

import txgear

PAGE: Final = Path(__file__).parent.parent / "docs" / "limits.md"

UNITS: Final = {
    "ms": 0.001,
    "s": 1,
    "bytes": 1,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
"""What stands behind a figure that is no number of things."""

#: Bounds by name that nobody meets: of the shape of data, of one step of many, of a client or a tool.
NO_LIMITS: Final = frozenset(
    (
        # How much is done at once; nothing is refused, cut off or forgotten beyond it.
        "broker.ended.archive.MOST_LANES",
        "broker.diagnosis.diagnosisjobs.MOST_PARTIES",
        "broker.diagnosis.diagnosisworkers.MOST_ALIKE",
        "broker.diagnosis.diagnosisworkers.MOST_COMPARED",
        "broker.rows.gone.MOST_GONE",
        "broker.ended.endedjobs.MOST_FRESH",
        "broker.ended.shelves.MOST_AT_ONCE",
        "broker.rows.stock.MOST_ENDED",
        "broker.operators.workforce.MOST_IN_HAND",
        "journal.askings.MOST_ASKINGS",
        "journal.askings.MOST_BYTES",
        "journal.askings.MOST_ROWS",
        "journal.batches.MOST_BYTES",
        "journal.batches.MOST_REFUSALS",
        "journal.batches.MOST_ROWS",
        "journal.reads.MOST_READINGS",
        "journal.sieve.MOST_ASKED",
        "net.batchedreads.MAX_EVENTS",
        "net.batchedreads.MOST_ROUNDS",
        "server.figurechunks.MOST_PARTS",
        "stores.holdings.MOST_TRIES",
        "stores.lanecounts.MOST_EMPTY",
        "stores.lanecounts.MOST_KNOWN",
        "cluster.exchange.MOST_READ",
        "cluster.obeying.MOST_HELD",
        "cluster.obeying.MOST_STARTED",
        "stores.orders.MOST_BYTES",
        "stores.partedstore.MOST_ORDERS",
        "stores.places.MOST_LANES",
        "stores.repeats.MOST_REPEATS",
        "stores.gathering.MOST_TEXT",
        "stores.sqlitekeys.MOST_DUE",
        "stores.sqlitekeys.MOST_LATER",
        "stores.statements.MOST_BYTES",
        "stores.statements.MOST_ROWS",
        # What the log may say of a loss, and names of people's machines in a row that is theirs to read.
        "stores.schema.MAX_NAME",
        "stores.tenure.MOST_MARKS",
        # What is remembered of a file while it is read.
        "daemon.patterns.MOST_KEPT",
        # What an error or a line of the log quotes.
        "daemon.accessdoubts.MOST_NAMED",
        "daemon.restore.MOST_NAMED",
        "policies.MOST_KEY",
        "security.tlsfiles.MOST_NAMES",
        "stores.sql.MOST_CHARACTERS",
        "web.reading.MOST_SHOWN",
        # Sizes of settings, which the pages about them tell.
        "quantities.MOST_BYTES",
        "server.values.MAX_WAKEUPS",
        # How sure the server is that a worker waits for acknowledgements.
        "broker.quickacks.MOST_SUSPICIONS",
        # What the parsers guard themselves against.
        "daemon.pidfile.MOST_BYTES",
        "net.listeners.MAX_PORT",
        "server.httpchannel.MAX_LENGTH_DIGITS",
    )
)

#: Floors that no peer of a server meets.
OTHERS: Final = ("cli", "client", "runtime", "worker", "test", "testing")

pytestmark = pytest.mark.txgear_only


class Row(NamedTuple):
    """A row of the page."""

    what: str
    bound: str
    beyond: str
    names: list[str]


def rows() -> list[Row]:
    """All rows of all tables of the page, without their heads."""
    found = []
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("| ") and not line.startswith("| what |"):
            what, bound, beyond, names = (cell.strip() for cell in line.strip("|").split(" |"))
            found.append(Row(what, bound, beyond, re.findall(r"`([\w.]+)`", names)))
    return found


def value(name: str) -> float:
    """What the code has under this name."""
    whole = name if name.startswith("twisted.") else f"txgear.{name}"
    path, _, attribute = whole.rpartition(".")
    try:
        holder = importlib.import_module(path)
    except ModuleNotFoundError:
        path, _, inner = path.rpartition(".")
        holder = getattr(importlib.import_module(path), inner)
    found = getattr(holder, attribute)
    if not isinstance(found, (int, float)):
        # A named tuple's field: its default.
        found = holder._field_defaults[attribute]
    return float(found)


def figures(text: str) -> list[float]:
    """The figures of a bound, in bytes or seconds where they have a unit."""
    found = re.findall(r"(?<![\w.`])(\d[\d,]*(?:\.\d+)?)(?: (\w+))?", text)
    return [float(number.replace(",", "")) * UNITS.get(unit, 1) for number, unit in found]


def test_there_are_tables() -> None:
    assert len(rows()) > 60


@pytest.mark.parametrize("row", [row for row in rows() if row.names], ids=lambda row: row.what)
def test_figures(row: Row) -> None:
    assert figures(row.bound) == [value(name) for name in row.names]


def test_each_bound_by_name_is_listed() -> None:
    """A bound of the server is called `MOST_` or `MAX_` something; it is in the page, or meant to be not."""
    listed = {name for row in rows() for name in row.names}
    named: set[str] = set()
    package = Path(txgear.__file__).parent
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[0] not in OTHERS:
            module = ".".join(part for part in parts if part != "__init__")
            bounds = re.findall(r"^((?:MOST|MAX)_\w+)(?:: Final)? = ", path.read_text("utf-8"), re.MULTILINE)
            named.update(f"{module}.{bound}" for bound in bounds)
    missing, gone = named - listed - NO_LIMITS, NO_LIMITS - named
    assert not missing, "neither in docs/limits.md nor in NO_LIMITS"
    assert not gone, "in NO_LIMITS, and nowhere else any more"
