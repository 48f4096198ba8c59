"""
Tests for L{txgear.security.servername}: what a certificate must be for.
"""

from __future__ import annotations

from typing import Any

from OpenSSL.crypto import FILETYPE_PEM, X509, load_certificate
from twisted.trial.unittest import SynchronousTestCase

from txgear.security.servername import ServerName
from txgear.test.support.extras import needs


def certificate(*names: str, **how: Any) -> X509:
    import trustme

    issued = trustme.CA().issue_cert(*names, **how)
    return load_certificate(FILETYPE_PEM, issued.cert_chain_pems[0].bytes())


class NameTests(SynchronousTestCase):
    def test_as_certificates_have_it(self) -> None:
        """In lower case and ASCII, without the resolver's dot and an interface's zone."""
        for host, text, indicated in (
            ("Gear.Example", "gear.example", b"gear.example"),
            ("gear.example.", "gear.example", b"gear.example"),
            ("b\u00fccher.example", "xn--bcher-kva.example", b"xn--bcher-kva.example"),
            ("job_server", "job_server", b"job_server"),
            ("192.0.2.1", "192.0.2.1", b""),
            ("2001:db8::1", "2001:db8::1", b""),
            ("fe80::1%eth0", "fe80::1", b""),
        ):
            name = ServerName(host)
            self.assertEqual((text, indicated), (name.text, name.indicated))

    def test_no_name(self) -> None:
        for host in ("", ".", "a b", "gear/example", "\u00e4" * 70, "*.example"):
            error = self.assertRaises(ValueError, ServerName, host)
            self.assertIn(f"{host!r} is a name that no certificate can have", str(error))


@needs("trustme")
class ProblemTests(SynchronousTestCase):
    def test_matches(self) -> None:
        for host, names in (
            ("gear.example", ["other.example", "gear.example"]),
            ("GEAR.example.", ["gear.example"]),
            ("a.gear.example", ["*.gear.example"]),
            ("127.0.0.1", ["127.0.0.1"]),
            ("::1", ["0:0:0:0:0:0:0:1"]),
            ("fe80::1%eth0", ["fe80::1"]),
        ):
            self.assertEqual("", ServerName(host).problem(certificate(*names)))

    def test_is_for_somebody_else(self) -> None:
        """Neither a part of a name matches, nor a name an address, nor the common name anything."""
        for host, names in (
            ("gear.example", ["gear.example.org", "ear.example", "example"]),
            ("b.a.gear.example", ["*.gear.example", "gear.example"]),
            ("gear.example", ["*.gear.example"]),
            ("127.0.0.1", ["localhost", "127.0.0.2", "::1"]),
            ("::1", ["127.0.0.1"]),
        ):
            expected = f"has a certificate that is not for {ServerName(host).text}"
            self.assertEqual(expected, ServerName(host).problem(certificate(*names)))
        named = certificate("ops@example.org", common_name="gear.example")
        self.assertIn("is not for gear.example", ServerName("gear.example").problem(named))

    def test_none(self) -> None:
        """Not a word of whom it is for, and no certificate at all."""
        plain = X509.from_cryptography(_without_names())
        self.assertIn("is not for gear.example", ServerName("gear.example").problem(plain))
        self.assertEqual("showed no certificate", ServerName("gear.example").problem(None))

    def test_what_cannot_be_read_does_not_match(self) -> None:
        """Such as a name for all of a top-level domain, whatever else is there."""
        problem = ServerName("gear.example").problem(certificate("*.example", "gear.example"))
        self.assertIn("has a certificate that is not for gear.example: ", problem)
        broken: Any = object()
        self.assertIn("is not for gear.example: ", ServerName("gear.example").problem(broken))


def _without_names() -> Any:
    """A certificate with nothing but a common name."""
    from datetime import datetime, timedelta, timezone

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import NameOID

    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gear.example")])
    now = datetime.now(timezone.utc)
    return x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1)).sign(
        key, SHA256()
    )
