#!/usr/bin/env python3
"""
CPython: termios.tcsetattr() raises EINTR where a signal handler ran; since PEP 475 nearly nothing else does.

Seen with: CPython 3.11.7 on Linux 6.18 (x86-64). Nothing is installed: it is the standard library alone.

Expected: PEP 475 has calls that a signal has interrupted done over again, unless the handler raises. So a
  program with a handler for SIGCONT that is in the background, wants to set its terminal there, is stopped
  for that (SIGTTOU), and is brought to the front by its shell, has set the terminal when the call returns.
Happens: the call raises termios.error with EINTR, and the terminal is as it was. That error is no OSError, so
  "except InterruptedError" does not see it either. Whoever wants this has to call again.

Output:
  stopped by: SIGTTOU
  the call: termios.error, EINTR
  is it an OSError: False
  once more, in the front: done
"""

from __future__ import annotations

import errno
import os
import pty
import signal
import sys
import termios

WANTED = """\
stopped by: SIGTTOU
the call: termios.error, EINTR
is it an OSError: False
once more, in the front: done
"""


def program(out: int, ready: int) -> None:
    """Wants to set its terminal while it is in the background."""
    signal.signal(signal.SIGCONT, lambda number, frame: None)
    os.read(ready, 1)
    attributes = termios.tcgetattr(0)
    try:
        termios.tcsetattr(0, termios.TCSANOW, attributes)
    except termios.error as error:
        os.write(out, f"the call: termios.error, {errno.errorcode[error.args[0]]}\n".encode())
        os.write(out, f"is it an OSError: {isinstance(error, OSError)}\n".encode())
    else:
        os.write(out, b"the call: done\n")
    termios.tcsetattr(0, termios.TCSANOW, attributes)
    os.write(out, b"once more, in the front: done\n")


def shell(out: int) -> None:
    """Has a terminal, starts a program in the background, and brings it to the front."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        program(out, ready)
        os._exit(0)
    os.setpgid(child, child)
    os.write(go, b"x")
    _, status = os.waitpid(child, os.WUNTRACED)
    name = signal.Signals(os.WSTOPSIG(status)).name if os.WIFSTOPPED(status) else "nothing"
    os.write(out, f"stopped by: {name}\n".encode())
    os.tcsetpgrp(0, child)
    os.kill(child, signal.SIGCONT)
    os.waitpid(child, 0)


def main() -> int:
    reader, writer = os.pipe()
    pid, terminal = pty.fork()
    if pid == 0:
        signal.alarm(20)
        os.close(reader)
        shell(writer)
        os._exit(0)
    os.close(writer)
    signal.alarm(30)
    with os.fdopen(reader) as said:
        found = said.read()
    os.waitpid(pid, 0)
    os.close(terminal)
    print(found, end="")
    return 0 if found == WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
