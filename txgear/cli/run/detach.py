"""
Goes to the background, and says there whether all is well.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from txgear.cli.base.statuses import DONE

OUTPUTS: Final = (1, 2)
_READY: Final = b"+"


class Detached:
    """
    The process in the background.

    @ivar status: in the process that was called: how the other one began. It is C{None} in the other one.
    """

    def __init__(self) -> None:
        """
        Go on in another process. The first one waits until that is L{ready}, or has ended: then it ends in
        the same way.
        """
        reads, self._writes = os.pipe()
        child = os.fork()
        self.status: int | None = None
        if child:
            os.close(self._writes)
            with open(reads, "rb", buffering=0) as said:
                self.status = DONE if said.read(1) == _READY else _status_of(child)
            return
        os.close(reads)
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.close(null)

    def ready(self) -> None:
        """All is well: the first process ends, and what is written goes on into files only."""
        os.write(self._writes, _READY)
        os.close(self._writes)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in OUTPUTS:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.dup2(null, descriptor)
        os.close(null)


def _status_of(child: int) -> int:
    """The exit status of a process that ends, as a shell has it."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code
