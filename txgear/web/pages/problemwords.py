"""
What a page says of a problem: a heading in plain words, and what one can do about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from txgear.web.answers import Problem


class Words(NamedTuple):
    """
    @ivar title: what has happened.
    @ivar advice: what one can do, in whole sentences.
    """

    title: str
    advice: str


_AGAIN: Final = "Load the page again, and then do it once more."
_LATER: Final = "Try again in a moment."

BY_CODE: Final[Mapping[str, Words]] = {
    "no_access_rules": Words(
        "This server has no access rules",
        "Other machines can reach it, so it serves nobody until it knows who may do what. Whoever runs it"
        " writes rules into the file of --config and has the server read it again; or has --web name an"
        " address of the machine itself, such as 127.0.0.1:4780.",
    ),
    "misdirected_request": Words(
        "This server does not know this name",
        "Ask it by an address of its own, or by localhost on its own machine. If the name is right, whoever"
        " runs the server gives it as --web-host.",
    ),
    "other_origin": Words(
        "This came from another web site",
        "Nothing was done. If you meant it, do it on a page of this server.",
    ),
    "stale_form": Words("This page is out of date", _AGAIN),
    "server_ends": Words(
        "The server is shutting down",
        "If it is being restarted, it is back in a moment: load the page again then.",
    ),
    "draining": Words(
        "The server is about to end",
        "It takes no new jobs. If it is being restarted, it is back in a moment.",
    ),
    "too_many_readers": Words("Too many pages are open", "Close one of them, or try again later."),
    "store_unavailable": Words(
        "The store does not answer", "Background jobs cannot be kept at present. " + _LATER
    ),
    "unsupported_media_type": Words("This is no form of this server", _AGAIN),
}
BY_STATUS: Final[Mapping[int, Words]] = {
    400: Words("The server cannot read this", "Check the address, or go back and correct what you wrote."),
    401: Words(
        "The server does not know you",
        "It knows its users by a token, a certificate or the address they come from. Ask whoever runs it for"
        " one of them.",
    ),
    403: Words(
        "You may not do this",
        "The access rules do not allow it. Whoever runs the server can change them, or say who may.",
    ),
    404: Words(
        "There is nothing here",
        "It may have ended and been forgotten, the address may be wrong, or you may not see it.",
    ),
    405: Words("This address takes no such request", "Open it as a page, or use the form that leads there."),
    413: Words("This is too large", "Send less at once, or use the API or the command line for it."),
    429: Words("Too fast", _LATER),
    500: Words(
        "The server has a defect",
        "Its log has more, by the number of this request. Please report it.",
    ),
    503: Words("The server cannot do this now", _LATER),
}
"""Where the code has none."""
OTHER: Final = Words("This cannot be done", "Go back, and look at what you wrote.")


def words(problem: Problem) -> Words:
    """What is said of a problem beside its own sentence."""
    return BY_CODE.get(problem.code) or BY_STATUS.get(problem.status, OTHER)
