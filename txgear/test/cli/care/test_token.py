"""
Tests for L{txgear.cli.care.token}.
"""

from __future__ import annotations

import json
import re
import sys
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from txgear import cli
from txgear.security.tokens import Token, Tokens


class TokenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.out, self.err = StringIO(), StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def test_what_the_server_keeps_lets_the_token_in(self) -> None:
        self.assertEqual(cli.main(["token", "new"]), 0)
        found = re.fullmatch(r"token: (\S+)\nfile:  (\S+)\n", self.out.getvalue())
        assert found is not None
        tokens = Tokens()
        tokens.add("web", Token.parse(found[2]))
        self.assertEqual(tokens.find(found[1].encode("ascii")), "web")
        self.assertIn("`tokens` of an [[identity]]", self.err.getvalue())

    def test_each_time_another_one(self) -> None:
        for _ in range(2):
            cli.main(["token", "new"])
        lines = self.out.getvalue().splitlines()
        self.assertEqual(len(set(lines)), 4)

    def test_json(self) -> None:
        self.assertEqual(cli.main(["token", "new", "--json"]), 0)
        found = json.loads(self.out.getvalue())
        tokens = Tokens()
        tokens.add("web", Token.parse(found["file"]))
        self.assertEqual(tokens.find(found["token"].encode("ascii")), "web")

    def test_help(self) -> None:
        self.assertEqual(cli.main(["token", "new", "--help"]), 0)
        self.assertIn("Two tokens of an identity count at the same time", self.out.getvalue())

    def test_mistakes(self) -> None:
        """Nobody chooses a token."""
        for words in ((), ("old",), ("new", "hunter2"), ("new", "--name=web")):
            self.assertEqual(cli.main(["token", *words]), 2)
        self.assertEqual(self.out.getvalue(), "")
        self.assertNotIn("hunter2 ", self.err.getvalue())
