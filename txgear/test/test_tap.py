"""
Tests for L{txgear.tap}.
"""

from __future__ import annotations

import sys
from io import StringIO
from typing import Any

from twisted.application.service import IService
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from txgear import __version__
from txgear.constants import MAX_PACKET
from txgear.errors import ConfigurationError
from txgear.interfaces import IProtocolModule
from txgear.jobserver import Settings
from txgear.tap import Options, default_prefix, makeService, protocol_modules


def parsed(*words: str) -> Options:
    """The options that these words set."""
    options = Options()
    options.parseOptions(words)
    return options


class OptionsTests(SynchronousTestCase):
    """The command line."""

    def refusal(self, *words: str) -> str:
        """What is said to words that are refused."""
        return str(self.assertRaises(SystemExit, parsed, *words))

    def test_defaults(self) -> None:
        """Without options the settings are gearmand's, where it has them."""
        options = parsed()
        self.assertEqual(options["port"], 4730)
        self.assertEqual(options["listen"], [])
        self.assertEqual(options["store"], "memory:")
        self.assertEqual(
            options.settings(),
            Settings(
                prefix=default_prefix(),
                retries=-1,
                wakeups=0,
                exceptions=False,
                max_packet=MAX_PACKET,
                allow_shutdown=False,
                level="NOTICE",
            ),
        )

    def test_settings(self) -> None:
        """Each option finds its setting."""
        options = parsed(
            "--job-retries=3",
            "--worker-wakeup=2",
            "--exceptions",
            "--max-packet=100000",
            "--allow-shutdown",
            "--verbose=debug",
            "--job-handle-prefix=H:here",
        )
        self.assertEqual(
            options.settings(),
            Settings(
                prefix=b"H:here",
                retries=3,
                wakeups=2,
                exceptions=True,
                max_packet=100000,
                allow_shutdown=True,
                level="DEBUG",
            ),
        )

    def test_repeated(self) -> None:
        """C{--listen} may be repeated; a protocol that is named twice is spoken once."""
        options = parsed("-L", "127.0.0.1", "--listen", "::1", "-r", "gear", "--protocol", "gear")
        self.assertEqual(options["listen"], ["127.0.0.1", "::1"])
        self.assertEqual(options["protocol"], ["gear"])

    def test_wrong_numbers(self) -> None:
        """A number that is none, or out of its bounds, is one line that names the option."""
        for option, wrong in (
            ("port", "x"),
            ("port", "65536"),
            ("port", ""),
            ("backlog", "0"),
            ("job-retries", "-2"),
            ("job-retries", "256"),
            ("worker-wakeup", "-1"),
            ("keepalive-idle", "1.5"),
            ("file-descriptors", "1"),
            ("max-packet", "5"),
        ):
            said = self.refusal(f"--{option}={wrong}")
            self.assertTrue(said.startswith(f"txgear: --{option}: a whole number from"), said)
            self.assertNotIn("\n", said)

    def test_wrong_words(self) -> None:
        """So are other values that mean nothing."""
        for option, wrong in (
            ("verbose", "LOUD"),
            ("store", "disk:"),
            ("job-handle-prefix", "a b"),
            ("job-handle-prefix", "x" * 60),
            ("protocol", "smtp"),
            ("listen", ""),
        ):
            said = self.refusal(f"--{option}={wrong}")
            self.assertIn(f"--{option}", said)
            self.assertNotIn("\n", said)

    def test_unknown(self) -> None:
        """An option or an argument that is not ours is named."""
        self.assertIn("bogus", self.refusal("--bogus"))
        self.assertIn("stray", self.refusal("stray"))

    def test_version(self) -> None:
        """C{--version} is txgear's."""
        out = StringIO()
        self.patch(sys, "stdout", out)
        self.assertEqual(self.assertRaises(SystemExit, parsed, "--version").code, 0)
        self.assertEqual(out.getvalue(), f"txgear {__version__}\n")

    def test_default_prefix_fits(self) -> None:
        """The default prefix leaves room for the number, whatever the host's name."""
        self.assertTrue(default_prefix().startswith(b"H:"))
        self.assertLessEqual(len(default_prefix()), 44)


class ModulesTests(SynchronousTestCase):
    """What a port can speak."""

    def test_found(self) -> None:
        """Our own modules are found, and provide what they say."""
        modules = protocol_modules()
        self.assertIn("gear", modules)
        for name, module in modules.items():
            verifyObject(IProtocolModule, module)
            verifyObject(IPlugin, module)
            self.assertEqual(module.name, name)

    def test_doubled(self) -> None:
        """Two modules of one name are an error."""
        gear = protocol_modules()["gear"]
        error = self.assertRaises(ConfigurationError, protocol_modules, [gear, gear])
        self.assertIn("gear", str(error))


class MakeServiceTests(SynchronousTestCase):
    """What C{twistd} gets."""

    def setUp(self) -> None:
        self.addCleanup(setattr, sys, "excepthook", sys.excepthook)

    def test_service(self) -> None:
        """The options make a service, which has not started."""
        service: Any = makeService(parsed("--protocol", "gear"))
        verifyObject(IService, service)
        self.assertFalse(service.running)

    def test_errors_are_lines(self) -> None:
        """A server that cannot start says why in a line; a defect keeps its traceback."""
        ordinary: list[Any] = []
        sys.excepthook = lambda *arguments: ordinary.append(arguments)
        makeService(parsed())
        err = StringIO()
        self.patch(sys, "__stderr__", err)
        error = ConfigurationError("no room")
        sys.excepthook(ConfigurationError, error, None)
        self.assertEqual(err.getvalue(), "txgear: no room\n")
        self.assertEqual(ordinary, [])
        defect = ValueError()
        sys.excepthook(ValueError, defect, None)
        self.assertEqual(ordinary, [(ValueError, defect, None)])
