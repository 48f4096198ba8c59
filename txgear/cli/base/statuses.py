"""
The exit statuses of all commands, and the error that ends one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from txgear.errors import TxgearError

DONE: Final = 0
FAILED: Final = 1
"""What was asked for has not been done, or is not there: a job failed, a handle is unknown."""
MISUSED: Final = 2
"""The command line makes no sense."""
UNREACHABLE: Final = 3
"""No server answers, or what answers is no txgear."""
DENIED: Final = 4
"""The server's rules do not allow it, or it does not know who asks."""
INTERRUPTED: Final = 130
"""After SIGINT, as shells have it."""


class CommandError(TxgearError):
    """
    A command cannot do what it was asked for: it ends with one line and an exit status.

    @ivar text: what is wrong, and what can be done about it; a line for people.
    @ivar status: the exit status.
    @ivar code: the server's word for it, such as C{unknown_job}; empty where it has not said one.
    @ivar details: what else the server has said of it, by name.
    """

    def __init__(
        self, text: str, status: int = FAILED, code: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.code = code
        self.details = details or {}
