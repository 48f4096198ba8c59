"""
Who imports whom. Folders are floors: each imports from those above it in L{FLOORS} and from its own,
so that a module's place says what it may touch. Imports for the type checker count as well.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

import txgear

FLOORS: Final = (
    *(
        "_version",
        "errors",
        "histogram",
        "quantities",
        "policies",
        "protocol",
        "broker",
        "interfaces",
        "security",
        "net",
        "journal",
        "stores",
    ),
    *(
        "client",
        "worker",
        "tracing",
        "server",
        "web",
        "cluster",
        "plugins",
        "daemon",
        "runtime",
        "cli",
        "testing",
        "test",
    ),
)
"""The folders, and the modules beside them, from the first that knows nobody to the last."""

FACES: Final = ("txgear", "txgear.__main__")
"""What hands out public names, or starts the command: they stand on no floor."""

PURE: Final = frozenset({"_version", "errors", "histogram", "quantities", "policies", "protocol", "broker"})
"""The floors that know the standard library only, and no clock."""

BESIDE: Final = {"txgear.broker.model": "msgspec"}
"""Which of them takes what else, that has no clock and does no I/O either: jobs are a kind of class of it."""

OF_THE_BROKER: Final = ("", "ended", "rows", "life", "broker", "operators", "diagnosis")
"""
The folders of the broker, in the same way: first what lies in none, and in its place among them
L{txgear.broker.broker}, which has all before it.
"""

NEIGHBOURS: Final = frozenset({"stores", "client", "worker", "server"})
"""Floors of which none knows another, nor what the others are made of."""

MOST_AT_THE_ROOT: Final = 10
"""Modules that lie in no folder, at the most."""

ROOT: Final = Path(txgear.__file__).parent


@cache
def modules() -> dict[str, ast.Module]:
    """The source of every module, by its full name; a package is its C{__init__}."""
    found: dict[str, ast.Module] = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_bytes())
    return found


def imports(tree: ast.AST) -> Iterator[str]:
    """The full names of all that a module imports, wherever and for whomever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imported(name: str) -> frozenset[str]:
    """The modules of this package that a module imports."""
    found = set()
    for full in imports(modules()[name]):
        if full.split(".")[0] == "txgear":
            found.add(full if full in modules() else full.rpartition(".")[0])
    return frozenset(found)


def floor(name: str) -> str:
    """The floor of a module that is on one."""
    return name.split(".")[1]


def place_in_the_broker(name: str) -> int:
    """Where in L{OF_THE_BROKER} a module of it stands."""
    folder = name.removeprefix("txgear.broker").strip(".").partition(".")[0]
    return OF_THE_BROKER.index(folder) if folder in OF_THE_BROKER else 0


def housed() -> list[str]:
    """The modules that are on a floor."""
    return [name for name in modules() if name not in FACES]


def pure() -> list[str]:
    return [name for name in housed() if floor(name) in PURE]


class FloorsTests(SynchronousTestCase):
    def test_every_module_has_its_floor(self) -> None:
        self.assertEqual({floor(name) for name in housed()}, set(FLOORS))

    def test_few_modules_lie_in_no_folder(self) -> None:
        self.assertLessEqual(len(list(ROOT.glob("*.py"))), MOST_AT_THE_ROOT)

    def test_nobody_imports_from_a_floor_below(self) -> None:
        for name in housed():
            for other in imported(name) - {"txgear"}:
                above, own = FLOORS.index(floor(other)), FLOORS.index(floor(name))
                self.assertLessEqual(above, own, f"{name} imports {other}")

    def test_the_folders_of_the_broker_know_those_before_them_only(self) -> None:
        folders = {path.parent.name for path in (ROOT / "broker").glob("*/__init__.py")}
        self.assertEqual(folders, set(OF_THE_BROKER) - {"", "broker"})
        for name in housed():
            if floor(name) == "broker":
                for other in imported(name):
                    if floor(other) == "broker":
                        above, own = place_in_the_broker(other), place_in_the_broker(name)
                        self.assertLessEqual(above, own, f"{name} imports {other}")

    def test_no_modules_import_each_other_in_a_circle(self) -> None:
        """Neither do modules of one floor. A package's C{__init__} counts where it is imported by name."""
        graph = {name: imported(name) - {name} for name in modules()}
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            self.fail(" <- ".join(error.args[1]))

    def test_nobody_goes_through_the_face(self) -> None:
        """C{txgear} itself is for users: whatever it hands out lives in a module."""
        for name in housed():
            if floor(name) not in {"testing", "test"}:
                self.assertNotIn("txgear", imported(name), name)

    def test_neighbours_do_not_know_each_other(self) -> None:
        for name in housed():
            if floor(name) in NEIGHBOURS:
                reached: set[str] = set()
                following = {name}
                while following:
                    reached |= following
                    following = set().union(*map(imported, following)) - reached - {"txgear"}
                self.assertEqual(NEIGHBOURS.intersection(map(floor, reached)), {floor(name)}, name)

    def test_the_first_floors_know_the_standard_library_only(self) -> None:
        for name in pure():
            for found in imports(modules()[name]):
                top = found.split(".")[0]
                allowed = top in {"txgear", BESIDE.get(name)} or top in sys.stdlib_module_names
                self.assertTrue(allowed, f"{name} imports {found}")

    def test_the_first_floors_have_no_clock(self) -> None:
        asked = {"time.time", "time.monotonic", "time.perf_counter", "datetime.now", "datetime.today"}
        asked |= {"datetime.utcnow", "date.today"}
        for name in pure():
            # What a moment looks like on the wall is asked of the system; what moment it is, is not.
            if name != "txgear.protocol.sched":
                found = set(imports(modules()[name]))
                self.assertEqual(found & {"time", "datetime.date", "datetime.datetime"}, set(), name)
            for node in ast.walk(modules()[name]):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    self.assertNotIn(f"{node.value.id}.{node.attr}", asked, name)

    def test_what_may_be_missing_is_imported_where_it_is_needed(self) -> None:
        """The tests are installed with the package; all that can run without their extra are to run."""
        for name in housed():
            if floor(name) == "test":
                for node in modules()[name].body:
                    if isinstance(node, (ast.Import, ast.ImportFrom)):
                        names = {found.split(".")[0] for found in imports(ast.Module([node], []))}
                        self.assertEqual(names & {"hypothesis", "psycopg", "pymysql"}, set(), name)

    def test_the_tests_stand_where_what_they_test_stands(self) -> None:
        """A test's file is named after a module in the folder of the same name, or after the folder."""
        for path in (ROOT / "test").rglob("test_*.py"):
            beside = ROOT / path.parent.relative_to(ROOT / "test")
            names = {other.stem for other in beside.glob("*.py")} | {beside.name}
            own = path.stem.removeprefix("test_")
            if path != Path(__file__):
                self.assertTrue(any(own == name or own.startswith(f"{name}_") for name in names), path.name)
