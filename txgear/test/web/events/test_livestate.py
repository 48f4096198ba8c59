"""Tests of L{txgear.web.events.livestate}."""

from __future__ import annotations

from typing import Any

from msgspec.json import decode
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Peer
from txgear.broker.operators.bulkacts import KEPT_SECONDS
from txgear.errors import StoreUnavailable
from txgear.server import tasks
from txgear.server.jobserver import JobServer
from txgear.test.support.clusterview import STATUS, FakeCluster, server_shown
from txgear.test.support.journal import AWAY, FaultyStore
from txgear.test.support.server import DurableServerFixture, ServerFixture
from txgear.web.events.livestate import MOST_FOLLOWED, MOST_GONE, LiveState, Thing, Topic


class Letters(Topic):
    """Things with nothing to them."""

    def note(self, names: str, look: int) -> None:
        for name in names:
            self.put(name, look, lambda: {"name": name}, look)  # noqa: B023


def keys(things: list[Thing]) -> str:
    """What they are known by; in capitals where they are gone."""
    return "".join(str(thing.key).upper() if thing.row is None else str(thing.key) for thing in things)


class TopicTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.topic = Letters()

    def test_what_has_changed_since_a_look(self) -> None:
        self.topic.note("abc", 1)
        self.topic.note("b", 2)
        self.topic.note("d", 3)
        told = [keys(self.topic.changed(look)) for look in (-1, 0, 1, 2, 3)]
        self.assertEqual(told, ["acbd", "acbd", "bd", "d", ""])

    def test_what_is_as_it_was_has_not_changed(self) -> None:
        self.topic.put("a", (1, 2), lambda: {"n": 1}, 1)
        self.topic.put("a", (1, 2), lambda: self.fail("nothing is made of it"), 2)
        self.assertEqual(keys(self.topic.changed(1)), "")

    def test_what_is_gone_is_told_and_may_come_again(self) -> None:
        self.topic.note("ab", 1)
        self.topic.drop("a", 2)
        self.assertEqual((keys(self.topic.changed(1)), keys(self.topic.changed(0))), ("A", "bA"))
        self.topic.put("a", 1, dict, 3)
        self.assertEqual(keys(self.topic.changed(1)), "a")

    def test_of_what_is_gone_the_last_are_known(self) -> None:
        for number in range(MOST_GONE + 1):
            self.topic.put(number, 0, lambda: 0, number)
        for number in range(MOST_GONE + 1):
            self.topic.drop(number, MOST_GONE + 1 + number)
        half = MOST_GONE // 2
        self.assertEqual(len(list(self.topic)), half + 1)
        self.assertEqual(self.topic.horizon, MOST_GONE + half)
        self.assertEqual([thing.key for thing in self.topic], list(range(half, MOST_GONE + 1)))


def rows(state: LiveState, topic: str, look: int) -> list[Any]:
    """What has changed after a look, as readers have it."""
    return [None if thing.row is None else decode(thing.row) for thing in state.topics[topic].changed(look)]


class LiveStateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.use(self.fixture.server)

    def use(self, server: JobServer) -> None:
        self.server = server
        self.broker = server.broker
        self.state = LiveState(server)
        self.state.find_changes()

    def submit(self, name: bytes = b"f") -> None:
        self.broker.submit(None, name, b"", b"x", self.server.seconds(), background=True)

    def test_an_empty_server(self) -> None:
        self.assertEqual(rows(self.state, "functions", 0), [])
        server = {"connections": 0, "functions": 0, "jobs": 0, "running": 0, "ended": 0}
        self.assertEqual(rows(self.state, "server", 0), [{**server, "draining": False, "store": None}])

    def test_functions_that_change_and_no_others(self) -> None:
        for name in (b"f", b"g"):
            self.submit(name)
        self.state.find_changes()
        self.submit(b"g")
        self.state.find_changes()
        (row,) = rows(self.state, "functions", 2)
        self.assertEqual((row["function"], row["queued"], row["submitted"]), ("g", 2, 2))
        self.state.find_changes()
        self.assertEqual(rows(self.state, "functions", 3), [])

    def test_a_function_that_is_forgotten_is_gone(self) -> None:
        self.submit()
        self.state.find_changes()
        self.broker.operations.purge(b"f", self.server.seconds())
        self.broker.expire(self.server.seconds())
        self.state.find_changes()
        (gone,) = self.state.topics["functions"].changed(2)
        self.assertEqual((gone.name, gone.row), ("f", None))

    def test_no_more_functions_than_there_may_be(self) -> None:
        for number in range(MOST_FOLLOWED + 1):
            self.submit(b"f%d" % number)
        self.state.find_changes()
        self.assertEqual(len(rows(self.state, "functions", 0)), MOST_FOLLOWED)

    def test_tasks(self) -> None:
        self.submit()
        peer = Peer(1, "127.0.0.1")
        task = tasks.start(self.server, peer, "cancel", "jobs", {"function": b"*"})
        self.state.find_changes()
        (row,) = rows(self.state, "tasks", 0)
        self.assertEqual((row["id"], row["done"]), (task.number, 0))
        self.broker.expire(self.server.seconds())
        self.state.find_changes()
        (row,) = rows(self.state, "tasks", 2)
        self.assertEqual((row["state"], row["done"]), ("done", 1))
        self.fixture.clock.advance(KEPT_SECONDS + 1)
        self.state.find_changes()
        (gone,) = self.state.topics["tasks"].changed(3)
        self.assertEqual((gone.name, gone.row), (str(task.number), None))

    def test_the_servers_of_a_cluster(self) -> None:
        def changes() -> list[Any]:
            self.state.find_changes()
            return rows(self.state, "cluster", self.state.look - 1)

        self.assertEqual(changes(), [])
        view = self.server.cluster = FakeCluster(server_shown("a", 1, own=True), server_shown("b", 2, 3))
        a, b = changes()
        self.assertEqual((a["name"], a["own"], a["state"], a["queued"]), ("a", True, "alive", 12))
        self.assertEqual((b["id"], b["parts"]), (view.shown[1].key, [2, 3]))
        # That goes by the clock.
        view.shown[1] = server_shown("b", 2, 3, seconds=1.5, status=STATUS._replace(uptime=90065, trust=5.0))
        self.assertEqual(changes(), [])
        view.shown[1] = server_shown("b", 2, 3, seconds=4.5)
        (row,) = changes()
        self.assertEqual((row["name"], row["state"]), ("b", "silent"))
        # Another has its parts.
        view.shown = [server_shown("a", 1, 2, 3, own=True)]
        gone, took = changes()
        self.assertEqual((gone, took["id"], took["parts"]), (None, a["id"], [1, 2, 3]))
        self.server.cluster = None
        self.assertEqual(changes(), [None])

    def test_the_store_that_does_not_answer(self) -> None:
        store = FaultyStore()
        fixture = DurableServerFixture(store)
        self.use(fixture.server)
        self.assertEqual(rows(self.state, "server", 0)[0]["store"], "ok")
        for call in ("write", "open"):
            store.fail(call, StoreUnavailable("the disk is away"), times=9)
        self.submit()
        self.server.end_turn()
        fixture.thread.run_all()
        fixture.clock.advance(1.0)
        fixture.thread.run_all()
        self.state.find_changes()
        self.assertEqual(rows(self.state, "server", 1)[0]["store"], AWAY.decode())
