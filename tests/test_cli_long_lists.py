"""Lists of a hundred thousand jobs and a thousand functions, and the memory that they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from climemory import MOST_MEMORY, memory
from processes import PATIENCE, Server, run, txgear
from wirepeer import P, WirePeer, packet

pytestmark = pytest.mark.txgear_only

JOBS: Final = 100_000
FUNCTIONS: Final = 1_000
AT_ONCE: Final = 1_000

CONFIG: Final = """
[[function]]
name = "*"
retries = 0
dead = "1h"
results = "1h"
"""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("crowded")
    config = folder / "txgear.toml"
    config.write_text(CONFIG)
    server = Server(folder, "--config", str(config))
    submit(server)
    yield server
    assert server.calm(), server.log()
    server.stop()


def submit(server: Server) -> None:
    """Have jobs that wait, of each function as many."""
    with WirePeer(server.port, timeout=PATIENCE) as client:
        for first in range(0, JOBS, AT_ONCE):
            client.send_raw(
                b"".join(
                    packet(
                        P.SUBMIT_JOB_BG, b"function.%04d" % (job % FUNCTIONS), b"order %d" % job, b"x" * 50
                    )
                    for job in range(first, first + AT_ONCE)
                )
            )
            for _ in range(AT_ONCE):
                client.read()


def end_all(server: Server, answer: Callable[[bytes], bytes]) -> None:
    """Have all jobs run by one worker."""
    with WirePeer(server.port, timeout=PATIENCE) as worker:
        worker.can_do(*(b"function.%04d" % number for number in range(FUNCTIONS)))
        for _ in range(JOBS // AT_ONCE):
            worker.send_raw(packet(P.GRAB_JOB) * AT_ONCE)
            handles = [worker.read().args[0] for _ in range(AT_ONCE)]
            worker.send_raw(b"".join(map(answer, handles)))
        worker.sync()


def check(server: Server, words: list[str], rows: int, out: Path) -> list[str]:
    """Run a list; its rows, after its memory and how many they are have been looked at."""
    taken = memory(server, words, out)
    with open(out, "rb") as file:
        lines = [next(file).decode() for _ in range(min(rows, 3) + ("--json" not in words))]
        count = len(lines) + sum(1 for _ in file)
    assert count == rows + ("--json" not in words), words
    assert taken < MOST_MEMORY, (words, taken)
    return lines


def each_way(server: Server, name: str, sort: str, rows: int, out: Path) -> None:
    """A list in its beginning, whole, as JSON, and in another order."""
    check(server, [name], 100, out)
    check(server, [name, "--all"], rows, out)
    check(server, [name, "--all", "--json"], rows, out)
    check(server, [name, "--all", "--sort", sort], rows, out)
    # The list goes on when head has seen enough.
    place = f"127.0.0.1:{server.port}"
    done = run(["bash", "-c", f"{' '.join(txgear())} {name} --all --server {place} | head -n 2"], timeout=60)
    assert (len(done.stdout.splitlines()), done.stderr) == (2, b"")


def test_waiting_jobs_and_functions(crowded: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    each_way(crowded, "jobs", "-unique", JOBS, out)
    each_way(crowded, "status", "-oldest", FUNCTIONS, out)
    # Of text the largest.
    _, first, *_ = check(crowded, ["jobs", "--sort", "-unique", "--columns", "unique"], 100, out)
    assert first == "order 99999\n"
    _, total = check(crowded, ["status", "--total", "--limit", "1"], 2, out)[-2:]
    assert total.split("\t")[:2] == [f"{FUNCTIONS} functions", str(JOBS)]
    _, *found = check(
        crowded, ["jobs", "--where", "unique=order *999", "--all", "--columns", "unique"], 100, out
    )
    assert found[0] == "order 999\n"


def test_dead_and_kept_jobs(crowded: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    end_all(crowded, lambda handle: packet(P.WORK_FAIL, handle))
    each_way(crowded, "dead", "-age", JOBS, out)
    _, first = check(crowded, ["dead", "--groups", "--all"], FUNCTIONS, out)[:2]
    assert first.split("\t")[:3] == ["function.0000", "fail", str(JOBS // FUNCTIONS)]
    with crowded.connect(PATIENCE) as peer:
        assert peer.ask("forget dead function=*").startswith(b"OK")
    submit(crowded)
    end_all(crowded, lambda handle: packet(P.WORK_COMPLETE, handle, b"done"))
    each_way(crowded, "kept", "-left", JOBS, out)
