"""
The list of all subcommands of C{txgear}, each with the page that shows it: the directive C{commandlist}.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from txgear.cli import SECTIONS

FOLDER: Final = Path(__file__).parent / "cli"


def page_of(command: str, pages: dict[str, str]) -> str | None:
    """
    The page that shows a command: that of its name, or else the first with a line that begins with it.

    @param pages: the text of each page, by its name.
    """
    if command in pages:
        return command
    called = re.compile(rf"^\W*txgear {re.escape(command)}\b", re.MULTILINE)
    return next((name for name, text in pages.items() if called.search(text)), None)


def listed() -> str:
    """The list in Markdown."""
    pages = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.md")) if path.stem != "index"}
    lines: list[str] = []
    for title, entries in SECTIONS.items():
        lines += [f"### {title}", "", "| command | |", "|---|---|"]
        for name, entry in entries.items():
            page = page_of(name, pages)
            shown = f"`{name}`" if page is None else f"[`{name}`]({page}.md)"
            lines.append(f"| {shown} | {entry.help} |")
        lines.append("")
    return "\n".join(lines)


class CommandList(SphinxDirective):
    """The list."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(listed(), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("commandlist", CommandList)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
