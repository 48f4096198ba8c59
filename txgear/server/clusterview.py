"""
What a server shows of the cluster that it is in.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class PartShown(NamedTuple):
    """
    A part of the store.

    @ivar part: its number.
    @ivar name: what its server is called; empty where nobody has it.
    @ivar address: where that is reached; empty where it was not said.
    @ivar term: how often it was taken.
    @ivar beat: how often it has moved since.
    @ivar seconds: for how long it has been seen standing still; 0.0 where that is not known.
    @ivar is_ours: whether it is this server's.
    """

    part: int
    name: str
    address: str
    term: int
    beat: int
    seconds: float
    is_ours: bool


class Cluster(Protocol):
    """A server's membership, for what shows it."""

    def parts(self) -> list[PartShown]:
        """All parts, as they were seen last, in their order."""
