"""
What other servers do of an act on many jobs (L{txgear.broker.operators.bulkacts}), as they have said last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Failure(NamedTuple):
    """
    A job to which it could not be done.

    @ivar handle: the job's.
    @ivar code: the error's, and
    @ivar text: what it says.
    """

    handle: bytes
    code: str
    text: str


class Figures(NamedTuple):
    """
    How far an act is; see L{txgear.broker.operators.bulkacts.BulkAct}.
    """

    total: int = 0
    looked_at: int = 0
    matched: int = 0
    done: int = 0
    passed: int = 0
    failed: int = 0

    def plus(self, other: Figures) -> Figures:
        """The two together."""
        return Figures(*(mine + others for mine, others in zip(self, other, strict=True)))


class Share:
    """
    What one of them does of it.

    @ivar name: what that server is called.
    @ivar figures: how far it is.
    @ivar counted: whether it has looked at all of its jobs.
    @ivar failures: the first jobs to which it could not be done.
    @ivar ended: when it was heard that it has ended, by the server's time; 0.0 before.
    @ivar problem: why it is not known to be done there; empty where there is nothing to be said.
    """

    __slots__ = ("counted", "ended", "failures", "figures", "name", "problem")

    def __init__(self, name: str) -> None:
        self.name = name
        self.figures = Figures()
        self.counted = False
        self.failures: Sequence[Failure] = ()
        self.ended = 0.0
        self.problem = ""

    def end(self, now: float, problem: str = "") -> None:
        """No more is heard of it."""
        self.ended, self.problem = now, problem
