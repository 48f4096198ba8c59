"""Tests of L{txgear.worker.tracebacks}."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from txgear.worker.tracebacks import MAX_EXCEPTION, exception_text


def told(call: Callable[[], object], most: int = MAX_EXCEPTION) -> list[str]:
    """The lines that are told of what a function raises."""
    failures: list[Failure] = []
    _ = maybeDeferred(call).addErrback(failures.append)
    return exception_text(failures[0], most).decode("utf-8").split("\n")


def deep(depth: int) -> None:
    if depth:
        deeper(depth)
    raise KeyError("x")


def deeper(depth: int) -> None:
    deep(depth - 1)


class TextTests(SynchronousTestCase):
    def test_headline_and_traceback(self) -> None:
        """The frames of Twisted that called the function are left out."""

        def resize() -> None:
            raise ValueError("no such photo")

        first, second, third, fourth = told(resize)
        self.assertEqual("ValueError: no such photo", first)
        self.assertEqual("Traceback (most recent call last):", second)
        self.assertRegex(third, r'^  File ".*test_tracebacks.py", line \d+, in resize$')
        self.assertEqual('    raise ValueError("no such photo")', fourth)

    def test_coroutine(self) -> None:
        gate: Deferred[None] = Deferred()

        async def resize() -> None:
            await gate
            raise ValueError("later")

        failures: list[Failure] = []
        _ = Deferred.fromCoroutine(resize()).addErrback(failures.append)
        gate.callback(None)
        lines = exception_text(failures[0]).decode("utf-8").split("\n")
        self.assertEqual("ValueError: later", lines[0])
        self.assertIn("in resize", lines[-2])

    def test_the_end_counts_most(self) -> None:
        lines = told(lambda: deep(200))
        self.assertEqual("KeyError: 'x'", lines[0])
        self.assertRegex(lines[2], r"^  \[\d+ lines are left out\]$")
        self.assertEqual('    raise KeyError("x")', lines[-1])
        self.assertEqual(2 + 1 + 40, len(lines))

    def test_without_a_traceback(self) -> None:
        """It was made, and never raised."""
        self.assertEqual(b"ValueError: x", exception_text(Failure(ValueError("x"))))

    def test_causes(self) -> None:
        def resize() -> None:
            try:
                deep(0)
            except KeyError as error:
                raise ValueError("no photo") from error

        lines = told(resize)
        self.assertEqual("ValueError: no photo", lines[0])
        at = lines.index("It was raised because of:")
        self.assertEqual(["", "KeyError: 'x'"], [lines[at - 1], lines[at + 1]])
        self.assertIn("in deep", lines[-2])

    def test_while_another_one_was_handled(self) -> None:
        def resize() -> None:
            try:
                deep(0)
            except KeyError:
                raise ValueError("no photo")  # noqa: B904

        self.assertIn("It was raised while this was handled:", told(resize))

        def silent() -> None:
            try:
                deep(0)
            except KeyError:
                raise ValueError("no photo") from None

        self.assertNotIn("KeyError: 'x'", told(silent))

    def test_a_circle(self) -> None:
        def resize() -> None:
            one, two = ValueError("one"), ValueError("two")
            one.__cause__, two.__cause__ = two, one
            raise one

        lines = told(resize)
        self.assertEqual(
            ["ValueError: one", "ValueError: two"], [line for line in lines if "Error: " in line]
        )

    def test_many_causes(self) -> None:
        def chained() -> None:
            error: ValueError | None = None
            for n in range(20):
                following = ValueError(str(n))
                following.__cause__ = error
                error = following
            assert error is not None
            raise error

        self.assertEqual(5, sum(line.startswith("ValueError") for line in told(chained)))

    def test_large(self) -> None:
        def resize() -> None:
            raise ValueError("é" * 100_000)

        text = "\n".join(told(resize, 1000)).encode("utf-8", "surrogateescape")
        self.assertTrue(text.startswith(b"ValueError: "))
        self.assertTrue(len(text) <= 1000)

    def test_text_that_cannot_be_made(self) -> None:
        class Broken(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        def resize() -> None:
            raise Broken

        self.assertEqual("Broken: (its text cannot be made)", told(resize)[0])

    def test_no_unicode(self) -> None:
        """Half a surrogate cannot be sent."""

        def resize() -> None:
            raise ValueError("\ud800")

        self.assertEqual("ValueError: ?", told(resize)[0])
