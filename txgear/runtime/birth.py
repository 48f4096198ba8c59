"""
What a child process is born with: its line to the supervisor, the page where it writes what it does, and
pipes for its standard output and error.
"""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
from typing import Final

from setproctitle import setproctitle

from txgear.runtime.processes import STDERR, STDOUT
from txgear.runtime.processgroups import MARK

CONTROL: Final = 3
"""The descriptor of its end of the line."""
PAGE: Final = 4
"""The descriptor of its page."""
NO_ENVIRONMENT: Final = "SPT_NOENV"
"""With this variable C{setproctitle} writes over the arguments of a process only, and not its environment."""
INHERITED: Final = (STDOUT, STDERR, CONTROL, PAGE)
"""Its descriptors, in the order in which they are handed to a template."""


def page_file(size: int) -> int:
    """
    A file of zeros that lies in memory, where the system can do that.

    @return: its descriptor.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("txgear-page")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


def show_title(title: str) -> None:
    """
    What lists of processes call this one. Its environment stays as others can see it: by the mark there a
    copy of it is found that has left its group, as daemons do.
    """
    ours = NO_ENVIRONMENT not in os.environ
    os.environ.setdefault(NO_ENVIRONMENT, "1")
    setproctitle(title)
    if ours:
        del os.environ[NO_ENVIRONMENT]


class Birth:
    """
    The descriptors of a child that is about to be started, its and ours.

    @ivar name: what the child is called.
    @ivar mark: the value of L{MARK} in the environment of the child, and of all that it starts.
    @ivar control: our end of the line.
    @ivar page: the page's file, which is ours as well.
    @ivar stdout: our end of its standard output.
    @ivar stderr: our end of its standard error.
    @ivar theirs: the child's descriptors, by the numbers that they have there.
    """

    def __init__(self, page_size: int, name: str) -> None:
        """
        @param name: what the child is called.
        @raise OSError: there are no descriptors left.
        """
        self.name = name
        self.mark = secrets.token_hex(8)
        opened: list[int] = []
        try:
            ours, its_control = socket.socketpair()
            opened += [ours.detach(), its_control.detach()]
            self.page = page_file(page_size)
            opened.append(self.page)
            self.stdout, its_stdout = os.pipe()
            opened += [self.stdout, its_stdout]
            self.stderr, its_stderr = os.pipe()
            opened += [self.stderr, its_stderr]
            its_page = os.dup(self.page)
        except OSError:
            for descriptor in opened:
                os.close(descriptor)
            raise
        self.control = socket.socket(fileno=opened[0])
        self.theirs = {STDOUT: its_stdout, STDERR: its_stderr, CONTROL: opened[1], PAGE: its_page}

    @property
    def environment(self) -> dict[str, str]:
        """What is added to the environment of the child."""
        return {MARK: self.mark}

    def handed_over(self) -> None:
        """The child has its descriptors, or never will: close them here."""
        for descriptor in self.theirs.values():
            os.close(descriptor)
        self.theirs = {}

    def undone(self) -> None:
        """There will be no child: close what is ours."""
        self.control.close()
        for descriptor in (self.page, self.stdout, self.stderr):
            os.close(descriptor)
