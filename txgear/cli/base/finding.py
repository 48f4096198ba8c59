"""
Which of several servers has what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from txgear.cli.base.api import Api
from txgear.cli.base.options import Servers
from txgear.cli.base.statuses import DENIED, FAILED, UNREACHABLE, CommandError

T = TypeVar("T")

WHERE: Final = {
    "unknown_job": "it is over and not kept, or another server's: 'txgear jobs', 'dead' and 'kept' list"
    " those that there are",
    "unknown_function": "'txgear status' lists those that there are",
    "unknown_worker": "'txgear workers' lists those that there are",
}
"""By the code of what is not there: where one may look."""


def that_may_have(apis: Sequence[Api], handle: str) -> Sequence[Api]:
    """
    Those of some servers that are to be asked for a job.

    @param handle: as any library writes it: Perl's has the server in front, C{127.0.0.1:4730//H:vm:7}. Where
        that is one of ours, it is the one.
    """
    where, slashes, _ = handle.partition("//")
    if not slashes:
        return apis
    return [api for api in apis if where in (api.place.name, f"{api.place.host}:{api.place.port}")] or apis


class _Asked(Generic[T]):
    """
    What came of it.

    @ivar found: what those answered that know it.
    @ivar failed: what others said that know it, and cannot answer.
    @ivar away: what was said by those that could not be asked.
    """

    def __init__(self, apis: Sequence[Api], what: str, ask: Callable[[Api], T]) -> None:
        self.found: list[tuple[Api, T]] = []
        self.failed: list[tuple[Api, CommandError]] = []
        self.away: list[CommandError] = []
        unknown = ""
        for api in apis:
            try:
                self.found.append((api, ask(api)))
            except CommandError as error:
                if error.code in WHERE:
                    unknown = error.code
                elif error.status in (UNREACHABLE, DENIED) and len(apis) > 1:
                    self.away.append(error)
                else:
                    self.failed.append((api, error))
        if self.found or self.failed:
            return
        if self.away:
            raise CommandError(f"{self.away[0].text}; no other server has a {what}", self.away[0].status)
        names = ", ".join(api.place.name for api in apis)
        raise CommandError(f"there is no {what} at {names}; {WHERE[unknown]}", FAILED, unknown)


def ask_all(apis: Sequence[Api], what: str, ask: Callable[[Api], T]) -> list[tuple[Api, T]]:
    """
    Ask each of several servers for something that need not be at all of them.

    @param what: what it is, such as C{job H:vm:7}.
    @param ask: asks one of them; where it does not know it that is a L{CommandError} of a code that L{WHERE}
        has.
    @return: what those answered that know it, at least one.
    @raise CommandError: none does; it says where one may look. Or what a server has said otherwise.
    """
    asked = _Asked(apis, what, ask)
    if asked.failed:
        raise asked.failed[0][1]
    return asked.found


def ask_one(servers: Servers, handle: str, ask: Callable[[Api], T], what: str = "") -> tuple[Api, T]:
    """As L{the_one}, of the servers of a command."""
    return the_one(servers.apis(), handle, ask, what)


def the_one(apis: Sequence[Api], handle: str, ask: Callable[[Api], T], what: str = "") -> tuple[Api, T]:
    """
    Ask for a job that one of some servers is to have.

    @param what: what it is called where it is not there; by default the job with this handle.
    @return: that, and what it answered.
    @raise CommandError: as with L{ask_all}, or several have one with this handle.
    """
    what = what or f"job {handle}"
    asked = _Asked(that_may_have(apis, handle), what, ask)
    having = [api.place.name for api, _ in (*asked.found, *asked.failed)]
    if len(having) > 1:
        raise CommandError(f"each of {', '.join(having)} has a {what}: name one of them by --server", FAILED)
    if asked.failed:
        raise asked.failed[0][1]
    return asked.found[0]
