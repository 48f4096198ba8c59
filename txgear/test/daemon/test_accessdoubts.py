"""
Tests for L{txgear.daemon.accessdoubts}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.config import parse_config

IDENTITIES = """\
[[identity]]
name = "web"
addresses = ["10.1.0.0/16"]
[[identity]]
name = "team-a"
addresses = ["10.2.0.0/16"]
"""
EVERYTHING = '[[access]]\nidentities = ["*", "nobody"]\nallow = ["all"]\n'


class DoubtsTests(SynchronousTestCase):
    def doubts(self, text: str, identities: str = IDENTITIES) -> list[str]:
        """What is said of this, which begins on line 1, without the file's name."""
        return [line.removeprefix("x") for line in parse_config(text + identities, "x").warnings]

    def test_nothing_is_said_of_what_makes_sense(self) -> None:
        self.assertEqual(self.doubts(""), [])
        self.assertEqual(self.doubts("", ""), [])
        self.assertEqual(self.doubts(EVERYTHING), [])
        self.assertEqual(
            self.doubts(
                '[[access]]\nidentities = ["web", "team-*"]\nallow = ["submit"]\nfunctions = ["mail.*"]\n'
                '[[access]]\nidentities = ["*"]\ndeny = ["submit"]\nfunctions = ["mail.secret*"]\n'
                '[[access]]\nidentities = ["nobody"]\nallow = ["see"]\n'
            ),
            [],
        )

    def test_an_identity_that_nobody_can_be(self) -> None:
        said = ": nobody can be web, ops: without certificates, tokens and addresses"
        text = '[[identity]]\nname = "web"\n[[identity]]\nname = "ops"\n'
        self.assertEqual(self.doubts("", text), [said])

    def test_an_identity_that_no_rule_allows_anything(self) -> None:
        """Whether rules deny it something or not."""
        said = ": no rule allows anything to team-a"
        rule = '[[access]]\nidentities = ["web"]\nallow = ["see"]\n'
        self.assertEqual(self.doubts(rule), [said])
        self.assertEqual(self.doubts(rule + '[[access]]\nidentities = ["*"]\ndeny = ["work"]\n'), [said])

    def test_a_great_many_are_one_line(self) -> None:
        text = "".join(f'[[identity]]\nname = "w{number}"\n' for number in range(1000))
        (said,) = self.doubts("", text)
        self.assertEqual(
            said,
            ": nobody can be w0, w1, w2, w3, w4, w5, w6, w7, w8, w9 and 990 more: without certificates,"
            " tokens and addresses",
        )

    def test_names_of_nobody(self) -> None:
        """A pattern is not for whoever has not identified itself; that name itself is."""
        rule = '[[access]]\nidentities = ["webb", "web", "crew-*", "n*", "nobody"]\nallow = ["see"]\n'
        self.assertEqual(
            self.doubts(EVERYTHING + rule),
            [f", line 4: there is no identity {name!r}" for name in ("webb", "crew-*", "n*")],
        )
        self.assertEqual(self.doubts(EVERYTHING, ""), [", line 1: there is no identity '*'"])

    def swallowed(self, *rules: str) -> list[str]:
        """What is said of rules, each of which has two lines, after one that allows everything."""
        text = "".join(f"[[access]]\n{rule}\n" for rule in rules)
        return self.doubts(EVERYTHING + text)

    def test_what_is_denied_altogether(self) -> None:
        """Before or behind."""
        allow = 'identities = ["web"]\nallow = ["submit"]\nfunctions = ["mail.*"]'
        for deny in (
            'identities = ["web"]\ndeny = ["submit"]',
            'identities = ["*"]\ndeny = ["all"]',
            'identities = ["w?b"]\ndeny = ["submit", "see"]\nfunctions = ["mail.*"]',
            'identities = ["*"]\ndeny = ["submit"]\nfunctions = ["x", "*"]',
        ):
            self.assertIn(
                ", line 4 never counts: line 8 denies all that it allows", self.swallowed(allow, deny)
            )
            line = 5 + len(deny.split("\n"))
            self.assertIn(
                f", line {line} never counts: line 4 denies all that it allows", self.swallowed(deny, allow)
            )

    def test_what_is_denied_in_part(self) -> None:
        allow = 'identities = ["web", "team-a"]\nallow = ["submit", "see"]\nfunctions = ["mail.*", "report"]'
        for deny in (
            'identities = ["web"]\ndeny = ["all"]',
            'identities = ["nobody"]\ndeny = ["all"]',
            'identities = ["*"]\ndeny = ["submit"]',
            'identities = ["*"]\ndeny = ["all"]\nfunctions = ["mail.*"]',
            'identities = ["*"]\ndeny = ["all"]\nfunctions = ["mail.?", "report"]',
            'identities = ["*"]\ndeny = ["steer"]',
        ):
            self.assertEqual(
                [line for line in self.swallowed(allow, deny) if "line 4 never" in line], [], deny
            )

    def test_what_several_deny_together(self) -> None:
        """Each of the identities, the acts and the functions is denied by some rule."""
        self.assertIn(
            ", line 4 never counts: lines 8 and 12 and 16 deny all that it allows",
            self.swallowed(
                'identities = ["web", "team-a"]\nallow = ["submit", "see"]\nfunctions = ["mail.*", "report"]',
                'identities = ["web"]\ndeny = ["submit", "see"]\nfunctions = ["mail.*"]',
                'identities = ["web"]\ndeny = ["all"]\nfunctions = ["report"]',
                'identities = ["team-*"]\ndeny = ["all"]',
            ),
        )

    def test_what_is_for_no_function(self) -> None:
        """It cannot be denied for some functions, be they all."""
        http = 'identities = ["web"]\nallow = ["http"]'
        self.assertEqual(
            self.swallowed(http, 'identities = ["*"]\ndeny = ["all"]\nfunctions = ["*"]')[1:], []
        )
        self.assertEqual(
            self.swallowed(http, 'identities = ["*"]\ndeny = ["http"]'),
            [", line 4 never counts: line 7 denies all that it allows"],
        )

    def test_nobody_is_meant_too(self) -> None:
        allow = 'identities = ["nobody"]\nallow = ["see"]'
        self.assertEqual(self.swallowed(allow, 'identities = ["*"]\ndeny = ["see"]'), [])
        self.assertEqual(
            self.swallowed(allow, 'identities = ["nobody"]\ndeny = ["see"]'),
            [", line 4 never counts: line 7 denies all that it allows"],
        )
