"""
All parts of the web.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

from txgear.server.jobserver import JobServer
from txgear.web import health, historyroutes
from txgear.web.api import (
    acts,
    copies,
    deadset,
    diagnosis,
    figures,
    functions,
    jobs,
    openapi,
    results,
    schedules,
    server,
    serveracts,
    store,
    submit,
    submitmany,
    tasks,
    workers,
)
from txgear.web.events import readers
from txgear.web.metrics import scrape
from txgear.web.pages import dashboard
from txgear.web.web import Web, WebOptions

PARTS: Final[tuple[ModuleType, ...]] = (
    acts,
    copies,
    dashboard,
    deadset,
    diagnosis,
    figures,
    functions,
    health,
    historyroutes,
    jobs,
    openapi,
    readers,
    results,
    schedules,
    scrape,
    server,
    serveracts,
    store,
    submit,
    submitmany,
    tasks,
    workers,
)
"""Modules with C{routes(web)}. They import L{Web<txgear.web.web.Web>} from L{txgear.web.web}."""


def make_web(server: JobServer, options: WebOptions | None = None) -> Web:
    """The web of a server, with all its parts."""
    return Web(server, options or WebOptions(), PARTS)
