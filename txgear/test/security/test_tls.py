"""
Tests for L{txgear.security.tls}.
"""

from __future__ import annotations

import contextlib
import gc
import os
import ssl
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any
from weakref import ref

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from txgear.errors import ConfigurationError
from txgear.security.tls import ServerTLS
from txgear.security.tlsfiles import TlsFiles
from txgear.test.support.extras import needs
from txgear.test.support.tls import PAST, CertificateFolder, TlsPeer


class Answering(Protocol):
    """Answers what it is sent in upper case."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data.upper())


@needs("trustme")
class TlsTestCase(SynchronousTestCase):
    """A port with TLS, and clients of it."""

    def setUp(self) -> None:
        self.folder = CertificateFolder(self.mktemp())
        self.clock = Clock()
        self.told: list[str] = []
        self.use("require")

    def use(self, client: str | None) -> None:
        """Ask clients for a certificate in this way."""
        files = self.folder.files
        self.tls = ServerTLS(TlsFiles(files.cert, files.key, None if client is None else files.ca, client))
        self.factory = self.tls.over(Factory.forProtocol(Answering), self.clock, self)

    # The one who is told of connections is the test itself.

    def begin(self, transport: TLSMemoryBIOProtocol) -> None:
        self.told.append(type(transport.wrappedProtocol).__name__)

    def end(self) -> None:
        self.told.append("end")

    def connect(self, context: ssl.SSLContext, session: Any = None) -> TlsPeer:
        """A client whose handshake is completed."""
        return TlsPeer(self.factory, context, session).shake_hands()

    def refusal(self, context: ssl.SSLContext) -> tuple[str, str]:
        """The reason that a client is told, and that which the server keeps."""
        peer = TlsPeer(self.factory, context)
        error = self.assertRaises(ssl.SSLError, peer.shake_hands)
        return str(error.reason), peer.tls.refused_for


class VersionTests(TlsTestCase):
    """What is agreed upon."""

    def test_versions(self) -> None:
        """1.2 and 1.3, with ciphers that keep what was said secret when the key is lost."""
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            context = self.folder.client()
            context.minimum_version = context.maximum_version = version
            peer = self.connect(context)
            self.assertEqual(peer.client.version(), name)
            self.assertEqual(peer.ask(b"abc"), b"ABC")
            self.assertRegex(str(peer.client.cipher()), "^..(ECDHE-|TLS_)[^ ]*(GCM|POLY1305)")

    def old_client(self) -> ssl.SSLContext:
        """One that can do nothing later than TLS 1.1."""
        context = self.folder.client()
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        return context

    def test_old_version(self) -> None:
        self.assertEqual(self.refusal(self.old_client())[0], "TLSV1_ALERT_PROTOCOL_VERSION")

    def test_weak_ciphers(self) -> None:
        """A client of TLS 1.2 with nothing but ciphers that are not forward secret, or without GCM."""
        for ciphers in ("AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA256"):
            context = self.folder.client()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(ciphers)
            self.assertIn("HANDSHAKE_FAILURE", self.refusal(context)[0])

    def test_no_application_protocol(self) -> None:
        """None is agreed upon, and the handshake goes on."""
        context = self.folder.client()
        context.set_alpn_protocols(["h2", "http/1.1"])
        peer = self.connect(context)
        self.assertIsNone(peer.client.selected_alpn_protocol())

    def test_no_session_is_resumed(self) -> None:
        """Each connection shows its certificate anew."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.folder.client()
            context.minimum_version = context.maximum_version = version
            first = self.connect(context)
            first.ask(b"x")
            again = self.connect(context, first.client.session)
            self.assertFalse(again.client.session_reused)
            self.assertIsNotNone(again.tls.getPeerCertificate())

    def test_no_renegotiation(self) -> None:
        """A client that begins another handshake on the same connection gets none."""
        self.use(None)
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = SSL.Connection(context, None)
        client.set_connect_state()
        transport = StringTransport()
        server = self.factory.buildProtocol(None)
        assert server is not None
        server.makeConnection(transport)

        def pass_on() -> None:
            while True:
                with contextlib.suppress(SSL.WantReadError):
                    client.do_handshake()
                try:
                    server.dataReceived(client.bio_read(1 << 16))
                except SSL.WantReadError:
                    return
                if transport.value():
                    client.bio_write(transport.value())
                    transport.clear()

        pass_on()
        self.assertEqual(client.get_state_string(), b"SSL negotiation finished successfully")
        self.assertTrue(client.renegotiate())
        self.assertEqual(self.assertRaises(SSL.Error, pass_on).args[0][-1][-1], "no renegotiation")


class ClientTests(TlsTestCase):
    """What is asked of clients."""

    def test_none(self) -> None:
        """Without C{--tls-client} nobody is asked; a client that could show a certificate does not."""
        self.use(None)
        for shows in (True, False):
            peer = self.connect(self.folder.client(shows=shows))
            self.assertIsNone(peer.tls.getPeerCertificate())

    def test_good(self) -> None:
        for client in ("ask", "require"):
            self.use(client)
            peer = self.connect(self.folder.client())
            shown = peer.tls.getPeerCertificate().to_cryptography()
            self.assertIn("client.example", str(shown.extensions))

    def test_missing(self) -> None:
        """One that is asked may have none; where it is required, that is the end."""
        context = self.folder.client(shows=False)
        self.assertEqual(self.refusal(context), ("TLSV13_ALERT_CERTIFICATE_REQUIRED", ""))
        self.use("ask")
        self.assertIsNone(self.connect(context).tls.getPeerCertificate())

    def test_bad(self) -> None:
        """One that is shown is valid, or the handshake fails; also where none at all would do."""
        from trustme import CA

        for client in ("ask", "require"):
            self.use(client)
            self.assertEqual(
                self.refusal(self.folder.client(not_after=PAST)),
                ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "its certificate has expired"),
            )
            self.assertEqual(
                self.refusal(self.folder.client(CA())),
                ("TLSV1_ALERT_UNKNOWN_CA", "its certificate's authority is not in --tls-ca"),
            )

    def test_of_a_server(self) -> None:
        self.assertEqual(
            self.refusal(self.made(self.authority_key(), ExtendedKeyUsageOID.SERVER_AUTH)),
            ("SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "its certificate is none for clients"),
        )

    def test_forged(self) -> None:
        """What has no words of ours is told by OpenSSL's number."""
        key = ec.generate_private_key(ec.SECP256R1())
        self.assertEqual(
            self.refusal(self.made(key, ExtendedKeyUsageOID.CLIENT_AUTH)),
            ("TLSV1_ALERT_DECRYPT_ERROR", "its certificate is refused (OpenSSL's error 7)"),
        )

    def authority_key(self) -> Any:
        return load_pem_private_key(self.folder.authority.private_key_pem.bytes(), None)

    def made(self, signer: Any, purpose: x509.ObjectIdentifier) -> ssl.SSLContext:
        """
        The settings of a client with a certificate of the authority.

        @param signer: the key that has really signed it.
        """
        issuer = x509.load_pem_x509_certificate(self.folder.authority.cert_pem.bytes()).subject
        key = ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateBuilder(
            issuer,
            x509.Name([]),
            key.public_key(),
            7,
            PAST,
            datetime(3000, 1, 1),
        ).add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        path = Path(self.mktemp())
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + builder.sign(signer, SHA256()).public_bytes(Encoding.PEM)
        )
        context = self.folder.client(shows=False)
        context.load_cert_chain(str(path))
        return context

    def test_authorities_are_named(self) -> None:
        """A client with several certificates learns which one is wanted."""
        (name,) = SSL.Connection(self.tls.loaded.context, None).get_client_ca_list()
        self.assertIn("trustme", str(name.O))


class ChainTests(TlsTestCase):
    def test_chain(self) -> None:
        """The certificates that lead to the authority are sent as well."""
        middle = self.folder.authority.create_child_ca()
        issued = middle.issue_cert("localhost")
        issued.private_key_pem.write_to_path(self.folder["key.pem"])
        text = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
        self.assertEqual(text.count(b"BEGIN"), 2)
        Path(self.folder["cert.pem"]).write_bytes(text)
        self.use(None)
        self.assertEqual(self.connect(self.folder.client()).ask(b"x"), b"X")


class WatchTests(TlsTestCase):
    def test_told(self) -> None:
        """Whoever wants to know hears of each connection before anything else does, and of its end."""
        peer = TlsPeer(self.factory, self.folder.client())
        self.assertEqual(self.told, ["Answering"])
        peer.tls.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.told, ["Answering", "end"])


class WriteTests(TlsTestCase):
    def test_at_once(self) -> None:
        """What is written leaves in the same turn: answers do not wait for the reactor."""
        peer = self.connect(self.folder.client())
        peer.protocol.transport.writeSequence([b"a", b"b"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(peer.heard(), b"ab")


class EndTests(TlsTestCase):
    """A connection that is over."""

    def test_an_abrupt_end(self) -> None:
        """It leaves nothing for the garbage collector: what OpenSSL has of it would stay for long."""
        peer = self.connect(self.folder.client())
        connection = ref(peer.tls.getHandle())
        self.assertIsNotNone(connection())
        gc.disable()
        self.addCleanup(gc.enable)
        peer.tls.connectionLost(Failure(ConnectionLost()))
        del peer
        self.assertIsNone(connection())


class RenewTests(TlsTestCase):
    """New files."""

    def served(self) -> str:
        """Whose certificate a new client is shown."""
        context = self.folder.client()
        context.check_hostname = False
        shown: Any = self.connect(context).client.getpeercert()
        ((_, name),) = shown["subjectAltName"]
        return str(name)

    def test_new_certificate(self) -> None:
        """New connections see it, from the same port; those that are there go on."""
        before = self.connect(self.folder.client())
        self.folder.renew("new.example")
        self.assertEqual(self.served(), "localhost")
        self.tls.renew(0.0)
        self.assertEqual(self.served(), "new.example")
        self.assertEqual(before.ask(b"x"), b"X")
        self.assertEqual(self.tls.shown()["tls_certificate"], "new.example")

    def test_new_authority(self) -> None:
        """Whom the old one has signed is refused."""
        from trustme import CA

        context = self.folder.client()
        self.connect(context)
        CA().cert_pem.write_to_path(self.folder["ca.pem"])
        self.tls.renew(0.0)
        self.assertEqual(self.refusal(context)[0], "TLSV1_ALERT_UNKNOWN_CA")

    def test_bad(self) -> None:
        """What was there before stays."""
        self.folder.renew("new.example", key="other.pem")
        self.assertRaises(ConfigurationError, self.tls.renew, 0.0)
        os.remove(self.folder["cert.pem"])
        self.assertRaises(ConfigurationError, self.tls.renew, 0.0)
        self.assertEqual(self.served(), "localhost")

    def test_expired(self) -> None:
        """One that has expired is taken only in place of another one that has."""
        now = 1.8e9
        self.folder.renew("old.example", not_after=PAST)
        error = self.assertRaises(ConfigurationError, self.tls.renew, now)
        self.assertIn("has expired", str(error))
        self.assertEqual(self.tls.loaded.names, "localhost")
        self.use("ask")
        self.folder.renew("older.example", not_after=PAST)
        self.tls.renew(now)
        self.assertEqual(self.tls.loaded.names, "older.example")

    def test_interface(self) -> None:
        self.assertTrue(verifyObject(IOpenSSLServerConnectionCreator, self.tls))
