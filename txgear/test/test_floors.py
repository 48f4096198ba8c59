"""
Who imports whom. Modules stand on floors; each imports from its own and from
those below, so that a module's place says what it may touch.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import txgear

FLOORS: tuple[tuple[str, str], ...] = (
    ("words", "txgear constants errors"),
    ("bytes", "wire adminlines"),
    (
        "rules",
        "jobs changes uniques agenda chores queues roster moments paging patterns policies gates life"
        " archive dispatch storage attempts desk inspection connections quickacks broker values",
    ),
    ("promises", "interfaces"),
    (
        "shells",
        "_batch _hangups _storethread _stream _tcplink notices outbox journal stores jobserver unixsockets"
        " listeners extension server admin orders _turns gathering _httprequest httpserver reading writing"
        " crontimes schedule monotonic"
        " _budget _descriptors"
        " _arguments _servers _steady _connection _connector _clientconnection _functions _questions"
        " _requests _workerconnection client worker",
    ),
    ("doors", "plugins"),
    ("assembly", "users pidfile _logpipe _trim service process config tap logs cli __main__ testing test"),
)
"""The floors from the bottom up, each with its modules and packages; a new one is added here."""

PURE = 3
"""How many floors, from the bottom up, know the standard library only and no clock."""

NEIGHBOURS = ("server", "client", "worker")
"""Modules of one floor that know nothing of each other, nor of what the others are made of."""

FLOOR_OF = {name: number for number, (_, names) in enumerate(FLOORS) for name in names.split()}
ROOT = Path(txgear.__file__).parent


def runs(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below this one that are more than words for the type checker."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from runs(child)


def imports(tree: ast.AST) -> Iterator[str]:
    """The full names of all that a module imports, wherever it does."""
    for node in runs(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(name: str) -> str | None:
    """The module of this package that is imported by a full name, C{txgear} for the package itself."""
    parts = name.split(".")
    if parts[0] != "txgear":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR_OF else "txgear"


@cache
def trees() -> dict[str, list[ast.AST]]:
    """The source of every module, and of all modules of every package."""
    found: dict[str, list[ast.AST]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = "txgear" if parts == ("__init__",) else parts[0]
        found.setdefault(name, []).append(ast.parse(path.read_bytes()))
    return found


@cache
def imported(name: str) -> frozenset[str]:
    return frozenset(found for tree in trees()[name] for found in imports(tree))


def imported_modules(name: str) -> set[str]:
    return {module for found in imported(name) if (module := ours(found)) is not None}


def pure() -> list[str]:
    return [name for name in trees() if FLOOR_OF[name] < PURE]


class FloorsTests(SynchronousTestCase):
    def test_every_module_has_its_floor(self) -> None:
        self.assertEqual(set(trees()), set(FLOOR_OF))

    def test_nobody_imports_from_a_floor_above(self) -> None:
        for name in trees():
            for other in imported_modules(name):
                self.assertLessEqual(FLOOR_OF[other], FLOOR_OF[name], f"{name} imports {other}")

    def test_neighbours_do_not_know_each_other(self) -> None:
        for name in NEIGHBOURS:
            reached: set[str] = set()
            following = {name}
            while following:
                reached |= following
                following = set().union(*map(imported_modules, following)) - reached
            self.assertEqual(reached.intersection(NEIGHBOURS), {name})

    def test_the_lower_floors_know_the_standard_library_only(self) -> None:
        for name in pure():
            for found in imported(name):
                top = found.split(".")[0]
                self.assertTrue(top == "txgear" or top in sys.stdlib_module_names, f"{name} imports {found}")

    def test_the_lower_floors_have_no_clock(self) -> None:
        asked = {"time.time", "time.monotonic", "time.perf_counter", "datetime.now", "datetime.today"}
        asked |= {"datetime.utcnow", "date.today"}
        for name in pure():
            # What a moment looks like on the wall is asked of the system; what moment it is, is not.
            if name != "moments":
                self.assertEqual(imported(name) & {"time", "datetime.date", "datetime.datetime"}, set())
            for tree in trees()[name]:
                for node in runs(tree):
                    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                        self.assertNotIn(f"{node.value.id}.{node.attr}", asked, name)

    def test_what_may_be_missing_is_imported_where_it_is_needed(self) -> None:
        """The tests are installed with the package; all that can run without their extra are to run."""
        for path in ROOT.glob("test/*.py"):
            for node in ast.parse(path.read_bytes()).body:
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    names = {name.split(".")[0] for name in imports(ast.Module([node], []))}
                    self.assertEqual(names & {"hypothesis", "psycopg", "pymysql"}, set(), path.name)

    def test_the_package_alone_imports_none_of_its_modules(self) -> None:
        self.assertEqual(imported_modules("txgear"), set())
