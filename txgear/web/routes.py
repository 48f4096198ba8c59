"""
Which request is whose: a method and a path, what carries it out, and what the API's description says of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Operation:
    """
    What the OpenAPI description says of a route.

    @ivar name: its C{operationId}: snake_case, each once.
    @ivar summary: one line.
    @ivar tag: the group it stands in.
    @ivar description: more, in Markdown.
    @ivar query: the C{msgspec.Struct} of its query, or C{None} for none. An unknown name is refused.
    @ivar body: the C{msgspec.Struct} of its body (JSON), or C{None} for none.
    @ivar raw_body: whether the body is bytes of any type.
    @ivar most_body: bytes of a body of JSON at the most, where they are not those of all others; 0 for those.
    @ivar headers: the C{msgspec.Struct} of the request headers that mean something, or C{None}.
    @ivar answers: the type of the answer by status, C{None} for no body, C{bytes} for bytes. Problems are
        added by their status alone.
    @ivar problems: the statuses of problems that it can end with.
    @ivar content_types: for a status whose answer is not JSON: its type.
    @ivar links: names of operations that can follow, with the parameters that the answer has for them, as
        OpenAPI's runtime expressions.
    """

    name: str
    summary: str
    tag: str
    description: str = ""
    query: type | None = None
    body: Any = None
    raw_body: bool = False
    most_body: int = 0
    headers: type | None = None
    answers: Mapping[int, Any] = field(default_factory=dict)
    problems: tuple[int, ...] = ()
    content_types: Mapping[int, str] = field(default_factory=dict)
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """
    A kind of request.

    @ivar method: C{GET} (which stands for C{HEAD} as well), C{POST}, C{PUT}, C{PATCH} or C{DELETE}.
    @ivar rule: the path, as werkzeug's rules are: C{/api/v1/jobs/<handle>}. What stands for a part of it may
        be anything that a path can hold percent-encoded, a slash as well.
    @ivar endpoint: called with the L{WebRequest<txgear.web.request.WebRequest>} and the parts of the path by
        name, as text. It returns an L{Answer<txgear.web.answers.Answer>}, or a Deferred that fires with one,
        or C{None} where it has taken the answer into its own hands (a stream). It raises
        L{Problem<txgear.web.answers.Problem>}, L{AccessDenied<txgear.errors.AccessDenied>} or another
        L{ServerError<txgear.errors.ServerError>}.
    @ivar operation: what the description says of it; C{None} for what is not of the API.
    @ivar free: whether everybody may ask it, by whatever C{Host}: it says nothing that is not for everybody,
        and changes nothing.
    @ivar types: the types that its answer may have, of which the request's C{Accept} is to take one. By
        default those that the operation says; empty where the endpoint looks itself.
    @ivar anybody: whether one needs no right to use HTTP: it is where one says who one is.
    @ivar page: whether it is for people: it takes forms, and problems are answered as pages to browsers.
    @ivar kept: answers a request for what a job of another server has brought, which is a
        L{Kept<txgear.server.elsewhere.Kept>}; C{None} where that is not what is asked for.
    """

    method: str
    rule: str
    endpoint: Callable[..., Any]
    operation: Operation | None = None
    free: bool = False
    types: tuple[str, ...] | None = None
    page: bool = False
    anybody: bool = False
    kept: Callable[..., Any] | None = None
