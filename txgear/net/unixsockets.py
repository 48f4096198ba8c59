"""
Unix sockets that a killed server has left behind.

Twisted keeps a lock beside the socket, a symbolic link to the number of the process. A number is used
again, in a container above all, where the server is process 1 each time. Then the lock of a killed
server keeps its successor off for ever. So we connect to the socket to find out whether somebody listens.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
from contextlib import suppress
from typing import Final

from txgear.errors import ConfigurationError

PATIENCE: Final = 1.0
"""Seconds for a connection to a socket of this machine; one that takes longer is somebody's."""

_ENDPOINT: Final = re.compile(r"(?:haproxy:)?unix:(?:address=)?((?:\\.|[^:\\])+)")


def path_of(endpoint: str) -> str | None:
    """The path of an endpoint string for a Unix socket, C{None} for one of another kind."""
    found = _ENDPOINT.match(endpoint)
    return None if found is None else re.sub(r"\\(.)", r"\1", found[1])


def is_served(path: str) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE)
        try:
            sock.connect(path)
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
        return True


def remove_stale(path: str) -> None:
    """
    Remove a socket on which nobody listens, and its lock.

    @raise ConfigurationError: somebody listens there, or there can be no socket.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise ConfigurationError(f"there is no folder {folder}")
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ConfigurationError("it is a file, and no socket")
    try:
        if is_served(path):
            raise ConfigurationError("another server listens there")
        for left in (path, f"{path}.lock"):
            with suppress(FileNotFoundError):
                os.unlink(left)
    except OSError as error:
        raise ConfigurationError(error.strerror or str(error)) from error
