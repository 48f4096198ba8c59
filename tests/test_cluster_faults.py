"""What can happen to three servers and the database that they share: nothing is lost, and nothing is done or
written by a server whose part another one has. ``make failover`` has all of it, many times.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

import machines
from clusterfaults import (
    Fault,
    clock_stepped,
    machine_lost,
    node_cut_off,
    node_vanished,
    primary_killed,
    server_held_up,
)
from clusterproof import Run, prove
from clusterworld import GaleraWorld, PatroniWorld, World
from galera import Galera
from needs import lacks
from patronicluster import Cluster
from processes import run
from steppedclock import PythonClock

pytestmark = pytest.mark.txgear_only

Tell = Callable[[str], None]

#: Seconds for a program that makes a cluster, and has it fail once.
PATIENCE: Final = 240.0


def passes(tell: Tell, world: World, clock: PythonClock | None, faults: Sequence[Fault]) -> None:
    run = Run(world.name, ", ".join(fault.__name__ for fault in faults))
    prove(world, clock, faults, run)
    tell(f"{run.database}: {run.fault}: {dict(run.counts)}, elsewhere after {run.elsewhere} s")
    assert not run.problems, "\n".join(f"{kind}: {what}" for kind, what in run.problems)
    assert run.times == len(faults)


def test_patroni(tell: Tell, patroni: Cluster, tmp_path: Path) -> None:
    """A server's clock is set; its line to the database is late; the primary is lost."""
    clock = PythonClock(tmp_path)
    world = PatroniWorld(tmp_path, patroni, clock.environment)
    passes(tell, world, clock, [clock_stepped, server_held_up, primary_killed])


def test_galera(tell: Tell, galera: Galera, tmp_path: Path) -> None:
    """A node is lost with the server that is at it."""
    passes(tell, GaleraWorld(tmp_path, galera), None, [machine_lost])


def test_machines(tell: Tell) -> None:
    """A node is gone, and no connection ends of that: the program has a network of its own for it. Where it
    may have none, the node is cut off from the others.
    """
    lacks(Galera.missing())
    fault = node_cut_off if machines.missing() else node_vanished
    program = Path(__file__).with_name("clusterproof.py")
    options = ["--database", GaleraWorld.name, "--fault", fault.__name__, "--times", "1"]
    done = run([sys.executable, program, *options], timeout=PATIENCE)
    said = (done.stdout + done.stderr).decode(errors="backslashreplace")
    assert done.returncode == 0, said
    tell(said)
