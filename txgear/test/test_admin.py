"""Tests of L{txgear.admin}: every text command, byte for byte."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from txgear import __version__, admin
from txgear.constants import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    GRAB_JOB,
    MAX_FUNCTION,
    SET_CLIENT_ID,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW_BG,
    WORK_FAIL,
)
from txgear.test.support import Port, error
from txgear.wire import request, response

OK = b"OK\r\n"
EMPTY = b".\n"


class AdminTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.port = Port()
        self.operator = self.port.connect()

    def check(self, *exchanges: tuple[bytes, bytes]) -> None:
        """Each line is answered so, whatever its line end."""
        for line, answer in exchanges:
            self.assertEqual(self.operator.ask(line + b"\n"), answer, line)

    def submit(self, function: bytes, unique: bytes = b"", kind: int = SUBMIT_JOB_BG) -> None:
        self.port.connect().tell(request(kind, function, unique, b""))


class ListTests(AdminTestCase):
    def test_nothing(self) -> None:
        self.check(
            (b"status", EMPTY),
            (b"prioritystatus", EMPTY),
            (b"show jobs", EMPTY),
            (b"show unique jobs", EMPTY),
            (b"workers", b"1 192.0.2.1 - :\n" + EMPTY),
        )

    def test_status_counts_all_jobs_those_that_run_and_workers(self) -> None:
        worker = self.port.connect()
        worker.tell(request(CAN_DO, b"g"), request(CAN_DO, b"f"))
        for _ in range(3):
            self.submit(b"f")
        worker.tell(request(GRAB_JOB))
        self.submit(b"x y")
        self.port.connect().tell(request(SUBMIT_JOB_EPOCH, b"f", b"", b"99999", b""))
        self.check(
            (b"status", b"g\t0\t0\t1\nf\t4\t1\t1\nx y\t1\t0\t0\n" + EMPTY),
            (b"status of everything", b"g\t0\t0\t1\nf\t4\t1\t1\nx y\t1\t0\t0\n" + EMPTY),
        )

    def test_prioritystatus_counts_what_is_queued(self) -> None:
        for kind in (SUBMIT_JOB_LOW_BG, SUBMIT_JOB_HIGH_BG, SUBMIT_JOB_HIGH_BG, SUBMIT_JOB_BG):
            self.submit(b"f", kind=kind)
        worker = self.port.connect()
        worker.tell(request(CAN_DO, b"f"), request(GRAB_JOB))
        self.check((b"prioritystatus", b"f\t1\t1\t1\t1\n" + EMPTY))

    def test_workers_shows_every_connection_and_the_newest_first(self) -> None:
        worker = self.port.connect("2001:db8::1")
        worker.tell(request(SET_CLIENT_ID, b"me"), request(CAN_DO, b"f"), request(CAN_DO, b"g"))
        self.check((b"workers", b"2 2001:db8::1 me : g f\n1 192.0.2.1 - :\n" + EMPTY))
        worker.tell(request(CAN_DO, b"f"))
        worker.tell(request(SET_CLIENT_ID, b""))
        self.check((b"workers", b"2 2001:db8::1 - : f g\n1 192.0.2.1 - :\n" + EMPTY))
        worker.leave()
        self.check((b"workers", b"1 192.0.2.1 - :\n" + EMPTY))

    def test_names_cannot_forge_lines(self) -> None:
        worker = self.port.connect()
        worker.tell(request(SET_CLIENT_ID, b"a b\n9 evil"), request(CAN_DO, b"f\n.\n\t"))
        self.submit(b"f\n.\n\t", b"u\n.")
        shown = b"f\\x0a.\\x0a\\x09"
        peers = [b"3 192.0.2.1 - :", b"2 192.0.2.1 a\\x20b\\x0a9\\x20evil : " + shown, b"1 192.0.2.1 - :"]
        self.check(
            (b"workers", b"\n".join(peers) + b"\n" + EMPTY),
            (b"status", shown + b"\t1\t0\t1\n" + EMPTY),
            (b"prioritystatus", shown + b"\t0\t1\t0\t1\n" + EMPTY),
            (b"show unique jobs", b"u\\x0a.\n" + EMPTY),
        )

    def test_show(self) -> None:
        self.submit(b"f", b"u")
        client = self.port.connect()
        client.tell(request(SUBMIT_JOB, b"f", b"", b""))
        worker = self.port.connect()
        worker.tell(request(CAN_DO, b"f"), request(GRAB_JOB))
        worker.leave()
        worker = self.port.connect()
        worker.tell(request(CAN_DO, b"f"), request(GRAB_JOB), request(GRAB_JOB))
        client.leave()
        jobs = b"H:test:1\t1\t0\t1\nH:test:2\t0\t1\t0\n" + EMPTY
        uniques = b"u\n\n" + EMPTY
        unknown = b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"
        self.check(
            (b"show jobs", jobs),
            (b"SHOW Jobs", jobs),
            (b"show unique jobs", uniques),
            (b"Show Unique JOBS", uniques),
            (b"show", b"ERR UNKNOWN_COMMAND Unknown+server+commandshow\r\n"),
            *((b"show " + rest, unknown) for rest in (b"", b"unique", b"job", b"unique job", b"jobs all")),
        )


class CancelTests(AdminTestCase):
    def test_cancel_job(self) -> None:
        client = self.port.connect()
        client.tell(request(SUBMIT_JOB, b"f", b"", b""))
        client.heard()
        self.check(
            (b"cancel job H:test:1", OK),
            (b"cancel job H:test:1", b"ERR UNKNOWN_JOB\r\n"),
            (b"cancel job H:test:7", b"ERR UNKNOWN_JOB\r\n"),
            (b"cancel jobs H:test:1", b"ERR UNKNOWN_ERROR\r\n"),
            (b"cancel job", b"ERR UNKNOWN_COMMAND Unknown+server+commandcancel\r\n"),
            (b"cancel", b"ERR UNKNOWN_COMMAND Unknown+server+commandcancel\r\n"),
        )
        self.assertEqual(client.heard(), response(WORK_FAIL, b"H:test:1"))
        self.check((b"status", EMPTY))


class FunctionTests(AdminTestCase):
    def test_create_function(self) -> None:
        self.check(
            (b"create function wxyz", OK),
            (b"CREATE Function wxyz", OK),
            (b"create function crlf\r", OK),
            (b"status", b"wxyz\t0\t0\t0\ncrlf\t0\t0\t0\n" + EMPTY),
        )

    def test_drop_function(self) -> None:
        self.submit(b"queued")
        worker = self.port.connect()
        worker.tell(request(CAN_DO, b"able"))
        in_use = b"ERR there are still connected workers or executing clients\r\n"
        self.check(
            (b"create function f", OK),
            (b"drop function F", OK),
            (b"drop function f", b"ERR function not found\r\n"),
            (b"drop function queued", in_use),
            (b"drop function able", in_use),
            (b"status", b"queued\t1\t0\t0\nable\t0\t0\t1\n" + EMPTY),
        )

    def test_missing_words(self) -> None:
        incomplete = b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+%s\r\n"
        for command in (b"create", b"drop", b"Drop"):
            for rest in (b"", b" function", b" f", b" function ", b" queue f", b" function f g"):
                self.check((command + rest, incomplete % command))
        self.check((b"maxqueue", incomplete % b"maxqueue"), (b"status", EMPTY))

    def test_maxqueue(self) -> None:
        full = error(b"QUEUE_ERROR", b"Job queue is full")
        for line, kinds in (
            (b"maxqueue f 1", {SUBMIT_JOB_HIGH_BG, SUBMIT_JOB_BG, SUBMIT_JOB_LOW_BG}),
            (b"maxqueue f 0 1 2", {SUBMIT_JOB_BG}),
            (b"maxqueue f 1 2", {SUBMIT_JOB_HIGH_BG}),
            (b"maxqueue f -3", set()),
            (b"maxqueue f many", set()),
            (b"MaxQueue f", set()),
        ):
            for kind in (SUBMIT_JOB_HIGH_BG, SUBMIT_JOB_BG, SUBMIT_JOB_LOW_BG):
                self.setUp()
                client = self.port.connect()
                client.tell(request(SUBMIT_JOB_BG, b"f", b"", b""))
                self.check((line, OK))
                client.heard()
                answer = client.ask(request(kind, b"f", b"", b""))
                self.assertEqual(answer == full, kind in kinds, (line, kind))

    def test_maxqueue_is_remembered_for_a_function_that_comes_later(self) -> None:
        self.check((b"maxqueue f 1", OK), (b"status", b"f\t0\t0\t0\n" + EMPTY))
        self.check((b"maxqueue f", OK), (b"status", EMPTY))

    def test_names_that_are_too_long(self) -> None:
        # No line that a connection takes is long enough; what others hand in may be.
        for command in (b"create function ", b"maxqueue "):
            self.assertEqual(
                admin.answer(self.port.server, command + b"f" * (MAX_FUNCTION + 1)),
                b"ERR ARGUMENT_TOO_LARGE Function+name+too+large\r\n",
            )


class AnswerTests(AdminTestCase):
    def test_values(self) -> None:
        self.check(
            (b"getpid", b"OK %d\n" % os.getpid()),
            (b"verbose", b"OK ERROR\n"),
            (b"version", b"OK %s\n" % __version__.encode()),
            (b"VERSION", b"OK %s\n" % __version__.encode()),
        )
        self.port = Port(level="DEBUG")
        self.operator = self.port.connect()
        self.check((b"verbose", b"OK DEBUG\n"))

    def test_unknown_commands(self) -> None:
        for line in (b"stats", b"", b" status", b"shutdown", b"shutdown graceful", b"\x80\x07"):
            word = line.split(b" ")[0].replace(b"\x07", b"\\x07")
            self.check((line, b"ERR UNKNOWN_COMMAND Unknown+server+command" + word + b"\r\n"))

    def test_too_many_words_end_the_connection(self) -> None:
        self.assertEqual(self.operator.ask(b"maxqueue f 1 2 3\n"), OK)
        # What came before in the same read is answered.
        self.assertEqual(self.operator.ask(b"maxqueue f 1\nmaxqueue f 1 2 3 4\nstatus\n"), OK)
        self.assertTrue(self.operator.closed)

    def test_lines_and_packets_may_be_mixed(self) -> None:
        self.assertEqual(
            self.operator.ask(b"status\r\n", request(ECHO_REQ, b"x"), b"version\nstatus\n"),
            EMPTY + response(ECHO_RES, b"x") + b"OK %s\n" % __version__.encode() + EMPTY,
        )

    def test_shutdown_where_it_is_allowed(self) -> None:
        self.port = Port(allow_shutdown=True)
        self.operator = self.port.connect()
        self.check((b"shutdown", OK))
        asked: list[bool] = []
        self.port.server.shutdown = asked.append
        self.check(
            (b"shutdown", OK),
            (b"Shutdown Graceful", OK),
            (b"shutdown now", b"ERR UNKNOWN_ERROR\r\n"),
            (b"shutdown graceful now", b"ERR UNKNOWN_ERROR\r\n"),
        )
        self.assertEqual(asked, [False, True])
