"""
Tests of L{txgear.security.access}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.rights import ACTS, HTTP, PURGE, SEE, SHUTDOWN, SUBMIT, WORK
from txgear.security.access import MOST_KNOWN, NOBODY, Access, Identity, IdentityRights, Rule
from txgear.security.certificates import CertificateNames
from txgear.security.tokens import Token, new_token

WEB, OPS = Identity("web"), Identity("ops")


def allow(who: str, *acts: str, functions: tuple[str, ...] | None = None) -> Rule:
    """A rule that allows."""
    return Rule(True, (who,), frozenset(acts), functions)


def deny(who: str, *acts: str, functions: tuple[str, ...] | None = None) -> Rule:
    """A rule that denies."""
    return Rule(False, (who,), frozenset(acts), functions)


class DecisionTests(SynchronousTestCase):
    def test_without_rules(self) -> None:
        """Where there are no rules everybody may do anything."""
        access = Access([WEB])
        self.assertTrue(access.decide("web", SHUTDOWN).allowed)
        self.assertTrue(access.decide(NOBODY, PURGE, b"f").allowed)
        self.assertTrue(access.admits_nobody)
        self.assertFalse(access.is_empty)
        self.assertTrue(Access().is_empty)

    def test_with_one_rule_all_else_is_denied(self) -> None:
        """One rule is enough: what no rule allows is denied, to everybody."""
        access = Access([WEB, OPS], [allow("web", SUBMIT, functions=("mail.*",))])
        self.assertTrue(access.decide("web", SUBMIT, b"mail.send").allowed)
        for who, act, function in (
            ("web", SUBMIT, b"thumb"),
            ("web", SEE, b"mail.send"),
            ("ops", SUBMIT, b"mail.send"),
            (NOBODY, SUBMIT, b"mail.send"),
        ):
            decision = access.decide(who, act, function)
            self.assertEqual((decision.allowed, decision.rule), (False, None), (who, act, function))

    def test_deny_wins(self) -> None:
        """What a rule denies is denied, whichever stands first."""
        rules = [allow("*", SUBMIT), deny("web", SUBMIT, functions=("mail.*",))]
        for order in (rules, rules[::-1]):
            access = Access([WEB, OPS], order)
            decision = access.decide("web", SUBMIT, b"mail.send")
            self.assertEqual((decision.allowed, decision.rule), (False, rules[1]))
            self.assertEqual(access.decide("web", SUBMIT, b"thumb"), (True, rules[0]))
            self.assertTrue(access.decide("ops", SUBMIT, b"mail.send").allowed)

    def test_patterns_match_whole_names(self) -> None:
        """A pattern is for whole names, of functions and of identities, and bytes that are no text."""
        access = Access(
            [WEB, Identity("web2"), Identity("team-a")],
            [allow("web", SUBMIT, functions=("mail", "log?")), allow("team-*", SUBMIT, functions=("*\n",))],
        )
        allowed = [b"mail", b"log1"]
        denied = [b"mail.send", b"xmail", b"log", b"log12", b"mail\n", b"Mail", b""]
        for function in allowed:
            self.assertTrue(access.decide("web", SUBMIT, function).allowed, function)
        for function in denied:
            self.assertFalse(access.decide("web", SUBMIT, function).allowed, function)
        self.assertFalse(access.decide("web2", SUBMIT, b"mail").allowed)
        self.assertTrue(access.decide("team-a", SUBMIT, b"\xff\n").allowed)

    def test_nobody(self) -> None:
        """No pattern is for nobody, only the very word."""
        self.assertFalse(Access([WEB], [allow("*", *ACTS)]).decide(NOBODY, SEE, b"f").allowed)
        self.assertFalse(Access([WEB], [allow("*", *ACTS)]).admits_nobody)
        self.assertFalse(Access([WEB], [allow("nobod?", SEE)]).decide(NOBODY, SEE, b"f").allowed)
        self.assertFalse(Access([WEB], [allow("web", SEE), deny(NOBODY, SEE)]).admits_nobody)
        access = Access([WEB], [allow(NOBODY, SEE)])
        self.assertTrue(access.decide(NOBODY, SEE, b"f").allowed)
        self.assertFalse(access.decide("web", SEE, b"f").allowed)
        self.assertTrue(access.admits_nobody)

    def test_acts_of_the_server(self) -> None:
        """A rule without functions is for acts that are for none, too."""
        access = Access([WEB], [allow("web", HTTP, SUBMIT)])
        self.assertTrue(access.decide("web", HTTP).allowed)
        self.assertTrue(access.decide("web", SUBMIT, b"").allowed)


class IdentityTests(SynchronousTestCase):
    def test_tokens(self) -> None:
        """A token is that of one identity; another one with its ID is nobody's."""
        text = new_token().encode()
        token, other = Token.of(text), Token.of(text[:-1] + (b"A" if text[-1:] != b"A" else b"B"))
        assert token is not None
        assert other is not None
        access = Access([Identity("web", tokens=(token,)), OPS])
        self.assertEqual(access.by_token(token), "web")
        self.assertIsNone(access.by_token(other))

    def test_certificates(self) -> None:
        """Only the field that counts is looked at, and a certificate may name several identities."""
        web, ops = Identity("web", certificates=("w.example",)), Identity("ops", certificates=("o.example",))
        names = CertificateNames(dns=("x.example", "w.example"), cn=("o.example",))
        self.assertEqual(Access([web, ops]).by_certificate(names), [])
        self.assertEqual(Access([web, ops], certificate_field="dns").by_certificate(names), ["web"])
        self.assertEqual(Access([web, ops], certificate_field="cn").by_certificate(names), ["ops"])
        both = CertificateNames(dns=("w.example", "o.example", "w.example"))
        self.assertEqual(Access([web, ops], certificate_field="dns").by_certificate(both), ["ops", "web"])
        longer = CertificateNames(dns=("w.example.org", "a.w.example", "W.example", ""))
        self.assertEqual(Access([web, ops], certificate_field="dns").by_certificate(longer), [])

    def test_addresses(self) -> None:
        """An address is looked for in all ranges."""
        access = Access([Identity("local", addresses=("unix",)), OPS])
        self.assertEqual(access.by_address("-"), "local")
        self.assertIsNone(access.by_address("10.0.0.1"))


class TokenTests(SynchronousTestCase):
    def test_of_an_id(self) -> None:
        token = Token.of(new_token().encode())
        assert token is not None
        access = Access([OPS, Identity("batch", tokens=(token,))])
        self.assertEqual(access.token(token.id), token)
        self.assertIsNone(access.token("nobody12"))
        self.assertTrue(access.has_tokens)
        self.assertFalse(Access([OPS]).has_tokens)


class RightsTests(SynchronousTestCase):
    def test_they_change(self) -> None:
        """New rules hold at once, whatever was asked before."""
        rights = IdentityRights("web")
        self.assertFalse(rights.may(WORK, b"f"))
        rights.replace(Access([WEB], [allow("web", WORK)]).rules_for("web"))
        self.assertTrue(rights.may(WORK, b"f"))
        self.assertTrue(rights.may(WORK, b"f"))
        rights.replace(Access([WEB], [allow("web", WORK), deny("*", WORK)]).rules_for("web"))
        self.assertFalse(rights.may(WORK, b"f"))

    def test_what_is_known(self) -> None:
        """A decision is remembered for its own act and function only."""
        rights = IdentityRights("web")
        rights.replace(
            Access([WEB], [allow("web", WORK, functions=("f",)), allow("web", SEE)]).rules_for("web")
        )
        for _ in range(2):
            self.assertTrue(rights.may(WORK, b"f"))
            self.assertFalse(rights.may(WORK, b"g"))
            self.assertFalse(rights.may(SUBMIT, b"f"))
            self.assertTrue(rights.may(SEE, b"g"))

    def test_functions_to_submit_to(self) -> None:
        """Those that were asked for, and are allowed, are known without asking; until the rules change."""
        rights = IdentityRights("web")
        rules = [allow("web", SUBMIT, functions=("f", "g")), allow("web", SEE)]
        rights.replace(Access([WEB], rules).rules_for("web"))
        self.assertEqual(rights.submits, set())
        for _ in range(2):
            for act, function in ((SUBMIT, b"f"), (SUBMIT, b"h"), (SEE, b"i")):
                rights.may(act, function)
            self.assertEqual(rights.submits, {b"f"})
        rights.replace(Access([WEB], [*rules, deny("web", SUBMIT, functions=("f",))]).rules_for("web"))
        self.assertEqual(rights.submits, set())
        self.assertFalse(rights.may(SUBMIT, b"f"))
        self.assertTrue(rights.may(SUBMIT, b"g"))
        self.assertEqual(rights.submits, {b"g"})

    def test_who_is_gone_may_nothing(self) -> None:
        """An identity that is not in the file any more may do nothing, whatever pattern would be for it."""
        rights = IdentityRights("web")
        rights.replace(Access([OPS], [allow("*", WORK)]).rules_for("web"))
        self.assertFalse(rights.may(WORK, b"f"))
        rights.replace(Access([OPS]).rules_for("web"))
        self.assertTrue(rights.may(WORK, b"f"))

    def test_memory_is_bounded(self) -> None:
        """Whoever asks for ever new functions makes nothing grow for ever."""
        rights = IdentityRights("web")
        rights.replace(Access([WEB], [allow("web", WORK, functions=("f*",))]).rules_for("web"))
        for number in range(MOST_KNOWN + 10):
            self.assertTrue(rights.may(WORK, b"f%d" % number))
        self.assertLessEqual(len(rights._known), MOST_KNOWN)
