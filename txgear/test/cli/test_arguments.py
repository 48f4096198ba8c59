"""The parser of command lines: what it says of a mistake."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.arguments import Parser
from txgear.errors import ConfigurationError


class ParserTests(SynchronousTestCase):
    """A mistake is an error of ours."""

    def test_mistake(self) -> None:
        """One line, with the command that says more."""
        parser = Parser(prog="txgear import")
        parser.add_argument("--from", required=True)
        for words in ([], ["--nonsense"]):
            error = self.assertRaises(ConfigurationError, parser.parse_args, words)
            self.assertIn("--from", str(error))
            self.assertTrue(str(error).endswith(" (see txgear import --help)"), error)
