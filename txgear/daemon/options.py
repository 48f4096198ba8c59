"""
The command line of C{twistd txgear}: what the server is to be, and where its jobs are kept.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from getopt import GetoptError, getopt
from typing import Any, Final

from twisted.plugin import getPlugins
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from txgear import plugins
from txgear._version import __version__
from txgear.broker.rules import QUEUE_MEMORY
from txgear.broker.table import MAX_PREFIX
from txgear.daemon.clustered import NO_CLUSTER
from txgear.daemon.config import Config, read_config
from txgear.daemon.descriptors import open_standard_descriptors
from txgear.daemon.parameters import FLAGS, PARAMETERS
from txgear.daemon.passwords import STORE_PASSWORD, password
from txgear.daemon.pidfile import PidFile
from txgear.daemon.renewal import files_of
from txgear.daemon.startup import check_twistd
from txgear.daemon.takeoverline import takeover_line
from txgear.daemon.webport import WEB, web_place
from txgear.errors import ConfigurationError
from txgear.interfaces import IJobStore, IProtocolModule
from txgear.net.proxyheader import Trusted
from txgear.server.budget import UNFINISHED_MEMORY
from txgear.server.settings import Settings
from txgear.server.sockets import KeepAlive
from txgear.stores import default_url, make_store, sqlite_path
from txgear.stores.membership import Membership
from txgear.web.origins import host_name, named_origin

MEMORY: Final = "memory:"
"""The C{--store} that is none."""


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
        *PARAMETERS,
        *(
            (name, short, default, text, named(name, coerce))
            for module in modules.values()
            for name, short, default, text, coerce in module.parameters
        ),
    ]

    optFlags = FLAGS

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
