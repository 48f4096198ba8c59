"""The dashboard's JavaScript: what of it needs no page, by Node's own test runner."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from needs import requires
from txgear.broker.words import span

ROOT = Path(__file__).parents[1]
TESTS = Path("tests/dashboard")
STATIC = Path("txgear/web/pages/static")
TEMPLATES = Path("txgear/web/pages/templates")
SPANS = (
    0,
    0.9,
    1,
    59,
    60,
    119,
    120,
    121,
    599,
    600,
    3599,
    3600,
    3661,
    7200,
    36_000,
    86_399,
    86_400,
    90_000,
    1e6,
)


def node() -> str:
    """Node, of a version which has timers that a test sets."""
    path = requires("node")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    if int(said.lstrip("v").partition(".")[0]) < 20:
        # What an older Debian has.
        pytest.skip(f"node is older than version 20: {said.strip()}")
    return path


def test_modules(tmp_path: Path) -> None:
    program = node()
    # Older versions take a .js for a module only where a package.json says so.
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for folder in (TESTS, STATIC):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    done = subprocess.run(
        [program, "--test", *map(str, sorted((tmp_path / TESTS).glob("*.test.mjs")))],
        env={**os.environ, "SPANS": json.dumps([(seconds, span(seconds)) for seconds in SPANS])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^# pass [1-9]|pass [1-9]", done.stdout, re.MULTILINE), done.stdout


def reached_by(*names: str) -> set[str]:
    """Modules, and all that they import."""
    imports = re.compile(r'^import .*"\./(.+)";$', re.MULTILINE)
    reached: set[str] = set()
    ahead = list(names)
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += imports.findall((ROOT / STATIC / name).read_text("utf-8"))
    return reached


def test_all_are_used() -> None:
    """page.js, or what one page has for itself, reaches all modules; base.html has those loaded at once."""
    pages = [path.read_text("utf-8") for path in (ROOT / TEMPLATES).glob("*.html")]
    own = {name for page in pages for name in re.findall(r"static\('(\w+\.js)'\)", page)}
    assert reached_by(*own, "page.js") == {path.name for path in (ROOT / STATIC).glob("*.js")}
    reached = reached_by("page.js")
    base = (ROOT / TEMPLATES / "base.html").read_text("utf-8")
    listed = json.loads(base.partition("{% for name in ")[2].partition(" %}")[0])
    assert sorted(f"{name}.js" for name in listed) == sorted(reached - {"page.js"})
