"""
The documentation: pages by Sphinx, the API by pydoctor, in one build that
treats each warning as an error and needs no network.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
import sys
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

from sphinx.application import Sphinx
from zope.interface.interface import InterfaceClass

import txgear

ROOT: Final = Path(__file__).parent.parent
PACKAGE: Final = ROOT / "txgear"
INVENTORIES: Final = ROOT / "docs" / "_build" / "inventories"

PUBLIC: Final = ("client", "worker", "testing", "errors", "policies", "interfaces", "stores")
"""The modules whose names are promised."""

project = "txgear"
author = "the txgear authors"
copyright = "2026, the txgear authors"
release = version = txgear.__version__

sys.path.insert(0, str(Path(__file__).parent))
extensions = [
    *("myst_parser", "pydoctor.sphinx_ext.build_apidocs", "sphinx.ext.intersphinx"),
    *("commandlist", "floors", "jobstates", "webapi"),
]
exclude_patterns = ["_build", "news.d"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_title = f"txgear {release}"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# pydoctor puts its own inventory in here, so that pages link to the API: {py:class}`txgear.Client`.
intersphinx_mapping: dict[str, tuple[str, str | None]] = {}
pydoctor_url_path = "api/"
pydoctor_args = [
    f"--project-name={project}",
    f"--project-version={release}",
    # The way back from the API to the pages.
    "--project-url=../index.html",
    f"--project-base-dir={ROOT}",
    "--docformat=epytext",
    "--theme=readthedocs",
    "--privacy=HIDDEN:txgear.test",
    "--privacy=HIDDEN:txgear.test.**",
    # What users may build on; the rest is shown on demand, for those who work on txgear itself.
    "--privacy=PRIVATE:txgear.*",
    *(f"--privacy=PUBLIC:txgear.{module}" for module in PUBLIC),
    "--html-output={outdir}/api",
    f"--intersphinx-file={INVENTORIES}/twisted.inv::https://docs.twisted.org/en/stable/api",
    f"--intersphinx-file={INVENTORIES}/python.inv::https://docs.python.org/3",
    f"--intersphinx-file={INVENTORIES}/zope.inv::https://zopeinterface.readthedocs.io/en/latest",
    str(PACKAGE),
]


def foreign_modules() -> dict[str, ModuleType]:
    """
    The modules of other packages that our docstrings can link to: those that
    ours import from, and those of names that are written out in full.
    """
    names = {"builtins"}
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text()
        names.update(re.findall(r"L\{(?:[^{}<]*<)?([a-z_]+(?:\.\w+)+)>?\}", source))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.update(f"{node.module}.{alias.name}" for alias in node.names)
    modules = {}
    for name in names:
        while name and name.partition(".")[0] not in ("txgear", "__future__"):
            with contextlib.suppress(ImportError):
                modules[name] = import_module(name)
            name = name.rpartition(".")[0]
    return modules


def members(thing: object) -> list[str]:
    """The names in a class or an interface that documentation has a place for."""
    names = list(thing) if isinstance(thing, InterfaceClass) else dir(thing) if inspect.isclass(thing) else []
    return [name for name in names if not name.startswith("_")]


def targets(name: str, module: ModuleType) -> Iterator[tuple[str, str]]:
    """Each name of a module, and its place in the documentation of its project."""
    project = name.partition(".")[0]
    if project == "twisted":
        yield name, f"{name}.html"
    elif project in sys.stdlib_module_names:
        yield name, f"library/{name}.html#module-{name}"
    for attribute, thing in vars(module).items():
        full = attribute if name == "builtins" else f"{name}.{attribute}"
        if attribute.startswith("_"):
            continue
        if project == "twisted":
            page = f"{full}.html"
            yield full, page if isinstance(thing, type | InterfaceClass) else f"{name}.html#{attribute}"
            yield from ((f"{full}.{member}", f"{page}#{member}") for member in members(thing))
        elif project == "zope":
            yield full, "api.html"
        elif project in sys.stdlib_module_names:
            page = name
            if name == "builtins":
                is_error = inspect.isclass(thing) and issubclass(thing, BaseException)
                page = "exceptions" if is_error else "stdtypes" if inspect.isclass(thing) else "functions"
            for target in (full, *(f"{full}.{member}" for member in members(thing))):
                yield target, f"library/{page}.html#{target}"


def write_inventories() -> None:
    """Inventories in Sphinx's format, made from what is installed instead of fetched."""
    lines: dict[str, set[str]] = {"python": set(), "twisted": set(), "zope": set()}
    for name, module in foreign_modules().items():
        owner = name.partition(".")[0]
        for target, place in targets(name, module):
            lines[owner if owner in lines else "python"].add(f"{target} py:obj 1 {place} -\n")
    INVENTORIES.mkdir(parents=True, exist_ok=True)
    for owner, found in lines.items():
        head = f"# Sphinx inventory version 2\n# Project: {owner}\n# Version: \n# The rest is zlib.\n"
        body = zlib.compress("".join(sorted(found)).encode())
        (INVENTORIES / f"{owner}.inv").write_bytes(head.encode() + body)


def setup(app: Sphinx) -> None:
    write_inventories()
