"""
C{/}: what there is, for whoever opens the address that the log names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from txgear._version import __version__
from txgear.web.answers import Answer
from txgear.web.routes import Route

DESCRIPTION: Final = "/api/v1/openapi.json"

if TYPE_CHECKING:
    from txgear.web.request import WebRequest
    from txgear.web.web import Web


def routes(web: Web) -> list[Route]:
    """The routes of this part."""

    def front(request: WebRequest) -> Answer:
        # What is described by itself, and of the API its description.
        paths = {route.rule for route in web.router.routes if route.method == "GET" and route.rule != "/"}
        found = sorted(path for path in paths if not path.startswith("/api/") or path == DESCRIPTION)
        return Answer({"server": f"txgear {__version__}", "paths": found})

    return [Route("GET", "/", front)]
