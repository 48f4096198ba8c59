"""
The last state of what readers of events follow, and at which look each part of it was found changed.

There is no queue for a reader: whoever is behind, by a moment or by an hour, is told what has changed since
then, each thing once and as it is now.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final

from msgspec import Raw
from msgspec.json import encode

from txgear.broker.model import Function, Peer
from txgear.broker.operators import inspection
from txgear.broker.operators.bulkacts import BulkAct
from txgear.broker.rights import METRICS, SEE, SETTINGS, may
from txgear.protocol.textlines import text
from txgear.server import clusterstate, tasks

if TYPE_CHECKING:
    from txgear.broker.broker import Broker
    from txgear.server.clusterview import ServerShown
    from txgear.server.jobserver import JobServer

MOST_FOLLOWED: Final = 1000
"""Functions whose changes are events, those that became known first: to look at all of them takes 2 ms."""
MOST_GONE: Final = 1000
"""Things of one topic that are gone and are still known, so that a reader who was away is told."""


class Thing:
    """
    One thing of a topic.

    @ivar key: what it is known by.
    @ivar facts: what is compared to find out whether it has changed.
    @ivar look: the look at which it changed last.
    @ivar row: what readers are shown of it, as JSON; C{None} once it is gone.
    """

    __slots__ = ("facts", "key", "look", "row")

    def __init__(self, key: Hashable, facts: object, look: int, row: Raw | None) -> None:
        self.key = key
        self.facts = facts
        self.look = look
        self.row = row

    @property
    def name(self) -> str:
        """What it is known by, as its row has it."""
        if isinstance(self.key, BulkAct):
            return str(self.key.number)
        return text(self.key) if isinstance(self.key, bytes) else str(self.key)


class Topic:
    """
    Things of one kind.

    @cvar is_told_empty: whether readers are told that there are none.
    @ivar horizon: the look up to which it is not known any more what has gone.
    """

    is_told_empty: ClassVar[bool] = True

    def __init__(self) -> None:
        self._things: dict[Hashable, Thing] = {}  # what changed last is last
        self._gone = 0
        self.horizon = 0

    def __iter__(self) -> Iterator[Thing]:
        return iter(self._things.values())

    def put(self, key: Hashable, facts: object, row: Callable[[], Any], look: int) -> None:
        """
        A thing is there.

        @param facts: what tells whether it has changed.
        @param row: makes what readers are shown; called only if it has.
        """
        thing = self._things.get(key)
        if thing is not None:
            if thing.row is not None and thing.facts == facts:
                return
            del self._things[key]
            self._gone -= thing.row is None
        self._things[key] = Thing(key, facts, look, Raw(encode(row())))

    def drop(self, key: Hashable, look: int) -> None:
        """A thing that was there is gone."""
        del self._things[key]
        self._things[key] = Thing(key, None, look, None)
        self._gone += 1
        if self._gone > MOST_GONE:
            self._forget_gone()

    def _forget_gone(self) -> None:
        """Forget half of those that are gone, the earliest."""
        gone = [thing for thing in self if thing.row is None]
        for thing in gone[: MOST_GONE // 2]:
            del self._things[thing.key]
            self.horizon = thing.look
        self._gone -= MOST_GONE // 2

    def changed(self, since: int) -> list[Thing]:
        """What has changed after a look, the earliest first."""
        found: list[Thing] = []
        for thing in reversed(self._things.values()):
            if thing.look <= since:
                break
            found.append(thing)
        found.reverse()
        return found

    def find_changes(self, server: JobServer, look: int) -> None:
        """Find out what has changed."""
        raise NotImplementedError

    def sees(self, peer: Peer, thing: Thing) -> bool:
        """Whether a peer may know of a thing."""
        raise NotImplementedError


class Functions(Topic):
    """The functions, by their names: how many jobs and workers each has."""

    def find_changes(self, server: JobServer, look: int) -> None:
        """Part of L{Topic}."""
        broker = server.broker
        there = broker.functions.by_name
        for name in [thing.key for thing in self if thing.row is not None and thing.key not in there]:
            self.drop(name, look)
        for function in islice(there.values(), MOST_FOLLOWED):
            facts = _facts(broker, function)
            self.put(function.name, facts, partial(_function, broker, function, facts), look)

    def sees(self, peer: Peer, thing: Thing) -> bool:
        """Part of L{Topic}."""
        assert isinstance(thing.key, bytes)
        return may(peer, SEE, thing.key)


COUNTED: Final = ("submitted", "completed", "failed", "retried")
"""What has been counted of a function since the server started."""
NOT_COUNTED: Final = (None, None, None, None)
"""Of a function that is counted with others."""


def _facts(broker: Broker, function: Function) -> tuple[Any, ...]:
    """All that L{_function} shows, as it lies; the last four are those of C{COUNTED}."""
    lanes, counts = function.lanes, function.counts
    counted: tuple[int | None, ...] = NOT_COUNTED
    if counts is not broker.statistics.other:
        counted = counts.submitted, counts.completed, counts.failures, counts.retried
    return (
        *(lanes.ready, lanes.paged, lanes.held),
        function.waiting,
        function.running,
        len(function.workers),
        function.kept,
        broker.archive.ended.dead(function) if function.kept else 0,
        function.paused,
        function.max_queued,
        *counted,
    )


def _function(broker: Broker, function: Function, facts: tuple[Any, ...]) -> dict[str, Any]:
    found = inspection.function(broker, function, 0.0)
    # It goes by the clock, and is not told again and again.
    del found["oldest"]
    return {**found, **dict(zip(COUNTED, facts[-4:], strict=True))}


class Server(Topic):
    """The server as a whole, which is one thing."""

    def find_changes(self, server: JobServer, look: int) -> None:
        """Part of L{Topic}."""
        facts = _server(server)
        self.put("server", facts, facts.copy, look)

    def sees(self, peer: Peer, thing: Thing) -> bool:
        """Part of L{Topic}."""
        return may(peer, METRICS)


def _server(server: JobServer) -> dict[str, Any]:
    broker, journal = server.broker, server.journal
    return {
        "connections": len(broker.peers),
        "functions": len(broker.functions.by_name),
        "jobs": len(broker.table),
        "running": broker.dispatcher.running,
        "ended": len(broker.archive),
        "draining": broker.dispatcher.draining,
        "store": None if journal is None else journal.unavailable or "ok",
    }


class Tasks(Topic):
    """What is done to all jobs that match a filter: how far that is."""

    def find_changes(self, server: JobServer, look: int) -> None:
        """Part of L{Topic}."""
        there = dict.fromkeys(server.bulk_acts.all(server.seconds()))
        for task in [thing.key for thing in self if thing.row is not None and thing.key not in there]:
            self.drop(task, look)
        for task in there:
            self.put(task, task.changed, partial(tasks.shown, server, task), look)

    def sees(self, peer: Peer, thing: Thing) -> bool:
        """Part of L{Topic}."""
        assert isinstance(thing.key, BulkAct)
        return tasks.sees(peer, thing.key)


class Cluster(Topic):
    """The servers of a cluster: which there are, whether they live, and what each has."""

    # Most servers are in none.
    is_told_empty = False

    def find_changes(self, server: JobServer, look: int) -> None:
        """Part of L{Topic}."""
        view = server.cluster
        there = {} if view is None else {each.key: each for each in view.servers()}
        for key in [thing.key for thing in self if thing.row is not None and thing.key not in there]:
            self.drop(key, look)
        for key, shown in there.items():
            row = _cluster_server(shown)
            self.put(key, row, row.copy, look)

    def sees(self, peer: Peer, thing: Thing) -> bool:
        """Part of L{Topic}."""
        return may(peer, SETTINGS)


def _cluster_server(shown: ServerShown) -> dict[str, Any]:
    """Of what L{txgear.server.clusterstate} shows that which does not go by the clock."""
    said = shown.status
    return {
        "id": shown.key,
        "name": shown.name,
        "address": shown.address or None,
        "own": shown.is_ours,
        "state": clusterstate.state_of(shown),
        "parts": [part.part for part in shown.parts],
        "version": said.version,
        "queued": said.queued,
        "running": said.running,
        "workers": said.workers,
        "draining": said.draining,
    }


class LiveState:
    """
    All topics, and how far they are.

    @ivar topics: by their names.
    @ivar life: tells this life of the server from others.
    @ivar look: counts the looks.
    """

    def __init__(self, server: JobServer) -> None:
        self._server = server
        self.topics: dict[str, Topic] = {
            "server": Server(),
            "functions": Functions(),
            "tasks": Tasks(),
            "cluster": Cluster(),
        }
        self.life = f"{int(server.wall_clock() * 1000):x}"
        self.look = 0

    def find_changes(self) -> None:
        """Find out what has changed since the last look."""
        self.look += 1
        for topic in self.topics.values():
            topic.find_changes(self._server, self.look)
