from __future__ import annotations

from txgear.broker.model import Job, Peer
from txgear.broker.operators.inspection import find
from txgear.broker.operators.loading import load, named
from txgear.errors import ServerError
from txgear.test.support.broker import DurableBrokerTestCase, FakeRights


class LoadingCase(DurableBrokerTestCase):
    queue_memory = 0

    def rows(self, count: int = 3) -> list[bytes]:
        """The handles of so many more jobs that are not in memory."""
        if not self.broker.table.jobs:
            # The first of a lane is.
            self.fixture.store(b"first")
            self.fixture.answer()
        jobs = self.fixture.store(*(b"%d" % number for number in range(count)))
        self.fixture.answer()
        self.assertEqual([job for job in jobs if job.number in self.broker.table.jobs], [])
        return [job.handle for job in jobs]

    def load(self, peer: Peer, *words: bytes) -> list[tuple[bool, list[Job]]]:
        """What is told, by and by, with the jobs that are in memory then."""
        told: list[tuple[bool, list[Job]]] = []

        def then(answered: bool, now: float) -> None:
            told.append((answered, named(self.broker, words)))

        load(self.broker, peer, words, then, self.fixture.now)
        return told


class LoadTests(LoadingCase):
    def test_what_is_in_memory_is_there_at_once(self) -> None:
        self.rows()
        job = self.broker.table.jobs[1]
        self.assertEqual(self.load(self.fixture.connect(), job.handle), [(True, [job])])
        self.assertEqual(self.load(self.fixture.connect(), b"H:test:9", b"no handle"), [(True, [])])

    def test_a_row_is_there_until_it_is_not_needed(self) -> None:
        handle = self.rows()[0]
        told = self.load(self.fixture.connect(), handle, handle)
        self.assertEqual(told, [])
        self.assertIsNone(find(self.broker, self.fixture.connect(), handle))
        self.fixture.answer()
        ((answered, (job,)),) = told
        self.assertEqual((answered, job.handle), (True, handle))
        self.assertEqual(named(self.broker, [handle]), [])

    def test_those_of_its_name_are_there_as_well(self) -> None:
        """So it is not moved to where there is one."""
        for name in (b"f", b"g"):
            for unique in (b"", b"", b"u"):
                self.fixture.submit(None, name, unique, b"work")
                self.fixture.answer()
                self.fixture.commit()
                self.fixture.answer()
        refused: list[str] = []

        def then(answered: bool, now: float) -> None:
            (job,) = named(self.broker, [b"H:test:3"])
            error = self.assertRaises(ServerError, self.broker.operations.move, job, b"g", now)
            refused.append(error.code)

        load(self.broker, self.fixture.connect(), [b"H:test:3"], then, self.fixture.now)
        self.fixture.answer()
        self.assertEqual(refused, ["UNIQUE_TAKEN"])
        self.assertNotIn(6, self.broker.table.jobs)

    def test_the_store_does_not_answer(self) -> None:
        handle = self.rows()[0]
        told = self.load(self.fixture.connect(), handle)
        self.journal.asking.pop(0).done(None, {}, self.fixture.now)
        self.assertEqual(told, [(False, [])])

    def linked(self) -> list[bytes]:
        """Rows of which each is a copy of the one before."""
        handles = self.rows()

        def link(answered: bool, now: float) -> None:
            first, second, third = named(self.broker, handles)
            self.broker.operations.link_copy(first, second)
            self.broker.operations.link_copy(second, third)

        load(self.broker, self.fixture.connect(), handles, link, self.fixture.now)
        self.fixture.answer()
        return handles

    def test_who_may_not_know_of_all_has_the_copies_as_well(self) -> None:
        handles = self.linked()
        peer = self.fixture.connect()
        peer.rights = FakeRights()
        told = []

        def then(answered: bool, now: float) -> None:
            told.append((answered, [job.handle for job in named(self.broker, handles)]))

        load(self.broker, peer, [handles[1]], then, self.fixture.now)
        self.fixture.answer()
        self.assertEqual(told, [(True, handles)])

    def test_the_copies_cannot_be_had(self) -> None:
        handles = self.linked()
        peer = self.fixture.connect()
        peer.rights = FakeRights()
        told = []
        load(self.broker, peer, [handles[1]], lambda answered, now: told.append(answered), self.fixture.now)
        self.journal.answer(self.fixture.now)
        self.journal.asking.pop(0).done(None, {}, self.fixture.now)
        # One that has none.
        load(self.broker, peer, [b"H:test:1"], lambda answered, now: told.append(answered), self.fixture.now)
        self.assertEqual(told, [False, True])
