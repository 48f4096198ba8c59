"""
Tests for L{txgear.cli}.
"""

from __future__ import annotations

import os
import sys
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear import cli
from txgear.cli import gearmand
from txgear.errors import ConfigurationError
from txgear.tap import Options


class TranslateTests(SynchronousTestCase):
    """gearmand's options in our words."""

    def words(self, *arguments: str) -> list[str]:
        """What twistd is given; the server takes it."""
        # A file that is there, so that no test depends on the machine's own.
        words, only_check = gearmand.translate(
            [f"--config-file={os.devnull}", *arguments], lambda: ["0.0.0.0", "::"]
        )
        self.assertFalse(only_check)
        Options().parseOptions(words[words.index("txgear") + 1 :])
        return words

    def refusal(self, *arguments: str) -> str:
        """What is said to options that are refused."""
        return str(self.assertRaises(ConfigurationError, gearmand.translate, arguments))

    def test_bare(self) -> None:
        """Without options it is in the foreground, listens everywhere and says little, as gearmand."""
        self.assertEqual(
            self.words(),
            [
                "--pidfile=",
                "-n",
                "txgear",
                "--store",
                "memory:",
                "--listen",
                "0.0.0.0",
                "--listen",
                "::",
                "--verbose",
                "ERROR",
            ],
        )

    def test_short(self) -> None:
        """The short options of a start script are understood."""
        process = ["-d", "-u", "nobody", "-l", "/tmp/log", "-P", "/tmp/pid", "-f", "99"]
        words = self.words(
            *process, "-L", "127.0.0.1", "-p", "4731", "-b", "64", "-j", "3", "-t", "4", "-w", "1"
        )
        server = words.index("txgear")
        self.assertEqual(words[:server], ["--pidfile=/tmp/pid", "--uid=nobody", "--logfile=/dev/null"])
        self.assertEqual(
            set(words[server + 1 :]),
            {
                "--log-file=/tmp/log",
                "--store",
                "memory:",
                "--verbose",
                "ERROR",
                "--listen=127.0.0.1",
                "--port=4731",
                "--backlog=64",
                "--job-retries=3",
                "--worker-wakeup=1",
                "--file-descriptors=99",
                "--ignored=--threads",
            },
        )

    def test_long(self) -> None:
        """The long options mean the same as ours, by the same names."""
        for option in (
            "--port=1",
            "--backlog=1",
            "--job-retries=1",
            "--worker-wakeup=1",
            "--keepalive",
            "--keepalive-idle=1",
            "--keepalive-interval=1",
            "--keepalive-count=1",
            "--exceptions",
            "--job-handle-prefix=H:x",
            "--verbose=INFO",
            "--protocol=http",
            "--http-port=1",
            "--listen=127.0.0.1",
        ):
            self.assertIn(option, self.words(option))

    def test_meaningless(self) -> None:
        """Options for what we do not have are mentioned in the log."""
        words = self.words("--threads=4", "-R", "--hashtable-buckets=7", "--coredump")
        for name in ("threads", "round-robin", "hashtable-buckets", "coredump"):
            self.assertIn(f"--ignored=--{name}", words)

    def test_logs(self) -> None:
        """Where the log goes: standard output, nowhere, a file, or the system's log."""
        self.assertNotIn("--logfile=/dev/null", self.words("-l", "stderr"))
        self.assertIn("--logfile=/dev/null", self.words("-l", "none"))
        self.assertIn("--syslog", self.words("--daemon"))
        self.assertIn("--syslog", self.words("--syslog"))
        relative = self.words("-d", "-l", "some.log")
        self.assertIn(f"--log-file={os.path.abspath('some.log')}", relative)

    def test_builtin_queue(self) -> None:
        """gearmand's name for the queue in memory is understood, others are refused."""
        self.assertIn("memory:", self.words("-q", "BuiltIn"))
        self.assertIn("redis", self.refusal("-q", "redis"))

    def test_tls(self) -> None:
        """TLS is never silently left out."""
        self.assertIn("--ssl", self.refusal("--ssl"))

    def test_mistakes(self) -> None:
        """An unknown option, an abbreviation, a stray word and a missing value are refused by name."""
        self.assertIn("--bogus", self.refusal("--bogus"))
        self.assertIn("--back", self.refusal("--back=3"))
        self.assertIn("stray", self.refusal("stray"))
        self.assertIn("--port", self.refusal("--port"))

    def test_config_file(self) -> None:
        """A file holds more long options; the command line wins over it."""
        path = Path(self.mktemp())
        path.write_text("--port=1\n--backlog=5  --exceptions\n")
        words, _ = gearmand.translate(["--config-file", str(path), "--port=2", "-L", "::1"])
        self.assertIn("--port=2", words)
        self.assertNotIn("--port=1", words)
        self.assertIn("--backlog=5", words)
        self.assertIn("--exceptions", words)
        self.assertIn("cannot read /nowhere", self.refusal("--config-file=/nowhere"))

    def test_no_default_config_file(self) -> None:
        """The default file need not be there."""
        if not os.path.exists(gearmand.CONFIG_FILE):
            self.assertIsNone(gearmand.options([]).port)


class RunTests(SynchronousTestCase):
    """The command."""

    def setUp(self) -> None:
        self.err = StringIO()
        self.patch(sys, "stderr", self.err)

    def test_becomes_the_server(self) -> None:
        """It becomes the C{twistd} beside its Python."""
        ran: list[tuple[str, list[str]]] = []
        gearmand.run(["-p", "1", "-L", "::1"], lambda path, words: ran.append((path, words)))
        [(path, words)] = ran
        self.assertEqual(os.path.basename(path), "twistd")
        self.assertEqual(words[0], path)
        self.assertIn("--port=1", words)

    def test_check_args(self) -> None:
        """C{--check-args} starts nothing, and finds what the server would refuse."""
        self.assertEqual(cli.main(["gearmand", "--check-args", "-p", "1", "-L", "::1"]), 0)
        error = self.assertRaises(SystemExit, cli.main, ["gearmand", "--check-args", "-p", "x", "-L", "::1"])
        self.assertIn("--port", str(error))

    def test_mistake(self) -> None:
        """A mistake is one line, and the status 1."""
        self.assertEqual(cli.main(["gearmand", "--ssl"]), 1)
        self.assertEqual(len(self.err.getvalue().splitlines()), 1)

    def test_no_command(self) -> None:
        """Without a subcommand, or with one that is none, it says how to use it."""
        for words in ([], ["bogus"]):
            self.assertEqual(self.assertRaises(SystemExit, cli.main, words).code, 2)
        self.assertIn("usage: txgear", self.err.getvalue())

    def test_no_twistd(self) -> None:
        """Where there is no C{twistd} the error says where it was looked for."""
        self.patch(sys, "executable", "/nowhere/python")
        self.patch(os, "environ", {"PATH": "/nowhere"})
        error = self.assertRaises(ConfigurationError, gearmand.find_twistd)
        self.assertIn("/nowhere", str(error))
