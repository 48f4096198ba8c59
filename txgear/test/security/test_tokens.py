"""Tests of L{txgear.security.tokens}."""

from __future__ import annotations

import re
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import PolicyError
from txgear.security.tokens import Token, Tokens, new_token, token_id, without_secrets
from txgear.test.support.extras import PROPERTY, given, st

TOKEN = b"txg_a1b2c3d4_" + b"S3cret-_" * 5 + b"abc"
VECTORS = (
    "d88ac6d8e47e7251daa888c825b88442c74699c12d03368fbb53a992f627b4a2",
    "be772ff9cf422b8f886b31b1c0464e549e9d56a17f6a57ac78bebe689aa58d81",
)
SECRETS = st.text("ABCxyz019_-", min_size=43, max_size=43)
IDS = st.text("abcxyz019", min_size=8, max_size=8)


def stored(token: bytes) -> Token:
    """What is kept of a token that has the form of one."""
    found = Token.of(token)
    assert found is not None
    return found


class NewTests(SynchronousTestCase):
    def test_its_form(self) -> None:
        """256 bits are 43 characters of URL-safe base64, which has no padding then."""
        for _ in range(100):
            self.assertRegex(new_token(), r"\Atxg_[a-z0-9]{8}_[A-Za-z0-9_-]{43}\Z")

    def test_each_is_another(self) -> None:
        made = [new_token() for _ in range(1000)]
        self.assertEqual(len({token[:13] for token in made}), 1000)
        self.assertEqual(len({token[13:] for token in made}), 1000)

    def test_it_is_taken(self) -> None:
        token = new_token().encode("ascii")
        tokens = Tokens()
        tokens.add("web", Token.parse(str(stored(token))))
        self.assertEqual(tokens.find(token), "web")


class StoredTests(SynchronousTestCase):
    """What the server keeps."""

    def test_vectors(self) -> None:
        """The digest is that of all characters of the token, as C{sha256sum} has it."""
        for token, kept in (
            (b"txg_00000000_" + b"A" * 43, "00000000:" + VECTORS[0]),
            (TOKEN, "a1b2c3d4:" + VECTORS[1]),
        ):
            self.assertEqual(str(stored(token)), kept)
            self.assertEqual(Token.parse(kept), stored(token))

    @PROPERTY
    @given(IDS, SECRETS)
    def test_there_and_back(self, name: str, secret: str) -> None:
        token = f"txg_{name}_{secret}".encode("ascii")
        kept = stored(token)
        self.assertEqual(kept, Token(name, sha256(token).digest()))
        self.assertEqual(Token.parse(str(kept)), kept)
        self.assertNotIn(secret, str(kept))

    def test_what_is_no_token(self) -> None:
        for token in (
            b"",
            b"hunter2",
            TOKEN[:-1],
            TOKEN + b"A",
            TOKEN + b"\n",
            TOKEN.upper(),
            TOKEN.replace(b"txg_", b"abc_"),
            TOKEN.replace(b"-", b"+"),
            b" " + TOKEN,
            TOKEN.replace(b"a1b2", b"A1b2"),
            TOKEN * 1000,
            b"\xff" * 56,
        ):
            self.assertIsNone(Token.of(token), token[:80])
            self.assertIsNone(token_id(token), token[:80])

    def test_its_id_may_be_shown(self) -> None:
        self.assertEqual(token_id(TOKEN), "a1b2c3d4")

    def refused(self, value: object) -> str:
        error = self.assertRaises(PolicyError, Token.parse, value)
        self.assertEqual(error.key, "")
        self.assertNotIn("\n", error.problem)
        self.assertIn("`txgear token new`", error.problem)
        return str(error.problem)

    def test_a_token_itself_is_refused_and_not_repeated(self) -> None:
        """So is one with something around it, or a part of one."""
        token = TOKEN.decode("ascii")
        for value in (token, f" {token}", f"Bearer {token}", token[:40], f"a1b2c3d4:{token}"):
            problem = self.refused(value)
            self.assertIn("this is a token itself", problem)
            self.assertNotIn("S3cret", problem)

    def test_chosen_ones_are_refused_and_not_repeated(self) -> None:
        kept = str(stored(TOKEN))
        name, digest = kept.split(":")
        for value in (
            "hunter2",
            "hunter2:hunter2",
            f"web:{digest}",
            f"A1B2C3D4:{digest}",
            f"{name}:{digest.upper()}",
            f"{name}:{digest[:-1]}",
            f"{name}:{digest}0",
            f"{kept}\n",
            f"{name}{digest}",
            digest,
            TOKEN.decode("ascii")[13:],
            "a1b2c3d4:" + TOKEN.decode("ascii")[13:],
            "",
        ):
            problem = self.refused(value)
            self.assertIn("chose", problem)
            for word in re.findall(r"[^:\n]{6,}", value):
                self.assertNotIn(word, problem)

    def test_it_is_a_string(self) -> None:
        for value in (123456, True, None, ["a1b2c3d4"], {"id": "a1b2c3d4"}, 1.5):
            self.assertNotIn("1234", self.refused(value))


class TokensTests(SynchronousTestCase):
    """Who has which."""

    def setUp(self) -> None:
        self.tokens = Tokens()
        self.own = {f"web-{number}": new_token().encode("ascii") for number in range(200)}
        for name, token in self.own.items():
            self.tokens.add(name, stored(token))

    def test_each_is_found(self) -> None:
        self.assertEqual(len(self.tokens), 200)
        for name, token in self.own.items():
            self.assertEqual(self.tokens.find(token), name)

    def test_two_of_one_identity(self) -> None:
        """While one takes the place of the other, both count."""
        second = new_token().encode("ascii")
        self.tokens.add("web-1", stored(second))
        self.assertEqual(self.tokens.find(second), "web-1")
        self.assertEqual(self.tokens.find(self.own["web-1"]), "web-1")

    def test_wrong_ones(self) -> None:
        known = self.own["web-1"]
        other = self.own["web-2"]
        for token in (
            new_token().encode("ascii"),
            known[:13] + other[13:],
            known[:-1] + (b"A" if known[-1:] != b"A" else b"E"),
            known + b"\0",
            known.decode("ascii").swapcase().encode("ascii"),
            str(stored(known)).encode("ascii"),
            b"",
        ):
            self.assertIsNone(self.tokens.find(token))

    def test_the_stored_form_lets_nobody_in(self) -> None:
        """Nor does the digest, written as a secret: it is no token, or another one."""
        kept = stored(self.own["web-1"])
        self.assertIsNone(self.tokens.find(f"txg_{kept.id}_{kept.digest.hex()}".encode("ascii")))
        self.assertIsNone(self.tokens.find(f"txg_{kept.id}_{kept.digest.hex()[:43]}".encode("ascii")))

    def test_a_digest_counts_for_its_id_only(self) -> None:
        moved = Tokens()
        kept = stored(self.own["web-1"])
        moved.add("web", Token("00000000", kept.digest))
        self.assertIsNone(moved.find(self.own["web-1"]))
        self.assertIsNone(moved.find(b"txg_00000000_" + self.own["web-1"][13:]))

    def test_what_is_kept_of_an_id(self) -> None:
        tokens = Tokens()
        tokens.add("web", stored(TOKEN))
        self.assertEqual(tokens.get("a1b2c3d4"), stored(TOKEN))
        self.assertIsNone(tokens.get("a1b2c3d5"))

    def test_an_id_is_there_once(self) -> None:
        error = self.assertRaises(PolicyError, self.tokens.add, "other", stored(self.own["web-1"]))
        self.assertIn(stored(self.own["web-1"]).id, error.problem)

    def test_nobody_has_one_of_an_unknown_id(self) -> None:
        """Whatever the digest is that it is compared with."""
        self.assertIsNone(Tokens().owner(stored(TOKEN)))
        self.assertIsNone(Tokens().find(TOKEN))

    def test_whose_it_is_after_a_change(self) -> None:
        """What was kept of a login says later whether the token still counts."""
        kept = stored(self.own["web-1"])
        self.assertEqual(self.tokens.owner(kept), "web-1")
        renewed = Tokens()
        renewed.add("web-1", stored(new_token().encode("ascii")))
        self.assertIsNone(renewed.owner(kept))

    @PROPERTY
    @given(
        st.binary(max_size=80) | st.builds(lambda name, secret: f"txg_{name}_{secret}".encode(), IDS, SECRETS)
    )
    def test_what_is_found_is_what_was_added(self, token: bytes) -> None:
        tokens = Tokens()
        tokens.add("web", stored(TOKEN))
        self.assertEqual(tokens.find(token), "web" if token == TOKEN else None)


class WithoutSecretsTests(SynchronousTestCase):
    def test_the_id_stays(self) -> None:
        self.assertEqual(
            without_secrets(b"token=" + TOKEN + b";mailer 1"), b"token=txg_a1b2c3d4_...;mailer 1"
        )
        self.assertEqual(without_secrets(TOKEN + b" " + TOKEN), b"txg_a1b2c3d4_... txg_a1b2c3d4_...")

    def test_a_part_of_a_secret_goes_too(self) -> None:
        for length in range(14, len(TOKEN)):
            self.assertEqual(without_secrets(b"id " + TOKEN[:length]), b"id txg_a1b2c3d4_...")

    def test_all_else_stays(self) -> None:
        for text in (
            b"",
            b"mailer 1",
            b"txg_",
            b"txg_a1b2c3d4_",
            b"txg_A1b2c3d4_S3cret",
            b"\xff\0",
            b"txgear",
        ):
            self.assertEqual(without_secrets(text), text)
