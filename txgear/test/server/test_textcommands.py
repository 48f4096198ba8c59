"""
Tests of L{txgear.server.textcommands}, and of what L{txgear.server.operatorcommands} do, byte for byte.
"""

from __future__ import annotations

import os

from txgear import __version__
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    GRAB_JOB,
    MAX_FUNCTION,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW_BG,
    WORK_FAIL,
)
from txgear.protocol.packets import request, response
from txgear.server import textcommands
from txgear.test.support.net import error
from txgear.test.support.server import ServerFixture
from txgear.test.support.textcommands import (
    EMPTY,
    OK,
    UNKNOWN_FUNCTION,
    UNKNOWN_JOB,
    AdminTestCase,
    OwnTestCase,
)


class CancelTests(AdminTestCase):
    def test_cancel_job(self) -> None:
        client = self.fixture.connect()
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

    def test_perl_puts_the_server_before_the_handle(self) -> None:
        self.submit(b"f")
        self.check(
            (b"cancel job 127.0.0.1:4731/H:test:1", b"ERR UNKNOWN_JOB\r\n"),
            (b"cancel job 127.0.0.1:4731//H:test:1", OK),
        )

    def test_a_dead_job_has_ended(self) -> None:
        policy = CLASSIC.with_settings({"retries": 0, "dead": {"keep": 60}})
        self.fixture.server.broker.operations.set_policies(
            Policies([("*", policy)]), self.fixture.server.seconds()
        )
        self.submit(b"f")
        worker = self.fixture.connect()
        worker.tell(request(CAN_DO, b"f"), request(GRAB_JOB), request(WORK_FAIL, b"H:test:1"))
        self.check((b"cancel job H:test:1", b"ERR UNKNOWN_JOB\r\n"))


class FunctionTests(AdminTestCase):
    def test_names_that_look_like_escapes(self) -> None:
        """As in the reference they are what they are, unless it is a name as it is shown."""
        self.check(
            (b"create function App\\xdebug\\Job", OK),
            (b"create function App\\x5cxdebug\\Job", OK),
            (b"status", b"App\\x5cxdebug\\Job\t0\t0\t0\n" + EMPTY),
            (b"maxqueue App\\x5cxdebug\\Job 3", OK),
            (b"drop function app\\xdebug\\job", OK),
            (b"status", EMPTY),
            (b"create function App\\xdebug\\Job", OK),
            (b"drop function App\\x5cxDebug\\Job", OK),
            (b"status", EMPTY),
            (b"maxqueue App\\xdebug\\Job 3", OK),
            (b"status", b"App\\x5cxdebug\\Job\t0\t0\t0\n" + EMPTY),
        )

    def test_create_function(self) -> None:
        self.check(
            (b"create function wxyz", OK),
            (b"CREATE Function wxyz", OK),
            (b"create function crlf\r", OK),
            (b"status", b"wxyz\t0\t0\t0\ncrlf\t0\t0\t0\n" + EMPTY),
        )

    def test_drop_function(self) -> None:
        self.submit(b"queued")
        worker = self.fixture.connect()
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
                client = self.fixture.connect()
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
                textcommands.answer(self.fixture.server, self.peer, command + b"f" * (MAX_FUNCTION + 1)),
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
        self.fixture = ServerFixture(level="DEBUG")
        self.operator = self.fixture.connect()
        self.check((b"verbose", b"OK DEBUG\n"))

    def test_unknown_commands(self) -> None:
        for line in (b"stats", b"", b" status", b"shutdown", b"shutdown graceful", b"\x80\x07"):
            word = line.split(b" ")[0].replace(b"\x80\x07", b"\\x80\\x07")
            self.check((line, b"ERR UNKNOWN_COMMAND Unknown+server+command" + word + b"\r\n"))

    def test_too_many_words_end_the_connection(self) -> None:
        self.assertEqual(self.operator.ask(b"maxqueue f 1 2 3\n"), OK)
        # What came before in the same read is answered.
        self.assertEqual(self.operator.ask(b"maxqueue f 1\nmaxqueue f 1 2 3 4\nstatus\n"), OK)
        self.assertTrue(self.operator.closed)

    def test_http_ends_the_connection(self) -> None:
        """A browser is made to post commands: none of them is obeyed."""
        self.submit(b"f")
        post = b"POST / HTTP/1.1\r\nHost: 127.0.0.1:4730\r\nContent-Length: 9\r\n\r\npurge f\r\n"
        self.assertEqual(self.operator.ask(b"version\n" + post), b"OK %s\n" % __version__.encode())
        self.assertTrue(self.operator.closed)
        self.operator = self.fixture.connect()
        self.check((b"status", b"f\t1\t0\t0\n" + EMPTY))

    def test_lines_and_packets_may_be_mixed(self) -> None:
        self.assertEqual(
            self.operator.ask(b"status\r\n", request(ECHO_REQ, b"x"), b"version\nstatus\n"),
            EMPTY + response(ECHO_RES, b"x") + b"OK %s\n" % __version__.encode() + EMPTY,
        )

    def test_shutdown_where_it_is_allowed(self) -> None:
        self.fixture = ServerFixture(allow_shutdown=True)
        self.operator = self.fixture.connect()
        self.check((b"shutdown", OK))
        asked: list[bool] = []
        self.fixture.server.shutdown = asked.append
        self.check(
            (b"shutdown", OK),
            (b"Shutdown Graceful", OK),
            (b"shutdown now", b"ERR UNKNOWN_ERROR\r\n"),
            (b"shutdown graceful now", b"ERR UNKNOWN_ERROR\r\n"),
        )
        self.assertEqual(asked, [False, True])


class OrderTests(OwnTestCase):
    def test_purge(self) -> None:
        for _ in range(3):
            self.submit(b"a b")
        self.check(
            (b"purge a\\x20b", b"OK 3\n"),
            (b"purge g", UNKNOWN_FUNCTION),
            (b"purge", b"ERR INVALID_ARGUMENTS purge+wants+the+name+of+one+function\r\n"),
            (b"purge a b", b"ERR INVALID_ARGUMENTS purge+wants+the+name+of+one+function\r\n"),
        )
        self.fixture.clock.advance(0)
        self.check((b"jobs", EMPTY))

    def test_pause_and_resume(self) -> None:
        self.submit(b"f")
        self.check((b"pause f", OK), (b"pause f", OK))
        self.assertEqual(self.rows(b"policy f")[b"paused"], b"yes")
        self.check((b"resume f", OK), (b"resume f", b"ERR NOT_PAUSED The+function+is+not+paused\r\n"))
        self.check((b"pause", b"ERR INVALID_ARGUMENTS pause+wants+the+name+of+one+function\r\n"))
        self.check((b"resume", b"ERR INVALID_ARGUMENTS resume+wants+the+name+of+one+function\r\n"))

    def test_names_that_look_like_escapes(self) -> None:
        typed, shown = b"App\\xdebug\\Job", b"App\\x5cxdebug\\Job"
        self.check((b"pause " + typed, UNKNOWN_FUNCTION), (b"policy " + typed, UNKNOWN_FUNCTION))
        self.submit(typed)
        for word in (typed, shown):
            self.check((b"pause " + word, OK))
            self.assertEqual(self.rows(b"policy " + word)[b"paused"], b"yes")
            self.check((b"resume " + word, OK), (b"purge " + word, b"OK 1\n"))
            self.fixture.clock.advance(0)
            self.submit(typed)
            self.check((b"requeue function " + word, b"OK 0\n"), (b"forget dead " + word, b"OK 0\n"))

    def test_a_name_that_is_too_long(self) -> None:
        self.assertEqual(
            textcommands.answer(self.fixture.server, self.peer, b"pause " + b"f" * (MAX_FUNCTION + 1)),
            b"ERR ARGUMENT_TOO_LARGE Function+name+too+large\r\n",
        )

    def test_requeue(self) -> None:
        handles = [self.kill_one() for _ in range(3)]
        self.check(
            (b"requeue job " + handles[0], OK),
            (b"requeue job " + handles[0], b"ERR NOT_DEAD The+job+is+not+dead,+and+does+not+wait\r\n"),
            (b"requeue job H:test:7", UNKNOWN_JOB),
            (b"Requeue Function f", b"OK 2\n"),
            (b"requeue function g", UNKNOWN_FUNCTION),
            (b"requeue f", b"ERR INVALID_ARGUMENTS requeue+wants+job+or+function,+and+one+name\r\n"),
            (b"requeue dead f", b"ERR INVALID_ARGUMENTS requeue+wants+job+or+function,+and+one+name\r\n"),
        )
        self.fixture.clock.advance(0)
        self.check(
            (b"requeue function f", b"OK 0\n"),
            (b"dead", EMPTY),
            (b"status", b"f\t3\t0\t1\na b\t0\t0\t1\n.\n"),
        )

    def test_forget(self) -> None:
        handles = [self.kill_one() for _ in range(3)]
        live = self.submit(b"f")
        self.check(
            (b"forget job " + handles[0], OK),
            (b"forget job " + handles[0], UNKNOWN_JOB),
            (b"forget job " + live, b"ERR NOT_ENDED The+job+has+not+ended;+it+can+be+cancelled\r\n"),
            (b"forget dead f", b"OK 2\n"),
            (b"forget dead g", UNKNOWN_FUNCTION),
            (b"forget", b"ERR INVALID_ARGUMENTS forget+wants+job+or+dead,+and+one+name\r\n"),
        )
        self.fixture.clock.advance(0)
        self.check((b"dead", EMPTY))
