"""
The standard descriptors of a process, which may have been closed before it began.
"""

from __future__ import annotations

import os
import sys
from typing import Final

STANDARD: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
"""Python's names of the first three descriptors, and for what they are open."""


def open_standard_descriptors() -> None:
    """
    Open /dev/null as those of the standard descriptors that are closed. Otherwise the next files that are
    opened have their numbers, the reactor's own among them, and a process that becomes a daemon puts
    /dev/null in their place.
    """
    for number, (name, mode) in enumerate(STANDARD):
        try:
            os.fstat(number)
        except OSError:
            # The lowest that is free, and so this one.
            opened = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(opened, True)
            stream = open(opened, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
