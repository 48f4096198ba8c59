"""
All parts of the web.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

from txgear.server.jobserver import JobServer
from txgear.web import apisite
from txgear.web.metrics import scrape
from txgear.web.pages import dashboard
from txgear.web.web import Web, WebOptions

PARTS: Final[tuple[ModuleType, ...]] = (*apisite.PARTS, dashboard, scrape)
"""Those for programs, those for people, and the metrics."""


def make_web(server: JobServer, options: WebOptions | None = None) -> Web:
    """The web of a server, with all its parts."""
    return Web(server, options or WebOptions(), PARTS)
