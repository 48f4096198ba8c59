"""
Workloads and results on their way to who has asked for them: as bytes, and no faster than they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from txgear.web.answers import Problem
from txgear.web.request import Streamed

MOST_HELD: Final = 256 * 1024 * 1024
"""
Bytes that are held together for those who read them; one alone may have more. Who reads nothing is hung up on
after a minute.
"""
PIECE: Final = 64 * 1024
"""Bytes that are handed on at once."""
RETRY_SECONDS: Final = 1


class Payloads:
    """
    All that is on its way.

    @ivar held: bytes of it.
    """

    def __init__(self) -> None:
        self.held = 0

    def hold(self, size: int) -> Callable[[], None]:
        """
        Make room for one more.

        @param size: its bytes.
        @return: what is to be called, once or more often, when nobody needs it any more.
        @raise Problem: there is no room now.
        """
        if self.held and self.held + size > MOST_HELD:
            raise Problem(
                503,
                "too_much_read",
                "As much as may be is being read by others",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        self.held += size
        left = [size]

        def release() -> None:
            self.held -= left[0]
            left[0] = 0

        return release


class Sending:
    """
    Bytes that are written as they are read.
    """

    def __init__(self, streamed: Streamed, parts: Iterable[bytes], over: Callable[[], None]) -> None:
        """
        @param parts: what is written, one after the other. They are not copied as a whole: several may have
            the same.
        @param over: called when all is written, or nobody reads any more.
        """
        self._streamed = streamed
        self._pieces = _pieces(parts)
        self._over = over
        streamed.on_drain = self.go_on
        streamed.on_gone = over

    def go_on(self) -> None:
        """Write as much as there is room for."""
        while not self._streamed.full:
            piece = next(self._pieces, None)
            if piece is None:
                self._streamed.finish()
                self._over()
                return
            self._streamed.write(piece)


def _pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        for at in range(0, len(part), PIECE):
            yield part[at : at + PIECE]
