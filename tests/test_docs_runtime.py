"""The pages about workers in processes: one is followed word by word, and tables are those of the code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from pagerun import Reader
from processes import free_port
from txgear.daemon.tables import parsed
from txgear.quantities import duration
from txgear.runtime.config import FunctionTable, GroupTable, RuntimeTable
from txgear.runtime.reading import parse_runtime

pytestmark = pytest.mark.txgear_only

PAGES: Final = Path(__file__).parent.parent / "docs" / "runtime"
CONFIG: Final = (PAGES / "config.md").read_text("utf-8")


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    port = free_port()
    env = {
        "TXGEAR_SERVER": f"127.0.0.1:{port}",
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    # Another port than everybody's.
    changes = {
        "127.0.0.1:4730": f"127.0.0.1:{port}",
        'modules = ["texts"]': f'servers = ["127.0.0.1:{port}"]\nmodules = ["texts"]',
        "twistd -n --pidfile= txgear": f"twistd -n --pidfile= txgear --port {port} --web= --store memory:",
    }
    made = Reader(tmp_path, env, changes)
    yield made
    made.close()


def test_five_minutes(reader: Reader) -> None:
    reader.follow((PAGES / "index.md").read_text())


# The file


def rows(heading: str) -> dict[str, str]:
    """The defaults of the settings in the table below a heading, by their names."""
    table = CONFIG.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))


def default(field: FieldInfo) -> Any:
    return field.default if field.default is not NODEFAULT else field.default_factory()


@pytest.mark.parametrize(
    ("heading", "kind", "more"),
    [
        ("For all", RuntimeTable, {"group"}),
        ("For a group", GroupTable, {"function"}),
        ("For a function that is no Python", FunctionTable, set()),
    ],
)
def test_settings(heading: str, kind: type[Struct], more: set[str]) -> None:
    """All of them have a row, and what is written as code there is the default."""
    found = rows(heading)
    known = {field.name: field for field in fields(kind)}
    assert set(found) == set(known) - more
    for name, text in found.items():
        if text.startswith("`"):
            value = parsed(f"x = {text.strip('`')}", name)["x"]
            wanted = default(known[name])
            if isinstance(wanted, float) and isinstance(value, str):
                value = duration(value)
            assert (tuple(value) if isinstance(value, list) else value) == wanted, name
        else:
            assert default(known[name]) in (None, "", ()), name


def blocks(path: Path) -> Iterator[str]:
    yield from re.findall(r"^```toml\n(.*?)^```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)


FILES: Final = [
    pytest.param(block, id=f"{path.stem}-{number}")
    for path in sorted(PAGES.glob("*.md"))
    for number, block in enumerate(blocks(path))
]


@pytest.mark.parametrize("block", FILES)
def test_examples_can_be_read(block: str) -> None:
    """Alone, or as a part of a file."""
    assert parse_runtime(block if "[group." in block else f"{block}\n[group.x]\nmodules = ['m']\n", "f").group


def test_mistakes() -> None:
    """What is said of them is what the page shows."""
    shown = re.findall(r"^txgear run: workers\.toml, line \d+: (.*)$", CONFIG, re.MULTILINE)
    text = "modules = ['m']\n[group.images]\n{}\n"
    for line, wrong in zip(shown, ("max_ages = 5", "soft_time = 5\nhard_time = 5"), strict=True):
        with pytest.raises(Exception, match=re.escape(line)):
            parse_runtime(text.format(wrong), "workers.toml")


def test_the_page_about_functions() -> None:
    """Its modules can be loaded, and have what they show."""
    page = (PAGES / "functions.md").read_text("utf-8")
    codes = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    for code in codes:
        exec(compile(code, "functions.md", "exec"), names)  # noqa: S102  # our own page
    assert {"resize", "send", "report", "begin", "end", "failure"} <= set(names)
