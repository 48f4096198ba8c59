"""
The parts of the web that programs ask: all that a server has whose web is off, for connections of its
Gearman port that have gone over to HTTP.

Without pages for people this is imported in half of the time, and takes half of the memory.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

from txgear.server.jobserver import JobServer
from txgear.web import health, historyroutes
from txgear.web.api import (
    cluster,
    copies,
    deadset,
    diagnosis,
    figures,
    functionacts,
    functions,
    jobacts,
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
from txgear.web.web import Web, WebOptions

PARTS: Final[tuple[ModuleType, ...]] = (
    cluster,
    copies,
    deadset,
    diagnosis,
    figures,
    functionacts,
    functions,
    health,
    historyroutes,
    jobacts,
    jobs,
    openapi,
    readers,
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
"""Modules with C{routes(web)}. They import L{Web<txgear.web.web.Web>} from L{txgear.web.web}."""


def make_api(server: JobServer) -> Web:
    """A web of these parts alone, in which nothing that takes long is done before somebody asks for it."""
    return Web(server, WebOptions(), PARTS, prepared=False)
