"""
Tests for L{txgear.daemon.options}.
"""

from __future__ import annotations

import os
import sys
from io import StringIO
from pathlib import Path

from twisted.plugin import IPlugin
from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from txgear import __version__
from txgear.daemon.clustered import NO_CLUSTER
from txgear.daemon.options import Options, default_prefix, named, protocol_modules
from txgear.errors import ConfigurationError
from txgear.interfaces import IJobStore, IProtocolModule
from txgear.policies import Policy
from txgear.protocol.constants import MAX_PACKET
from txgear.server.settings import Settings
from txgear.server.values import COERCIONS, LEAST_LEASE, LONGEST_NAME
from txgear.stores.membership import Membership
from txgear.stores.schema import MAX_NAME
from txgear.stores.tenure import BEAT_SECONDS
from txgear.test.cli.care.test_gearmandtable import hide
from txgear.test.support.extras import needs


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
                store_timeout=5.0,
                queue_memory=256 * 1024 * 1024,
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
            "--store-timeout=7",
            "--queue-memory=3M",
            "--worker-grace=30",
            "--can-do-timeout-unit=seconds",
            "--refuse-by-closing",
            "--unfinished-memory=200K",
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
                store_timeout=7.0,
                queue_memory=3 * 1024 * 1024,
                can_do_timeout_unit="seconds",
                worker_grace=30.0,
                refuse_by_closing=True,
                unfinished_memory=200 * 1024,
            ),
        )

    def test_repeated(self) -> None:
        """C{--listen} may be repeated; a protocol that is named twice is spoken once."""
        options = parsed("-L", "127.0.0.1", "--listen", "::1", "-r", "gear", "--protocol", "gear")
        self.assertEqual(options["listen"], ["127.0.0.1", "::1"])
        self.assertEqual(options["protocol"], ["gear"])

    def test_proxies(self) -> None:
        """C{--proxy-from} may be repeated; what is no address is named at once."""
        options = parsed("--proxy-from", "192.0.2.1", "--proxy-from=10.0.0.0/8", "--proxy-from=unix")
        self.assertEqual(options["proxy-from"], ["192.0.2.1", "10.0.0.0/8", "unix"])
        self.assertEqual(parsed()["proxy-from"], [])
        self.assertIn("--proxy-from localhost: an address, a network", self.refusal("--proxy-from=localhost"))

    def test_tls(self) -> None:
        """Files are found wherever the process goes later; what makes no sense together is one line."""
        words = ["--tls-listen=127.0.0.1:1", "--tls-listen=[::1]:2", "--tls-cert=c", "--tls-key=k"]
        options = parsed(*words, "--tls-ca=a", "--tls-client=ask")
        self.assertEqual(options["tls-listen"], ["127.0.0.1:1", "[::1]:2"])
        self.assertEqual([options[f"tls-{name}"] for name in ("cert", "key", "ca", "client")][3], "ask")
        self.assertEqual(options["tls-cert"], os.path.abspath("c"))
        self.assertIn("--tls-ca is wanted", self.refusal(*words, "--tls-client=require"))
        self.assertIn("there is no port with TLS", self.refusal("--tls-cert=c"))
        self.assertIn("--tls-key is wanted", self.refusal(*words[:3]))
        self.assertIn("ask or require is wanted", self.refusal(*words, "--tls-client=never"))
        self.assertIn("--tls-listen: HOST:PORT or an endpoint", self.refusal("--tls-listen="))
        self.assertIn("--http-tls-port: --tls-cert", self.refusal("-r", "http", "--http-tls-port=1"))
        options = parsed(*words, "--http-tls-port=1")
        self.assertEqual(options.notes, ["--http-tls-port has no effect without --protocol http"])

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
            ("keepalive-count", "1_0"),
            ("file-descriptors", "-1"),
            ("store-timeout", "0"),
            ("store-timeout", "3601"),
        ):
            said = self.refusal(f"--{option}={wrong}")
            self.assertTrue(said.startswith(f"txgear: --{option}: a whole number from"), said)
            self.assertNotIn("\n", said)

    def test_sizes(self) -> None:
        """A size is in bytes, or in units of 1024, 1024 squared and so on, however these are written."""
        for text, expected in (
            ("1048576", 1048576),
            ("1024K", 1048576),
            ("1M", 1048576),
            ("1m", 1048576),
            ("1MiB", 1048576),
            ("1 M", 1048576),
            ("2g", 2 * 1024**3),
        ):
            self.assertEqual(parsed(f"--queue-memory={text}").settings().queue_memory, expected)
            self.assertEqual(parsed(f"--max-packet={text}").settings().max_packet, expected)

    def test_wrong_sizes(self) -> None:
        """A size that is none, or too small to work with, is one line."""
        for wrong in ("", "M", "-1M", "1.5G", "1MB", "2000T", "16383", "1" * 16):
            said = self.refusal(f"--queue-memory={wrong}")
            self.assertTrue(said.startswith("txgear: --queue-memory: bytes are wanted, 16384 to "), said)
            self.assertIn(" with K, M, G or T behind ", said)
            self.assertNotIn("\n", said)
        for wrong in ("5", "4G"):
            self.assertIn("--max-packet: bytes are wanted", self.refusal(f"--max-packet={wrong}"))

    def test_memory_for_unfinished_packets(self) -> None:
        """One packet has room in it; by default it grows with that."""
        self.assertEqual(parsed().settings().unfinished_memory, 512 * 1024 * 1024)
        self.assertEqual(parsed("--max-packet=1G").settings().unfinished_memory, 2 * 1024**3)
        said = self.refusal("--unfinished-memory=1M")
        self.assertIn("--unfinished-memory 1048576: a packet may have 67108864 bytes", said)

    def test_wrong_words(self) -> None:
        """So are other values that mean nothing."""
        for option, wrong in (
            ("verbose", "LOUD"),
            ("store", "disk:"),
            ("store", "redis://h/"),
            ("store", "sqlite://jobs"),
            ("store", ""),
            ("store-password-file", "/nowhere/secret"),
            ("config", "/nowhere/txgear.toml"),
            ("job-handle-prefix", "a b"),
            ("job-handle-prefix", "x" * 60),
            ("protocol", "smtp"),
            ("listen", ""),
        ):
            said = self.refusal(f"--{option}={wrong}")
            self.assertIn(f"--{option}", said)
            self.assertNotIn("\n", said)

    def test_memory_by_a_slip(self) -> None:
        """Who leaves out the colon is told how it is written."""
        self.assertIn("memory: for none", self.refusal("--store=memory"))

    def test_options_without_effect(self) -> None:
        """An option that says nothing without another one is named, and one that does is not."""
        self.assertEqual(
            parsed("--http-port=8080", "--keepalive-idle", "60").notes,
            [
                "--http-port has no effect without --protocol http",
                "--keepalive-idle has no effect without --keepalive",
            ],
        )
        self.assertEqual(
            parsed("--store=memory:", "--queue-memory=1G").notes,
            ["--queue-memory has no effect with --store memory:"],
        )
        right = ("--http-port=1", "-r", "http", "--keepalive", "--keepalive-idle=60", "--queue-memory=1G")
        self.assertEqual(parsed(*right).notes, [])

    def test_cluster(self) -> None:
        """Which stores several servers can have; what it says has no effect without it."""
        for url in ("memory:", "sqlite:////tmp/x.sqlite"):
            self.assertIn(NO_CLUSTER, self.refusal("--cluster", f"--store={url}"))
        for option, wrong in (("lease", "7"), ("lease", "3601"), ("cluster-name", "")):
            self.assertIn(f"--{option}", self.refusal("--cluster", f"--{option}={wrong}"))
        self.assertEqual(
            parsed("--store=memory:", "--lease=9", "--cluster-name=a", "--advertise=a:4730").notes,
            [
                "--cluster-name has no effect without --cluster",
                "--advertise has no effect without --cluster",
                "--lease has no effect without --cluster",
            ],
        )
        self.assertEqual((LEAST_LEASE, LONGEST_NAME), (4 * BEAT_SECONDS, MAX_NAME))

    @needs("psycopg")
    def test_member_of_a_cluster(self) -> None:
        """It says who it is, and how long others are to wait for it."""
        options = parsed("--cluster", "--store=postgresql://u@h/d", "--cluster-name=a", "--lease=20")
        self.assertEqual(options._membership("postgresql://u@h/d"), Membership("a", "", 20.0))
        self.assertEqual(options.notes, [])
        options = parsed("--cluster", "--store=postgresql://u@h/d", "--advertise=tls:a:4731")
        self.assertEqual(options._membership("postgresql://u@h/d"), Membership(None, "tls:a:4731", 8.0))

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


class TwistdTests(SynchronousTestCase):
    """The server's options, behind C{twistd}'s."""

    def twistd(self, *words: str) -> ServerOptions:
        """C{twistd}'s options, of which the server has not seen any yet."""
        made = ServerOptions()
        made["nodaemon"] = True
        for word in words:
            name, _, value = word.partition("=")
            made[name] = value
        return made

    def behind(self, twistd: ServerOptions, *words: str) -> Options:
        """The server's options behind these."""
        options = Options()
        options.parent = twistd
        options.parseOptions(words)
        return options

    def test_own_options_of_twistd(self) -> None:
        """Those that stand behind the word get a hint; for a name that nobody has it is where all are."""
        for word, expected in (("-n", "twistd -n ... txgear"), ("--pidfile=", "twistd --pidfile ... txgear")):
            said = str(self.assertRaises(SystemExit, self.behind, self.twistd(), word))
            self.assertIn(expected, said)
            self.assertNotIn("\n", said)
        for word, hint in (("--bogus", "; twistd txgear --help lists all"), ("-Z", "")):
            said = str(self.assertRaises(SystemExit, self.behind, self.twistd(), word))
            self.assertEqual(said, f"txgear: option {word} not recognized{hint}")
        for word, near in (("--clustr", "; there is --cluster"), ("--config", "--help lists all")):
            said = str(self.assertRaises(SystemExit, self.behind, self.twistd(), word))
            self.assertTrue(said.endswith(near), said)
        self.assertNotIn("twistd", str(self.assertRaises(SystemExit, parsed, "-n")))

    def test_pid_file(self) -> None:
        """The server takes the pid file over; C{twistd} does not look at it."""
        path = os.path.abspath(self.mktemp())
        twistd = self.twistd(f"pidfile={path}")
        pid_file = self.behind(twistd).pid_file
        assert pid_file is not None
        self.assertEqual((pid_file.path, twistd["pidfile"]), (path, ""))
        self.assertIsNone(self.behind(self.twistd("pidfile=")).pid_file)

    def test_what_would_end_in_a_traceback(self) -> None:
        """Folders and files that are not there, and users that we cannot become, are one line."""
        folder = self.mktemp()
        os.mkdir(folder)
        for word in (
            "rundir=/nowhere",
            f"rundir={__file__}",
            "logfile=/nowhere/log",
            f"logfile={folder}",
            "uid=2000000000",
        ):
            said = str(self.assertRaises(SystemExit, self.behind, self.twistd(word)))
            self.assertTrue(said.startswith(f"txgear: --{word.partition('=')[0]}: "), said)
            self.assertNotIn("\n", said)
        for word in ("logfile=-", "logfile=/dev/null", f"logfile={folder}/log", "syslog=1"):
            self.behind(self.twistd(word))

    def test_only_root(self) -> None:
        """What only root can do is said before it is tried."""
        self.patch(os, "geteuid", lambda: 12345)
        for word in ("chroot=/", "gid=1", "uid=0"):
            said = str(self.assertRaises(SystemExit, self.behind, self.twistd(word), "--store=memory:"))
            self.assertIn(f"--{word.partition('=')[0]}: ", said)
            self.assertIn("only root", said)


class StoreTests(SynchronousTestCase):
    """Where jobs are kept."""

    def store(self, *words: str) -> IJobStore:
        """The store that these words choose."""
        store = parsed(*words).store
        assert store is not None
        verifyObject(IJobStore, store)
        return store

    def test_memory(self) -> None:
        """C{memory:} is no store."""
        self.assertIsNone(parsed("--store=memory:").store)

    @needs("pymysql")
    def test_url(self) -> None:
        """A URL is a store that is not opened yet; its name shows no password."""
        path = os.path.abspath(self.mktemp())
        self.assertEqual(self.store(f"--store=sqlite:///{path}").name, f"sqlite:///{path}")
        self.assertFalse(os.path.exists(path))
        self.assertNotIn("secret", self.store("--store=mysql://me:secret@localhost/jobs").name)

    def test_default(self) -> None:
        """Without the option each port has a file of its own."""
        self.patch(os, "environ", {"STATE_DIRECTORY": "/state"})
        self.assertEqual(parsed("--port=4731").store_url(), "sqlite:////state/jobs-4731.sqlite")
        self.assertEqual(parsed("--store=memory:").store_url(), "memory:")
        self.assertEqual(self.store().name, "sqlite:////state/jobs-4730.sqlite")

    def test_root(self) -> None:
        """What root's default is others could not write."""
        self.patch(os, "environ", {"HOME": "/home/me"})
        for user, folder in ((0, "/var/lib/txgear"), (1000, "/home/me/.local/state/txgear")):
            self.patch(os, "geteuid", lambda user=user: user)
            self.assertEqual(parsed().store_url(), f"sqlite:///{folder}/jobs-4730.sqlite")

    def test_no_driver(self) -> None:
        """Where the database's driver is not installed, that is known before anything starts."""
        hide(self, "psycopg")
        said = str(self.assertRaises(SystemExit, parsed, "--store=postgresql://localhost/jobs"))
        self.assertTrue(said.startswith("txgear: --store: "), said)
        self.assertIn("txgear[postgresql]", said)
        self.assertNotIn("\n", said)


class ConfigTests(SynchronousTestCase):
    """The file of C{--config}."""

    def write(self, text: str) -> str:
        path: str = self.mktemp()
        Path(path).write_text(text, "utf-8")
        return path

    def test_none(self) -> None:
        """Without it nothing is set."""
        options = parsed()
        self.assertIsNone(options["config"])
        self.assertEqual(options.config.summary, "policies for 0 patterns, 0 schedules")

    def test_read(self) -> None:
        """It is read with the command line, and its path is known from wherever the process goes."""
        path = self.write('[[function]]\nname = "f"\ntimeout = "5m"\n')
        options = parsed(f"--config={path}")
        self.assertEqual(options["config"], os.path.abspath(path))
        self.assertEqual(options.config.policies.policy_for(b"f"), Policy(timeout=300.0))

    def test_mistake(self) -> None:
        """A mistake is one line."""
        path = os.path.abspath(self.write('[[function]]\nname = "f"\ntimeout = "soon"\n'))
        said = str(self.assertRaises(SystemExit, parsed, f"--config={path}"))
        self.assertTrue(said.startswith(f"txgear: --config: {path}, line 3: function.timeout: a time"), said)
        self.assertNotIn("\n", said)


class ModulesTests(SynchronousTestCase):
    """What a port can speak."""

    def test_options(self) -> None:
        """An option of a module whose coercion does not know its name is named all the same."""
        self.assertEqual(named("lines-port", int)("4731"), 4731)
        error = self.assertRaises(ValueError, named("lines-port", int), "x")
        self.assertTrue(str(error).startswith("--lines-port: 'x' is not taken: "), str(error))
        with_name = named("http-port", COERCIONS["http-port"])
        error = self.assertRaises(ValueError, with_name, "x")
        self.assertEqual(str(error).count("--http-port"), 1)

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
