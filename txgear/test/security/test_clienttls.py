"""
Tests for L{txgear.security.clienttls}: the files of a client's TLS, and who a server must be.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.security.clienttls import ClientContext, ClientTLS, TLSEndpoint
from txgear.security.servername import ServerName
from txgear.security.tlswords import tls_problem
from txgear.test.support.clienttls import PAST, Certificates, TLSLine, TLSServer
from txgear.test.support.extras import needs

NAME = "gear.example"


class ArgumentTests(SynchronousTestCase):
    def test_wrong(self) -> None:
        wrong: Any = b"ca.pem"
        for name in ("ca", "certificate", "key"):
            error = self.assertRaises(TypeError, ClientTLS, **{name: wrong})
            self.assertEqual(f"{name} is bytes, not the path of a file", str(error))
        self.assertRaises(TypeError, ClientTLS, name=wrong)
        self.assertRaises(ValueError, ClientTLS, key="key.pem")


class CertificatesTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.files = Certificates(self.mktemp())

    def refusal(self, **tls: Any) -> str:
        return str(self.assertRaises(ValueError, ClientContext, ClientTLS(**tls)))


@needs("trustme")
class FilesTests(CertificatesTestCase):
    def test_what_cannot_be_used(self) -> None:
        """It is named, and nothing of a key is shown."""
        files = self.files
        self.assertEqual(
            f"{files.path('nosuch.pem')}: No such file or directory",
            self.refusal(ca=files.path("nosuch.pem")),
        )
        Path(files.path("empty.pem")).write_bytes(b"")
        self.assertEqual(
            f"{files.path('empty.pem')}: no certificate can be read there",
            self.refusal(ca=files.path("empty.pem")),
        )
        me, ca = files.issue("me.pem", "me.example"), files.path("ca.pem")
        other = files.issue("other.pem", "other.example")
        self.assertIn("is not that of the certificate", self.refusal(certificate=me, key=other))
        self.assertIn("no private key can be read there", self.refusal(certificate=me, key=ca))
        key = serialization.load_pem_private_key(Path(me).read_bytes(), None)
        locked = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        Path(files.path("locked.pem")).write_bytes(locked)
        self.assertIn("has a passphrase", self.refusal(certificate=me, key=Path(files.path("locked.pem"))))

    def test_a_folder_of_authorities(self) -> None:
        """All its C{.pem} files count; one without any trusts nobody, and is refused."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.assertIn("no certificate of an authority is there", self.refusal(ca=folder))
        (folder / "b.pem").write_bytes(Path(self.files.path("ca.pem")).read_bytes())
        _ = ClientContext(ClientTLS(ca=folder))

    def test_read_again_when_they_have_changed(self) -> None:
        """Bad ones are told once, and the old ones stay."""
        ca = Path(self.files.path("ca.pem"))
        context = ClientContext(ClientTLS(ca=str(ca)))
        first = context.options()
        self.assertIs(first, context.options())
        good = ca.read_bytes()
        ca.write_bytes(b"rubbish")
        self.assertIs(first, context.options())
        self.assertIs(first, context.options())
        ca.unlink()
        self.assertIs(first, context.options())
        ca.write_bytes(good)
        os.utime(ca, ns=(1, 1))
        second = context.options()
        self.assertIsNot(first, second)
        self.assertIs(second, context.options())


class _Recorder(Protocol):
    """Says something at once, and notes its end."""

    def __init__(self) -> None:
        self.reason: Failure | None = None

    def connectionMade(self) -> None:
        self.transport.write(b"at once")  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason


@needs("trustme")
class HandshakeTests(CertificatesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()

    def connect(self, context: ssl.SSLContext, host: str = NAME, **tls: Any) -> TLSLine:
        """A connection to a server, after the handshake."""
        server = TLSServer(self.clock, context)
        files = ClientContext(ClientTLS(**{"ca": self.files.path("ca.pem"), **tls}))
        endpoint = TLSEndpoint(self.clock, server, files, ServerName(host))
        self.recorder: Any = self.successResultOf(endpoint.connect(Factory.forProtocol(_Recorder)))
        return server.line

    def assert_refused(self, problem: str, context: ssl.SSLContext, host: str = NAME, **tls: Any) -> None:
        """Nothing has come, and the reason is known on both sides."""
        line = self.connect(context, host, **tls)
        self.assertEqual(b"", line.heard())
        self.assertEqual(problem, self.recorder.transport.problem)
        self.assertIn("alert", line.problem)

    def test_good(self) -> None:
        for host, names in ((NAME, [NAME]), ("127.0.0.1", ["127.0.0.1"]), ("::1", ["::1"])):
            line = self.connect(self.files.server(*names), host)
            self.assertEqual(b"at once", line.heard())
            self.assertEqual("", self.recorder.transport.look_again())
            # An address is told to nobody.
            self.assertEqual([NAME if host == NAME else None], line.names)

    def test_refused(self) -> None:
        files = self.files
        unknown = "has a certificate whose authority is not among those that are trusted"
        self.assert_refused(
            "has a certificate that is not for b.example", files.server("a.example"), "b.example"
        )
        self.assert_refused("has a certificate that is not for 127.0.0.1", files.server("::1"), "127.0.0.1")
        self.assert_refused(unknown, files.server(by=files.stranger))
        self.assert_refused(unknown, files.server(), ca=None)
        self.assert_refused(unknown, files.server(), ca=files.path("stranger.pem"))
        self.assert_refused("has a certificate that has expired", files.server(not_after=PAST))

    def test_our_certificate(self) -> None:
        """It is shown with its chain, so that a server needs to know the root only."""
        between = self.files.authority.create_child_ca()
        me = self.files.issue("me.pem", "me.example", by=between)
        line = self.connect(self.files.server(asks=True), certificate=me)
        self.assertEqual(b"at once", line.heard())
        self.assertEqual(((("DNS", "me.example"),)), line.peer_certificate["subjectAltName"])

    def test_no_certificate_and_another_one(self) -> None:
        """What the server says of it can be told in words."""
        line = self.connect(self.files.server(asks=True))
        self.assertEqual(b"", line.heard())
        assert self.recorder.reason is not None
        self.assertIn("wants a certificate of this side", tls_problem(self.recorder.reason.value))
        strange = self.files.issue("strange.pem", "me.example", by=self.files.stranger)
        line = self.connect(self.files.server(asks=True), certificate=strange)
        self.assertEqual(b"", line.heard())
        self.assertIn("does not take the certificate of this side", tls_problem(self.recorder.reason.value))

    def test_older_versions(self) -> None:
        """TLS 1.2 is spoken, and nothing older."""
        context = self.files.server()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.assertEqual(b"at once", self.connect(context).heard())
        self.assertEqual("", self.recorder.transport.look_again())

    def test_looked_at_again(self) -> None:
        """Whatever the handshake has let pass, another name is noticed after it."""
        self.connect(self.files.server()).heard()
        self.recorder.transport.expected = ServerName("other.example")
        self.assertEqual(
            "has a certificate that is not for other.example", self.recorder.transport.look_again()
        )
