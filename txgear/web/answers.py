"""
What a request of the web is answered with: a value, or a problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from txgear.errors import TxgearError

JSON: Final = "application/json"
PROBLEM_JSON: Final = "application/problem+json"
"""The type of problem details (RFC 9457)."""


@dataclass(frozen=True)
class Answer:
    """
    An answer that is known as a whole.

    @ivar body: C{bytes} as they are; C{None} for no body; anything else is encoded as JSON.
    @ivar status: the HTTP status.
    @ivar headers: further headers; a value may hold nothing that ends a line.
    @ivar content_type: the type of the body.
    @ivar cookies: values of C{Set-Cookie}.
    """

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON
    cookies: tuple[str, ...] = ()


class Problem(TxgearError):
    """
    A request cannot be carried out: what its answer says, as problem details (RFC 9457).

    @ivar status: the HTTP status.
    @ivar code: a word for programs, such as C{unknown_job}; it ends the problem's C{type}.
    @ivar detail: what is wrong with this request, in a sentence for people.
    @ivar extra: further members, as JSON has them.
    @ivar headers: further headers.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
