"""
Limits failed guesses of tokens, by the address that they come from.

A token cannot be guessed: what is limited is what guessing costs the server and its log. So a right token is
taken at any time, also from an address that has failed ten thousand times: others may stand behind the same
one. A wrong one ends its connection; beyond the limit without an answer.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final

from txgear.security.addresses import parsed

AT_ONCE: Final = 10
"""Failed guesses of one address that are answered in a row."""
SECONDS: Final = 6.0
"""Seconds until one more is answered."""
MOST_ADDRESSES: Final = 10_000
"""Addresses that are remembered; of more, those that have failed least lately are forgotten."""

_NETWORK_BITS: Final = 64


@lru_cache(1000)
def network_of(address: str) -> str:
    """
    What counts as one place where peers come from.

    @param address: an address as lists show it, or any other text, which stands for itself.
    @return: an IPv4 address itself; of an IPv6 address its network of 64 bits, within which a machine can
        take any address.
    """
    if ":" not in address:
        return address
    found = parsed(address)
    if not isinstance(found, IPv6Address):
        return address if found is None else str(found)
    prefix = int(found) >> _NETWORK_BITS << _NETWORK_BITS
    zone = f"%{found.scope_id}" if found.scope_id else ""
    return f"{IPv6Address(prefix)}{zone}/{_NETWORK_BITS}"


class Guesses:
    """
    Counts failed guesses. Times are seconds of one clock that never goes back.
    """

    def __init__(self) -> None:
        # When each address will be as if it had never failed; who failed last comes last.
        self._free_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._free_at)

    def failed(self, address: str, now: float) -> bool:
        """
        A guess has failed.

        @param address: where it came from, as lists show it.
        @return: whether to answer before the connection is closed. Otherwise it is closed at once, and the
            guess counts for nothing.
        """
        place = network_of(address)
        free_at = max(self._free_at.pop(place, now), now)
        self._forget(now)
        answered = free_at - now <= (AT_ONCE - 1) * SECONDS
        self._free_at[place] = free_at + SECONDS if answered else free_at
        return answered

    def _forget(self, now: float) -> None:
        """Forget those that are as if they had never failed, and one more for want of room."""
        while self._free_at:
            first = next(iter(self._free_at))
            if self._free_at[first] > now and len(self._free_at) < MOST_ADDRESSES:
                return
            del self._free_at[first]
