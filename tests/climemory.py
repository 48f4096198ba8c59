"""How much memory a command takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from processes import Server, run, txgear

MEASURE: Final = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[2:], stdout=open(sys.argv[1], "wb"))
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""
MOST_MEMORY: Final = 40.0
"""MiB that a command may take, of which Python itself takes a half."""


def memory(server: Server, words: list[str], out: Path) -> float:
    """
    Run a command.

    @param out: where its output goes.
    @return: the most memory that it has taken, in MiB; measured by a small program, as a child counts what
        its parent had before it became another program.
    """
    command = [*txgear(), *words, "--server", f"127.0.0.1:{server.port}"]
    done = run([sys.executable, "-c", MEASURE, str(out), *command], timeout=60)
    assert done.returncode == 0, done
    return int(done.stdout) / 1024
