"""Servers of a cluster that are restarted one after the other, under load."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from databases import Database
from processes import Program, Programs, Server, Servers, programs_folder, wait_until
from wirepeer import P

pytestmark = pytest.mark.txgear_only


def lines(program: Program, word: str) -> list[list[str]]:
    """The lines of this kind that it has printed, without that word; one that it prints just now is none."""
    printed = (line.split() for line in program.stdout.decode().split("\n")[:-1])
    return [rest for first, *rest in printed if first == word]


@dataclass
class Cluster:
    """Three servers over one database."""

    start_server: Servers
    programs: Programs
    url: str
    servers: list[Server]

    @classmethod
    def start(cls, start_server: Servers, programs: Programs, url: str, count: int = 3) -> Cluster:
        made = cls(start_server, programs, url, [])
        for number in range(count):
            made.servers.append(made.serve(number))
        return made

    def serve(self, number: int, port: int | None = None, *options: str) -> Server:
        named = f"--cluster-name={number}"
        return self.start_server("--cluster", named, *options, port=port, store=self.url)

    def restart(self, number: int) -> None:
        """End one in order and start it again."""
        server = self.servers[number]
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        self.servers[number] = self.serve(number, server.port)

    @property
    def places(self) -> str:
        return ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    @staticmethod
    def has_taken(client: Program, count: int) -> bool:
        return len(lines(client, "taken")) >= count

    def peer(self, kind: str, *words: str) -> Program:
        script = programs_folder() / f"rolling_{kind}.py"
        return self.programs.start([sys.executable, str(script), self.places, *words], name=kind)


def test_no_submit_is_refused_and_no_attempt_lost(
    start_server: Servers, programs: Programs, postgres: Database
) -> None:
    cluster = Cluster.start(start_server, programs, postgres.url)
    worker = cluster.peer("worker", "f")
    for server in cluster.servers:
        server.wait_for_workers("f")
    clients = [cluster.peer("client", "f", name) for name in ("a", "b")]
    for number in range(3):
        wanted = len(lines(clients[0], "taken")) + 50
        wait_until(partial(cluster.has_taken, clients[0], wanted), what="load")
        cluster.restart(number)
        cluster.servers[number].wait_for_workers("f")
    for client in clients:
        client.signal(signal.SIGTERM)
    wait_until(lambda: all(lines(client, "ended") == [[]] for client in clients), what="the clients' ends")
    assert [lines(client, "failed") for client in clients] == [[], []]
    taken = {workload for client in clients for workload, _ in lines(client, "taken")}
    wait_until(lambda: taken <= {workload for (workload,) in lines(worker, "done")}, what="all to be done")
    assert set(map(tuple, lines(worker, "began"))) == {(workload, "1") for workload in taken}
    assert Counter(workload for (workload,) in lines(worker, "done")) == Counter(taken)


def test_a_job_that_outlasts_its_server(
    start_server: Servers, programs: Programs, postgres: Database
) -> None:
    """The server waits for it only for so long. Its worker brings the result to the one that has it next."""
    cluster = Cluster.start(start_server, programs, postgres.url, 2)
    worker = cluster.peer("worker", "f")
    first, second = cluster.servers
    for server in cluster.servers:
        server.wait_for_workers("f")
    client = first.connect()
    client.submit(b"f", b"long9", type=P.SUBMIT_JOB_BG)
    wait_until(lambda: lines(worker, "began"), what="the job to begin")
    client.submit(b"f", b"another", type=P.SUBMIT_JOB_BG)
    wait_until(lambda: lines(worker, "done") == [["another"]], what="the other job")
    client.close()
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    second.wait_for_running("f")
    wait_until(lambda: ["long9"] in lines(worker, "done"), what="the job to end")
    wait_until(lambda: second.unused("f") or second.status("f") == (0, 0, 1), what="its result")
    assert lines(worker, "began") == [["long9", "1"], ["another", "1"]]


def test_one_that_hands_over_in_place(
    start_server: Servers, programs: Programs, postgres: Database, tmp_path: Path
) -> None:
    """The next one at its ports joins with an empty part, and it or another one takes what the first had."""
    place = tmp_path / "handover"
    place.mkdir(mode=0o700)
    cluster = Cluster(start_server, programs, postgres.url, [])
    option = f"--handover={place}/socket"
    cluster.servers = [cluster.serve(0, None, option), cluster.serve(1)]
    worker = cluster.peer("worker", "f")
    client = cluster.peer("client", "f", "a")
    wait_until(partial(cluster.has_taken, client, 50), what="load")
    first = cluster.servers[0]
    cluster.servers[0] = cluster.serve(0, first.port, option)
    assert first.wait() == 0
    wait_until(partial(cluster.has_taken, client, len(lines(client, "taken")) + 50), what="more")
    client.signal(signal.SIGTERM)
    wait_until(lambda: lines(client, "ended") == [[]], what="the client's end")
    assert lines(client, "failed") == []
    taken = {workload for workload, _ in lines(client, "taken")}
    wait_until(lambda: taken <= {workload for (workload,) in lines(worker, "done")}, what="all to be done")
    assert all(attempt == "1" for _, attempt in lines(worker, "began"))
    assert len(lines(worker, "done")) == len(taken)
