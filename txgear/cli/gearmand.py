"""
C{txgear gearmand}: gearmand's command line, translated to C{twistd txgear}'s.

An existing unit file or start script works with one word changed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from txgear import __version__
from txgear.cli import queuetypes
from txgear.cli.arguments import Parser
from txgear.errors import ConfigurationError

CONFIG_FILE: Final = "/etc/gearmand.conf"
"""Where gearmand looks for more options when it is not told otherwise."""

PASSED_ON: Final = (
    "backlog",
    "config",
    "file-descriptors",
    "http-port",
    "job-handle-prefix",
    "job-retries",
    "keepalive-count",
    "keepalive-idle",
    "keepalive-interval",
    "listen",
    "port",
    "protocol",
    "verbose",
    "worker-wakeup",
)
"""Options with a value that mean the same to both."""

STORE_PASSWORD: Final = "TXGEAR_STORE_PASSWORD"
"""The environment variable in which the server looks for its store's password."""

MEANINGLESS: Final = ("hashtable-buckets", "threads")
"""Options with a value for what this server does not have."""


class Translation(NamedTuple):
    """
    What gearmand's command line means here.

    @ivar words: what C{twistd} is told.
    @ivar environment: variables that it is given besides: what must not stand on a command line.
    @ivar only_check: whether the process is only to check all that.
    """

    words: list[str]
    environment: dict[str, str]
    only_check: bool


def parser() -> argparse.ArgumentParser:
    """gearmand's command line, as its help lists it."""
    made = Parser(
        prog="txgear gearmand",
        description="Start the txgear job server with gearmand's options.",
        epilog="Jobs that gearmand has stored are not read: txgear import takes them over.",
        allow_abbrev=False,
    )
    add = made.add_argument
    add("-b", "--backlog", metavar="N", help="connections that the system accepts ahead of the server")
    add("--check-args", action="store_true", help="check the command line and exit")
    add("--config", metavar="FILE", help="TOML file with policies of functions and schedules")
    add("--config-file", metavar="FILE", help=f"more long options, parted by white space [{CONFIG_FILE}]")
    add("--coredump", action="store_true", help="accepted; has no meaning here")
    add("-d", "--daemon", action="store_true", help="detach")
    add("--exceptions", action="store_true", help="send WORK_EXCEPTION to all clients")
    add("-f", "--file-descriptors", metavar="N", help="files and connections that may be open at once")
    add("--hashtable-buckets", metavar="N", help="accepted; has no meaning here")
    add("--http-port", metavar="PORT", help="port of the http protocol")
    add("--job-handle-prefix", metavar="TEXT", help="what job handles start with")
    add("-j", "--job-retries", metavar="N", help="how often a job may run before it fails; -1 for no bound")
    add("--keepalive", action="store_true", help="use the keep-alive figures below")
    add("--keepalive-count", metavar="N", help="probes without an answer before the end")
    add("--keepalive-idle", metavar="SECONDS", help="silence before the first probe")
    add("--keepalive-interval", metavar="SECONDS", help="time between probes")
    add("-L", "--listen", metavar="ADDRESS", help="where to listen [all addresses, as gearmand]")
    add("-l", "--log-file", metavar="FILE", help="log file, stderr, or none")
    add("-P", "--pid-file", metavar="FILE", help="where to write the process id")
    add("-p", "--port", metavar="PORT", help="TCP port [4730]")
    add(
        "-q",
        "--queue-type",
        metavar="NAME",
        help="builtin (in memory only), libsqlite3, mysql or postgres [a SQLite file of txgear's own]",
    )
    add("-r", "--protocol", metavar="NAME", help="speak this, too: http")
    add("-R", "--round-robin", action="store_true", help="accepted; always on here")
    add("--syslog", action="store_true", help="log to syslog")
    add("-t", "--threads", metavar="N", help="accepted; has no meaning here")
    add("-u", "--user", metavar="NAME", help="switch to this user")
    add("--verbose", metavar="LEVEL", help="FATAL ALERT CRITICAL ERROR WARNING NOTICE INFO DEBUG [ERROR]")
    add("-V", "--version", action="version", version=f"txgear {__version__}")
    add("-w", "--worker-wakeup", metavar="N", help="workers woken for a job at the most")
    add("--ssl", action="store_true", help=argparse.SUPPRESS)
    queuetypes.add_options(made)
    return made


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """
    Read the command line, and the file of options that it may name.

    @raise ConfigurationError: the file is missing, or an option makes no sense.
    """
    reader = parser()
    given = reader.parse_args(arguments)
    path = Path(given.config_file or CONFIG_FILE)
    try:
        words = path.read_text("utf-8").split()
    except OSError as error:
        if given.config_file is not None:
            raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
        words = []
    return reader.parse_args([*words, *arguments])


def all_addresses() -> list[str]:
    """What stands for every address of this machine, which may lack IPv6."""
    found = ["0.0.0.0"]  # noqa: S104
    if socket.has_ipv6:
        with suppress(OSError), socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::", 0))
            found.append("::")
    return found


def translate(arguments: Sequence[str], everywhere: Callable[[], list[str]] = all_addresses) -> Translation:
    """
    What gearmand's options are in C{twistd}'s words.

    @param everywhere: finds out what to listen on where that is not said.
    @raise ConfigurationError: an option cannot be honoured.
    """
    given = options(arguments)
    if given.ssl:
        raise ConfigurationError("--ssl: TLS is not available yet, and plain text is no substitute")
    daemon, server = _process_words(given)
    environment = {}
    if given.queue_type is not None:
        url, password = queuetypes.store(given)
        server += ["--store", url]
        if password:
            environment[STORE_PASSWORD] = password
    if given.listen is None:
        # gearmand listens everywhere unless told otherwise, and start scripts rely on it.
        for address in everywhere():
            server += ["--listen", address]
    if given.verbose is None:
        server += ["--verbose", "ERROR"]
    for name in PASSED_ON:
        value = getattr(given, name.replace("-", "_"))
        if value is not None:
            server += [f"--{name}={value}"]
    for name in ("keepalive", "exceptions"):
        if getattr(given, name):
            server.append(f"--{name}")
    ignored = [name for name in MEANINGLESS if getattr(given, name.replace("-", "_")) is not None]
    ignored += [name for name in ("round-robin", "coredump") if getattr(given, name.replace("-", "_"))]
    ignored += queuetypes.ignored(given)
    for name in ignored:
        server.append(f"--ignored=--{name}")
    return Translation([*daemon, "txgear", *server], environment, given.check_args)


def _process_words(given: argparse.Namespace) -> tuple[list[str], list[str]]:
    """What concerns the process and its log: words for C{twistd}, and words for the server."""
    daemon = [f"--pidfile={os.path.abspath(given.pid_file) if given.pid_file else ''}"]
    server = []
    if not given.daemon:
        daemon.append("-n")
    if given.user is not None:
        daemon.append(f"--uid={given.user}")
    to_file = given.log_file not in (None, "stderr", "none")
    if to_file:
        server.append(f"--log-file={os.path.abspath(given.log_file)}")
    if given.syslog or (given.daemon and given.log_file in (None, "stderr")):
        daemon += ["--syslog", "--prefix=txgear"]
    elif to_file or given.log_file == "none":
        daemon.append("--logfile=/dev/null")
    return daemon, server


def find_twistd() -> str:
    """
    The C{twistd} of the Python that runs us.

    @raise ConfigurationError: there is none.
    """
    beside = os.path.dirname(sys.executable)
    found = shutil.which("twistd", path=beside) or shutil.which("twistd")
    if found is None:
        raise ConfigurationError(f"twistd is not in {beside} nor on the PATH")
    return found


def run(
    arguments: Sequence[str], execute: Callable[[str, list[str], Mapping[str, str]], object] = os.execve
) -> int:
    """
    Become the server.

    @param arguments: gearmand's options.
    @param execute: replaces this process: the program, its words, its environment.
    @return: the exit status, where it only checked them.
    @raise ConfigurationError: an option is wrong or cannot be honoured.
    """
    words, environment, only_check = translate(arguments)
    if only_check:
        from txgear.tap import Options

        Options().parseOptions(words[words.index("txgear") + 1 :])
    else:
        twistd = find_twistd()
        execute(twistd, [twistd, *words], {**os.environ, **environment})
    return 0
