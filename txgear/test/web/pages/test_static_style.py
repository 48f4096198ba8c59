"""Tests of the style sheet: colours, and what pages are not to load."""

from __future__ import annotations

import re
from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from txgear.web.pages.static import FOLDER

TEXTS = (
    *product(("text", "soft", "link"), ("ground", "card", "sunk")),
    *((name, f"{name}-ground") for name in ("ok", "info", "warning", "critical")),
    ("on-strong", "strong"),
    # Of a row that is selected, buttons that destroy, and fields that are wrong.
    *product(("text", "soft", "link"), ("info-ground",)),
    *product(("critical", "warning", "info"), ("card", "ground")),
)
"""Each text, and what it stands on."""
SHAPES = tuple(product(("edge", "focus", "series", "series-2", "series-3"), ("card", "ground")))
"""What is no text, and has to be seen as well: edges of fields, the focus, lines of charts."""


def luminance(colour: str) -> float:
    """As WCAG 2 defines it, of C{#rrggbb}."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


class ColourTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sheet = (FOLDER / "style.css").read_text("utf-8")
        light, dark = re.findall(r":root \{(.*?)\}", self.sheet, re.DOTALL)[:2]
        self.schemes = [
            dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", scheme)) for scheme in (light, dark)
        ]

    def check(self, pairs: tuple[tuple[str, str], ...], least: float) -> None:
        for scheme in self.schemes:
            for one, other in pairs:
                found = contrast(scheme[one], scheme[other])
                self.assertGreaterEqual(found, least, f"{one} {scheme[one]} on {other} {scheme[other]}")

    def test_texts(self) -> None:
        self.check(TEXTS, 4.5)

    def test_shapes(self) -> None:
        self.check(SHAPES, 3.0)

    def test_measure(self) -> None:
        self.assertAlmostEqual(contrast("#000000", "#ffffff"), 21.0)
        self.assertAlmostEqual(contrast("#767676", "#ffffff"), 4.54, 2)

    def test_names(self) -> None:
        light, dark = self.schemes
        self.assertEqual(set(light), set(dark))
        self.assertEqual(
            set(re.findall(r"var\(--([a-z0-9-]+)", self.sheet)) - set(light), {"shadow", "radius", "mono"}
        )
        outside = re.sub(r":root \{.*?\}", "", self.sheet, flags=re.DOTALL)
        self.assertEqual(re.findall(r": (#[0-9a-f]{3,6})\b", outside), [])

    def test_nothing_from_elsewhere(self) -> None:
        for path in FOLDER.iterdir():
            found = re.findall(r"@import|url\(|https?://[^\s\"']+", path.read_text("utf-8"))
            self.assertEqual([each for each in found if each != "http://www.w3.org/2000/svg"], [], path.name)
