"""
TLS as a client or a worker speaks it: what its servers must show, and what it shows itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL.crypto import X509, PKey
from OpenSSL.SSL import VERIFY_PEER, Connection
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.ssl import Certificate, CertificateOptions, platformTrust, trustRootFromCertificates
from twisted.logger import Logger
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from zope.interface import implementer

from txgear.security.servername import ServerName
from txgear.security.tlswords import verification_problem

if TYPE_CHECKING:
    from twisted.protocols.tls import TLSMemoryBIOProtocol

Place = str | os.PathLike[str]
"""The path of a file."""


@dataclass(frozen=True)
class ClientTLS:
    """
    How a client or a worker speaks TLS with its servers.

    The server's certificate is always verified: it must be signed by an authority that is trusted, be valid
    now, and be for the server's name or address.

    All files are PEM. They are read when the client or worker is made, and again for a new connection after
    they have changed; where the new ones are bad, the log says so, and the old ones are used.

    @ivar ca: the authorities that are trusted: a file with their certificates, or a folder of C{.pem} files.
        C{None} is for those of the system.
    @ivar certificate: a file with the certificate to show to servers that ask for one, and those of its
        chain behind it. C{None} is for none.
    @ivar key: a file with its private key, without a passphrase. C{None}: the key stands in the
        certificate's file.
    @ivar name: the name or address that the certificates of the servers must have. Empty: each its own.
    """

    ca: Place | None = None
    certificate: Place | None = None
    key: Place | None = None
    name: str = ""

    def __post_init__(self) -> None:
        for field in ("ca", "certificate", "key"):
            value = getattr(self, field)
            if value is not None and not isinstance(value, (str, os.PathLike)):
                raise TypeError(f"{field} is {type(value).__name__}, not the path of a file")
        if not isinstance(self.name, str):
            raise TypeError(f"name is {type(self.name).__name__}, not text")
        if self.key is not None and self.certificate is None:
            raise ValueError("a key is given, and no certificate")


class ClientContext:
    """
    What the files of a L{ClientTLS} hold, read again when they have changed.
    """

    log = Logger()

    def __init__(self, tls: ClientTLS) -> None:
        """
        @raise ValueError: a file cannot be read, or does not hold what it should.
        """
        self.tls = tls
        self._state = self._look()
        self._options = self._read()

    def options(self) -> CertificateOptions:
        """What a new connection is made with."""
        state = self._look()
        if state != self._state:
            # Also where they turn out to be bad: they are not read again before they change again.
            self._state = state
            try:
                self._options = self._read()
            except ValueError as error:
                self.log.error("{error}; the files that were read before are used", error=error)
        return self._options

    def _look(self) -> list[tuple[int, int, int] | None]:
        """What can be seen of the files without reading them."""
        found: list[tuple[int, int, int] | None] = []
        for place in (self.tls.ca, self.tls.certificate, self.tls.key):
            for path in () if place is None else _files(place):
                try:
                    status = path.stat()
                except OSError:
                    found.append(None)
                else:
                    found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return found

    def _read(self) -> CertificateOptions:
        tls = self.tls
        trusted = platformTrust()
        if tls.ca is not None:
            authorities = [each for path in _files(tls.ca) for each in _certificates(path)]
            if not authorities:
                raise ValueError(f"{os.fspath(tls.ca)}: no certificate of an authority is there")
            trusted = trustRootFromCertificates(
                [Certificate(X509.from_cryptography(each)) for each in authorities]
            )
        if tls.certificate is None:
            return CertificateOptions(trustRoot=trusted)
        certificate, *chain = _certificates(Path(tls.certificate))
        key = _key(Path(tls.certificate if tls.key is None else tls.key), certificate)
        return CertificateOptions(
            trustRoot=trusted,
            privateKey=key,
            certificate=X509.from_cryptography(certificate),
            extraCertChain=[X509.from_cryptography(each) for each in chain],
        )


def _files(place: Place) -> Iterator[Path]:
    """A file itself, or the C{.pem} files of a folder."""
    path = Path(place)
    if path.is_dir():
        yield from sorted(path.glob("*.pem"))
    else:
        yield path


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error


def _certificates(path: Path) -> list[x509.Certificate]:
    """
    The certificates of a file, at least one.

    @raise ValueError: it cannot be read, or there is none.
    """
    content = _content(path)
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise ValueError(f"{path}: no certificate can be read there") from error


def _key(path: Path, certificate: x509.Certificate) -> PKey:
    """
    The private key of a certificate.

    @raise ValueError: it cannot be read, or is that of another certificate. The text shows nothing of it.
    """
    content = _content(path)
    try:
        key = serialization.load_pem_private_key(content, None)
    except TypeError as error:
        raise ValueError(f"{path}: the private key has a passphrase; one without is wanted") from error
    except ValueError as error:
        raise ValueError(f"{path}: no private key can be read there") from error
    spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*spki) != certificate.public_key().public_bytes(*spki):
        raise ValueError(f"{path}: the private key is not that of the certificate")
    return PKey.from_cryptography_key(key)  # type: ignore[arg-type]


class VerifiedTransport(BufferingTLSTransport):
    """
    A TLS connection to a server that has to be who it should be.

    @ivar expected: whose certificate it must show.
    @ivar problem: what is wrong with the certificate that it has shown, in words; empty for nothing.
    """

    expected: ServerName
    problem = ""

    def look_again(self) -> str:
        """
        Look at the server's certificate once more when the handshake is over: whatever way led there.

        @return: what is wrong, in words; empty for nothing.
        """
        self.problem = self.problem or self.expected.problem(self.getPeerCertificate())
        return self.problem


@implementer(IStreamClientEndpoint, IOpenSSLClientConnectionCreator)
class TLSEndpoint:
    """
    An endpoint that speaks TLS over the connections of another one. Its transports are verified ones.

    @ivar expected: whose certificate the server must show.
    """

    def __init__(
        self, clock: IReactorTime, below: IStreamClientEndpoint, context: ClientContext, expected: ServerName
    ) -> None:
        """
        @param clock: gathers what is written within one turn.
        """
        self._clock = clock
        self._below = below
        self._context = context
        self.expected = expected

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        factory = TLSMemoryBIOFactory(self, True, protocolFactory, self._clock)
        factory.protocol = VerifiedTransport
        connecting: Deferred[Any] = self._below.connect(factory)
        return connecting.addCallback(lambda transport: transport.wrappedProtocol)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> Connection:
        """Part of C{IOpenSSLClientConnectionCreator}: the TLS of a new transport."""
        assert isinstance(tlsProtocol, VerifiedTransport)
        tlsProtocol.expected = self.expected
        connection = Connection(self._context.options().getContext(), None)
        if self.expected.indicated:
            connection.set_tlsext_host_name(self.expected.indicated)
        connection.set_verify(VERIFY_PEER, partial(_verified, tlsProtocol))
        return connection


def _verified(
    transport: VerifiedTransport, _: Connection, certificate: X509, code: int, depth: int, good: int
) -> bool:
    """Called by OpenSSL for each certificate of the chain; the server's own, at depth 0, is the last."""
    if not good:
        transport.problem = verification_problem(code)
    elif depth == 0:
        transport.problem = transport.expected.problem(certificate)
    return not transport.problem
