"""
Text commands about reviews: those that set dead jobs aside, and put them back.
"""

from __future__ import annotations

from typing import Final

from txgear.broker.model import Job, Peer, Reply
from txgear.broker.operators import deadlists
from txgear.broker.rights import REVIEW
from txgear.protocol import textlines
from txgear.protocol.textlines import column, listing, row, text
from txgear.server import tasks
from txgear.server.jobserver import JobServer
from txgear.server.operatorcommands import named_job, wanted


def _review(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Reply:
    what = words[1].lower() if len(words) > 3 else b""
    if what == b"job" and len(words) == 4:
        job = named_job(server, peer, REVIEW, words[2])
        if job is None:
            return textlines.UNKNOWN_JOB
        review_job(server, peer, job, _review_name(words[3]))
        return textlines.OK
    if what == b"dead":
        return tasks.for_all(server, peer, REVIEW, what, words[3:], review=_review_name(words[2]))
    raise wanted(words, "job, its handle and a review; or dead, a review, and a filter; - is for no review")


def _review_name(word: bytes) -> str:
    """Empty for none."""
    return "" if word == b"-" else text(word)


def review_job(server: JobServer, peer: Peer, job: Job, name: str) -> None:
    """
    Set a dead job aside, or put it back.

    @param name: in which review; empty for in none.
    @raise ServerError: it is not dead, or there is no room for it; or it is in no review.
    """
    if name:
        server.broker.operations.review(job, name, server.seconds(), peer.who)
    else:
        server.broker.operations.release(job)


def _reviews(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    if len(words) != 1:
        return textlines.incomplete(words[0])
    return listing(
        row(
            column(found["name"], name=True),
            found["jobs"],
            found["bytes"],
            column(found["since"]),
            column(found["by"]),
        )
        for found in deadlists.reviews(server.broker, peer)
    )


SHOWING: Final = {b"reviews": _reviews}
"""Commands that show something."""

CHANGING: Final = {b"review": _review}
"""Commands that change something."""
