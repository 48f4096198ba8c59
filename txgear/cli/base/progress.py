"""
Bars at the bottom of a terminal that say how far things are, drawn by rich.

That takes as long to import as all else that a command does: it is, when there is something to show.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import Task, TaskID

EACH: Final = 0.2
"""Seconds from one drawing to the next: over a slow line, too, it is in nobody's way."""


class Bar(NamedTuple):
    """
    One line.

    @ivar text: what is meant, in one line, without control characters.
    @ivar done: how much is done of
    @ivar whole: all; with C{None}, where nobody knows, the line has no bar.
    @ivar failed: what has gone wrong; empty for nothing.
    """

    text: str
    done: float = 0
    whole: float | None = None
    failed: str = ""


class Progress:
    """
    Bars, which are gone at the end of the context. Where the stream is no terminal nothing is shown.

    Lines that are printed meanwhile stand above them. Who writes bytes has them L{hide} before.

    @ivar wanted: whether the stream is a terminal.
    """

    def __init__(self, out: TextIO | None = None, *, ticking: bool = True) -> None:
        """
        @param out: the stream; standard error by default.
        @param ticking: whether they are drawn by a thread, each L{EACH} seconds; otherwise when L{show} is
            called.
        """
        self._out = sys.stderr if out is None else out
        self.wanted = self._out.isatty()
        self._ticking = ticking
        self._console: Console | None = None
        self._bars: RichProgress | None = None
        self._ids: list[TaskID] = []

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.hide()

    def show(self, *bars: Bar) -> None:
        """
        Say how far things are.

        @param bars: one for each, always as many, in the same order.
        """
        if not self.wanted:
            return
        if self._bars is None:
            self._bars = self._made()
            self._ids = [self._bars.add_task("", total=None, failed="", known=False) for _ in bars]
        for number, bar in zip(self._ids, bars, strict=True):
            # A total that is None would leave that of before.
            known = bar.whole is not None
            self._bars.update(
                number,
                description=bar.text,
                completed=bar.done,
                total=bar.whole,
                failed=bar.failed,
                known=known,
            )
        if not self._bars.live.is_started:
            self._bars.start()
        elif not self._ticking:
            self._bars.refresh()

    def hide(self) -> None:
        """Clear the lines; they are drawn again when they are shown again."""
        if self._bars is not None:
            self._bars.stop()

    def say(self, text: str, style: str = "") -> None:
        """
        Write text above them.

        @param text: without control characters but ends of lines.
        @param style: of rich.
        """
        from rich.text import Text

        self._terminal().print(Text(text, style))

    def _terminal(self) -> Console:
        from rich.console import Console

        if self._console is None:
            self._console = Console(file=self._out, highlight=False)
        return self._console

    def _made(self) -> RichProgress:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress
        from rich.text import Text

        nothing = Text()

        class Part(BarColumn):
            def render(self, task: Task) -> object:  # type: ignore[override]
                return super().render(task) if task.fields["known"] else nothing

        class Count(MofNCompleteColumn):
            def render(self, task: Task) -> Text:
                return super().render(task) if task.fields["known"] else nothing

        class Remaining(TimeRemainingColumn):
            def render(self, task: Task) -> Text:
                return super().render(task) if task.fields["known"] else nothing

        return RichProgress(
            TextColumn("{task.description}", markup=False),
            Part(),
            Count(),
            TextColumn("{task.fields[failed]}", style="red", markup=False),
            Remaining(),
            console=self._terminal(),
            auto_refresh=self._ticking,
            refresh_per_second=1 / EACH,
            transient=True,
            # What goes to a file is not for the terminal.
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=sys.stderr.isatty(),
        )
