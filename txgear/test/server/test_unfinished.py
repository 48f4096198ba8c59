"""
Tests of L{txgear.server.unfinished}: what follows a text command is carried out after it, wherever its
job is.
"""

from __future__ import annotations

from txgear.errors import StoreRefused
from txgear.protocol.constants import GET_STATUS, HIGH
from txgear.protocol.packets import request
from txgear.test.server.test_clientrequests_rows import (
    BACKGROUND,
    ECHO,
    ECHOED,
    RowsTestCase,
    status,
)
from txgear.test.support.server import HANDLES, created

ROW = HANDLES[2]
OK = b"OK\r\n"
NOT_READ = b"ERR NOT_READ The+store+does+not+have+it,+or+does+not+answer\r\n"
CANCEL = b"cancel job %s\n" % ROW


class UnfinishedTests(RowsTestCase):
    def run_all(self) -> None:
        self.thread.run_all()
        self.run_on(0.1)
        self.thread.run_all()

    def test_a_submit_joins_no_job_that_was_cancelled_before(self) -> None:
        self.client.tell(CANCEL, BACKGROUND, request(GET_STATUS, HANDLES[3]))
        self.assert_alive(self.other)
        self.run_all()
        self.assertEqual(self.client.heard(), OK + created(3) + status(HANDLES[3], True))
        self.assertEqual(self.numbers(), [1, 3])

    def test_in_packets_that_come_later(self) -> None:
        self.client.tell(CANCEL)
        self.client.tell(BACKGROUND)
        self.client.tell(request(GET_STATUS, ROW))
        self.run_all()
        self.assertEqual(self.client.heard(), OK + created(3) + status(ROW, False))

    def test_lists_have_what_was_there_when_they_were_asked_for(self) -> None:
        row = ROW + b"\tf\tqueued\tnormal\t0\t0\t-\tu\n.\n"
        self.client.tell(b"jobs unique=u\n", CANCEL, b"jobs unique=u\n", ECHO)
        self.run_all()
        self.assertEqual(self.client.heard(), row + OK + b".\n" + ECHOED)

    def test_of_a_copy(self) -> None:
        self.client.tell(b"copy job %s priority=high\n" % ROW, CANCEL, request(GET_STATUS, ROW))
        self.run_all()
        self.assertEqual(self.client.heard(), b"OK %s\n" % HANDLES[3] + OK + status(ROW, False))
        self.client.tell(b"workload %s\n" % HANDLES[3])
        self.run_all()
        self.assertIn(b"\nworkload\tw\n", self.client.heard())

    def test_a_copy_is_linked(self) -> None:
        self.client.tell(b"copy job %s unique=u priority=high function=g\n" % ROW)
        self.run_all()
        self.assertEqual(self.client.heard(), b"OK %s\n" % HANDLES[3])
        self.client.tell(b"job %s\njob %s\n" % (ROW, HANDLES[3]))
        self.run_all()
        heard = self.client.heard()
        self.assertIn(b'\ncopies\t["%s"]\n' % HANDLES[3], heard)
        self.assertIn(b"\ncopy_of\t%s\n" % ROW, heard)
        self.assertEqual(self.fixture.server.broker.stock.held, {})

    def test_a_copy_that_is_not_made(self) -> None:
        self.client.tell(b"copy job %s unique=%s\n" % (ROW, b"u" * 65))
        self.run_all()
        self.assertIn(b"ERR ARGUMENT_TOO_LARGE", self.client.heard())
        self.assertEqual(self.fixture.server.broker.stock.held, {})

    def test_the_store_does_not_answer(self) -> None:
        self.store.fail("rows", StoreRefused("it cannot be read"), times=10)
        self.client.tell(CANCEL, ECHO)
        self.run_all()
        self.assertEqual(self.client.heard(), NOT_READ + ECHOED)

    def test_the_peer_goes(self) -> None:
        """What it has sent before is carried out all the same."""
        self.client.tell(CANCEL, BACKGROUND)
        self.client.leave()
        self.run_all()
        self.assertEqual(self.numbers(), [1, 3])

    def test_one_in_memory_is_done_at_once(self) -> None:
        self.client.tell(b"prioritise job %s high\n" % HANDLES[1], ECHO, request(GET_STATUS, b"H:test:9"))
        self.assertEqual(self.client.heard(), OK + ECHOED + status(b"H:test:9", False))
        self.assertEqual(self.fixture.server.broker.table.jobs[1].priority, HIGH)
