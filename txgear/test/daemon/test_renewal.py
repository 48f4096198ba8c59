"""
Tests for L{txgear.daemon.renewal}.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.renewal import LOOK_SECONDS, Renewal, files_of
from txgear.errors import ConfigurationError
from txgear.plugins.gear import gear
from txgear.plugins.http import http
from txgear.security.tlsfiles import TlsFiles
from txgear.test.support.extras import needs
from txgear.test.support.tls import PAST, CertificateFolder

NOW = 1.8e9


class FilesTests(SynchronousTestCase):
    """What the options say together."""

    def files(self, **options: Any) -> TlsFiles | None:
        given = dict.fromkeys(
            ("tls-listen", "tls-cert", "tls-key", "tls-ca", "tls-client", "http-tls-port", "http-port")
        )
        given.update({name.replace("_", "-"): value for name, value in options.items()})
        return files_of([gear, http], given)

    def refusal(self, **options: Any) -> str:
        return str(self.assertRaises(ConfigurationError, self.files, **options))

    def test_none(self) -> None:
        self.assertIsNone(self.files())

    def test_all(self) -> None:
        pair = {"tls_cert": "c", "tls_key": "k"}
        for port in ({"tls_listen": ["127.0.0.1:1"]}, {"http_tls_port": 0}):
            self.assertEqual(self.files(**port, **pair), TlsFiles("c", "k"))
            for client in ("ask", "require"):
                made = self.files(**port, **pair, tls_ca="a", tls_client=client)
                self.assertEqual(made, TlsFiles("c", "k", "a", client))

    def test_no_port(self) -> None:
        """Files for nobody were hardly meant."""
        for name in ("cert", "key", "ca", "client"):
            self.assertEqual(
                self.refusal(**{f"tls_{name}": "x"}),
                f"--tls-{name}: there is no port with TLS; --tls-listen HOST:PORT makes one",
            )

    def test_half(self) -> None:
        port = {"tls_listen": ["127.0.0.1:1"]}
        self.assertEqual(self.refusal(**port), "--tls-listen: --tls-cert is wanted as well")
        self.assertEqual(self.refusal(**port, tls_cert="c"), "--tls-listen: --tls-key is wanted as well")
        self.assertEqual(self.refusal(http_tls_port=1), "--http-tls-port: --tls-cert is wanted as well")
        both = {**port, "tls_cert": "c", "tls_key": "k"}
        self.assertIn("--tls-ca is wanted", self.refusal(**both, tls_client="ask"))
        self.assertIn("without --tls-client", self.refusal(**both, tls_ca="a"))


@needs("trustme")
class RenewalTests(SynchronousTestCase):
    """Files that change while the server runs."""

    def setUp(self) -> None:
        self.folder = CertificateFolder(self.mktemp())
        self.clock = Clock()
        self.renewal = self.make()

    def make(self) -> Renewal:
        return Renewal(self.folder.files, self.clock, lambda: NOW)

    def logged(self, action: Callable[[], object]) -> list[str]:
        """What the log hears meanwhile."""
        with capturedLogs() as events:
            action()
        return [
            f"{event['log_level'].name}: {formatEvent(event)}".replace(f"{self.folder.path}/", "")
            for event in events
        ]

    def start(self) -> list[str]:
        said = self.logged(self.renewal.start)
        self.addCleanup(self.renewal.stop)
        return said

    def after_a_look(self) -> list[str]:
        """What is logged by the next look at the files."""
        return self.logged(lambda: self.clock.advance(LOOK_SECONDS))

    @property
    def served(self) -> str:
        return self.renewal.tls.loaded.names

    def test_start(self) -> None:
        self.assertEqual(
            self.start(), ["info: TLS: the certificate of localhost, valid until 3000-01-01T00:00:00Z"]
        )

    def test_bad_at_the_start(self) -> None:
        os.remove(self.folder["key.pem"])
        self.assertRaises(ConfigurationError, self.make)

    def test_expired_at_the_start(self) -> None:
        """It starts all the same: plain ports and peers that do not look go on, and the new one comes."""
        self.folder.renew(not_after=PAST)
        self.renewal = self.make()
        self.assertEqual(
            self.start()[1:],
            [
                "error: --tls-cert: the certificate in cert.pem has expired;"
                " peers that look at it do not connect"
            ],
        )
        self.folder.renew("new.example")
        self.assertEqual(len(self.after_a_look()), 1)
        self.assertEqual(self.served, "new.example")

    def test_by_itself(self) -> None:
        """New files are in force within a minute; nothing is said as long as they stay."""
        self.assertLess(LOOK_SECONDS, 60)
        self.start()
        self.assertEqual(self.after_a_look(), [])
        self.folder.renew("new.example")
        self.assertEqual(
            self.after_a_look(),
            ["info: TLS: read again: the certificate of new.example, valid until 3000-01-01T00:00:00Z"],
        )
        self.assertEqual(self.served, "new.example")
        self.assertEqual(self.after_a_look(), [])

    def test_half_written(self) -> None:
        """The new certificate comes before its key: one line, however long it takes, and the old pair."""
        self.start()
        self.folder.renew("new.example", key="new.key")
        self.assertEqual(
            self.after_a_look(),
            [
                "error: --tls-key: key.pem is not the key of the first certificate in cert.pem;"
                " TLS stays as it was"
            ],
        )
        for _ in range(5):
            self.assertEqual(self.after_a_look(), [])
        self.assertEqual(self.served, "localhost")
        os.replace(self.folder["new.key"], self.folder["key.pem"])
        self.assertEqual(len(self.after_a_look()), 1)
        self.assertEqual(self.served, "new.example")

    def test_gone(self) -> None:
        """A file that goes, and comes back."""
        self.start()
        os.rename(self.folder["ca.pem"], self.folder["away"])
        self.assertEqual(len(self.after_a_look()), 1)
        self.assertEqual(self.after_a_look(), [])
        os.rename(self.folder["away"], self.folder["ca.pem"])
        self.assertIn("read again", "".join(self.after_a_look()))

    def test_a_link(self) -> None:
        """What is behind a link counts, as those who renew certificates move links."""
        for name in ("old", "new"):
            self.folder.renew(f"{name}.example", cert=f"{name}.pem")
            os.rename(self.folder["key.pem"], self.folder[f"{name}.key"])
        for name, target in (("cert.pem", "old.pem"), ("key.pem", "old.key")):
            Path(self.folder[name]).unlink(missing_ok=True)
            os.symlink(target, self.folder[name])
        self.renewal = self.make()
        self.start()
        self.assertEqual(self.served, "old.example")
        for name, target in (("cert.pem", "new.pem"), ("key.pem", "new.key")):
            os.symlink(target, self.folder["link"])
            os.replace(self.folder["link"], self.folder[name])
        self.after_a_look()
        self.assertEqual(self.served, "new.example")

    def test_expired(self) -> None:
        """An old file that was put in the place of a good one is a mistake."""
        self.start()
        self.folder.renew("old.example", not_after=PAST)
        self.assertEqual(
            self.after_a_look(),
            ["error: --tls-cert: the certificate in cert.pem has expired; TLS stays as it was"],
        )
        self.assertEqual(self.served, "localhost")

    def test_told(self) -> None:
        """Where it is told to, the files are read in any case; what they say is said once."""
        self.start()
        self.assertIn("read again", "".join(self.logged(self.renewal.renew)))
        os.remove(self.folder["cert.pem"])
        self.assertIn("cannot read cert.pem", "".join(self.logged(self.renewal.renew)))
        self.assertEqual(self.after_a_look(), [])

    def test_stop(self) -> None:
        self.renewal.stop()
        self.start()
        self.renewal.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
