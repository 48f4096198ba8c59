"""
The command line of C{twistd txgear}.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from getopt import GetoptError, getopt
from pathlib import Path
from typing import Any, Final

from twisted.application.service import IService
from twisted.plugin import getPlugins
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from txgear import plugins
from txgear._version import __version__
from txgear.broker.rules import QUEUE_MEMORY, UNLIMITED
from txgear.broker.table import MAX_PREFIX
from txgear.daemon.clustered import NO_CLUSTER
from txgear.daemon.config import Config, read_config
from txgear.daemon.descriptors import open_standard_descriptors
from txgear.daemon.late import import_for_another
from txgear.daemon.logpipe import guard_output
from txgear.daemon.pidfile import PidFile
from txgear.daemon.process import ProcessService
from txgear.daemon.renewal import files_of
from txgear.daemon.service import BACKLOG
from txgear.daemon.sources import shown
from txgear.daemon.startup import (
    StandardError,
    check_twistd,
    print_mistakes_as_lines,
)
from txgear.daemon.takeoverline import takeover_line
from txgear.daemon.webport import WEB, web_place
from txgear.errors import ConfigurationError
from txgear.interfaces import IJobStore, IProtocolModule
from txgear.net.monotonic import use_monotonic_clock
from txgear.net.proxyheader import Trusted
from txgear.protocol.constants import DEFAULT_PORT, MAX_PACKET
from txgear.protocol.textlines import LEVELS
from txgear.server.budget import UNFINISHED_MEMORY
from txgear.server.settings import WORKER_GRACE, Settings
from txgear.server.sockets import KeepAlive
from txgear.server.values import COERCIONS
from txgear.stores import default_url, make_store, sqlite_path
from txgear.stores.hosts import TIMEOUT
from txgear.stores.membership import Membership
from txgear.stores.tenure import LENGTH
from txgear.web.origins import host_name, named_origin

MEMORY: Final = "memory:"
"""The C{--store} that is none."""
STORE_PASSWORD: Final = "TXGEAR_STORE_PASSWORD"
"""The environment variable with the store's password, which a command line would show to everybody."""


def protocol_modules(installed: Iterable[IProtocolModule] | None = None) -> dict[str, IProtocolModule]:
    """
    What a port can speak, by name.

    @param installed: the modules; by default those that are found on this machine.
    @raise ConfigurationError: two modules have one name.
    """
    found: dict[str, IProtocolModule] = {}
    for module in getPlugins(IProtocolModule, plugins) if installed is None else installed:
        if module.name in found:
            raise ConfigurationError(f"two plugins speak {module.name}: uninstall one of them")
        found[module.name] = module
    return found


def named(option: str, coerce: Callable[[str], Any]) -> Callable[[str], Any]:
    """
    The coercion of a plugin's option, which may say nothing of its name.

    @param coerce: raises C{ValueError} with whatever words, as C{int} does.
    """

    def coerce_with_name(text: str) -> Any:
        try:
            return coerce(text)
        except ValueError as error:
            if str(error).startswith(f"--{option}: "):
                raise
            raise ValueError(f"--{option}: {text!r} is not taken: {error}") from error

    return coerce_with_name


def default_prefix() -> bytes:
    """What gearmand starts handles with, cut where a long host name would leave no room."""
    name = "".join(letter for letter in os.uname().nodename if letter.isprintable() and letter != " ")
    return f"H:{name}".encode("ascii", "replace")[:MAX_PREFIX]


def password(option: str, path: str | None, variable: str, environ: Mapping[str, str]) -> str | None:
    """
    A secret that stands on no command line.

    @param option: what named the file.
    @param path: the file whose first line it is, or C{None}.
    @param variable: what holds it where there is no file; empty is the same as unset.
    @raise ConfigurationError: the file cannot be read, or starts with no password.
    """
    if path is None:
        return environ.get(variable) or None
    try:
        with Path(path).open(encoding="utf-8") as file:
            found = file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"--{option}: cannot read {path}: {why}") from error
    if not found:
        raise ConfigurationError(f"--{option}: the first line of {path} is empty")
    return found


class Options(UsageOptions):
    """
    Options for the job server, by gearmand's names where they mean the same.

    @ivar store: where jobs are kept, not opened yet, or C{None} if nowhere;
        known when the command line has been read.
    @ivar config: what the file of C{--config} says; known then, too.
    @ivar given: the long names of those that the command line has.
    @ivar notes: lines about options that have no effect.
    @ivar pid_file: the file that C{twistd} has an option for; the server writes it instead.
    """

    synopsis = "[options]"
    longdesc = "A Gearman job server. Its documentation says more of each option."

    try:
        modules = protocol_modules()
    except ConfigurationError as error:
        # twistd imports this module for its help, too: there is no hook yet that would print a line.
        raise SystemExit(f"txgear: {error}") from error

    optParameters: Sequence[Sequence[Any]] = [
        ("port", "p", DEFAULT_PORT, "TCP port of the Gearman protocol", COERCIONS["port"]),
        (
            "backlog",
            "b",
            BACKLOG,
            "connections that the system accepts ahead of the server",
            COERCIONS["backlog"],
        ),
        (
            "job-retries",
            "j",
            UNLIMITED,
            "how often a job may run, its worker lost each time, before it fails; -1 for no bound",
            COERCIONS["job-retries"],
        ),
        (
            "job-handle-prefix",
            None,
            None,
            "what job handles start with [default: H: and the host's name]",
            COERCIONS["job-handle-prefix"],
        ),
        (
            "worker-wakeup",
            "w",
            0,
            "workers woken for a job at the most; 0 for as many as there are jobs",
            COERCIONS["worker-wakeup"],
        ),
        (
            "keepalive-idle",
            None,
            -1,
            "seconds of silence before a TCP keep-alive probe; -1: the system's",
            COERCIONS["keepalive-idle"],
        ),
        (
            "keepalive-interval",
            None,
            -1,
            "seconds between TCP keep-alive probes; -1: the system's",
            COERCIONS["keepalive-interval"],
        ),
        (
            "keepalive-count",
            None,
            -1,
            "TCP keep-alive probes without answer before the end; -1: the system's",
            COERCIONS["keepalive-count"],
        ),
        (
            "file-descriptors",
            "f",
            None,
            "files and connections that may be open at once",
            COERCIONS["file-descriptors"],
        ),
        (
            "max-packet",
            None,
            MAX_PACKET,
            "bytes of the largest packet that is taken, as 64M or 1G",
            COERCIONS["max-packet"],
        ),
        (
            "unfinished-memory",
            None,
            None,
            "bytes of packets of all peers that have not arrived whole, as 64M or 2G; beyond that the large"
            " ones wait for each other [default: 512M]",
            COERCIONS["unfinished-memory"],
        ),
        ("verbose", None, "NOTICE", f"what --log-file is told: {', '.join(LEVELS)}", COERCIONS["verbose"]),
        ("log-file", "l", None, "write the log to this file, too; SIGHUP reopens it"),
        (
            "audit-log",
            None,
            None,
            "append to this file who changed something, and who was refused, as lines of JSON; SIGHUP reopens"
            " it",
            # As with --config.
            os.path.abspath,
        ),
        (
            "config",
            None,
            None,
            "TOML file with policies, schedules, identities and access rules; SIGHUP has it read again",
            # The process may change its folder before it is read again.
            os.path.abspath,
        ),
        (
            "handover",
            None,
            None,
            "Unix socket over which the next server with the same option is handed the ports, and nobody is"
            " refused meanwhile; in a folder that only the server's user can write",
            os.path.abspath,
        ),
        (
            "web",
            None,
            None,
            "where programs and browsers see the server: HOST:PORT, tls:HOST:PORT, an endpoint string, or"
            f" '' for nowhere [default: {WEB}]",
        ),
        (
            "statsd",
            None,
            None,
            "host:port of a statsd that is sent metrics, by UDP; needs the extra statsd",
        ),
        (
            "store",
            None,
            None,
            "where background jobs are kept: sqlite:///path, postgresql://..., mysql://..., or memory: for"
            " memory only [default: a SQLite file for the port, in $STATE_DIRECTORY, else in"
            " /var/lib/txgear for root, else in $XDG_STATE_HOME/txgear]",
        ),
        (
            "store-password-file",
            None,
            None,
            f"file whose first line is the store's password [default: what {STORE_PASSWORD} holds]",
        ),
        (
            "store-timeout",
            None,
            int(TIMEOUT),
            "seconds that a submit may wait for the store; by default more where its nodes stand still for"
            " longer when one of them dies",
            COERCIONS["store-timeout"],
        ),
        (
            "cluster-name",
            None,
            None,
            "what this server is called among those of --cluster [default: the host and the process]",
            COERCIONS["cluster-name"],
        ),
        (
            "advertise",
            None,
            None,
            "endpoint at which clients and workers reach this server; the others of --cluster show it",
            COERCIONS["advertise"],
        ),
        (
            "lease",
            None,
            int(LENGTH),
            "seconds after which the others of --cluster take over what a server had that does not answer",
            COERCIONS["lease"],
        ),
        (
            "gearmand-table",
            None,
            None,
            "table of a gearmand in the store's database: the start mentions jobs that are left there",
        ),
        (
            "queue-memory",
            None,
            None,
            "bytes that queued jobs and their workloads take in memory, as 64M or 2G; all others stay in the"
            " store until their turn comes [default: 256M]",
            COERCIONS["queue-memory"],
        ),
        (
            "worker-grace",
            None,
            int(WORKER_GRACE),
            "seconds for which the jobs of one of txgear's own workers stay its own when its connection is"
            " lost; 0 for none",
            COERCIONS["worker-grace"],
        ),
        (
            "can-do-timeout-unit",
            None,
            "milliseconds",
            "what workers mean by the number of CAN_DO_TIMEOUT: milliseconds, as the protocol has it, or"
            " seconds, as some libraries do; txgear's own are understood in any case",
            COERCIONS["can-do-timeout-unit"],
        ),
        (
            "tls-cert",
            None,
            None,
            "PEM file with the certificate of the ports with TLS, and its chain",
            os.path.abspath,
        ),
        ("tls-key", None, None, "PEM file with the key of that certificate", os.path.abspath),
        (
            "tls-ca",
            None,
            None,
            "PEM file with the authorities of clients' certificates, for --tls-client",
            os.path.abspath,
        ),
        (
            "tls-client",
            None,
            None,
            "ask clients for a certificate, or require one: ask or require",
            COERCIONS["tls-client"],
        ),
        *(
            (name, short, default, text, named(name, coerce))
            for module in modules.values()
            for name, short, default, text, coerce in module.parameters
        ),
    ]

    optFlags: Sequence[Sequence[Any]] = [
        ("cluster", None, "share the store with other servers, and take over the jobs of those that die"),
        ("keepalive", None, "use the --keepalive-... figures on accepted connections"),
        ("exceptions", None, "send WORK_EXCEPTION to all clients, not only to those that ask for it"),
        (
            "refuse-by-closing",
            None,
            "refuse a submit by closing the connection, for client libraries that do not understand ERROR",
        ),
        ("otel", None, "send metrics to OpenTelemetry, where OTEL_... variables say; needs the extra otel"),
        ("allow-shutdown", None, "obey the text commands shutdown and shutdown graceful"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.store: IJobStore | None = None
        self.config = Config()
        self.given: frozenset[str] = frozenset()
        self.notes: list[str] = []
        self.pid_file: PidFile | None = None
        self["listen"] = []
        self["tls-listen"] = []
        self["protocol"] = []
        self["proxy-from"] = []
        self["ignored"] = []
        self["web-host"] = []
        self["web-origin"] = []

    def opt_listen(self, where: str) -> None:
        """Listen at an address, a host name or an endpoint string; may repeat [default: 127.0.0.1 and ::1]"""
        if not where:
            raise UsageError("--listen: an address, a name or an endpoint is wanted")
        self["listen"].append(where)

    opt_L = opt_listen

    def opt_tls_listen(self, where: str) -> None:
        """Listen with TLS at HOST:PORT, [ADDRESS]:PORT or an endpoint string; may repeat"""
        if not where:
            raise UsageError("--tls-listen: HOST:PORT or an endpoint is wanted")
        self["tls-listen"].append(where)

    def opt_proxy_from(self, where: str) -> None:
        """Connections from this address or network, or of unix sockets, have a PROXY header; may repeat"""
        try:
            Trusted([where])
        except ConfigurationError as error:
            raise UsageError(str(error)) from error
        self["proxy-from"].append(where)

    def opt_web_host(self, name: str) -> None:
        """The web may be asked by this name as well, such as that of a proxy; may repeat"""
        try:
            host_name(name)
        except ConfigurationError as error:
            raise UsageError(str(error)) from error
        self["web-host"].append(name)

    def opt_web_origin(self, origin: str) -> None:
        """Pages of this web site may use the web, as https://gear.example.com; may repeat"""
        try:
            named_origin(origin)
        except ConfigurationError as error:
            raise UsageError(str(error)) from error
        self["web-origin"].append(origin)

    def opt_protocol(self, name: str) -> None:
        """Speak this, too, on a port of its own; may repeat"""
        if name not in self.modules:
            raise UsageError(f"--protocol {name}: there are {', '.join(sorted(self.modules))}")
        if name not in self["protocol"]:
            self["protocol"].append(name)

    opt_r = opt_protocol

    def opt_ignored(self, option: str) -> None:
        """Mention in the log that this option of gearmand means nothing here; may repeat"""
        self["ignored"].append(option)

    def opt_version(self) -> None:
        """Print the version and exit"""
        print(f"txgear {__version__}")
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read the command line.

        C{twistd} answers a mistake with pages of help and the status 0; ours
        is one line and the status 1.
        """
        if self.parent is not None:
            open_standard_descriptors()
        words = [] if options is None else list(options)
        # What is wrong with them is said below.
        with suppress(GetoptError):
            self.given = frozenset(
                self.synonyms[option.lstrip("-")]
                for option, _ in getopt(words, self.shortOpt, self.longOpt)[0]
            )
        try:
            super().parseOptions(words)
        except UsageError as error:
            text = str(error).removeprefix("Parameter type enforcement failed: ")
            raise SystemExit(f"txgear: {text}{self._hint(text)}") from error
        self.notes += self._without_effect(self.given)

    def _hint(self, text: str) -> str:
        """What was meant: an option of C{twistd}'s, which stand before the word, or one like it."""
        found = re.match(r"option (-{1,2})([a-z-]+) ", text)
        if found is None or self.parent is None:
            return ""
        dashes, name = found.groups()
        long = [each.rstrip("=") for each in self.parent.longOpt]
        if name not in (long if dashes == "--" else self.parent.shortOpt.replace(":", "")):
            own = [each.rstrip("=") for each in self.longOpt]
            near = [] if name in own else get_close_matches(name, own, 1, 0.75)
            return f"; there is --{near[0]}" if near else "; twistd txgear --help lists all"
        return f"; it is twistd's own, and stands before the word txgear: twistd {dashes}{name} ... txgear"

    def _without_effect(self, given: Collection[str]) -> list[str]:
        """
        Options that were given and say nothing without another one.
        """
        lacks = [
            (name, f"--protocol {module.name}")
            for module in self.modules.values()
            if module.name not in ("gear", *self["protocol"])
            for name, *_ in module.parameters
        ]
        if not self["keepalive"]:
            lacks += [(f"keepalive-{name}", "--keepalive") for name in ("idle", "interval", "count")]
        notes = [f"--{name} has no effect without {other}" for name, other in lacks if name in given]
        if self["web"] == "":
            notes += [
                f"--{name} has no effect without --web"
                for name in ("web-host", "web-origin")
                if name in given
            ]
        if not self["cluster"]:
            idle = ("cluster-name", "advertise", "lease")
            notes += [f"--{name} has no effect without --cluster" for name in idle if name in given]
        if self.store is None:
            idle = ("store-password-file", "store-timeout", "queue-memory")
            notes += [f"--{name} has no effect with --store {MEMORY}" for name in idle if name in given]
        return notes

    def parseArgs(self, *arguments: str) -> None:
        """There are options only."""
        if arguments:
            raise UsageError(f"{arguments[0]}: the server takes options only")

    def postOptions(self) -> None:
        """Look at what no single option says; nothing is opened yet."""
        try:
            if self.parent is not None:
                check_twistd(self.parent)
                self._take_over_pid_file(self.parent)
            self._unfinished_memory()
            web_place(self)
            files_of(self.spoken(), self)
            self.store = self._make_store()
            self.config = self._read_config()
        except ConfigurationError as error:
            raise UsageError(str(error)) from error

    def _take_over_pid_file(self, twistd: UsageOptions) -> None:
        if twistd.get("pidfile"):
            self.pid_file = PidFile(twistd["pidfile"])
            twistd["pidfile"] = ""

    def _read_config(self) -> Config:
        if self["config"] is None:
            return Config()
        try:
            return read_config(self["config"])
        except ConfigurationError as error:
            raise ConfigurationError(f"--config: {error}") from error

    def _make_store(self) -> IJobStore | None:
        secret = password("store-password-file", self["store-password-file"], STORE_PASSWORD, os.environ)
        url = self.store_url()
        membership = self._membership(url)
        if url == MEMORY:
            return None
        timeout = float(self["store-timeout"]) if "store-timeout" in self.given else None
        try:
            return make_store(url, secret, timeout, own_folder=self["store"] is None, membership=membership)
        except ConfigurationError as error:
            raise ConfigurationError(f"--store: {error}") from error

    def _membership(self, url: str) -> Membership | None:
        """
        @raise ConfigurationError: the store cannot be that of several servers.
        """
        if not self["cluster"]:
            return None
        if url == MEMORY or sqlite_path(url) is not None:
            raise ConfigurationError(NO_CLUSTER)
        return Membership(self["cluster-name"], self["advertise"] or "", float(self["lease"]))

    def spoken(self) -> list[IProtocolModule]:
        """What the ports speak."""
        names = ["gear", *(name for name in self["protocol"] if name != "gear")]
        return [self.modules[name] for name in names]

    def store_url(self) -> str:
        """Where jobs are kept: what the command line says, or this port's file."""
        if self["store"] is not None:
            return str(self["store"])
        return default_url(self["port"], os.environ, os.geteuid() == 0)

    @property
    def repeated(self) -> dict[str, str]:
        """The options that may repeat and mean something here, each with its help."""
        names = ("listen", "tls-listen", "protocol", "proxy-from", "web-host", "web-origin")
        return {name: getattr(self, f"opt_{name.replace('-', '_')}").__doc__ for name in names}

    def in_force(self) -> dict[str, Any]:
        """What holds where that is not the very value of an option, by its name. No passwords."""
        settings = self.settings()
        return {
            "job-handle-prefix": settings.prefix.decode("ascii"),
            "unfinished-memory": settings.unfinished_memory,
            "queue-memory": settings.queue_memory,
            "store": MEMORY if self.store is None else self.store.name,
            "web": {None: WEB, "": "nowhere"}.get(self["web"], self["web"]),
        }

    def password_in_url(self) -> bool:
        """Whether the URL of the store had a password."""
        url = self.store_url()
        if url == MEMORY or sqlite_path(url) is not None:
            return False
        from sqlalchemy import make_url

        from txgear.stores.hosts import split

        parts = make_url(split(url)[0])
        return bool(parts.password or parts.query.get("password"))

    def takeover(self, environ: Mapping[str, str]) -> str:
        """The command that takes over what is left in C{--gearmand-table}; empty without such a table."""
        table, url, file = self["gearmand-table"], self.store_url(), self["store-password-file"]
        if table is None or url == MEMORY:
            return ""
        secret = file is None and (self.password_in_url() or bool(environ.get(STORE_PASSWORD)))
        return takeover_line(url, table, self["job-handle-prefix"], file, secret)

    def settings(self) -> Settings:
        """What these options say to all ports."""
        return Settings(
            prefix=self["job-handle-prefix"] or default_prefix(),
            retries=self["job-retries"],
            wakeups=self["worker-wakeup"],
            exceptions=bool(self["exceptions"]),
            max_packet=self["max-packet"],
            unfinished_memory=self._unfinished_memory(),
            allow_shutdown=bool(self["allow-shutdown"]),
            level=self["verbose"],
            keep_alive=self._keep_alive(),
            queue_memory=self["queue-memory"] or QUEUE_MEMORY,
            store_timeout=float(self["store-timeout"]),
            can_do_timeout_unit=self["can-do-timeout-unit"],
            worker_grace=float(self["worker-grace"]),
            refuse_by_closing=bool(self["refuse-by-closing"]),
        )

    def _unfinished_memory(self) -> int:
        """
        @raise ConfigurationError: not even one packet has room in it.
        """
        largest: int = self["max-packet"]
        memory: int = self["unfinished-memory"] or max(UNFINISHED_MEMORY, 2 * largest)
        if memory < largest:
            raise ConfigurationError(
                f"--unfinished-memory {memory}: a packet may have {largest} bytes, and is to have room in it"
            )
        return memory

    def _keep_alive(self) -> KeepAlive:
        if not self["keepalive"]:
            return KeepAlive()
        idle, interval, count = (max(self[f"keepalive-{name}"], 0) for name in ("idle", "interval", "count"))
        return KeepAlive(idle, interval, count)


def makeService(options: Options) -> IService:
    """Part of C{IServiceMaker}: the server that these options describe."""
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    print_mistakes_as_lines()
    parent = options.parent
    daemon = parent is not None and not parent.get("nodaemon", True)
    import_for_another(parent)
    return ProcessService(
        reactor,
        options.settings(),
        options.spoken(),
        options,
        options.store,
        options.config,
        time.time,
        shown(options, os.environ, options.password_in_url()),
        pid_file=options.pid_file,
        notes=options.notes,
        stderr=StandardError(daemon),
        guard=guard_output,
        environ=os.environ,
        takeover=options.takeover(os.environ),
    )
