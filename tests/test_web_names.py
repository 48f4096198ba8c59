"""Names that clients and workers bring break out of no answer of the web."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest

from processes import Servers
from webworld import HOSTILE, Answer, World, make_world, quoted

JSON: Final = ("application/json", "application/problem+json")
STREAM: Final = "text/event-stream"


@pytest.fixture
def world(start_server: Servers, tmp_path: Path) -> Iterator[World]:
    """A server with jobs in every state, of functions with hostile names."""
    made = make_world(start_server, tmp_path)
    yield made
    for peer in made.peers:
        peer.close()


def texts(value: Any) -> Iterator[str]:
    """All texts within JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from texts(each)


def check(answer: Answer, target: str, described: Collection[str]) -> None:
    """
    Whether an answer is one answer, and nothing else.

    @param described: the statuses that it may have.
    """
    kind = (answer.headers["Content-Type"] or "").partition(";")[0]
    assert str(answer.status) in described, (target, answer.status)
    assert answer.status != 400, (target, answer.body)
    # No line of a name has become a header, or an answer of its own.
    assert answer.headers["Set-Cookie"] is None, target
    assert not re.search(r"[^\t\x20-\x7e]", "".join(answer.headers.values())), (target, answer.headers)
    if kind == STREAM:
        return
    assert answer.headers["X-Content-Type-Options"] == "nosniff", target
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"], target
    assert "html" not in kind, (target, kind)
    if kind not in JSON:
        return
    assert not re.search(rb"[\x00-\x09\x0b-\x1f]", answer.body), target
    for text in texts(json.loads(answer.body)):
        # Text all through: bytes that are none are escaped.
        text.encode("utf-8")


def test_every_answer(world: World) -> None:
    """Each path of the description, with all that there is in its place."""
    functions = [found["function"] for found in world.all_of("/api/v1/functions?limit=3", "functions")]
    assert len(functions) == len(HOSTILE)
    jobs = {
        state: world.all_of(target, "jobs")
        for state, target in (
            *((state, f"/api/v1/jobs?state={state}&limit=7") for state in ("queued", "waiting", "running")),
            ("dead", "/api/v1/dead"),
            ("kept", "/api/v1/kept"),
        )
    }
    assert {state: len(found) for state, found in jobs.items()} == {
        "queued": 2 * len(HOSTILE),
        **dict.fromkeys(("waiting", "running", "dead", "kept"), len(HOSTILE)),
    }
    handles = [job["handle"] for found in jobs.values() for job in found]
    others = [shown(name) for name in HOSTILE]
    parts = {"name": [*functions, *others], "handle": [*handles, *others]}
    document = world.read("/api/v1/openapi.json")
    asked = 0
    for path, methods in document["paths"].items():
        if "get" not in methods:
            continue
        get = methods["get"]
        wanted = [each["name"] for each in get["parameters"] if each["in"] == "query" and "required" in each]
        parts_of = re.findall(r"{(\w+)}", path)
        for values in product(*(parts.get(name, others) for name in (*parts_of, *wanted))):
            target = path
            for name, value in zip(parts_of, values, strict=False):
                target = target.replace(f"{{{name}}}", quoted(value).replace(".", "%2E"))
            query = zip(wanted, values[len(parts_of) :], strict=True)
            target += "?" * bool(wanted) + "&".join(f"{name}={quoted(value[:60])}" for name, value in query)
            check(world.ask("GET", target), target, get["responses"])
            asked += 1
    assert asked > 250


def shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def test_names_are_found_by_what_is_shown(world: World) -> None:
    """Whatever they are made of: what an answer calls something, one can ask for."""
    for found in world.all_of("/api/v1/functions", "functions"):
        name = found["function"]
        one = world.read(f"/api/v1/functions/{quoted(name).replace('.', '%2E')}")
        assert one["function"] == name
        for job in world.all_of(f"/api/v1/jobs?function={quoted(escaped(name[:900]))}*", "jobs"):
            assert job["function"] == name
            by_unique = world.read(f"/api/v1/jobs?unique={quoted(job['unique'])}")["jobs"]
            assert job["handle"] in [each["handle"] for each in by_unique]
            assert world.read(f"/api/v1/jobs/{quoted(job['handle'])}")["unique"] == job["unique"]


def escaped(name: str) -> str:
    """A name as a pattern that it alone matches."""
    return re.sub(r"([*?\[])", r"[\1]", name)
