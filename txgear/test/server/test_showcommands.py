"""Tests of L{txgear.server.showcommands}, byte for byte."""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock

from txgear import __version__
from txgear.broker.shares import Share
from txgear.errors import StoreUnavailable
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    GRAB_JOB,
    SET_CLIENT_ID,
    SUBMIT_JOB,
    SUBMIT_JOB_LOW_BG,
    WORK_COMPLETE,
)
from txgear.protocol.packets import request, response
from txgear.server.clusterview import Status
from txgear.server.schedules import Schedule
from txgear.server.tcplink import AVAILABLE
from txgear.test.support.clock import START
from txgear.test.support.clusterview import FakeCluster, free_part, server_shown
from txgear.test.support.net import FakeTcpConnection
from txgear.test.support.server import DurableServerTestCase, submit
from txgear.test.support.textcommands import (
    EMPTY,
    INCOMPLETE,
    OK,
    PAST,
    UNKNOWN_JOB,
    OwnTestCase,
)


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
