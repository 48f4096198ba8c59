"""The commands that show one thing that a server has."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from clilooks import BINARY, HOSTILE, SHOWN, World, of_text, succeeded, world
from processes import PATIENCE, run, txgear

__all__ = ["world"]

pytestmark = pytest.mark.txgear_only


def test_function(world: World) -> None:
    found = world.json("function", "mail.send")
    assert (found["running"], found["dead"], found["kept"], found["counts"]["submitted"]) == (1, 2, 2, 6)
    assert "counts.failed.exception\t1\n" in world.look("function", "mail.send").stdout.decode()
    done = world.look("function", "no.such")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"'txgear status' lists those that there are" in done.stderr


def test_names_that_hold_anything(world: World) -> None:
    """As they are, byte by byte, or as they are shown; and what is shown does nothing to a terminal."""
    for name in (SHOWN.encode(), HOSTILE):
        command: list[Any] = [
            *txgear(),
            "function",
            name,
            "--json",
            "--server",
            f"127.0.0.1:{world.server.port}",
        ]
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True)
        assert json.loads(done.stdout)["queued"] == 1
    assert [row["unique"] for row in world.rows("jobs", "--function", SHOWN.replace("[", "[[]"))] == [
        "hostile"
    ]
    assert world.rows("status", "--where", "function=caf*")[0]["function"] == SHOWN
    for words in ("status", "jobs", "function " + SHOWN.replace(" ", "\\x20")):
        assert b"\x1b" not in world.look(*words.split(" ", 1)).stdout


def test_job(world: World) -> None:
    """What the text command says of it, and how its attempts ended."""
    for unique in ("order 2", "order 3", "order 4", "order 5", "hostile"):
        handle = world.handles[unique]
        told = {row[0]: row[1] for row in world.server.list(f"job {handle}") if len(row) == 2}
        plain = dict(
            line.split("\t", 1) for line in succeeded(world.look("job", handle)).stdout.decode().splitlines()
        )
        for name in ("handle", "number", "function", "unique", "state", "priority", "background", "attempts"):
            assert plain[name] == of_text([told[name]])[0], (unique, name)
    assert plain["priority"] == "high"
    found = world.json("job", world.handles["order 2"])
    assert [(each["reason"], each["worker"], each["text"]) for each in found["history"]] == [
        ("exception", "mailer-1", "550 no such user")
    ]
    assert world.json("job", world.handles["order 3"])["numerator"] == 1


def test_handles_as_libraries_write_them(world: World) -> None:
    handle = world.handles["order 1"]
    for written in (handle, f"127.0.0.1:{world.server.port}//{handle}", f"gear.example:4730//{handle}"):
        assert world.json("job", written)["unique"] == "order 1"
        assert succeeded(world.look("result", written)).stdout == b"part sent"


def test_a_job_that_there_is_not(world: World) -> None:
    for command in (("job",), ("job", "--follow"), ("workload",), ("result",), ("result", "--wait", "5")):
        for handle in ("H:vm:999", "nonsense", "a//b//c", "\x1b[2J", "\udce9"):
            done = run([*txgear(), *command, "--server", f"127.0.0.1:{world.server.port}", "--", handle])
            assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1), done
            assert b"'txgear jobs', 'dead' and 'kept' list" in done.stderr
            assert b"\x1b" not in done.stderr


def test_workload(world: World, tmp_path: Path) -> None:
    assert succeeded(world.look("workload", world.handles["order 5"])).stdout == b"text of 5"
    assert succeeded(world.look("workload", world.handles["hostile"])).stdout == BINARY
    assert world.json("workload", world.handles["order 2"]) == {
        "handle": world.handles["order 2"],
        "size": 3,
        "shown": 3,
        "workload": "two",
    }
    path = tmp_path / "workload"
    succeeded(world.look("workload", world.handles["hostile"], "--output", str(path)))
    assert path.read_bytes() == BINARY
    done = world.look("workload", world.handles["order 1"])
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"its workload is not kept" in done.stderr
    for words in (("--json", "--output", str(path)), ("--output", "/no/such/folder/file")):
        assert world.look("workload", world.handles["order 5"], *words).returncode in (1, 2)


def test_result(world: World, tmp_path: Path) -> None:
    assert succeeded(world.look("result", world.handles["order 1"])).stdout == b"part sent"
    assert (
        succeeded(world.look("result", "--unique", "order 1", "--function", "mail.send")).stdout
        == b"part sent"
    )
    assert world.json("result", "--unique", "order 1") == {
        "handle": world.handles["order 1"],
        "outcome": "done",
        "size": 9,
        "data_size": 5,
        "text": "part sent",
    }
    failed: tuple[tuple[tuple[str, ...], bytes], ...]
    failed = (
        ((world.handles["order 2"],), b"550 no such user"),
        ((world.handles["order 8"],), b"cancelled"),
        ((world.handles["order 3"],), b"it is running: --wait"),
        (("--unique", "order 1", "--function", "mail.bulk"), b"there is no job with the unique order 1"),
    )
    for words, said in failed:
        done = world.look("result", *words)
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
        assert said in done.stderr
    wrong: tuple[tuple[str, ...], ...]
    wrong = ((), ("H:1", "--unique", "x"), ("H:1", "--function", "x"), ("H:1", "--wait", "-1"))
    for mistake in wrong:
        assert world.look("result", *mistake).returncode == 2


def test_a_file_is_replaced_when_all_is_there(world: World, tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_bytes(b"before")
    assert world.look("result", world.handles["order 3"], "--output", str(path)).returncode == 1
    assert path.read_bytes() == b"before"
    succeeded(world.look("result", world.handles["order 1"], "--output", str(path)))
    assert path.read_bytes() == b"part sent"
    assert list(tmp_path.iterdir()) == [path]
    assert (
        succeeded(world.look("result", world.handles["order 1"], "--output", "/dev/stdout")).stdout
        == b"part sent"
    )


def test_info_and_store(world: World) -> None:
    found = world.json("info")
    with world.server.connect() as peer:
        assert peer.ask("version").split()[1].decode() == found["version"]
    assert (found["prefix"], found["jobs"], found["functions"], found["store"]["available"]) == (
        "H:vm",
        6,
        3,
        True,
    )
    assert found["server"] == f"127.0.0.1:{world.server.port}"
    assert {port["place"] for port in found["ports"]} >= {f"127.0.0.1:{world.server.port}"}
    assert f"jobs\t{found['jobs']}\n" in world.look("info").stdout.decode()
    store = world.json("store")
    assert (store["state"], store["jobs"]) == ("ok", 6)
    assert store["report"]["settings"]["synchronous"] == "FULL"
    assert "report.settings.synchronous\tFULL\n" in world.look("store").stdout.decode()
