"""
What pages send: forms, each with a token that only a page of this server can know.

A browser sends cookies with whatever any page has it send. So a form says, besides, what belongs to the
cookie, which other pages cannot read. That a request comes from a page of this server at all is looked at
before: see L{txgear.web.origins}.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from txgear.web.answers import Problem
from txgear.web.cookies import cookie

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


class FormTokens:
    """
    The tokens of the forms of all browsers, each bound to the session of its browser, or to a cookie where it
    has none.
    """

    def __init__(self, sign: Callable[[str, str], str]) -> None:
        """
        @param sign: what nobody else can say of a text; see L{txgear.security.sessions.Sessions.sign}.
        """
        self._sign = sign

    def token(self, request: WebRequest, visitor: str) -> str:
        """
        What forms have in L{TOKEN}.

        @param visitor: see L{visitor}.
        """
        if request.session is not None:
            return self._sign("form of a session", request.session.id)
        return self._sign("form of a visitor", visitor)

    @staticmethod
    def visitor(request: WebRequest) -> tuple[str, bool]:
        """
        Which browser asks.

        @return: the value of the cookie, and whether it is a new one, which the answer has to set.
        """
        known = cookie(request, VISITOR)
        if 0 < len(known) <= _LONGEST:
            return known, False
        return token_urlsafe(16), True

    def check(self, request: WebRequest, form: Form) -> None:
        """
        @raise Problem: the form does not come from a page that was sent to this browser, as long as its
            session lasts.
        """
        visitor, is_new = self.visitor(request)
        said = form.get(TOKEN).encode("utf-8", "replace")
        known = request.session is not None or not is_new
        if not known or not compare_digest(said, self.token(request, visitor).encode("ascii")):
            raise Problem(
                403,
                "stale_form",
                "This page is older than your session or than the server, or your browser keeps no cookies."
                " Nothing was done",
            )
