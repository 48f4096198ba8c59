"""
Tests for L{txgear.cli.imitate.getopt}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.imitate.getopt import WRONG, Found, short_options


class ShortOptionsTests(SynchronousTestCase):
    def read(self, line: str, permute: bool = True) -> Found:
        return short_options(line.split(), "ab:c", permute)

    def test_letters(self) -> None:
        """In one word or several, with a value in the same word or the next one, whatever that looks like."""
        wanted = [("a", ""), ("c", ""), ("b", "value")]
        for line in ("-acbvalue", "-a -c -b value", "-ac -bvalue"):
            self.assertEqual(self.read(line).options, wanted)
        self.assertEqual(self.read("-b -a").options, [("b", "-a")])
        self.assertEqual(self.read("-b -- -a").options, [("b", "--"), ("a", "")])

    def test_wrong(self) -> None:
        """It goes on after what is no option, letter by letter."""
        self.assertEqual(self.read("-xa -b").options, [(WRONG, ""), ("a", ""), (WRONG, "")])
        self.assertEqual(self.read("--ab --").options, [(WRONG, ""), ("a", ""), ("b", "--")])
        self.assertEqual(self.read("-:").options, [(WRONG, "")])

    def test_rest(self) -> None:
        """Other words may stand anywhere, but for POSIX; a dash is one of them."""
        self.assertEqual(self.read("one -a - -- -c two"), ([("a", "")], ["one", "-", "-c", "two"], False))
        self.assertEqual(self.read("-a one -c", False), ([("a", "")], ["one", "-c"], False))

    def test_strict(self) -> None:
        """Where an option may stand it is one."""
        self.assertEqual(self.read("--strict -a"), ([("a", "")], [], True))
        self.assertEqual(self.read("-b --strict -- --strict"), ([("b", "--strict")], ["--strict"], False))
