"""
Processes of workers: started, watched, renewed and ended by one supervisor, which does no job itself.

Functions of modules are marked by L{function}. The public names are imported at the first use: commands need
modules of this package and nothing of Twisted.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from txgear.runtime.functions import function
    from txgear.runtime.timelimits import TimeLimit

_HOMES: Final = {"TimeLimit": "timelimits", "function": "functions"}

__all__ = ["TimeLimit", "function"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
