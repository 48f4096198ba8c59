"""`txgear bench`: what it measures, and that nothing of it is left at a server."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from processes import Programs, Server, Servers, free_port, run, txgear, wait_until
from startup import assert_one_line
from txgear.security.tokens import Token, new_token
from wirepeer import P, WirePeer

Done = subprocess.CompletedProcess[bytes]

pytestmark = pytest.mark.txgear_only


def bench(server: Server | int, *words: str) -> Done:
    port = server if isinstance(server, int) else server.port
    return run([*txgear(), "bench", "--server", f"127.0.0.1:{port}", *words], timeout=60)


def objects(done: Done) -> list[dict[str, Any]]:
    assert done.returncode == 0, done
    return [json.loads(line) for line in done.stdout.splitlines()]


def traces(server: Server) -> list[str]:
    """What the server still knows of any measurement."""
    with WirePeer(server.port) as peer:
        asked = ("status", "workers", "jobs", "dead", "kept", "connections")
        return [row for command in asked for row in peer.ask_list(command) if "txgear-bench" in row]


def test_foreground(server: Server) -> None:
    """Each size is a measurement; the figures fit each other, and the server has done so many."""
    before = newest(server)
    one, two = objects(
        bench(server, "--json", "--duration", "500ms", "--size", "10,4K", "--concurrency", "3")
    )
    assert [(one["size"], two["size"]), one["concurrency"], one["background"]] == [(10, 4096), 3, False]
    for found in (one, two):
        assert found["jobs"] > 20
        assert 0.5 <= found["seconds"] < 3
        assert found["rate"] == pytest.approx(found["jobs"] / found["seconds"], rel=0.01)
        done = found["latencies"]["done"]
        assert 0 < done["least"] <= done["p50"] <= done["p90"] <= done["p99"] <= done["most"]
        assert sum(each["jobs"] for each in done["histogram"]) == found["jobs"]
    # One more for each, which is not counted.
    assert newest(server) - before - 1 == one["jobs"] + two["jobs"] + 2
    assert traces(server) == []


def newest(server: Server) -> int:
    """The number of a job that is submitted now: the server counts all."""
    with WirePeer(server.port) as peer:
        handle = peer.submit(b"counted", type=P.SUBMIT_JOB_BG)
        assert peer.ask(b"cancel job " + handle) == b"OK\r\n"
    return int(handle.rpartition(b":")[2])


def test_background_leaves_nothing(start_server: Servers, tmp_path: Path) -> None:
    """Also where the server's policy keeps results."""
    config = tmp_path / "txgear.toml"
    config.write_text('[[function]]\nname = "*"\nresults = "1h"\nretries = 2\n')
    server = start_server("--config", str(config))
    [found] = objects(bench(server, "-b", "--json", "--duration", "300ms"))
    assert found["jobs"] > 10
    latencies = found["latencies"]
    assert latencies["accepted"]["p50"] <= latencies["begun"]["p50"]
    wait_until(lambda: traces(server) == [])


def test_text(server: Server) -> None:
    """Elsewhere than on a terminal it is plain, with a histogram."""
    done = bench(server, "--duration", "300ms")
    assert done.returncode == 0, done
    facts, histogram = done.stdout.decode().split("\n\n")
    names = [line.split("\t")[0] for line in facts.splitlines()]
    assert names == ["server", "jobs", "completed", "rate", "done"]
    head, *rows = histogram.splitlines()
    assert head == "done within\tjobs"
    jobs = int(facts.split("completed\t")[1].split()[0])
    assert sum(int(row.split("\t")[1]) for row in rows) == jobs
    assert max(row.count("#") for row in rows) == 40


def test_several_servers(server: Server, start_server: Servers) -> None:
    """One after the other, each with what it did."""
    other = start_server()
    found = objects(bench(server, "--server", f"127.0.0.1:{other.port}", "--json", "--duration", "200ms"))
    assert [each["server"] for each in found] == [f"127.0.0.1:{port}" for port in (server.port, other.port)]
    assert traces(server) + traces(other) == []


@pytest.mark.parametrize("background", [False, True])
def test_interrupted(server: Server, programs: Programs, background: bool) -> None:
    """It says what it has measured so far, ends with 130, and leaves nothing."""
    words = ["--duration", "60s", "--json", *(["-b"] if background else [])]
    before = newest(server)
    program = programs.start(
        [*txgear(), "bench", "--server", f"127.0.0.1:{server.port}", *words], name="bench"
    )
    wait_until(lambda: newest(server) > before + 200, what="jobs that it measures")
    program.signal(signal.SIGINT)
    assert program.wait() == 130
    found = json.loads(program.stdout)
    assert found["interrupted"]
    assert found["jobs"] > 0
    assert traces(server) == []


def test_no_server() -> None:
    done = bench(free_port())
    assert_one_line(done, "Connection refused")
    assert done.returncode == 3


@pytest.mark.parametrize("allowed", ["submit", "work"])
def test_refused_by_rules(start_server: Servers, tmp_path: Path, allowed: str) -> None:
    """Whichever of the two it may not do; with a token that may do both it measures."""
    token = new_token()
    config = tmp_path / "txgear.toml"
    config.write_text(
        f'[[identity]]\nname = "ops"\ntokens = ["{Token.of(token.encode())}"]\n'
        '[[access]]\nidentities = ["ops"]\nallow = ["all"]\n'
        f'[[access]]\nidentities = ["nobody"]\nallow = ["{allowed}"]\n'
    )
    server = start_server("--config", str(config))
    done = bench(server, "--timeout", "1", "--duration", "200ms")
    assert (done.returncode, done.stdout) == (4, b"")
    secret = tmp_path / "token"
    secret.write_text(f"{token}\n")
    [found] = objects(bench(server, "--json", "--duration", "200ms", "--token-file", str(secret)))
    assert found["jobs"] > 0


def test_mistakes(server: Server) -> None:
    """Each is one line and status 2."""
    for words in (
        ("--size", "many"),
        ("--size", "1G"),
        ("--size", ""),
        ("--duration", "0"),
        ("--duration", "2h"),
        ("--concurrency", "0"),
        ("word",),
    ):
        done = bench(server, *words)
        assert_one_line(done)
        assert (done.returncode, done.stdout) == (2, b""), words


def test_a_reader_that_has_seen_enough(server: Server) -> None:
    """Into `head` it ends quietly."""
    command = " ".join([*txgear(), "bench", "--server", f"127.0.0.1:{server.port}"])
    done = run(
        ["bash", "-c", f"{command} --duration 200ms --size 1,2,3,4,5 --json | head -n 1 | wc -l"], timeout=60
    )
    assert (done.stdout.strip(), b"Traceback" in done.stderr) == (b"1", False)
    assert traces(server) == []


@pytest.mark.parametrize("words", [(), ("-b", "--concurrency", "1")])
def test_a_server_that_is_killed(start_server: Servers, programs: Programs, words: tuple[str, ...]) -> None:
    """It ends with an error, soon."""
    server = start_server()
    command = [
        *txgear(),
        "bench",
        "--server",
        f"127.0.0.1:{server.port}",
        "--duration",
        "60s",
        "--timeout",
        "1",
    ]
    program = programs.start([*command, *words], name="bench")
    wait_until(lambda: any("txgear-bench" in row[0] for row in server.list("status")))
    time.sleep(0.3)
    server.kill()
    assert program.wait() in (1, 3)
    assert b"may be left" in program.stderr
