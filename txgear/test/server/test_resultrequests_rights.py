"""Tests of L{txgear.server.resultrequests}: results that a peer may not read, or not any more."""

from __future__ import annotations

from collections import Counter
from typing import Any

from txgear.broker.rights import READ, SEE
from txgear.protocol.constants import (
    CAN_DO,
    GRAB_JOB_OPTIONS,
    SUBMIT_JOB_OPTIONS,
    WORK_COMPLETE,
    WORK_EXCEPTION,
)
from txgear.protocol.packets import request
from txgear.server.resultrequests import BYTES_AT_ONCE
from txgear.test.server.test_resultrequests_stored import StoredTests
from txgear.test.support.broker import FakeRights
from txgear.test.support.extension import ONE, TWO, ExtensionTestCase, asked, told

REFUSED = told(b"refused", b"-", b"Not allowed: read f")
UNKNOWN = told(b"unknown")
UNSEEN = (SEE, b"f")
UNREAD = (READ, b"f")


class RightsTestCase(ExtensionTestCase):
    """
    @ivar rights: those of the client.
    """

    def begin(self, policies: dict[str, dict[str, Any]] | None = None, **choices: object) -> None:
        super().begin(policies, **choices)
        self.rights = self.client.protocol.peer.rights = FakeRights()

    def deny(self, *denied: tuple[str, bytes]) -> None:
        self.rights.denied = set(denied)

    def refused(self) -> Counter[tuple[str, str]]:
        """What the guard was told of."""
        return self.fixture.server.guard.refused


class ResultTests(RightsTestCase):
    def questions(self, *, wait: bytes = b"0") -> list[tuple[bytes, bytes]]:
        """The three ways to ask, and the handle in the answer if nothing is known."""
        return [
            (asked(wait=wait), ONE),
            (asked(b"", unique=b"u", wait=wait), b""),
            (asked(b"", function=b"f", unique=b"u", wait=wait), b""),
        ]

    def check(self, *answers: bytes) -> None:
        """Each way to ask is answered so, if the peer may read it, and by the rights if not."""
        for wait in (b"0", b"1"):
            for question, handle in self.questions(wait=wait):
                self.deny()
                self.assertIn(self.client.ask(question), answers)
                self.deny(UNREAD)
                self.assertEqual(self.client.ask(question), REFUSED)
                self.assertEqual(self.refused(), {("nobody", READ): 1})
                self.refused().clear()
                for denied in ((UNSEEN,), (UNSEEN, UNREAD)):
                    self.deny(*denied)
                    self.assertEqual(self.client.ask(question), told(b"unknown", handle=handle))
                self.assertEqual(self.refused(), {})

    def test_of_one_that_has_not_ended(self) -> None:
        self.run_job(unique=b"u")
        # Whoever waits hears nothing yet.
        self.check(told(b"pending"), b"")

    def test_of_one_that_is_done(self) -> None:
        self.begin({"f": {"results": "1h"}})
        self.run_job(unique=b"u")
        self.worker.tell(request(WORK_COMPLETE, ONE, b"result"))
        self.check(told(b"done", brought=b"result"))

    def test_of_one_that_is_dead(self) -> None:
        """What its worker said is its result."""
        self.begin({"f": {"retries": 0, "dead": "1h"}})
        self.run_job(unique=b"u")
        self.worker.tell(request(WORK_EXCEPTION, ONE, b"no"))
        self.check(told(b"dead", brought=b"no"))

    def test_by_a_unique_of_several_functions(self) -> None:
        """The one that counts is the newest of those that may be known, ended or not."""
        self.begin({"*": {"results": "1h"}})
        self.run_job(unique=b"u")
        self.worker.tell(request(WORK_COMPLETE, ONE, b"of f"))
        self.client.ask(request(SUBMIT_JOB_OPTIONS, b"g", b"u", b"", b""))
        question = asked(b"", unique=b"u")
        self.assertEqual(self.client.ask(question), told(b"pending", handle=TWO))
        self.deny((SEE, b"g"))
        self.assertEqual(self.client.ask(question), told(b"done", brought=b"of f"))
        self.worker.ask(
            request(CAN_DO, b"g"), request(GRAB_JOB_OPTIONS), request(WORK_COMPLETE, TWO, b"of g")
        )
        self.assertEqual(self.client.ask(question), told(b"done", brought=b"of f"))
        self.deny(UNSEEN)
        self.assertEqual(self.client.ask(question), told(b"done", brought=b"of g", handle=TWO))

    def test_a_right_that_is_lost_before_the_end(self) -> None:
        """Whether or not that was noticed when it was lost."""
        for looked_at in (False, True):
            for denied, answer in (((), b""), ((UNSEEN,), UNKNOWN), ((UNREAD,), REFUSED)):
                self.begin()
                self.run_job()
                self.assertEqual(self.client.ask(asked(wait=b"1")), b"")
                self.deny(*denied)
                waiting = self.fixture.server.guard.waiting
                if looked_at:
                    waiting[self.client.protocol.peer]()
                    self.fixture.server.end_turn()
                heard = self.client.heard()
                self.assertEqual(heard, answer if looked_at else b"")
                self.worker.tell(request(WORK_COMPLETE, ONE, b"result"))
                heard += self.client.heard()
                self.assertEqual(heard, answer or told(b"done", b"0", b"result"))
                extension = self.client.protocol.extension
                assert extension is not None
                self.assertEqual((extension.results.waits, waiting), (0, {}))
                self.assertEqual(self.refused(), {("nobody", READ): 1} if answer == REFUSED else {})

    def test_a_right_that_is_lost_behind_other_results(self) -> None:
        """Which are so long that the rest waits until they have left."""
        self.begin({"f": {"results": "1h"}})
        large = b"x" * (BYTES_AT_ONCE - 1)
        for handle, result in ((ONE, large), (TWO, b"more")):
            self.submit({"results": "1h"})
            self.worker.ask(request(CAN_DO, b"f"), request(GRAB_JOB_OPTIONS))
            self.worker.tell(request(WORK_COMPLETE, handle, result))
        self.client.tell(asked(), asked(TWO))
        self.assertEqual(self.client.heard(), told(b"done", b"0", large))
        self.deny(UNREAD)
        self.fixture.clock.advance(0)
        self.assertEqual(self.client.heard(), told(b"refused", b"-", b"Not allowed: read f", handle=TWO))


class StoredRightsTests(StoredTests):
    """With all rights, all of the tests above hold as well."""

    def begin(self, **choices: Any) -> None:
        super().begin(**choices)
        self.rights = FakeRights()
        for line in (self.client, self.other):
            line.protocol.peer.rights = self.rights

    def test_a_right_that_is_lost_while_it_is_read(self) -> None:
        self.finish()
        for denied, answer in ((UNSEEN, UNKNOWN), (UNREAD, REFUSED)):
            self.rights.denied.clear()
            self.assertEqual(self.client.ask(asked()), b"")
            self.rights.denied.add(denied)
            self.thread.run_all()
            self.assertEqual(self.client.heard(), answer)
