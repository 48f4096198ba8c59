"""
What a browser asks for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from txgear.web.events.sse import EVENT_STREAM

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

LONGEST_PATH: Final = 2000
"""Characters of a path that one is led back to."""
_OWN_PATH: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""Browsers leave out tabs and line ends, and take a backslash for a slash: C{//host} is another server."""


def takes_html(request: WebRequest) -> bool:
    """Whether it wants a page. Programs do not say so."""
    return "text/html" in request.listed("Accept").lower()


def takes_events(request: WebRequest) -> bool:
    """Whether it wants a page to be kept open."""
    accept = request.listed("Accept")
    return EVENT_STREAM in accept and bool(
        parse_accept_header(accept, MIMEAccept).best_match([EVENT_STREAM, "text/html"]) == EVENT_STREAM
    )


def own_path(text: str) -> str:
    """
    A path of this server, with its query.

    @param text: what somebody says is one.
    @return: C{/} for anything else.
    """
    return text if len(text) <= LONGEST_PATH and _OWN_PATH.fullmatch(text) else "/"


def path_of(request: WebRequest) -> str:
    """The path that a request is for, with its query."""
    query = b"?" + request.query_text if request.query_text else b""
    return own_path((request.target + query).decode("ascii", "replace"))
