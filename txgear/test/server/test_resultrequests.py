"""Tests of L{txgear.server.resultrequests}, byte for byte."""

from __future__ import annotations

from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    GRAB_JOB_OPTIONS,
    RESPONSE_MAGIC,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
)
from txgear.protocol.packets import PIECES_FROM, Decoder, request, response
from txgear.server.resultrequests import BYTES_AT_ONCE, MOST_PENDING
from txgear.test.support.clock import START
from txgear.test.support.extension import ONE, TWO, ExtensionTestCase, asked, told
from txgear.test.support.net import error


class ResultTests(ExtensionTestCase):
    def test_unknown(self) -> None:
        for question in (asked(), asked(wait=b"1"), asked(wait=b"1\0")):
            self.assertEqual(self.client.ask(question), told(b"unknown"))
        for function in (b"", b"f"):
            question = asked(b"", function=function, unique=b"u", wait=b"1")
            self.assertEqual(self.client.ask(question), told(b"unknown", handle=b""))

    def test_pending(self) -> None:
        self.submit({}, unique=b"u")
        self.assertEqual(self.client.ask(asked()), told(b"pending"))
        for function in (b"", b"f"):
            question = asked(b"", function=function, unique=b"u")
            self.assertEqual(self.client.ask(question), told(b"pending"))
        self.assertEqual(
            self.client.ask(asked(b"", function=b"g", unique=b"u")), told(b"unknown", handle=b"")
        )

    def test_done(self) -> None:
        """Data and result, cut apart by the size; by handle and by unique, as often as one asks."""
        self.run_job({"results": "1h"}, b"u")
        self.worker.tell(request(WORK_DATA, ONE, b"da\0"), request(WORK_DATA, ONE, b"ta"))
        self.worker.tell(request(WORK_COMPLETE, ONE, b"re\0sult"))
        for question in (asked(), asked(wait=b"1"), asked(b"", unique=b"u"), asked()):
            self.assertEqual(self.client.ask(question), told(b"done", b"5", b"da\0tare\0sult"))

    def test_other_peers_may_ask(self) -> None:
        self.run_job({"results": "1h"})
        self.worker.tell(request(WORK_COMPLETE, ONE, b"r"))
        self.assertEqual(self.worker.ask(asked(token=b"")), told(b"done", b"0", b"r", token=b""))

    def test_until_its_time_is_over(self) -> None:
        self.run_job({"results": "1h"})
        self.worker.tell(request(WORK_COMPLETE, ONE, b"r"))
        self.fixture.clock.advance(3599)
        self.assertEqual(self.client.ask(asked()), told(b"done", b"0", b"r"))
        self.fixture.clock.advance(2)
        self.assertEqual(self.client.ask(asked()), told(b"unknown"))

    def test_no_result_is_kept(self) -> None:
        """A result that was too large is missing, and so is one of which only the unique is kept."""
        for options in ({"results": {"keep": "1h", "bytes": 3}}, {"unique_for": "1h"}):
            self.begin()
            self.run_job(options, b"u")
            self.worker.tell(request(WORK_COMPLETE, ONE, b"long"))
            self.assertEqual(self.client.ask(asked()), told(b"done", b"-"))

    def test_a_job_without_a_policy(self) -> None:
        """Nothing is known of it once it has ended."""
        self.run_job()
        self.worker.tell(request(WORK_COMPLETE, ONE, b"r"))
        self.assertEqual(self.client.ask(asked()), told(b"unknown"))

    def test_failed(self) -> None:
        """What the worker said is kept like a result."""
        for said, text in (
            (request(WORK_FAIL, ONE), b""),
            (request(WORK_EXCEPTION, ONE, b"no disk"), b"no disk"),
        ):
            self.begin()
            self.run_job({"results": "1h"})
            self.worker.tell(said)
            self.assertEqual(self.client.ask(asked()), told(b"failed", b"0", text))

    def test_dead(self) -> None:
        self.run_job({"retries": 0})
        self.worker.tell(request(WORK_EXCEPTION, ONE, "no dísk".encode()))
        self.assertEqual(self.client.ask(asked()), told(b"dead", b"0", "no dísk".encode()))
        self.assertTrue(self.broker.operations.requeue(ONE, START))
        self.assertEqual(self.client.ask(asked()), told(b"pending"))

    def test_cancelled_and_expired(self) -> None:
        self.submit({"results": "1h"})
        self.assertTrue(self.broker.operations.cancel(ONE, START))
        self.assertEqual(self.client.ask(asked()), told(b"cancelled"))
        self.submit({"results": "1h", "expires": 5})
        self.fixture.clock.advance(6)
        self.assertEqual(self.client.ask(asked(TWO)), told(b"expired", handle=TWO))

    def test_wait(self) -> None:
        """The answer comes with the end, after answers to other questions; who waits is told once."""
        self.run_job({"results": "1h"}, b"u")
        other = self.extended()
        self.assertEqual(other.ask(asked(b"", unique=b"u", wait=b"1", token=b"o")), b"")
        answers = self.client.ask(asked(wait=b"1"), asked(TWO, token=b"2"), request(ECHO_REQ, b"x"))
        self.assertEqual(answers, told(b"unknown", handle=TWO, token=b"2") + response(ECHO_RES, b"x"))
        self.worker.tell(request(WORK_DATA, ONE, b"data"), request(WORK_COMPLETE, ONE, b"r"))
        self.assertEqual(self.client.heard(), told(b"done", b"4", b"datar"))
        self.assertEqual(other.heard(), told(b"done", b"4", b"datar", token=b"o"))
        self.assertEqual(self.client.heard(), b"")

    def test_wait_for_every_end(self) -> None:
        for end, answer in (
            (request(WORK_FAIL, ONE), told(b"failed")),
            (request(WORK_EXCEPTION, ONE, b"no"), told(b"failed", b"0", b"no")),
            (request(WORK_COMPLETE, ONE, b""), told(b"done")),
        ):
            self.begin()
            self.submit({})
            self.client.tell(asked(wait=b"1"))
            self.worker.ask(request(CAN_DO, b"f"), request(GRAB_JOB_OPTIONS))
            self.worker.tell(end)
            self.assertEqual(self.client.heard(), answer)

    def test_wait_for_a_job_that_dies(self) -> None:
        self.run_job({"retries": 1, "backoff": 60})
        self.client.tell(asked(wait=b"1"))
        self.worker.tell(request(WORK_EXCEPTION, ONE, b"first"))
        self.assertEqual(self.client.heard(), b"")
        self.fixture.clock.advance(61)
        self.worker.tell(request(GRAB_JOB_OPTIONS), request(WORK_EXCEPTION, ONE, b"second"))
        self.assertEqual(self.client.heard(), told(b"dead", b"0", b"second"))

    def test_wait_for_a_job_that_is_cancelled(self) -> None:
        self.submit({})
        self.client.tell(asked(wait=b"1"))
        self.broker.operations.cancel(ONE, START)
        self.fixture.server.end_turn()
        self.assertEqual(self.client.heard(), told(b"cancelled"))

    def test_wait_for_a_result_that_is_not_kept(self) -> None:
        """Who is there when it comes gets it; what was sent ahead is missing, and that is said."""
        self.run_job()
        self.client.tell(asked(wait=b"1"))
        self.worker.tell(request(WORK_DATA, ONE, b"data"), request(WORK_COMPLETE, ONE, b"r"))
        self.assertEqual(self.client.heard(), told(b"done", b"-", b"r"))

    def test_what_was_sent_before_the_wait(self) -> None:
        """Of a job without a policy that is missing, and it is said whether there was anything."""
        for sent, size in ((b"", b"0"), (request(WORK_DATA, ONE, b"data"), b"-")):
            self.begin()
            self.run_job()
            self.worker.tell(sent)
            self.client.tell(asked(wait=b"1"))
            self.client.tell(asked(wait=b"1", token=b"again"))
            self.worker.tell(request(WORK_COMPLETE, ONE, b"r"))
            answers = told(b"done", size, b"r") + told(b"done", size, b"r", token=b"again")
            self.assertEqual(self.client.heard(), answers)
        self.begin({"f": {"results": "1h"}})
        self.run_job()
        self.worker.tell(request(WORK_DATA, ONE, b"data"))
        self.client.tell(asked(wait=b"1"))
        self.worker.tell(request(WORK_COMPLETE, ONE, b"r"))
        self.assertEqual(self.client.heard(), told(b"done", b"4", b"datar"))

    def test_a_question_takes_the_place_of_one_with_its_token(self) -> None:
        self.run_job()
        self.client.tell(asked(wait=b"1"), asked(wait=b"1"))
        self.assertEqual(self.client.ask(asked()), told(b"pending"))
        life = self.job().history
        assert life is not None
        self.assertEqual(life.watchers, {})
        self.worker.tell(request(WORK_COMPLETE, ONE, b"r"))
        self.assertEqual(self.client.heard(), b"")

    def test_too_many_wait(self) -> None:
        """Each peer has so many; others have their own, and places become free."""
        self.run_job()
        self.client.tell(*[asked(wait=b"1", token=b"%d" % number) for number in range(MOST_PENDING)])
        self.assertEqual(self.client.heard(), b"")
        why = b"1000 questions of this connection wait already"
        self.assertEqual(self.client.ask(asked(wait=b"1")), told(b"refused", b"-", why))
        self.assertEqual(self.client.ask(asked()), told(b"pending"))
        self.assertEqual(self.worker.ask(asked(wait=b"1")), b"")
        self.client.ask(asked(token=b"0"))
        self.assertEqual(self.client.ask(asked(wait=b"1")), b"")

    def test_mistakes(self) -> None:
        for question, refused in (
            (asked(wait=b""), error(b"INVALID_ARGUMENT", b"wait: 0 or 1 is wanted")),
            (asked(wait=b"yes"), error(b"INVALID_ARGUMENT", b"wait: 0 or 1 is wanted")),
            (asked(b""), error(b"INVALID_ARGUMENT", b"handle: a handle or a unique is wanted")),
            (asked(token=b"t" * 65), error(b"ARGUMENT_TOO_LARGE", b"A token has 64 bytes at the most")),
        ):
            self.assertEqual(self.client.ask(question), refused)
        self.assertEqual(self.client.ask(asked(token=b"t" * 64)), told(b"unknown", token=b"t" * 64))

    def test_a_large_result(self) -> None:
        large = b"x" * (PIECES_FROM + 1)
        self.run_job({"results": "1h"})
        self.worker.tell(request(WORK_DATA, ONE, b"data"), request(WORK_COMPLETE, ONE, large))
        self.assertEqual(self.client.ask(asked()), told(b"done", b"4", b"data" + large))

    def test_more_than_a_packet_holds(self) -> None:
        """Parts that were sent one by one may be more together than a peer takes."""
        head = len(b"t\0H:test:1\0done\0" + b"100\0")
        for most, answer in (
            (200 + head, told(b"done", b"100", b"d" * 100 + b"r" * 100)),
            (199 + head, told(b"refused", b"-", b"What it brought, 200 bytes, does not fit a packet")),
        ):
            self.begin(max_packet=most)
            self.run_job({"results": "1h"})
            self.worker.tell(request(WORK_DATA, ONE, b"d" * 100), request(WORK_COMPLETE, ONE, b"r" * 100))
            self.assertEqual(self.client.ask(asked()), answer)


class ManyResultsTests(ExtensionTestCase):
    """What many results bring is not all brought at once."""

    SIZE = BYTES_AT_ONCE // 2 - 1

    def setUp(self) -> None:
        self.begin({"f": {"results": "1h", "retries": 0}})
        self.worker.tell(request(CAN_DO, b"f"))
        for number in range(1, 8):
            self.submit(b"")
            self.worker.ask(request(GRAB_JOB_OPTIONS))
            self.worker.tell(request(WORK_COMPLETE, b"H:test:%d" % number, b"r" * self.SIZE))
        self.client.heard()

    def answers(self) -> list[bytes]:
        """The handles of those that have been answered since the last time."""
        packets = Decoder(magic=RESPONSE_MAGIC)
        packets.extended = True
        return [bytes(arguments[1]) for _, arguments in packets.feed(self.client.heard())]

    def ask(self, *numbers: int) -> None:
        self.client.tell(*[asked(b"H:test:%d" % number, token=b"%d" % number) for number in numbers])

    def handles(self, *numbers: int) -> list[bytes]:
        return [b"H:test:%d" % number for number in numbers]

    def test_in_turn(self) -> None:
        self.ask(1, 2, 3, 4, 5)
        self.assertEqual(self.answers(), self.handles(1, 2))
        self.fixture.clock.advance(0)
        self.assertEqual(self.answers(), self.handles(3, 4, 5))
        self.ask(6)
        self.assertEqual(self.answers(), self.handles(6))
        self.ask(7)
        self.assertEqual(self.answers(), [])
        self.fixture.clock.advance(0)
        self.assertEqual(self.answers(), self.handles(7))

    def test_who_does_not_read(self) -> None:
        self.ask(1, 2, 3)
        self.answers()
        self.client.protocol.pauseProducing()
        self.fixture.clock.advance(0)
        self.assertEqual(self.answers(), [])
        self.client.protocol.resumeProducing()
        self.assertEqual(self.answers(), self.handles(3))

    def test_who_leaves(self) -> None:
        self.ask(1, 2, 3)
        self.answers()
        self.client.leave()
        self.fixture.clock.advance(0)
        self.assertEqual(self.answers(), [])

    def test_what_changes_meanwhile(self) -> None:
        self.ask(1, 2, 3, 4)
        self.answers()
        self.broker.operations.forget(b"H:test:3")
        self.fixture.clock.advance(0)
        self.assertEqual(self.answers(), self.handles(3, 4))

    def test_one_that_is_queued_again_meanwhile(self) -> None:
        self.submit(b"", workload=b"w" * self.SIZE)
        self.worker.ask(request(GRAB_JOB_OPTIONS))
        self.worker.tell(request(WORK_FAIL, b"H:test:8"))
        self.ask(1, 2, 8)
        self.answers()
        self.broker.operations.requeue(b"H:test:8", START)
        self.fixture.clock.advance(0)
        self.assertEqual(self.client.heard(), told(b"pending", handle=b"H:test:8", token=b"8"))
