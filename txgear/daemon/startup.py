"""
The start of the process: its standard descriptors, options of C{twistd} that make no sense, and the lines for
whoever starts the server.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO

from txgear.daemon.descriptors import STANDARD
from txgear.daemon.users import find_user
from txgear.errors import ConfigurationError, TxgearError


class NotStarted(TxgearError):
    """The server has not started, and whoever started it has been told why."""


def lost_descriptors() -> list[str]:
    """The standard descriptors that were closed, and whose numbers other files have now."""
    null = os.stat(os.devnull).st_rdev
    return [
        name
        for number, (name, _) in enumerate(STANDARD)
        if getattr(sys, f"__{name}__") is None and os.fstat(number).st_rdev != null
    ]


def check_twistd(options: Mapping[str, Any]) -> None:
    """
    Check those of C{twistd}'s own options with which it would end in a traceback.

    @param options: C{twistd}'s, as it has read them.
    @raise ConfigurationError: one makes no sense here.
    """
    if options.get("chroot") is not None:
        if os.geteuid() != 0:
            raise ConfigurationError("--chroot: only root can do that")
        _check_folder("chroot", options["chroot"])
    if options.get("rundir") is not None:
        _check_folder("rundir", options["rundir"])
    uid, gid = options.get("uid"), options.get("gid")
    if uid is not None and gid is None:
        try:
            find_user(str(uid))
        except ConfigurationError as error:
            raise ConfigurationError(f"--uid: {error}") from error
    elif (uid, gid) != (None, None) and os.geteuid() != 0:
        raise ConfigurationError(f"--{'gid' if uid is None else 'uid'}: only root can become somebody else")
    _check_log(options)
    if not options.get("nodaemon", True) and (lost := lost_descriptors()):
        raise ConfigurationError(
            f"{lost[0]} was closed, and --reactor took its number before it could be opened:"
            " start it with < /dev/null, or without that option"
        )


def _check_folder(option: str, path: str) -> None:
    try:
        os.stat(os.path.join(path, "."))
    except OSError as error:
        # The default is the current one, which another user may have left us in.
        folder = os.path.abspath(path)
        raise ConfigurationError(f"--{option}: cannot enter the folder {folder}: {error.strerror}") from error


def _check_log(options: Mapping[str, Any]) -> None:
    path = options.get("logfile")
    if options.get("logger") is not None or options.get("syslog"):
        return
    if not path:
        if options.get("nodaemon", True):
            return
        path = "twistd.log"
    elif path == "-":
        return
    folder = os.path.dirname(os.path.abspath(path))
    # A file of its own kind, such as /dev/null, is only written to; another is moved away, too.
    may = os.access(path, os.W_OK) if os.path.exists(path) else os.access(folder, os.W_OK | os.X_OK)
    if not may or os.path.isdir(path):
        raise ConfigurationError(
            f"--logfile: cannot write {os.path.abspath(path)}: name another file before the word txgear"
        )


class _WithoutRepetition:
    """
    The stream to which C{twistd} writes that a daemon has not started: a hundred bytes of the reason, in
    quotes, and a line that points to the log. These are dropped where the reason was written already.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Part of what a file is."""
        if NotStarted.__name__ not in text:
            self._stream.write(text)


class StandardError:
    """
    The standard error that the process was started with. When a daemon knows whether it runs, its own is
    /dev/null, and C{twistd} would pass on a hundred bytes of the reason.
    """

    def __init__(self, daemon: bool) -> None:
        """
        @param daemon: whether the process becomes a daemon, so that the stream is kept open until L{close}.
        """
        self._descriptor = os.dup(2) if daemon else 2
        if daemon and sys.__stderr__ is not None:
            setattr(sys, "__stderr__", _WithoutRepetition(sys.__stderr__))  # noqa: B010  # mypy has it as Final

    def say(self, line: str) -> None:
        """Write a line, if anybody can still read it."""
        with suppress(OSError):
            os.write(self._descriptor, f"txgear: {line}\n".encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """The daemon has started: whoever reads its standard error waits no longer."""
        if self._descriptor != 2:
            os.close(self._descriptor)
            self._descriptor = 2


def print_mistakes_as_lines() -> None:
    """Have errors before there is a service printed as one line, and those that were printed not again."""
    ordinary = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, ConfigurationError):
            # Not sys.stderr, which is the log by now.
            print(f"txgear: {error}", file=sys.__stderr__)
        elif not isinstance(error, NotStarted):
            ordinary(kind, error, trace)

    sys.excepthook = hook
