"""
A fake server to which something is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from txgear.cli.base.statuses import FAILED, CommandError
from txgear.test.cli.support import FakeApi

UNKNOWN = CommandError("There is no such job", FAILED, "unknown_job")


class ActingApi(FakeApi):
    """
    A server that answers as a function says.

    @ivar sent: what was asked of it but to look: the method, the path and the body.
    """

    def __init__(self, name: str, answer: Callable[[str, str], Any]) -> None:
        """
        @param answer: given the method and the path; an exception is raised.
        """
        super().__init__(name, lambda path: answer("GET", path))
        self._answer = answer
        self.sent: list[tuple[str, str, Any]] = []

    def send(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """As in L{Api<txgear.cli.base.api.Api>}."""
        self.sent.append((method, path, body))
        found = self._answer(method, path)
        if isinstance(found, BaseException):
            raise found
        return found
