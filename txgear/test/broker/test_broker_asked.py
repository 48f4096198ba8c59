"""Tests of L{txgear.broker.broker}: submits of which the store is asked whether they are new."""

from __future__ import annotations

from txgear.broker.tenants import Quota
from txgear.errors import QueueError
from txgear.protocol.constants import ERROR
from txgear.test.broker.life.test_lookups import LookupTestCase


class AskedTests(LookupTestCase):
    def test_more_of_the_same_wait_for_the_same_answer(self) -> None:
        number = self.row()
        submitted = self.broker.functions.get(b"f").counts.submitted
        _, reply = self.asked(self.client)
        self.assertIs(self.joined(None), reply)
        self.assertEqual(self.broker.functions.get(b"f").counts.submitted, submitted)
        self.answer()
        self.assertEqual(reply.packet, self.created(number))
        self.assertEqual(list(self.held(number).clients), [self.client])

    def test_a_full_quota_does_not_refuse_what_may_be_there(self) -> None:
        """It refuses it when it is not."""
        owner = self.fixture.tenant("amy")
        for there in (True, False):
            unique = b"u" if there else b"v"
            if there:
                self.fixture.submit(None)
                self.broker.submit(owner, b"f", unique, b"", self.fixture.now, background=True)
                self.fixture.commit()
                self.fixture.answer()
            else:
                self.mistaken(unique)
            self.fixture.quotas(amy=Quota(queued=1))
            reply = self.broker.submit(owner, b"f", unique, b"", self.fixture.now, background=True).reply
            assert reply is not None
            self.answer()
            assert reply.packet is not None
            self.assertEqual(reply.packet[0] == ERROR, not there)

    def test_one_that_cannot_be_there_is_refused_at_once(self) -> None:
        owner = self.fixture.tenant("amy")
        self.row()
        self.fixture.quotas(amy=Quota(queued=1))
        self.broker.submit(owner, b"f", b"", b"", self.fixture.now, background=True)
        with self.assertRaises(QueueError):
            self.broker.submit(owner, b"f", b"w", b"", self.fixture.now, background=True)
