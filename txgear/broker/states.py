"""
The states of a job, and the table of its legal moves.
"""

from __future__ import annotations

from typing import Final

NEW: Final = 0
"""Made, and in no place yet."""
STORING: Final = 1
"""On its way to the disk: not to be handed out before it is there."""
DELAYED: Final = 2
"""Not to be handed out before its time, or (while the server drains) not at all; shown as C{waiting}."""
QUEUED: Final = 3
"""In a lane of its function, for the first worker that grabs it."""
PAGED: Final = 4
"""In the overflow of its lane: it comes into the lane when its workload has been read."""
RUNNING: Final = 5
"""At a worker."""
DONE: Final = 6
"""Its worker has completed it."""
FAILED: Final = 7
"""It ended without a result, and nothing is kept of it but that."""
DEAD: Final = 8
"""It ended without a result and has no attempt left; an operator may queue it again."""
CANCELLED: Final = 9
"""An operator did not want it any more, or nobody was left who did."""
EXPIRED: Final = 10
"""No worker had it in time."""

STATE_NAMES: Final = (
    "new",
    "storing",
    "waiting",
    "queued",
    "paged",
    "running",
    "done",
    "failed",
    "dead",
    "cancelled",
    "expired",
)
"""What the states are called in answers and packets."""

MOVES: Final[dict[int, tuple[int, ...]]] = {
    NEW: (STORING, DELAYED, QUEUED, PAGED),
    STORING: (DELAYED, QUEUED, PAGED, FAILED, CANCELLED),
    DELAYED: (DELAYED, QUEUED, PAGED, CANCELLED, EXPIRED),
    QUEUED: (DELAYED, PAGED, RUNNING, CANCELLED, EXPIRED),
    PAGED: (DELAYED, QUEUED, RUNNING, FAILED, CANCELLED, EXPIRED),
    RUNNING: (DELAYED, QUEUED, PAGED, DONE, FAILED, DEAD, CANCELLED),
    DONE: (),
    FAILED: (),
    DEAD: (DELAYED, QUEUED, PAGED),
    CANCELLED: (),
    EXPIRED: (),
}
"""For each state the states that may follow it. What is not here is a defect in the broker."""


def _entering(target: int) -> dict[int, int]:
    return {state: target for state, following in MOVES.items() if target in following}


# One table for each state that is entered: C{job.state = TO_QUEUED[job.state]}
# is the move and its check in one look-up, a KeyError an illegal move.
TO_STORING: Final = _entering(STORING)
TO_DELAYED: Final = _entering(DELAYED)
TO_QUEUED: Final = _entering(QUEUED)
TO_PAGED: Final = _entering(PAGED)
TO_RUNNING: Final = {QUEUED: RUNNING}
"""A worker is handed what is in memory."""
TO_CLAIMED: Final = _entering(RUNNING)
"""It may have the rest already."""
TO_ENDED: Final = {state: _entering(state) for state in (DONE, FAILED, DEAD, CANCELLED, EXPIRED)}
"""The tables of the states that end a job, by state."""
