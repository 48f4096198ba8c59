"""
Cookies, as this server reads and sets them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.http import dump_cookie

if TYPE_CHECKING:
    from txgear.web.request import WebRequest


def cookies(request: WebRequest, name: str) -> list[str]:
    """
    The values of all cookies of a name that the browser has sent: others of this host may have set some.

    Those that this server sets are ASCII and never quoted; what else there may be stays as it is.
    """
    wanted = name.encode("ascii")
    found = []
    for header in request.requestHeaders.getRawHeaders(b"Cookie", ()):
        for part in header.split(b";"):
            key, _, value = part.partition(b"=")
            if key.strip() == wanted:
                found.append(value.strip().decode("ascii", "replace"))
    return found


def cookie(request: WebRequest, name: str) -> str:
    """The value of the first cookie of a name; empty for none."""
    found = cookies(request, name)
    return found[0] if found else ""


def set_cookie(
    request: WebRequest, name: str, value: str, max_age: int | None = None, secure: bool | None = None
) -> str:
    """
    A C{Set-Cookie} header: for this server's own pages, and never for JavaScript.

    @param max_age: seconds for which it is kept; C{None} for as long as the browser runs, 0 to take it away.
    @param secure: whether the browser sends it by TLS only; by default where the request has come so.
    """
    return dump_cookie(
        name,
        value,
        max_age=max_age,
        path="/",
        secure=request.isSecure() if secure is None else secure,
        httponly=True,
        samesite="Strict",
    )
