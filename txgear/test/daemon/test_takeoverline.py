"""
Tests for L{txgear.daemon.takeoverline}.
"""

from __future__ import annotations

import shlex

from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.takeoverline import takeover_line


class TakeoverLineTests(SynchronousTestCase):
    def test_sqlite(self) -> None:
        """The file's name may hold anything."""
        url = "sqlite:////var/a b/queue?.sqlite"
        line = takeover_line(url, "its queue")
        self.assertEqual(
            shlex.split(line), ["txgear", "import", f"--from={url}", "--table=its queue", f"--store={url}"]
        )

    def test_secrets(self) -> None:
        """No password is in it; other options of the URL stay."""
        url = "postgresql://me:secret@/gear?host=%2Frun%2Fpg&password=secret&sslpassword=secret"
        line = takeover_line(url, "queue", has_password=True)
        self.assertNotIn("secret", line)
        self.assertIn("'--from=postgresql://me@/gear?host=%2Frun%2Fpg'", line)
        self.assertTrue(line.endswith(" (the password in TXGEAR_IMPORT_PASSWORD and TXGEAR_STORE_PASSWORD)"))

    def test_options(self) -> None:
        """The file of the password, and what handles start with, are the server's own."""
        line = takeover_line("mysql://me@h:3306/gear", "t", b"H:x", "/etc/secret")
        self.assertEqual(
            shlex.split(line)[5:],
            [
                "--from-password-file=/etc/secret",
                "--store-password-file=/etc/secret",
                "--job-handle-prefix=H:x",
            ],
        )

    def test_several_hosts(self) -> None:
        line = takeover_line("mysql://me:secret@h:3306,[::1]/gear", "t")
        self.assertEqual(
            shlex.split(line)[2::2], ["--from=mysql://me@h:3306/gear", "--store=mysql://me@h:3306,[::1]/gear"]
        )
