"""Workers that are cut off from their server, and back within the grace and beyond it: each job ends once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from linebetween import LineBetween
from processes import PATIENCE, Program, Programs, Server, Servers, programs_folder, wait_until
from wirepeer import P, WirePeer

pytestmark = pytest.mark.txgear_only


class World:
    """A server, a worker at the other end of a line, and a client that is connected without it."""

    def __init__(self, server: Server, programs: Programs, function: str, folder: Path) -> None:
        self.server = server
        self._programs = programs
        self.function = function
        self.folder = folder
        self.workers: list[Program] = []
        self.line = LineBetween(server.port)
        self.worker = self.start(self.line.port)
        server.wait_for_workers(function)
        self.client: WirePeer = server.connect()

    def start(self, port: int) -> Program:
        script = programs_folder() / "away_worker.py"
        words = [str(port), self.function, str(self.folder)]
        self.workers.append(self._programs.start([sys.executable, str(script), *words], name="worker"))
        return self.workers[-1]

    def submit(self, workload: bytes, kind: P = P.SUBMIT_JOB) -> str:
        """Submit a job, and wait until the worker has begun it."""
        handle = self.client.submit(self.function.encode(), workload, type=kind).decode()
        self.wait_for(self.worker, f"began {handle} 1")
        return handle

    def let_end(self, name: str) -> None:
        """Let the jobs end that wait for this file."""
        beside = self.folder / f"{name}.new"
        beside.write_text(f"result of {name}")
        beside.rename(self.folder / name)

    def result(self) -> bytes:
        """What the client gets for the job that ends next."""
        packet = self.client.read(PATIENCE)
        assert packet.type == P.WORK_COMPLETE, packet
        return packet.args[1]

    def wait_for(self, worker: Program, line: str) -> None:
        wait_until(lambda: line in worker.stdout.decode().splitlines(), what=line)

    def wait_for_log(self, text: str) -> None:
        wait_until(lambda: text in self.worker.stderr.decode(), what=text)

    def begun(self) -> list[str]:
        """What the workers have begun, in all."""
        lines = [line for worker in self.workers for line in worker.stdout.decode().splitlines()]
        return [line for line in lines if line.startswith("began")]


@pytest.fixture
def world(
    start_server: Servers,
    server: Server,
    programs: Programs,
    function: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[World]:
    """By default at a server that others use as well, and that has the usual grace."""
    options: list[str] | None = getattr(request, "param", None)
    if options is not None:
        (tmp_path / "policies.toml").write_text('[[function]]\nname = "*"\nresults = "1d"\n')
        words = [option.format(folder=tmp_path) for option in options]
        server = start_server(*words, store=f"sqlite:///{tmp_path / 'store'}")
    world = World(server, programs, function, tmp_path)
    yield world
    for worker in world.workers:
        worker.kill()
    world.line.close()


def test_it_goes_on(world: World) -> None:
    """One job ends while the worker is cut off, the other when it is back."""
    first, second = world.submit(b"one"), world.submit(b"two")
    world.line.cut()
    world.wait_for_log("2 jobs of")
    world.let_end("one")
    assert world.server.status(world.function) == (2, 2, 0)
    world.line.mend()
    assert world.result() == b"result of one"
    world.wait_for_log("takes 2 of 2 jobs from before")
    world.let_end("two")
    assert world.result() == b"result of two"
    assert world.begun() == [f"began {first} 1", f"began {second} 1"]


def test_the_result_is_lost_on_the_way(world: World) -> None:
    """It is sent again, over the next connection."""
    handle = world.submit(b"one")
    world.line.loses_requests = True
    world.let_end("one")
    wait_until(lambda: b"result of one" in world.line.lost, what="the result is lost")
    world.line.cut()
    world.wait_for_log("1 job of")
    world.line.mend()
    assert world.result() == b"result of one"
    assert world.begun() == [f"began {handle} 1"]


def test_the_answer_is_lost_on_the_way(world: World) -> None:
    """The worker offers the result again; the server has got it already, and the client gets it once."""
    handle = world.submit(b"one")
    world.line.loses_answers = True
    world.let_end("one")
    assert world.result() == b"result of one"
    world.line.cut()
    world.wait_for_log("1 job of")
    world.line.mend()
    world.wait_for_log("takes 0 of 1 job from before")
    again = world.submit(b"one")
    assert world.result() == b"result of one"
    assert world.begun() == [f"began {handle} 1", f"began {again} 1"]


@pytest.mark.parametrize("world", [["--worker-grace=1"]], indirect=True)
def test_beyond_the_grace(world: World) -> None:
    """Another worker gets it; the first one gives it up, and what it says of it then counts for nothing."""
    handle = world.submit(b"one")
    world.line.cut()
    other = world.start(world.server.port)
    world.wait_for(other, f"began {handle} 2")
    world.wait_for(world.worker, f"gone {handle} the server was away for too long")
    world.line.mend()
    world.server.wait_for_workers(world.function, 2)
    world.let_end("one")
    assert world.result() == b"result of one"
    assert world.begun() == [f"began {handle} 1", f"began {handle} 2"]


@pytest.mark.parametrize("world", [["--worker-grace=60"]], indirect=True)
def test_the_server_is_killed(world: World, start_server: Servers) -> None:
    """Another one starts with its store, and the worker has the job again, under the same attempt."""
    handle = world.submit(b"one", P.SUBMIT_JOB_BG)
    world.server.kill()
    world.wait_for_log("1 job of")
    store = f"sqlite:///{world.folder / 'store'}"
    second = start_server("--worker-grace=60", port=world.server.port, store=store)
    world.wait_for_log("takes 1 of 1 job from before")
    wait_until(lambda: second.status(world.function) == (1, 1, 1), what="the worker with its job")
    world.let_end("one")
    wait_until(lambda: second.status(world.function) == (0, 0, 1), what="the job has ended")
    assert world.begun() == [f"began {handle} 1"]


@pytest.mark.parametrize("world", [["--worker-grace=60", "--config={folder}/policies.toml"]], indirect=True)
def test_the_server_is_killed_that_has_a_result_already(world: World, start_server: Servers) -> None:
    """
    The worker does not know that, and claims both jobs; of the one that has ended the next server has to ask
    its store. The other one is the worker's all the same.
    """
    handles = [world.submit(workload, P.SUBMIT_JOB_BG) for workload in (b"one", b"two")]
    world.line.loses_answers = True
    world.let_end("one")
    wait_until(lambda: world.server.status(world.function) == (1, 1, 1), what="one job has ended")
    # When this one is stored, the result is.
    world.client.submit(f"{world.function} other".encode(), b"", type=P.SUBMIT_JOB_BG)
    world.line.cut()
    world.wait_for_log("2 jobs of")
    world.server.kill()
    store = f"sqlite:///{world.folder / 'store'}"
    config = f"--config={world.folder / 'policies.toml'}"
    second = start_server("--worker-grace=60", config, port=world.server.port, store=store)
    world.line.mend()
    world.wait_for_log("takes 1 of 2 jobs from before")
    world.let_end("two")
    wait_until(lambda: second.status(world.function) == (0, 0, 1), what="the other job has ended")
    assert world.begun() == [f"began {handle} 1" for handle in handles]


def test_stopped_while_it_is_cut_off(world: World) -> None:
    """It is told to end, and delivers what it has before it does."""
    world.submit(b"one")
    world.line.cut()
    world.wait_for_log("1 job of")
    world.worker.signal(signal.SIGTERM)
    world.let_end("one")
    world.line.mend()
    assert world.result() == b"result of one"
    assert world.worker.wait() == 0
