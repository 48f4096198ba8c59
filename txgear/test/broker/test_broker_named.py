"""Tests of L{txgear.broker.broker}: jobs that are found by their uniques, of those that are wanted."""

from __future__ import annotations

from txgear.broker.model import Job
from txgear.test.support.broker import BrokerTestCase


class NamedTests(BrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.fixture.set("*", results=60)
        self.worker = self.fixture.worker(b"f", b"g")

    def found(self, function: bytes, *wanted: Job) -> Job | None:
        return self.broker.named(function, b"u", lambda job: job in wanted)

    def test_none_is_known(self) -> None:
        self.assertIsNone(self.found(b""))
        self.fixture.submit(None, b"f")
        self.assertIsNone(self.found(b"f"))

    def test_one_that_has_not_ended_hides_none_that_has(self) -> None:
        """If it is not wanted itself."""
        first = self.fixture.submit(None, b"f", b"u")
        self.fixture.grab(self.worker)
        self.complete(self.worker, first)
        second = self.fixture.submit(None, b"g", b"u")
        self.assertIs(self.found(b"", first, second), second)
        self.assertIs(self.found(b"", first), first)
        self.assertIsNone(self.found(b""))

    def test_with_its_function(self) -> None:
        job = self.fixture.submit(None, b"f", b"u")
        self.assertIs(self.found(b"f", job), job)
        self.assertIsNone(self.found(b"f"))
        self.assertIsNone(self.found(b"g", job))

    def test_whether_or_not_it_has_ended(self) -> None:
        """Of a function, or the one that had it last."""
        self.assertIsNone(self.broker.named(b"f", b"u"))
        job, other = (self.fixture.submit(None, name, unique=b"u") for name in (b"f", b"g"))
        for _ in range(2):
            self.assertIs(self.broker.named(b"f", b"u"), job)
            self.assertIs(self.broker.named(b"", b"u"), other)
            self.assertIsNone(self.broker.named(b"h", b"u"))
            for running in self.fixture.grab_all(self.worker):
                self.complete(self.worker, running)
