"""
Why a TLS connection to a server has failed, in words for whoever has to mend it.
"""

from __future__ import annotations

from typing import Final

from OpenSSL.SSL import Error, X509VerificationCodes

_Codes = X509VerificationCodes
_UNKNOWN_AUTHORITY: Final = "has a certificate whose authority is not among those that are trusted"
_VERIFICATION: Final = {
    _Codes.ERR_CERT_NOT_YET_VALID: "has a certificate that is not valid yet",
    _Codes.ERR_CERT_HAS_EXPIRED: "has a certificate that has expired",
    _Codes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: (
        "has a certificate that is signed by itself, and is not among those that are trusted"
    ),
    _Codes.ERR_SELF_SIGNED_CERT_IN_CHAIN: _UNKNOWN_AUTHORITY,
    _Codes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: _UNKNOWN_AUTHORITY,
    _Codes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: _UNKNOWN_AUTHORITY,
    _Codes.ERR_CERT_REVOKED: "has a certificate that has been revoked",
    _Codes.ERR_INVALID_PURPOSE: "has a certificate that is none for servers",
}
"""What is wrong with a certificate, by OpenSSL's number."""

_OURS: Final = (
    "unknown ca",
    "bad certificate",
    "certificate expired",
    "certificate revoked",
    "certificate unknown",
    "unsupported certificate",
    "access denied",
)
"""Alerts with which a server refuses the certificate that it was shown."""

_NO_TLS: Final = ("wrong version number", "packet length too long", "record layer failure", "http request")
"""What OpenSSL says of an answer that is no TLS."""


def verification_problem(code: int) -> str:
    """
    What is wrong with a server's chain of certificates.

    @param code: OpenSSL's number.
    """
    return _VERIFICATION.get(code) or f"has a certificate that OpenSSL does not accept (error {code})"


def tls_problem(error: BaseException | None) -> str:
    """
    What a server did that made OpenSSL end the connection.

    @return: empty if it was not OpenSSL.
    """
    if not isinstance(error, Error):
        return ""
    queue = error.args[0] if error.args and isinstance(error.args[0], (list, tuple)) else []
    said = ", ".join(str(entry[-1]) for entry in queue if entry) or "no reason is given"
    if any(words in said for words in _NO_TLS):
        return f"does not speak TLS ({said})"
    if "certificate required" in said:
        return f"wants a certificate of this side, and was shown none ({said})"
    if "alert" in said and any(words in said for words in _OURS):
        return f"does not take the certificate of this side ({said})"
    if "alert handshake failure" in said:
        return f"ended the TLS handshake; it may want a certificate of this side ({said})"
    return f"failed in TLS ({said})"
