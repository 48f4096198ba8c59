"""
The file of C{gearman -i}.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MODE = 0o744


@contextmanager
def pidfile(path: str) -> Iterator[None]:
    """
    A file with the process's id, for as long as the context lasts. One that is there goes.

    @param path: where; empty for none.
    @raise OSError: it cannot be written.
    """
    if not path:
        yield
        return
    with suppress(FileNotFoundError):
        os.unlink(path)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, MODE)
    try:
        os.write(descriptor, b"%d\n" % os.getpid())
    finally:
        os.close(descriptor)
    try:
        yield
    finally:
        # Somebody may have taken it away.
        with suppress(FileNotFoundError):
            os.unlink(path)
