"""
Peers that go away while nobody reads them.

The reactor tells of the end of a connection that it reads or writes. One that
it does neither with, as more has come than is wanted for now, or as the peer
has ended its own side, has to be looked at.
"""

from __future__ import annotations

import select
from typing import Any, Final

from txgear.server.jobserver import socket_of

HERE: Final = 0
"""The peer may still send."""
ENDED: Final = 1
"""It sends no more, but for what has come already; it may still read."""
GONE: Final = 2
"""There is no connection any more."""

_RDHUP: Final[int] = getattr(select, "POLLRDHUP", 0)
"""Linux has it; elsewhere an end that has data before it is not seen."""


def state_of(transport: Any) -> int:
    """
    Look at a connection without reading of it.

    @return: L{HERE}, L{ENDED} or L{GONE}; L{HERE} where there is no socket to look at.
    """
    sock = socket_of(transport)
    if sock is None or sock.fileno() < 0:
        return HERE
    poll = select.poll()
    poll.register(sock, _RDHUP)
    for _, events in poll.poll(0):
        return ENDED if events == _RDHUP else GONE
    return HERE
