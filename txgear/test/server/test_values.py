"""
Tests for L{txgear.server.values}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.server.values import COERCIONS


class ValuesTests(SynchronousTestCase):
    def test_right(self) -> None:
        for name, text, expected in (
            ("port", "4730", 4730),
            ("job-retries", "-1", -1),
            ("max-packet", "64M", 64 << 20),
            ("queue-memory", "2 GiB", 2 << 30),
            ("verbose", "info", "INFO"),
            ("can-do-timeout-unit", "seconds", "seconds"),
            ("worker-grace", "0", 0),
            ("worker-grace", "3600", 3600),
            ("job-handle-prefix", "H:here", b"H:here"),
            ("cluster-name", "gear 1", "gear 1"),
            ("advertise", "a" * 255, "a" * 255),
        ):
            self.assertEqual(COERCIONS[name](text), expected)

    def test_wrong(self) -> None:
        """What is said names the option and what was given."""
        for name, text in (
            ("port", "x"),
            ("port", "4_730"),
            ("port", "65536"),
            ("max-packet", "64MB"),
            ("max-packet", "1"),
            ("verbose", "loud"),
            ("can-do-timeout-unit", "minutes"),
            ("worker-grace", "-1"),
            ("worker-grace", "3601"),
            ("worker-grace", "10s"),
            ("job-handle-prefix", "a b"),
            ("cluster-name", ""),
            ("cluster-name", " "),
            ("cluster-name", "gear ä"),
            ("cluster-name", "a" * 256),
            ("advertise", "a" * 256),
            ("advertise", "a\tb"),
        ):
            said = str(self.assertRaises(ValueError, COERCIONS[name], text))
            self.assertTrue(said.startswith(f"--{name}: "), said)
