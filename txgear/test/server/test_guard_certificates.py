"""
Tests of L{txgear.server.guard}: peers that show a certificate, and jobs that peers have joined.
"""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent

from txgear.broker.rights import ACTS, SEE, SUBMIT
from txgear.protocol.constants import LOGGED_IN, LOGIN, SUBMIT_JOB, WORK_FAIL
from txgear.protocol.packets import request, response
from txgear.security.access import NOBODY, Access, Identity
from txgear.server.guard import CERTIFICATE
from txgear.test.server.test_guard import EXTEND, EXTENDED, OPS, RULES, SECRETS, WEB, GuardTestCase, rule
from txgear.test.support.extras import needs
from txgear.test.support.server import HANDLES, FakePeer, created

TEAM = Identity("team", certificates=("team.example",))
OTHER = Identity("other", certificates=("other.example",))


class Shown:
    """A certificate that was verified, as pyOpenSSL has it, and the transport over which it was shown."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def getPeerCertificate(self) -> Shown | None:
        """Part of C{ISSLTransport}: nothing where there are no names."""
        return self if self._names else None

    def to_cryptography(self) -> object:
        """
        As of C{X509}.

        @raise ValueError: that is its name.
        """
        from cryptography.x509 import load_pem_x509_certificate
        from trustme import CA

        if self._names == ("broken",):
            raise ValueError("no certificate at all")
        return load_pem_x509_certificate(CA().issue_cert(*self._names).cert_chain_pems[0].bytes())


@needs("trustme", "cryptography")
class CertificateTests(GuardTestCase):
    """A peer may show a certificate, in which one field counts."""

    def setUp(self) -> None:
        super().setUp()
        self.replace(self.access(TEAM, OTHER))

    def access(self, *more: Identity) -> Access:
        return Access([WEB, OPS, *more], (*RULES, rule("*", SUBMIT)), "dns")

    def show(self, *names: str, host: str = "192.0.2.1") -> FakePeer:
        """Somebody with this certificate, whose handshake is over."""
        peer = self.fixture.connect(host)
        self.guard.secured(peer.protocol.peer, Shown(*names))
        return peer

    def test_it_says_who_it_is(self) -> None:
        """Its name is that of an identity, as a whole; before an address, and behind a token."""
        for names, host, identity in (
            (["team.example"], "192.0.2.1", "team"),
            (["x.example", "team.example"], "192.0.2.1", "team"),
            (["team.example"], "10.1.2.3", "team"),
            (["team.example.org"], "192.0.2.1", NOBODY),
            (["a.team.example"], "192.0.2.1", NOBODY),
            (["x.example"], "10.1.2.3", "web"),
            ([], "192.0.2.1", NOBODY),
        ):
            self.assertEqual(self.identity_of(self.show(*names, host=host)), identity, names)
        peer = self.show("team.example")
        self.assertEqual(self.guard.login_of(peer.protocol.peer).how, CERTIFICATE)
        peer.tell(EXTEND, request(LOGIN, SECRETS["web"]))
        self.assertEqual(peer.heard(), EXTENDED + response(LOGGED_IN, b"web"))
        self.assertEqual(self.identity_of(peer), "web")

    def test_several_identities(self) -> None:
        """Of two nobody knows which is meant: it is neither, and a line of the log says so."""
        with capturedLogs() as events:
            peer = self.show("team.example", "other.example")
        self.assertEqual(self.identity_of(peer), NOBODY)
        (line,) = [str(formatEvent(event)) for event in events]
        self.assertEqual(
            line, "192.0.2.1: its certificate names several identities, other, team; it is none of them"
        )

    def test_one_that_cannot_be_read(self) -> None:
        """It says nothing of anybody."""
        with capturedLogs() as events:
            peer = self.show("broken", host="10.1.2.3")
        self.assertEqual(self.identity_of(peer), "web")
        self.assertIn("its certificate cannot be read: no certificate at all", str(formatEvent(events[0])))

    def test_the_file_is_read_again(self) -> None:
        """What a peer has shown is looked at again: it may be somebody else now, or nobody."""
        peer, other = self.show("team.example"), self.show("other.example")
        self.replace(self.access(Identity("renamed", certificates=("team.example",))))
        self.assertEqual(self.identity_of(peer), "renamed")
        self.assertEqual((peer.closed, other.closed), (False, True))

    def test_before_there_are_identities(self) -> None:
        """Who has shown one before anybody asked is known by it from the first rules on."""
        self.replace(Access())
        peer = self.show("team.example")
        self.replace(self.access(TEAM))
        self.assertEqual((self.identity_of(peer), peer.closed), ("team", False))
        peer.leave()
        self.assertEqual(self.guard._certificates, {})


class JoinedTests(GuardTestCase):
    """A peer that has joined somebody else's job, which it may not know of any more."""

    def setUp(self) -> None:
        super().setUp()
        ops = self.connect("ops")
        self.job = request(SUBMIT_JOB, b"mail.send", b"unique", b"w")
        self.assertEqual(ops.ask(self.job), created(1))
        self.ops = ops

    def test_a_right_is_lost(self) -> None:
        """For those who have lost it the job has failed; those whose job it is hear nothing."""
        web = self.connect("web")
        self.assertEqual(web.ask(self.job), created(1))
        self.replace(Access([WEB, OPS], (rule("web", SUBMIT), rule("ops", *ACTS - {SEE}))))
        self.assertEqual(web.heard(), response(WORK_FAIL, HANDLES[1]))
        self.assertEqual((self.ops.heard(), web.closed), (b"", False))
        self.assertEqual(len(self.ops.protocol.peer.attached), 1)

    def test_somebody_else(self) -> None:
        """What a peer has submitted is its own still when it logs in as somebody who may not see it."""
        self.replace(Access([WEB, OPS], (rule("web", SUBMIT), rule("ops", *ACTS))))
        self.assertEqual(self.ops.ask(request(LOGIN, SECRETS["web"])), response(LOGGED_IN, b"web"))
        self.assertEqual(len(self.ops.protocol.peer.attached), 1)
