"""Tests of L{txgear.server.textcommands}: every text command, byte for byte."""

from __future__ import annotations

import os

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from txgear import __version__
from txgear.broker.model import Peer
from txgear.broker.shares import Share
from txgear.errors import StoreUnavailable
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    GRAB_JOB,
    HEADER_SIZE,
    MAX_FUNCTION,
    SET_CLIENT_ID,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW_BG,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
)
from txgear.protocol.packets import request, response
from txgear.server import textcommands
from txgear.server.clusterview import Status
from txgear.server.schedules import Schedule
from txgear.server.tcplink import AVAILABLE
from txgear.test.support.clock import START
from txgear.test.support.clusterview import FakeCluster, free_part, server_shown
from txgear.test.support.net import FakeTcpConnection, error
from txgear.test.support.server import DurableServerTestCase, ServerFixture, submit

OK = b"OK\r\n"
EMPTY = b".\n"


class AdminTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.operator = self.fixture.connect()

    @property
    def peer(self) -> Peer:
        """The operator, as the broker knows it."""
        return self.operator.protocol.peer

    def check(self, *exchanges: tuple[bytes, bytes]) -> None:
        """Each line is answered so, whatever its line end."""
        for line, answer in exchanges:
            self.assertEqual(self.operator.ask(line + b"\n"), answer, line)

    def submit(self, function: bytes, unique: bytes = b"", kind: int = SUBMIT_JOB_BG) -> bytes:
        """A job of somebody's; its handle."""
        answer = self.fixture.connect().ask(request(kind, function, unique, b""))
        return answer[HEADER_SIZE:]


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
        worker = self.fixture.connect()
        worker.tell(request(CAN_DO, b"g"), request(CAN_DO, b"f"))
        for _ in range(3):
            self.submit(b"f")
        worker.tell(request(GRAB_JOB))
        self.submit(b"x y")
        self.fixture.connect().tell(request(SUBMIT_JOB_EPOCH, b"f", b"", b"99999", b""))
        self.check(
            (b"status", b"g\t0\t0\t1\nf\t4\t1\t1\nx y\t1\t0\t0\n" + EMPTY),
            (b"status of everything", b"g\t0\t0\t1\nf\t4\t1\t1\nx y\t1\t0\t0\n" + EMPTY),
        )

    def test_prioritystatus_counts_what_is_queued(self) -> None:
        for kind in (SUBMIT_JOB_LOW_BG, SUBMIT_JOB_HIGH_BG, SUBMIT_JOB_HIGH_BG, SUBMIT_JOB_BG):
            self.submit(b"f", kind=kind)
        worker = self.fixture.connect()
        worker.tell(request(CAN_DO, b"f"), request(GRAB_JOB))
        self.check((b"prioritystatus", b"f\t1\t1\t1\t1\n" + EMPTY))

    def test_workers_shows_every_connection_and_the_newest_first(self) -> None:
        worker = self.fixture.connect("2001:db8::1")
        worker.tell(request(SET_CLIENT_ID, b"me"), request(CAN_DO, b"f"), request(CAN_DO, b"g"))
        self.check((b"workers", b"2 2001:db8::1 me : g f\n1 192.0.2.1 - :\n" + EMPTY))
        worker.tell(request(CAN_DO, b"f"))
        worker.tell(request(SET_CLIENT_ID, b""))
        self.check((b"workers", b"2 2001:db8::1 - : f g\n1 192.0.2.1 - :\n" + EMPTY))
        worker.leave()
        self.check((b"workers", b"1 192.0.2.1 - :\n" + EMPTY))

    def test_names_cannot_forge_lines(self) -> None:
        worker = self.fixture.connect()
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

    def test_names_are_one_to_one(self) -> None:
        names = {
            b"look\talike": b"look\\x09alike",
            b"look\\x09alike": b"look\\x5cx09alike",
            b"App\\Jobs\\Mail": b"App\\Jobs\\Mail",
            b"caf\xe9": b"caf\\xe9",
            b"caf\xc3\xa9": b"caf\xc3\xa9",
            b"a b": b"a b",
        }
        for name in names:
            self.submit(name, name)
        listed = b"".join(name + b"\n" for name in names.values()) + EMPTY
        self.check(
            (b"show unique jobs", listed),
            (b"status", listed.replace(b"\n", b"\t1\t0\t0\n", 6)),
        )

    def test_a_row_is_not_the_end_of_the_list(self) -> None:
        for unique in (b"first", b".", b"..", b". ", b"last."):
            self.submit(b"f", unique)
        self.check((b"show unique jobs", b"first\n\\x2e\n..\n. \nlast.\n" + EMPTY))

    def test_a_function_with_a_blank_is_one_function_of_a_worker(self) -> None:
        self.operator.tell(request(CAN_DO, b"send mail"), request(CAN_DO, b"g"))
        self.check((b"workers", b"1 192.0.2.1 - : g send\\x20mail\n" + EMPTY))

    def test_show(self) -> None:
        self.submit(b"f", b"u")
        client = self.fixture.connect()
        client.tell(request(SUBMIT_JOB, b"f", b"", b""))
        worker = self.fixture.connect()
        worker.tell(request(CAN_DO, b"f"), request(GRAB_JOB))
        worker.leave()
        worker = self.fixture.connect()
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


UNKNOWN_JOB = b"ERR UNKNOWN_JOB\r\n"
UNKNOWN_FUNCTION = b"ERR UNKNOWN_FUNCTION There+is+no+such+function\r\n"
PAST = b"1970-01-01T00:16:40.000Z"
"""L{START} as a moment."""


class OwnTestCase(AdminTestCase):
    """
    The commands that the reference does not have.

    @ivar worker: can do C{f} and C{a b}.
    """

    def setUp(self) -> None:
        super().setUp()
        self.worker = self.fixture.connect()
        self.worker.tell(request(SET_CLIENT_ID, b"me"), request(CAN_DO, b"f"), request(CAN_DO, b"a b"))

    def set_policies(self, *rules: tuple[str, dict[str, object]]) -> None:
        policies = Policies([(pattern, CLASSIC.with_settings(settings)) for pattern, settings in rules])
        self.fixture.server.broker.operations.set_policies(policies, START)

    def kill_one(self, function: bytes = b"f", workload: bytes = b"", said: bytes = b"no") -> bytes:
        """A job dies in its second attempt; its handle."""
        self.set_policies(("*", {"retries": 1, "backoff": 0}))
        number = self.fixture.server.broker.table.next_number
        self.fixture.connect().tell(request(SUBMIT_JOB_BG, function, b"", workload))
        handle = b"H:test:%d" % number
        for _ in range(2):
            self.worker.tell(request(GRAB_JOB), request(WORK_EXCEPTION, handle, said))
        self.worker.heard()
        return handle

    def do_one(self, data: bytes, result: bytes, **settings: object) -> bytes:
        """A job is done, under a policy that keeps results; its handle."""
        self.set_policies(("*", {"results": "1h", **settings}))
        number = self.fixture.server.broker.table.next_number
        self.submit(b"f", b"u")
        handle = b"H:test:%d" % number
        self.worker.tell(request(GRAB_JOB), request(WORK_DATA, handle, data))
        self.worker.tell(request(WORK_COMPLETE, handle, result))
        return handle

    def rows(self, line: bytes) -> dict[bytes, bytes]:
        """A list answer of keys and values; the last of each key."""
        answer = self.operator.ask(line + b"\n")
        self.assertTrue(answer.endswith(b"\n.\n"), answer)
        return {key: rest for key, _, rest in (row.partition(b"\t") for row in answer[:-3].split(b"\n"))}


class OwnListTests(OwnTestCase):
    def test_nothing(self) -> None:
        self.check(
            (b"jobs", EMPTY), (b"JOBS ", EMPTY), (b"dead", EMPTY), (b"kept", EMPTY), (b"policies", EMPTY)
        )

    def test_jobs(self) -> None:
        self.submit(b"f")
        self.submit(b"a b", b"-", SUBMIT_JOB_LOW_BG)
        self.worker.tell(request(GRAB_JOB))
        self.fixture.clock.advance(2.9)
        running = b"H:test:1\tf\trunning\tnormal\t2\t0\tme\t-\n"
        queued = b"H:test:2\ta\\x20b\tqueued\tlow\t2\t0\t-\t\\x2d\n"
        self.check(
            (b"jobs", running + queued + EMPTY),
            (b"jobs function=a\\x20b", queued + EMPTY),
            (b"jobs state=queued,waiting", queued + EMPTY),
            (b"jobs worker=me older=2 text= limit=1 after=0 state=running", running + EMPTY),
            (b"jobs older=3s", EMPTY),
            (b"jobs limit=1", running + b"next\t1\n" + EMPTY),
            (b"jobs limit=1 after=1", queued + EMPTY),
        )
        self.fixture.server.broker.table.jobs[1].created = 0.0
        self.check((b"jobs limit=1", running.replace(b"\t2\t", b"\t-\t") + b"next\t1\n" + EMPTY))

    def test_connections(self) -> None:
        protocol = self.fixture.factory.buildProtocol(None)
        FakeTcpConnection(protocol, MemoryReactorClock(), 12)
        protocol.dataReceived(request(CAN_DO, b"a b") + request(CAN_DO, b"g"))
        self.worker.tell(request(CAN_DO, b"h"))
        ours = b"%d\t192.0.2.1\t-\t-\tno\t0\t0\t-\n" % self.operator.protocol.peer.descriptor
        me = b"%d\t192.0.2.1\tme\t-\tno\t0\t3\tf a\\x20b h\n" % self.worker.protocol.peer.descriptor
        known = b"0.050" if AVAILABLE else b"-"
        other = b"12\t192.0.2.1\t-\t" + known + b"\tno\t0\t2\ta\\x20b g\n"
        total = b"total\t3\t0\t0\n" + EMPTY
        self.check(
            (b"connections", ours + me + other + total),
            (b"connections worker=me", me + total),
            (b"connections limit=1", ours + b"next\t1\n" + total),
            (b"connections after=2 limit=1", other + total),
            (b"connections quickack=yes", total),
            (b"connections quickack=1", b"ERR INVALID_ARGUMENT quickack+is+yes+or+no\r\n"),
        )

    def test_what_a_worker_calls_itself_can_be_pasted(self) -> None:
        self.worker.tell(request(SET_CLIENT_ID, "client ü".encode() + b"\\x41\xff"))
        other = self.fixture.connect()
        other.tell(request(CAN_DO, b"f"))
        for peer in (self.worker, other):
            self.submit(b"f")
            peer.tell(request(GRAB_JOB))
        names = [row.split(b"\t")[6] for row in self.operator.ask(b"jobs\n").split(b"\n")[:2]]
        self.assertEqual(names, ["client\\x20ü\\x5cx41\\xff".encode(), b"192.0.2.1\\x203"])
        for number, name in enumerate(names, 1):
            found = self.operator.ask(b"jobs worker=%s\n" % name).split(b"\t")
            self.assertEqual((found[0], found[6]), (b"H:test:%d" % number, name))
            self.assertEqual(self.rows(b"job H:test:%d" % number)[b"worker"], name)

    def test_what_makes_no_sense(self) -> None:
        wrong = b"ERR INVALID_ARGUMENT "
        self.check(
            (b"jobs f", wrong + b"f:+one+value+is+wanted,+as+in+f=value\r\n"),
            (b"jobs limit=0", wrong + b"limit+is+a+number+from+1+to+200\r\n"),
            (
                b"dead state=dead",
                wrong + b"state+is+not+known;+there+are+function,+unique,+reason,+review,"
                b"+text,+after,+limit\r\n",
            ),
            (b"kept \x07", wrong + b"\\x07:+one+value+is+wanted,+as+in+\\x07=value\r\n"),
        )

    def test_dead(self) -> None:
        handle = self.kill_one(b"a b", said=b"not this\ttime")
        died = handle + b"\ta\\x20b\t" + PAST + b"\t2\texception\t-\tnot this\\x09time\n"
        self.check((b"dead", died + EMPTY), (b"dead text=this function=a*", died + EMPTY), (b"kept", EMPTY))

    def test_kept(self) -> None:
        handle = self.do_one(b"ab", b"cde")
        self.fixture.clock.advance(60.5)
        self.check(
            (b"kept", handle + b"\tf\tdone\t60\t5\t3539\tu\n" + EMPTY),
            (b"kept text=cd", handle + b"\tf\tdone\t60\t5\t3539\tu\n" + EMPTY),
            (b"dead", EMPTY),
        )

    def test_policies(self) -> None:
        self.set_policies(("a b*", {"retries": 3, "timeout": "1m"}), ("*", {"concurrency": 2}))
        self.submit(b"a b")
        first, second = self.operator.ask(b"policies\n").split(b"\n")[:2]
        self.assertTrue(first.startswith(b'a\\x20b*\t{"retries":3,"backoff":{"kind":"exponential",'), first)
        self.assertEqual(second, b'*\t{"concurrency":2}')
        pattern = self.rows(b"policy a\\x20b")[b"pattern"]
        self.assertEqual(pattern, first.split(b"\t")[0])
        self.assertIn(b"\ta\\x20b\t", self.operator.ask(b"jobs function=" + pattern + b"\n"))
        self.check((b"policies f", INCOMPLETE % b"policies"))

    def test_sixteen_words(self) -> None:
        self.assertIn(b"one+value", self.operator.ask(b"jobs" + b" limit=1" * 15 + b"\n"))
        self.assertEqual(self.operator.ask(b"jobs" + b" limit=1" * 16 + b"\n"), b"")
        self.assertTrue(self.operator.closed)


INCOMPLETE = b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+%s\r\n"


class OneJobTests(OwnTestCase):
    def test_job(self) -> None:
        self.submit(b"a b", b"u")
        self.check(
            (
                b"job H:test:1",
                b"handle\tH:test:1\nnumber\t1\nfunction\ta\\x20b\nunique\tu\nstate\tqueued\npriority\tnormal\n"
                b"background\tyes\ncreated\t"
                + PAST
                + b"\nattempts\t0\nsize\t0\nloaded\tyes\nunreadable\tno\nstored\tno\n"
                b"clients\t0\n" + EMPTY,
            ),
            (b"job H:test:2", UNKNOWN_JOB),
            (b"job", b"ERR INVALID_ARGUMENTS job+wants+the+handle+of+one+job\r\n"),
            (b"job H:test:1 H:test:2", b"ERR INVALID_ARGUMENTS job+wants+the+handle+of+one+job\r\n"),
        )

    def test_who_waits(self) -> None:
        client = self.fixture.connect("192.0.2.7")
        client.tell(request(SET_CLIENT_ID, b"a b"), request(SUBMIT_JOB, b"f", b"", b""))
        descriptor = list(self.fixture.server.broker.peers)[-1].descriptor
        answer = self.operator.ask(b"job H:test:1\n")
        self.assertIn(b"\nclients\t1\nwaiter\t%d\t192.0.2.7\ta\\x20b\n" % descriptor, answer)

    def test_history(self) -> None:
        handle = self.kill_one(said=b"not this\ntime")
        answer = self.operator.ask(b"job " + handle + b"\n")
        attempt = b"attempt\t" + PAST + b"\t" + PAST + b"\texception\tme\tnot this\\x0atime\n"
        self.assertIn(b"state\tdead\n", answer)
        self.assertIn(b'reasons\t{"exception":2}\nsetting\tretries\t1\n', answer)
        self.assertTrue(answer.endswith(attempt * 2 + EMPTY))

    def test_workload(self) -> None:
        handle = self.kill_one(workload=b"a b\n\xff\\")
        shown = b"handle\tH:test:%d\nsize\t6\nshown\t6\nworkload\ta b\\x0a\\xff\\\n"
        empty = self.submit(b"f")
        self.check(
            (b"workload " + handle, shown % 1 + EMPTY),
            (b"workload " + empty, b"handle\t" + empty + b"\nsize\t0\nshown\t0\nworkload\t\n" + EMPTY),
            (b"workload H:test:7", UNKNOWN_JOB),
            (b"workload", b"ERR INVALID_ARGUMENTS workload+wants+the+handle+of+one+job\r\n"),
        )
        self.check((b"cancel job " + empty, OK))
        handle = self.do_one(b"", b"")
        self.check(
            (b"workload " + handle, b"ERR NO_WORKLOAD The+job+has+ended,+its+workload+is+not+kept\r\n"),
            (
                b"requeue job " + handle,
                b"ERR NO_WORKLOAD The+job+is+over,+and+its+workload+is+not+kept:+submit+it+again\r\n",
            ),
        )

    def test_result(self) -> None:
        handle = self.do_one(b"a\t", b"bc")
        self.check(
            (
                b"result " + handle,
                b"handle\t"
                + handle
                + b"\noutcome\tdone\nsize\t4\nshown\t4\ndata\ta\\x09\nresult\tbc\n"
                + EMPTY,
            ),
            (b"result H:test:7", UNKNOWN_JOB),
        )

    def test_no_result(self) -> None:
        self.submit(b"f")
        not_kept = b"ERR NO_RESULT What+the+job+has+brought+is+not+kept\r\n"
        self.check((b"result H:test:1", b"ERR NO_RESULT The+job+has+not+ended\r\n"), (b"purge f", b"OK 1\n"))
        self.fixture.clock.advance(0)
        self.check((b"result " + self.kill_one(), not_kept))
        self.check((b"result " + self.do_one(b"", b"large", results={"keep": "1h", "bytes": 1}), not_kept))


class ServerTests(OwnTestCase):
    def test_policy(self) -> None:
        self.set_policies(("a*", {"concurrency": 2}))
        self.submit(b"a b", b"u")
        self.check(
            (b"maxqueue f 1 2 3", OK),
            (
                b"policy a\\x20b",
                b"function\ta\\x20b\npattern\ta*\npaused\tno\nroom\t2\njobs\t1\nrunning\t0\nbytes\t0\nkept\t0\n"
                b"workers\t1\nsetting\tconcurrency\t2\n" + EMPTY,
            ),
            (b"policy", INCOMPLETE % b"policy"),
        )
        self.assertEqual(self.rows(b"policy f")[b"maxqueue"], b'{"high":1,"normal":2,"low":3}')

    def test_a_share(self) -> None:
        self.set_policies(("f", {"concurrency": 4}))
        server = self.fixture.server
        server.broker.operations.set_share(Share(2, 0), server.seconds())
        self.assertEqual(self.rows(b"policy f")[b"share"], b'{"servers":2,"rate":null,"concurrency":2}')

    def test_schedules(self) -> None:
        self.check((b"schedules", b".\n"), (b"schedules s", INCOMPLETE % b"schedules"))
        scheduler = self.fixture.server.scheduler
        never = Schedule(b"s", "0 0 */31 2 SUN#2", b"f")
        scheduler.start([Schedule(b"at night", "0 3 * * *", b"f"), never], [])
        self.addCleanup(scheduler.stop)
        self.check(
            (
                b"schedules",
                b"at\\x20night\t0 3 * * *\tUTC\tf"
                b"\t1970-01-01T00:16:40.000Z\t1970-01-01T03:00:00.000Z\n"
                b"s\t0 0 */31 2 SUN#2\tUTC\tf\t1970-01-01T00:16:40.000Z\t-\n.\n",
            )
        )

    def test_cluster(self) -> None:
        self.check((b"cluster", b".\n"), (b"cluster a", INCOMPLETE % b"cluster"))
        self.fixture.server.cluster = FakeCluster(
            server_shown("a b", 1, 4, address="a.example.com:4730", own=True, seconds=0.4),
            server_shown("c", 3, seconds=6.3, status=Status(queued=2)),
            free=(free_part(2, 31.6),),
        )
        rows = (
            b"1\ta\\x20b\ta.example.com:4730\tyes\t1\t41\t0\talive\t-\t-\t-\t-\t-\n"
            b"2\t-\t-\tno\t2\t12\t31\t-\t-\t-\t-\t-\t-\n"
            b"3\tc\t-\tno\t1\t43\t6\tsilent\t-\t2\t-\t-\t-\n"
            b"4\ta\\x20b\ta.example.com:4730\tyes\t1\t44\t0\talive\t1.2\t12\t3\t4\t0.0012\n"
        )
        self.check((b"cluster", rows + b".\n"))

    def test_the_file_is_a_setting(self) -> None:
        self.assertNotIn(b"config", self.rows(b"settings"))
        self.fixture.server.config = "/etc/txgear.toml"
        self.assertEqual(self.rows(b"settings")[b"config"], b"/etc/txgear.toml")

    def test_settings(self) -> None:
        rows = self.rows(b"settings")
        self.assertEqual((rows[b"store"], rows[b"prefix"]), (b"memory:", b"H:test"))
        self.assertEqual((rows[b"retries"], rows[b"store_timeout"]), (b"-1", b"5"))
        self.assertEqual((rows[b"allow_shutdown"], rows[b"keep_alive.idle"]), (b"no", b"0"))
        self.check((b"settings all", INCOMPLETE % b"settings"))


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


class StoredTests(DurableServerTestCase):
    """What has to be read from the store is answered when it is there."""

    def setUp(self) -> None:
        super().setUp()
        self.client.tell(submit(b"workload"))
        self.thread.run_all()
        self.begin()

    def test_it_holds_its_place(self) -> None:
        asked = b"workload H:test:1\n"
        self.client.tell(b"version\n" + asked + request(ECHO_REQ, b"x"))
        self.assertEqual(self.client.heard(), b"OK %s\n" % __version__.encode())
        self.assert_alive(self.other)
        self.thread.run_all()
        shown = b"handle\tH:test:1\nsize\t8\nshown\t8\nworkload\tworkload\n.\n"
        self.assertEqual(self.client.heard(), shown + response(ECHO_RES, b"x"))

    def test_a_result(self) -> None:
        self.fixture.server.broker.operations.set_policies(
            Policies([("*", CLASSIC.with_settings({"results": "1h"}))]), START
        )
        self.other.tell(request(CAN_DO, b"f"))
        self.thread.run_all()
        self.other.tell(request(GRAB_JOB), request(WORK_COMPLETE, b"H:test:1", b"result"))
        self.run_on(1)
        self.begin()
        self.client.tell(b"result H:test:1\n")
        self.assertEqual(self.client.heard(), b"")
        self.thread.run_all()
        self.assertIn(b"\noutcome\tdone\nsize\t6\nshown\t6\ndata\t\nresult\tresult\n.\n", self.client.heard())

    def test_the_store_does_not_answer(self) -> None:
        self.store.fail("workloads", StoreUnavailable("gone"), times=2)
        self.store.fail("open", StoreUnavailable("gone"))
        self.client.tell(b"workload H:test:1\n")
        self.thread.run_all()
        self.assertEqual(
            self.client.heard(), b"ERR NOT_READ The+store+does+not+have+it,+or+does+not+answer\r\n"
        )

    def test_the_store_is_named(self) -> None:
        self.assertIn(b"store\tmemory:\n", self.client.ask(b"settings\n"))
