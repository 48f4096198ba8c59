"""Tests of L{txgear.web.events.readers}."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, NamedTuple

from msgspec.json import decode

from txgear.broker.rights import SEE
from txgear.security.access import Access, Rule
from txgear.server import turns
from txgear.test.support.broker import FakeRights
from txgear.test.support.clusterview import FakeCluster, server_shown
from txgear.test.support.web import WebPeer, WebTestCase
from txgear.web.events import readers
from txgear.web.events.livestate import MOST_GONE
from txgear.web.events.readers import BUSY_SECONDS, MOST_READERS, TICK_SECONDS
from txgear.web.events.sse import QUIET_SECONDS


class Event(NamedTuple):
    """One event, as a reader has it."""

    name: str
    data: Any
    id: str | None = None


def parsed(stream: bytes) -> list[Event]:
    """What a browser makes of a stream; a comment is an event without a name."""
    found = []
    for block in stream.split(b"\n\n")[:-1]:
        fields: dict[bytes, bytes] = dict(line.split(b": ", 1) for line in block.split(b"\n") if line != b":")
        data = decode(fields[b"data"]) if b"data" in fields else None
        identity = fields[b"id"].decode() if b"id" in fields else None
        found.append(Event(fields.get(b"event", b"").decode(), data, identity))
    return found


class CountedRights(FakeRights):
    """
    Rights to everything.

    @ivar asked: the functions that were asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bytes] = []

    def may(self, act: str, function: bytes = b"") -> bool:
        if function:
            self.asked.append(function)
        return True


class EventsTestCase(WebTestCase):
    parts = (readers,)

    def read(self, target: str = "/events", headers: Mapping[str, str] | None = None) -> WebPeer:
        """Begin to read events."""
        reader = self.connect()
        reader.ask_web("GET", target, {**self.headers, **(headers or {})})
        return reader

    def begun(self, reader: WebPeer) -> list[Event]:
        """The first events of a stream."""
        head, _, body = reader.heard().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
        self.assertIn(b"content-type: text/event-stream", head.lower())
        return parsed(unchunked(body))

    def more(self, reader: WebPeer) -> list[Event]:
        """Those that have come since."""
        return parsed(unchunked(reader.heard()))

    def pass_ticks(self, number: int = 1) -> None:
        self.clock.pump([TICK_SECONDS] * number)

    def submit(self, name: bytes = b"f") -> None:
        self.broker.submit(None, name, b"", b"x", self.server.seconds(), background=True)


def unchunked(body: bytes) -> bytes:
    """What was sent in chunks, joined."""
    joined = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        joined += rest[:length]
        body = rest[length + 2 :]
    return joined


class EventsTests(EventsTestCase):
    def test_the_state_and_then_what_changes(self) -> None:
        self.submit()
        reader = self.read()
        (state,) = self.begun(reader)
        self.assertEqual(state.name, "state")
        self.assertEqual([row["function"] for row in state.data["functions"]], ["f"])
        self.assertEqual(state.data["server"][0]["jobs"], 1)
        self.pass_ticks(8)
        self.assertEqual(self.more(reader), [])
        self.submit(b"g")
        self.submit(b"g")
        self.pass_ticks(3)
        (change,) = self.more(reader)
        self.assertEqual((change.name, len(change.data["functions"])), ("change", 1))
        self.assertEqual(change.data["functions"][0]["queued"], 2)
        self.assertNotEqual(change.id, state.id)

    def test_four_a_second_at_the_most(self) -> None:
        reader = self.read()
        self.begun(reader)
        for _ in range(104):
            self.submit()
            self.clock.advance(0.01)
        self.assertEqual(len(self.more(reader)), 4)

    def test_what_is_gone(self) -> None:
        self.submit()
        reader = self.read()
        self.begun(reader)
        self.broker.operations.purge(b"f", self.server.seconds())
        self.server.end_turn()
        self.pass_ticks()
        (change,) = self.more(reader)
        self.assertEqual(change.data["gone"], {"functions": ["f"]})
        self.assertNotIn("functions", change.data)

    def test_topics_and_functions_that_are_wanted(self) -> None:
        for name in (b"mail.send", b"mail.read", b"img"):
            self.submit(name)
        (state,) = self.begun(self.read("/events?topics=functions&function=mail.*"))
        self.assertEqual(
            sorted(row["function"] for row in state.data["functions"]), ["mail.read", "mail.send"]
        )
        self.assertNotIn("server", state.data)

    def test_the_servers_of_a_cluster(self) -> None:
        """For who may see settings; and nobody is told that there are none."""
        (state,) = self.begun(self.read())
        self.assertNotIn("cluster", state.data)
        (state,) = self.begun(self.read("/events?topics=cluster"))
        self.assertEqual((state.name, [*state.data]), ("state", ["time"]))
        self.server.cluster = FakeCluster(server_shown("a", 1, own=True))
        self.pass_ticks()
        reader = self.read("/events?topics=cluster")
        (state,) = self.begun(reader)
        self.assertEqual([row["name"] for row in state.data["cluster"]], ["a"])
        self.server.cluster.shown.append(server_shown("b", 2))
        self.pass_ticks()
        (change,) = self.more(reader)
        self.assertEqual([row["name"] for row in change.data["cluster"]], ["b"])
        del self.server.cluster.shown[1]
        self.pass_ticks()
        (change,) = self.more(reader)
        self.assertEqual(change.data["gone"], {"cluster": [f"{2:032x}"]})
        self.allow("http", "see", "metrics")
        (state,) = self.begun(self.read())
        self.assertNotIn("cluster", state.data)

    def test_what_makes_no_sense(self) -> None:
        for query in ("topics=nonsense", "job=H:1&topics=server", "x=1", "last_event_id=%00&function=%ff"):
            answer = self.ask("GET", f"/events?{query}")
            self.assertEqual(answer.status, 400, query)

    def test_a_quiet_line(self) -> None:
        reader = self.read()
        self.begun(reader)
        self.pass_ticks(int(QUIET_SECONDS / TICK_SECONDS) + 1)
        self.assertEqual(self.more(reader), [Event("", None)])

    def test_there_is_a_timer_only_while_somebody_reads(self) -> None:
        before = len(self.clock.getDelayedCalls())
        reader = self.read()
        reader.leave()
        self.assertEqual(len(self.clock.getDelayedCalls()), before)

    def test_so_many_readers(self) -> None:
        readers = [self.read() for _ in range(MOST_READERS)]
        answer = self.ask("GET", "/events")
        self.assertEqual((answer.status, answer.code), (503, "too_many_readers"))
        self.assertEqual(answer.headers["Retry-After"], str(BUSY_SECONDS))
        readers.pop().leave()
        self.begun(self.read())

    def test_who_follows_a_job_is_a_reader(self) -> None:
        job = self.broker.submit(None, b"f", b"", b"x", self.server.seconds(), background=True)
        path = f"/events?job={job.handle.decode()}"
        readers = [self.read(path) for _ in range(MOST_READERS)]
        for target in ("/events", path):
            self.assertEqual(self.ask("GET", target).code, "too_many_readers")
        readers.pop().leave()
        self.begun(self.read())

    def test_the_end_of_the_server(self) -> None:
        reader = self.read()
        self.begun(reader)
        self.web.stop()
        self.submit()
        self.pass_ticks(4)
        self.assertEqual(self.more(reader), [])


class ManyReadersTests(EventsTestCase):
    def test_others_are_served_between_them(self) -> None:
        self.server.patient = turns.cooperator(self.clock, count().__next__, 0)
        readers = [self.read() for _ in range(5)]
        for reader in readers:
            self.begun(reader)
        self.submit()
        told: list[int] = []

        def look() -> None:
            told.append(sum(bool(self.more(reader)) for reader in readers))
            if sum(told) < len(readers):
                self.clock.callLater(0, look)

        self.clock.callLater(TICK_SECONDS, look)
        self.pass_ticks()
        self.assertEqual(told, [0, 1, 1, 1, 1, 1])

    def test_what_is_told_to_several_is_made_once(self) -> None:
        rights = CountedRights()
        readers = [self.read() for _ in range(2)] + [self.read("/events?function=f")]
        for reader, peer in zip(readers, self.broker.peers, strict=True):
            self.begun(reader)
            peer.rights = rights
        self.pass_ticks()
        for reader in readers:
            self.more(reader)
        rights.asked.clear()
        self.submit()
        self.pass_ticks()
        first, second, third = map(self.more, readers)
        self.assertEqual(first, second)
        self.assertEqual([row["function"] for row in third[0].data["functions"]], ["f"])
        self.assertEqual(rights.asked, [b"f", b"f"])

    def test_those_with_other_rights_are_told_other_things(self) -> None:
        readers = [self.read() for _ in range(2)]
        for reader, peer in zip(readers, self.broker.peers, strict=True):
            self.begun(reader)
            peer.rights = FakeRights((SEE, b"img")) if reader is readers[1] else FakeRights()
        self.pass_ticks()
        for reader in readers:
            self.more(reader)
        for name in (b"img", b"mail"):
            self.submit(name)
        self.pass_ticks()
        told = [[row["function"] for row in self.more(reader)[0].data["functions"]] for reader in readers]
        self.assertEqual(told, [["img", "mail"], ["mail"]])

    def test_all_leave_while_they_are_told(self) -> None:
        before = len(self.clock.getDelayedCalls())
        self.server.patient = turns.cooperator(self.clock, count().__next__, 0)
        readers = [self.read() for _ in range(3)]
        for reader in readers:
            self.clock.callLater(TICK_SECONDS, reader.leave)
        self.pass_ticks()
        self.assertEqual(len(self.clock.getDelayedCalls()), before)
        self.begun(self.read())
        self.pass_ticks()


class SlowReaderTests(EventsTestCase):
    def test_one_that_does_not_read_is_told_later_what_is_so_by_then(self) -> None:
        reader = self.read()
        self.begun(reader)
        reader.transport.stuck = True
        name = b"f" * 8000
        for _ in range(50):
            self.submit(name)
            self.pass_ticks()
        told = self.more(reader)
        self.assertLess(len(told), 12)
        self.assertEqual(self.more(reader), [])
        self.pass_ticks()
        (change,) = self.more(reader)
        self.assertEqual((change.name, change.data["functions"][0]["queued"]), ("change", 50))


class ResumeTests(EventsTestCase):
    def again(self, last: str) -> Event:
        (first,) = self.begun(self.read(headers={"Last-Event-ID": last}))
        return first

    def test_going_on(self) -> None:
        reader = self.read()
        (state,) = self.begun(reader)
        reader.leave()
        self.submit()
        first = self.again(state.id or "")
        self.assertEqual((first.name, first.data["functions"][0]["queued"]), ("change", 1))

    def test_an_id_that_means_nothing(self) -> None:
        (state,) = self.begun(self.read())
        life, _, look = (state.id or "").partition("-")
        for last in ("nonsense", f"1-{look}", f"{life}-{int(look) + 5}", f"{life}-", "-1"):
            self.assertEqual(self.again(last).name, "state", last)

    def test_away_for_so_long_that_nobody_knows_what_has_gone(self) -> None:
        stays, reader = self.read(), self.read()
        self.begun(stays)
        (state,) = self.begun(reader)
        reader.leave()
        for half in (b"one", b"two"):
            names = [b"%s %d" % (half, number) for number in range(MOST_GONE // 2 + 1)]
            for change in (self.broker.operations.create_function, self.broker.operations.drop_function):
                for name in names:
                    change(name)
                self.pass_ticks()
        self.assertEqual(self.again(state.id or "").name, "state")

    def test_the_id_in_the_query(self) -> None:
        reader = self.read()
        (state,) = self.begun(reader)
        self.submit()
        self.pass_ticks()
        (first,) = self.begun(self.read(f"/events?last_event_id={state.id}"))
        self.assertEqual(first.name, "change")


class RightsTests(EventsTestCase):
    def test_only_what_one_may_see(self) -> None:
        for name in (b"mail.send", b"img"):
            self.submit(name)
        self.allow("http", "see", functions=("mail.*",))
        reader = self.read()
        (state,) = self.begun(reader)
        self.assertEqual([row["function"] for row in state.data["functions"]], ["mail.send"])
        self.assertEqual(state.data["server"], [])
        self.submit(b"img")
        self.pass_ticks()
        self.assertEqual(self.more(reader), [])

    def test_the_rules_change_meanwhile(self) -> None:
        for name in (b"mail.send", b"img"):
            self.submit(name)
        self.allow("http", "see", functions=("mail.*",))
        reader = self.read()
        self.begun(reader)
        (identity,) = self.server.guard.access.identities.values()
        rules = [Rule(True, ("me",), frozenset({"http"})), Rule(True, ("me",), frozenset({"see"}), ("img",))]
        self.server.guard.replace(Access([identity], rules))
        self.pass_ticks(2)
        (state,) = self.more(reader)
        self.assertEqual(state.name, "state")
        self.assertEqual([row["function"] for row in state.data["functions"]], ["img"])
