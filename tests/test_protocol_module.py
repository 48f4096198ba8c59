"""A protocol of another package: the one in docs/howto/protocol-plugin.md, built, installed, and spoken."""

from __future__ import annotations

import importlib.util
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from processes import PATIENCE, Server, Servers, free_port, run, twistd
from txgear.interfaces import IJobServer
from wirepeer import P, WirePeer

PAGE: Final = Path(__file__).parent.parent / "docs" / "howto" / "protocol-plugin.md"

#: Seconds in which pip builds and installs three small files; it may have to fetch hatchling.
INSTALLING: Final = 120.0

pytestmark = pytest.mark.txgear_only


def files_of_the_page() -> dict[str, str]:
    """The files that the page shows: each is named in a line of its own before its block."""
    return dict(
        re.findall(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package of the page was installed into."""
    source = tmp_path_factory.mktemp("source")
    target = tmp_path_factory.mktemp("site")
    files = files_of_the_page()
    assert sorted(files) == ["pyproject.toml", "txgear/plugins/lines.py", "txgear_lines.py"]
    for name, text in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    # With the backend at hand nothing is fetched; without it pip brings it, as it does for users.
    offline = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    done = run([*pip, *offline, "--target", target, source], timeout=INSTALLING)
    assert done.returncode == 0, done.stderr.decode()
    return target


@pytest.fixture
def path(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python finds the package, as it finds everything that is installed."""
    monkeypatch.setenv("PYTHONPATH", str(installed))


@pytest.fixture
def door(path: None, start_server: Servers) -> Iterator[tuple[Server, WirePeer]]:
    """A server that speaks it, and a connection to that port."""
    port = free_port()
    server = start_server("--protocol", "lines", "--lines-port", str(port))
    with WirePeer(port, timeout=PATIENCE) as lines:
        yield server, lines


def test_keeps_to_the_interface() -> None:
    """What the page uses of the server is promised to every plugin."""
    used = set(re.findall(r"_server\.(\w+)", files_of_the_page()["txgear_lines.py"]))
    assert used
    assert used <= set(IJobServer.names())


def test_is_a_distribution(installed: Path) -> None:
    """It is a distribution of its own, and brings nothing that belongs to txgear."""
    assert [folder.name for folder in installed.glob("*.dist-info")] == ["txgear_lines-1.0.dist-info"]
    assert not list(installed.rglob("__init__.py"))


def test_speaks(door: tuple[Server, WirePeer], function: str) -> None:
    """A job comes in by one protocol, and goes to a worker by the other."""
    server, lines = door
    worker = server.connect()
    worker.can_do(function.encode())
    lines.send_raw(f"submit {function} Hello\r\n".encode())
    handle = lines.read_until(b"\r\n").removeprefix(b"job ").removesuffix(b"\r\n")
    job = worker.grab_soon()
    assert (job.handle, job.workload) == (handle, b"Hello")
    worker.send(P.WORK_DATA, handle, b"half")
    assert lines.read_until(b"\r\n") == b"data %s half\r\n" % handle
    worker.complete(job, b"olleH")
    assert lines.read_until(b"\r\n") == b"done %s olleH\r\n" % handle


def test_fails(door: tuple[Server, WirePeer], function: str) -> None:
    """Jobs fail, the broker refuses, and lines may be nonsense."""
    server, lines = door
    worker = server.connect()
    worker.can_do(function.encode())
    lines.send_raw(f"submit {function}\r\n".encode())
    assert lines.read_until(b"\r\n").startswith(b"job ")
    job = worker.grab_soon()
    worker.send(P.WORK_FAIL, job.handle)
    assert lines.read_until(b"\r\n") == b"failed %s\r\n" % job.handle
    lines.send_raw(b"submit " + b"f" * 9000 + b"\r\n")
    assert lines.read_until(b"\r\n") == b"error ARGUMENT_TOO_LARGE: Function name too large\r\n"
    lines.send_raw(b"nonsense\r\n")
    assert lines.read_until(b"\r\n").startswith(b"error ")


def test_background(path: None, start_server: Servers, function: str, tmp_path: Path) -> None:
    """A background job is answered when it is on disk, and outlives the server."""
    store = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    port = free_port()
    options = ["--protocol", "lines", "--lines-port", str(port)]
    server = start_server(*options, store=store)
    with WirePeer(port, timeout=PATIENCE) as lines:
        lines.send_raw(f"background {function} Hello\r\nnonsense\r\nsubmit {function} lost\r\n".encode())
        handle = lines.read_until(b"\r\n").removeprefix(b"job ").removesuffix(b"\r\n")
        assert lines.read_until(b"\r\n").startswith(b"error INVALID_COMMAND: ")
        assert lines.read_until(b"\r\n").startswith(b"job ")
        server.kill()
    worker = start_server(*options, store=store).connect()
    worker.can_do(function.encode())
    job = worker.grab_soon()
    assert (job.handle, job.workload) == (handle, b"Hello")


def test_leaves(door: tuple[Server, WirePeer], function: str) -> None:
    """With its connection goes the job that it waits for."""
    server, lines = door
    lines.send_raw(f"submit {function} x\r\n".encode())
    lines.read_until(b"\r\n")
    server.wait_for_total(function, 1)
    lines.close()
    server.wait_for_total(function, 0)


def test_ends(door: tuple[Server, WirePeer]) -> None:
    """The server hangs up on it when it ends, and is not kept from ending."""
    server, lines = door
    server.signal(signal.SIGTERM)
    assert lines.read_to_end() == b""
    assert server.wait() == 0


def txgear(*options: str) -> subprocess.CompletedProcess[bytes]:
    """What a server says that does not start."""
    return run([*twistd(), "-n", "--pidfile=", "txgear", *options])


def test_options(path: None) -> None:
    """Its options are on the command line, and are checked like all others."""
    assert b"--lines-port" in txgear("--help").stdout
    done = txgear("--protocol", "lines", "--lines-port", "70000")
    assert (done.returncode, done.stderr) == (1, b"txgear: --lines-port: 70000 is no port\n")


def test_not_installed() -> None:
    """Without the package its name means nothing."""
    done = txgear("--protocol", "lines")
    assert (done.returncode, done.stderr) == (1, b"txgear: --protocol lines: there are gear, http\n")
