"""Tests of L{txgear.broker.persistence}: by which names other servers know jobs."""

from __future__ import annotations

from txgear.broker.records import Naming
from txgear.test.broker.life.test_lookups_elsewhere import ElsewhereTestCase


class NamesTests(ElsewhereTestCase):
    def test_of_one_that_is_kept(self) -> None:
        persistence = self.broker.persistence
        (job,) = self.fixture.store(b"work", unique=b"u")
        persistence.name(job, b"v")
        self.assertEqual(self.journal.names, {job.number: Naming(job.number, b"f", b"v")})
        persistence.free(job.number)
        self.assertEqual(self.journal.names, {job.number: Naming(job.number)})
        self.journal.names.clear()
        persistence.clustered = False
        persistence.name(job, b"v")
        self.assertEqual(self.journal.names, {})

    def test_of_one_that_is_not(self) -> None:
        job = self.fixture.submit(self.fixture.connect(), unique=b"u")
        self.broker.persistence.name(job, b"u")
        self.assertEqual(self.journal.names, {})
