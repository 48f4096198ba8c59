"""
C{txgear gearmand}: start the server with gearmand's command line, translated to that of C{twistd txgear}.

An existing unit file or start script works with one word changed.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from txgear._version import __version__
from txgear.cli.arguments import Parser
from txgear.cli.base.twistd import run_twistd
from txgear.cli.imitate import gearmandtls, queuetypes
from txgear.daemon.passwords import STORE_PASSWORD
from txgear.errors import ConfigurationError
from txgear.protocol.constants import DEFAULT_PORT
from txgear.server.values import COERCIONS, number
from txgear.stores import check_store, default_url

if TYPE_CHECKING:
    from txgear.security.tlsfiles import TlsFiles

CONFIG_FILE: Final = "/etc/gearmand.conf"
"""gearmand's default file of more options."""

SAME_OPTIONS: Final = (
    "audit-log",
    "backlog",
    "can-do-timeout-unit",
    "config",
    "file-descriptors",
    "http-port",
    "job-handle-prefix",
    "job-retries",
    "keepalive-count",
    "keepalive-idle",
    "keepalive-interval",
    "port",
    "protocol",
    "verbose",
    "worker-wakeup",
)
"""Options with a value that have the same name and meaning in both."""

IGNORED_NUMBERS: Final = {
    "hashtable-buckets": number("hashtable-buckets", 0, 2**32 - 1),
    "threads": number("threads", 0, 2**32 - 1),
}
"""Options that are ignored, with the coercion of their numbers."""

TITLE: Final = "gearmand"
"""The process's title, which scripts look for: C{ps ax | grep gearmand}, C{pgrep -x gearmand}."""


class Translation(NamedTuple):
    """
    gearmand's command line, translated.

    @ivar words: the command line of C{twistd}.
    @ivar environment: variables for it, with what must not stand on a command line.
    @ivar store: the URL of the store, or C{None} for the default.
    @ivar given: gearmand's command line as it was read.
    @ivar tls: the files of TLS, or C{None} where nothing speaks it.
    """

    words: list[str]
    environment: dict[str, str]
    store: str | None
    given: argparse.Namespace
    tls: TlsFiles | None


def parser() -> argparse.ArgumentParser:
    """The parser of gearmand's command line."""
    made = Parser(
        prog="txgear gearmand",
        description="Start the txgear job server with gearmand's options.",
        epilog="Jobs that gearmand has stored are counted, not read: txgear import takes them over.",
        allow_abbrev=False,
    )
    add = made.add_argument
    add("--audit-log", metavar="FILE", help="write down who changed something, and who was refused")
    add("-b", "--backlog", metavar="N", help="connections that the system accepts ahead of the server")
    add("--can-do-timeout-unit", metavar="UNIT", help="what workers mean: milliseconds or seconds")
    add("--check-args", action="store_true", help="check the command line and exit")
    add("--config", metavar="FILE", help="TOML file with policies, schedules, identities and access rules")
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
    add("--refuse-by-closing", action="store_true", help="for clients that do not understand ERROR")
    add("-R", "--round-robin", action="store_true", help="accepted; always on here")
    add("--syslog", action="store_true", help="log to syslog")
    add("-t", "--threads", metavar="N", help="accepted; has no meaning here")
    add("-u", "--user", metavar="NAME", help="switch to this user")
    add("--verbose", metavar="LEVEL", help="FATAL ALERT CRITICAL ERROR WARNING NOTICE INFO DEBUG [ERROR]")
    add("-V", "--version", action="version", version=f"txgear {__version__}")
    add("-w", "--worker-wakeup", metavar="N", help="workers woken for a job at the most")
    gearmandtls.add_options(made)
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
    """The addresses that stand for all of this machine's, which may have no IPv6."""
    found = ["0.0.0.0"]  # noqa: S104
    if socket.has_ipv6:
        with suppress(OSError), socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::", 0))
            found.append("::")
    return found


def translate(
    arguments: Sequence[str],
    everywhere: Callable[[], list[str]] = all_addresses,
    environ: Mapping[str, str] = os.environ,
) -> Translation:
    """
    Translate gearmand's command line.

    @param everywhere: returns the addresses to listen on where no option names one.
    @param environ: the process's variables.
    @raise ConfigurationError: an option is wrong, or cannot be honoured.
    """
    given = options(arguments)
    _check_values(given)
    tls = gearmandtls.files(given, environ)
    daemon, server = _process_words(given)
    # gearmand has no such port, and nobody who replaces it expects one.
    server.append("--web=")
    environment = {}
    url = None
    if given.queue_type is not None:
        url, password = queuetypes.store(given)
        server += ["--store", url]
        table = queuetypes.table(given)
        if table is not None:
            server.append(f"--gearmand-table={table}")
        if password:
            environment[STORE_PASSWORD] = password
    # gearmand listens everywhere unless told otherwise, and start scripts rely on it.
    places = everywhere() if given.listen is None else [given.listen]
    if tls is None:
        server += [f"--listen={place}" for place in places]
    else:
        server += gearmandtls.words(given, tls, places, environ)
    if given.verbose is None:
        server += ["--verbose", "ERROR"]
    for name in SAME_OPTIONS:
        value = _value(given, name)
        if value is not None:
            server += [f"--{name}={value}"]
    for name in ("keepalive", "exceptions", "refuse-by-closing"):
        if _value(given, name):
            server.append(f"--{name}")
    ignored = [name for name in IGNORED_NUMBERS if _value(given, name) is not None]
    ignored += [name for name in ("round-robin", "coredump") if _value(given, name)]
    ignored += queuetypes.ignored(given)
    for name in ignored:
        server.append(f"--ignored=--{name}")
    return Translation([*daemon, "txgear", *server], environment, url, given, tls)


def _value(given: argparse.Namespace, name: str) -> Any:
    return getattr(given, name.replace("-", "_"))


def _check_values(given: argparse.Namespace) -> None:
    """
    Check values that the server would check later, or is not given.

    @raise ConfigurationError: one of them is wrong.
    """
    for name, coerce in {**COERCIONS, **IGNORED_NUMBERS}.items():
        text = getattr(given, name.replace("-", "_"), None)
        if text is not None:
            try:
                coerce(text)
            except ValueError as error:
                raise ConfigurationError(str(error)) from error
    if given.user is not None:
        from txgear.daemon.users import find_user

        try:
            find_user(given.user)
        except ConfigurationError as error:
            raise ConfigurationError(f"--user: {error}") from error


def _process_words(given: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The options of the process and its log: those of C{twistd}, and those of the server."""
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


def check(made: Translation) -> None:
    """
    Check what the command line refers to, as far as that can be done without starting anything and
    without importing Twisted: scripts with C{--check-args} do not want to wait.

    @raise ConfigurationError: the server would not start with it.
    """
    given = made.given
    port = DEFAULT_PORT if given.port is None else int(given.port)
    url = made.store or default_url(port, os.environ, os.geteuid() == 0)
    if url != "memory:":
        check_store(url, made.environment.get(STORE_PASSWORD))
    if made.tls is not None:
        from txgear.security import tlsfiles

        tlsfiles.load(made.tls)
    if given.protocol not in (None, "gear", "http") or given.config is not None:
        from txgear.daemon.options import Options

        Options().parseOptions(made.words[made.words.index("txgear") + 1 :])


def serve(words: Sequence[str]) -> None:
    """
    Run C{twistd} in this process, until the server ends.

    @param words: C{twistd}'s command line.
    @raise ConfigurationError: C{twistd} does not accept it.
    """
    import setproctitle

    # This hides a password from the list of processes as well.
    setproctitle.setproctitle(f"{TITLE} (txgear)")
    setproctitle.setthreadtitle(TITLE)
    run_twistd(words)


def run(arguments: Sequence[str], serve: Callable[[Sequence[str]], None] = serve) -> int:
    """
    Run the server, or only check its command line.

    @param arguments: gearmand's options.
    @param serve: runs the server until it ends.
    @return: the exit status.
    @raise ConfigurationError: an option is wrong or cannot be honoured.
    """
    made = translate(arguments)
    if made.given.check_args:
        check(made)
    else:
        os.environ.update(made.environment)
        serve(made.words)
    return 0
