"""
Tests for L{txgear.cli}.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear import cli
from txgear.cli.care import import_
from txgear.cli.imitate import gearmand
from txgear.daemon.options import Options
from txgear.errors import ConfigurationError
from txgear.test.support.extras import needs


class TranslateTests(SynchronousTestCase):
    """gearmand's options in our words."""

    def words(self, *arguments: str) -> list[str]:
        """What twistd is given; the server takes it."""
        return self.translation(*arguments).words

    def translation(self, *arguments: str) -> gearmand.Translation:
        """The same, with what the server is not told on its command line."""
        # A file that is there, so that no test depends on the machine's own.
        made = gearmand.translate([f"--config-file={os.devnull}", *arguments], lambda: ["0.0.0.0", "::"])
        self.assertFalse(made.given.check_args)
        Options().parseOptions(made.words[made.words.index("txgear") + 1 :])
        return made

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
                "--web=",
                "--listen=0.0.0.0",
                "--listen=::",
                "--verbose",
                "ERROR",
            ],
        )

    def test_short(self) -> None:
        """The short options of a start script are understood."""
        process = ["-d", "-u", "root", "-l", "/tmp/log", "-P", "/tmp/pid", "-f", "99"]
        words = self.words(
            *process, "-L", "127.0.0.1", "-p", "4731", "-b", "64", "-j", "3", "-t", "4", "-w", "1"
        )
        server = words.index("txgear")
        self.assertEqual(words[:server], ["--pidfile=/tmp/pid", "--uid=root", "--logfile=/dev/null"])
        self.assertEqual(
            set(words[server + 1 :]),
            {
                "--web=",
                "--log-file=/tmp/log",
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
            "--audit-log=/tmp/audit",
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

    @needs("pymysql")
    def test_queue_type(self) -> None:
        """The queue type becomes the store; a password does not stand on the command line."""
        made = self.translation("-q", "MySQL", "--mysql-db=jobs", "--mysql-password=secret")
        self.assertIn("mysql://localhost:3306/jobs", made.words)
        self.assertEqual(made.environment, {"TXGEAR_STORE_PASSWORD": "secret"})
        self.assertNotIn("secret", " ".join(made.words))

    def test_tables(self) -> None:
        """gearmand's table is looked at, by its own name or by that which gearmand was told."""
        queue = ("-q", "libsqlite3", "--libsqlite3-db=f")
        self.assertIn("--gearmand-table=gearman_queue", self.words(*queue))
        words = self.words(*queue, "--libsqlite3-table=jobs", "--mysql-table=other")
        self.assertIn("--gearmand-table=jobs", words)
        self.assertIn("--ignored=--mysql-table", words)
        self.assertNotIn("--ignored=--libsqlite3-table", words)
        self.assertFalse([word for word in self.words("-q", "builtin") if "table" in word])

    def test_queue_options_without_meaning(self) -> None:
        """Options of queues that say nothing here are mentioned in the log, without their values."""
        made = self.translation(
            "-q", "builtin", "--store-queue-on-shutdown", "--libpq-table=t", "--redis-password=secret"
        )
        self.assertEqual(made.environment, {})
        for name in ("store-queue-on-shutdown", "libpq-table", "redis-password"):
            self.assertIn(f"--ignored=--{name}", made.words)
        self.assertNotIn("secret", " ".join(made.words))

    def test_values(self) -> None:
        """A wrong value is found before anything starts, also of an option that has no meaning here."""
        for option in (
            "--port=x",
            "--threads=abc",
            "--hashtable-buckets=many",
            "--verbose=LOUD",
            "--http-port=-1",
        ):
            self.assertIn(option.partition("=")[0], self.refusal(option))
        self.assertEqual(self.refusal("--user=no-such-user"), "--user: there is no user no-such-user")

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
        words = gearmand.translate(["--config-file", str(path), "--port=2", "-L", "::1"]).words
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
        """It is C{twistd} with our words; a password is in the environment only."""
        self.patch(os, "environ", {})
        ran: list[list[str]] = []
        queue = ["-q", "mysql", "--mysql-db=d", "--mysql-password=secret"]
        gearmand.run(["-p", "1", "-L", "::1", *queue], lambda words: ran.append(list(words)))
        [words] = ran
        self.assertIn("--port=1", words)
        self.assertNotIn("secret", " ".join(words))
        self.assertEqual(os.environ, {"TXGEAR_STORE_PASSWORD": "secret"})

    def check(self, *words: str) -> int:
        return cli.main(["gearmand", "--check-args", f"--config-file={os.devnull}", "-L", "::1", *words])

    def test_check_args(self) -> None:
        """C{--check-args} starts nothing, and finds what the server would refuse."""
        config = Path(self.mktemp())
        config.write_text("[[function]]\n")
        self.patch(os, "environ", {"HOME": "/home/me"})
        for good in (
            (),
            ("-p", "1"),
            ("-q", "builtin"),
            ("-q", "libsqlite3", "--libsqlite3-db=f"),
            ("-r", "http"),
        ):
            self.assertEqual(self.check(*good), 0, good)
        self.assertEqual(self.err.getvalue(), "")
        for bad, expected in (
            (("-p", "x"), "--port"),
            (("-q", "libsqlite3", "--libsqlite3-db=a\0b"), "NUL"),
        ):
            self.assertEqual(self.check(*bad), 1)
            self.assertIn(expected, self.err.getvalue().splitlines()[-1])
        for bad in (("-r", "gopher"), ("--config", str(config))):
            self.assertNotEqual(self.check(*bad), 0)
        self.patch(os, "geteuid", lambda: 12345)
        self.patch(os, "environ", {"HOME": ""})
        self.assertEqual(self.check(), 1)
        self.assertIn("XDG_STATE_HOME", self.err.getvalue().splitlines()[-1])

    def test_mistake(self) -> None:
        """A mistake is one line, and the status 1."""
        self.assertEqual(cli.main(["gearmand", "--ssl"]), 1)
        self.assertEqual(len(self.err.getvalue().splitlines()), 1)

    def test_no_command(self) -> None:
        """With a subcommand that is none a line says so, and the status is 2."""
        for words in (["bogus"], ["--bogus"]):
            self.assertEqual(cli.main(words), 2)
        second, third = self.err.getvalue().splitlines()
        self.assertIn("bogus", second)
        self.assertIn("--bogus", third)

    def test_help(self) -> None:
        """The help names the subcommands; each has its own."""
        out = StringIO()
        self.patch(sys, "stdout", out)
        for words, expected in (
            (["--help"], "Take over the jobs that a gearmand has stored"),
            (["gearmand", "--help"], "--job-retries"),
            (["import", "--help"], "--from-password-file"),
        ):
            self.assertEqual(cli.main(words), 0)
            self.assertIn(expected, out.getvalue())

    def test_interrupted(self) -> None:
        """SIGINT ends a command with a line, and the status that shells give it."""

        def interrupted(arguments: Sequence[str]) -> int:
            raise KeyboardInterrupt

        self.patch(import_, "run", interrupted)
        self.assertEqual(cli.main(["import"]), 130)
        self.assertEqual(self.err.getvalue(), "txgear import: interrupted\n")


class OwnWordsTests(SynchronousTestCase):
    def test_names(self) -> None:
        """By a link with the name of a program that is imitated the command is that program, by no other."""
        for called in ("gearman", "gearadmin", "gearmand"):
            self.assertEqual(cli.own_words([f"/usr/bin/{called}", "-p", "1"]), [called, "-p", "1"])
        for called in ("txgear", "/usr/bin/jobs", "gear", ""):
            self.assertEqual(cli.own_words([called, "-p", "1"]), ["-p", "1"])
