"""
Tests of L{txgear.server.guard}, and of what the Gearman port makes of it.
"""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.rights import ACTS, CANCEL, READ, SEE, SUBMIT, WORK, may
from txgear.broker.tenants import Quota
from txgear.policies import Rate
from txgear.protocol.constants import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    EXTENSION_OPTION,
    GRAB_JOB,
    JOB_ASSIGN,
    LOGGED_IN,
    LOGIN,
    NO_JOB,
    NOOP,
    OPTION_REQ,
    OPTION_RES,
    SET_CLIENT_ID,
    SUBMIT_JOB_BG,
    WORK_COMPLETE,
    WORKER_HELLO,
)
from txgear.protocol.hello import Hello
from txgear.protocol.packets import request, response
from txgear.security.access import NOBODY, Access, Identity, Rule
from txgear.security.audit import AuditLog
from txgear.security.guesses import AT_ONCE, SECONDS
from txgear.security.tokens import Token, new_token
from txgear.server.gearconnection import LOGIN_BYTES, LOGIN_REQUESTS, LOGIN_SECONDS
from txgear.test.support.net import error
from txgear.test.support.server import HANDLES, FakePeer, ServerFixture, created, submit

SECRETS = {name: new_token().encode() for name in ("web", "ops")}
TOKENS = {name: token for name, secret in SECRETS.items() if (token := Token.of(secret)) is not None}

EXTEND = request(OPTION_REQ, EXTENSION_OPTION)
EXTENDED = response(OPTION_RES, EXTENSION_OPTION)


def login(name: str) -> bytes:
    """What somebody sends first who has a token."""
    return EXTEND + request(LOGIN, SECRETS[name])


def denied(what: bytes) -> bytes:
    """The answer to what may not be done."""
    return error(b"ACCESS_DENIED", b"Not allowed: " + what)


def rule(who: str, *acts: str, functions: tuple[str, ...] | None = None, allow: bool = True) -> Rule:
    """One rule."""
    return Rule(allow, (who,), frozenset(acts), functions)


WEB = Identity("web", tokens=(TOKENS["web"],), addresses=(ip_network("10.1.0.0/16"),))
OPS = Identity("ops", tokens=(TOKENS["ops"],))
RULES = (rule("web", SUBMIT, WORK, SEE, functions=("mail.*",)), rule("ops", *ACTS))


class GuardTestCase(SynchronousTestCase):
    """A server with two identities and some rules."""

    def setUp(self) -> None:
        self.fixture = ServerFixture()
        self.server = self.fixture.server
        self.guard = self.server.guard
        self.replace(Access([WEB, OPS], RULES))

    def replace(self, access: Access) -> None:
        """Let this hold, and wait until all are judged by it."""
        self.guard.replace(access)
        self.fixture.clock.pump([0.0] * 10)

    def connect(self, name: str | None = None) -> FakePeer:
        """Somebody who has logged in with a token, or nobody."""
        peer = self.fixture.connect()
        if name is not None:
            self.assertEqual(peer.ask(login(name)), EXTENDED + response(LOGGED_IN, name.encode("ascii")))
        return peer

    def identity_of(self, peer: FakePeer) -> str:
        """Who the server takes somebody for."""
        return self.guard.login_of(peer.protocol.peer).identity


class LoginTests(GuardTestCase):
    """How a peer says who it is."""

    def test_token(self) -> None:
        """A token names an identity, whose rights hold from then on."""
        peer = self.connect("web")
        self.assertEqual(peer.ask(submit(function=b"mail.send")), created(1))
        self.assertEqual(peer.ask(submit(function=b"pay")), denied(b"submit pay"))
        self.assertFalse(peer.closed)

    def test_in_one_breath(self) -> None:
        """Whoever sends a token need not wait for the answer, however large what follows is."""
        peer = self.fixture.connect()
        large = submit(b"w" * 2 * LOGIN_BYTES, b"mail.send")
        self.assertEqual(peer.ask(login("web") + large), EXTENDED + response(LOGGED_IN, b"web") + created(1))

    def test_client_id(self) -> None:
        """A library that has nothing else puts the token before its client id, where nobody sees it."""
        peer = self.fixture.connect()
        peer.tell(request(SET_CLIENT_ID, b"token=" + SECRETS["web"] + b";mailer"))
        self.assertEqual(peer.protocol.peer.client_id, b"mailer")
        self.assertEqual(peer.ask(submit(function=b"mail.send")), created(1))
        alone = self.fixture.connect()
        alone.tell(request(SET_CLIENT_ID, b"token=" + SECRETS["web"] + b"\0"))
        self.assertEqual(alone.protocol.peer.client_id, b"")
        self.assertEqual(self.identity_of(alone), "web")

    def test_a_token_in_a_client_id(self) -> None:
        """It logs nobody in that does not stand where it belongs, and nobody sees it there."""
        peer = self.fixture.connect()
        peer.tell(request(SET_CLIENT_ID, b"Token=" + SECRETS["web"] + b";mailer"))
        self.assertEqual(self.identity_of(peer), NOBODY)
        self.assertEqual(peer.protocol.peer.client_id, b"Token=" + SECRETS["web"][:13] + b"...;mailer")

    def test_address(self) -> None:
        """Who comes from a range of addresses needs nothing else."""
        peer = self.fixture.connect("10.1.2.3")
        self.assertEqual(self.identity_of(peer), "web")
        self.assertEqual(peer.ask(submit(function=b"mail.send")), created(1))

    def test_a_token_counts_before_an_address(self) -> None:
        """What a peer shows on purpose is who it is."""
        peer = self.fixture.connect("10.1.2.3")
        self.assertEqual(peer.ask(login("ops")), EXTENDED + response(LOGGED_IN, b"ops"))
        self.assertEqual(peer.ask(submit(function=b"pay")), created(1))

    def test_another_token(self) -> None:
        """A peer may become somebody else; functions for which that one may not work are taken from it."""
        peer = self.connect("ops")
        peer.tell(request(CAN_DO, b"pay"), request(CAN_DO, b"mail.send"))
        self.assertEqual(peer.ask(request(LOGIN, SECRETS["web"])), response(LOGGED_IN, b"web"))
        self.assertEqual([function.name for function in peer.protocol.peer.abilities], [b"mail.send"])

    def test_unknown_token(self) -> None:
        """A token that is nobody's ends the connection, and stands in no log."""
        for packets, words in (
            (EXTEND + request(LOGIN, new_token().encode()), EXTENDED),
            (EXTEND + request(LOGIN, b"guess"), EXTENDED),
            (request(SET_CLIENT_ID, b"token=guess;x"), b""),
        ):
            peer = self.fixture.connect()
            with capturedLogs() as events:
                answer = peer.ask(packets)
            self.assertEqual(answer, words + error(b"ACCESS_DENIED", b"This token is not known"))
            self.assertTrue(peer.closed)
            self.assertNotIn("guess", "".join(str(formatEvent(event)) for event in events))
        self.assertEqual(self.guard.refused[NOBODY, "login"], 3)

    def test_without_identities(self) -> None:
        """A server that knows nobody knows no token."""
        self.replace(Access())
        self.assertEqual(
            self.fixture.connect().ask(login("web")),
            EXTENDED + error(b"ACCESS_DENIED", b"This token is not known"),
        )

    def test_too_many_connections(self) -> None:
        """An identity has as many connections as it may; who comes by address is told and sent away."""
        self.replace(Access([Identity("web", WEB.certificates, WEB.tokens, WEB.addresses, Quota(1))], RULES))
        first = self.connect("web")
        second = self.fixture.connect()
        self.assertIn(b"ACCESS_DENIED\0", second.ask(login("web")))
        self.assertTrue(second.closed)
        third = self.fixture.connect("10.1.2.3")
        self.fixture.clock.advance(0)
        self.assertIn(b"ACCESS_DENIED\0", third.heard())
        self.assertTrue(third.closed)
        first.leave()
        self.connect("web")

    def test_too_many_connections_may_do_nothing(self) -> None:
        """Who is about to be sent away may do nothing meanwhile, not even what nobody may."""
        web = Identity("web", addresses=WEB.addresses, quota=Quota(1))
        for rules in ((), (*RULES, rule(NOBODY, SUBMIT))):
            self.replace(Access([web, OPS], rules))
            first, second = self.fixture.connect("10.1.2.3"), self.fixture.connect("10.1.2.3")
            self.assertEqual(second.ask(submit(function=b"pay")), denied(b"submit pay"))
            self.assertEqual(second.ask(b"drop function f\n"), b"ERR ACCESS_DENIED Not+allowed:+drop+f\r\n")
            self.fixture.clock.advance(0)
            self.assertTrue(second.closed)
            first.leave()
            second.leave()
        self.assertEqual(self.server.broker.functions.by_name, {})

    def test_guessing(self) -> None:
        """
        From some on, a wrong token ends the connection without an answer. What is right is answered
        meanwhile, also where there is no room for it.
        """
        self.replace(Access([Identity("web", tokens=(TOKENS["web"],), quota=Quota(1)), OPS], RULES))

        def guess() -> bytes:
            return self.fixture.connect().ask(EXTEND + request(LOGIN, new_token().encode()))

        self.connect("web")
        for _ in range(2 * AT_ONCE):
            self.assertIn(b"ACCESS_DENIED", self.fixture.connect().ask(login("web")))
        for _ in range(AT_ONCE):
            self.assertIn(b"ACCESS_DENIED", guess())
        for _ in range(3):
            self.assertNotIn(b"ACCESS_DENIED", guess())
        self.assertIn(b"ACCESS_DENIED", self.fixture.connect().ask(login("web")))
        self.connect("ops")
        self.fixture.clock.advance(SECONDS)
        self.assertIn(b"ACCESS_DENIED", guess())

    def test_leaving(self) -> None:
        """Nothing is remembered of who has left."""
        peer = self.connect("web")
        peer.leave()
        self.assertEqual((self.guard._logins, self.guard._tokens), ({}, {}))


class BeforeLoginTests(GuardTestCase):
    """Where the rules leave nobody anything to do, a peer is to say who it is, and soon."""

    def test_nothing_is_done(self) -> None:
        """Neither requests nor text commands are carried out, and an echo is answered."""
        peer = self.fixture.connect()
        log_in_first = error(b"ACCESS_DENIED", b"Not allowed: log in first")
        self.assertEqual(peer.ask(request(ECHO_REQ, b"x")), response(ECHO_RES, b"x"))
        self.assertEqual(peer.ask(submit(function=b"mail.send")), log_in_first)
        self.assertEqual(peer.ask(request(CAN_DO, b"mail.send")), log_in_first)
        self.assertEqual(peer.ask(b"status\n"), b"ERR ACCESS_DENIED Not+allowed:+log+in+first\r\n")
        self.assertEqual(self.server.broker.functions.by_name, {})
        self.assertFalse(peer.closed)

    def test_in_time(self) -> None:
        """Who says nothing, or little by little, is hung up on; who has logged in is not."""
        silent, slow, web = self.fixture.connect(), self.fixture.connect(), self.connect("web")
        slow.tell(request(LOGIN, SECRETS["web"])[:20])
        self.fixture.clock.advance(LOGIN_SECONDS - 0.1)
        slow.tell(b"x")
        self.assertFalse(silent.transport.disconnected or slow.transport.disconnected)
        self.fixture.clock.advance(0.2)
        self.assertTrue(silent.transport.disconnected and slow.transport.disconnected)
        self.assertFalse(web.transport.disconnected)

    def test_declared_length(self) -> None:
        """A large packet is refused when its header has come, whatever length it declares."""
        for size in (LOGIN_BYTES + 1, 64 << 20):
            peer = self.fixture.connect()
            peer.tell(b"\0REQ" + SUBMIT_JOB_BG.to_bytes(4, "big") + size.to_bytes(4, "big"))
            self.assertIn(b"ARGUMENT_TOO_LARGE\0", peer.heard())
            self.assertTrue(peer.closed)

    def test_a_long_line(self) -> None:
        """So is a line."""
        peer = self.fixture.connect()
        peer.tell(b"s" * (LOGIN_BYTES + 1))
        self.assertTrue(peer.closed)

    def test_many_requests(self) -> None:
        """Who asks and asks, and does not log in, is hung up on."""
        peer = self.fixture.connect()
        for _ in range(LOGIN_REQUESTS - 1):
            peer.tell(request(ECHO_REQ, b"x"))
        self.assertFalse(peer.closed)
        peer.tell(request(ECHO_REQ, b"x"))
        self.assertTrue(peer.closed)

    def test_requests_that_nobody_may_send(self) -> None:
        """They count, too."""
        peer = self.fixture.connect()
        for _ in range(LOGIN_REQUESTS - 1):
            self.assertIn(b"INVALID_COMMAND\0", peer.ask(request(NOOP)))
        peer.tell(request(NOOP))
        self.assertTrue(peer.closed)

    def test_nothing_behind_the_last_request_is_looked_at(self) -> None:
        """However much comes in one read, there is one attempt, and one refusal."""
        wrong = EXTEND + request(LOGIN, new_token().encode())
        for first in (wrong, request(ECHO_REQ, b"") * LOGIN_REQUESTS):
            peer = self.fixture.connect()
            answer = peer.ask(first, *[wrong, login("web"), submit(function=b"mail.send")] * 20)
            self.assertEqual(answer.count(b"ACCESS_DENIED"), 1)
            self.assertTrue(peer.closed)
            self.assertEqual(peer.ask(login("web")), b"")
        self.assertEqual(self.guard.refused, {(NOBODY, "login"): 2})
        self.assertEqual(self.server.broker.functions.by_name, {})

    def test_the_rules_are_others_by_now(self) -> None:
        """Who need not say any more who it is, or is known by its address by now, is served."""
        everybody = rule(NOBODY, SUBMIT)
        for access in (
            Access([WEB, OPS], (everybody,)),
            Access([Identity("near", addresses=(ip_network("192.0.2.0/24"),))], (rule("near", SUBMIT),)),
            Access(),
        ):
            self.replace(Access([WEB, OPS], RULES))
            asks, waits = self.fixture.connect(), self.fixture.connect()
            self.replace(access)
            large = submit(b"w" * LOGIN_BYTES, function=b"f")
            self.assertNotIn(b"ERROR", asks.ask(submit(function=b"f"), large))
            self.fixture.clock.advance(LOGIN_SECONDS)
            self.assertFalse(waits.transport.disconnected)
            asks.leave()
            waits.leave()
        self.assertEqual(self.server.broker.functions.by_name[b"f"].total, 6)

    def test_nobody_may_do_something(self) -> None:
        """Where a rule is for nobody, nobody is asked who it is."""
        self.replace(Access([WEB, OPS], (*RULES, rule(NOBODY, SUBMIT, functions=("log",)))))
        peer = self.fixture.connect()
        self.fixture.clock.advance(LOGIN_SECONDS + 1)
        self.assertEqual(peer.ask(submit(b"w" * 2 * LOGIN_BYTES, function=b"log")), created(1))
        self.assertEqual(peer.ask(submit(function=b"mail.send")), denied(b"submit mail.send"))
        self.assertFalse(peer.transport.disconnected)

    def test_without_rules(self) -> None:
        """Identities alone ask nothing of anybody."""
        self.replace(Access([WEB, OPS]))
        peer = self.fixture.connect()
        self.fixture.clock.advance(LOGIN_SECONDS + 1)
        self.assertEqual(peer.ask(submit(function=b"pay")), created(1))


class ReplaceTests(GuardTestCase):
    """The file is read again while peers are connected."""

    def test_a_right_is_lost(self) -> None:
        """
        Who lost a right has lost it. A worker's jobs of that function go to others; its connection stays.
        """
        worker, client = self.connect("web"), self.connect("ops")
        client.tell(submit(b"w", b"mail.send"), submit(b"w", b"mail.log"))
        client.heard()
        worker.tell(request(CAN_DO, b"mail.send"), request(CAN_DO, b"mail.log"))
        self.assertEqual(worker.ask(request(GRAB_JOB)), response(JOB_ASSIGN, HANDLES[1], b"mail.send", b"w"))
        self.replace(Access([WEB, OPS], (*RULES, rule("web", *ACTS, functions=("mail.send",), allow=False))))
        self.assertEqual(worker.heard(), b"")
        self.assertIn(b"JOB_NOT_FOUND\0", worker.ask(request(WORK_COMPLETE, HANDLES[1], b"")))
        self.assertEqual(worker.ask(request(CAN_DO, b"mail.send")), denied(b"work mail.send"))
        self.assertEqual(worker.ask(request(GRAB_JOB)), response(JOB_ASSIGN, HANDLES[2], b"mail.log", b"w"))
        self.assertEqual(worker.ask(request(GRAB_JOB)), response(NO_JOB))
        self.assertEqual(worker.ask(submit(function=b"mail.send")), denied(b"submit mail.send"))
        self.assertFalse(worker.closed)
        client.tell(request(CAN_DO, b"mail.send"))
        self.assertEqual(client.ask(request(GRAB_JOB)), response(JOB_ASSIGN, HANDLES[1], b"mail.send", b"w"))

    def test_a_right_is_lost_by_one_that_has_come_back(self) -> None:
        """It has not said yet what it can do."""
        worker, client = self.connect("web"), self.connect("ops")
        hello = request(WORKER_HELLO, Hello("a" * 32, jobs={HANDLES[1]: 1}).to_bytes())
        client.tell(submit(b"w", b"mail.send"))
        worker.tell(EXTEND, hello, request(CAN_DO, b"mail.send"), request(GRAB_JOB))
        worker.leave()
        again = self.connect("web")
        self.assertIn(HANDLES[1], again.ask(EXTEND, hello))
        self.replace(Access([WEB, OPS], (*RULES, rule("web", *ACTS, functions=("mail.send",), allow=False))))
        self.assertIn(b"JOB_NOT_FOUND\0", again.ask(request(WORK_COMPLETE, HANDLES[1], b"")))

    def test_whoever_goes_on_in_a_peers_name(self) -> None:
        """It has the rights that the identity has by then, be there rules or not, until it is dismissed."""
        peer = self.connect("web").protocol.peer
        stand_in = self.server.guard.stand_in(peer)
        self.assertEqual((stand_in.address, stand_in.tenant), (peer.address, peer.tenant))
        self.assertFalse(may(stand_in, SUBMIT, b"pay"))
        self.assertNotIn(stand_in, self.server.broker.peers)
        self.replace(Access([WEB, OPS], (*RULES, rule("web", SUBMIT))))
        self.assertTrue(may(stand_in, SUBMIT, b"pay"))
        self.replace(Access([WEB, OPS]))
        self.assertTrue(may(stand_in, CANCEL, b"pay"))
        self.replace(Access([OPS], RULES))
        self.assertFalse(may(stand_in, SUBMIT, b"mail.send"))
        self.server.guard.dismiss(stand_in)
        self.assertEqual(self.server.guard._stand_ins, {})

    def test_a_right_is_won(self) -> None:
        """Who got a right has it at once."""
        peer = self.connect("web")
        self.assertEqual(peer.ask(submit(function=b"pay")), denied(b"submit pay"))
        self.replace(Access([WEB, OPS], (*RULES, rule("web", SUBMIT))))
        self.assertEqual(peer.ask(submit(function=b"pay")), created(1))

    def test_an_identity_is_gone(self) -> None:
        """Who is not known any more is told, and hung up on; before that it can do nothing."""
        web, ops, by_address = self.connect("web"), self.connect("ops"), self.fixture.connect("10.1.2.3")
        self.guard.replace(Access([OPS], (*RULES, rule("*", SUBMIT))))
        self.assertEqual(web.ask(submit(function=b"mail.send")), denied(b"submit mail.send"))
        self.fixture.clock.pump([0.0] * 10)
        gone = error(b"ACCESS_DENIED", b"Not known any more: log in again")
        self.assertEqual((web.heard(), by_address.heard()), (gone, gone))
        self.assertTrue(web.closed and by_address.closed)
        self.assertFalse(ops.closed)
        self.assertEqual(ops.ask(submit(function=b"pay")), created(1))

    def test_a_token_is_gone(self) -> None:
        """Who has logged in with a token that is gone is hung up on; with another one, not."""
        second = new_token().encode()
        other = Token.of(second)
        assert other is not None
        both = Identity("web", tokens=(TOKENS["web"], other))
        self.replace(Access([both, OPS], RULES))
        old, new = self.connect("web"), self.fixture.connect()
        new.tell(EXTEND + request(LOGIN, second))
        new.heard()
        self.replace(Access([Identity("web", tokens=(other,)), OPS], RULES))
        self.assertTrue(old.closed)
        self.assertFalse(new.closed)

    def test_the_first_rules(self) -> None:
        """Where there were none, who cannot be known is hung up on, and who can be stays."""
        self.replace(Access())
        nobody, web = self.fixture.connect(), self.fixture.connect("10.1.2.3")
        self.assertEqual(web.ask(submit(function=b"pay")), created(1))
        self.replace(Access([WEB, OPS], RULES))
        self.assertTrue(nobody.closed)
        self.assertFalse(web.closed)
        self.assertEqual(web.ask(submit(function=b"pay")), denied(b"submit pay"))

    def test_no_rules_any_more(self) -> None:
        """Where there are none any more everybody may do anything again."""
        web = self.connect("web")
        self.replace(Access())
        self.assertTrue(web.closed)
        self.replace(Access([WEB]))
        self.assertEqual(self.connect("web").ask(submit(function=b"pay")), created(1))

    def test_who_has_not_logged_in_yet(self) -> None:
        """Who still has time to say who it is keeps that time."""
        peer = self.fixture.connect()
        self.replace(Access([WEB, OPS], (*RULES, rule("web", READ))))
        self.assertEqual((peer.heard(), peer.closed), (b"", False))
        self.assertEqual(peer.ask(login("web")), EXTENDED + response(LOGGED_IN, b"web"))

    def test_who_is_being_turned_away(self) -> None:
        """Who is told to go is told so once, however often the file is read before it has gone."""
        peer = self.connect("web")
        self.replace(Access([OPS], RULES))
        self.assertTrue(peer.closed)
        self.replace(Access([OPS], (*RULES, rule("ops", READ))))
        self.assertEqual(self.guard.refused["web", "login"] + self.guard.refused[NOBODY, "login"], 1)
        peer.leave()
        self.assertEqual(self.guard._turned_away, set())

    def test_again_while_it_goes_on(self) -> None:
        """A second change before all are judged by the first: in the end the last one holds for all."""
        peers = [self.connect("web") for _ in range(3)]
        self.guard.replace(Access([OPS], RULES))
        self.guard.replace(Access([WEB, OPS], (*RULES, rule("web", READ))))
        self.fixture.clock.pump([0.0] * 10)
        for peer in peers:
            self.assertFalse(peer.closed)
            self.assertEqual(self.identity_of(peer), "web")

    def test_somebody_leaves_meanwhile(self) -> None:
        """Who leaves while all are judged is not missed."""
        peers = [self.connect("web") for _ in range(3)]
        self.guard.replace(Access([OPS], RULES))
        peers[1].leave()
        self.fixture.clock.pump([0.0] * 10)
        self.assertEqual(len(self.server.broker.peers), 2)


class RefusalTests(GuardTestCase):
    """What is refused is counted, and logged once a minute."""

    def test_counted_and_logged(self) -> None:
        """A line for each identity and kind, and how many more there were."""
        peer = self.connect("web")
        with capturedLogs() as events:
            for _ in range(5):
                peer.ask(submit(function=b"pay"))
            peer.ask(request(CAN_DO, b"pay"))
            self.fixture.clock.advance(60)
        lines = [str(formatEvent(event)) for event in events]
        who = "192.0.2.1 (-), identity web: Not allowed: "
        self.assertEqual(
            lines,
            [f"{who}submit pay", f"{who}work pay", f"{who}submit pay; 3 more like it in the last minute"],
        )
        self.assertEqual(self.guard.refused, {("web", SUBMIT): 5, ("web", WORK): 1})

    def test_a_token_in_the_wrong_place(self) -> None:
        """Who takes a function's name for the place of the token has it in no log."""
        token = SECRETS["ops"]
        web, ops = self.connect("web"), self.connect("ops")
        with capturedLogs() as events:
            self.assertEqual(web.ask(request(CAN_DO, token)), denied(b"work " + token))
            self.assertEqual(ops.ask(b"pause " + token + b"\n"), b"OK\r\n")
        lines = [str(formatEvent(event)) for event in events]
        self.assertEqual([line.count(token[:12].decode() + "_...") for line in lines], [1, 1])
        self.assertNotIn(token.decode(), "".join(lines))

    def test_refused_by_closing(self) -> None:
        """Who is told of it by the end of the connection is counted as well."""
        self.fixture = ServerFixture(refuse_by_closing=True)
        self.guard = self.fixture.server.guard
        self.replace(Access([WEB], RULES))
        peer = self.fixture.connect("10.1.2.3")
        self.assertEqual(peer.ask(submit(function=b"pay")), b"")
        self.assertTrue(peer.closed)
        self.assertEqual(self.guard.refused, {("web", SUBMIT): 1})

    def test_audited(self) -> None:
        """Who it was, and what was refused; of a token the ID, if it has the form of one."""
        path = Path(self.mktemp()).absolute()
        self.server.audit = AuditLog(str(path), self.fixture.clock, self.fixture.clock.seconds)
        self.addCleanup(self.server.audit.stop)
        self.connect("web").ask(submit(function=b"pay"))
        wrong, unknown = SECRETS["web"][:13] + SECRETS["ops"][13:], "This token is not known"
        for token in (wrong, b"guess"):
            self.fixture.connect().ask(EXTEND + request(LOGIN, token))
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        names = ("act", "outcome", "identity", "address", "function", "token", "error")
        self.assertEqual(
            [tuple(line.get(name) for name in names) for line in lines],
            [
                ("submit", "refused", "web", "192.0.2.1", "pay", None, "Not allowed: submit pay"),
                ("login", "refused", None, "192.0.2.1", None, wrong[4:12].decode(), unknown),
                ("login", "refused", None, "192.0.2.1", None, None, unknown),
            ],
        )
        self.assertNotIn("guess", path.read_text())
        self.assertNotIn(wrong[13:].decode(), path.read_text())


class IdentitiesTests(GuardTestCase):
    """The text command that lists who is known."""

    def test_all(self) -> None:
        """Who may see others sees what each has, of how much, and who was refused something."""
        bounded = Identity(
            "web", WEB.certificates, WEB.tokens, WEB.addresses, Quota(5, 10, 3, 1000, Rate(0.5, 1))
        )
        self.replace(Access([bounded, OPS], RULES))
        web, ops, stranger = self.connect("web"), self.connect("ops"), self.fixture.connect()
        web.ask(submit(b"work", b"mail.send"))
        web.ask(submit(b"work", b"pay"))
        web.tell(request(CAN_DO, b"mail.send"), request(GRAB_JOB))
        stranger.ask(submit())
        self.assertEqual(
            ops.ask(b"identities\n"),
            b"ops\t1\t0\t0\t0\t-\t0\nweb\t1/5\t1/10\t1/3\t4/1000\t2/s\t1\nnobody\t-\t-\t-\t-\t-\t1\n.\n",
        )

    def test_ones_own(self) -> None:
        """Who may not sees itself alone."""
        self.assertEqual(self.connect("web").ask(b"identities\n"), b"web\t1\t0\t0\t0\t-\t0\n.\n")
        self.replace(Access([WEB, OPS], (*RULES, rule(NOBODY, SEE))))
        self.assertEqual(self.fixture.connect().ask(b"identities\n"), b".\n")

    def test_words(self) -> None:
        """It takes no more words."""
        self.assertIn(b"INVALID_ARGUMENTS", self.connect("ops").ask(b"identities web\n"))
