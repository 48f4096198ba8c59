"""
Tests for L{txgear.cli.imitate.gearmanwords}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.cli.imitate.gearmanwords import LETTERS, Words, read, usage


class ReadTests(SynchronousTestCase):
    def test_every_letter(self) -> None:
        """Each option is one field."""
        line = "-bdHNPsSvw -c 3 -f f -f g -h host -i pid -L -p 1 -t 20 -u unique a b --strict"
        words = read(line.split())
        self.assertEqual(
            words,
            Words(
                functions=["f", "g"],
                host="host",
                port="1",
                timeout=20,
                count=3,
                unique="unique",
                pidfile="pid",
                priority="L",
                background=True,
                by_line=True,
                stripped=True,
                prefix=True,
                no_input=True,
                verbose=True,
                worker=True,
                daemon=True,
                tls=True,
                help=True,
                rest=["a", "b"],
                strict=True,
            ),
        )
        self.assertEqual(words.seconds, 0.02)
        self.assertEqual(len(LETTERS.replace(":", "")), 19)

    def test_defaults(self) -> None:
        words = read([])
        self.assertEqual((words, words.seconds), (Words(), None))
        self.assertEqual(read(["-n"]), Words(by_line=True))
        self.assertEqual(read(["-L", "-I"]).priority, "I")
        self.assertEqual(read(["-Z"]), Words(wrong=True))


class UsageTests(SynchronousTestCase):
    def test_what_is_wrong(self) -> None:
        for line, said in (("", "No Functions were provided"), ("-f f", "(null)"), ("-f f -Z", "-?")):
            self.assertTrue(usage("g", read(line.split())).startswith(f"\ng\tError in usage({said}).\n\n"))

    def test_flags(self) -> None:
        self.assertEqual(usage("g", read([])).count("(false)"), 7)
        self.assertEqual(usage("g", read(["-bNvw"])).count("(true)"), 7)
