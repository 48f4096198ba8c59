"""
Where C{txgear submit} has its workloads from.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import FileIO

from txgear.cli.base.output import note
from txgear.cli.base.statuses import MISUSED, CommandError
from txgear.cli.run.submitjobs import Read, Wanted, from_json_lines, from_workloads, lines, whole

STDIN = "-"
"""The name of the standard input, where a file is named."""


@dataclass(frozen=True)
class Sources:
    """
    Where workloads come from: the command line says one of these at the most, and else it is the standard
    input.

    @ivar words: the workloads themselves.
    @ivar files: files with a workload each, or with one in each line.
    @ivar jobs: a file with lines of JSON.
    @ivar empty: whether there is one workload, which is empty, where no other is given.
    @ivar each_line: whether each line is a workload.
    @ivar stripped: whether the end of the line is no part of it.
    @ivar as_json: whether each has to be JSON.
    """

    words: Sequence[bytes] = ()
    files: Sequence[str] = ()
    jobs: str | None = None
    empty: bool = False
    each_line: bool = False
    stripped: bool = False
    as_json: bool = False

    def check(self) -> None:
        """
        @raise CommandError: the command line says two things at a time.
        """
        given = {"workloads": self.words, "--file": self.files, "--jobs": self.jobs is not None}
        named = [name for name, value in given.items() if value]
        if self.empty and named != ["workloads"]:
            named.append("-s")
        if len(named) > 1:
            raise CommandError(f"{' and '.join(named)}: jobs come from one of them", MISUSED)
        if self.each_line and (self.words or self.empty or self.jobs is not None):
            raise CommandError("-n and -N are for the standard input and for --file", MISUSED)
        if self.as_json and self.jobs is not None:
            raise CommandError('--json-workload: in a file of --jobs this is "json": VALUE', MISUSED)

    def jobs_of(self, functions: Sequence[bytes], usual: Wanted) -> Iterator[Wanted]:
        """
        All jobs, read as they are wanted; those whose workloads are words are looked at before.

        @param functions: each gets each workload; at most one, where lines of JSON are read.
        @raise CommandError: a file cannot be opened, or a job of words cannot be sent.
        """
        if self.jobs is not None:
            usual = replace(usual, function=functions[0]) if functions else usual
            return from_json_lines(lines(opened(self.jobs), self.jobs), usual)
        if self.words or self.empty:
            unit = "workload" if len(self.words) > 1 else ""
            return iter([*from_workloads(self.words or [b""], functions, usual, self.as_json, unit)])
        readers = [(name, opened(name)) for name in self.files or [STDIN]]
        unit = "line" if self.each_line else "file" if len(readers) > 1 else ""
        return from_workloads(self._read(readers), functions, usual, self.as_json, unit)

    def _read(self, readers: Sequence[tuple[str, Read]]) -> Iterator[bytes]:
        for name, read in readers:
            if not self.each_line:
                yield whole(read, name)
            elif self.stripped:
                yield from (line.removesuffix(b"\n") for line in lines(read, name))
            else:
                yield from lines(read, name)


def opened(name: str) -> Read:
    """
    What reads a file.

    @raise CommandError: it cannot be read; what is returned raises it as well.
    """
    try:
        if name != STDIN:
            file = FileIO(name)
        else:
            if sys.stdin.isatty():
                note("Reading from the terminal; Ctrl-D at the beginning of a line ends it.")
            file = FileIO(sys.stdin.fileno(), closefd=False)
    except OSError as error:
        raise _unreadable(name, error) from error

    def read(size: int) -> bytes:
        try:
            return file.read(size) or b""
        except OSError as error:
            raise _unreadable(name, error) from error

    return read


def _unreadable(name: str, error: OSError) -> CommandError:
    return CommandError(f"cannot read {name}: {error.strerror}", MISUSED)
