"""The pages about the code: what they name is there, and a job goes the way that they tell."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Final

import pytest

from txgear.policies import Backoff, Policies, Policy, Retention, Retries
from txgear.protocol.constants import (
    CAN_DO,
    GRAB_JOB,
    JOB_ASSIGN,
    JOB_CREATED,
    PRE_SLEEP,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    WORK_COMPLETE,
    WORK_FAIL,
)
from txgear.protocol.packets import Decoder, request
from txgear.stores.memory import MemoryStore
from txgear.test.support.server import DurableServerFixture, FakePeer

ROOT: Final = Path(__file__).parent.parent
PACKAGE: Final = ROOT / "txgear"
ARCHITECTURE: Final = ROOT / "docs" / "architecture.md"
PAGES: Final = [ROOT / "CONTRIBUTING.md", ARCHITECTURE, ROOT / "docs" / "glossary.md"]

pytestmark = pytest.mark.txgear_only


# What the pages name


@cache
def modules() -> dict[Path, ast.Module]:
    """All modules, but for the tests themselves."""
    return {path: ast.parse(path.read_bytes()) for path in PACKAGE.rglob("*.py") if path.name[:5] != "test_"}


def defined() -> dict[str, set[str]]:
    """The classes and constants of all modules, each with the names that are written within it."""
    found: dict[str, set[str]] = {}
    for tree in modules().values():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                inside = {inner.name for inner in ast.walk(node) if isinstance(inner, ast.FunctionDef)}
                inside |= {inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
                inside |= {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
                found.setdefault(node.name, set()).update(inside)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update({target.id: set() for target in targets if isinstance(target, ast.Name)})
    return found


def is_there(name: str, known: Mapping[str, set[str]]) -> bool:
    """Whether what a page names is there: a file, a class, a constant, or something in one of these."""
    if "/" in name or name.endswith((".py", ".md")):
        return any(place.exists() for place in (ROOT / name, PACKAGE / name, *PACKAGE.rglob(name.strip("/"))))
    head, _, tail = name.partition(".")
    if head == "txgear" and tail:
        module, _, inside = name.rpartition(".")
        path = ROOT / module.replace(".", "/")
        return inside in known or (path / inside).is_dir() or (path / f"{inside}.py").exists()
    return head in known and (not tail or tail in known[head])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_has_what_its_pages_name(page: Path) -> None:
    known, text = defined(), page.read_text()
    drawn = "".join(re.findall(r"^```text$.*?^```$", text, re.MULTILINE | re.DOTALL))
    text = re.sub(r"^```.*?^```$|\{doc\}`.*?`", "", text, flags=re.MULTILINE | re.DOTALL)
    names = re.findall(r"\b[A-Z]\w+\b", drawn)
    names += re.findall(r"`([\w.]+/[\w./]*|\w+\.(?:py|md)|(?:_?[A-Z]|txgear\.)[\w.]+)(?:\(\))?`", text)
    assert [name for name in names if not is_there(name, known)] == []


def test_the_files_that_other_pages_name_are_there() -> None:
    docs = [page for page in (ROOT / "docs").rglob("*.md") if not {"_build", "news.d"} & set(page.parts)]
    named = {
        (page.name, name)
        for page in docs
        for name in re.findall(r"`((?:txgear|tests|bench|examples|findings)/[\w/]+\.\w+)`", page.read_text())
        # There the reader writes a file of that name.
        if page.name != "protocol-plugin.md"
    }
    assert len(named) > 10
    assert [pair for pair in sorted(named) if not (ROOT / pair[1]).exists()] == []


# A job's way

POLICY: Final = Policy(
    retries=Retries(1), backoff=Backoff("fixed", 1.0, 1.0, 0.0), results=Retention(60.0), timeout=60.0
)


class Way:
    """A server in memory, with a worker that sleeps and a client; and what of the package is called there."""

    def __init__(self) -> None:
        self.fixture = DurableServerFixture(MemoryStore(), policies=Policies([("f", POLICY)]))
        self.fixture.thread.run_all()
        self.worker, self.client = self.fixture.connect(), self.fixture.connect()
        self.worker.tell(request(CAN_DO, b"f"), request(PRE_SLEEP))
        self.calls: list[tuple[str, str]] = []

    def watched(self, *actions: Callable[[], object]) -> None:
        """Do these, and note which functions of which files are called."""

        def note(frame: FrameType, event: str, argument: object) -> None:
            path = Path(frame.f_code.co_filename)
            if event == "call" and path.is_relative_to(PACKAGE):
                self.calls.append((path.relative_to(PACKAGE).as_posix(), frame.f_code.co_name))

        sys.setprofile(note)
        try:
            for action in actions:
                action()
        finally:
            sys.setprofile(None)

    def background(self) -> bytes:
        """A background job that the worker has; its handle."""
        self.client.tell(request(SUBMIT_JOB_BG, b"f", b"", b"w"))
        self.fixture.thread.run_all()
        handle = arguments(self.client, JOB_CREATED)[0]
        self.worker.tell(request(GRAB_JOB))
        assert arguments(self.worker, JOB_ASSIGN)[0] == handle
        return handle


def arguments(peer: FakePeer, kind: int) -> list[bytes]:
    """Those of the packet of this type that has come."""
    packets = list(Decoder(b"\0RES").feed(peer.heard()))
    [found] = [cut for type_of, cut in packets if type_of == kind]
    return list(map(bytes, found))


def submit(way: Way) -> None:
    way.watched(lambda: way.client.tell(request(SUBMIT_JOB, b"f", b"", b"w")))


def grab(way: Way) -> None:
    way.client.tell(request(SUBMIT_JOB, b"f", b"", b"w"))
    way.watched(lambda: way.worker.tell(request(GRAB_JOB)))


def complete(way: Way) -> None:
    handle = way.background()
    way.watched(lambda: way.worker.tell(request(WORK_COMPLETE, handle, b"r")))


def fail(way: Way) -> None:
    handle = way.background()
    way.watched(
        lambda: way.worker.tell(request(WORK_FAIL, handle)),
        way.fixture.thread.run_all,
        lambda: way.fixture.clock.advance(1.0),
    )
    way.worker.tell(request(GRAB_JOB))
    assert arguments(way.worker, JOB_ASSIGN)[0] == handle


def on_disk(way: Way) -> None:
    way.watched(
        lambda: way.client.tell(request(SUBMIT_JOB_BG, b"f", b"", b"w")),
        lambda: way.fixture.clock.advance(0),
        way.fixture.thread.run_all,
    )


def told(heading: str) -> list[set[tuple[str, str]]]:
    """
    The functions that a section of the page names, in order, each with its file: with several where
    classes in different files have one name, as a port and what stands behind it.
    """
    homes: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for path, tree in modules().items():
        for node in tree.body:
            owner = node.name if isinstance(node, ast.ClassDef) else ""
            for inner in node.body if isinstance(node, ast.ClassDef) else [node]:
                if isinstance(inner, ast.FunctionDef):
                    place = path.relative_to(PACKAGE).as_posix(), inner.name
                    homes.setdefault((owner, inner.name), set()).add(place)
    section = ARCHITECTURE.read_text().partition(f"### {heading}\n")[2].partition("\n#")[0]
    rows = "".join(re.findall(r"^\| *\d+ \|.*\|(.*)\|$", section, re.MULTILINE))
    names = re.findall(r"`(?:([A-Z]\w+)\.)?([a-z_]+)`", rows)
    return [homes[name] for name in names if name in homes]


@pytest.mark.parametrize(
    ("heading", "go", "least"),
    [
        ("Submit", submit, 5),
        ("Grab", grab, 3),
        ("Complete", complete, 5),
        ("Fail, and again", fail, 6),
        ("On disk", on_disk, 5),
    ],
)
def test_a_job_goes_the_way_that_is_told(heading: str, go: Callable[[Way], None], least: int) -> None:
    way = Way()
    go(way)
    steps = told(heading)
    assert len(steps) >= least
    calls = iter(way.calls)
    for step in steps:
        assert any(call in step for call in calls), f"{step} is not called there: {way.calls}"
