"""The fixtures that every file here may use: servers, programs, names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from processes import SERVER_COMMAND, Gate, Programs, Server, Servers
from startup import Daemons

_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "txgear_only: txgear's own promise; skipped when TXGEAR_TEST_SERVER_COMMAND names another server",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SERVER_COMMAND:
        for item in items:
            if item.get_closest_marker("txgear_only"):
                item.add_marker(pytest.mark.skip(reason="only txgear promises this"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of a failed test's servers and programs."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, (Server, Servers, Programs)):
                report.sections.append((f"log of {name}", value.log()))
    return report


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """A place for the server that the tests of one file share."""
    place: list[Server] = []
    place.append(Server(tmp_path_factory.mktemp("server")))
    yield place
    place[0].stop()


@pytest.fixture
def server(module_server: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server that the tests of one file share; each test uses function names of its own.

    It must outlive the test, with no traceback in its log. Should a test end it, the next one gets a new one.
    """
    if not module_server[0].running:
        module_server[0] = Server(tmp_path_factory.mktemp("server"))
    this = module_server[0]
    before = len(this.said())
    yield this
    this.close_peers()
    assert this.running, "the server ended"
    assert this.calm(before), "a traceback in the server's log"


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A function that starts a server with options, for this test alone."""
    these = Servers(lambda: tmp_path_factory.mktemp("server"))
    yield these
    these.stop()
    assert these.calm(), "a traceback in a server's log"


@pytest.fixture
def fresh_server(start_server: Servers) -> Server:
    """A server that no other test has touched."""
    return start_server()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Starts programs in the background and ends them with the test."""
    these = Programs(tmp_path)
    yield these
    these.stop()


@pytest.fixture
def daemons() -> Iterator[Daemons]:
    """Finds servers that detached themselves, and ends them with the test."""
    these = Daemons()
    yield these
    these.stop()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A pipe at which a job waits until the test opens it."""
    this = Gate(tmp_path / "gate")
    yield this
    this.close()


@pytest.fixture
def function(request: pytest.FixtureRequest) -> str:
    """A function name that no other test uses."""
    name = re.sub(r"\W", "_", str(request.node.name))[:40]
    return f"{name}_{next(_numbers)}"


@pytest.fixture
def names(function: str) -> Callable[[str], str]:
    """Makes further function names that no other test uses."""
    return lambda tail: f"{function}_{tail}"
