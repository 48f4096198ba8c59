"""
Tests for L{txgear.cli.care.access}.
"""

from __future__ import annotations

import json
import sys
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from txgear import cli
from txgear.broker.rights import ACTS
from txgear.cli.base.statuses import DENIED, FAILED, MISUSED
from txgear.cli.care.access import OF_FUNCTIONS, OF_SERVER, identities
from txgear.daemon.config import parse_config

FILE = """\
[login]
certificate = "dns"

[[identity]]
name = "web"
certificates = ["web.example"]
tokens = ["a1b2c3d4:d88ac6d8e47e7251daa888c825b88442c74699c12d03368fbb53a992f627b4a2"]
connections = 100
bytes = "1K"
submits = "10/s"

[[identity]]
name = "team-a"
addresses = ["10.1.0.0/16", "unix"]

[[identity]]
name = "ops"
addresses = ["127.0.0.1"]

[[access]]
identities = ["web", "team-*"]
allow = ["submit", "see"]
functions = ["mail.*", "report"]

[[access]]
identities = ["*"]
deny = ["submit"]
functions = ["mail.secret*", "other.*"]

[[access]]
identities = ["ops"]
allow = ["all"]

[[access]]
identities = ["web", "nobody"]
allow = ["http"]
"""


class AccessTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.out, self.err = StringIO(), StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.path = Path(self.mktemp())
        self.path.write_text(FILE, "utf-8")

    def run_command(self, *words: str) -> int:
        return cli.main(["access", *words, f"--config={self.path}"])

    def said(self) -> list[str]:
        """The lines of the output, without the file's name."""
        return self.out.getvalue().replace(str(self.path), "FILE").splitlines()


class CheckTests(AccessTestCase):
    """One decision."""

    def check(self, *words: str) -> tuple[int, list[str]]:
        self.out.truncate(0)
        self.out.seek(0)
        return self.run_command("check", *words), self.said()

    def test_allowed(self) -> None:
        self.assertEqual(
            self.check("web", "submit", "mail.send"),
            (
                0,
                [
                    "allowed: web submit mail.send",
                    "  FILE, line 20: allows web, team-*: submit, see of mail.*, report",
                ],
            ),
        )
        self.assertEqual(
            self.check("nobody", "http"),
            (0, ["allowed: nobody http", "  FILE, line 34: allows web, nobody: http"]),
        )

    def test_denied_by_a_rule(self) -> None:
        """And which rule would allow it, if there is one."""
        denied = "  FILE, line 25: denies *: submit of mail.secret*, other.*"
        self.assertEqual(
            self.check("team-a", "submit", "mail.secret.1"),
            (
                DENIED,
                [
                    "denied: team-a submit mail.secret.1",
                    denied,
                    "  line 20 would allow it, but what is denied anywhere is denied",
                ],
            ),
        )
        self.assertEqual(
            self.check("web", "submit", "other.1"), (DENIED, ["denied: web submit other.1", denied])
        )

    def test_denied_for_want_of_a_rule(self) -> None:
        for words in (
            ("web", "purge", "mail.send"),
            ("web", "submit", "xmail.send"),
            ("web", "submit", "reports"),
            ("nobody", "see", "report"),
            ("team-a", "http"),
        ):
            self.assertEqual(
                self.check(*words), (DENIED, [f"denied: {' '.join(words)}", "  no rule allows it"])
            )

    def test_everything(self) -> None:
        """To be allowed to shut down is not enough."""
        self.assertEqual(
            self.check("ops", "shutdown"),
            (
                0,
                [
                    "allowed: ops shutdown",
                    "  FILE, line 30: allows ops: all",
                    "  the server has to be started with --allow-shutdown, too",
                ],
            ),
        )

    def test_without_rules(self) -> None:
        self.path.write_text("")
        self.assertEqual(
            self.check("nobody", "purge", "f"),
            (
                0,
                ["allowed: nobody purge f", "  FILE has no access rules: everybody may do anything"],
            ),
        )

    def test_mistakes(self) -> None:
        """What is not known is neither allowed nor denied."""
        for words, status, said in (
            (("webb", "see", "f"), FAILED, f"{self.path} has no identity webb; there are web, team-a, ops"),
            (
                ("web", "steer", "f"),
                MISUSED,
                "'steer' is not one of 'submit', 'work', 'see', 'read', 'cancel'",
            ),
            (("web", "see"), MISUSED, "see is for a function: name one"),
            (("web", "http", "f"), MISUSED, "http is for no function"),
            (("web",), MISUSED, "Missing argument 'ACT'"),
        ):
            self.assertEqual(self.check(*words), (status, []))
            said_last = self.err.getvalue().splitlines()[-1]
            self.assertTrue(said_last.startswith("txgear access"), said_last)
            self.assertIn(said, said_last)

    def test_the_file_has_to_be_right(self) -> None:
        self.path.write_text("[[access]]\n")
        self.assertEqual(self.check("web", "see", "f")[0], FAILED)
        self.assertIn(f"txgear access: {self.path}, line 1: access.identities: ", self.err.getvalue())
        self.assertEqual(cli.main(["access", "show"]), MISUSED)
        self.assertIn("--config", self.err.getvalue().splitlines()[-1])

    def test_json(self) -> None:
        status, [line] = self.check("team-a", "submit", "mail.secret.1", "--json")
        self.assertEqual(status, DENIED)
        found = json.loads(line)
        self.assertEqual((found["allowed"], found["line"], found["identity"]), (False, 25, "team-a"))
        self.assertEqual(len(found["why"]), 2)

    def test_all_acts_are_known(self) -> None:
        self.assertEqual(sorted((*OF_FUNCTIONS, *OF_SERVER)), sorted(ACTS))


class ShowTests(AccessTestCase):
    """Everything."""

    def test_who_may_do_what(self) -> None:
        self.assertEqual(self.run_command("show"), 0)
        self.assertEqual(
            self.said(),
            [
                "identity web: certificate web.example, token a1b2c3d4, connections 100, bytes 1024,"
                " submits 10/s",
                "  submit: mail.*, report, but not mail.secret*",
                "  see: mail.*, report",
                "  http",
                "identity team-a: address 10.1.0.0/16, address unix",
                "  submit: mail.*, report, but not mail.secret*",
                "  see: mail.*, report",
                "identity ops: address 127.0.0.1/32",
                "  submit: all functions, but not mail.secret*, other.*",
                "  work, see, read, steer: all functions",
                "  audit, http, manage, metrics, peers, reload, settings, shutdown",
                "nobody",
                "  http",
            ],
        )

    def test_json(self) -> None:
        self.assertEqual(self.run_command("show", "--json"), 0)
        [line] = self.said()
        web, _, ops, nobody = json.loads(line)["identities"]
        self.assertEqual(web["identity"], "web")
        self.assertEqual(web["known_by"], ["certificate web.example", "token a1b2c3d4"])
        self.assertEqual(web["quota"], {"connections": 100, "bytes": 1024, "submits": "10/s"})
        self.assertIn({"functions": "mail.*, report", "acts": ["see"]}, web["functions"])
        self.assertEqual(web["server"], ["http"])
        self.assertIn("shutdown", ops["server"])
        self.assertEqual((nobody["identity"], nobody["functions"]), ("nobody", []))

    def test_nothing(self) -> None:
        self.path.write_text("")
        self.assertEqual(self.run_command("show"), 0)
        self.assertEqual(
            self.said(), ["FILE has no identities and no access rules: everybody may do anything"]
        )

    def may(self, *rules: str) -> list[str]:
        """What somebody may do by these rules, each for everybody."""
        text = "".join(f'[[access]]\nidentities = ["*"]\n{rule}\n' for rule in rules)
        config = parse_config(f'[[identity]]\nname = "a"\n{text}', "x")
        lines = list(identities(config.access))
        self.assertEqual(lines[0], "identity a")
        self.assertEqual(lines[-2:], (["nobody", "  nothing"] if rules else lines[-2:]))
        return lines[1:-2]

    def test_identities_without_rules(self) -> None:
        self.assertEqual(self.may(), ["  everything: there are no access rules"])

    def test_what_is_denied_altogether_is_not_there(self) -> None:
        self.assertEqual(self.may('allow = ["see"]', 'deny = ["see"]'), ["  nothing"])
        self.assertEqual(
            self.may('allow = ["see"]\nfunctions = ["a*", "b"]', 'deny = ["see"]\nfunctions = ["?", "a*"]'),
            ["  nothing"],
        )
        self.assertEqual(
            self.may('allow = ["see"]\nfunctions = ["a*", "b"]', 'deny = ["see"]\nfunctions = ["b"]'),
            ["  see: a*"],
        )

    def test_what_is_denied_of_something_else_is_not_there(self) -> None:
        """A pattern that may deny something of it is."""
        allow = 'allow = ["see"]\nfunctions = ["mail.*", "report"]'
        for deny, shown in (
            ("mail.x", "mail.*, report, but not mail.x"),
            ("mail.x*", "mail.*, report, but not mail.x*"),
            ("*.x", "mail.*, report, but not *.x"),
            ("m?il.x", "mail.*, report, but not m?il.x"),
            ("reports", "mail.*, report"),
            ("report?", "mail.*, report"),
            ("print.*", "mail.*, report"),
        ):
            found = self.may(allow, f'deny = ["see"]\nfunctions = ["{deny}"]')
            self.assertEqual(found, [f"  see: {shown}"])

    def test_a_pattern_that_takes_all_stands_alone(self) -> None:
        self.assertEqual(
            self.may('allow = ["steer"]\nfunctions = ["a"]', 'allow = ["steer"]\nfunctions = ["*", "b"]'),
            ["  steer: all functions"],
        )
