"""
A bar at the bottom of a terminal while a reactor runs.
"""

from __future__ import annotations

from typing import Any, Protocol, TextIO

from txgear.cli.base.progress import EACH, Bar, Progress


class Later(Protocol):
    """What calls something later: a reactor."""

    def callLater(self, delay: float, callable: Any, *args: object) -> Any:
        """Call it in so many seconds."""


class BarLater:
    """
    The bar, drawn when there is time. What else is written to the terminal has it L{hide} before; it comes
    back by itself. Where standard error is no terminal nothing is shown.

    @ivar wanted: whether it is one.
    """

    def __init__(self, reactor: Later, out: TextIO | None = None) -> None:
        """
        @param out: the stream; standard error by default.
        """
        self._reactor = reactor
        self._progress = Progress(out, ticking=False)
        self.wanted = self._progress.wanted
        self._bar = Bar("")
        self._hidden = True
        self._timer: Any = None

    def show(self, bar: Bar) -> None:
        """Say how far it is."""
        self._bar = bar
        if self.wanted:
            self._draw_soon()

    def hide(self) -> None:
        """Clear it for something else; it is drawn anew a little later."""
        if not self._hidden:
            self._clear()
            self._draw_soon()

    def close(self) -> None:
        """Clear it for good, or until it is shown again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._clear()

    def _clear(self) -> None:
        self._hidden = True
        self._progress.hide()

    def _draw_soon(self) -> None:
        if self._timer is None:
            self._timer = self._reactor.callLater(EACH, self._draw)

    def _draw(self) -> None:
        self._timer = None
        self._hidden = False
        self._progress.show(self._bar)
