"""Tests of L{txgear.worker.words}."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from txgear.worker.words import Refused, Words


class WordsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.words = Words()
        self.said: list[bytes] = []

    def say(self, word: bytes, argument: bytes = b"") -> tuple[bytes, str]:
        return self.successResultOf(self.words.do("server", word, argument))

    def answer(self, with_what: Any) -> Any:
        """A word's call that notes its argument."""

        def call(argument: bytes) -> Any:
            self.said.append(argument)
            if isinstance(with_what, Exception):
                raise with_what
            return with_what

        return call

    def test_done(self) -> None:
        self.words.add("restart", self.answer("In a moment"))
        with capturedLogs() as events:
            self.assertEqual((b"done", "In a moment"), self.say(b"restart", b"now"))
        self.assertEqual([b"now"], self.said)
        self.assertEqual(["server says restart now"], [formatEvent(event) for event in events])

    def test_nothing_to_say(self) -> None:
        self.words.add("restart", self.answer(None))
        self.assertEqual((b"done", ""), self.say(b"restart"))

    def test_later(self) -> None:
        later: Deferred[str] = Deferred()
        self.words.add("grow", self.answer(later))
        answered = self.words.do("server", b"grow", b"")
        self.assertNoResult(answered)
        later.callback("4 processes")
        self.assertEqual((b"done", "4 processes"), self.successResultOf(answered))

    def test_refused(self) -> None:
        self.words.add("shrink", self.answer(Refused("It is the last one")))
        self.assertEqual((b"refused", "It is the last one"), self.say(b"shrink"))

    def test_raises(self) -> None:
        """The operator gets to know it, and the log has all of it."""
        self.words.add("shrink", self.answer(KeyError("x")))
        self.assertEqual((b"refused", "KeyError: 'x'"), self.say(b"shrink"))
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))

    def test_not_known(self) -> None:
        """Nothing of it is logged: whoever can tell something may tell anything."""
        with capturedLogs() as events:
            for word in (b"dance", b"", b"\xff", b"x" * 10_000):
                with self.subTest(word=word[:5]):
                    self.assertEqual((b"refused", "It does not know this word"), self.say(word))
        self.assertEqual([], events)

    def test_another_call(self) -> None:
        self.words.add("grow", self.answer("one"))
        self.words.add("shrink", self.answer("two"))
        self.words.add("grow", self.answer("three"))
        self.assertEqual(["grow", "shrink"], self.words.names)
        self.assertEqual((b"done", "three"), self.say(b"grow"))

    def test_no_words(self) -> None:
        for word in ("", "Grow", "grow!", "-", "x" * 33, "grow\n", "größer"):
            with self.subTest(word=word):
                error = self.assertRaises(ValueError, self.words.add, word, self.answer(None))
                self.assertIn("not 1 to 32 letters", str(error))
        self.words.add("x" * 32, self.answer(None))
