"""Tests of L{txgear.broker.ended.archive}: by which name other servers know a job that has ended."""

from __future__ import annotations

from typing import Any

from txgear.broker.records import Naming
from txgear.test.broker.life.test_lookups_elsewhere import ElsewhereTestCase


class NamesTests(ElsewhereTestCase):
    def ended(self, unique: bytes, **rest: Any) -> int:
        (job,) = self.fixture.store(b"work", unique=unique, **rest)
        worker = self.fixture.worker(b"f")
        self.fixture.grab(worker)
        self.complete(worker, job)
        return job.number

    def test_it_is_free_unless_it_is_taken_for_a_while(self) -> None:
        self.fixture.set(results={"keep": 100.0})
        free, _ = self.ended(b"u"), self.ended(b"")
        self.fixture.set(results={"keep": 100.0}, unique_for=10.0)
        taken = self.ended(b"v")
        names = {free: Naming(free, b"f", None), taken: Naming(taken, b"f", b"v")}
        self.assertEqual(self.journal.names, names)

    def test_one_with_settings_of_its_own(self) -> None:
        free = self.ended(b"u", settings={"results": 100.0})
        taken = self.ended(b"v", settings={"results": 100.0, "unique_for": 10.0})
        self.assertEqual(
            self.journal.names, {free: Naming(free, b"f", None), taken: Naming(taken, b"f", b"v")}
        )

    def test_a_server_alone_says_nothing(self) -> None:
        self.broker.persistence.clustered = False
        self.fixture.set(results={"keep": 100.0})
        self.ended(b"u")
        self.assertEqual(self.journal.names, {})
