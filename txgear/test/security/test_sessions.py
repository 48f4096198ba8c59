"""Tests of L{txgear.security.sessions}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.records import PAUSED, SIGNED_OUT, SIGNING_KEY, StoredValue
from txgear.security.sessions import AHEAD, LIFE, MOST_ENDED, Sessions
from txgear.security.tokens import Token, new_token

NOW = 1_800_000_000.0


class Store:
    """What is kept of sessions."""

    def __init__(self) -> None:
        self.values: dict[tuple[int, bytes], StoredValue] = {}

    def keep(self, value: StoredValue) -> None:
        self.values.pop((value.kind, value.name), None)
        if value.value:
            self.values[value.kind, value.name] = value

    def sessions(self, now: float = NOW) -> Sessions:
        """Of a server that starts."""
        found = Sessions(self.keep)
        found.restore(list(self.values.values()), now)
        return found

    def of_kind(self, kind: int) -> list[StoredValue]:
        return [value for value in self.values.values() if value.kind == kind]


def a_token() -> Token:
    found = Token.of(new_token().encode())
    assert found is not None
    return found


class SessionsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = Store()
        self.sessions = self.store.sessions()
        self.token = a_token()
        self.tokens = {self.token.id: self.token}
        self.session, self.value = self.sessions.begin(self.token, NOW)

    def found(self, value: str | None = None, now: float = NOW, sessions: Sessions | None = None) -> bool:
        session = (sessions or self.sessions).find(value or self.value, self.tokens.get, now)
        if session is not None:
            self.assertEqual(session.token, self.tokens[session.token.id])
        return session is not None


class ValueTests(SessionsTestCase):
    def test_as_it_was_begun(self) -> None:
        self.assertEqual(self.sessions.find(self.value, self.tokens.get, NOW), self.session)
        self.assertNotIn(self.token.digest.hex(), self.value)

    def test_each_is_new(self) -> None:
        other, value = self.sessions.begin(self.token, NOW)
        self.assertNotEqual(other.id, self.session.id)
        self.assertNotEqual(value, self.value)

    def test_its_time(self) -> None:
        self.assertTrue(self.found(now=NOW + LIFE - 1))
        self.assertFalse(self.found(now=NOW + LIFE))

    def test_a_clock_that_is_set_back(self) -> None:
        self.assertTrue(self.found(now=NOW - AHEAD + 1))
        self.assertFalse(self.found(now=NOW - AHEAD - 1))

    def test_any_other_letter(self) -> None:
        for at, letter in enumerate(self.value):
            for other in ("a" if letter != "a" else "b", "", "=", "\0", "é"):
                self.assertFalse(self.found(self.value[:at] + other + self.value[at + 1 :]), (at, other))

    def test_what_is_none(self) -> None:
        for value in ("", ".", "...", self.value + "x", self.value * 1000, "x" * 100_000, self.value.upper()):
            self.assertIsNone(self.sessions.find(value, self.tokens.get, NOW), value[:100])

    def test_a_token_that_is_taken_away(self) -> None:
        self.tokens.clear()
        self.assertFalse(self.found())

    def test_a_token_that_is_replaced(self) -> None:
        """By one with the same ID."""
        self.tokens[self.token.id] = Token(self.token.id, b"x" * 32)
        self.assertFalse(self.found())

    def test_of_another_token(self) -> None:
        other = a_token()
        self.tokens[other.id] = other
        self.assertFalse(self.found(other.id + self.value[len(other.id) :]))

    def test_of_another_server(self) -> None:
        self.assertFalse(self.found(sessions=Store().sessions()))

    def test_purposes(self) -> None:
        self.assertNotEqual(self.sessions.sign("a", "b"), self.sessions.sign("b", "b"))
        self.assertNotEqual(self.sessions.sign("a", "b"), self.sessions.sign("a", "c"))
        signed = self.value.rpartition(".")[0]
        self.assertNotEqual(self.sessions.sign("session", signed), self.value.rpartition(".")[2])


class EndTests(SessionsTestCase):
    def test_one_of_two(self) -> None:
        _, other = self.sessions.begin(self.token, NOW)
        self.sessions.end(self.session, NOW)
        self.assertFalse(self.found())
        self.assertTrue(self.found(other))
        self.assertTrue(self.sessions.has_ended(self.session))

    def test_twice(self) -> None:
        self.sessions.end(self.session, NOW)
        kept = dict(self.store.values)
        self.sessions.end(self.session, NOW)
        self.assertEqual(self.store.values, kept)

    def test_forgotten_when_it_would_have_ended(self) -> None:
        self.sessions.end(self.session, NOW)
        later, _ = self.sessions.begin(self.token, NOW + LIFE)
        self.sessions.end(later, NOW + LIFE)
        self.assertEqual([value.name for value in self.store.of_kind(SIGNED_OUT)], [self.name_of(later.id)])
        self.assertFalse(self.found(now=NOW + LIFE))

    def name_of(self, session: str) -> bytes:
        return f"{self.token.id} {session}".encode()

    def test_more_than_are_told_apart(self) -> None:
        """Those that began before the first one end as well, of this token only, and none is back."""
        stranger = a_token()
        self.tokens[stranger.id] = stranger
        _, of_stranger = self.sessions.begin(stranger, NOW)
        early = self.value
        ended = []
        for number in range(MOST_ENDED + 1):
            session, value = self.sessions.begin(self.token, NOW + 1 + number)
            self.sessions.end(session, NOW + 1 + number)
            ended.append(value)
        _, late = self.sessions.begin(self.token, NOW + 500)
        for sessions in (self.sessions, self.store.sessions(NOW + 500)):
            for value in (early, *ended):
                self.assertFalse(self.found(value, NOW + 500, sessions))
            self.assertTrue(self.found(late, NOW + 500, sessions))
            self.assertTrue(self.found(of_stranger, NOW + 500, sessions))
        self.assertEqual(len(self.store.of_kind(SIGNED_OUT)), MOST_ENDED + 1)

    def test_out_of_turn(self) -> None:
        """Sessions end in any order; what is forgotten is the one that began first."""
        sessions = [self.sessions.begin(self.token, NOW + number) for number in range(MOST_ENDED + 2)]
        for session, _ in reversed(sessions):
            self.sessions.end(session, NOW + 500)
        self.assertFalse(any(self.found(value, NOW + 500) for _, value in sessions))


class OtherServerTests(SessionsTestCase):
    """Two that have the same store."""

    def setUp(self) -> None:
        super().setUp()
        self.other = self.store.sessions()

    def hear(self) -> None:
        for value in self.store.values.values():
            self.other.hear(value)

    def test_what_was_ended_there(self) -> None:
        self.assertTrue(self.found(sessions=self.other))
        self.sessions.end(self.session, NOW)
        self.hear()
        self.assertFalse(self.found(sessions=self.other))

    def test_more_than_are_told_apart(self) -> None:
        for number in range(MOST_ENDED + 1):
            session, _ = self.sessions.begin(self.token, NOW + 1 + number)
            self.sessions.end(session, NOW + 1 + number)
        self.hear()
        self.assertFalse(self.found(sessions=self.other))

    def test_a_key_of_the_same_moment(self) -> None:
        """That counts which was written last, at both."""
        self.other = Store().sessions()
        self.assertFalse(self.found(sessions=self.other))
        self.hear()
        self.assertTrue(self.found(sessions=self.other))

    def test_what_makes_no_sense(self) -> None:
        for value in (
            StoredValue(SIGNED_OUT, b"\xff", NOW),
            StoredValue(SIGNING_KEY, b"sessions", 1.0, text="x"),
            StoredValue(SIGNING_KEY, b"sessions", 0.0),
            StoredValue(SIGNING_KEY, b"other", 1.0, text="eHh4"),
            # Which would have ended by now.
            StoredValue(SIGNED_OUT, f"{self.token.id} {self.session.id}".encode(), 0.0),
        ):
            self.other.hear(value)
        self.assertTrue(self.found(sessions=self.other))


class RestartTests(SessionsTestCase):
    def test_it_goes_on(self) -> None:
        self.assertTrue(self.found(sessions=self.store.sessions()))

    def test_what_has_ended_stays_so(self) -> None:
        self.sessions.end(self.session, NOW)
        again = self.store.sessions()
        self.assertFalse(self.found(sessions=again))
        self.assertEqual(self.store.sessions().sign("a", "b"), self.sessions.sign("a", "b"))

    def test_what_is_over_is_not_kept(self) -> None:
        self.sessions.end(self.session, NOW)
        self.store.sessions(NOW + LIFE)
        self.assertEqual(self.store.of_kind(SIGNED_OUT), [])

    def test_what_makes_no_sense(self) -> None:
        """A new key; what is of others stays."""
        self.store.keep(StoredValue(PAUSED, b"f", 1.0))
        self.store.keep(StoredValue(SIGNED_OUT, b"\xff", NOW))
        for text in ("", "x", "é", "eHh4"):
            self.store.keep(StoredValue(SIGNING_KEY, b"sessions", 1.0, text=text))
            self.assertFalse(self.found(sessions=self.store.sessions()))
            self.assertNotEqual(self.store.of_kind(SIGNING_KEY)[0].text, text)
        self.assertEqual(self.store.of_kind(SIGNED_OUT), [])
        self.assertEqual(len(self.store.of_kind(PAUSED)), 1)

    def test_one_key(self) -> None:
        self.store.sessions()
        self.assertEqual(len(self.store.of_kind(SIGNING_KEY)), 1)

    def test_at_the_epoch(self) -> None:
        """A value of 0.0 would be none."""
        store = Store()
        sessions = store.sessions(0.0)
        session, value = sessions.begin(self.token, 0.0)
        self.assertTrue(self.found(value, 0.0, store.sessions(0.0)))
        sessions.end(session, 0.0)
        self.assertFalse(self.found(value, 0.0, store.sessions(0.0)))
