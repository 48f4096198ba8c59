"""
What all acts share: they are done one after the other, each tells what came of it, and those that fail keep
none of the others back.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final, NamedTuple

import click

from txgear.broker.words import number
from txgear.cli.base.api import ROOT, Api, as_shown, path_of
from txgear.cli.base.finding import that_may_have, the_one
from txgear.cli.base.options import Servers
from txgear.cli.base.output import Column, printable, write_json, write_rows
from txgear.cli.base.statuses import DONE, FAILED, INTERRUPTED, MISUSED, UNREACHABLE, CommandError

Row = Mapping[str, Any]

STDIN: Final = "-"
"""Stands for handles that come from standard input."""
LONGEST_HANDLE: Final = 1024
"""Bytes of a line of standard input: more than a handle has with a server in front, all of it escaped."""


class Step(NamedTuple):
    """
    One act on one thing.

    @ivar what: the thing, such as C{job H:vm:7}.
    @ivar do: does it, and gives the row that tells of it.
    """

    what: str
    do: Callable[[], Row]


class Fleet:
    """
    The servers of a command, each with one connection.

    @ivar apis: what asks them.
    @ivar several: whether there are several: then each row says of which server it is.
    """

    def __init__(self, servers: Servers, *, naming: bool = False) -> None:
        """
        @param naming: whether rows say of which server they are although there is one.
        """
        self.apis: Sequence[Api] = servers.apis()
        self.several = len(self.apis) > 1
        self._naming = naming or self.several

    def of(self, handle: str) -> Api:
        """
        The server that has a job.

        @raise CommandError: none has it, or several have one with this handle.
        """
        apis = that_may_have(self.apis, handle)
        if len(apis) == 1:
            # Whether it has it, is seen when something is done to it.
            return apis[0]
        return the_one(apis, handle, lambda api: api.get(path_of("jobs", handle)))[0]

    def apart(self) -> Sequence[Api]:
        """
        Those for what is done to many jobs: of a cluster the one that is named first, as each has the others
        do it as well. Which servers are in one is told to whoever may see how they are set up.
        """
        if not self.several:
            return self.apis
        found: list[Api] = []
        known: set[str] = set()
        for api in self.apis:
            try:
                servers = api.get(f"{ROOT}/cluster")["servers"]
            except CommandError:
                # It is in none, or what is wrong is told when it is its turn.
                servers = []
            if not any(each["own"] and each["id"] in known for each in servers):
                found.append(api)
            known.update(each["id"] for each in servers)
        return found

    def row(self, api: Api, row: Row) -> Row:
        """A row that says of which server it is, where there are several."""
        return {"server": api.place.name, **row} if self._naming else row

    def columns(self, *columns: Column) -> list[Column]:
        """Columns for such rows."""
        return [Column("server"), *columns] if self._naming else list(columns)

    def step(self, what: str, api: Api, name: str, do: Callable[[Api, str], Row]) -> Step:
        """
        The step that does something to a thing at one server.

        @param what: what it is, such as C{function}.
        @param name: what it is called.
        """
        return Step(f"{what} {name}", lambda: self.row(api, do(api, name)))

    def each(
        self,
        what: str,
        names: Iterable[str],
        do: Callable[[Api, str], Row],
        apis: Sequence[Api] | None = None,
    ) -> Iterator[Step]:
        """The same for things of these names at every server, or at those that are given."""
        apis = self.apis if apis is None else apis
        return (self.step(what, api, name, do) for name in names for api in apis)

    def jobs(self, names: Iterable[str], do: Callable[[Api, str], Row]) -> Iterator[Step]:
        """The same for jobs with these handles, each at the server that has it."""

        def one(handle: str) -> Row:
            api = self.of(handle)
            return self.row(api, do(api, handle))

        return (Step(f"job {handle}", partial(one, handle)) for handle in names)


def handles(words: Sequence[str], lines: Iterable[bytes]) -> Iterator[str]:
    """
    The handles that are meant.

    @param words: those of the command line; C{-} stands for all of the standard input, one a line.
    @param lines: the standard input.
    @raise CommandError: a line is far too long.
    """
    for word in words:
        if word != STDIN:
            yield as_shown(word)
            continue
        for line in lines:
            if len(line) > LONGEST_HANDLE:
                raise CommandError("standard input: a line is too long for a handle", MISUSED)
            if handle := line.strip().decode("utf-8", "backslashreplace"):
                yield handle


def input_lines() -> Iterator[bytes]:
    """The lines of standard input, none of them much longer than a handle can be."""
    while line := sys.stdin.buffer.readline(LONGEST_HANDLE + 1):
        yield line


class Outcome:
    """What has come of some steps."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        """
        @param complain: called with each line about one that has failed.
        """
        self.done = 0
        self.failed = 0
        self._complain = complain
        self._statuses: set[int] = set()
        self._ended: CommandError | None = None

    def rows(self, steps: Iterable[Step], *, alone: bool) -> Iterator[Row]:
        """
        Do them, and tell what each has brought.

        @param alone: whether there is one server: without it nothing can be done.
        """
        try:
            for step in steps:
                try:
                    row = step.do()
                except CommandError as error:
                    if alone and error.status == UNREACHABLE:
                        raise
                    self._fail(step.what, error)
                else:
                    self.done += 1
                    yield row
        except CommandError as error:
            self._ended = error
        except KeyboardInterrupt:
            self._ended = CommandError("interrupted", INTERRUPTED)

    def _fail(self, what: str, error: CommandError) -> None:
        self.failed += 1
        self._statuses.add(error.status)
        self._complain(error.text if what in error.text else f"{what}: {error.text}")

    def status(self) -> int:
        """
        The exit status.

        @raise CommandError: it has ended before all were done.
        """
        if self._ended is not None:
            error = self._ended
            text = f"{error.text}; {self.done} done before that" if self.done else error.text
            raise CommandError(text, error.status, error.code)
        if not self.failed:
            return DONE
        return self._statuses.pop() if not self.done and len(self._statuses) == 1 else FAILED


def complain(text: str) -> None:
    """Write a line about something that has failed."""
    sys.stdout.flush()
    print(printable(f"{click.get_current_context().command_path}: {text}"), file=sys.stderr)


def carry_out(
    fleet: Fleet,
    steps: Iterable[Step],
    columns: Sequence[Column],
    as_json: bool,
    complain: Callable[[str], None] = complain,
    *,
    chosen: bool = False,
) -> int:
    """
    Do something to several things, and tell of each.

    @param columns: those of the rows.
    @param chosen: whether a pattern or a group has chosen them: it is said where there are none.
    @return: the exit status: that of the failures where nothing else has come of it.
    @raise CommandError: it has ended before all were done.
    """
    outcome = Outcome(complain)
    rows = outcome.rows(steps, alone=not fleet.several)
    try:
        if as_json:
            for row in rows:
                write_json(row)
        elif (first := next(rows, None)) is not None:
            write_rows(chain([first], rows), fleet.columns(*columns))
    except OSError:
        # Nobody reads any more. What was asked for is done all the same.
        deque(rows, maxlen=0)
        raise
    status = outcome.status()
    if chosen and not (outcome.done or outcome.failed):
        # One that is mistyped is no failure, and looks like one that was done.
        complain("nothing was done: none matches")
    return status


def named(names: Sequence[str], what: str) -> str:
    """Some things: C{function mail.send}, C{3 functions}."""
    return f"{what} {names[0]}" if len(names) == 1 else number(len(names), what)
