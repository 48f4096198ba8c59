"""
On whose account jobs are.
"""

from __future__ import annotations


class Tenant:
    """
    One identity's account.

    @ivar name: the identity's name.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name
