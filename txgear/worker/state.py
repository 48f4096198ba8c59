"""
What a worker tells its servers of how it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from txgear.net.arguments import json_bytes
from txgear.protocol.constants import MAX_OPTIONS, WORKER_STATE
from txgear.protocol.packets import request
from txgear.protocol.textlines import text

STATE_SECONDS: Final = 10.0
"""Seconds between two states of which nothing but counts and memory are new, at the least."""
MEMORY_PART: Final = 0.1
"""By which part memory must have changed, where nothing else has, to be told again."""

_STATM: Final = Path("/proc/self/statm")


class FunctionState(NamedTuple):
    """
    How it is with one function.

    @ivar name: its name at the servers.
    @ivar in_use: whether the worker takes jobs of it.
    @ivar done: how many of its jobs have ended with a result.
    @ivar failed: how many have failed. Those that were given up or withdrawn count neither here nor there.
    @ivar active: how many run now.
    """

    name: bytes
    in_use: bool
    done: int
    failed: int
    active: int


class State(NamedTuple):
    """
    How a worker is.

    @ivar words: what it can be told.
    @ivar paused: whether it takes no jobs.
    @ivar concurrency: how many jobs it does at once.
    @ivar functions: those that it knows.
    @ivar memory: bytes that it takes; C{None} where it cannot tell.
    """

    words: tuple[str, ...]
    paused: bool
    concurrency: int
    functions: tuple[FunctionState, ...]
    memory: int | None

    def packet(self) -> bytes:
        """The packet that tells it: with as many functions as fit, those in use first."""
        state: dict[str, Any] = {
            "words": self.words,
            "paused": self.paused,
            "concurrency": self.concurrency,
        }
        if self.memory is not None:
            state["memory"] = self.memory
        shown: list[dict[str, Any]] = []
        state["functions"] = shown
        room = MAX_OPTIONS - len(json_bytes(state))
        for each in sorted(self.functions, key=lambda each: not each.in_use):
            found = {**each._asdict(), "name": text(each.name)}
            room -= len(json_bytes(found)) + 1
            if room < 0:
                break
            shown.append(found)
        return request(WORKER_STATE, json_bytes(state))

    def is_news(self, told: State) -> bool:
        """
        Whether somebody who has been told another one would see something new.

        @param told: the other one.
        """
        if self[:-1] != told[:-1] or self.memory is None or told.memory is None:
            return self != told
        return abs(self.memory - told.memory) > MEMORY_PART * told.memory


def memory_taken(statm: Path = _STATM) -> int | None:
    """
    @param statm: the file in which the system tells how many pages the process has.
    @return: bytes of memory that this process has in use; C{None} where the system does not tell.
    """
    try:
        return int(statm.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return None
