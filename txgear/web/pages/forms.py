"""
What pages send: forms, each with a token that only a page of this server can know.

A browser sends cookies with whatever any page has it send. So a form says, besides, what belongs to the
cookie, which other pages cannot read. That a request comes from a page of this server at all is looked at
before: see L{txgear.web.origins}.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b
from hmac import compare_digest
from secrets import token_bytes, token_urlsafe
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from werkzeug.http import dump_cookie, parse_cookie

from txgear.web.answers import Problem

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

VISITOR: Final = "txgear_visitor"
"""The cookie that tells one browser from all others. It says nothing of who that is."""
TOKEN: Final = "form_token"
"""The field of the token."""
MOST_FIELDS: Final = 1000
"""Fields of a form: a few hundred jobs can be selected."""
_LONGEST: Final = 64


class Form:
    """
    The fields of a form.
    """

    def __init__(self, body: bytes) -> None:
        """
        @param body: C{application/x-www-form-urlencoded}.
        @raise Problem: it is not that, or has too many fields.
        """
        try:
            pairs = parse_qsl(
                body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"
            )
        except ValueError as error:
            raise Problem(400, "invalid_form", f"This is no form: {error}") from error
        self._fields: dict[str, list[str]] = {}
        for name, value in pairs:
            self._fields.setdefault(name, []).append(value)

    def all(self, name: str) -> list[str]:
        """The values of a field that may be there any number of times."""
        return self._fields.get(name, [])

    def get(self, name: str, default: str = "") -> str:
        """
        The value of a field.

        @raise Problem: it is there more than once.
        """
        found = self.all(name)
        if len(found) > 1:
            raise Problem(400, "repeated_field", f"The field {name} is there more than once")
        return found[0] if found else default


def cookie(request: WebRequest, name: str) -> str:
    """The value of a cookie that the browser has sent; empty for none."""
    return parse_cookie(request.listed("Cookie").replace(", ", "; ")).get(name, "")


def set_cookie(request: WebRequest, name: str, value: str, max_age: int | None = None) -> str:
    """
    A C{Set-Cookie} header: for this server's own pages, and never for JavaScript.

    @param max_age: seconds for which it is kept; C{None} for as long as the browser runs, 0 to take it away.
    """
    return dump_cookie(
        name,
        value,
        max_age=max_age,
        path="/",
        secure=request.isSecure(),
        httponly=True,
        samesite="Strict",
    )


class FormTokens:
    """
    The tokens of this run of the server.
    """

    def __init__(self) -> None:
        self._key = token_bytes(32)

    def token(self, visitor: str) -> str:
        """What forms of a visitor have in L{TOKEN}."""
        digest = blake2b(visitor.encode("utf-8", "replace"), digest_size=16, key=self._key).digest()
        return urlsafe_b64encode(digest).decode("ascii").rstrip("=")

    @staticmethod
    def visitor(request: WebRequest) -> tuple[str, bool]:
        """
        Who asks.

        @return: the value of the cookie, and whether it is a new one, which the answer has to set.
        """
        known = cookie(request, VISITOR)
        if 0 < len(known) <= _LONGEST:
            return known, False
        return token_urlsafe(16), True

    def check(self, request: WebRequest, form: Form) -> None:
        """
        @raise Problem: the form does not come from a page that was sent to this visitor.
        """
        visitor, is_new = self.visitor(request)
        said = form.get(TOKEN).encode("utf-8", "replace")
        if is_new or not compare_digest(said, self.token(visitor).encode("ascii")):
            raise Problem(
                403,
                "stale_form",
                "This page is from before the server's last start, or the browser keeps no cookies: load it"
                " again, and then do it once more",
            )
