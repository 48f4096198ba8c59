"""Tests of L{txgear.broker.operators.deadlists}: of the dead that are not in memory."""

from __future__ import annotations

from typing import Any

from txgear.broker.operators import deadlists
from txgear.broker.operators.search import Search
from txgear.policies import CLASSIC, Policies
from txgear.test.support.broker import DurableBrokerTestCase


class StoredGroupsTests(DurableBrokerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.fixture.policies = Policies([("*", CLASSIC.with_settings({"retries": 0}))])
        self.broker.operations.set_policies(self.fixture.policies, self.fixture.now)
        self.peer = self.fixture.connect()

    def die(self, message: bytes = b"", tenant: str = "", function: bytes = b"f") -> str:
        """
        One dies, and is a row; the policy lets it.

        @return: its handle.
        """
        peer = self.fixture.tenant(tenant) if tenant else None
        worker = self.fixture.worker(function)
        job = self.broker.submit(peer, function, b"", b"four", self.fixture.now, background=True)
        self.fixture.commit()
        self.grabbed(worker, job)
        self.fixture.now += 1
        self.broker.reports.work_exception(worker, job.handle, message, self.fixture.now)
        self.fixture.leave(worker)
        self.broker.store_events.written([job.number], self.fixture.now)
        self.assertEqual(self.broker.archive.jobs, {})
        return job.handle.decode()

    def told(self, page: dict[str, Any] | None, *told: str) -> list[tuple[Any, ...]]:
        assert page is not None
        return [tuple(row[name] for name in told) for row in page["groups"]]

    def groups(self, *told: str) -> list[tuple[Any, ...]]:
        return self.told(deadlists.groups(self.broker, self.peer, Search()), *told)

    def find(self) -> list[dict[str, Any] | None]:
        said: list[dict[str, Any] | None] = []
        deadlists.find(self.broker, self.peer, Search(), self.fixture.now, said.append)
        return said

    def test_they_are_counted(self) -> None:
        self.die()
        self.die()
        nothing = (2, None, None, "", None)
        self.assertEqual(self.groups("jobs", "oldest", "newest", "handle", "text"), [nothing])

    def test_the_oldest_and_the_newest_are_read(self) -> None:
        """On whosever account they are."""
        handles = [self.die(b"%d" % number, tenant) for number, tenant in enumerate(("", "b", "a", "", "a"))]
        other = self.die(b"of another", function=b"g")
        said = self.find()
        self.assertEqual(said, [])
        self.fixture.answer()
        (page,) = said
        self.assertEqual(
            self.told(page, "jobs", "oldest", "newest", "handle", "text"),
            [
                (5, "1970-01-01T00:16:41.000Z", "1970-01-01T00:16:45.000Z", handles[4], "4"),
                (1, "1970-01-01T00:16:46.000Z", "1970-01-01T00:16:46.000Z", other, "of another"),
            ],
        )
        self.assertEqual((self.broker.archive.jobs, self.broker.archive.rows), ({}, 6))

    def test_nothing_is_asked_for_what_is_in_memory(self) -> None:
        handle = self.die()
        self.fixture.recall()
        (page,) = self.find()
        self.assertEqual(self.told(page, "handle"), [(handle,)])

    def test_a_store_that_does_not_answer(self) -> None:
        self.die()
        said = self.find()
        for _ in range(2):
            self.journal.asking.pop().done(None, {}, self.fixture.now)
        self.assertEqual(said, [None])
