"""What can happen to servers that share a database, and to that database. Each function does one thing to a
world under load, waits until all of it is well again, and tells how long it took.
"""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple, TypeVar

from clusterbook import OTHER, Book
from clusterpeers import Load
from clusterworld import NAMES, GaleraWorld, PatroniWorld, World
from databases import Service
from linebetween import LineBetween
from machines import AMONG, APART, OUTSIDE, Machine
from patronicluster import TTL, Member
from processes import PATIENCE, Server, wait_until
from steppedclock import PythonClock

T = TypeVar("T")

#: Seconds for which a server stands still, or is without its database: more than a lease, and a look.
LONGER: Final = 11.0

#: Seconds for which a node is without the others: more than they wait for it.
CUT_OFF: Final = 8.0

#: Seconds until somebody else hands out the jobs of a server that is gone, at the most; a database that
#: fails over meanwhile has its own time besides.
TAKEN_OVER: Final = 25.0
FAILOVER: Final = 60.0

#: Seconds after each step of a clock, which is an hour.
STEP: Final = 2.0
HOUR: Final = 3600

#: What a server says each time that it begins.
READY: Final = b"is ready"


class Trouble(NamedTuple):
    """Where something is to happen.

    :ivar clock: the one that the server ``a`` sees; nothing if that is the machine's.
    """

    world: World
    load: Load
    book: Book
    clock: PythonClock | None


class Times(NamedTuple):
    """How long it took.

    :ivar elsewhere: seconds until the first job of a server that was gone was at a worker elsewhere; nothing
        where none was gone.
    :ivar failover: seconds of these until the database took writes again, where it was to fail over.
    """

    elsewhere: float | None = None
    failover: float = 0.0


def _name() -> str:
    return random.choice(NAMES)


def _begun(server: Server) -> int:
    return server.said().count(READY)


def _machine(service: Service) -> Machine:
    assert service.machine is not None
    return service.machine


def _owners(trouble: Trouble) -> set[tuple[int, bytes]]:
    """Who has had which part so far."""
    return {(each.part, each.owner) for each in trouble.world.owned() if each.owner}


class _Gone:
    """Servers that are about to be gone, with jobs that only workers elsewhere do."""

    def __init__(self, trouble: Trouble, *names: str) -> None:
        self._book = trouble.book
        self._load = trouble.load
        self._names = names
        self._uniques = {name: trouble.load.leave_some(name) for name in names}
        self._numbers = [each for name in names for each in trouble.world.ranges(name)]
        self.at = time.time()

    def elsewhere(self, seconds: float = TAKEN_OVER) -> float:
        """Ask for the same at another server, and wait for the first of their jobs; seconds from when they
        were gone.
        """
        other = next(name for name in NAMES if name not in self._names)
        for name, uniques in self._uniques.items():
            self._load.submit(other, name, uniques)
        found = wait_until(
            lambda: self._book.elsewhere(self._numbers, self._names, self.at),
            seconds,
            what=f"a job of {', '.join(self._names)} at another server",
        )
        assert found is not None
        return found - self.at


# Of servers


def server_killed(trouble: Trouble) -> Times:
    """SIGKILL of a server."""
    name = _name()
    gone = _Gone(trouble, name)
    trouble.world.servers[name].kill()
    elsewhere = gone.elsewhere()
    trouble.world.start(name)
    return Times(elsewhere)


def two_servers_killed(trouble: Trouble) -> Times:
    """SIGKILL of two servers at once."""
    names = random.sample(NAMES, 2)
    gone = _Gone(trouble, *names)
    for name in names:
        trouble.world.servers[name].kill()
    elsewhere = gone.elsewhere()
    for name in names:
        trouble.world.start(name)
    return Times(elsewhere)


def server_frozen(trouble: Trouble) -> Times:
    """SIGSTOP of a server for longer than its lease, and SIGCONT."""
    name = _name()
    server = trouble.world.servers[name]
    gone, before = _Gone(trouble, name), _begun(server)
    server.pause()
    try:
        elsewhere = gone.elsewhere()
        with trouble.load.asking(name):
            time.sleep(max(gone.at + LONGER - time.time(), 0.0))
            server.resume()
            wait_until(lambda: _begun(server) > before, PATIENCE, what="a start anew")
    finally:
        server.resume()
    return Times(elsewhere)


def server_ended(trouble: Trouble) -> Times:
    """SIGTERM to a server."""
    name = _name()
    gone = _Gone(trouble, name)
    server = trouble.world.servers[name]
    server.signal(signal.SIGTERM)
    elsewhere = gone.elsewhere()
    if (status := server.wait(PATIENCE)) != 0:
        trouble.book.wrong(OTHER, f"a server ended with the status {status}")
    trouble.world.start(name)
    return Times(elsewhere)


def clock_stepped(trouble: Trouble) -> Times:
    """A server's clock is set an hour forward, and back again: nobody takes over anything."""
    assert trouble.clock is not None
    owners, refused = _owners(trouble), trouble.book.refused.total()
    for ahead in (HOUR, 0):
        trouble.clock.set(ahead)
        time.sleep(STEP)
        trouble.load.wait_for_kept()
    if _owners(trouble) - owners:
        trouble.book.wrong(OTHER, "a part has another owner as a clock was set")
    if trouble.book.refused.total() != refused:
        trouble.book.wrong(
            OTHER,
            f"a job was refused as a clock was set: {dict(trouble.book.refused)}\n{trouble.world.log()}",
        )
    return Times()


# Between a server and its database


def server_cut_off(trouble: Trouble) -> Times:
    """A server's connections to its database end, and it can make no other, for longer than its lease."""
    return _with_lines(trouble, LineBetween.cut)


def server_held_up(trouble: Trouble) -> Times:
    """What a server and its database send each other arrives later than its lease lasts."""
    return _with_lines(trouble, LineBetween.hold)


def _with_lines(trouble: Trouble, lose: Callable[[LineBetween], None]) -> Times:
    lines = trouble.world.lines
    mend = partial(_each, LineBetween.mend, lines)
    return _without_database(trouble, NAMES[0], partial(_each, lose, lines), mend)


def server_unreachable(trouble: Trouble) -> Times:
    """What a server and its database send each other gets lost, for longer than its lease; no connection
    ends of that.
    """
    machines = [_machine(each) for each in trouble.world.databases()]
    lose = partial(_each, lambda machine: machine.lose(APART), machines)
    return _without_database(trouble, NAMES[1], lose, partial(_each, Machine.find, machines))


def _each(call: Callable[[T], None], things: Iterable[T]) -> None:
    for thing in things:
        call(thing)


def _without_database(
    trouble: Trouble, name: str, lose: Callable[[], None], mend: Callable[[], None]
) -> Times:
    server = trouble.world.servers[name]
    gone, before = _Gone(trouble, name), _begun(server)
    lose()
    elsewhere = gone.elsewhere()
    with trouble.load.asking(name):
        time.sleep(max(gone.at + LONGER - time.time(), 0.0))
        mend()
        wait_until(lambda: _begun(server) > before, 2 * PATIENCE, what="a start anew")
    return Times(elsewhere)


# PostgreSQL under Patroni


def _patroni(trouble: Trouble) -> PatroniWorld:
    assert isinstance(trouble.world, PatroniWorld)
    return trouble.world


def primary_killed(trouble: Trouble) -> Times:
    """SIGKILL of the primary and of its Patroni; the role ends at once, and the standby has it."""
    cluster = _patroni(trouble).cluster
    old, new = cluster.primary, cluster.standby
    began = time.time()
    old.kill()
    cluster.expire()
    wait_until(lambda: new.writes, FAILOVER, what="the other primary")
    failover = time.time() - began
    trouble.load.wait_for_kept()
    # A new copy is there sooner than an old one that has to be wound back.
    shutil.rmtree(old.data)
    old.launch()
    cluster.wait_for_both()
    return Times(failover=failover)


def primary_and_server_killed(trouble: Trouble) -> Times:
    """SIGKILL of the primary, of its Patroni and of a server; the role ends when its time is over."""
    cluster = _patroni(trouble).cluster
    old, new = cluster.primary, cluster.standby
    name = _name()
    gone = _Gone(trouble, name)
    old.kill()
    trouble.world.servers[name].kill()
    wait_until(lambda: new.writes, FAILOVER, what="the other primary")
    failover = time.time() - gone.at
    elsewhere = gone.elsewhere()
    shutil.rmtree(old.data)
    old.launch()
    cluster.wait_for_both()
    trouble.world.start(name)
    return Times(elsewhere, failover)


def primary_ended(trouble: Trouble) -> Times:
    """The primary ends in order, and the standby has its role."""
    cluster = _patroni(trouble).cluster
    old, new = cluster.primary, cluster.standby
    began = time.time()
    old.stop()
    wait_until(lambda: new.writes, FAILOVER, what="the other primary")
    failover = time.time() - began
    trouble.load.wait_for_kept()
    old.launch()
    cluster.wait_for_both()
    return Times(failover=failover)


def primary_frozen(trouble: Trouble) -> Times:
    """The primary and its Patroni stand still until the standby has its role, and go on beside it."""
    cluster = _patroni(trouble).cluster
    old, new = cluster.primary, cluster.standby
    began = time.time()
    old.pause()
    try:
        cluster.expire()
        wait_until(lambda: new.writes, FAILOVER, what="the other primary")
        failover = time.time() - began
        trouble.load.wait_for_kept()
    finally:
        old.resume()
    cluster.wait_for_both()
    return Times(failover=failover)


def switchover(trouble: Trouble) -> Times:
    """The primary and the standby change their roles."""
    cluster = _patroni(trouble).cluster
    new = cluster.standby
    began = time.time()
    cluster.switch_over()
    wait_until(lambda: new.writes, FAILOVER, what="the other primary")
    failover = time.time() - began
    trouble.load.wait_for_kept()
    cluster.wait_for_both()
    return Times(failover=failover)


def standby_killed(trouble: Trouble) -> Times:
    """SIGKILL of the standby and of its Patroni."""
    return _standby_away(trouble, Member.kill)


def standby_ended(trouble: Trouble) -> Times:
    """The standby ends in order."""
    return _standby_away(trouble, Member.stop)


def _standby_away(trouble: Trouble, end: Callable[[Member], None]) -> Times:
    cluster = _patroni(trouble).cluster
    standby = cluster.standby
    end(standby)
    trouble.load.wait_for_kept()
    standby.launch()
    cluster.wait_for_both()
    return Times()


def etcd_lost(trouble: Trouble) -> Times:
    """SIGKILL of etcd, all of it, and its start later than a lease lasts: Patroni has a primary that takes no
    writes meanwhile. Nobody takes over anything; what it takes then is how long it is until it takes writes
    again.
    """
    cluster = _patroni(trouble).cluster
    primary = cluster.primary
    owners = _owners(trouble)
    cluster.etcd.kill()
    wait_until(lambda: not primary.writes, FAILOVER, what="a primary that is none any more")
    time.sleep(LONGER)
    back = time.time()
    cluster.etcd.start()
    wait_until(lambda: any(member.writes for member in cluster.members), FAILOVER, what="a primary")
    failover = time.time() - back
    trouble.load.wait_for_kept()
    cluster.wait_for_both()
    if _owners(trouble) - owners:
        trouble.book.wrong(OTHER, "a part has another owner as etcd was lost")
    return Times(failover=failover)


def etcd_lost_in_failsafe_mode(trouble: Trouble) -> Times:
    """The same, where the members ask each other meanwhile who is primary: nothing is refused."""
    cluster = _patroni(trouble).cluster
    cluster.set_failsafe(True)
    owners, refused = _owners(trouble), trouble.book.refused.total()
    cluster.etcd.kill()
    time.sleep(TTL + LONGER)
    trouble.load.wait_for_kept()
    cluster.etcd.start()
    if _owners(trouble) - owners or trouble.book.refused.total() != refused:
        trouble.book.wrong(OTHER, "etcd was missed")
    cluster.set_failsafe(False)
    cluster.wait_for_both()
    return Times()


def primary_unreachable(trouble: Trouble) -> Times:
    """What the primary sends to the standby and to etcd gets lost, and what they send: servers have it still,
    until it is none any more.
    """
    return _primary_lost(trouble, AMONG)


def primary_vanished(trouble: Trouble) -> Times:
    """What anybody sends to the primary gets lost, and what it sends: no connection ends of that, as none
    does when a machine loses its power.
    """
    return _primary_lost(trouble, AMONG, OUTSIDE, APART)


def _primary_lost(trouble: Trouble, *networks: str) -> Times:
    cluster = _patroni(trouble).cluster
    old, new = cluster.primary, cluster.standby
    began = time.time()
    _machine(old).lose(*networks)
    wait_until(lambda: new.writes, FAILOVER, what="the other primary")
    failover = time.time() - began
    trouble.load.wait_for_kept()
    _machine(old).find()
    cluster.wait_for_both()
    return Times(failover=failover)


def standby_unreachable(trouble: Trouble) -> Times:
    """What the standby sends to the primary and to etcd gets lost, and what they send: commits wait for it
    until it is no standby any more.
    """
    cluster = _patroni(trouble).cluster
    standby = cluster.standby
    began = time.time()
    _machine(standby).lose(AMONG)
    time.sleep(CUT_OFF)
    trouble.load.wait_for_kept()
    failover = time.time() - began
    _machine(standby).find()
    cluster.wait_for_both()
    return Times(failover=failover)


# Galera


def _galera(trouble: Trouble) -> GaleraWorld:
    assert isinstance(trouble.world, GaleraWorld)
    return trouble.world


def node_killed(trouble: Trouble) -> Times:
    """SIGKILL of a node; the server that has used it goes to the next one."""
    cluster = _galera(trouble).cluster
    node = random.choice(cluster.nodes)
    node.kill()
    trouble.load.wait_for_kept()
    node.start()
    cluster.wait_for(len(cluster.nodes))
    return Times()


def machine_lost(trouble: Trouble) -> Times:
    """SIGKILL of a node and of the server that is at it."""
    cluster = _galera(trouble).cluster
    name = _name()
    node = cluster.nodes[NAMES.index(name)]
    gone = _Gone(trouble, name)
    node.kill()
    trouble.world.servers[name].kill()
    elsewhere = gone.elsewhere()
    node.start()
    cluster.wait_for(len(cluster.nodes))
    trouble.world.start(name)
    return Times(elsewhere)


def node_ended(trouble: Trouble) -> Times:
    """A node ends in order."""
    cluster = _galera(trouble).cluster
    node = random.choice(cluster.nodes)
    node.stop()
    trouble.load.wait_for_kept()
    node.launch()
    node.arrive()
    cluster.wait_for(len(cluster.nodes))
    return Times()


def node_cut_off(trouble: Trouble) -> Times:
    """A node is cut off from the others, though not from its server."""
    cluster = _galera(trouble).cluster
    node = random.choice(cluster.nodes)
    node.cut()
    time.sleep(CUT_OFF)
    trouble.load.wait_for_kept()
    node.heal()
    cluster.wait_for(len(cluster.nodes))
    return Times()


def node_unreachable(trouble: Trouble) -> Times:
    """What a node and the others send each other gets lost; its server has it still."""
    return _node_lost(trouble, AMONG)


def node_vanished(trouble: Trouble) -> Times:
    """What anybody sends to a node gets lost, and what it sends: no connection ends of that, as none does
    when a machine loses its power.
    """
    return _node_lost(trouble, AMONG, OUTSIDE, APART)


def _node_lost(trouble: Trouble, *networks: str) -> Times:
    cluster = _galera(trouble).cluster
    node = random.choice(cluster.nodes)
    _machine(node).lose(*networks)
    time.sleep(CUT_OFF)
    trouble.load.wait_for_kept()
    _machine(node).find()
    cluster.wait_for(len(cluster.nodes))
    return Times()


def node_frozen(trouble: Trouble) -> Times:
    """A node stands still, and goes on."""
    cluster = _galera(trouble).cluster
    node = random.choice(cluster.nodes)
    node.pause()
    try:
        trouble.load.wait_for_kept()
    finally:
        node.resume()
    cluster.wait_for(len(cluster.nodes))
    return Times()


Fault = Callable[[Trouble], Times]

SERVERS: Final[tuple[Fault, ...]] = (
    server_killed,
    server_frozen,
    server_ended,
    two_servers_killed,
    server_cut_off,
    server_held_up,
    clock_stepped,
)

#: All that can happen to a world, by its name.
FAULTS: Final[Mapping[str, tuple[Fault, ...]]] = {
    PatroniWorld.name: (
        *SERVERS,
        primary_killed,
        primary_ended,
        primary_frozen,
        switchover,
        standby_killed,
        standby_ended,
        etcd_lost,
        etcd_lost_in_failsafe_mode,
        primary_and_server_killed,
    ),
    GaleraWorld.name: (*SERVERS, machine_lost, node_killed, node_ended, node_cut_off, node_frozen),
}

#: What takes machines besides.
SILENT: Final[Mapping[str, tuple[Fault, ...]]] = {
    PatroniWorld.name: (server_unreachable, primary_unreachable, primary_vanished, standby_unreachable),
    GaleraWorld.name: (server_unreachable, node_unreachable, node_vanished),
}


def happens(fault: Fault, trouble: Trouble) -> Times:
    """Let it happen, with all servers at work before it and after it."""
    trouble.load.wait_for_kept()
    times = fault(trouble)
    trouble.load.wait_for_kept()
    return times
