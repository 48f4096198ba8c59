"""
All pages.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

from txgear.web.pages import (
    audit,
    cluster,
    dead,
    function,
    job,
    jobacts,
    jobedit,
    jobs,
    overview,
    reviews,
    schedules,
    server,
    sessions,
    settings,
    store,
    tasks,
    worker,
    workers,
)
from txgear.web.pages.pages import Pages
from txgear.web.routes import Route
from txgear.web.web import Web

VIEWS: Final[tuple[ModuleType, ...]] = (
    overview,
    function,
    job,
    jobacts,
    jobedit,
    jobs,
    tasks,
    dead,
    reviews,
    schedules,
    settings,
    audit,
    workers,
    sessions,
    store,
    worker,
    cluster,
    server,
)
"""Modules with C{routes(pages)}."""


def routes(web: Web) -> list[Route]:
    """Part of the web."""
    pages = Pages(web)
    return [*pages.routes(), *(route for view in VIEWS for route in view.routes(pages))]
