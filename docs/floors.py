"""
The picture of the floors, drawn from the folders and what their modules import, and the list of all modules
with the first sentence of each: the directives C{floors} and C{rooms}.
"""

from __future__ import annotations

import ast
import re
from typing import Final, TypeAlias

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from txgear.test.test_floors import FLOORS, PURE, floor, housed, imported, modules

LEFT_OUT: Final = frozenset({"_version", "test"})
"""What everything would be joined to, or what is joined to everything."""

WIDTH: Final = 128
HEIGHT: Final = 44
GAP: Final = 34
"""Between two boxes of a row."""
RISE: Final = 88
"""From one row to the next."""
SWEEPS: Final = 8
"""How often the rows are put in order after each other; more change nothing any more."""

STYLE: Final = """
.floors { max-width: 100%; height: auto; color: inherit; }
.floors text { font: 15px sans-serif; }
.floors .small { font-size: 11px; }
"""

Node: TypeAlias = "str | tuple[str, str, int]"
"""A floor, or the place where the arrow between two floors passes a row."""


def joined() -> dict[str, set[str]]:
    """For each floor those it imports from, but for what another of these imports from anyway."""
    all_of: dict[str, set[str]] = {name: set() for name in FLOORS if name not in LEFT_OUT}
    for name in housed():
        if floor(name) not in LEFT_OUT:
            above = {floor(other) for other in imported(name) - {"txgear"}}
            all_of[floor(name)] |= above - LEFT_OUT - {floor(name)}

    def reached(name: str) -> set[str]:
        return set().union(*({other} | reached(other) for other in all_of[name]))

    return {
        name: {one for one in above if not any(one in reached(other) for other in above)}
        for name, above in all_of.items()
    }


def rows(arrows: dict[str, set[str]]) -> tuple[list[list[Node]], dict[Node, list[Node]]]:
    """
    The floors in rows, each as high as what it imports from allows, and in each row in an order in which
    few arrows cross; with the places where arrows pass a row. And for each of them what joins it above.
    """
    height: dict[str, int] = {}
    for name in FLOORS:
        if name in arrows:
            height[name] = 1 + max((height[other] for other in arrows[name]), default=-1)
    found: list[list[Node]] = [[] for _ in range(max(height.values()) + 1)]
    above: dict[Node, list[Node]] = {}
    for name, row in height.items():
        found[row].append(name)
        above[name] = []
        for other in sorted(arrows[name]):
            end: Node = name
            for passed in range(row - 1, height[other], -1):
                step = (name, other, passed)
                found[passed].append(step)
                above.setdefault(end, []).append(step)
                end = step
            above.setdefault(end, []).append(other)
    below: dict[Node, list[Node]] = {}
    for node, others in above.items():
        for other in others:
            below.setdefault(other, []).append(node)
    for sweep in range(SWEEPS):
        side = below if sweep % 2 else above
        for row_of in found if side is above else reversed(found):
            places = centres(found)
            row_of.sort(key=lambda node: _mean([places[other][0] for other in side.get(node) or [node]]))
    return found, above


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def centres(found: list[list[Node]]) -> dict[Node, tuple[float, float]]:
    """Where each node is: rows are centred above each other."""
    places: dict[Node, tuple[float, float]] = {}
    for number, row in enumerate(found):
        x = -sum(_width(node) + GAP for node in row) / 2
        for node in row:
            places[node] = (x + (_width(node) + GAP) / 2, number * RISE)
            x += _width(node) + GAP
    return places


def _width(node: Node) -> float:
    return WIDTH if isinstance(node, str) else 0.0


def picture() -> str:
    """The floors and the arrows between them, as SVG."""
    found, above = rows(joined())
    places = centres(found)
    left = min(x for x, _ in places.values()) - WIDTH / 2 - 4
    width = max(x for x, _ in places.values()) + WIDTH / 2 + 4 - left
    height = (len(found) - 1) * RISE + HEIGHT + 8
    view = f"{left:.0f} {-HEIGHT / 2 - 4:.0f} {width:.0f} {height}"
    parts = [
        f'<svg class="floors" viewBox="{view}" width="{width:.0f}"'
        ' role="img" aria-label="The floors of the house and what they import from">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="floor-end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
        ' orient="auto"><path d="M 0 0 L 8 4 L 0 8 z" fill="currentColor"/></marker></defs>',
    ]
    for node, others in above.items():
        x, y = places[node]
        top = y - HEIGHT / 2
        others = sorted(others, key=lambda other: places[other][0])
        for place, other in enumerate(others):
            # Arrows that leave one box leave it side by side. What passes a row does so upright.
            start = x + (place - (len(others) - 1) / 2) * 22
            to_x, to_y = places[other]
            ends = isinstance(other, str)
            bottom = to_y + HEIGHT / 2 + (2 if ends else 0)
            middle = (top + bottom) / 2
            head = ' marker-end="url(#floor-end)"' if ends else ""
            passing = "" if ends else f" V {to_y - HEIGHT / 2:.1f}"
            parts.append(
                f'<path fill="none" stroke="currentColor" stroke-width="1.2" opacity="0.7"{head}'
                f' d="M {start:.1f} {top:.1f} C {start:.1f} {middle:.1f}, {to_x:.1f} {middle:.1f},'
                f' {to_x:.1f} {bottom:.1f}{passing}"/>'
            )
    for name, (x, y) in places.items():
        if isinstance(name, str):
            parts.append(_box(name, x, y))
    return "\n".join([*parts, "</svg>"])


def _box(name: str, x: float, y: float) -> str:
    inside = [other.rpartition(".")[2] for other in housed() if floor(other) == name and other.count(".") > 1]
    size = f"{len(inside)} modules" if inside else "one module"
    fill = ' fill="currentColor" fill-opacity="0.1"' if name in PURE else ' fill="none"'
    corner = f'x="{x - WIDTH / 2:.1f}" y="{y - HEIGHT / 2:.1f}"'
    middle = 'fill="currentColor" text-anchor="middle"'
    return (
        f"<g><title>{name}: {', '.join(inside) or 'no folder'}</title>"
        f'<rect {corner} width="{WIDTH}" height="{HEIGHT}" rx="7"{fill}'
        ' stroke="currentColor" stroke-width="1.5"/>'
        f'<text x="{x:.1f}" y="{y - 1:.1f}" {middle}>{name}</text>'
        f'<text class="small" x="{x:.1f}" y="{y + 15:.1f}" {middle}>{size}</text></g>'
    )


def sentence(name: str) -> str:
    """What a module says of itself first, without the marks of epytext."""
    text = " ".join((ast.get_docstring(modules()[name]) or "").split("\n\n")[0].split())
    while (plain := re.sub(r"[LCIB]\{(?:[^{}<]*?([\w.]+)<[^{}]*>|([^{}]*))\}", r"\1\2", text)) != text:
        text = plain
    return re.sub(r"txgear\.(\w)", r"\1", text)


class Floors(SphinxDirective):
    """The picture, in a page of HTML."""

    def run(self) -> list[nodes.Node]:
        return [nodes.raw("", picture(), format="html")]


class Rooms(SphinxDirective):
    """The modules of each floor, with what they say of themselves."""

    def run(self) -> list[nodes.Node]:
        found: list[nodes.Node] = []
        for name in FLOORS:
            if name in LEFT_OUT:
                continue
            own = [other for other in housed() if floor(other) == name and "migrations" not in other]
            found.append(nodes.rubric(text=f"{name}/" if len(own) > 1 else f"{name}.py"))
            rooms = nodes.bullet_list()
            for other in own:
                place = other.removeprefix("txgear.").removeprefix(f"{name}.")
                place = "__init__" if place == name and len(own) > 1 else place
                item = nodes.paragraph("", "", nodes.literal(text=place), nodes.Text(f": {sentence(other)}"))
                rooms += nodes.list_item("", item)
            found.append(rooms)
        return found


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("floors", Floors)
    app.add_directive("rooms", Rooms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
