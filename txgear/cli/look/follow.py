"""
Follows one job to its end: C{tail -f} for a job.

On a terminal what its worker says stands as it is, above a bar of its progress. Elsewhere each event is a
line: what it is, a tab, and what it says, escaped.
"""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from txgear.cli.base.api import Api, Event
from txgear.cli.base.output import is_terminal, note, printable, write_json
from txgear.cli.base.statuses import DONE, FAILED, UNREACHABLE, CommandError

if TYPE_CHECKING:
    from rich.progress import TaskID

MOST_SHOWN: Final = 1000
"""Bytes of a result that are shown at the end: who wants all of it has another command for that."""
AGAIN_SECONDS: Final = 1.0
"""Seconds until a server is asked again that has hung up."""


def follow_job(api: Api, handle: str, as_json: bool, sleep: Callable[[float], None] = time.sleep) -> int:
    """
    Tell what becomes of a job, until its end.

    @return: the exit status.
    @raise CommandError: the server does not answer any more, or does not know the job.
    """
    events = _events(api, handle, sleep)
    if as_json:
        return _tell(events, lambda event: _flushed(write_json, {"event": event.name, **_object(event.data)}))
    if not is_terminal():
        return _tell(events, lambda event: _flushed(_write_line, event))
    with _Screen() as screen:
        return _tell(events, screen.show)


def _events(api: Api, handle: str, sleep: Callable[[float], None]) -> Iterator[Event]:
    """
    All of them. A server that hangs up is asked again, as long as it takes one that is started anew; what was
    said meanwhile comes where it is kept.
    """
    # All that the attempt has brought so far is told as well.
    query = {"job": handle, "last_event_id": "0-0"}
    tries = 0
    while True:
        try:
            for event in api.events(query):
                tries = 0
                if event.id:
                    query["last_event_id"] = event.id
                yield event
                if event.name == "ended":
                    return
        except CommandError as error:
            if error.status != UNREACHABLE or tries >= api.timeout / AGAIN_SECONDS:
                raise
        else:
            if tries >= api.timeout / AGAIN_SECONDS:
                raise CommandError(f"{api.place.name}: it has hung up", UNREACHABLE)
        api.close()
        if not tries:
            note(f"{api.place.name} has hung up; it is asked again.")
        tries += 1
        sleep(AGAIN_SECONDS)


def _tell(events: Iterable[Event], show: Callable[[Event], None]) -> int:
    outcome = ""
    for event in events:
        show(event)
        if event.name == "ended":
            outcome = event.data["outcome"]
    return DONE if outcome == "done" else FAILED


def _object(data: Any) -> Mapping[str, Any]:
    return {name: value for name, value in data.items() if name != "links"}


def _flushed(write: Callable[[Any], None], what: Any) -> None:
    write(what)
    sys.stdout.flush()


def bytes_of(data: Mapping[str, Any]) -> bytes:
    """What a worker has said."""
    if "base64" in data:
        return base64.b64decode(data["base64"])
    return str(data.get("text", "")).encode("utf-8")


def words(event: Event) -> str:
    """What an event says, in one line."""
    data = event.data
    if event.name == "job":
        about = [data["state"], data["function"]]
        if data.get("worker"):
            about.append(f"at {data['worker']}")
        if data["attempts"]:
            last = data["history"][-1] if data["history"] else {}
            about.append(f"after {data['attempts']} attempts, the last one: {last.get('reason')}")
            if last.get("text"):
                about.append(f"({last['text']})")
        return " ".join(about)
    if event.name == "progress":
        return f"{data['numerator']}/{data['denominator']}"
    if event.name == "skipped":
        return f"{data['bytes']} bytes"
    if event.name == "ended":
        result = data.get("result")
        return (
            data["outcome"] if not result or not result["size"] else f"{data['outcome']}\t{_result(result)}"
        )
    return shown_bytes(bytes_of(data))


def _result(result: Mapping[str, Any]) -> str:
    data = bytes_of(result)[:MOST_SHOWN]
    text, left = shown_bytes(data), result["size"] - len(data)
    return f"{text} ... {left} bytes more: txgear result" if left else text


def shown_bytes(data: bytes) -> str:
    """Bytes as text, those that are no UTF-8 escaped."""
    return data.decode("utf-8", "backslashreplace")


def lines(text: str) -> str:
    """Text that does nothing to a terminal but to end lines."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _write_line(event: Event) -> None:
    name, _, rest = words(event).partition("\t") if event.name == "ended" else (words(event), "", "")
    sys.stdout.write("\t".join(filter(None, [event.name, printable(name), printable(rest)])) + "\n")


class _Screen:
    """A terminal: what is said, and below it a bar of the progress."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._bar: TaskID | None = None

    def __enter__(self) -> _Screen:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Show what has happened."""
        data = event.data
        if event.name == "progress":
            self._advance(data["numerator"], data["denominator"])
        elif event.name == "data":
            self._say(lines(shown_bytes(bytes_of(data))), "")
        elif event.name == "ended":
            style = "bold green" if data["outcome"] == "done" else "bold red"
            self._say(data["outcome"], style)
            if (result := data.get("result")) and result["size"]:
                self._say(lines(_result(result)), "")
        else:
            style = {"warning": "yellow", "job": "bold"}.get(event.name, "dim")
            said = lines(words(event))
            self._say(said if event.name == "job" else f"{event.name}: {said}", style)
            if event.name == "job" and data.get("denominator"):
                self._advance(data["numerator"], data["denominator"])

    def _advance(self, numerator: int, denominator: int) -> None:
        if self._bar is None:
            self._bar = self._progress.add_task("progress", total=denominator)
        self._progress.update(self._bar, completed=numerator, total=denominator)

    def _say(self, text: str, style: str) -> None:
        from rich.text import Text

        self._console.print(Text(text.removesuffix("\n"), style))
