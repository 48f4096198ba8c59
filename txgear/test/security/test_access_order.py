"""
Tests of L{txgear.security.access}: any rules in any order.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.rights import SEE, SUBMIT
from txgear.security.access import Access, Identity, Rule
from txgear.test.support.extras import PROPERTY, given, st

WEB = Identity("web")


class OrderTests(SynchronousTestCase):
    @PROPERTY
    @given(
        st.lists(st.tuples(st.booleans(), st.sampled_from((SUBMIT, SEE)), st.sampled_from(("f", "g*", "*"))))
    )
    def test_order_says_nothing(self, made: list[tuple[bool, str, str]]) -> None:
        """Whatever the order of the rules, the decision is the same."""
        rules = [Rule(allows, ("web",), frozenset((act,)), (pattern,)) for allows, act, pattern in made]
        one, other = Access([WEB], rules), Access([WEB], rules[::-1])
        for act in (SUBMIT, SEE):
            for function in (b"f", b"g", b"gg", b"h"):
                allowed = one.decide("web", act, function).allowed
                self.assertEqual(allowed, other.decide("web", act, function).allowed)
                for rule in rules:
                    if not rule.allow and one.decide("web", act, function).rule is rule:
                        self.assertFalse(allowed)
