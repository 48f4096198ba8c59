"""What each server of a cluster shows of all of them: the text command `cluster`, and `txgear cluster`."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Final

import pytest

from databases import Database
from processes import Server, Servers, run, txgear, wait_until
from wirepeer import P

pytestmark = pytest.mark.txgear_only

GONE: Final = 12.0
"""Seconds from the death of a server until no other shows it any more."""


def look(server: Server, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Ask a server."""
    return run([*txgear(), "cluster", *words, "--server", f"127.0.0.1:{server.port}"])


def load(server: Server) -> dict[str, tuple[str, str]]:
    """The jobs that wait and that run at each, by what this one knows."""
    return {row[1]: (row[9], row[10]) for row in server.list("cluster") if row[9] != "-"}


def states(server: Server) -> dict[str, str]:
    """How each of them is."""
    return {row[1]: row[7] for row in server.list("cluster") if row[1] != "-"}


def test_three_servers(start_server: Servers, postgres: Database) -> None:
    """All know of all, and of one that is killed that it is silent, until another has its part."""
    servers = a, b, c = [
        start_server(
            "--cluster",
            f"--cluster-name={name}",
            f"--advertise={name}.example:4730",
            store=postgres.url,
        )
        for name in "abc"
    ]
    client, worker = a.connect(), a.connect()
    worker.can_do(b"f")
    for _ in range(3):
        client.submit(b"f", b"w", b"", P.SUBMIT_JOB_BG)
    worker.grab_soon()
    b.connect().submit(b"f", b"w", b"", P.SUBMIT_JOB_BG)
    expected = {"a": ("2", "1"), "b": ("1", "0"), "c": ("0", "0")}
    wait_until(lambda: [load(server) for server in servers] == [expected] * 3, what="the load of all")
    done = look(c, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["name"], row["address"]) for row in found] == [
        (each, f"{each}.example:4730") for each in "abc"
    ]
    assert [(row["state"], row["own"]) for row in found] == [("alive", each == "c") for each in "abc"]
    assert [(row["queued"], row["running"]) for row in found] == [(2, 1), (1, 0), (0, 0)]
    assert len({row["parts"][-1]["part"] for row in found}) == 3
    a.signal(signal.SIGKILL)
    wait_until(lambda: states(b).get("a") == states(c).get("a") == "silent", 8, what="silence")
    wait_until(lambda: states(b).keys() == states(c).keys() == {"b", "c"}, GONE, what="a takeover")
    wait_until(lambda: sum(int(queued) for queued, _ in load(b).values()) == 4, 8, what="its jobs")
    done = look(c, "--where", "own=yes", "--columns", "name,state")
    assert done.stdout == b"name\tstate\nc\talive\n"
    assert b"the database: one machine: what it loses is lost" in done.stderr


def test_one_that_has_its_store_for_itself(start_server: Servers) -> None:
    done = look(start_server())
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.endswith(b"The server has its store for itself: it was started without --cluster\n")
