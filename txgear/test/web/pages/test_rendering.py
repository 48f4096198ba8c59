"""Tests of L{txgear.web.pages.rendering}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txgear.web.pages import rendering
from txgear.web.pages.rendering import Preparation, Templates

VALUES = {"id": "x", "label": "Jobs <b>", "path": "", "value": 1, "form": "count", "more": ""}


class TemplatesTests(SynchronousTestCase):
    def test_those_compiled_in_pieces_are_as_others(self) -> None:
        when_needed, before = Templates(), Templates()
        names = len(list(rendering.FOLDER.glob("**/*.html")))
        self.assertEqual(len(list(before.compile())), 3 * names)
        self.assertEqual(list(before.compile()), [])
        made = before.fragment("parts/overview.html", "card", **VALUES)
        self.assertIn("Jobs &lt;b&gt;", made)
        self.assertEqual(when_needed.fragment("parts/overview.html", "card", **VALUES), made)
        self.assertEqual(
            when_needed.render("once_more.html", {"to": "/<"}), before.render("once_more.html", {"to": "/<"})
        )


class PreparationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(rendering.templates.cache_clear)  # type: ignore[attr-defined]
        rendering.templates.cache_clear()  # type: ignore[attr-defined]
        self.clock = Clock()
        self.preparation = Preparation(self.clock)
        self.preparation.start()

    def test_all_are_compiled_after_the_start(self) -> None:
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0)
        self.assertEqual(list(rendering.templates().compile()), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.preparation.stop()

    def test_the_server_ends_before(self) -> None:
        self.preparation.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
