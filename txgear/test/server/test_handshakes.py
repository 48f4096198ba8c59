"""
Tests for L{txgear.server.handshakes}.
"""

from __future__ import annotations

import gc
import ssl
import weakref
from ipaddress import ip_network
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import capturedLogs, formatEvent
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.tenants import Quota
from txgear.protocol.constants import ECHO_REQ, ECHO_RES
from txgear.protocol.packets import request, response
from txgear.security.access import NOBODY, Access, Identity
from txgear.security.audit import LOGIN
from txgear.security.tls import ServerTLS
from txgear.security.tlsfiles import TlsFiles
from txgear.server.handshakes import CONNECTION_BYTES, HANDSHAKE_BYTES, HANDSHAKE_SECONDS, tls_under
from txgear.server.http import HttpFactory
from txgear.server.jobserver import JobServer
from txgear.server.sockets import before_first_data
from txgear.test.support.extras import needs
from txgear.test.support.server import ServerFixture
from txgear.test.support.tls import CertificateFolder, TlsPeer


class Foreign(Protocol):
    """What another package speaks: it knows nothing of TLS."""

    def __init__(self, server: JobServer) -> None:
        self._server = server

    def connectionMade(self) -> None:
        self.peer = self._server.connect(self, 1, "192.0.2.1")  # type: ignore[arg-type]

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self.reason = reason
        self._server.disconnect(self.peer)


@needs("trustme")
class HandshakesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = CertificateFolder(self.mktemp())
        self.fixture = ServerFixture()
        self.server = self.fixture.server
        self.tls = ServerTLS(self.folder.files)
        foreign = Factory()
        foreign.buildProtocol = lambda addr: Foreign(self.server)  # type: ignore[method-assign]
        self.ports = [
            self.over_tls(factory) for factory in (self.fixture.factory, HttpFactory(self.server), foreign)
        ]

    def over_tls(self, factory: IProtocolFactory) -> Any:
        return self.tls.over(factory, self.fixture.clock, self.server.handshakes)

    def counts(self) -> list[int]:
        """Completed, failed and stalled handshakes."""
        shown = self.server.handshakes
        return [shown.completed, shown.failed, shown.stalled]

    def logged(self, events: Any) -> list[str]:
        """The lines about handshakes, without the address."""
        lines = [formatEvent(event) for event in events]
        return [line.partition("192.0.2.1:50000")[2] for line in lines if "TLS" in line]

    def connect(self, port: Any = None, **how: Any) -> TlsPeer:
        """A client that has said nothing yet."""
        return TlsPeer(port or self.ports[0], self.folder.client(**how))

    def test_stalled(self) -> None:
        """Whatever a port speaks, a peer that makes no handshake is dropped, and others are not."""
        for port in self.ports:
            silent, slow, done = self.connect(port), self.connect(port), self.connect(port).shake_hands()
            slow.tls.dataReceived(b"\x16\x03\x01\x02\x00\x01")
            self.fixture.clock.advance(HANDSHAKE_SECONDS - 0.1)
            self.assertEqual([each.transport.disconnected for each in (silent, slow, done)], [False] * 3)
            with capturedLogs() as events:
                self.fixture.clock.advance(0.1)
            self.assertEqual(
                [each.transport.disconnected for each in (silent, slow, done)], [True, True, False]
            )
            self.assertEqual(self.logged(events), [" has made no TLS handshake; connection dropped"] * 2)
            for each in (silent, slow):
                each.tls.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.counts(), [3, 0, 6])

    def test_another_has_the_connection(self) -> None:
        """Its handshake is over, and is counted once."""
        client = self.connect().shake_hands()
        successor: Any = HttpFactory(self.server).buildProtocol(None)
        client.protocol.hand_over(successor)
        self.assertTrue(successor.peer.encrypted)
        self.fixture.clock.advance(HANDSHAKE_SECONDS)
        self.assertEqual((self.counts(), client.transport.disconnected), ([1, 0, 0], False))

    def test_tls_of_others(self) -> None:
        """A port whose TLS somebody else has made, as an endpoint string does, is the same."""
        factory = TLSMemoryBIOFactory(self.tls, False, self.fixture.factory, self.fixture.clock)
        silent, done = self.connect(factory), self.connect(factory).shake_hands()
        self.fixture.clock.advance(HANDSHAKE_SECONDS)
        self.assertEqual([silent.transport.disconnected, done.transport.disconnected], [True, False])
        self.assertEqual(self.counts(), [1, 0, 1])

    def test_memory(self) -> None:
        """That of connections which have ended is worth giving back to the system."""
        completed, failed, stalled = self.connect().shake_hands(), self.connect(), self.connect()
        failed.tls.dataReceived(b"status\n")
        self.fixture.clock.advance(HANDSHAKE_SECONDS)
        for peer in (completed, failed, stalled):
            peer.tls.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.server.freed(), 3 * CONNECTION_BYTES + 2 * HANDSHAKE_BYTES)

    def test_memory_goes_at_once(self) -> None:
        """However a connection ends, nothing of it waits for the cycle collector, which seldom comes."""
        self.addCleanup(gc.enable)
        gc.disable()
        for port in self.ports[:2]:
            for how in ("silent", "plain", "completed", "broken", "ended"):
                peer = self.connect(port)
                if how == "plain":
                    peer.tls.dataReceived(b"status\n")
                elif how != "silent":
                    peer.shake_hands()
                if how == "broken":
                    peer.tls.dataReceived(b"\x17\x03\x03\x00\x20" + bytes(32))
                elif how == "ended":
                    self.assertRaises(ssl.SSLWantReadError, peer.client.unwrap)
                    peer.pass_on()
                left = [weakref.ref(each) for each in (peer.tls, peer.tls.getHandle(), peer.protocol)]
                # As a TCP connection does when it ends.
                peer.transport.producer = None
                peer.tls.connectionLost(Failure(ConnectionDone()))
                del peer
                self.assertEqual([each() for each in left], [None] * 3, how)

    def test_nobody_waits_for_a_peers_end(self) -> None:
        """A client of HTTP keeps its connection, and does not look at it before its next request."""
        peer, silent = self.connect(self.ports[1]).shake_hands(), self.connect(self.ports[1])
        _ = self.server.close_connections()
        self.assertTrue(peer.transport.disconnecting and silent.transport.disconnected)
        self.assertEqual(peer.heard(), b"")

    def test_one_timer(self) -> None:
        """A handshake has one timer of its own; afterwards there is none."""
        peer = self.connect()
        self.assertEqual(len(self.fixture.clock.getDelayedCalls()), 1)
        peer.shake_hands()
        self.assertEqual(self.fixture.clock.getDelayedCalls(), [])
        self.assertEqual(peer.ask(request(ECHO_REQ, b"x")), response(ECHO_RES, b"x"))

    def test_before_the_first_packet(self) -> None:
        """The server is told that TLS is up before anything that the peer says is carried out."""
        happened: list[str] = []
        peers: list[Any] = []
        secured = self.server.secured

        def note(peer: Any, transport: Any) -> None:
            peers.append(peer)
            self.assertFalse(peer.encrypted)
            happened.append(f"{peer.address} {tls_under(transport).getPeerCertificate() is not None}")  # type: ignore[union-attr]
            secured(peer, transport)

        self.server.secured = note  # type: ignore[method-assign]
        for port in self.ports[:2]:
            peer = self.connect(port)
            before_first_data(peer.protocol, lambda: happened.append("data"))
            peer.shake_hands()
            peer.tell(b"version\n")
            self.assertEqual(happened, ["192.0.2.1 True", "data"])
            self.assertTrue(peers[-1].encrypted)
            happened.clear()

    def test_no_place_by_its_address(self) -> None:
        """Who has none is told so within TLS, if its certificate does not give it another one."""
        files = self.folder.files
        self.tls = ServerTLS(TlsFiles(files.cert, files.key, files.ca, "ask"))
        near = Identity("near", addresses=(ip_network("192.0.2.0/24"),), quota=Quota(1))
        team = Identity("team", certificates=("client.example",))
        other = Identity("other", certificates=("other.example",))
        port = self.over_tls(self.fixture.factory)
        for known in (team, other):
            self.server.guard.replace(Access([near, known], certificate_field="dns"))
            self.fixture.connect("192.0.2.7")
            for shows in (True, False):
                peer = self.connect(port, shows=shows)
                self.fixture.clock.advance(HANDSHAKE_SECONDS - 1)
                self.assertFalse(peer.protocol.closing)
                peer.shake_hands()
                self.fixture.clock.advance(1)
                stays = known is team and shows
                self.assertEqual(peer.protocol.closing, not stays)
                peer.tls.connectionLost(Failure(ConnectionDone()))
            self.fixture.clock.advance(HANDSHAKE_SECONDS)
        self.assertEqual(self.server.guard.refused, {(NOBODY, LOGIN): 4})

    def failure(self, peer: TlsPeer) -> list[str]:
        """What is logged of one whose handshake fails and whose connection then ends."""
        with capturedLogs() as events:
            self.assertRaises(ssl.SSLError, peer.shake_hands)
            self.assertTrue(peer.transport.disconnecting)
            peer.tls.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.fixture.clock.getDelayedCalls(), [self.server.notices._timer])
        return self.logged(events)

    def test_failed(self) -> None:
        """The log says why, by the certificate's fault or by OpenSSL's words."""
        from trustme import CA

        self.assertEqual(
            self.failure(self.connect(authority=CA())),
            [": its TLS handshake has failed: its certificate's authority is not in --tls-ca"],
        )
        self.assertEqual(
            self.failure(self.connect(shows=False)),
            [": its TLS handshake has failed: peer did not return a certificate"],
        )
        self.assertEqual(self.counts(), [0, 2, 0])
        self.assertEqual(list(self.server.broker.peers), [])

    def plain(self, port: Any, data: bytes) -> list[str]:
        """What is logged of one that sends this in place of TLS, and leaves."""
        with capturedLogs() as events:
            peer = self.connect(port)
            if data:
                peer.tls.dataReceived(data)
            peer.tls.connectionLost(Failure(ConnectionDone()))
        return self.logged(events)

    def test_no_tls(self) -> None:
        for port in self.ports:
            for data in (b"status\n", b"GET / HTTP/1.1\r\n\r\n", request(ECHO_REQ, b"x")):
                self.assertEqual(self.plain(port, data), [": its TLS handshake has failed: it speaks no TLS"])
        self.assertEqual(self.counts(), [0, 9, 0])

    def test_left_in_the_middle(self) -> None:
        peer = self.connect()
        self.assertRaises(ssl.SSLWantReadError, peer.client.do_handshake)
        hello = peer._outgoing.read()
        self.assertEqual(self.plain(None, hello), [": its TLS handshake has failed: it has left"])
        self.assertEqual(self.counts(), [0, 1, 0])

    def test_nothing_said(self) -> None:
        """Who looks whether the port is open, as those do that spread a load, has begun no handshake."""
        for data in (b"", b"\x16"):
            self.assertEqual(self.plain(None, data), [])
        self.assertEqual(self.counts(), [0, 0, 0])
        self.assertEqual(self.server.handshakes.shown(), {})

    def test_lost_afterwards(self) -> None:
        """What a protocol hears of the end of its connection is the same as ever."""
        peer = self.connect(self.ports[2]).shake_hands()
        self.fixture.clock.advance(HANDSHAKE_SECONDS)
        protocol = peer.protocol
        peer.tls.connectionLost(Failure(ConnectionDone()))
        self.assertIsInstance(protocol.reason.value, ConnectionLost)
        self.assertEqual(self.counts(), [1, 0, 0])

    def test_floods(self) -> None:
        """Thousands that fail are some lines in the log."""
        with capturedLogs() as events:
            for _ in range(500):
                peer = self.connect()
                peer.tls.dataReceived(b"status\n")
                peer.tls.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.logged(events)), 20)
        self.assertEqual(self.counts(), [0, 500, 0])

    def test_stop(self) -> None:
        """No timer is left when the server stops; what is under way then ends as it likes."""
        peer = self.connect()
        self.server.stop()
        self.assertEqual(self.fixture.clock.getDelayedCalls(), [])
        peer.tls.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.counts(), [0, 0, 0])

    def test_no_tls_under_it(self) -> None:
        """A connection without TLS has no handshake to complete."""
        peer = self.fixture.connect()
        self.assertIsNone(tls_under(peer.transport))
        self.server.secured(peer.protocol.peer, peer.transport)
        self.assertEqual(self.counts(), [0, 0, 0])

    def test_shown(self) -> None:
        """The text command C{settings} tells what is in force, and the counts."""
        self.server.tls = self.tls
        self.connect().shake_hands()
        rows = self.fixture.connect().ask(b"settings\n")
        for row in (
            b"tls_certificate\tlocalhost\n",
            b"tls_until\t",
            b"tls_client\trequire\n",
            b"tls_handshakes\t1\n",
            b"tls_failed\t0\n",
            b"tls_stalled\t0\n",
        ):
            self.assertIn(row, rows)

    def test_a_bad_request_is_answered(self) -> None:
        """Over HTTP its answer arrives whole, and behind it the end as TLS has it."""
        peer = self.connect(self.ports[1]).shake_hands()
        answer = peer.ask(b"no request\r\n\r\n" + bytes(1000))
        self.assertIn(b"400 Bad Request", answer)
        self.assertTrue(answer.endswith(b"too large\n"))
        self.assertEqual(peer.client.read(10), b"")
