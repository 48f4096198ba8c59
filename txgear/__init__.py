"""
A Gearman job server, client and worker for Python on Twisted.

The public names live in their modules and are imported at the first use:
C{import txgear} alone imports nothing of Twisted.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from txgear._version import __version__

if TYPE_CHECKING:
    from txgear.client import Client, Task
    from txgear.errors import (
        AccessDenied,
        JobError,
        JobFailed,
        JobLost,
        JobRaised,
        JobTimeout,
        MissingAbility,
        NotConnected,
        ResultUnavailable,
        ServerError,
        TxgearError,
    )
    from txgear.net.monotonic import use_monotonic_clock
    from txgear.protocol.constants import HIGH, LOW, NORMAL
    from txgear.security.clienttls import ClientTLS
    from txgear.worker import Fail, Worker

_HOMES: Final = {
    "Client": "client",
    "ClientTLS": "security.clienttls",
    "Task": "client",
    "Fail": "worker",
    "Worker": "worker",
    "use_monotonic_clock": "net.monotonic",
    "HIGH": "protocol.constants",
    "NORMAL": "protocol.constants",
    "LOW": "protocol.constants",
    "AccessDenied": "errors",
    "JobError": "errors",
    "JobFailed": "errors",
    "JobLost": "errors",
    "JobRaised": "errors",
    "JobTimeout": "errors",
    "MissingAbility": "errors",
    "NotConnected": "errors",
    "ResultUnavailable": "errors",
    "ServerError": "errors",
    "TxgearError": "errors",
}

__all__ = [
    "HIGH",
    "LOW",
    "NORMAL",
    "AccessDenied",
    "Client",
    "ClientTLS",
    "Fail",
    "JobError",
    "JobFailed",
    "JobLost",
    "JobRaised",
    "JobTimeout",
    "MissingAbility",
    "NotConnected",
    "ResultUnavailable",
    "ServerError",
    "Task",
    "TxgearError",
    "Worker",
    "__version__",
    "use_monotonic_clock",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"txgear.{home}"), name)
