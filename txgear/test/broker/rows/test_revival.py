"""
Tests for L{txgear.broker.rows.revival}.
"""

from __future__ import annotations

from txgear.broker.history import History, owned_by
from txgear.broker.model import Job
from txgear.broker.ports import Witness
from txgear.broker.records import KEPT, WAITING, JobRecord
from txgear.broker.rows.revival import Revival
from txgear.broker.states import DELAYED, DONE, PAGED
from txgear.errors import PolicyError
from txgear.test.support.broker import BrokerTestCase, record

DIGEST = bytes(15) + b"\1"
RETRIES = History({"retries": 3}).to_bytes()


class RevivalTests(BrokerTestCase):
    """What a row is as a job."""

    def setUp(self) -> None:
        super().setUp()
        broker = self.broker
        self.revival = Revival(broker.table, broker.functions, broker.tenants, broker.timers)

    def make(self, row: JobRecord) -> Job:
        job, same = self.revival.revive(row, None)
        self.assertIs(same, row)
        return job

    def test_plain(self) -> None:
        """It has all that the store has of it, and is nowhere."""
        row = record(5, 7, unique=b"u", size=3, retries=2, created=90.0, reducer=b"r")
        self.fixture.set_clock(50.0)
        job = self.make(row)
        self.assertEqual((job.handle, job.place, job.size, job.retries), (b"H:test:5", 7, 3, 2))
        self.assertEqual((job.unique, job.key, job.reducer, job.created), (b"u", b"u", b"r", 40.0))
        self.assertTrue(job.stored and job.background)
        self.assertIs(job.function, self.broker.functions.by_name[b"f"])
        self.assertNotIn(5, self.broker.table.jobs)

    def test_known_function(self) -> None:
        function = self.broker.functions.get(b"f")
        self.assertIs(self.make(record(5)).function, function)

    def test_handle_of_another_server(self) -> None:
        self.assertEqual(self.make(record(5, prefix=b"H:50%")).handle, b"H:50%:5")

    def test_keys(self) -> None:
        """The unique C{-} stands for the workload, if there is one."""
        self.assertIsNone(self.make(record(5)).key)
        self.assertEqual(self.make(record(5, unique=b"-", digest=DIGEST)).key, 1)
        self.assertIsNone(self.make(record(5, unique=b"-")).key)

    def test_on_an_account(self) -> None:
        job = self.make(record(5, history=owned_by("a")))
        self.assertIs(job.tenant, self.broker.tenants.get("a"))
        self.assertIsNone(job.history)

    def test_history(self) -> None:
        tenant = self.broker.tenants.get("a")
        kept = History({"retries": 3}).to_bytes(tenant)
        job = self.make(record(5, history=kept))
        assert job.history is not None
        self.assertEqual((job.history.settings, job.tenant), ({"retries": 3}, tenant))
        self.assertIsNone(self.make(record(5, history=History({"retries": 3}).to_bytes())).tenant)

    def test_damaged_history(self) -> None:
        for kept in (b"{", b"[]", b'{"tenant": 3}', b'{"settings": {"timeout": -1}}'):
            with self.assertRaises((ValueError, PolicyError), msg=kept):
                self.revival.history(record(5, history=kept))

    def test_a_row_with_a_damaged_history(self) -> None:
        """It is a job all the same, and somebody hears of it."""
        row = record(5, history=b"[]")
        heard: list[tuple[bytes, str]] = []

        class Hearer(Witness):
            def taken_back(self, job: Job, reason: str, now: float) -> None:
                raise AssertionError(job)

            def damaged(self, handle: bytes, why: str) -> None:
                heard.append((handle, why))

            def missing(self, function: bytes, count: int) -> None:
                raise AssertionError(function)

        for witness in (None, Hearer()):
            job, rest = self.revival.revive(row, witness)
            self.assertEqual((job.number, job.history, job.tenant), (5, None, None))
            self.assertEqual(rest, record(5))
        ((handle, why),) = heard
        self.assertEqual(handle, b"H:test:5")
        self.assertIn("not the history of a job", why)

    def test_sound_history(self) -> None:
        self.broker.functions.get(b"known")
        for kept, found in ((None, False), (b"{}", True), (owned_by("a"), False), (RETRIES, True)):
            for name in (b"known", b"unknown"):
                history = self.revival.history(record(5, function=name, history=kept))
                self.assertEqual(history is not None, found, kept)

    def test_since_when_it_is_ready(self) -> None:
        """Since it was there, or its time had come; of one that has been tried nobody knows."""
        for row, since in (
            (record(5, created=90.0), 90.0),
            (record(5, created=90.0, due=95.0), 95.0),
            (record(5, created=200.0), 100.0),
            (record(5), 100.0),
            (record(5, 7, created=90.0), 100.0),
        ):
            self.assertEqual(self.revival.since(self.make(row), row, 100.0), since)

    def shown(self, row: JobRecord) -> Job:
        return self.revival.show(self.make(row), row)

    def test_shown(self) -> None:
        """It looks as it would in its place."""
        self.assertEqual(self.shown(record(5)).state, PAGED)
        waiting = self.shown(record(5, kind=WAITING, due=90.0))
        self.assertEqual((waiting.state, waiting.due), (DELAYED, 90.0))
        for history, archived in ((None, b"{}"), (owned_by("a"), owned_by("a"))):
            row = record(5, state=DONE, ended=80.0, due=90.0, kind=KEPT, history=history)
            ended = self.shown(row)
            self.assertEqual((ended.state, ended.since, ended.due), (DONE, 80.0, 90.0))
            self.assertEqual((ended.archived, ended.history), (archived, None))
