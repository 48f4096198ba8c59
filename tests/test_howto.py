"""The how-to pages: their examples run as they are written, with a server in memory."""

from __future__ import annotations

import builtins
import re
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from twisted.application.service import IServiceCollection

from txgear.client import Client
from txgear.errors import JobFailed
from txgear.testing import MemoryServer
from txgear.worker import Worker, WorkerJob

HOWTO: Final = Path(__file__).parent.parent / "docs" / "howto"

pytestmark = pytest.mark.txgear_only


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the examples print is of no interest here."""
    monkeypatch.setattr(builtins, "print", lambda *_: None)


@pytest.fixture
def server() -> Iterator[MemoryServer]:
    server = MemoryServer()
    yield server
    server.stop()
    assert not server.clock.getDelayedCalls()


def ran(name: str) -> dict[str, Any]:
    """Run a page's examples, one after the other, and return what they define."""
    text = (HOWTO / name).read_text("utf-8")
    found: dict[str, Any] = {"__name__": name}
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)):
        exec(compile(block, f"{name}, example {number + 1}", "exec"), found)  # noqa: S102
    return found


def test_client(server: MemoryServer) -> None:
    page = ran("client.md")
    worker = server.worker()
    worker.register("reverse", lambda job: job.workload[::-1])
    client = server.client()

    @worker.function("resize")
    def resize(job: WorkerJob) -> bytes:
        job.set_status(1, 2)
        job.send_data(b"d")
        job.send_warning(b"w")
        return b"r"

    server.result(page["with_callbacks"](client))
    assert server.result(page["resize"](client, b"photo")) == b"r"
    assert server.result(page["thumbnails"](client, [b"1", b"2"])) == [b"r", b"r"]
    assert server.result(page["careful"](client)) == b"!dlroW olleH"
    assert server.result(page["remind"](client, b"m"))
    (service,) = IServiceCollection(page["application"])
    assert isinstance(service, Client)


def test_worker(server: MemoryServer) -> None:
    page = ran("worker.md")
    worker = server.worker(concurrency=2)
    client = server.client()
    page["add_functions"](worker)
    page["add_count"](worker, client)
    assert server.result(client.run("resize")) == b"the rest"
    assert server.result(client.run("add", json=[1, 2, 3])) == b"6"
    assert server.result(client.run("archive")) == b""
    assert server.result(client.run("archive")) == b""
    with pytest.raises(JobFailed):
        server.result(client.run("mail"))
    assert server.result(client.run("count", b"a b\nc", reducer="count-part")) == b"3"
    (service,) = IServiceCollection(page["application"])
    assert isinstance(service, Worker)


def test_testing() -> None:
    page = ran("testing.md")
    tests = [page[name] for name in page if name.startswith("test_")]
    assert len(tests) == 7
    for test in tests:
        test()
    result = unittest.TestResult()
    page["ShoutTests"]("test_before_there_is_a_worker").run(result)
    assert (result.testsRun, result.wasSuccessful()) == (1, True)
