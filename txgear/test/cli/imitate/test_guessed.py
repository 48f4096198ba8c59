"""
Tests for L{txgear.cli.imitate.guessed}.
"""

from __future__ import annotations

import shlex

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.imitate.guessed import Known, Reader, WrongWords

KNOWN = (
    Known("host", True, "-h"),
    Known("help"),
    Known("status"),
    Known("state", True),
    Known("ssl", False, "-S"),
)


class ReaderTests(SynchronousTestCase):
    def read(self, line: str) -> dict[str, str]:
        values, strict = Reader(KNOWN).read(shlex.split(line))
        self.assertFalse(strict)
        return values

    def wrong(self, line: str) -> str:
        return str(self.assertRaises(WrongWords, self.read, line))

    def test_names(self) -> None:
        """By long names, by their beginnings, and by letters."""
        self.assertEqual(self.read("--host a --status"), {"host": "a", "status": ""})
        self.assertEqual(self.read("--ho=a=b --statu --ss"), {"host": "a=b", "status": "", "ssl": ""})
        self.assertEqual(self.read("-Sha"), {"host": "a", "ssl": ""})
        self.assertEqual(self.read("-S -h a"), {"host": "a", "ssl": ""})

    def test_values(self) -> None:
        """What looks like a long option is a value; so is what is none at all, and nothing."""
        for value in ("--status", "-x", "--", "-", "--x=y"):
            self.assertEqual(self.read(f"--host {value}"), {"host": value})
        self.assertEqual(self.read("--host ''"), {"host": ""})
        self.assertEqual(self.wrong("--host -S"), "the required argument for option '--host' is missing")
        self.assertEqual(self.wrong("--host -hx -h"), "the required argument for option '--host' is missing")

    def test_missing(self) -> None:
        self.assertEqual(self.wrong("-h"), "the required argument for option '--host' is missing")
        why = "should follow immediately after the equal sign"
        self.assertEqual(self.wrong("--ho="), f"the argument for option '--ho' {why}")
        self.assertEqual(self.wrong("--host --x="), f"the argument for option '--host' {why}")
        self.assertEqual(self.wrong("--="), f"the argument for option {why}")

    def test_too_much(self) -> None:
        self.assertEqual(self.wrong("--status=1"), "option '--status' does not take any arguments")
        twice = "option '--ssl' cannot be specified more than once"
        for line in ("-SS", "--ssl -S", "-S one -S"):
            self.assertEqual(self.wrong(line), twice)

    def test_unknown(self) -> None:
        """All other mistakes come before what is said twice."""
        self.assertEqual(self.wrong("-S -S --nope=1"), "unrecognised option '--nope=1'")
        self.assertEqual(self.wrong("-Sxy"), "unrecognised option '-Sxy'")
        matches = "is ambiguous and matches"
        self.assertEqual(self.wrong("--h=1"), f"option '--h=1' {matches} '--help', and '--host'")
        self.assertEqual(self.wrong("--s"), f"option '--s' {matches} '--ssl', '--state', and '--status'")

    def test_rest(self) -> None:
        """Other words mean nothing, and neither does what has no name."""
        self.assertEqual(self.read("one - --=x --status two -- --nope"), {"status": ""})

    def test_strict(self) -> None:
        """It is no value where one is wanted, and guessed by no beginning."""
        self.assertEqual(Reader(KNOWN).read(["--strict", "-S"]), ({"ssl": ""}, True))
        self.assertEqual(self.read("--host --strict"), {"host": "--strict"})
        self.assertIn("unrecognised", self.wrong("--stri"))
