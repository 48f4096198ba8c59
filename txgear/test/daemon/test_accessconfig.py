"""
Tests of L{txgear.daemon.accessconfig}.
"""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.rights import ACTS, OPERATOR_ACTS, SEE, SERVER_ACTS, SUBMIT
from txgear.broker.tenants import Quota
from txgear.daemon.config import parse_config
from txgear.daemon.tables import ConfigMistakes
from txgear.policies import Rate
from txgear.security.access import Identity, Rule
from txgear.security.tokens import Token, new_token

TOKEN = Token("a1b2c3d4", bytes(32))

WHOLE = f"""
[login]
certificate = "dns"

[[identity]]
name = "web"
certificates = ["Web.Example"]
tokens = ["{TOKEN}"]
addresses = ["10.1.0.0/16", "::1", "unix"]
connections = 100
queued = 10_000
running = 50
bytes = "256M"
submits = "100/s"

[[identity]]
name = "ops"

[[access]]
identities = ["web", "team-*"]
allow = ["submit", "see"]
functions = ["mail.*"]

  [[ access ]]  # of the operators
identities = ["ops"]
allow = ["all"]
[[access]]
identities = ["ops"]
deny = ["steer"]
functions = ["pay"]
"""


class AccessTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """Everything that can be said of identities and rules is read, and rules know their lines."""
        config = parse_config(WHOLE, "f")
        self.assertEqual(config.access.certificate_field, "dns")
        self.assertEqual(
            config.access.identities,
            {
                "web": Identity(
                    "web",
                    ("web.example",),
                    (TOKEN,),
                    (ip_network("10.1.0.0/16"), ip_network("::1"), "unix"),
                    Quota(100, 10_000, 50, 256 << 20, Rate(0.01, 10)),
                ),
                "ops": Identity("ops"),
            },
        )
        self.assertEqual(
            config.access.rules,
            (
                Rule(True, ("web", "team-*"), frozenset((SUBMIT, SEE)), ("mail.*",), 19),
                Rule(True, ("ops",), ACTS, None, 24),
                Rule(False, ("ops",), OPERATOR_ACTS - SERVER_ACTS, ("pay",), 27),
            ),
        )
        self.assertTrue(config.summary.endswith(", 2 identities, 3 access rules"), config.summary)

    def test_nothing(self) -> None:
        """A file that says nothing of it asks nothing of anybody."""
        config = parse_config("", "f")
        self.assertTrue(config.access.is_empty)
        self.assertNotIn("identit", config.summary)
        self.assertIn("1 identity, 0 access rules", parse_config('[[identity]]\nname = "a"', "f").summary)

    def test_lines_of_an_array(self) -> None:
        """Rules in one array have its line, and a text that looks like a rule is none."""
        text = (
            'access = [\n {identities = ["a"], allow = ["see"]},\n'
            ' {identities = ["""\n[[access]]\n"""], allow = ["see"]},\n]\n'
        )
        self.assertEqual([rule.line for rule in parse_config(text, "f").access.rules], [1, 1])


class MistakeTests(SynchronousTestCase):
    """Each mistake is a line that names the file, the line, the key and what is wrong."""

    def check(self, text: str, *words: str) -> None:
        """
        Is this a mistake?

        @param words: how each line begins; without the name of the file.
        """
        error = self.assertRaises(ConfigMistakes, parse_config, text, "f")
        for found, expected in zip(error.lines, words, strict=True):
            self.assertTrue(found.startswith(f"f, line {expected}"), found)

    def test_login(self) -> None:
        """One field of a certificate counts, and only one that there is."""
        self.check(
            '[login]\ncertificate = "san"', "2: login.certificate: one of dns, uri, email, cn is wanted"
        )
        self.check("[login]\ncert = 1", "2: login.cert: there is no such setting; there are certificate")
        self.check("login = 1", "1: login: a table is wanted, not 1")

    def test_identity(self) -> None:
        """An identity has a name, and nothing that is another one's."""
        for text, words in (
            ("", "1: identity.name: it is missing"),
            ('name = "a b"', "2: identity.name: 1 to 64 letters, digits"),
            ('name = "nobody"', "2: identity.name: nobody is whoever"),
            ("name = 1", "2: identity.name: a string is wanted"),
            ('name = "a"\nrights = 1', "3: identity.rights: there is no such setting; there are name, "),
            ('name = "a"\nqueued = -1', "3: identity.queued: a whole number"),
            ('name = "a"\nsubmits = "fast"', "3: identity.submits: "),
            ('name = "a"\nbytes = "1X"', "3: identity.bytes: bytes are wanted"),
            ('name = "a"\naddresses = ["10.1.2.3/8"]', "3: identity.addresses: '10.1.2.3/8' is no address"),
            ('name = "a"\naddresses = "10.1.2.3"', "3: identity.addresses: a list is wanted"),
            ('name = "a"\ntokens = ["secret"]', "3: identity.tokens: the ID and the SHA-256"),
            (f'name = "a"\ntokens = ["{new_token()}"]', "3: identity.tokens: this is a token itself"),
            (f'name = "a"\ntokens = ["{TOKEN}", "1", "2"]', "3: identity.tokens: 2 at the most"),
            ('name = "a"\ncertificates = ["a"]', "3: identity.certificates: which field of a certificate"),
            ('name = "a"\n[[identity]]\nname = "a"', "4: identity.name: another identity above"),
        ):
            self.check(f"[[identity]]\n{text}", words)

    def test_no_secret_is_repeated(self) -> None:
        """Wherever somebody has put one: what is said stands in a log."""
        secret = new_token()
        for text in (
            f'tokens = "{secret}"',
            f'tokens = ["{secret}"]',
            f'tokens = [["{secret}"]]',
            f'tokens = {{ new = "{secret}" }}',
            f'tokens = ["{secret[13:]}"]',
            f'tokens = "{secret[13:]}"',
            f'addresses = ["{secret}"]',
            f'bytes = "{secret}"',
            f"{secret} = 1",
            f'name = "{secret}"',
            f'certificates = ["{secret}"]',
            f'name = "a"\n[[access]]\nidentities = ["{secret}"]',
            f'name = "a"\n[[access]]\nidentities = ["a"]\nfunctions = ["{secret}"]\nallow = ["see"]',
            f'name = "a"\n[[access]]\nidentities = ["a"]\nallow = ["{secret}"]',
        ):
            error = self.assertRaises(ConfigMistakes, parse_config, f"[[identity]]\n{text}", "f")
            self.assertNotIn(secret[13:], str(error))

    def test_claims(self) -> None:
        """What stands for two identities stands for none: it is a mistake."""
        for key, value in (
            ("tokens", f'"{TOKEN}"'),
            ("addresses", '"10.0.0.0/8"'),
            ("addresses", '"unix"'),
            ("certificates", '"w"'),
        ):
            text = "[login]\ncertificate = 'cn'\n" + "".join(
                f'[[identity]]\nname = "{name}"\n{key} = [{value}]\n' for name in "ab"
            )
            self.check(text, f"8: identity.{key}: ")

    def test_rules(self) -> None:
        """A rule names somebody, and allows or denies what there is."""
        for text, words in (
            ('allow = ["see"]', "1: access.identities: it is missing"),
            ('identities = []\nallow = ["see"]', "2: access.identities: the list is empty"),
            ('identities = ["a"]', "1: access.allow: what is allowed is wanted"),
            ('identities = ["a"]\nallow = ["see"]\ndeny = ["see"]', "3: access.allow: what is allowed is"),
            ('identities = ["a"]\nallow = ["look"]', "3: access.allow: there is no act 'look'; there are "),
            ('identities = ["a"]\nallow = ["http"]\nfunctions = ["f"]', "3: access.allow: http is for no"),
            ('identities = ["a"]\ndeny = ["see"]\nfunctions = [""]', "4: access.functions: 1 to 8191 bytes"),
            ('identities = ["a"]\ndeny = ["see"]\nfunctions = []', "4: access.functions: the list is empty"),
            ('identities = ["a"]\ndeny = "see"', "3: access.deny: a list is wanted"),
        ):
            self.check(f"[[access]]\n{text}", words)

    def test_several(self) -> None:
        """The first mistake of each table is told."""
        self.check(
            '[[identity]]\nname = 1\n[[access]]\nidentities = 1\nallow = ["x"]\n[[access]]\nallow = 1',
            "2: identity.name",
            "4: access.identities",
            "7: access.allow",
        )
