"""
Tests for L{txgear.security.tlswords}.
"""

from __future__ import annotations

from OpenSSL.SSL import Error, X509VerificationCodes
from twisted.trial.unittest import SynchronousTestCase

from txgear.security.tlswords import tls_problem, verification_problem


class WordsTests(SynchronousTestCase):
    def test_certificates(self) -> None:
        for code, words in (
            (X509VerificationCodes.ERR_CERT_HAS_EXPIRED, "has expired"),
            (X509VerificationCodes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "authority is not among those"),
            (X509VerificationCodes.ERR_SELF_SIGNED_CERT_IN_CHAIN, "authority is not among those"),
            (999, "OpenSSL does not accept (error 999)"),
        ):
            self.assertIn(words, verification_problem(code))

    def test_errors(self) -> None:
        """What OpenSSL says stands behind the words for it."""
        for said, words in (
            ("wrong version number", "does not speak TLS (wrong version number)"),
            ("tlsv13 alert certificate required", "wants a certificate of this side, and was shown none"),
            ("tlsv1 alert unknown ca", "does not take the certificate of this side"),
            ("ssl/tls alert certificate expired", "does not take the certificate of this side"),
            ("tls alert handshake failure", "ended the TLS handshake; it may want a certificate"),
            ("tlsv1 alert protocol version", "failed in TLS (tlsv1 alert protocol version)"),
        ):
            self.assertIn(words, tls_problem(Error([("SSL routines", "", said)])))
            self.assertIn(f"({said})", tls_problem(Error([("SSL routines", "", said)])))

    def test_an_error_without_words(self) -> None:
        for error in (Error(), Error([]), Error(-1, "Unexpected EOF")):
            self.assertEqual("failed in TLS (no reason is given)", tls_problem(error))

    def test_others(self) -> None:
        self.assertEqual("", tls_problem(ValueError("x")))
        self.assertEqual("", tls_problem(None))
