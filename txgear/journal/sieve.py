"""
Which keys may be those of jobs that are in the store only.
"""

from __future__ import annotations

from txgear.broker.uniques import Key, hash_of


class Sieve:
    """
    The keys of jobs that are not in memory, each by what stands for it.
    """

    def __init__(self) -> None:
        self._hidden: dict[int, int] = {}

    def hide(self, key: Key) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        hashed = hash_of(key)
        self._hidden[hashed] = self._hidden.get(hashed, 0) + 1

    def show(self, key: Key) -> None:
        """Part of L{txgear.broker.ports.Journal}."""
        hashed = hash_of(key)
        left = self._hidden.pop(hashed, 0) - 1
        if left > 0:
            self._hidden[hashed] = left

    def may_hide(self, key: Key) -> bool:
        """Part of L{txgear.broker.ports.Journal}."""
        return bool(self._hidden) and hash_of(key) in self._hidden
