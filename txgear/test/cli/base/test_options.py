"""Tests of L{txgear.cli.base.options}."""

from __future__ import annotations

from pathlib import Path

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.base.options import DEFAULT, TIMEOUT, Servers, read_token, server_options
from txgear.cli.base.places import TLSFiles
from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.security.tokens import new_token


class OptionsTests(SynchronousTestCase):
    def given(self, *words: str, **env: str) -> Servers:
        found: list[Servers] = []

        @click.command()
        @server_options
        def command(servers: Servers) -> None:
            found.append(servers)

        result = CliRunner().invoke(command, words, env=env, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return found[0]

    def file(self, text: str) -> str:
        path: str = self.mktemp()
        Path(path).write_text(text)
        return path

    def test_nothing_said(self) -> None:
        self.assertEqual(self.given(), Servers((DEFAULT,), None, None, TIMEOUT))

    def test_several_servers(self) -> None:
        self.assertEqual(self.given("--server", "a", "--server", "b:1,c d").names, ("a", "b:1", "c", "d"))
        self.assertEqual(self.given(TXGEAR_SERVER="a, b\tc").names, ("a", "b", "c"))
        self.assertEqual(self.given("--server", "x", TXGEAR_SERVER="a").names, ("x",))
        self.assertEqual(self.given("--server", " , ").names, (DEFAULT,))

    def test_one_server(self) -> None:
        self.assertEqual(self.given("--server", "a").api().place.name, "a")
        error = self.assertRaises(CommandError, self.given("--server", "a,b").api)
        self.assertEqual(error.status, MISUSED)
        self.assertEqual([api.place.host for api in self.given("--server", "a,b").apis()], ["a", "b"])

    def test_tls(self) -> None:
        self.assertEqual(self.given("--tls").tls, TLSFiles())
        self.assertEqual(self.given("--tls-name", "n").tls, TLSFiles(name="n"))
        self.assertEqual(
            self.given("--tls-ca", "a", "--tls-cert", "c", "--tls-key", "k").tls, TLSFiles("a", "c", "k")
        )
        self.assertEqual(self.given(TXGEAR_TLS_CA="a").tls, TLSFiles("a"))
        error = self.assertRaises(CommandError, self.given, "--tls-key", "k")
        self.assertEqual((error.status, error.text), (MISUSED, "--tls-key: --tls-cert is wanted as well"))

    def test_times(self) -> None:
        self.assertEqual(self.given("--timeout", "0.5").timeout, 0.5)
        for word in ("0", "-1", "nan", "inf", "1e9", "soon"):
            self.assertRaises(click.UsageError, self.given, "--timeout", word)

    def test_tokens(self) -> None:
        secret = new_token()
        for text in (secret, f"{secret}\n", f"{secret}\r\nmore"):
            self.assertEqual(self.given("--token-file", self.file(text)).token, secret.encode())
        for text in ("", "\n" + secret, "txg_", secret + "x" * 2000):
            path = self.file(text)
            error = self.assertRaises(CommandError, read_token, path)
            self.assertEqual(error.status, MISUSED)
            self.assertNotIn(secret, error.text)
        self.assertIn("cannot read", self.assertRaises(CommandError, read_token, self.mktemp()).text)
