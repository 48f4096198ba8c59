"""Which commands and options of `txgear` the tests name: for the test that none is left out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

#: Tests by whose names the options in them come to nothing: they are refused, or no server hears of them.
IN_VAIN: Final = re.compile(r"mistake|no_sense|misuse|no_server|without_a_server|refuse")
#: How a test runs the command.
RUNS: Final = "txgear()"


class Reading(NamedTuple):
    """
    A test.

    @ivar name: with that of its file.
    @ivar words: all words of the texts in it, in the constants of its file that it uses, and in the functions
        that it calls there or in a module that tests of commands share; but not those of docstrings.
    """

    name: str
    words: frozenset[str]

    @property
    def in_vain(self) -> bool:
        """Whether options do nothing in it."""
        return IN_VAIN.search(self.name) is not None


def read_tests(path: Path, text: str) -> Iterator[Reading]:
    """
    The tests of a file.

    @param path: its name. One that is called after a command runs it in each test.
    @param text: what it holds.
    """
    mine = path.stem.removeprefix("test_cli_").replace("_", "-")
    tree = ast.parse(text)
    own = _top(tree)
    top = {**{name: node for found in _shared(tree) for name, node in _top(found).items()}, **own}
    for name, piece in own.items():
        if name.startswith("test_"):
            yield Reading(f"{path.stem}.{name}", frozenset({mine, *_words(piece, top, {name})}))


def runs_it(text: str) -> bool:
    """Whether the tests of a file run the command, by themselves or by what they share."""
    return RUNS in text or any(RUNS in ast.unparse(each) for each in _shared(ast.parse(text)))


def _shared(tree: ast.Module) -> Iterator[ast.Module]:
    """The modules of this folder, C{cli...}, that a file imports."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cli"):
            yield _parsed(Path(__file__).with_name(f"{node.module}.py"))


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _top(tree: ast.Module) -> dict[str, ast.AST]:
    """What a file defines, by name."""
    top: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            top[node.name] = node
        elif isinstance(node, ast.Assign):
            top.update((target.id, node) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            top[node.target.id] = node
    return top


def _words(node: ast.AST, top: dict[str, ast.AST], seen: set[str]) -> Iterator[str]:
    """The words of a piece of a file, and of what it names; each of that once."""
    silent = {
        id(each.body[0].value)
        for each in ast.walk(node)
        if isinstance(each, (ast.FunctionDef, ast.ClassDef)) and isinstance(each.body[0], ast.Expr)
    }
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in silent:
            yield from re.findall(r"[^\s=]+", each.value)
        elif isinstance(each, (ast.Name, ast.arg)):
            name = each.id if isinstance(each, ast.Name) else each.arg
            if name in top and name not in seen:
                seen.add(name)
                yield from _words(top[name], top, seen)
