"""
Tests of L{txgear.server.textcommands} and L{txgear.server.operatorcommands}: what each command takes, right
by right.
"""

from __future__ import annotations

from itertools import combinations
from typing import Final, NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.model import Peer
from txgear.broker.rights import (
    ACTS,
    AUDIT,
    CANCEL,
    CORRECT,
    CREATE,
    DROP,
    FORGET,
    HTTP,
    MANAGE,
    MAXQUEUE,
    METRICS,
    MOVE,
    PAUSE,
    PEERS,
    PRIORITISE,
    PURGE,
    READ,
    RELOAD,
    REQUEUE,
    RESUME,
    REVIEW,
    SEE,
    SERVER_ACTS,
    SETTINGS,
    SHUTDOWN,
    SUBMIT,
    WORK,
)
from txgear.broker.tenants import Quota, Tenant
from txgear.policies import CLASSIC, Policies
from txgear.protocol.constants import CAN_DO, GRAB_JOB, SUBMIT_JOB_BG, WORK_COMPLETE, WORK_EXCEPTION
from txgear.protocol.packets import request
from txgear.server import textcommands
from txgear.server.listings import Listing
from txgear.server.schedules import Schedule
from txgear.test.support.broker import FakeRights
from txgear.test.support.server import DurableServerTestCase, ServerFixture, submit

EMPTY: Final = b".\n"
NO_JOB: Final = b"ERR UNKNOWN_JOB\r\n"
DEAD, KEPT, QUEUED = b"H:test:1", b"H:test:2", b"H:test:3"
"""Jobs of the function C{mail}."""
DIED: Final = b"H:test:1\tmail\t1970-01-01T00:16:40.000Z\t1\texception\torder\t%s\n"
"""The dead one in a list; what its worker said is missing."""


class Need(NamedTuple):
    """
    Something that a peer must be allowed.

    @ivar answer: what it is told otherwise; C{None} for what it would be told if there were no such function.
    """

    act: str
    answer: bytes | None = None

    @property
    def function(self) -> bytes:
        return b"" if self.act in SERVER_ACTS else b"mail"


def refused(act: str) -> Need:
    """Something without which the command is refused."""
    function = b"" if act in SERVER_ACTS else b"+mail"
    return Need(act, b"ERR ACCESS_DENIED Not+allowed:+%s%s\r\n" % (act.encode(), function))


WHO_PAUSED: Final = b"warning\tpaused\tpaused since 00:16:40 UTC (less than 1 s); 1 job waits\n"
"""By whom is missing."""
ONE_DEAD: Final = (
    b"warning\tdead\t1 job is dead, 1 of the last hour;"
    b" the last one died at 00:16:40 UTC (less than 1 s ago)\n"
)
ONE_WAITS: Final = b"info\tjobs_wait\t1 job waits; 1 worker knows the function: 1 has just asked\n"

HIDDEN: Final = Need(SEE)
"""Of what may not be known there is nothing."""
EVERYTHING: Final = {(act, function) for act in ACTS for function in (b"", b"mail")}

CASES: Final[dict[bytes, tuple[Need, ...]]] = {
    b"status": (HIDDEN,),
    b"prioritystatus": (HIDDEN,),
    b"workers": (Need(PEERS, b"1 192.0.2.1 - :\n" + EMPTY), HIDDEN),
    b"workforce": (
        Need(PEERS, EMPTY),
        Need(SEE, b"2\t-\t-\t-\t-\t-\tawake\t0\t-\t-\t-\t-\n" + EMPTY),
    ),
    b"show jobs": (HIDDEN,),
    b"show unique jobs": (HIDDEN,),
    b"getpid": (refused(SETTINGS),),
    b"verbose": (refused(SETTINGS),),
    b"version": (),
    b"cancel job " + QUEUED: (HIDDEN, refused(CANCEL)),
    b"cancel job 192.0.2.2:4730//" + QUEUED: (HIDDEN, refused(CANCEL)),
    b"cancel job H:test:9": (),
    b"create function mail": (refused(CREATE),),
    b"drop function mail": (refused(DROP),),
    b"maxqueue mail 5": (refused(MAXQUEUE),),
    b"shutdown": (refused(SHUTDOWN),),
    b"functions": (HIDDEN,),
    b"functions function=mail paused=yes": (HIDDEN,),
    b"jobs": (HIDDEN,),
    b"jobs text=workload": (HIDDEN, Need(READ, EMPTY)),
    b"dead": (HIDDEN, Need(READ, DIED % b"-" + EMPTY)),
    b"dead text=550": (HIDDEN, Need(READ, EMPTY)),
    b"kept": (HIDDEN,),
    b"kept text=result": (HIDDEN, Need(READ, EMPTY)),
    b"job " + QUEUED: (HIDDEN,),
    b"job " + KEPT: (HIDDEN,),
    b"workload " + QUEUED: (HIDDEN, refused(READ)),
    b"workload " + DEAD: (HIDDEN, refused(READ)),
    b"workload " + KEPT: (HIDDEN, refused(READ)),
    b"result " + KEPT: (HIDDEN, refused(READ)),
    b"result " + QUEUED: (HIDDEN, refused(READ)),
    b"connections": (
        Need(PEERS, b"1\t192.0.2.1\t-\t-\tno\t0\t0\t-\ntotal\t1\t0\t0\n" + EMPTY),
        HIDDEN,
    ),
    b"identities": (Need(PEERS, EMPTY),),
    b"diagnose": (HIDDEN, Need(PEERS, b"mail\t" + WHO_PAUSED + b"mail\t" + ONE_DEAD + EMPTY)),
    b"diagnose mail": (HIDDEN, Need(PEERS, WHO_PAUSED + ONE_DEAD + ONE_WAITS + EMPTY)),
    b"policies": (refused(SETTINGS),),
    b"policy mail": (refused(SETTINGS), HIDDEN),
    b"settings": (refused(SETTINGS),),
    b"schedules": (refused(SETTINGS), HIDDEN),
    b"cluster": (refused(SETTINGS),),
    b"run schedule nightly": (refused(SETTINGS), HIDDEN, refused(SUBMIT)),
    b"prioritise job " + QUEUED + b" low": (HIDDEN, refused(PRIORITISE)),
    b"prioritise job " + KEPT + b" low": (HIDDEN, refused(PRIORITISE)),
    b"move job " + QUEUED + b" mail": (HIDDEN, refused(MOVE)),
    b"move jobs mail function=mail older=never": (refused(MOVE),),
    b"copy job " + QUEUED: (HIDDEN, refused(READ), refused(SUBMIT)),
    b"copy job " + KEPT: (HIDDEN, refused(READ)),
    b"review job " + DEAD + b" r": (HIDDEN, refused(REVIEW)),
    b"review job " + KEPT + b" -": (HIDDEN, refused(REVIEW)),
    b"reviews": (HIDDEN,),
    b"tasks": (),
    b"stop task 9": (),
    b"purge mail": (refused(PURGE),),
    b"pause mail": (refused(PAUSE),),
    b"resume mail": (refused(RESUME),),
    b"requeue job " + DEAD: (HIDDEN, refused(REQUEUE)),
    b"requeue job " + KEPT: (HIDDEN, refused(REQUEUE)),
    b"requeue function mail": (refused(REQUEUE),),
    b"forget job " + KEPT: (HIDDEN, refused(FORGET)),
    b"forget dead mail": (refused(FORGET),),
    b"worker 2 pause": (Need(PEERS), refused(MANAGE)),
    b"worker 2 disconnect": (Need(PEERS), refused(MANAGE)),
    b"worker 9 pause": (),
}
"""
Commands, and what each takes, in the order in which it is asked. With all of it the answer is the one that is
given where there are no rules.
"""


class Stage(ServerFixture):
    """
    A server with an operator, a worker of C{mail}, and three jobs of it.

    @ivar operator: gives the commands.
    """

    def __init__(self, empty: bool) -> None:
        """
        @param empty: whether nothing is known of C{mail}; all else is the same.
        """
        super().__init__(allow_shutdown=True)
        kept = CLASSIC.with_settings({"retries": 0, "dead": {"keep": 60}, "results": {"keep": 60}})
        self.server.broker.operations.set_policies(Policies([("*", kept)]), self.clock.seconds())
        self.server.broker.tenants.set_quotas({"team": Quota(3)}, self.clock.seconds())
        self.operator, worker = self.connect(), self.connect()
        if empty:
            return
        end = {DEAD: (WORK_EXCEPTION, b"550 no such user"), KEPT: (WORK_COMPLETE, b"the result")}
        worker.tell(request(CAN_DO, b"mail"))
        for handle, (kind, said) in end.items():
            worker.tell(request(SUBMIT_JOB_BG, b"mail", b"order", b"workload"), request(GRAB_JOB))
            worker.tell(request(kind, handle, said))
        worker.tell(request(SUBMIT_JOB_BG, b"mail", b"order", b"workload"))
        self.operator.ask(b"pause mail\n")
        self.server.scheduler.start([Schedule(b"nightly", "0 0 * * *", b"mail")], [])

    @property
    def peer(self) -> Peer:
        """The operator, as the broker knows it."""
        return self.operator.protocol.peer

    def ask(self, line: bytes) -> bytes:
        return self.operator.ask(line + b"\n")

    def known(self) -> dict[bytes, tuple[object, ...]]:
        """What an operator could change of each function."""
        return {
            function.name: (function.total, function.kept, function.max_queued, function.paused)
            for function in self.server.broker.functions.by_name.values()
        }


def expected(line: bytes, missing: Need | None) -> bytes:
    """The answer to a command, if the first thing that the peer lacks is this one."""
    if missing is not None and missing.answer is not None:
        return missing.answer
    return Stage(empty=missing is not None).ask(line)


class EachCommandTests(SynchronousTestCase):
    def test_right_by_right(self) -> None:
        """
        Whatever is missing, alone or with others, the first of it decides; and all that a command does not
        need changes nothing, whether it is there or not. What was refused was told to the guard, and did
        nothing.
        """
        for line, needs in CASES.items():
            for count in range(len(needs) + 1):
                for missing in combinations(needs, count):
                    answer = expected(line, missing[0] if missing else None)
                    lacking = {(need.act, need.function) for need in missing}
                    needed = {(need.act, need.function) for need in needs}
                    for others in (set(), EVERYTHING - needed):
                        self.check(line, answer, FakeRights(*lacking, *others), missing)

    def check(self, line: bytes, answer: bytes, rights: FakeRights, missing: tuple[Need, ...]) -> None:
        stage = Stage(empty=False)
        before = stage.known()
        stage.peer.rights = rights
        self.assertEqual(stage.ask(line), answer, (line, missing))
        if missing:
            self.assertEqual(stage.known(), before, line)
            first = missing[0]
            told = {("nobody", first.act): 1} if answer.startswith(b"ERR ACCESS_DENIED") else {}
            self.assertEqual(stage.server.guard.refused, told, line)

    def test_no_command_is_left_out(self) -> None:
        """A new one does not pass this test before it is decided what it takes."""
        given = {line.split(b" ")[0] for line in CASES}
        self.assertEqual(given, {*textcommands.COMMANDS, *textcommands.OWN_COMMANDS})

    def test_no_act_is_left_out(self) -> None:
        needed = {need.act for needs in CASES.values() for need in needs}
        self.assertEqual(needed, ACTS - {AUDIT, CORRECT, HTTP, METRICS, RELOAD, WORK})


class OneCommandTests(SynchronousTestCase):
    """What the table cannot tell."""

    def setUp(self) -> None:
        self.stage = Stage(empty=False)
        self.rights = self.stage.peer.rights = FakeRights()

    def deny(self, *denied: tuple[str, bytes]) -> None:
        self.rights.denied = set(denied)

    def test_dead_jobs_in_full(self) -> None:
        self.assertEqual(self.stage.ask(b"dead"), DIED % b"550 no such user" + EMPTY)

    def test_names_of_workers_and_what_they_said(self) -> None:
        began = b"attempt\t1970-01-01T00:16:40.000Z\t1970-01-01T00:16:40.000Z\texception\t"
        for denied, shown in (
            ((), b"192.0.2.1\\x202\t550 no such user\n"),
            (((PEERS, b""),), b"-\t550 no such user\n"),
            (((READ, b"mail"),), b"192.0.2.1\\x202\t-\n"),
        ):
            self.deny(*denied)
            self.assertIn(began + shown, self.stage.ask(b"job " + DEAD))

    def test_ones_own_connections(self) -> None:
        """Those of the same identity are seen by all who have it, with the functions that it may know."""
        self.deny((PEERS, b""))
        tenant = Tenant("web")
        for peer in self.stage.server.broker.peers:
            peer.tenant = tenant
        self.assertEqual(self.stage.ask(b"workers"), b"2 192.0.2.1 - : mail\n1 192.0.2.1 - :\n" + EMPTY)

    def test_a_word_with_two_meanings(self) -> None:
        """
        A word may be a name as it is shown, or as it is. It means one of those that the peer may touch, and
        the answer does not tell whether there is the other one.
        """
        word, shown_so, literal = b"a\\x2eb", b"a.b", b"a\\x2eb"
        server = self.stage.server.broker
        commands = ((PAUSE, b"pause "), (CREATE, b"create function "), (DROP, b"drop function "))
        for act, command in (*commands, (MAXQUEUE, b"maxqueue "), (REQUEUE, b"requeue function ")):
            answers = []
            for known in ((), (shown_so,), (literal,), (shown_so, literal)):
                for name in known:
                    server.operations.create_function(name)
                self.deny((act, shown_so), (act, literal))
                answers.append(self.stage.ask(command + word))
                self.assertEqual([name for name in known if name not in server.functions.by_name], [])
                self.deny((act, shown_so))
                self.stage.ask(command + word)
                self.assertEqual(shown_so in known, shown_so in server.functions.by_name)
                self.deny()
                for name in known:
                    server.operations.drop_function(name)
                server.operations.drop_function(literal)
            self.assertEqual(set(answers), {b"ERR ACCESS_DENIED Not+allowed:+%s+a.b\r\n" % act.encode()})

    def test_a_word_that_is_no_function_yet(self) -> None:
        """What it would make is decided on, and not what it could have meant."""
        for act, command, name in (
            (PAUSE, b"pause a\\x09b", b"a\tb"),
            (CREATE, b"create function a\\x09b", b"a\\x09b"),
            (MAXQUEUE, b"maxqueue a\\x09b 1", b"a\\x09b"),
        ):
            self.deny((act, name))
            before = self.stage.known()
            self.assertIn(b"ACCESS_DENIED", self.stage.ask(command))
            self.assertEqual(self.stage.known(), before)
            self.deny()
            self.assertEqual(self.stage.ask(command), b"OK\r\n")
            self.assertIn(name, self.stage.known())
            self.stage.ask(b"resume a\\x09b")
            self.stage.ask(b"drop function a\\x09b")

    def test_a_policy_of_a_word_with_two_meanings(self) -> None:
        """Likewise, of those that the peer may know of."""
        self.deny((SEE, b"a.b"))
        before = self.stage.ask(b"policy a\\x2eb")
        self.stage.server.broker.operations.create_function(b"a.b")
        self.assertEqual(self.stage.ask(b"policy a\\x2eb"), before)
        self.assertIn(b"UNKNOWN_FUNCTION", before)

    def test_drop_of_several(self) -> None:
        """Capitals are passed over; but nobody drops, or hears of, what is none of his business."""
        operations, by_name = self.stage.server.broker.operations, self.stage.server.broker.functions.by_name
        for name in (b"crawl", b"CRAWL", b"Crawl"):
            operations.create_function(name)
        self.deny((DROP, b"CRAWL"))
        self.assertEqual(
            self.stage.ask(b"drop function crawl"), b"ERR ACCESS_DENIED Not+allowed:+drop+CRAWL\r\n"
        )
        self.assertEqual(len(by_name), 4)
        self.deny((DROP, b"CRAWL"), (SEE, b"CRAWL"))
        self.assertEqual(self.stage.ask(b"drop function crawl"), b"OK\r\n")
        self.assertEqual(list(by_name), [b"mail", b"CRAWL"])
        self.assertEqual(self.stage.ask(b"drop function crawl"), b"ERR function not found\r\n")

    def test_cancel_of_one_that_has_ended(self) -> None:
        self.assertEqual(self.stage.ask(b"cancel job " + KEPT), b"ERR UNKNOWN_JOB\r\n")

    def test_shutdown_that_is_not_allowed_to_anybody(self) -> None:
        stage = ServerFixture()
        operator = stage.connect()
        operator.protocol.peer.rights = FakeRights()
        self.assertIn(b"UNKNOWN_COMMAND", operator.ask(b"shutdown\n"))


class LongListTests(SynchronousTestCase):
    """A long list takes many turns, and rights may change on the way."""

    def test_each_list(self) -> None:
        stage = Stage(empty=False)
        broker, peer = stage.server.broker, stage.peer
        for number in range(60):
            function = b"f%d" % number
            stage.connect().tell(request(CAN_DO, function), request(SUBMIT_JOB_BG, function, b"u", b""))
        hidden = FakeRights((PEERS, b""), *((SEE, name) for name in broker.functions.by_name))
        lists = (b"status", b"prioritystatus", b"functions", b"show jobs", b"show unique jobs", b"workers")
        for line in lists:
            peer.rights = None
            listing = textcommands.answer(stage.server, peer, line)
            assert isinstance(listing, Listing)
            self.assertTrue(listing.long)
            whole, pieces = b"".join(listing.pieces()), listing.pieces()
            first = b"".join(next(pieces) for _ in range(30))
            self.assertTrue(whole.startswith(first), line)
            peer.rights = hidden
            rest = list(pieces)
            # Each that is left out is an empty piece, so that no turn has to pass over many.
            self.assertGreater(len(rest), 25, line)
            shown = {b"\n", b"1 192.0.2.1 - :"} if line == b"workers" else set()
            self.assertLessEqual({piece for piece in rest if piece}, shown, line)


class StoredTests(DurableServerTestCase):
    """What is read from the store comes later."""

    def test_a_right_that_is_lost_meanwhile(self) -> None:
        for denied, answer, told in (
            (None, b"handle\tH:test:1\n", {}),
            ((SEE, b"f"), NO_JOB, {}),
            ((READ, b"f"), b"ERR ACCESS_DENIED Not+allowed:+read+f\r\n", {("nobody", READ): 1}),
        ):
            self.begin_anew(queue_memory=1)
            self.client.tell(submit(b"the workload"))
            self.thread.run_all()
            self.client.heard()
            rights = self.client.protocol.peer.rights = FakeRights()
            self.client.tell(b"workload H:test:1\n")
            self.assertEqual(self.client.heard(), b"")
            rights.denied = {denied} if denied else set()
            self.thread.run_all()
            self.assertTrue(self.client.heard().startswith(answer))
            self.assertEqual(self.fixture.server.guard.refused, told)
