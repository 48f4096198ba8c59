"""
What workers say of themselves, for operators to see: nothing that they are given depends on it.

A worker of this server's own protocol says once who it is (WORKER_HELLO), and how it is whenever that changes
(WORKER_STATE). One of the classic protocol says neither.
"""

from __future__ import annotations

from typing import NamedTuple


class Told(NamedTuple):
    """
    What a worker tells of one of its functions, of all that it has done since it started, at all its servers.

    @ivar name: the function's name.
    @ivar in_use: whether it does the function now.
    @ivar done: jobs that have brought a result.
    @ivar failed: jobs that have brought none.
    @ivar active: jobs that are under way.
    """

    name: bytes
    in_use: bool
    done: int
    failed: int
    active: int


class State(NamedTuple):
    """
    How a worker is, as it says itself.

    @ivar words: what it can be told, such as C{pause}.
    @ivar paused: whether it takes no job for now.
    @ivar functions: those that it knows, in use or not; as many as it could tell.
    @ivar concurrency: how many jobs it does at once; C{None} where it does not say.
    @ivar memory: bytes that it takes; C{None} likewise.
    """

    words: tuple[str, ...] = ()
    paused: bool = False
    functions: tuple[Told, ...] = ()
    concurrency: int | None = None
    memory: int | None = None


NO_STATE = State()
"""Of a worker that has not said how it is."""


class About:
    """
    All that one worker has said of itself. What it has not said is empty, or C{None}.

    @ivar id: what it is called.
    @ivar host: the machine that it runs on, as it calls it itself.
    @ivar pid: its process there.
    @ivar version: what it is made of.
    @ivar group: the group of its runtime.
    @ivar started: when it started, by the wall clock.
    @ivar state: how it is.
    """

    __slots__ = ("group", "host", "id", "pid", "started", "state", "version")

    def __init__(self) -> None:
        self.id = self.host = self.version = self.group = ""
        self.pid: int | None = None
        self.started = 0.0
        self.state = NO_STATE
