"""
Tests for L{txgear.security.tlsfiles}.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError
from txgear.security.tlsfiles import TlsFiles, load, reason_of
from txgear.test.support.extras import needs
from txgear.test.support.tls import PAST, CertificateFolder


@needs("trustme")
class LoadTests(SynchronousTestCase):
    """What is taken of the files, and what is not."""

    def setUp(self) -> None:
        self.folder = CertificateFolder(self.mktemp())

    def refusal(self) -> str:
        """What is said to the files as they are now, without the name of the folder."""
        error = self.assertRaises(ConfigurationError, load, self.folder.files)
        return str(error).replace(f"{self.folder.path}/", "")

    def write(self, name: str, text: bytes) -> None:
        Path(self.folder[name]).write_bytes(text)

    def read(self, name: str) -> bytes:
        return Path(self.folder[name]).read_bytes()

    def test_good(self) -> None:
        """The names and the end of the first certificate are told."""
        self.folder.renew("gear.example", "192.0.2.7", not_after=PAST)
        loaded = load(self.folder.files)
        self.assertEqual(
            (loaded.names, loaded.shown_until), ("gear.example, 192.0.2.7", "2020-01-01T00:00:00Z")
        )
        self.assertTrue(loaded.expired(1577836801.0))
        self.assertFalse(loaded.expired(1577836799.0))

    def test_many_names(self) -> None:
        self.folder.renew(*(f"n{number}.example" for number in range(7)))
        names = load(self.folder.files).names
        self.assertEqual(names, "n0.example, n1.example, n2.example, n3.example, n4.example and 2 more")

    def test_no_name(self) -> None:
        """Where there is none of the kinds that servers have, the subject is told."""
        for name in ("somebody@example.com", "localhost"):
            self.folder.renew(name, common_name="gearman")
            self.assertIn("gearman" if "@" in name else "localhost", load(self.folder.files).names)
        # An authority's own has no names at all.
        self.write("cert.pem", self.read("ca.pem"))
        self.write("key.pem", self.folder.authority.private_key_pem.bytes())
        self.assertIn("O=trustme", load(self.folder.files).names)

    def test_one_file_for_both(self) -> None:
        """The certificate and the key may stand in one file."""
        self.write("both.pem", self.read("key.pem") + self.read("cert.pem"))
        both = self.folder["both.pem"]
        self.assertEqual(load(TlsFiles(both, both)).names, "localhost")

    def test_missing(self) -> None:
        for name, option in (("ca.pem", "ca"), ("key.pem", "key"), ("cert.pem", "cert")):
            os.remove(self.folder[name])
            self.assertEqual(self.refusal(), f"--tls-{option}: cannot read {name}: No such file or directory")

    def test_no_file(self) -> None:
        """Neither a folder nor a pipe, which would be waited for."""
        for name, option in (("ca.pem", "ca"), ("key.pem", "key"), ("cert.pem", "cert")):
            os.remove(self.folder[name])
            if option == "key":
                os.mkfifo(self.folder[name])
            else:
                os.mkdir(self.folder[name])
            self.assertEqual(self.refusal(), f"--tls-{option}: {name} is no file")

    def test_nothing_of_the_kind(self) -> None:
        """A file that is empty, is no PEM, or holds something else."""
        key, cert = self.read("key.pem"), self.read("cert.pem")
        for text in (b"", b"\xff\0", key):
            self.write("cert.pem", text)
            self.assertEqual(
                self.refusal(), "--tls-cert: there is no certificate in cert.pem (PEM is wanted)"
            )
        self.write("cert.pem", cert)
        for text in (b"", b"\xff\0", cert):
            self.write("key.pem", text)
            self.assertEqual(self.refusal(), "--tls-key: there is no private key in key.pem (PEM is wanted)")
        self.write("key.pem", key)
        self.write("ca.pem", key)
        self.assertEqual(self.refusal(), "--tls-ca: there is no certificate in ca.pem (PEM is wanted)")

    def test_damaged(self) -> None:
        for name, said in (
            ("ca.pem", "--tls-ca: a certificate in ca.pem is damaged"),
            ("key.pem", "--tls-key: the key in key.pem is damaged"),
            ("cert.pem", "--tls-cert: a certificate in cert.pem is damaged"),
        ):
            self.write(name, self.read(name)[:100])
            self.assertEqual(self.refusal(), said)

    def test_key_of_another(self) -> None:
        """As while the two files are being replaced."""
        self.folder.renew(key="other.pem")
        self.assertEqual(
            self.refusal(), "--tls-key: key.pem is not the key of the first certificate in cert.pem"
        )

    def test_encrypted_key(self) -> None:
        key = load_pem_private_key(self.read("key.pem"), None)
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
            self.write("key.pem", key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"x")))
            self.assertEqual(
                self.refusal(),
                "--tls-key: the key in key.pem is encrypted, and there is nobody to ask for its password",
            )

    def test_not_for_tls(self) -> None:
        """A certificate that OpenSSL does not take."""
        key = rsa.generate_private_key(65537, 1024)
        name = x509.Name([])
        made = x509.CertificateBuilder(name, name, key.public_key(), 1, PAST, datetime(3000, 1, 1)).sign(
            key, SHA256()
        )
        self.write("cert.pem", made.public_bytes(Encoding.PEM))
        self.write("key.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.assertEqual(self.refusal(), "--tls-cert: cert.pem: ee key too small")


class ReasonTests(SynchronousTestCase):
    """OpenSSL's words for what went wrong."""

    def test_last(self) -> None:
        self.assertEqual(reason_of(SSL.Error([("lib", "f", "first"), ("lib", "f", "last")])), "last")

    def test_one_that_says_nothing(self) -> None:
        """Some versions add that there was a failure."""
        nothing = ("lib", "f", "record layer failure")
        self.assertEqual(reason_of(SSL.Error([("lib", "f", "too long"), nothing])), "too long")
        self.assertEqual(reason_of(SSL.Error([nothing])), "record layer failure")

    def test_none(self) -> None:
        for error in (SSL.Error(), SSL.Error([]), SSL.SysCallError(-1, "Unexpected EOF")):
            self.assertEqual(reason_of(error), "")
