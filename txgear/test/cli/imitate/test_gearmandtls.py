"""
Tests for L{txgear.cli.imitate.gearmandtls}.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.imitate import gearmand
from txgear.cli.imitate.gearmandtls import with_port
from txgear.daemon.options import Options
from txgear.errors import ConfigurationError
from txgear.test.support.extras import needs
from txgear.test.support.tls import CertificateFolder

PAIR = ("--ssl-certificate=c", "--ssl-key=k")


class TlsTests(SynchronousTestCase):
    """gearmand's options for TLS in our words."""

    def words(self, *arguments: str, **environ: str) -> list[str]:
        """What the server is told of TLS, and where it listens."""
        made = gearmand.translate(
            [f"--config-file={os.devnull}", *arguments], lambda: ["0.0.0.0", "::"], environ
        )
        words = made.words[made.words.index("txgear") + 1 :]
        Options().parseOptions(words)
        return [word for word in words if "tls" in word or "listen" in word]

    def refusal(self, *arguments: str, **environ: str) -> str:
        return str(self.assertRaises(ConfigurationError, self.words, *arguments, **environ))

    def test_everywhere(self) -> None:
        """The port itself speaks TLS, and no other one is open."""
        self.assertEqual(
            self.words("--ssl", *PAIR),
            ["--tls-listen=0.0.0.0:4730", "--tls-listen=[::]:4730", "--tls-cert=c", "--tls-key=k"],
        )

    def test_somewhere(self) -> None:
        for where, said in (
            ("127.0.0.1", "127.0.0.1:99"),
            ("localhost", "localhost:99"),
            ("::1", "[::1]:99"),
            ("unix:/run/gear", "unix:/run/gear"),
        ):
            self.assertEqual(self.words("--ssl", *PAIR, "-L", where, "-p", "99")[0], f"--tls-listen={said}")

    def test_http(self) -> None:
        """TLS is left out nowhere, so HTTP is spoken over it as well."""
        self.assertIn("--http-tls-port=8080", self.words("--ssl", *PAIR, "-r", "http"))
        words = self.words("--ssl", *PAIR, "-r", "http", "--http-port=81")
        self.assertIn("--http-tls-port=81", words)

    def test_clients(self) -> None:
        """gearmand asks no client for a certificate. It is so here, and the log says so, unless told."""
        words = self.words("--ssl", *PAIR, "--ssl-ca-file=a")
        self.assertEqual(words[-1], "--ignored=--ssl-ca-file without --tls-client")
        self.assertFalse([word for word in words if word.startswith("--tls-c") and "cert" not in word])
        words = self.words("--ssl", *PAIR, "--ssl-ca-file=a", "--tls-client=require")
        self.assertEqual(words[-2:], ["--tls-ca=a", "--tls-client=require"])

    def test_variables(self) -> None:
        """As with gearmand its variables win; empty ones are as good as none."""
        words = self.words(
            "--ssl",
            *(*PAIR, "--tls-client=ask"),
            GEARMAND_SERVER_PEM="C",
            GEARMAND_SERVER_KEY="",
            GEARMAND_CA_CERTIFICATE="A",
        )
        self.assertEqual(words[-4:], ["--tls-cert=C", "--tls-key=k", "--tls-ca=A", "--tls-client=ask"])
        self.assertEqual(self.words(GEARMAND_SERVER_PEM="C"), ["--listen=0.0.0.0", "--listen=::"])

    def test_mistakes(self) -> None:
        """TLS is never silently left out, and no file is guessed."""
        for option in ("--ssl-ca-file=a", *PAIR, "--tls-client=ask"):
            name = option.partition("=")[0]
            self.assertEqual(self.refusal(option), f"{name}: without --ssl nothing speaks TLS")
        self.assertIn("--ssl-certificate is wanted", self.refusal("--ssl"))
        self.assertIn("--ssl-key is wanted", self.refusal("--ssl", PAIR[0]))
        self.assertIn("--ssl-ca-file is wanted", self.refusal("--ssl", *PAIR, "--tls-client=ask"))
        self.assertIn("ask or require", self.refusal("--ssl", *PAIR, "--tls-client=x"))

    def test_with_port(self) -> None:
        for place, said in (
            ("gear.example", "gear.example:1"),
            ("gear.example:2", "gear.example:2"),
            ("[::1]", "[::1]:1"),
            ("[::1]:2", "[::1]:2"),
            ("::", "[::]:1"),
            ("::ffff:192.0.2.7", "[::ffff:192.0.2.7]:1"),
            ("tcp:2", "tcp:2"),
            ("tcp:2:interface=192.0.2.7", "tcp:2:interface=192.0.2.7"),
        ):
            self.assertEqual(with_port(place, 1), said)


@needs("trustme")
class CheckTests(SynchronousTestCase):
    """C{--check-args} with TLS."""

    def check(self, folder: CertificateFolder) -> None:
        files = (f"--ssl-certificate={folder['cert.pem']}", f"--ssl-key={folder['key.pem']}")
        words = [f"--config-file={os.devnull}", "-q", "builtin", "--ssl", *files]
        gearmand.check(gearmand.translate(words, lambda: ["::"], {}))

    def test_files(self) -> None:
        """The files are looked at."""
        folder = CertificateFolder(self.mktemp())
        self.check(folder)
        Path(folder["key.pem"]).write_text("x")
        error = self.assertRaises(ConfigurationError, self.check, folder)
        self.assertIn("there is no private key", str(error))
