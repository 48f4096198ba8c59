"""
Tests of L{txgear.security.certificates}.
"""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from txgear.security.certificates import CN, DNS, EMAIL, MOST_NAMES, URI, names_of
from txgear.test.support.extras import needs


def certificate(common: str, *names: x509.GeneralName) -> x509.Certificate:
    """A certificate with this common name and these alternative names, which it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    now = datetime.datetime(2026, 1, 1)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now)
        if not names
        else x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now
        ).add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


class NamesTests(SynchronousTestCase):
    def test_all_fields(self) -> None:
        """Names of each kind are told apart; those of hosts are in lower case."""
        names = names_of(
            certificate(
                "Web Team",
                x509.DNSName("Web.Example"),
                x509.DNSName("www.example"),
                x509.UniformResourceIdentifier("spiffe://example/web"),
                x509.RFC822Name("web@example.org"),
            )
        )
        self.assertEqual(names.values(DNS), ("web.example", "www.example"))
        self.assertEqual(names.values(URI), ("spiffe://example/web",))
        self.assertEqual(names.values(EMAIL), ("web@example.org",))
        self.assertEqual(names.values(CN), ("Web Team",))

    def test_a_common_name_alone(self) -> None:
        """A certificate without alternative names has a common name, which is no name of a host."""
        names = names_of(certificate("web.example"))
        self.assertEqual(names.values(CN), ("web.example",))
        self.assertEqual(names.values(DNS), ())

    def test_very_many(self) -> None:
        """Of thousands of names the first are looked at."""
        names = names_of(certificate("x", *(x509.DNSName(f"h{number}.example") for number in range(2000))))
        self.assertEqual(len(names.values(DNS)), MOST_NAMES)

    @needs("trustme")
    def test_those_of_trustme(self) -> None:
        """What the integration tests issue is read as well."""
        import trustme

        issued = trustme.CA().issue_cert("web.example", common_name="web")
        found = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
        self.assertEqual(names_of(found).values(DNS), ("web.example",))
        self.assertEqual(names_of(found).values(CN), ("web",))
