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
from functools import partial
from typing import Any, Final

from txgear.broker.words import number
from txgear.cli.base.api import Api, Event
from txgear.cli.base.output import is_terminal, note, printable, write_json
from txgear.cli.base.progress import Bar, Progress
from txgear.cli.base.statuses import DONE, FAILED, UNREACHABLE, CommandError

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
    with Progress(sys.stdout) as progress:
        return _tell(events, partial(_show, progress))


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
            about.append(f"after {number(data['attempts'], 'attempt')}, the last one: {last.get('reason')}")
            if last.get("text"):
                about.append(f"({last['text']})")
        return " ".join(about)
    if event.name == "progress":
        return f"{data['numerator']}/{data['denominator']}"
    if event.name == "skipped":
        return number(data["bytes"], "byte")
    if event.name == "ended":
        result = data.get("result")
        return (
            data["outcome"] if not result or not result["size"] else f"{data['outcome']}\t{_result(result)}"
        )
    return shown_bytes(bytes_of(data))


def _result(result: Mapping[str, Any]) -> str:
    data = bytes_of(result)[:MOST_SHOWN]
    text, left = shown_bytes(data), result["size"] - len(data)
    return f"{text} ... {number(left, 'byte')} more: txgear result" if left else text


def shown_bytes(data: bytes) -> str:
    """Bytes as text, those that are no UTF-8 escaped."""
    return data.decode("utf-8", "backslashreplace")


def _write_line(event: Event) -> None:
    name, _, rest = words(event).partition("\t") if event.name == "ended" else (words(event), "", "")
    sys.stdout.write("\t".join(filter(None, [event.name, printable(name), printable(rest)])) + "\n")


def _show(progress: Progress, event: Event) -> None:
    """Show on a terminal what has happened."""
    data = event.data
    if event.name == "progress":
        progress.show(_bar(data))
    elif event.name == "data":
        _say(progress, shown_bytes(bytes_of(data)))
    elif event.name == "ended":
        _say(progress, data["outcome"], "bold green" if data["outcome"] == "done" else "bold red")
        if (result := data.get("result")) and result["size"]:
            _say(progress, _result(result))
    else:
        style = {"warning": "yellow", "job": "bold"}.get(event.name, "dim")
        said = words(event)
        _say(progress, said if event.name == "job" else f"{event.name}: {said}", style)
        if event.name == "job" and data.get("denominator"):
            progress.show(_bar(data))


def _bar(data: Mapping[str, Any]) -> Bar:
    return Bar("progress", data["numerator"], data["denominator"])


def _say(progress: Progress, text: str, style: str = "") -> None:
    """Text that does nothing to a terminal but to end lines."""
    said = "\n".join(printable(line) for line in text.split("\n"))
    progress.say(said.removesuffix("\n"), style)
