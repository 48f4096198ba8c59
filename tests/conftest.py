"""The fixtures that every file here may use: servers, programs, names."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from databases import Database, MariaDB, Postgres, Service, folder_for_services
from galera import Galera
from needs import lacks
from patronicluster import Cluster
from pgbouncer import PgBouncer
from processes import SERVER_COMMAND, Programs, Server, Servers, Throttle
from startup import Daemons

_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "alone: measures how long something takes, so that nothing else may run beside it"
    )
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
            if isinstance(value, (Server, Servers, Programs, Service, Galera, Cluster)):
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


@pytest.fixture(scope="session", autouse=True)
def state_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where servers that are started without a store keep it: never where a real server does."""
    os.environ["STATE_DIRECTORY"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints figures, whether or not the test fails."""

    def show(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return show


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB; only root can make one, and not in every container."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(scope="session")
def databases() -> Iterator[dict[type[Database], Database]]:
    """The database servers that this run has started so far."""
    these: dict[type[Database], Database] = {}
    try:
        yield these
    finally:
        for database in these.values():
            # Nobody will miss anything, and an end in peace takes seconds.
            database.kill()
            shutil.rmtree(database.folder)


def _running(kind: type[Database], databases: dict[type[Database], Database]) -> Database:
    """One that runs, whatever the last test did to it, with an empty database."""
    lacks(kind.missing())
    if kind not in databases:
        # Not below pytest's own folder, which is closed to the users that the servers run as.
        databases[kind] = kind(Path(tempfile.mkdtemp(prefix="txgear-")))
    this = databases[kind]
    if this.running:
        this.resume()
    else:
        this.start()
    this.clear()
    return this


@pytest.fixture(scope="session")
def run_database(databases: dict[type[Database], Database]) -> Callable[[type[Database]], Database]:
    """Makes a server of a kind run, with an empty database, for tests that share it."""
    return lambda kind: _running(kind, databases)


@pytest.fixture
def postgres(databases: dict[type[Database], Database]) -> Database:
    """A PostgreSQL server with an empty database; the test may kill or pause it."""
    return _running(Postgres, databases)


@pytest.fixture
def mariadb(databases: dict[type[Database], Database]) -> Database:
    """A MariaDB server with an empty database; the test may kill or pause it."""
    return _running(MariaDB, databases)


@pytest.fixture(scope="module")
def module_galera() -> Iterator[Galera]:
    """The Galera cluster that the tests of one file share."""
    lacks(Galera.missing())
    with folder_for_services() as folder, Galera(folder) as this:
        yield this


@pytest.fixture
def galera(module_galera: Galera) -> Galera:
    """Three MariaDB nodes that are one, with an empty database; the test may kill, pause or cut them."""
    module_galera.restore()
    return module_galera


@pytest.fixture(scope="module")
def module_patroni() -> Iterator[Cluster]:
    """The PostgreSQL with a standby that the tests of one file share."""
    lacks(Cluster.missing())
    with folder_for_services() as folder, Cluster(folder) as this:
        yield this


@pytest.fixture
def patroni(module_patroni: Cluster) -> Cluster:
    """PostgreSQL with a synchronous standby, and an empty database; the test may kill or pause any of it."""
    module_patroni.restore()
    return module_patroni


@pytest.fixture
def pooler(request: pytest.FixtureRequest, postgres: Database) -> Iterator[str]:
    """The URL of an empty database of PostgreSQL, by way of PgBouncer; another mode may be its parameter."""
    lacks(PgBouncer.missing())
    with (
        folder_for_services() as folder,
        PgBouncer(folder, postgres, getattr(request, "param", "transaction")) as this,
    ):
        yield this.url


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Starts programs in the background and ends them with the test."""
    these = Programs(tmp_path)
    yield these
    these.stop()
    assert these.calm(), "a traceback in a server's log"


@pytest.fixture
def daemons() -> Iterator[Daemons]:
    """Finds servers that detached themselves, and ends them with the test."""
    these = Daemons()
    yield these
    these.stop()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Throttle]:
    """A pipe at which a job waits until the test opens it."""
    this = Throttle(tmp_path / "gate")
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
