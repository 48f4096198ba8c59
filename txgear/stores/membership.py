"""
Who a server is among those that have the same store.
"""

from __future__ import annotations

from typing import NamedTuple


class Membership(NamedTuple):
    """
    What a server is among others that have the same store.

    @ivar name: what it is called, for people; C{None} for where it runs.
    @ivar address: where clients and workers reach it; empty where that is not said.
    @ivar lease: seconds after which others take over what it has, if it does not answer.
    """

    name: str | None
    address: str
    lease: float
