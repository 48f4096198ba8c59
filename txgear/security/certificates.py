"""
What a client certificate says of whose it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

DNS: Final = "dns"
URI: Final = "uri"
EMAIL: Final = "email"
CN: Final = "cn"

FIELDS: Final = (DNS, URI, EMAIL, CN)
"""
The fields of which the operator chooses one: three kinds of subject alternative names, and the common name of
the subject.
"""

MOST_NAMES: Final = 100
"""Names of one kind that are looked at; a certificate may have thousands."""


class CertificateNames(NamedTuple):
    """
    The names in a certificate that was verified. Names of hosts are in lower case.
    """

    dns: tuple[str, ...] = ()
    uri: tuple[str, ...] = ()
    email: tuple[str, ...] = ()
    cn: tuple[str, ...] = ()

    def values(self, field: str) -> tuple[str, ...]:
        """
        @param field: one of L{FIELDS}.
        """
        found: tuple[str, ...] = getattr(self, field)
        return found


def names_of(certificate: Certificate) -> CertificateNames:
    """
    Read the names of a certificate.

    @raise ValueError: an extension makes no sense.
    """
    # Whoever speaks no TLS needs none of it.
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    dns: tuple[str, ...] = ()
    uri: tuple[str, ...] = ()
    email: tuple[str, ...] = ()
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        # An old certificate, or one for a person: it may have a common name.
        names = None
    if names is not None:
        dns = tuple(name.lower() for name in names.get_values_for_type(x509.DNSName)[:MOST_NAMES])
        uri = tuple(names.get_values_for_type(x509.UniformResourceIdentifier)[:MOST_NAMES])
        email = tuple(names.get_values_for_type(x509.RFC822Name)[:MOST_NAMES])
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[:MOST_NAMES]
    return CertificateNames(dns, uri, email, tuple(str(each.value) for each in common))
