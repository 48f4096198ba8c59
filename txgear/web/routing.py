"""
Which route a request is for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from werkzeug.exceptions import NotFound
from werkzeug.routing import Map, Rule

from txgear.protocol.textlines import text
from txgear.web.answers import Problem
from txgear.web.routes import Route

READS: Final = "GET"
"""The method that stands for HEAD, too."""


class Found(NamedTuple):
    """
    What is at a path.

    @ivar routes: by method; C{GET} stands for C{HEAD} as well.
    @ivar arguments: the parts of the path by name.
    """

    routes: dict[str, Route]
    arguments: dict[str, str]

    def allowed(self) -> str:
        """The methods, as the header C{Allow} names them."""
        methods = {*self.routes, "OPTIONS"} | ({"HEAD"} if READS in self.routes else set())
        return ", ".join(sorted(methods))

    def route(self, method: str) -> Route:
        """
        @raise Problem: there is none for this method.
        """
        found = self.routes.get(READS if method == "HEAD" else method)
        if found is None:
            allowed = self.allowed()
            raise Problem(
                405, "method_not_allowed", f"The methods here are {allowed}", headers={"Allow": allowed}
            )
        return found


class Router:
    """
    All routes.

    Paths are matched as they were sent: werkzeug sees no percent-encoding undone, so that a slash within a
    part stays within it.

    @ivar routes: all of them, in the order of their parts.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        """
        @raise ValueError: two routes have one method and one rule.
        """
        self.routes = list(routes)
        by_rule: dict[str, dict[str, Route]] = {}
        for route in self.routes:
            methods = by_rule.setdefault(route.rule, {})
            if route.method in methods:
                raise ValueError(f"two routes for {route.method} {route.rule}")
            methods[route.method] = route
        self._by_rule = by_rule
        rules = [Rule(rule, endpoint=rule) for rule in by_rule]
        self._map = Map(rules, strict_slashes=True, merge_slashes=False).bind("")

    def find(self, path: str) -> Found | None:
        """
        @param path: as it was sent, without the query.
        """
        if not path.startswith("/") or path.startswith("//"):
            # Werkzeug takes all of these for one slash, or asks for another request.
            return None
        try:
            rule, arguments = self._map.match(path)
        except NotFound:
            return None
        parts = {name: text(unquote_to_bytes(value)) for name, value in arguments.items()}
        return Found(self._by_rule[rule], parts)
