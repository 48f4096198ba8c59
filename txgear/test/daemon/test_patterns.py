"""
Tests for L{txgear.daemon.patterns}.
"""

from __future__ import annotations

import fnmatch
import re

from twisted.trial.unittest import SynchronousTestCase

from txgear.daemon.patterns import covers, is_plain, never_count
from txgear.test.support.extras import PROPERTY, given, st


class NeverCountTests(SynchronousTestCase):
    def check(self, *patterns: str) -> list[tuple[int, int]]:
        return list(never_count(patterns))

    def test_covered(self) -> None:
        """A name, or a pattern, behind one that takes all that it matches."""
        for general, special in (
            ("*", "mail"),
            ("*", "*"),
            ("mail", "mail"),
            ("mail.*", "mail.send*"),
            ("mail.*", "mail.*"),
            ("?", "[ab]"),
            ("[ab]", "a"),
            ("[!a]", "b"),
            ("*.*", "a.?"),
            ("*[ab]", "xa"),
            ("\xe9*", "\xe9t\xe9"),
            ("a[", "a["),
        ):
            self.assertEqual(self.check(general, special), [(1, 0)], (general, special))

    def test_not_covered(self) -> None:
        """What another takes in part only, or what comes first, counts."""
        for general, special in (
            ("mail", "*"),
            ("mail.*", "mail*"),
            ("?", "*"),
            ("[ab]", "[abc]"),
            ("[!a]", "?"),
            ("*a*", "[abc]"),
            ("?", "\xe9"),
            ("a*b", "a*"),
        ):
            self.assertEqual(self.check(general, special), [], (general, special))

    def test_which(self) -> None:
        """It is the first that is named; one that never counts takes nothing itself."""
        self.assertEqual(self.check("a*", "ab*", "abc", "b", "*", "b"), [(1, 0), (2, 0), (5, 3)])

    def test_of_two(self) -> None:
        for general, special in (("*", "mail"), ("mail.*", "mail.x?"), ("[ab]", "[ab]"), ("a", "a")):
            self.assertTrue(covers(general, special), (general, special))
        for general, special in (("mail", "*"), ("mail.*", "mail*"), ("[ab]", "[abc]"), ("a", "b")):
            self.assertFalse(covers(general, special), (general, special))

    def test_names(self) -> None:
        for pattern in ("mail", "", "a]", "a[", "\xe9t\xe9"):
            self.assertTrue(is_plain(pattern), pattern)
        for pattern in ("*", "mail.?", "[a]", "a[!b]"):
            self.assertFalse(is_plain(pattern), pattern)

    @PROPERTY
    @given(st.text("ab*?[]!", max_size=5), st.text("ab*?[]!", max_size=5), st.text("ab[]!", max_size=5))
    def test_it_is_never_wrong(self, general: str, special: str, name: str) -> None:
        """No name that the second takes passes the first by."""
        if self.check(general, special) and re.fullmatch(fnmatch.translate(special), name):
            self.assertIsNotNone(re.fullmatch(fnmatch.translate(general), name))
