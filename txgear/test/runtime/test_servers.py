"""Tests of L{txgear.runtime.servers}."""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps
from typing import Any

from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.protocol.constants import (
    ERROR,
    FUNCTION_LOADS,
    LOGGED_IN,
    NOOP,
    OPTION_RES,
)
from txgear.runtime.scaling import Load
from txgear.runtime.servers import (
    ASK_SECONDS,
    MOST_ASKED,
    MOST_UNTOLD,
    STALE_SECONDS,
    Servers,
    SupervisorConnection,
    read_loads,
)
from txgear.test.support.client import ASKED, ScriptedServer
from txgear.test.support.clock import ClockTestCase
from txgear.worker.hello import Identity, key_at

KEY, CHILD = "0123456789abcdef" * 2, "f" * 32

EXTENSION = (OPTION_RES, b"txgear-1")
TOKEN = "txg_k3x9q2ab_Zm9yIGV4YW1wbGUgb25seSwgbm90IGEgcmVhbCBvbmU"


def said(events: Sequence[LogEvent]) -> list[str]:
    """What the supervisor's log has, of what was logged."""
    return [formatEvent(event) for event in events if event["log_namespace"] == Servers.log.namespace]


def loads(*found: tuple[int, float | None, int]) -> bytes:
    """An answer."""
    return dumps([Load(*each)._asdict() for each in found]).encode()


class ReadTests(SynchronousTestCase):
    def test_loads(self) -> None:
        self.assertEqual(
            read_loads(loads((3, 12.5, 1), (0, None, 0)), 2), [Load(3, 12.5, 1), Load(0, None, 0)]
        )
        self.assertEqual(read_loads(b"[]", 0), [])
        more = b'[{"waiting": 1, "oldest": 2, "running": 0, "more": "x"}]'
        self.assertEqual(read_loads(more, 1), [Load(1, 2.0, 0)])

    def test_no_loads(self) -> None:
        one: dict[str, Any] = {"waiting": 1, "oldest": 1.0, "running": 0}
        nonsense: tuple[Any, ...] = (
            {},
            [],
            [one, one],
            [1],
            [{}],
            [{**one, "waiting": None}],
            [{**one, "waiting": "1"}],
            [{**one, "waiting": True}],
            [{**one, "waiting": -1}],
            [{**one, "waiting": 2**53}],
            [{**one, "running": None}],
            [{**one, "oldest": "old"}],
            [{**one, "oldest": float("nan")}],
            [{**one, "oldest": float("inf")}],
        )
        for found in nonsense:
            with self.assertRaises(ValueError):
                read_loads(dumps(found).encode(), 1)
        for text in (b"", b"\xff", b"[" * 100_000):
            with self.assertRaises(ValueError):
                read_loads(text, 1)


class ServersTestCase(ClockTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.functions = [b"resize", b"mail"]
        self.one, self.two = ScriptedServer(self.clock, "one"), ScriptedServer(self.clock, "two")

    def start(self, *endpoints: ScriptedServer, **options: Any) -> Servers:
        identity = Identity(KEY, "images", "", "", 1.5)
        servers = Servers(
            self.clock, endpoints, identity, lambda: self.functions, random=lambda: 1.0, **options
        )

        def stop() -> None:
            stopped = servers.stop()
            self.clock.advance(0)
            self.successResultOf(stopped)

        self.addCleanup(stop)
        servers.start()
        return servers

    def welcome(self, server: ScriptedServer) -> list[tuple[Any, ...]]:
        """
        A server lets the supervisor in.

        @return: what it is sent then.
        """
        server.line.send(*EXTENSION)
        self.assertEqual(server.line.welcome(), [ASKED])
        return server.line.packets()

    def answer(self, server: ScriptedServer, *found: tuple[int, float | None, int]) -> None:
        server.line.send(FUNCTION_LOADS, loads(*found))

    def gone(self, key: str, server: str, reason: bytes) -> tuple[str, bytes, bytes]:
        return "WORKER_GONE", key_at(key, server).encode(), reason


class AskTests(ServersTestCase):
    QUESTION = ("FUNCTION_LOAD", b"resize\0mail")

    def test_it_says_who_it_is_and_asks(self) -> None:
        servers = self.start(self.one)
        self.assertEqual(self.welcome(self.one), [self.QUESTION])
        (hello,) = self.one.line.hellos
        found = {name: hello[name] for name in ("key", "id", "runtime", "group", "jobs")}
        expected = {"key": key_at(KEY, "one"), "id": "images", "runtime": "", "group": "", "jobs": []}
        self.assertEqual(found, expected)
        self.assertIsNone(servers.load(self.functions))
        self.answer(self.one, (3, 12.5, 1), (1, 2.0, 0))
        self.assertEqual(servers.load(self.functions), Load(4, 12.5, 1))
        self.assertEqual(servers.load([b"mail"]), Load(1, 2.0, 0))
        self.assertIsNone(servers.load([b"other"]))

    def test_each_second(self) -> None:
        """One question at a time."""
        servers = self.start(self.one)
        self.welcome(self.one)
        self.clock.advance(ASK_SECONDS)
        self.assertEqual(self.one.line.packets(), [])
        self.answer(self.one, (3, 12.5, 1), (0, None, 0))
        self.assertEqual(self.one.line.packets(), [])
        self.clock.advance(ASK_SECONDS)
        self.assertEqual(self.one.line.packets(), [self.QUESTION])
        self.answer(self.one, (0, None, 1), (0, None, 0))
        self.assertEqual(servers.load(self.functions), Load(0, None, 1))

    def test_other_functions(self) -> None:
        """What was known of those that are not asked about any more is forgotten."""
        servers = self.start(self.one)
        self.welcome(self.one)
        self.answer(self.one, (3, 12.5, 1), (1, 1.0, 0))
        self.functions = [b"mail", b"new"]
        self.clock.advance(ASK_SECONDS)
        self.assertEqual(self.one.line.packets(), [("FUNCTION_LOAD", b"mail\0new")])
        self.assertIsNone(servers.load([b"resize"]))
        self.assertEqual(servers.load([b"mail"]), Load(1, 1.0, 0))

    def test_no_functions(self) -> None:
        self.functions = []
        self.start(self.one)
        self.assertEqual(self.welcome(self.one), [])
        self.clock.advance(ASK_SECONDS)
        self.assertEqual(self.one.line.packets(), [])

    def test_many_functions(self) -> None:
        """They are asked about in several packets, in one write; the answers come in order."""
        self.functions = [b"f%d" % number for number in range(MOST_ASKED + 1)]
        servers = self.start(self.one)
        first, second = self.welcome(self.one)
        self.assertEqual(first[1].split(b"\0"), self.functions[:-1])
        self.assertEqual(second, ("FUNCTION_LOAD", b"f1000"))
        self.answer(self.one, *[(1, 1.0, 0)] * MOST_ASKED)
        self.clock.advance(ASK_SECONDS)
        self.assertEqual(self.one.line.packets(), [])
        self.answer(self.one, (2, 7.0, 0))
        self.assertEqual(servers.load(self.functions), Load(MOST_ASKED + 2, 7.0, 0))
        self.clock.advance(ASK_SECONDS)
        self.assertEqual(len(self.one.line.packets()), 2)

    def test_several_servers(self) -> None:
        """Those that can be asked count."""
        servers = self.start(self.one, self.two)
        for server in (self.one, self.two):
            self.welcome(server)
        self.answer(self.one, (3, 12.5, 1), (0, None, 0))
        self.assertEqual(servers.load(self.functions), Load(3, 12.5, 1))
        self.answer(self.two, (1, 30.0, 1), (0, None, 0))
        self.assertEqual(servers.load(self.functions), Load(4, 30.0, 2))
        self.two.line.lose()
        self.assertEqual(servers.load(self.functions), Load(3, 12.5, 1))

    def test_a_server_that_is_stuck(self) -> None:
        """What it has said last does not count for ever; when it leaves a question unanswered it is left."""
        servers = self.start(self.one)
        self.welcome(self.one)
        self.answer(self.one, (3, 12.5, 1), (0, None, 0))
        self.clock.advance(STALE_SECONDS)
        self.assertIsNotNone(servers.load(self.functions))
        self.clock.advance(0.1)
        self.assertIsNone(servers.load(self.functions))
        with capturedLogs() as events:
            for _ in range(60):
                self.clock.advance(1)
                self.one.line.send(NOOP)
        self.assertIn("left a request unanswered for 60 seconds", formatEvent(events[0]))

    def test_an_answer_that_makes_no_sense(self) -> None:
        servers = self.start(self.one)
        self.welcome(self.one)
        with capturedLogs() as events:
            self.answer(self.one, (3, 12.5, 1))
            self.clock.advance(0)
        self.assertIn("answers what makes no sense: a list of 2 loads is wanted", formatEvent(events[0]))
        self.assertIsNone(servers.load(self.functions))

    def test_an_answer_to_no_question(self) -> None:
        self.functions = []
        self.start(self.one)
        self.welcome(self.one)
        self.answer(self.one, (3, 12.5, 1))
        self.assertFalse(self.one.line.ended)

    def test_a_refusal(self) -> None:
        """It is told once, and the next question is asked."""
        self.start(self.one)
        self.welcome(self.one)
        with capturedLogs() as events:
            for _ in range(3):
                self.one.line.send(ERROR, b"QUEUE_ERROR", b"not now")
                self.clock.advance(ASK_SECONDS)
                self.assertEqual(self.one.line.packets(), [self.QUESTION])
        self.assertEqual(said(events), ["one refuses what the supervisor sends: QUEUE_ERROR: not now"])


class OtherServersTests(ServersTestCase):
    def test_of_another_kind(self) -> None:
        """It is asked nothing, and told nothing; that is said once."""
        servers = self.start(self.one)
        with capturedLogs() as events:
            for _ in range(2):
                self.one.line.send(ERROR, b"UNKNOWN_OPTION", b"no")
                self.assertEqual(self.one.line.welcome(), [ASKED])
                servers.gone(CHILD, "killed")
                self.clock.advance(ASK_SECONDS)
                self.assertEqual(self.one.line.packets(), [])
                self.one.line.lose()
                self.clock.advance(2)
        self.assertEqual(said(events), ["one does not tell how many jobs wait: no group grows for its sake"])
        self.assertIsNone(servers.load(self.functions))

    def test_one_that_is_away(self) -> None:
        """It is a problem as long as it is."""
        self.one.refusing = True
        with capturedLogs() as events:
            servers = self.start(self.one)
            self.clock.advance(2)
        (line,) = said(events)
        self.assertIn("the supervisor cannot reach one: Connection was refused", line)
        self.assertEqual((list(servers.problems), servers.reached), (["one"], {"one": False}))
        self.one.refusing = False
        self.clock.advance(10)
        self.welcome(self.one)
        self.assertEqual((servers.problems, servers.reached), ({}, {"one": True}))
        self.one.line.lose()
        self.assertEqual(servers.reached, {"one": False})

    def test_a_token(self) -> None:
        """It logs in before it says anything."""
        self.start(self.one, token=TOKEN)
        self.assertEqual(self.one.line.packets(), [ASKED])
        self.one.line.send(*EXTENSION)
        self.assertEqual(self.one.line.packets(), [("LOGIN", TOKEN.encode())])
        self.one.line.send(LOGGED_IN, b"images")
        self.assertEqual(self.one.line.welcome(), [])
        self.assertEqual(self.one.line.packets(), [AskTests.QUESTION])

    def test_a_name(self) -> None:
        """It is the first that is said, whether or not the server is one of txgear's."""
        self.start(self.one, name="images-supervisor")
        named = ("SET_CLIENT_ID", b"images-supervisor")
        self.assertEqual(self.one.line.welcome(), [named, ASKED])

    def test_arguments(self) -> None:
        identity = Identity(KEY, "images", "", "", 1.5)
        wrong: list[tuple[list[str], str | None]] = [([], None), (["no server"], None), (["a"], "none")]
        for servers, token in wrong:
            with self.assertRaises(ValueError):
                Servers(self.clock, servers, identity, list, token=token)


class GoneTests(ServersTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.functions = []

    def test_all_are_told(self) -> None:
        """Each by the key that it knows."""
        servers = self.start(self.one, self.two)
        for server in (self.one, self.two):
            self.welcome(server)
        servers.gone(CHILD, "it took 1.2 GB of memory é")
        for server, name in ((self.one, "one"), (self.two, "two")):
            self.assertEqual(
                server.line.packets(), [self.gone(CHILD, name, "it took 1.2 GB of memory é".encode())]
            )

    def test_one_that_is_away(self) -> None:
        """It is told when it is back, once."""
        servers = self.start(self.one)
        servers.gone(CHILD, "first")
        self.assertEqual(self.welcome(self.one), [self.gone(CHILD, "one", b"first")])
        self.one.line.lose()
        servers.gone(KEY, "second")
        self.clock.advance(2)
        self.assertEqual(self.welcome(self.one), [self.gone(KEY, "one", b"second")])

    def test_one_that_is_away_for_long(self) -> None:
        """The last ones count."""
        servers = self.start(self.one)
        keys = [f"{number:032x}" for number in range(MOST_UNTOLD + 5)]
        for key in keys:
            servers.gone(key, "killed")
        told = self.welcome(self.one)
        # Where they differ, a comparison of all at once takes a minute to say so.
        for said, key in zip(told, keys[5:], strict=True):
            self.assertEqual(said, self.gone(key, "one", b"killed"))

    def test_a_stop_before_the_start(self) -> None:
        """There is nothing to end."""
        servers = Servers(self.clock, [self.one], Identity(KEY, "images", "", "", 1.5), list)
        self.successResultOf(servers.stop())

    def test_the_end(self) -> None:
        """What was said last leaves before the connection ends."""
        servers = self.start(self.one)
        self.welcome(self.one)
        servers.gone(CHILD, "stuck")
        stopped = servers.stop()
        self.assertEqual(self.one.line.packets(), [self.gone(CHILD, "one", b"stuck")])
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertIsInstance(self.one.line.protocol, SupervisorConnection)
