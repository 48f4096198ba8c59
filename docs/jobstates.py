"""
The picture of a job's states, drawn from the table of its moves: the directive C{job-states}.
"""

from __future__ import annotations

from math import hypot
from typing import Final

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from txgear.broker.states import MOVES, PAGED, QUEUED, STATE_NAMES

WIDTH: Final = 96
HEIGHT: Final = 34

PLACES: Final = {
    "new": (60, 90),
    "storing": (215, 90),
    "waiting": (390, 90),
    "queued": (565, 90),
    "running": (740, 90),
    "expired": (215, 300),
    "cancelled": (375, 300),
    "failed": (535, 300),
    "dead": (690, 300),
    "done": (825, 300),
}
"""Where each state is, by its name: the middle of its box. The living stand above, the ended below."""

STYLE: Final = """
.job-states { max-width: 100%; height: auto; color: inherit; }
.job-states text { font: 14px sans-serif; }
"""


def moves() -> list[tuple[str, str]]:
    """All moves by the names of their states, each once; to the reader a job that is paged is queued."""
    shown = dict(enumerate(STATE_NAMES))
    shown[PAGED] = shown[QUEUED]
    named = [(shown[state], shown[target]) for state, following in MOVES.items() for target in following]
    return [move for move in dict.fromkeys(named) if move != (shown[QUEUED], shown[QUEUED])]


def border(x: float, y: float, towards_x: float, towards_y: float) -> tuple[float, float]:
    """Where a line from the middle of a box leaves it."""
    dx, dy = towards_x - x, towards_y - y
    scale = min(
        (WIDTH / 2 + 3) / abs(dx) if dx else float("inf"), (HEIGHT / 2 + 3) / abs(dy) if dy else float("inf")
    )
    return x + dx * scale, y + dy * scale


def arrow(source: str, target: str) -> str:
    """The way of one move, bent so that the way back does not meet it, nor those in one row each other."""
    (x1, y1), (x2, y2) = PLACES[source], PLACES[target]
    if source == target:
        top = y1 - HEIGHT / 2
        return f"M {x1 - 18} {top - 2} C {x1 - 34} {top - 34}, {x1 + 34} {top - 34}, {x1 + 18} {top - 3}"
    length = hypot(x2 - x1, y2 - y1)
    bend = length / 4.5 if y1 == y2 and length > 200 else 10.0
    middle_x = (x1 + x2) / 2 + (y2 - y1) / length * bend
    middle_y = (y1 + y2) / 2 - (x2 - x1) / length * bend
    (x1, y1), (x2, y2) = border(x1, y1, middle_x, middle_y), border(x2, y2, middle_x, middle_y)
    return f"M {x1:.1f} {y1:.1f} Q {middle_x:.1f} {middle_y:.1f}, {x2:.1f} {y2:.1f}"


def picture() -> str:
    """The states and the moves between them, as SVG."""
    parts = [
        '<svg class="job-states" viewBox="0 0 890 330" width="890" role="img"'
        ' aria-label="The states of a job">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="move-end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
        ' orient="auto"><path d="M 0 0 L 8 4 L 0 8 z" fill="currentColor"/></marker></defs>',
    ]
    for source, target in moves():
        parts.append(
            '<path fill="none" stroke="currentColor" stroke-width="1.1" opacity="0.65"'
            f' marker-end="url(#move-end)" d="{arrow(source, target)}">'
            f"<title>{source} to {target}</title></path>"
        )
    for name, (x, y) in PLACES.items():
        parts.append(
            f'<rect x="{x - WIDTH / 2}" y="{y - HEIGHT / 2}" width="{WIDTH}" height="{HEIGHT}" rx="7"'
            ' fill="none" stroke="currentColor" stroke-width="1.5"/>'
            f'<text x="{x}" y="{y + 5}" fill="currentColor" text-anchor="middle">{name}</text>'
        )
    return "\n".join([*parts, "</svg>"])


class JobStates(SphinxDirective):
    """The picture, in a page of HTML."""

    def run(self) -> list[nodes.Node]:
        return [nodes.raw("", picture(), format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("job-states", JobStates)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
