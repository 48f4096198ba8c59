"""
C{/}: the server at a glance.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from txgear.broker.model import Function, Peer
from txgear.broker.rights import knows
from txgear.protocol.textlines import text
from txgear.web.pages.board import part_id
from txgear.web.pages.pages import Pages, page
from txgear.web.pages.view import View
from txgear.web.routes import Route

if TYPE_CHECKING:
    from txgear.web.request import WebRequest


class Overview(View):
    """All functions, and what is wrong."""

    template = "overview.html"
    place = "/"

    def __init__(self, pages: Pages, peer: Peer, request: WebRequest) -> None:
        super().__init__(pages, peer, "Overview")

    def look(self) -> Iterator[None]:
        """Part of L{View}."""
        ids = []
        for function in self.broker.functions.by_name.values():
            if knows(self.peer, function):
                part = part_id("function", function.name)
                facts = function.lanes.ready, function.running, len(function.workers), function.paused
                self.put(part, facts, "function_row", partial(_row, function))
                ids.append(part)
        self.arrange("functions", ids)
        yield from ()


def _row(function: Function) -> dict[str, Any]:
    return {
        "name": text(function.name),
        "queued": function.lanes.ready,
        "running": function.running,
        "workers": len(function.workers),
        "paused": function.paused,
    }


def routes(pages: Pages) -> list[Route]:
    """Part of the dashboard."""
    return [page("/", pages.page(Overview))]
