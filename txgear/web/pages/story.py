"""
What has happened to a job, one thing after the other, in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from txgear.broker.words import number, span
from txgear.web.pages.policywords import ENDINGS

_ENDS: Final = {
    "done": ("ok", "Done"),
    "failed": ("critical", "Failed"),
    "dead": ("critical", "Dead: it has failed, and no attempt is left"),
    "cancelled": ("warning", "Cancelled"),
    "expired": ("warning", "Expired: no worker had it in time"),
}


class Step(NamedTuple):
    """
    Something that has happened, or is going on.

    @ivar mood: C{ok}, C{info}, C{warning}, C{critical} or nothing, for how it looks.
    @ivar title: what it is.
    @ivar when: since when, in ISO 8601; C{None} where that is not known.
    @ivar until: until when that went on.
    @ivar seconds: how long.
    @ivar worker: who had the job; C{None} for nobody, or where one may not know.
    @ivar text: what the worker has said.
    @ivar notes: sentences beside it.
    """

    mood: str
    title: str
    when: str | None = None
    until: str | None = None
    seconds: float | None = None
    worker: str | None = None
    text: str | None = None
    notes: tuple[str, ...] = ()


def past(found: Mapping[str, Any], lengths: Sequence[float]) -> list[Step]:
    """
    What is over.

    @param found: what L{txgear.broker.operators.inspection.job} tells of the job.
    @param lengths: the seconds that each attempt of its C{history} took.
    """
    how = "for the background" if found["background"] else "by a client that waits for it"
    steps = [Step("", f"Submitted {how}", found["created"])]
    if found["stored"]:
        steps[0] = steps[0]._replace(notes=("It is on the disk.",))
    attempts = found["history"]
    earlier = max(found["attempts"] - len(attempts), 0)
    if earlier:
        steps.append(Step("", f"{number(earlier, 'earlier attempt')} of which nothing else is known"))
    for index, (attempt, seconds) in enumerate(zip(attempts, lengths, strict=True), earlier + 1):
        steps.append(
            Step(
                "warning",
                f"Attempt {index}: {ENDINGS.get(attempt['reason'], attempt['reason'])}",
                attempt["began"],
                attempt["ended"],
                seconds,
                attempt["worker"],
                attempt["text"] or None,
            )
        )
    return steps


def end(found: Mapping[str, Any], is_kept: bool) -> Step | None:
    """
    How it has ended; C{None} where it has not.

    @param is_kept: whether anything is known of it from now on.
    """
    if found["state"] not in _ENDS:
        return None
    mood, title = _ENDS[found["state"]]
    notes = () if is_kept else ("Nothing is kept of it: this page is the last that knows of it.",)
    return Step(mood, title, found["ended"], notes=notes)


def bounds(found: Mapping[str, Any]) -> tuple[str, ...]:
    """What holds for the attempt that is under way, beside the time at which it has taken too long."""
    if found["lease"]:
        return (f"Its worker may be silent for {span(found['lease'])}.",)
    return ()
