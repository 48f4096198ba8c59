"""
Tests for L{txgear.cli.run.reacting}.
"""

from __future__ import annotations

import signal

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.options import Servers
from txgear.cli.base.places import TLSFiles
from txgear.cli.base.statuses import DENIED, FAILED, INTERRUPTED, MISUSED, UNREACHABLE, CommandError
from txgear.cli.run.reacting import as_command_error, client_arguments, made, peer_arguments
from txgear.errors import AccessDenied, JobLost, MissingAbility, NotConnected, QueueError
from txgear.security.clienttls import ClientTLS


class ErrorTests(SynchronousTestCase):
    """Each error of a client has an exit status."""

    def status(self, error: BaseException, *signals: int) -> int:
        found = as_command_error(error, list(signals))
        assert isinstance(found, CommandError), found
        return found.status

    def test_statuses(self) -> None:
        """No server, no txgear, no right, and all that is only not done."""
        self.assertEqual(self.status(NotConnected("nobody there")), UNREACHABLE)
        self.assertEqual(self.status(MissingAbility("a:1", "delays", "it is older")), UNREACHABLE)
        self.assertEqual(self.status(AccessDenied("submit is not allowed")), DENIED)
        self.assertEqual(self.status(QueueError("it is full")), FAILED)
        self.assertEqual(self.status(JobLost("gone", None)), FAILED)

    def test_signals(self) -> None:
        """A cancelled command has the status that shells give the signal."""
        self.assertEqual(self.status(CancelledError(), signal.SIGINT), INTERRUPTED)
        self.assertEqual(self.status(CancelledError(), signal.SIGTERM), 143)
        self.assertEqual(self.status(CancelledError()), INTERRUPTED)

    def test_own_errors_stay(self) -> None:
        """What is one already, or is no error of ours, is raised as it is."""
        for error in (CommandError("no", MISUSED), BrokenPipeError(), ZeroDivisionError()):
            self.assertIs(as_command_error(error, []), error)

    def test_text_of_a_server_does_nothing_to_a_terminal(self) -> None:
        """It is one line, without control characters."""
        error = as_command_error(AccessDenied("no\x1b[2J\nreally"), [])
        assert isinstance(error, CommandError)
        self.assertEqual(error.text, "no\\x1b[2J\\x0areally")


class ArgumentTests(SynchronousTestCase):
    """What a command line says becomes arguments of a client."""

    def test_plain(self) -> None:
        """Names, the token, and how patient it is."""
        servers = Servers(("a:1", "b:2"), None, b"txg_x", 3.0)
        common = {"servers": ["a:1", "b:2"], "tls": False, "token": b"txg_x"}
        self.assertEqual(peer_arguments(servers), common)
        self.assertEqual(client_arguments(servers), {**common, "connect_timeout": 3.0, "answer_timeout": 3.0})

    def test_tls(self) -> None:
        """The files go into one object."""
        servers = Servers(("a:1",), TLSFiles("ca", "cert", "key", "name"), None, 3.0)
        self.assertEqual(peer_arguments(servers)["tls"], ClientTLS("ca", "cert", "key", "name"))

    def test_what_makes_no_sense(self) -> None:
        """It is a mistake on the command line."""
        error = self.assertRaises(CommandError, made, int, "x")
        self.assertEqual(error.status, MISUSED)
        self.assertEqual(made(int, "7"), 7)
