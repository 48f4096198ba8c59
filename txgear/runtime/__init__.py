"""
Processes of workers: started, watched, renewed and ended by one supervisor, which does no job itself.

Functions of modules are marked by L{function}.
"""

from __future__ import annotations

from txgear.runtime.functions import function
from txgear.runtime.timelimits import TimeLimit

__all__ = ["TimeLimit", "function"]
