"""The API keeps to its description: schemathesis makes requests from it, and follows its links."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from needs import lacks
from processes import Servers, run
from webworld import World, make_world

SCRIPT: Final = Path(sys.executable).with_name("schemathesis")
HOOKS: Final = Path(__file__).parent / "programs"

SECONDS: Final = 240.0
"""How long it may take on a slow machine; it takes some thirty seconds."""

SETTINGS: Final = """
[checks.negative_data_rejection]
# Too long for any server is refused as well.
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 422, 429]

[[operations]]
# A review that no job is set aside in is not there.
include-path-regex = "^/api/v1/reviews"
checks.ensure_resource_availability.enabled = false
"""

LEFT_OUT: Final = "positive_data_acceptance"
"""What no schema can say is refused as well: jobs that wait for two times, bytes that are no base64."""

STREAMS: Final = "follow_events"
"""An answer without an end."""


NEEDS: Final = pytest.mark.skipif(sys.version_info < (3, 11), reason="schemathesis wants Python 3.11")


@pytest.fixture
def world(start_server: Servers, tmp_path: Path) -> Iterator[World]:
    """A server with jobs in every state, of functions with hostile names."""
    made = make_world(start_server, tmp_path)
    yield made
    for peer in made.peers:
        peer.close()


def schemathesis(world: World, folder: Path, phases: str, examples: int) -> str:
    """
    Try the API.

    @param examples: how many for each operation, or for all links together.
    @return: what it says; it has found nothing wrong.
    """
    if not SCRIPT.exists():
        lacks("there is no schemathesis")
    settings = folder / "schemathesis.toml"
    settings.write_text(SETTINGS)
    url = f"http://127.0.0.1:{world.port}/api/v1/openapi.json"
    options = {
        "--phases": phases,
        "--max-examples": str(examples),
        "--seed": "20261128",
        "--generation-database": "none",
        "--request-timeout": "10",
        "--exclude-checks": LEFT_OUT,
        "--exclude-operation-id": STREAMS,
    }
    words = [word for option in options.items() for word in option]
    done = run(
        [SCRIPT, "--config-file", settings, "run", url, "--no-color", *words],
        env={**os.environ, "SCHEMATHESIS_HOOKS": "apihooks", "PYTHONPATH": str(HOOKS)},
        cwd=folder,
        timeout=SECONDS,
    )
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    said = "\n".join(line[:400] for line in lines)
    assert done.returncode == 0, said + done.stderr.decode("utf-8", "replace")
    return said


def number(pattern: str, said: str) -> int:
    """A figure in what it says."""
    found = re.search(pattern, said)
    assert found is not None, said
    return int(found[1])


@NEEDS
def test_each_operation_is_as_it_is_described(world: World, tmp_path: Path) -> None:
    said = schemathesis(world, tmp_path, "coverage,fuzzing", 3)
    assert number(r"(\d+) generated", said) > 500, said


@NEEDS
def test_links_lead_somewhere(world: World, tmp_path: Path) -> None:
    said = schemathesis(world, tmp_path, "stateful", 80)
    assert number(r"API Links: +(\d+) covered", said) > 2, said
