"""Tests of L{txgear.web.pages.settings} and L{txgear.server.setupview}."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from txgear.policies import CLASSIC, Policies
from txgear.security.access import Access, Identity, Rule
from txgear.server import setupview
from txgear.server.setup import COMMAND_LINE, START, ConfigRead, Option, PortShown, Speech
from txgear.test.support.web import WebTestCase
from txgear.web.pages import dashboard
from txgear.web.pages.settings import MOST_SHOWN

BROWSER = {"Accept": "text/html"}

RULES = """
[login]
certificate = "dns"
[[identity]]
name = "ops"
addresses = ["192.0.2.0/24"]
queued = 100
submits = "10/s"

[[identity]]
name = "dev"
certificates = ["dev.example"]

[[access]]
identities = ["ops"]
allow = ["all"]

[[access]]
identities = ["dev", "nobody"]
functions = ["mail.*"]
allow = ["submit", "steer"]

[[access]]
identities = ["dev"]
functions = ["mail.*"]
deny = ["purge"]
"""


class SettingsTests(WebTestCase):
    parts = (dashboard,)

    def page(self) -> str:
        client = self.connect()
        client.ask_web("GET", "/settings", {**self.headers, **BROWSER})
        for _ in range(10):
            self.clock.advance(0.01)
        answer = client.web_answer()
        self.assertEqual(answer.status, 200, answer.body)
        return answer.body.decode()

    def test_of_a_server_without_any(self) -> None:
        html = self.page()
        self.assertIn("A program has made this server", html)
        self.assertIn("There is none: no policies", html)
        self.assertIn("everybody may do anything", html)
        self.assertIn("the classic rules hold for all functions", html)
        self.assertIn("No port has TLS", html)
        self.assertIn("<dt>SQLite</dt>", html)

    def test_options_and_ports(self) -> None:
        setup = self.server.setup
        setup.options = [
            Option("listen", "<::1>", "where", COMMAND_LINE, "--listen"),
            Option("x", "1", "y", "default", ""),
        ]
        setup.ports = lambda: [PortShown("gear", "[::1]:4730", True)]
        setup.speeches = [Speech("gear", "the protocol", "txgear.plugins.gear")]
        html = self.page()
        self.assertIn("&lt;::1&gt;", html)
        self.assertIn("the command line: <code>--listen</code>", html)
        self.assertIn("the default", html)
        self.assertIn("<code>[::1]:4730</code>", html)
        self.assertIn("<dt>Speaks gear</dt>", html)
        self.assertNotIn("A program has made", html)

    def test_how_long_the_store_is_waited_for(self) -> None:
        """What holds, and not what was said, where the database may stand still for longer."""
        self.server.setup.options = [Option("store-timeout", "5 s", "how long", "default", "")]
        for journal, words in ((None, "5 s"), (SimpleNamespace(patience=10.0), "10 s")):
            with patch.object(self.server, "journal", journal):
                self.assertEqual([option["value"] for option in setupview.options(self.server)], [words])

    def test_the_file(self) -> None:
        read = ConfigRead("/etc/<x>", self.clock.seconds(), START, "1 schedule", ("never counts",))
        self.server.setup.config = read
        html = self.page()
        self.assertIn("/etc/&lt;x&gt;", html)
        self.assertIn("at the start", html)
        self.assertIn("never counts", html)
        self.server.setup.config = read._replace(
            by="signal", error="line 3: no", error_at=self.clock.seconds()
        )
        html = self.page()
        self.assertIn("It could not be read again", html)
        self.assertIn("as the signal HUP came", html)

    def test_policies(self) -> None:
        rules = [(f"f{number}", CLASSIC.with_settings({"retries": 3})) for number in range(MOST_SHOWN + 5)]
        self.broker.operations.set_policies(Policies([("<a>*", CLASSIC), *rules]), self.clock.seconds())
        html = self.page()
        self.assertIn("<code>&lt;a&gt;*</code>", html)
        self.assertIn("<code>retries</code> A job that fails is tried again, up to 3 times.", html)
        self.assertIn(f"{MOST_SHOWN} of {MOST_SHOWN + 6} are shown", html)

    def test_set_while_it_runs(self) -> None:
        self.broker.operations.limit_function(b"mail", (5, 0, 7))
        self.broker.operations.pause(b"slow", self.clock.seconds(), "me")
        self.worker(b"other")
        html = self.page()
        steered = html.partition('id="steered-rows"')[2].partition("</tbody>")[0]
        self.assertIn('<a href="/functions/mail">', steered)
        self.assertIn("5, none, 7", steered)
        self.assertIn(">paused</span>", steered)
        self.assertNotIn("other", steered)

    def test_access(self) -> None:
        self.rules(RULES)
        found = self.server.guard.access
        self.assertEqual(len(found.rules), 3)
        # Nobody asks: who makes this request may do anything.
        self.server.guard.replace(type(found)(found.identities.values()))
        html = self.page()
        self.assertIn("addresses 192.0.2.0/24", html)
        self.assertIn("100 jobs that have not ended; 10/s submits, 1 at once", html)
        self.assertIn("certificates of dev.example", html)

    def test_rules_in_words(self) -> None:
        self.allow("http", "settings", "peers", "see", "shutdown")
        html = self.page()
        self.assertIn("1 token: ", html)
        self.assertIn("http, peers, settings, shutdown", html)
        digest = next(iter(self.server.guard.access.identities.values())).tokens[0].digest
        self.assertNotIn(digest.hex(), html)
        self.assertNotIn(self.headers["Authorization"].partition(" ")[2], html)

    def test_others_are_hidden(self) -> None:
        self.allow("http", "settings")
        access = self.server.guard.access
        other = next(iter(access.identities.values()))
        self.server.guard.replace(
            Access(
                [other, Identity("secretary")],
                [*access.rules, Rule(True, ("secretary",), frozenset({"see"}))],
            )
        )
        html = self.page()
        self.assertNotIn("secretary", html)
        self.assertEqual(html.count("There are others, which you may not see"), 2)

    def test_certificate(self) -> None:
        for days, expected in (
            (30.5, ">30 days<"),
            (13.5, "<strong>The certificate expires soon:</strong> 13 days"),
            (-0.5, "has expired"),
        ):
            now = datetime.fromtimestamp(self.server.wall_clock(), timezone.utc)
            loaded = SimpleNamespace(names="<one>.example", until=now + timedelta(days=days))
            files = SimpleNamespace(cert="/c.pem", client="ask")
            tls: Any = SimpleNamespace(loaded=loaded, files=files)
            self.server.tls = tls
            html = self.page()
            self.assertIn(expected, html)
            self.assertIn("&lt;one&gt;.example", html)
            self.assertIn("asked for", html)

    def test_rights(self) -> None:
        self.allow("http", "see", "metrics")
        self.assertEqual(self.ask("GET", "/settings", BROWSER).status, 403)
