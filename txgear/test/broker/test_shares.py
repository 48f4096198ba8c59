"""Tests of L{txgear.broker.shares}, and of what they hold back."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.operators import inspection
from txgear.broker.shares import ALONE, NONE, Part, Share, part_of
from txgear.policies import CLASSIC, Rate
from txgear.test.support.broker import BrokerTestCase


def parts(servers: int, name: bytes = b"f", **settings: Any) -> list[Part]:
    """Those of all servers."""
    policy = CLASSIC.with_settings(settings)
    return [part_of(policy, name, Share(servers, place), 0) for place in range(servers)]


class PartTests(SynchronousTestCase):
    def test_rates(self) -> None:
        for servers, interval, burst in ((1, 0.1, 20), (2, 0.2, 10), (3, 0.3, 6), (30, 3.0, 1)):
            for part in parts(servers, rate={"jobs": "10/s", "burst": 20}):
                assert part.rate is not None
                self.assertAlmostEqual(part.rate.interval, interval)
                self.assertEqual((part.rate.burst, part.concurrency), (burst, None))

    def test_concurrency(self) -> None:
        """All together have as many as may run, and none has two more than another."""
        for servers in range(1, 7):
            for most in range(servers, 20):
                found = [part.concurrency or 0 for part in parts(servers, concurrency=most)]
                self.assertEqual(sum(found), most)
                self.assertLessEqual(max(found) - min(found), 1)

    def test_the_rest_is_not_always_the_first_ones(self) -> None:
        first = {parts(3, b"f%d" % number, concurrency=4)[0].concurrency for number in range(20)}
        self.assertEqual(first, {1, 2})

    def test_fewer_than_servers(self) -> None:
        policy = CLASSIC.with_settings({"concurrency": 2})
        for borrowed in (0, 1, 2):
            self.assertEqual(part_of(policy, b"f", Share(3, 0), borrowed), Part(None, borrowed, True))

    def test_nobody_knows_the_others(self) -> None:
        rate = Rate(1.0, 1)
        policy = CLASSIC.with_settings({"rate": "1/s"})
        self.assertEqual(part_of(policy, b"f", NONE, 0), Part(rate, 0, False))
        policy = CLASSIC.with_settings({"concurrency": 2})
        self.assertEqual(part_of(policy, b"f", NONE, 0), Part(None, 0, False))

    def test_each_server_by_itself(self) -> None:
        settings: dict[str, Any] = {"rate": "10/s", "concurrency": 2, "scope": "server"}
        for part in (*parts(3, **settings), part_of(CLASSIC.with_settings(settings), b"f", NONE, 0)):
            self.assertEqual(part, Part(Rate(0.1, 1), 2, False))
        for part in parts(2, concurrency=2, scope="cluster"):
            self.assertEqual(part.concurrency, 1)


class ShareTests(BrokerTestCase):
    """What they hold back."""

    def setUp(self) -> None:
        super().setUp()
        self.worker = self.fixture.worker(b"f")
        self.operations = self.broker.operations
        self.jobs = [self.fixture.submit(None) for _ in range(6)]

    def start(self) -> int:
        """How many are handed out."""
        count = 0
        while self.fixture.grab(self.worker) is not None:
            count += 1
        return count

    def share(self, servers: int, place: int = 0) -> None:
        self.operations.set_share(Share(servers, place), self.fixture.now)

    def end(self, count: int) -> None:
        for job in list(self.worker.running.values())[:count]:
            self.complete(self.worker, job)

    def test_more_and_fewer_servers(self) -> None:
        self.fixture.set(concurrency=4)
        self.share(2)
        self.assertEqual(self.start(), 2)
        self.share(1)
        self.assertEqual(self.start(), 2)
        # What runs goes on.
        self.share(2)
        self.assertEqual(self.start(), 0)
        self.end(3)
        self.assertEqual(self.start(), 1)

    def test_one_that_has_just_joined(self) -> None:
        self.operations.set_share(NONE, self.fixture.now)
        for settings in ({"rate": "5/s"}, {"concurrency": 2}):
            self.fixture.set(**settings)
            self.assertEqual(self.start(), 0)
        self.fixture.set(timeout=5)
        self.assertEqual(self.start(), 6)

    def test_who_sleeps_is_woken(self) -> None:
        self.operations.set_share(NONE, self.fixture.now)
        self.fixture.set(concurrency=2)
        sleeper = self.fixture.sleeper(b"f")
        self.assertEqual(self.fixture.woken(), [])
        self.share(1)
        self.assertEqual(self.fixture.woken(), [sleeper])

    def test_a_rate(self) -> None:
        self.share(2)
        self.fixture.set(rate="10/s")
        self.assertEqual(self.start(), 1)
        self.fixture.pass_time(0.1)
        self.assertEqual(self.start(), 0)
        self.fixture.pass_time(0.1)
        self.assertEqual(self.start(), 1)

    def test_borrowed(self) -> None:
        self.fixture.set(concurrency=2)
        self.share(3)
        function = self.broker.functions.by_name[b"f"]
        self.assertEqual(self.broker.functions.short, {b"f": function})
        self.assertEqual(self.start(), 0)
        self.operations.borrow({b"f": 1, b"g": 1}, self.fixture.now)
        self.assertEqual(self.start(), 1)
        self.operations.borrow({b"f": 2}, self.fixture.now)
        self.assertEqual(self.start(), 1)
        self.operations.borrow({}, self.fixture.now)
        self.end(2)
        self.assertEqual(self.start(), 0)
        self.share(2)
        self.assertEqual(self.broker.functions.short, {})
        self.assertEqual(self.start(), 1)

    def test_one_that_is_forgotten(self) -> None:
        self.fixture.set("g", concurrency=1)
        self.share(2)
        worker = self.fixture.worker(b"g")
        self.operations.borrow({b"g": 1}, self.fixture.now)
        self.assertEqual(self.broker.functions.short.keys(), {b"g"})
        self.broker.disconnect(worker, self.fixture.now)
        self.assertEqual(self.broker.functions.short, {})
        # What is known of it holds when it is back.
        self.fixture.worker(b"g")
        throttle = self.broker.functions.by_name[b"g"].throttle
        assert throttle is not None
        self.assertEqual((throttle.concurrency, throttle.borrowed), (1, True))

    def test_a_new_one(self) -> None:
        """Its first job waits, too."""
        self.fixture.set("g", concurrency=1)
        self.share(2)
        worker = self.fixture.worker(b"g")
        job = self.fixture.submit(None, b"g")
        self.assertIsNone(self.fixture.grab(worker))
        self.operations.borrow({b"g": 1}, self.fixture.now)
        self.grabbed(worker, job)

    def test_what_is_shown(self) -> None:
        def shown() -> Any:
            peer, now = self.fixture.connect(), self.fixture.now
            function = self.broker.functions.by_name[b"f"]
            found = inspection.policy(self.broker, peer, b"f", now)["share"]
            self.assertEqual(inspection.function_details(self.broker, function, now)["share"], found)
            return found

        self.fixture.set(rate="10/s", concurrency=5)
        self.assertIsNone(shown())
        self.share(3)
        rate = {"jobs": "200/m", "burst": 1}
        concurrency = parts(3, concurrency=5)[0].concurrency
        self.assertEqual(shown(), {"servers": 3, "rate": rate, "concurrency": concurrency})
        self.fixture.set(concurrency=2)
        self.assertEqual(shown(), {"servers": 3, "rate": None, "concurrency": 0})
        self.operations.borrow({b"f": 1}, self.fixture.now)
        self.assertEqual(shown(), {"servers": 3, "rate": None, "concurrency": 1})
        self.fixture.set(rate="7/m")
        self.assertEqual(shown()["rate"]["jobs"], "140/h")
        self.fixture.set(concurrency=2, scope="server")
        self.assertIsNone(shown())
        self.fixture.set(timeout=2)
        self.assertIsNone(shown())
        self.operations.set_share(ALONE, self.fixture.now)
        self.assertIsNone(shown())
