"""Tests of L{txgear.runtime.ini}. What is expected is what PHP 8.2 made of the same lines."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import ConfigurationError
from txgear.runtime.ini import read_ini


class ReadTests(SynchronousTestCase):
    def value(self, written: str) -> str:
        [value] = read_ini(f"a = {written}")[""]["a"]
        return value

    def test_nothing(self) -> None:
        self.assertEqual(read_ini(""), {"": {}})

    def test_sections_and_comments(self) -> None:
        text = (
            "x=1\n; a = 1\n# b = 2\n\n[GearmanManager] ; all\n  count = 3 ; three\n[ s ]\n[a]]\r\nb\t=\tc\n"
        )
        self.assertEqual(
            read_ini(text),
            {"": {"x": ["1"]}, "GearmanManager": {"count": ["3"]}, " s ": {}, "a": {"b": ["c"]}},
        )

    def test_the_last_one_counts(self) -> None:
        self.assertEqual(read_ini("[a]\nx=1\nz=0\n[a]\ny=1\ny=2")["a"], {"y": ["2"]})

    def test_several_values(self) -> None:
        self.assertEqual(read_ini("h[] = a\nh[] = b\nh[x] = c")[""], {"h": ["a", "b", "c"]})

    def test_texts(self) -> None:
        for written, value in (
            ("", ""),
            ("two  words  ", "two  words"),
            ("./a,./b", "./a,./b"),
            ("*", "*"),
            ("-5", "-5"),
            ("3 # x", "3 # x"),
            ('"x;y" ; c', "x;y"),
            ("'x\"y'", 'x"y'),
            ("'' ; nothing", ""),
            (r'"a\"b\\c\d"', r"a\"b\c\d".replace(r"\"", '"')),
            ("'$x ${y}'", "$x ${y}"),
        ):
            self.assertEqual(self.value(written), value, written)

    def test_words_that_are_no_texts(self) -> None:
        for written in ("true", "On", "YES"):
            self.assertEqual(self.value(written), "1")
        for written in ("false", "off", "No", "none", "NULL"):
            self.assertEqual(self.value(written), "")
        self.assertEqual(self.value('"on"'), "on")

    def assertWrong(self, text: str, why: str) -> None:
        error = self.assertRaises(ConfigurationError, read_ini, text)
        self.assertIn(why, str(error))

    def test_what_only_php_can_tell(self) -> None:
        for written in ("a|b", "~1", "x!y", "f(x)", "a=b", "${HOME}/x", "a$", "a'b", 'x"y"'):
            self.assertWrong(f"\nx = {written}", "line 2: PHP evaluates")
        self.assertWrong('x = "${HOME}"', "line 1: write the value in the place of ${...}")

    def test_no_ini_file(self) -> None:
        self.assertWrong("[a", "line 1: this is no section: '[a'")
        self.assertWrong("[a] b", "line 1: this is no section")
        self.assertWrong("[${HOME}]", "line 1: this is no section")
        self.assertWrong("[a]\nword", "line 2: a key and a value are wanted, not 'word'")
        self.assertWrong("= 1", "line 1: a key and a value are wanted")
        self.assertWrong('x = "a', "line 1: the quotation does not end")
        self.assertWrong("x = 'a' b", "line 1: the quotation does not end, or something follows it")
