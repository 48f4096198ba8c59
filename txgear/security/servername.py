"""
Whose certificate a server has to have: a client's question, and what its answer is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from service_identity.exceptions import VerificationError
from service_identity.hazmat import DNS_ID
from twisted.internet.abstract import isIPAddress, isIPv6Address

if TYPE_CHECKING:
    from OpenSSL.crypto import X509


class ServerName:
    """
    The name or the address for which a server's certificate has to be valid.

    @ivar text: the name in lower case and ASCII, or the address.
    @ivar indicated: what the server is told of it in the handshake, for a server that has several
        certificates; empty for an address, which is not told.
    """

    def __init__(self, host: str) -> None:
        """
        @param host: as a caller wrote it. A dot at the end of a name, which keeps the resolver from adding a
            domain, and the zone of an IPv6 address stand in no certificate.
        @raise ValueError: no certificate can be for that.
        """
        self._is_address = isIPAddress(host) or isIPv6Address(host)
        if self._is_address:
            self.text = host.partition("%")[0]
            self.indicated = b""
            return
        try:
            self.indicated = DNS_ID(host.removesuffix(".")).hostname
        except ValueError as error:
            raise ValueError(f"{host!r} is a name that no certificate can have: {error}") from error
        self.text = self.indicated.decode("ascii")

    def problem(self, certificate: X509 | None) -> str:
        """
        Look whether a certificate is for this name. Whoever signed it is not looked at.

        @param certificate: what the server has shown; C{None} for nothing.
        @return: what is wrong with it, in words; empty if it is the right one.
        """
        if certificate is None:
            return "showed no certificate"
        verify = verify_certificate_ip_address if self._is_address else verify_certificate_hostname
        try:
            verify(certificate.to_cryptography(), self.text)
        except VerificationError:
            return f"has a certificate that is not for {self.text}"
        except Exception as error:
            # Whatever goes wrong while it is looked at, it did not match.
            return f"has a certificate that is not for {self.text}: {error}"
        return ""
