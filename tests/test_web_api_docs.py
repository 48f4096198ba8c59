"""The page about the API: its examples are run, and answered as it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from needs import requires
from processes import PATIENCE, Server, Servers, free_port, run
from wirepeer import P

PAGE: Final = Path(__file__).parent.parent / "docs" / "web" / "api.md"


class Example(NamedTuple):
    """
    A command.

    @ivar answer: what stands below it; C{None} for nothing.
    """

    command: str
    answer: Any


def examples() -> list[Example]:
    """All of the page, in their order."""
    blocks = re.findall(r"^```(sh|json)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    found: list[Example] = []
    for kind, text in blocks:
        if kind == "sh":
            found.append(Example(text, None))
        else:
            found[-1] = Example(found[-1].command, json.loads(text))
    return found


@pytest.fixture
def port(start_server: Servers, tmp_path: Path) -> int:
    """The port of a web with what the page tells of."""
    config = tmp_path / "txgear.toml"
    config.write_text('[[function]]\nname = "*"\nretries = 0\nresults = "1h"\n')
    web = free_port()
    server: Server = start_server(
        f"--web=tcp:{web}:interface=127.0.0.1",
        *("--config", str(config), "--job-handle-prefix", "H:desk"),
    )
    client, worker = server.connect(PATIENCE), server.connect(PATIENCE)
    client.submit(b"mail.send", b"to: a@b.example", b"order 1", P.SUBMIT_JOB_BG)
    client.submit(b"mail.send", b"to: a@b.example", b"order 2", P.SUBMIT_JOB_BG)
    worker.can_do(b"mail.send")
    worker.send(P.WORK_EXCEPTION, worker.grab_soon().handle, b"no such user")
    worker.complete(worker.grab_soon(), b"sent")
    worker.sync()
    for number in range(4, 6):
        client.submit(b"mail.send", b"to: a@b.example", b"order %d" % number, P.SUBMIT_JOB_BG)
    client.submit(b"App\\Jobs\\Mail", b"x", b"", P.SUBMIT_JOB_BG)
    client.submit(b"report", b"x", b"", P.SUBMIT_JOB_BG)
    assert client.ask("pause report") == b"OK\r\n"
    return web


def is_like(found: Any, shown: Any, place: str = "") -> None:
    """Whether an answer has what the page shows: the same members of the same types."""
    if isinstance(shown, dict) and shown:
        assert isinstance(found, dict), place
        assert sorted(found) == sorted(shown), place
        for name, value in shown.items():
            is_like(found[name], value, f"{place}.{name}")
    elif isinstance(shown, list) and shown:
        assert found, place
        is_like(found[0], shown[0], f"{place}[0]")
    elif isinstance(shown, (int, float)) and not isinstance(shown, bool):
        assert isinstance(found, (int, float)), place
    else:
        assert type(found) is type(shown), (place, found)


def test_examples(port: int, tmp_path: Path) -> None:
    requires("curl")
    ran = 0
    for command, shown in examples():
        done = run(["sh", "-ec", command.replace(":4780", f":{port}")], cwd=tmp_path, timeout=PATIENCE)
        assert done.returncode == 0, (command, done.stderr)
        if "%{http_code}" in command:
            assert done.stdout.endswith(b"304\n"), done.stdout
        elif "as=json" not in command and command.rstrip().endswith("workload"):
            assert done.stdout == b"to: a@b.example"
        elif shown is not None:
            is_like(json.loads(done.stdout), shown, command)
        else:
            assert "status" not in json.loads(done.stdout), (command, done.stdout)
        ran += 1
    assert ran > 10
