"""
What C{txgear submit} writes: results as they come, and what became of each job.
"""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, TypeVar

from txgear.cli.base.output import json_text, printable
from txgear.cli.base.progress import Bar
from txgear.cli.run.bar import BarLater
from txgear.cli.run.submittickets import Summary, Ticket
from txgear.protocol.textlines import text

HELD: Final = 64 * 1024
"""Bytes of a line that has not ended that are held back, where lines have a name in front."""
NAMED: Final = 20
"""Handles that are named when jobs are still under way."""

M = TypeVar("M", bound=Callable[..., None])


def _told(method: M) -> M:
    """
    What a view is told, from callbacks as well: an error, such as that of a closed pipe, goes to its
    C{on_error}, as nobody is there who would be told otherwise.
    """

    @wraps(method)
    def called(self: View, *arguments: Any) -> None:
        try:
            method(self, *arguments)
        except Exception as error:
            self.on_error(error)

    return called  # type: ignore[return-value]


class View:
    """
    Writes nothing of jobs yet; L{TextView} and L{JsonView} do.

    @ivar on_error: called with what goes wrong while it writes.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        """
        @param name: of the command, before what is said to people.
        """
        self._reactor = reactor
        self._name = name
        self._out = sys.stdout.buffer
        self._flushing = False
        self._terminal = sys.stdout.isatty()
        self.on_error: Callable[[BaseException], object] = lambda error: None
        self._bar = BarLater(reactor)
        self._ended = 0
        self._not_done = 0
        self._under_way: set[int] = set()

    # What a run tells

    @_told
    def created(self, ticket: Ticket) -> None:
        """A server has taken it."""
        self._under_way.add(ticket.number)
        self._show_bar()
        self._created(ticket)

    @_told
    def data(self, ticket: Ticket, data: bytes) -> None:
        """A part of its result has come."""
        self._data(ticket, data)

    @_told
    def warning(self, ticket: Ticket, data: bytes) -> None:
        """Its worker warns."""
        self._warning(ticket, data)

    @_told
    def progress(self, ticket: Ticket, numerator: int, denominator: int) -> None:
        """It is so far."""
        if len(self._under_way) == 1 and denominator:
            self._bar.show(Bar("progress", numerator, denominator))
        self._progress(ticket, numerator, denominator)

    @_told
    def note(self, ticket: Ticket, said: str) -> None:
        """There is something to say about it."""
        self.say(f"{about(ticket)}{said}")

    @_told
    def done(self, ticket: Ticket, result: bytes) -> None:
        """It is done."""
        self._ended += 1
        self._under_way.discard(ticket.number)
        self._show_bar()
        self._done(ticket, result)

    @_told
    def not_done(self, ticket: Ticket, outcome: str, why: str) -> None:
        """It has ended in another way."""
        self._ended += 1
        self._not_done += 1
        self._under_way.discard(ticket.number)
        self._show_bar()
        self._failed(ticket, outcome, why)

    @_told
    def interrupted(self, tickets: Sequence[Ticket], place: str) -> None:
        """
        It ends before its time.

        @param tickets: those that are still under way.
        @param place: where the last job was read that was taken.
        """
        self._interrupted(tickets, place)

    @_told
    def summary(self, summary: Summary) -> None:
        """All has ended."""
        self._bar.close()
        self._summary(summary)

    @_told
    def finish(self) -> None:
        """Nothing more will come."""
        self._bar.close()
        self._out.flush()

    # What is written

    def _created(self, ticket: Ticket) -> None:
        raise NotImplementedError

    def _data(self, ticket: Ticket, data: bytes) -> None:
        raise NotImplementedError

    def _warning(self, ticket: Ticket, data: bytes) -> None:
        raise NotImplementedError

    def _progress(self, ticket: Ticket, numerator: int, denominator: int) -> None:
        raise NotImplementedError

    def _done(self, ticket: Ticket, result: bytes) -> None:
        raise NotImplementedError

    def _failed(self, ticket: Ticket, outcome: str, why: str) -> None:
        raise NotImplementedError

    def _interrupted(self, tickets: Sequence[Ticket], place: str) -> None:
        raise NotImplementedError

    def _summary(self, summary: Summary) -> None:
        raise NotImplementedError

    def say(self, said: str) -> None:
        """Say something to people, a line."""
        self._bar.hide()
        print(f"{self._name}: {printable(said)}", file=sys.stderr)

    def write(self, data: bytes) -> None:
        """
        Write to the standard output, which gets it in this turn of the reactor. Where nobody reads there, it
        waits, and so do the servers: so memory is bounded.
        """
        if self._terminal:
            self._bar.hide()
        self._out.write(data)
        if not self._flushing:
            self._flushing = True
            self._reactor.callLater(0, self._flush)

    @_told
    def _flush(self) -> None:
        self._flushing = False
        self._out.flush()

    def _show_bar(self) -> None:
        failed = f"{self._not_done} not done" if self._not_done else ""
        self._bar.show(Bar(f"{self._ended} ended, {len(self._under_way)} under way", failed=failed))


def about(ticket: Ticket) -> str:
    """Which job it is, before what is said of it."""
    words = [ticket.wanted.place, text(ticket.handle or b"")]
    return "".join(f"{word}: " for word in words if word)


def handles(tickets: Sequence[Ticket]) -> str:
    """The handles of some jobs, not too many of them."""
    found = [text(ticket.handle) for ticket in tickets[:NAMED] if ticket.handle]
    more = len(tickets) - len(found)
    return ", ".join(found) + (f" and {more} more" if more and found else "")


def totals(summary: Summary) -> str:
    """What became of all jobs, in a line."""
    counts = [
        f"{count} {outcome}"
        for outcome, count in summary.counts.items()
        if count or outcome in ("done", "failed", "lost")
    ]
    if summary.under_way:
        counts.append(f"{summary.under_way} under way")
    return f"{', '.join(counts)} in {summary.seconds:.2f} s, {summary.rate:.1f} jobs/s"


class TextView(View):
    """For people and pipes: results as they are to the standard output, and all else beside it."""

    def __init__(self, reactor: Any, name: str, prefix: bool, verbose: bool, as_handles: bool) -> None:
        """
        @param prefix: whether each line of output has the function's name in front.
        @param verbose: whether handles and progress are told.
        @param as_handles: whether handles are what is wanted, as results go to nobody.
        """
        super().__init__(reactor, name)
        self._prefix = prefix
        self._verbose = verbose
        self._as_handles = as_handles
        self._begun: dict[int, bytes] = {}
        self._last = b"\n"

    def _created(self, ticket: Ticket) -> None:
        assert ticket.handle is not None
        if self._as_handles:
            name = text(ticket.wanted.function) + ": " if self._prefix else ""
            self.write(f"{printable(name + text(ticket.handle))}\n".encode())
        elif self._verbose:
            self.say(f"{about(ticket)}created")

    def _data(self, ticket: Ticket, data: bytes) -> None:
        if self._prefix:
            self._write_lines(ticket, data)
        elif data:
            self.write(for_terminal(data) if self._terminal else data)
            self._last = data[-1:]

    def _write_lines(self, ticket: Ticket, data: bytes) -> None:
        """Write lines that have ended: so those of several jobs do not get into each other."""
        *ended, rest = (self._begun.pop(ticket.number, b"") + data).split(b"\n")
        if len(rest) > HELD:
            ended.append(rest)
            rest = b""
        name = f"{printable(text(ticket.wanted.function))}: ".encode()
        for line in ended:
            self.write(name + (for_terminal(line) if self._terminal else line) + b"\n")
        if rest:
            self._begun[ticket.number] = rest

    def _end_line(self, ticket: Ticket) -> None:
        if self._begun.get(ticket.number):
            self._write_lines(ticket, b"\n")
        elif self._terminal and self._last != b"\n":
            self.write(b"\n")
            self._last = b"\n"

    def _warning(self, ticket: Ticket, data: bytes) -> None:
        for line in data.splitlines():
            self.say(f"{about(ticket)}warning: {line.decode('utf-8', 'backslashreplace')}")

    def _progress(self, ticket: Ticket, numerator: int, denominator: int) -> None:
        if self._verbose and not self._bar.wanted:
            part = f"{100 * numerator // denominator}% complete" if denominator else "no end known"
            self.say(f"{about(ticket)}{part} ({numerator} of {denominator})")

    def _done(self, ticket: Ticket, result: bytes) -> None:
        self._data(ticket, result)
        self._end_line(ticket)

    def _failed(self, ticket: Ticket, outcome: str, why: str) -> None:
        """Say why, if it is known."""
        self._end_line(ticket)
        # Why there is no server is said once, at the end.
        if outcome != "unsent":
            # What the server says may be what its database has said to it, "connection refused" for instance.
            said = "the server refused it" if outcome == "refused" else outcome
            first, *more = why.splitlines() or [""]
            for line in (f"{said}: {first}" if first else said, *more):
                self.say(about(ticket) + line)

    def _interrupted(self, tickets: Sequence[Ticket], place: str) -> None:
        waiting = [ticket for ticket in tickets if ticket.handle]
        if waiting:
            self.say(f"{len(waiting)} still under way: {handles(waiting)}")
        if place:
            self.say(f"the input was taken up to {place}")

    def _summary(self, summary: Summary) -> None:
        if summary.jobs > 1:
            self.say(totals(summary))


class JsonView(View):
    """Each thing that happens is an object in a line of its own, and the last of them is a summary."""

    def _event(self, ticket: Ticket, event: str, **more: Any) -> None:
        said: dict[str, Any] = {
            "event": event,
            "job": ticket.number,
            "function": text(ticket.wanted.function),
            "handle": text(ticket.handle) if ticket.handle else None,
            **more,
        }
        self._write(said)

    def _write(self, said: dict[str, Any]) -> None:
        self.write(json_text(said).encode("utf-8", "replace") + b"\n")

    def _created(self, ticket: Ticket) -> None:
        self._event(ticket, "created")

    def _data(self, ticket: Ticket, data: bytes) -> None:
        self._event(ticket, "data", **payload(data))

    def _warning(self, ticket: Ticket, data: bytes) -> None:
        self._event(ticket, "warning", **payload(data))

    def _progress(self, ticket: Ticket, numerator: int, denominator: int) -> None:
        self._event(ticket, "progress", numerator=numerator, denominator=denominator)

    def _done(self, ticket: Ticket, result: bytes) -> None:
        self._event(ticket, "ended", outcome="done", **payload(result))

    def _failed(self, ticket: Ticket, outcome: str, why: str) -> None:
        place = {"place": ticket.wanted.place} if ticket.wanted.place else {}
        self._event(ticket, "ended", outcome=outcome, why=why, **place)

    def _interrupted(self, tickets: Sequence[Ticket], place: str) -> None:
        for ticket in tickets:
            self._event(ticket, "interrupted", **({"place": ticket.wanted.place} if place else {}))

    def _summary(self, summary: Summary) -> None:
        self._write(
            {
                "event": "summary",
                "jobs": summary.jobs,
                **summary.counts,
                "under_way": summary.under_way,
                "seconds": round(summary.seconds, 3),
                "rate": round(summary.rate, 1),
            }
        )


def payload(data: bytes) -> dict[str, str]:
    """Bytes as they stand in JSON: as text, or in base64 where they are none."""
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": b64encode(data).decode("ascii")}


def for_terminal(data: bytes) -> bytes:
    """Bytes that do nothing to a terminal but to end lines, and to go to the next stop."""
    shown = data.decode("utf-8", "backslashreplace")
    rows = ("\t".join(printable(cell) for cell in row.split("\t")) for row in shown.split("\n"))
    return "\n".join(rows).encode("utf-8")
