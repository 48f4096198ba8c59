"""
The command line of C{gearman}, and its help.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from txgear.cli.imitate.getopt import WRONG, short_options
from txgear.cli.imitate.libgearman import atoi

LETTERS = "bc:f:h:HILnNp:Pst:u:vwi:dS"


@dataclass
class Words:
    """
    What the command line says.

    @ivar functions: C{-f}.
    @ivar host: C{-h}; empty for none.
    @ivar port: C{-p}, as it was written.
    @ivar timeout: milliseconds, of C{-t}; negative for none.
    @ivar count: how many jobs a worker runs, of C{-c}; 0 for no bound.
    @ivar unique: C{-u}, or C{None}.
    @ivar pidfile: C{-i}; empty for none.
    @ivar priority: C{I}, C{L} or empty.
    @ivar by_line: C{-n} or C{-N}.
    @ivar stripped: C{-N}.
    @ivar wrong: whether there was something that is no option.
    @ivar rest: the workloads, or the worker's command.
    @ivar strict: whether what the C tool plainly does wrong is done right.
    """

    functions: list[str] = field(default_factory=list)
    host: str = ""
    port: str = ""
    timeout: int = -1
    count: int = 0
    unique: str | None = None
    pidfile: str = ""
    priority: str = ""
    background: bool = False
    by_line: bool = False
    stripped: bool = False
    prefix: bool = False
    no_input: bool = False
    verbose: bool = False
    worker: bool = False
    daemon: bool = False
    tls: bool = False
    help: bool = False
    wrong: bool = False
    rest: list[str] = field(default_factory=list)
    strict: bool = False

    @property
    def seconds(self) -> float | None:
        """The timeout; C{None} for none."""
        return None if self.timeout < 0 else self.timeout / 1000


_FLAGS = {
    "b": "background",
    "d": "daemon",
    "H": "help",
    "P": "prefix",
    "s": "no_input",
    "S": "tls",
    "v": "verbose",
    "w": "worker",
    WRONG: "wrong",
}
_TEXTS = {"h": "host", "i": "pidfile", "p": "port", "u": "unique"}


def read(words: Sequence[str], permute: bool = True) -> Words:
    """
    Read a command line.

    @param permute: see L{short_options}.
    """
    found = short_options(words, LETTERS, permute)
    made = Words(rest=found.rest, strict=found.strict)
    for letter, value in found.options:
        if letter in _FLAGS:
            setattr(made, _FLAGS[letter], True)
        elif letter in _TEXTS:
            setattr(made, _TEXTS[letter], value)
        elif letter == "f":
            made.functions.append(value)
        elif letter == "c":
            made.count = atoi(os.fsencode(value), signed=False)
        elif letter == "t":
            made.timeout = atoi(os.fsencode(value))
        elif letter in "IL":
            made.priority = letter
        else:
            made.by_line = True
            made.stripped |= letter == "N"
    return made


def usage(name: str, words: Words) -> str:
    """
    What is said to a wrong command line, and as help.

    @param name: the program's.
    """
    if not words.functions:
        wrong = "No Functions were provided"
    else:
        wrong = "-?" if words.wrong else "(null)"

    def said(value: bool) -> str:
        return "true" if value else "false"

    return f"""
{name}\tError in usage({wrong}).

Client mode: {name} [options] [<data>]
Worker mode: {name} -w [options] [<command> [<args> ...]]

Common options to both client and worker modes.
\t-f <function> - Function name to use for jobs (can give many)
\t-h <host>     - Job server host
\t-H            - Print this help menu
\t-v            - Print diagnostic information to stdout({said(words.verbose)})
\t-p <port>     - Job server port
\t-t <timeout>  - Timeout in milliseconds
\t-i <pidfile>  - Create a pidfile for the process
\t-S            - Enable SSL connections

Client options:
\t-b            - Run jobs in the background({said(words.background)})
\t-I            - Run jobs as high priority
\t-L            - Run jobs as low priority
\t-n            - Run one job per line({said(words.by_line)})
\t-N            - Same as -n, but strip off the newline({said(words.stripped)})
\t-P            - Prefix all output lines with functions names
\t-s            - Send job without reading from standard input
\t-u <unique>   - Unique key to use for job

Worker options:
\t-c <count>    - Number of jobs for worker to run before exiting
\t-n            - Send data packet for each line({said(words.by_line)})
\t-N            - Same as -n, but strip off the newline({said(words.stripped)})
\t-w            - Run in worker mode({said(words.worker)})
"""
