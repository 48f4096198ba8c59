"""
Other servers of a cluster, without any: what is asked of them is noted, and answered by the test.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from txgear.broker.model import Peer
from txgear.server.elsewhere import Other


class FakeElsewhere:
    """
    Part of L{txgear.server.elsewhere.Elsewhere}: there is one other server, and no job of it is known.

    @ivar asked: what it was asked, and what fires with its answer.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, Sequence[bytes], Deferred[list[bytes]]]] = []

    def may_have(self, word: bytes) -> bool:
        return False

    def others(self) -> list[Other]:
        return [Other("b", 2, b"b", True)]

    def ask(self, other: Other, peer: Peer, kind: str, parts: Sequence[bytes]) -> Deferred[list[bytes]]:
        answer: Deferred[list[bytes]] = Deferred()
        self.asked.append((kind, parts, answer))
        return answer
