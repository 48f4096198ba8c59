"""
C{txgear gearman}: submit jobs, or run a command for each, as the C tool does.
"""

from __future__ import annotations

import os
import signal
import ssl
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from txgear.cli.imitate.gearmanclient import Client, workloads
from txgear.cli.imitate.gearmanwords import Words, read, usage
from txgear.cli.imitate.gearmanworker import Worker
from txgear.cli.imitate.libgearman import Address, Connection, Failure, address, parsed
from txgear.cli.imitate.pidfile import pidfile
from txgear.cli.imitate.stdio import Stdio
from txgear.cli.imitate.tls import TLSFailure, context

NAME: Final = "gearman"


def carry_out(words: Words, environ: Mapping[str, str], stdio: Stdio) -> int:
    """
    Do what the command line says.

    @return: the exit status.
    """
    kind = "worker" if words.worker else "client"
    try:
        tls = context(environ, words.strict) if words.tls else None
    except TLSFailure as error:
        # Here the C tool ends by SIGABRT.
        stdio.complain(os.fsencode(f"{NAME}: {error}\n"))
        return 1
    try:
        connections = _connected(parsed(environ.get("GEARMAN_SERVERS")), tls, words)
    except Failure as error:
        # Here, too.
        stdio.complain(os.fsencode(f"{NAME}: gearman_{kind}_create() failed : {error.text}\n"))
        return 1
    listed = environ.get("GEARMAN_SERVER")
    try:
        places = [address(words.host, words.port)] if listed is None else parsed(listed)
        connections = [*_connected(places, tls, words), *connections]
    except Failure as error:
        parsing = "Error occurred while parsing GEARMAN_SERVER"
        what = f"gearman_{kind}_add_server" if listed is None else parsing
        stdio.complain(os.fsencode(f"{NAME}: {what} : {error.text}\n"))
        return int(words.strict or (listed is None and words.worker))
    if not words.worker:
        client = Client(connections, words, stdio)
        for workload in workloads(words, sys.stdin.buffer):
            client.submit(workload)
        stdio.flush()
        return int(client.failed or (client.troubled and words.strict))
    try:
        worker = Worker(connections, words, stdio)
    except Failure as error:
        stdio.complain(os.fsencode(f"{NAME}: gearman_worker_add_function : {error.text}\n"))
        return 1
    worker.run()
    return int(worker.troubled and words.strict)


def _connected(places: Iterable[Address], tls: ssl.SSLContext | None, words: Words) -> list[Connection]:
    """Connections to these, of which the last one is the first that is used."""
    return [Connection(place, tls, words.worker) for place in places][::-1]


def _detach() -> bool:
    """
    Go on in a process of its own, without a terminal.

    @return: whether this is that process.
    """
    if os.fork():
        return False
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.close(null)
    return True


def run(arguments: Sequence[str]) -> int:
    """
    Run C{gearman}.

    @param arguments: its command line, without its name.
    @return: the exit status.
    """
    # It ends by SIGINT as every program of C does.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    words = read(arguments, "POSIXLY_CORRECT" not in os.environ)
    wrong = words.wrong or not words.functions
    if words.help or wrong:
        print(usage(NAME, words), end="", file=sys.stderr if wrong else sys.stdout)
        return int(not words.help)
    if words.daemon and not _detach():
        return 0
    stdio = Stdio()
    try:
        with pidfile(words.pidfile):
            return carry_out(words, os.environ, stdio)
    except OSError as error:
        # The C tool means to say so, too.
        if words.strict:
            stdio.complain(os.fsencode(f"{NAME}: {words.pidfile}: {error.strerror}\n"))
        return 1
