"""
Which of several servers has what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from txgear.cli.base.api import Api
from txgear.cli.base.options import Servers
from txgear.cli.base.statuses import FAILED, CommandError

T = TypeVar("T")

WHERE: Final = {
    "unknown_job": "it is over and not kept, or another server's: 'txgear jobs', 'dead' and 'kept' list"
    " those that there are",
    "unknown_function": "'txgear status' lists those that there are",
    "unknown_worker": "'txgear workers' lists those that there are",
}
"""By the code of what is not there: where one may look."""


def that_may_have(servers: Servers, handle: str) -> list[Api]:
    """
    The servers to ask for a job.

    @param handle: as any library writes it: Perl's has the server in front, C{127.0.0.1:4730//H:vm:7}. Where
        that is one of ours, it is the one.
    """
    apis = servers.apis()
    where, slashes, _ = handle.partition("//")
    if not slashes:
        return apis
    return [api for api in apis if where in (api.place.name, f"{api.place.host}:{api.place.port}")] or apis


def ask_all(apis: Sequence[Api], what: str, ask: Callable[[Api], T]) -> list[tuple[Api, T]]:
    """
    Ask each of several servers for something that need not be at all of them.

    @param what: what it is, such as C{job H:vm:7}.
    @param ask: asks one of them; where it does not know it that is a L{CommandError} of a code that L{WHERE}
        has.
    @return: what those answered that know it, at least one.
    @raise CommandError: none does; it says where one may look. Or what a server has said otherwise.
    """
    found: list[tuple[Api, T]] = []
    unknown, away = "", None
    for api in apis:
        try:
            found.append((api, ask(api)))
        except CommandError as error:
            if error.code in WHERE:
                unknown = error.code
            elif len(apis) == 1:
                raise
            else:
                away = away or error
    if found:
        return found
    if away is not None:
        raise CommandError(f"{away.text}; no other server has a {what}", away.status)
    names = ", ".join(api.place.name for api in apis)
    raise CommandError(f"there is no {what} at {names}; {WHERE[unknown]}", FAILED, unknown)


def ask_one(servers: Servers, handle: str, ask: Callable[[Api], T], what: str = "") -> tuple[Api, T]:
    """
    Ask for a job that one server is to have.

    @param what: what it is called where it is not there; by default the job with this handle.
    @return: that, and what it answered.
    @raise CommandError: as with L{ask_all}, or several have one with this handle.
    """
    what = what or f"job {handle}"
    found = ask_all(that_may_have(servers, handle), what, ask)
    if len(found) > 1:
        names = ", ".join(api.place.name for api, _ in found)
        raise CommandError(f"each of {names} has a {what}: name one of them by --server", FAILED)
    return found[0]
