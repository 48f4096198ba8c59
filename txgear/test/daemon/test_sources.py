"""Tests for L{txgear.daemon.sources}."""

from __future__ import annotations

import os
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.options import Options
from txgear.daemon.passwords import STORE_PASSWORD
from txgear.daemon.sources import shown
from txgear.server.setup import COMMAND_LINE, DEFAULT, ENVIRONMENT, FILE, Option
from txgear.test.daemon.test_options import parsed
from txgear.test.support.extras import needs


def of(options: Options, environ: Mapping[str, str] | None = None) -> dict[str, Option]:
    """The options that are shown, by name."""
    found = shown(options, environ or {}, options.password_in_url())
    return {option.name: option for option in found}


class SourcesTests(SynchronousTestCase):
    def test_each_option_once(self) -> None:
        options = parsed("--store=memory:")
        found = shown(options, {}, False)
        names = {name for name, *_ in (*options.optParameters, *options.optFlags)} | set(options.repeated)
        names = names - {"store-password-file"} | {"store-password"}
        self.assertEqual(sorted(option.name for option in found), sorted(names))
        for option in found:
            self.assertTrue(option.about, option)
            self.assertTrue(option.value, option)
            self.assertNotIn("[default", option.about)
            self.assertEqual(option.source, COMMAND_LINE if option.name == "store" else DEFAULT, option)

    def test_defaults_in_words(self) -> None:
        found = of(parsed("--store=memory:"))
        for name, value in (
            ("port", "4730"),
            ("listen", "127.0.0.1 and ::1"),
            ("job-retries", "no bound"),
            ("worker-wakeup", "as many as there are jobs"),
            ("keepalive-idle", "the system's"),
            ("max-packet", "64 MiB"),
            ("queue-memory", "256 MiB"),
            ("store-timeout", "5 s"),
            ("worker-grace", "10 s"),
            ("lease", "8 s"),
            ("cluster-name", "the host and the process"),
            ("cluster", "off"),
            ("exceptions", "off"),
            ("web", "tcp:4780:interface=127.0.0.1"),
            ("store", "memory:"),
            ("store-password", "none"),
            ("tls-cert", "none"),
        ):
            self.assertEqual(found[name].value, value, name)

    def test_what_was_given(self) -> None:
        found = of(
            parsed(
                "--store=memory:", "-p", "4731", "-L", "::1", "--exceptions", "--max-packet=1000000", "--web="
            )
        )
        for name, value in (
            ("port", "4731"),
            ("listen", "::1"),
            ("exceptions", "on"),
            ("max-packet", "1,000,000 bytes"),
            ("web", "nowhere"),
        ):
            self.assertEqual((found[name].value, found[name].source), (value, COMMAND_LINE), name)
            self.assertEqual(found[name].place, f"--{name}")
        self.assertEqual(found["backlog"].source, DEFAULT)

    def test_the_default_that_was_given(self) -> None:
        """It is the command line's all the same."""
        self.assertEqual(of(parsed("--store=memory:", "--port=4730"))["port"].source, COMMAND_LINE)

    def test_the_folder_of_the_store(self) -> None:
        folder = os.path.abspath(self.mktemp())
        options = parsed(f"--store=sqlite:///{folder}")
        self.assertEqual(of(options, {"STATE_DIRECTORY": "/x"})["store"].source, COMMAND_LINE)
        options["store"], options.given = None, frozenset()
        found = of(options, {"STATE_DIRECTORY": "/x"})["store"]
        self.assertEqual((found.source, found.place), (ENVIRONMENT, "STATE_DIRECTORY"))
        found = of(options, {"XDG_STATE_HOME": "/x"})["store"]
        expected = DEFAULT if os.geteuid() == 0 else ENVIRONMENT
        self.assertEqual(found.source, expected)

    @needs("psycopg")
    def test_passwords_are_not_shown(self) -> None:
        path = self.mktemp()
        with open(path, "w", encoding="ascii") as file:
            file.write("hush\n")
        for words, environ, source, place in (
            (("--store=postgresql://me:hush@db/jobs",), {}, COMMAND_LINE, "--store"),
            (("--store=postgresql://db/jobs?password=hush",), {}, COMMAND_LINE, "--store"),
            (("--store=postgresql://me@db/jobs",), {STORE_PASSWORD: "hush"}, ENVIRONMENT, STORE_PASSWORD),
            (
                ("--store=postgresql://me@db/jobs", f"--store-password-file={path}"),
                {STORE_PASSWORD: "other"},
                FILE,
                path,
            ),
        ):
            found = of(parsed(*words), environ)
            password = found["store-password"]
            self.assertEqual((password.source, password.place), (source, place), words)
            self.assertEqual(password.value, "set; it is not shown")
            self.assertNotIn("hush", repr(found))
        self.assertEqual(of(parsed("--store=postgresql://me@db/jobs"))["store-password"].value, "none")

    @needs("psycopg", "pymysql")
    def test_a_store_with_several_hosts(self) -> None:
        for scheme in ("postgresql", "mysql"):
            found = of(parsed(f"--store={scheme}://me:secret@a:1,[::1]:2/jobs"))
            self.assertEqual(found["store"].value, f"{scheme}://me@a:1,[::1]:2/jobs")
            self.assertNotIn("secret", str(found))

    def test_options_of_plugins_may_be_secrets(self) -> None:
        options = parsed("--store=memory:")
        options.optParameters = [
            *options.optParameters,
            *(
                (f"x-{name}", None, None, "of a plugin", str)
                for name in ("token", "api-key", "secret", "port")
            ),
        ]
        for name in ("token", "api-key", "secret", "port"):
            options[f"x-{name}"] = "hush"
        found = of(options)
        for name in ("token", "api-key", "secret"):
            self.assertEqual(found[f"x-{name}"].value, "set; it is not shown", name)
        self.assertEqual(found["x-port"].value, "hush")
