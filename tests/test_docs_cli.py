"""Pages about the command that are followed word by word."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from needs import requires
from pagerun import Reader, steps
from processes import free_port

pytestmark = pytest.mark.txgear_only

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "cli"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    port, mail = free_port(), free_port()
    # The checkout lies next to the folder of the page.
    (tmp_path / "txgear").symlink_to(ROOT)
    env = {
        "TXGEAR_SERVER": f"127.0.0.1:{port}",
        "HOME": str(tmp_path),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    # Other ports than everybody's: what the page has is not said elsewhere.
    store = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    changes = {
        "8025": str(mail),
        "twistd -n --pidfile= txgear": f"twistd -n --pidfile= txgear --port {port} --web= --store {store}",
        "gearadmin -": f"gearadmin -p {port} -",
    }
    made = Reader(tmp_path, env, changes)
    yield made
    made.close()


def test_tutorial(reader: Reader) -> None:
    """From an empty environment to a mail that is mended and sent."""
    page = (PAGES / "tutorial.md").read_text()
    assert len(list(steps(page))) > 20
    reader.follow(page)


@pytest.mark.parametrize("name", ["acting", "submit"])
def test_page(reader: Reader, name: str) -> None:
    """What their blocks show is what is printed."""
    if name == "submit":
        requires("rev")
    page = (PAGES / f"{name}.md").read_text()
    assert [step.kind for step in steps(page)].count("run") > 1
    reader.follow(page)


def test_moving(reader: Reader) -> None:
    """What gearadmin shows, and what these commands do, side by side."""
    requires("gearadmin")
    page = (PAGES / "moving.md").read_text()
    assert len(list(steps(page))) > 10
    reader.follow(page)
