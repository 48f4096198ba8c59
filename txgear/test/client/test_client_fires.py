"""
Tests that each Deferred of L{txgear.client} and L{txgear.worker} fires, whatever happens in whatever order.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.client import Client
from txgear.errors import TxgearError
from txgear.stores.memory import MemoryStore
from txgear.testing import MemoryServer
from txgear.worker import Fail, Worker, WorkerJob

RUNS: Final = 100
"""Orders that are tried; each takes some 20 ms."""
STEPS: Final = 40
"""What happens in one of them."""
LONG: Final = 400.0
"""Seconds in which everything must have come to an end, with servers and workers that work."""


class _World:
    """Two servers, a worker at both, a client of both, and somebody who disturbs them."""

    def __init__(self, case: SynchronousTestCase, seed: int) -> None:
        self.case = case
        self.random = random = Random(seed)
        policies = {"*": {"results": "1h", "retries": 1, "backoff": 1}}
        self.first = MemoryServer(store=MemoryStore(), policies=policies)
        self.second = MemoryServer(beside=self.first, store=MemoryStore(), policies=policies)
        self.servers = [self.first, self.second]
        clock = self.first.clock
        endpoints = [server.endpoint for server in self.servers]
        self.client = Client(clock, endpoints, random=random.random)
        self.worker = Worker(
            clock,
            endpoints,
            concurrency=3,
            random=random.random,
            in_thread=lambda call, job: succeed(call(job)),
        )
        self.worker.register("f", self.do)
        self.worker.register("p", self.do, timeout=5)
        self.worker.startService()
        self.handles = [b"H:localhost:1"]
        self.waiting: dict[Deferred[Any], str] = {}

    def do(self, job: WorkerJob) -> Deferred[bytes]:
        """Jobs take up to ten seconds, and some fail; what nobody wants any more is given up."""
        done: Deferred[bytes] = Deferred()
        chance = self.random.random()

        def end() -> None:
            if done.called:
                return
            if chance < 0.2:
                done.errback(Fail())
            else:
                done.callback(b"r")

        self.first.clock.callLater(chance * 10, end)
        return done

    def wait(self, what: str, deferred: Deferred[Any]) -> None:
        """Remember that this is to fire, with a result or an error of ours."""
        self.waiting[deferred] = what

        def fired(outcome: object) -> None:
            del self.waiting[deferred]
            if isinstance(outcome, Failure) and not outcome.check(TxgearError, CancelledError):
                self.case.fail(f"{what}: {outcome}")
            if isinstance(outcome, bytes) and outcome.startswith(b"H:"):
                self.handles.append(outcome)

        _ = deferred.addBoth(fired)

    def options(self) -> dict[str, Any]:
        random = self.random
        return {
            "unique": random.choice([b"", b"", b"u", b"v"]),
            "resend": random.random() < 0.5,
            "policy": random.choice([None, None, {"retries": 0}]),
        }

    def step(self) -> None:
        """One thing happens."""
        random, client = self.random, self.client
        timeout = random.choice([None, 0.0, 3.0, 30.0])
        function = random.choice(["f", "p"])
        kind = random.randrange(20)
        if kind < 3:
            job = client.submit(function, timeout=timeout, **self.options())
            self.wait("created", job.created)
            self.wait("result", job.result)
            if random.random() < 0.2:
                self.disturb()
                job.cancel()
        elif kind < 5:
            self.wait("submit_background", client.submit_background(function, **self.options()))
        elif kind == 5:
            self.wait("run_all", client.run_all([(function, b"")] * random.randrange(4)))
        elif kind == 6:
            self.wait("status", client.status(random.choice(self.handles)))
        elif kind == 7:
            self.wait("status_unique", client.status_unique("u"))
        elif kind == 8:
            wait = random.random() < 0.5
            handle = random.choice(self.handles)
            self.wait("fetch", client.fetch(handle, wait=wait, timeout=timeout))
        elif kind == 9:
            self.wait("fetch_unique", client.fetch_unique("v", wait=random.random() < 0.5, timeout=timeout))
        elif kind == 10:
            self.wait("close", client.close())
            if random.random() < 0.9:
                client.startService()
        elif kind == 11:
            client.startService()
        elif kind == 12:
            self.wait("stopService", self.worker.stopService())
            if random.random() < 0.9:
                self.worker.startService()
        elif kind == 13:
            self.worker.startService()
        elif kind == 14 and self.waiting:
            random.choice(list(self.waiting)).cancel()
        else:
            self.disturb()

    def disturb(self) -> None:
        """Time passes, and something may break."""
        random = self.random
        server = random.choice(self.servers)
        what = random.randrange(8)
        if what == 0:
            server.cut()
        elif what == 1:
            server.crash()
        elif what == 2:
            server.restart()
        elif what == 3 and server._server is not None:
            _ = server._server.drain()
        else:
            self.first.advance(random.choice([0.0, 0.1, 1.0, 12.0, 40.0]))

    def end(self) -> None:
        """All is well again; what waits has all the time it needs."""
        for server in self.servers:
            server.crash()
            server.restart()
        self.client.startService()
        self.worker.startService()
        self.first.advance(LONG)
        self.case.assertEqual([], sorted(self.waiting.values()))
        self.wait("close", self.client.close())
        self.wait("stopService", self.worker.stopService())
        self.first.advance(LONG)
        self.case.assertEqual([], sorted(self.waiting.values()))
        for server in self.servers:
            server.stop()
        self.case.assertEqual([], self.first.clock.getDelayedCalls())


class FiresTests(SynchronousTestCase):
    def test_all_fire(self) -> None:
        """No exception escapes, nothing is left on the clock, and no Deferred is left waiting."""
        for seed in range(RUNS):
            world = _World(self, seed)
            try:
                for _ in range(STEPS):
                    world.step()
                world.end()
            except Exception as error:
                raise AssertionError(f"seed {seed}") from error
