"""Tests of L{txgear.journal.shared}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import LIMITED, PAUSED, SCHEDULED, SIGNED_OUT, StoredValue
from txgear.journal.shared import Shared
from txgear.test.support.journal import LeasedStore
from txgear.test.support.server import DurableServerTestCase

PAUSE = StoredValue(PAUSED, b"f", 1.0, text="ops")
LIMIT = StoredValue(LIMITED, b"f", 1.0, text="1 2 3")
NO_PAUSE = StoredValue(PAUSED, b"f", 0.0)


class SharedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.told: list[StoredValue] = []
        self.pending: set[tuple[int, bytes]] = set()
        self.shared = Shared(self.told.append, self.pending.__contains__)

    def test_what_others_have_set(self) -> None:
        self.assertEqual(self.shared.found([PAUSE, LIMIT]), [PAUSE, LIMIT])
        self.assertEqual(self.shared.found([PAUSE, LIMIT]), [])
        other = LIMIT._replace(text="4 4 4")
        self.assertEqual(self.shared.found([PAUSE, other]), [other])
        self.assertEqual(self.told, [])

    def test_what_others_have_taken_back(self) -> None:
        self.shared.found([PAUSE, LIMIT])
        self.assertEqual(self.shared.found([LIMIT]), [NO_PAUSE])
        self.assertEqual(self.shared.found([LIMIT]), [])
        self.assertEqual(self.shared.found([PAUSE, LIMIT]), [PAUSE])

    def test_what_this_one_has_set(self) -> None:
        for value in (PAUSE, LIMIT, StoredValue(SIGNED_OUT, b"t s", 1.0)):
            self.shared.put(value)
        self.assertEqual(self.shared.found(self.told), [])
        self.shared.put(NO_PAUSE)
        self.shared.put(NO_PAUSE)
        self.assertEqual(self.shared.found(self.told[1:3]), [])
        self.assertEqual(self.told[3:], [NO_PAUSE, NO_PAUSE])

    def test_what_is_on_its_way(self) -> None:
        """What was read is older, whatever it says."""
        self.shared.found([LIMIT])
        self.pending.update({(PAUSED, b"f"), (LIMITED, b"f")})
        self.shared.put(PAUSE)
        self.shared.put(LIMIT._replace(value=0.0))
        self.assertEqual(self.shared.found([LIMIT]), [])
        self.pending.clear()
        self.assertEqual(self.shared.found([PAUSE]), [])

    def test_both_at_once(self) -> None:
        """The other one's was written last, and may say what this one knew before."""
        self.shared.found([LIMIT])
        self.shared.put(LIMIT._replace(value=0.0))
        self.assertEqual(self.shared.found([LIMIT]), [LIMIT])
        self.shared.put(PAUSE)
        self.assertEqual(self.shared.found([LIMIT]), [NO_PAUSE])

    def test_other_kinds(self) -> None:
        mark = StoredValue(SCHEDULED, b"s", 60.0)
        self.shared.put(mark)
        self.assertEqual(self.shared.found([mark]), [])
        self.assertEqual(self.shared.in_force, {})
        self.assertEqual(self.told, [mark])


class JournalTests(DurableServerTestCase):
    """What of it there is at a server."""

    def test_alone(self) -> None:
        """Nobody else is to know of bounds."""
        journal = self.fixture.journal
        self.assertIsNone(journal.shared)
        journal.share(LIMIT)
        journal.put_value(PAUSE)
        self.assertEqual(journal._writes._buffer.values, {(PAUSED, b"f"): PAUSE})

    def test_one_of_several(self) -> None:
        self.store = LeasedStore()
        self.begin(lease=8.0)
        journal = self.fixture.journal
        assert journal.shared is not None
        journal.share(LIMIT)
        journal.put_value(PAUSE)
        self.assertEqual(set(journal._writes._buffer.values.values()), {LIMIT, PAUSE})
        # They have not been written.
        self.assertEqual(journal.shared.found([]), [])
        journal.turn_ended()
        self.clock.advance(1)
        self.assertEqual(journal.shared.found([]), [])
        self.thread.run()
        self.assertEqual(journal.shared.found([PAUSE]), [LIMIT._replace(value=0.0, text="")])
