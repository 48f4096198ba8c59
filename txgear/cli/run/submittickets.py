"""
What is known of jobs that are under way, and of all that were.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from txgear.cli.base.statuses import FAILED, MISUSED, CommandError
from txgear.cli.run.submitjobs import Wanted, to_json_line

OUTCOMES: Final = ("done", "failed", "refused", "lost", "overdue", "unsent")
"""
What can become of a job: C{lost} where nobody can tell, as the connection went down; C{overdue} where it was
not waited for any longer; C{unsent} where no server took it, as there was none.
"""


class Ticket:
    """
    A job that is under way.

    @ivar number: which it is, from 1.
    @ivar handle: the server's; C{None} before it has taken the job.
    @ivar kept: whether the server goes on with it, whoever goes away.
    """

    __slots__ = ("handle", "kept", "number", "wanted")

    def __init__(self, number: int, wanted: Wanted) -> None:
        self.number = number
        self.wanted = wanted
        self.handle: bytes | None = None
        self.kept = False


class Summary(NamedTuple):
    """
    What became of all jobs.

    @ivar counts: how many there are of each of L{OUTCOMES}.
    @ivar under_way: how many had not ended when it was interrupted.
    @ivar seconds: from the beginning to the end.
    """

    counts: Mapping[str, int]
    under_way: int
    seconds: float

    @property
    def jobs(self) -> int:
        """How many there were."""
        return sum(self.counts.values()) + self.under_way

    @property
    def rate(self) -> float:
        """Jobs a second that have ended."""
        return sum(self.counts.values()) / self.seconds if self.seconds else 0.0


class FailedJobs:
    """The file of jobs that are not done: lines that can be read again, each written when it is known."""

    def __init__(self, path: str, read: str | None) -> None:
        """
        @param path: lines are put at its end.
        @param read: the file that jobs are read from.
        @raise CommandError: it cannot be written, or it is the same.
        """
        self._path = path
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            if read is not None and os.path.samefile(path, read):
                raise CommandError("--failed: jobs are read from that file; it needs another", MISUSED)
        except OSError as error:
            raise CommandError(f"--failed: cannot write {path}: {error.strerror}", MISUSED) from error

    def add(self, ticket: Ticket, outcome: str, why: str) -> None:
        """
        Write one.

        @raise CommandError: it cannot be written.
        """
        line = to_json_line(ticket.wanted, outcome, why, ticket.handle)
        try:
            while line:
                line = line[os.write(self._file, line) :]
        except OSError as error:
            raise CommandError(f"--failed: cannot write {self._path}: {error.strerror}", FAILED) from error
