"""
The files of a server's TLS: its certificate and key, and the authorities that sign those of its clients.

Twisted is not needed here, so that C{txgear gearmand --check-args} can look at them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from OpenSSL import SSL, crypto

from txgear.errors import ConfigurationError

CLIENTS: Final = {
    None: SSL.VERIFY_NONE,
    "ask": SSL.VERIFY_PEER,
    "require": SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
}
"""What C{--tls-client} says to OpenSSL. A certificate that is shown is valid, or the handshake fails."""

CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""
Those of TLS 1.2: forward secret, and with authenticated encryption. All those of TLS 1.3 are that anyway.
"""

MOST_NAMES: Final = 5
"""Names of a certificate that are shown."""

Refused = Callable[[SSL.Connection, int], None]
"""Told why a client's certificate is refused: a number of C{OpenSSL.SSL.X509VerificationCodes}."""


@dataclass(frozen=True)
class TlsFiles:
    """
    The files, by the options that name them.

    @ivar cert: the server's certificate, and behind it those that lead to its authority.
    @ivar key: the key of the first one.
    @ivar ca: the authorities of clients; C{None} where clients are asked for nothing.
    @ivar client: C{ask}, C{require}, or C{None}: whether clients show a certificate.
    """

    cert: str
    key: str
    ca: str | None = None
    client: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """All that there are."""
        return (self.cert, self.key) if self.ca is None else (self.cert, self.key, self.ca)


class Loaded(NamedTuple):
    """
    What was in the files.

    @ivar context: for new connections.
    @ivar names: those of the server's certificate, in a line.
    @ivar until: the last moment of its validity.
    """

    context: SSL.Context
    names: str
    until: datetime

    def expired(self, now: float) -> bool:
        """
        Whether no client that looks takes the certificate any more.

        @param now: seconds since the epoch.
        """
        return self.until < datetime.fromtimestamp(now, timezone.utc)

    @property
    def shown_until(self) -> str:
        """L{until}, for people."""
        return f"{self.until:%Y-%m-%dT%H:%M:%SZ}"


def load(files: TlsFiles, refused: Refused | None = None) -> Loaded:
    """
    Read the files, and see whether they belong together.

    @param refused: is told of clients' certificates that are refused.
    @raise ConfigurationError: one cannot be read, or not be used; the text names the option and the file.
    """
    chain = _certificates("tls-cert", files.cert)
    key = _key(files.key)
    if _public(key.public_key()) != _public(chain[0].public_key()):
        raise ConfigurationError(
            f"--tls-key: {files.key} is not the key of the first certificate in {files.cert}"
        )
    context = _bare_context()
    try:
        context.use_certificate(chain[0])
        for certificate in chain[1:]:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(key)
    except SSL.Error as error:
        raise ConfigurationError(f"--tls-cert: {files.cert}: {reason_of(error)}") from error
    if files.ca is not None:
        _trust(context, files.ca)
        context.set_verify(CLIENTS[files.client], _verdict(refused))
    return Loaded(context, _names(chain[0]), chain[0].not_valid_after_utc)


def _bare_context() -> SSL.Context:
    """
    The settings that are the same for all files.

    No session is resumed: one that was begun with a client's certificate would go on after its authority is
    no longer trusted, and txgear's peers stay connected.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    context.set_options(
        SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # A connection that is idle holds no buffers: half of its memory.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


def _trust(context: SSL.Context, path: str) -> None:
    store: Any = context.get_cert_store()
    for authority in _certificates("tls-ca", path):
        store.add_cert(crypto.X509.from_cryptography(authority))
        # The list from which a client with several certificates chooses.
        context.add_client_ca(authority)


def _verdict(refused: Refused | None) -> Callable[[SSL.Connection, Any, int, int, int], bool]:
    """OpenSSL's own verdict of each certificate, overheard."""

    def verdict(connection: SSL.Connection, certificate: Any, number: int, depth: int, valid: int) -> bool:
        if not valid and refused is not None:
            refused(connection, number)
        return bool(valid)

    return verdict


def reason_of(error: SSL.Error) -> str:
    """The last of OpenSSL's reasons that says something, in its words; empty where it gives none."""
    found = error.args[0] if error.args and isinstance(error.args[0], list) else []
    words = [str(each[-1]) for each in found]
    # OpenSSL 3.2 and later have it behind the true reason.
    if len(words) > 1 and words[-1] == "record layer failure":
        words.pop()
    return words[-1] if words else ""


def _read(option: str, path: str) -> bytes:
    try:
        # A pipe cannot be opened before somebody writes into it.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ConfigurationError(f"--{option}: {path} is no file")
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"--{option}: cannot read {path}: {error.strerror}") from error


def _certificates(option: str, path: str) -> list[x509.Certificate]:
    """All certificates of a file, at least one."""
    text = _read(option, path)
    if b"-----BEGIN CERTIFICATE-----" not in text:
        raise ConfigurationError(f"--{option}: there is no certificate in {path} (PEM is wanted)")
    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError as error:
        raise ConfigurationError(f"--{option}: a certificate in {path} is damaged") from error


def _key(path: str) -> Any:
    text = _read("tls-key", path)
    if b"PRIVATE KEY-----" not in text:
        raise ConfigurationError(f"--tls-key: there is no private key in {path} (PEM is wanted)")
    try:
        return load_pem_private_key(text, None)
    except TypeError as error:
        raise ConfigurationError(
            f"--tls-key: the key in {path} is encrypted, and there is nobody to ask for its password"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"--tls-key: the key in {path} is damaged") from error


def _public(key: Any) -> bytes:
    """A public key as bytes that can be compared."""
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _names(certificate: x509.Certificate) -> str:
    """Whom a certificate is for, for people."""
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return certificate.subject.rfc4514_string() or "nobody"
    found = [
        *alternative.get_values_for_type(x509.DNSName),
        *map(str, alternative.get_values_for_type(x509.IPAddress)),
    ]
    more = f" and {len(found) - MOST_NAMES} more" if len(found) > MOST_NAMES else ""
    return ", ".join(found[:MOST_NAMES]) + more or certificate.subject.rfc4514_string() or "nobody"
