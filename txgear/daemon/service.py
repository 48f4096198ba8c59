"""
A job server as a Twisted service: what starts, in which order, and how it ends.

What belongs to a whole process (signals, the log file, the limit of descriptors, the end of the reactor) is
L{txgear.daemon.process}'s. So a L{ServerService} can be a child service of any Twisted application.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from twisted.internet.protocol import Protocol
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from txgear._version import __version__
from txgear.broker.model import Peer
from txgear.broker.records import SIGNED_OUT, SIGNING_KEY, StoredValue
from txgear.broker.rights import RELOAD, SHUTDOWN
from txgear.daemon.clustered import Clustered
from txgear.daemon.config import Config, read_config
from txgear.daemon.handover import HandOver, Offer
from txgear.daemon.late import ASKED, Import, import_late
from txgear.daemon.ports import wanted_ports
from txgear.daemon.pushes import Pushes
from txgear.daemon.renewal import Renewal, files_of
from txgear.daemon.restore import restore
from txgear.daemon.webport import WebPlace, hosts, is_local, origins, url, web_place
from txgear.errors import ConfigurationError, StoreError, StoreUnusable, TxgearError
from txgear.interfaces import IJobStore, IProtocolModule
from txgear.journal.journal import Journal
from txgear.journal.thread import StoreThread
from txgear.net import listeners
from txgear.net.ownports import OwnPorts, OwnSocket
from txgear.net.proxyheader import HeaderFactory, Trusted
from txgear.net.stream import shown_peer
from txgear.plugins.gear import gear
from txgear.protocol.constants import DEFAULT_PORT
from txgear.security.audit import DONE, REFUSED, AuditLog
from txgear.server.descriptors import Descriptors, soft_limit
from txgear.server.jobserver import JobServer
from txgear.server.settings import Settings
from txgear.server.setup import START, ConfigRead, Option, PortShown, Setup, Speech

if TYPE_CHECKING:
    from txgear.web.web import Web

STOP_SECONDS: Final = 5.0
"""How long connections may take to be sent what is left, when the server stops."""

BACKLOG: Final = 1024
"""Connections that the system accepts ahead of the server, where nothing else is said."""

OPERATOR: Final = "operator"
"""Who asks for what comes by a connection, for the audit log."""


class ServerService(Service):
    """
    A job server that listens.

    It can be started again once it has stopped; its store as well, where it allows that.

    @ivar server: the broker and what belongs to it; there from L{startService} on.
    @ivar scheduler: what submits by the clock; there from L{startService} on.
    @ivar ports: where it listens; none before the start, and none when it drains or has stopped.
    @ivar web: what programs and browsers see of it; C{None} where that is off, and no connection has gone
        over to HTTP.
    @ivar web_ports: where that listens; none before the start, and none when it has stopped.
    @ivar end: called without arguments, once, when the server is to end: an operator has given the text
        command C{shutdown}, or another server has taken the store. By default the service stops itself, and
        its parent lives on.
    """

    log = Logger()
    name = "txgear"

    def __init__(
        self,
        reactor: Any,
        settings: Settings | None = None,
        modules: Sequence[IProtocolModule] = (gear,),
        options: Mapping[str, Any] | None = None,
        store: IJobStore | None = None,
        config: Config | None = None,
        wall_seconds: Callable[[], float] | None = None,
        shown: Sequence[Option] = (),
    ) -> None:
        """
        @param reactor: the reactor.
        @param settings: for all ports.
        @param modules: what is spoken, each on ports of its own.
        @param options: options of C{twistd txgear}, by long names. C{listen}, C{tls-listen} and C{proxy-from}
            (lists), C{port}, C{backlog}, C{cluster}, C{config}, C{audit-log}, C{handover}, C{web},
            C{web-host} and C{web-origin} (lists), C{otel}, C{statsd}, those of TLS and those of the modules
            mean something here; what is missing has its default, but for C{web}: without it there is none.
        @param store: where background jobs are kept, not open yet; C{None} for in memory only.
        @param config: what the file of C{--config} says; L{reload} reads the file again.
        @param wall_seconds: reads the wall clock; by default the reactor's clock is that as well.
        @param shown: the options in words, with their sources, for people.
        """
        self._shown = shown
        self._reactor = reactor
        self._settings = Settings() if settings is None else settings
        self._modules = modules
        self._options: dict[str, Any] = {
            "listen": [],
            "port": DEFAULT_PORT,
            "backlog": BACKLOG,
            "cluster": False,
            "config": None,
            "audit-log": None,
            "proxy-from": [],
            "tls-listen": [],
            "tls-cert": None,
            "tls-key": None,
            "tls-ca": None,
            "tls-client": None,
            "handover": None,
            "web": "",
            "web-host": [],
            "web-origin": [],
            "otel": False,
            "statsd": None,
            **{name: default for module in modules for name, _, default, *_ in module.parameters},
            **(options or {}),
        }
        self._store = store
        self._config = Config() if config is None else config
        self._wall_seconds = wall_seconds
        self._thread: StoreThread | None = None
        self._renewal: Renewal | None = None
        self.ports: list[IListeningPort] = []
        self.web: Web | None = None
        self.web_ports: list[IListeningPort] = []
        self._values: list[StoredValue] = []
        self._web_import = Import(reactor, ASKED, self._no_web)
        self._pushes = Pushes()
        self._own_ports: OwnPorts | None = None
        self._handover: HandOver | None = None
        if self._options["handover"] is not None:
            self._handover = HandOver(reactor, self._options["handover"], self)
        self._cluster = Clustered(reactor, self) if self._options["cluster"] else None
        import_late(self._options)
        self._released: Callable[[], None] | None = None
        self.end: Callable[[], object] = self._stop_soon
        self._ending = False
        self._closing_ports: Deferred[Any] = succeed(None)
        self._waiting: list[Deferred[None]] = []

    # The start

    def startService(self) -> None:
        """
        Start everything, in the order of what may fail. This blocks while jobs are read from the store.

        @raise ConfigurationError: it cannot run as it was asked to. Nothing is left of it then.
        """
        try:
            self._start()
        except ConfigurationError as error:
            self.log.critical("{error}", error=error)
            raise
        super().startService()
        self.server.lag.start()
        self.server.census.start()
        self.server.recently.start()
        if self._cluster is not None:
            self._cluster.join(self.server, self._store)
        if self._handover is not None:
            self._handover.started(self._confirm())
        self.log.info(
            "txgear {version} is ready: store {store}, listening on {ports}{web}",
            version=__version__,
            store="memory:" if self._store is None else self._store.name,
            ports=", ".join(self._listening),
            web="".join(f", web at {each}" for each in self._web_urls),
            always=True,
        )

    def _start(self) -> None:
        self._ending = False
        self._released = None
        self._closing_ports = succeed(None)
        files = files_of(self._modules, self._options)
        self._renewal = None
        if files is not None:
            self._renewal = Renewal(files, self._reactor, self._wall_seconds or self._reactor.seconds)
        journal = None
        lease = None if self._cluster is None else self._cluster.lease(self._store)
        if self._store is not None:
            self._thread = StoreThread(self._reactor)
            journal = Journal(self._store, self._thread, self._reactor, self._settings.store_timeout, lease)
        self.server = JobServer(self._reactor, self._settings, journal, self._wall_seconds)
        self.server.shutdown = self.shutdown
        self.server.store_taken = self.store_taken
        self.server.hang_up = partial(self.hang_up, OPERATOR)
        self.server.tls = None if self._renewal is None else self._renewal.tls
        self.server.descriptors = Descriptors(soft_limit())
        self.server.broker.operations.set_policies(self._config.policies, self.server.seconds())
        self.server.guard.replace(self._config.access)
        self.server.setup = Setup(
            self._shown,
            speeches=[
                Speech(module.name, module.description, type(module).__module__) for module in self._modules
            ],
            ports=self._open_ports,
        )
        self.scheduler = self.server.scheduler
        self.server.config = self._options["config"]
        self.server.hear = self._hear
        self.server.listens = lambda: bool(self.ports)
        self.server.web_channel = self._switched
        values: list[StoredValue] = []
        try:
            if self._options["audit-log"] is not None:
                self.server.audit = AuditLog(
                    self._options["audit-log"], self._reactor, self.server.wall_clock
                )
            self._pushes.prepare(self.server, self._reactor, self._options)
            if self._handover is not None:
                values = self._take_over(self._handover)
            else:
                if self._store is not None:
                    values = self._restore(self._store)
                self._listen()
        except ConfigurationError:
            self._closing_ports = self._close_ports()
            self._pushes.stop()
            self.server.stop()
            self._let_go_of_store()
            if self._handover is not None:
                self._handover.not_started()
            raise
        if self._renewal is not None:
            self._renewal.start()
        if self.web is not None:
            self.web.sessions.restore(values)
            self.web.start()
        else:
            self._values = [value for value in values if value.kind in (SIGNING_KEY, SIGNED_OUT)]
        self._pushes.start()
        if self._options["config"] is not None:
            self.log.info("{path}: {summary}", path=self._options["config"], summary=self._config.summary)
            self._config_read(START)
            self._warn_of_config()
            # Without the option nothing is said of schedules: what is remembered of them stays.
            self.scheduler.start(self._config.schedules, values)
        # What is asked of the store first is read from now on.
        self.server.end_turn()

    def _take_over(self, handover: HandOver) -> list[StoredValue]:
        """
        Take the place of a server that runs, if there is one. What may fail comes first, while it serves.

        @return: what the store remembers.
        """
        values: list[StoredValue] = []
        self._listen(self._inherit(handover))
        store = self._store
        has_ours = store is not None and handover.has_store(store.name)
        if store is not None and not has_ours:
            values = self._restore(store)
        handover.take_over()
        if store is not None and has_ours:
            values = self._restore(store)
        handover.listen()
        assert self._own_ports is not None
        self._own_ports.own_all()
        return values

    def _inherit(self, handover: HandOver) -> list[OwnSocket]:
        """
        Ask the server that runs for what it hands over.

        @return: the sockets.
        """
        return handover.find()

    def _confirm(self) -> bool:
        """
        All has started.

        @return: whether the pid file of the other server is ours now.
        """
        return False

    def _restore(self, store: IJobStore) -> list[StoredValue]:
        """
        Open the store and take up what is in it. This blocks: nobody can have connected yet.

        @return: what else is remembered.
        """
        started = self.server.seconds()
        journal = self.server.journal
        assert journal is not None
        try:
            found = restore(self.server.broker, journal, store, started)
        except StoreUnusable:
            raise
        except StoreError as error:
            raise ConfigurationError(f"the store {store.name}: {error}") from error
        found.tell(self.log, self.server.seconds() - started)
        return found.values

    def _let_go_of_store(self) -> None:
        """The server has not started: close the store, which nobody else uses now."""
        if self._store is not None and self._thread is not None:
            self._thread.stop()
            self._store.close(None)

    def _listen(self, inherited: Sequence[OwnSocket] = ()) -> None:
        """
        Open the ports.

        @param inherited: sockets that listen already; those that are asked for are used.
        """
        trusted = Trusted(self._options["proxy-from"])
        self.server.headers_refused = 0 if trusted else None
        if trusted or self._handover is not None:
            wrap = (lambda factory: self._behind_proxies(factory, trusted)) if trusted else None
            self._own_ports = OwnPorts(self._reactor, wrap, inherited)
        reactor = self._own_ports or self._reactor
        self._listening: list[str] = []
        self._shown_ports: list[PortShown] = []
        factories = {id(module): module.factory(self.server, self._options) for module in self._modules}
        opened_for = set()
        for wanted in wanted_ports(self._modules, self._options):
            factory = factories[id(wanted.module)]
            if wanted.tls:
                assert self._renewal is not None
                factory = self._renewal.tls.over(factory, self._reactor, self.server.handshakes)
            opened = listeners.listen(reactor, wanted.place, wanted.number, self._options["backlog"], factory)
            if opened is not None:
                self.ports.append(opened)
                where = listeners.shown_address(opened)
                self._listening.append(where + " (TLS)" * wanted.tls)
                self._shown_ports.append(PortShown(wanted.module.name, where, wanted.tls))
                opened_for.add(id(wanted.module))
        for module in self._modules:
            if id(module) not in opened_for:
                raise ConfigurationError(
                    f"this machine has no loopback address for {module.name}; use --listen"
                )
        self._jobs_sockets = [] if self._own_ports is None else list(self._own_ports.sockets)
        self._open_web(reactor)

    def _open_web(self, reactor: Any) -> None:
        """
        Open the ports of the web.

        @param reactor: the reactor, or what makes its ports.
        @raise ConfigurationError: they cannot be opened where the operator wants them, or it is not known who
            may come from other machines.
        """
        self.web = None
        self._web_urls: list[str] = []
        self._shown_web: list[PortShown] = []
        place = web_place(self._options)
        if place is None:
            return
        web = self._make_web()
        try:
            self._listen_for(web, place, reactor)
        except ConfigurationError as error:
            if not place.optional:
                raise ConfigurationError(f"--web {self._options['web']}: {error}") from error
            self.log.warn("no web: {error}; --web names another place for it", error=error)
            return
        web.everywhere = not (place.optional or all(map(is_local, self.web_ports)))
        if web.everywhere and not self._config.access.rules:
            raise ConfigurationError(
                f"--web {self._options['web']}: other machines reach it, and there are no access rules: write"
                " some into the file of --config (docs/access.md), or name an address of this machine only,"
                " such as 127.0.0.1:4780"
            )
        self.web = web

    def _make_web(self) -> Web:
        from txgear.web.site import make_web
        from txgear.web.web import WebOptions

        return make_web(self.server, WebOptions(hosts(self._options), origins(self._options)))

    def _switched(self) -> Protocol | Deferred[None]:
        """
        The protocol of a connection that goes on with HTTP. Without a web, the first one has it made: others
        are served while it is imported.
        """
        if self.web is not None:
            return self.web.switched()
        if not self._web_import.done:
            return self._web_import.wait()
        from txgear.web.apisite import make_api

        self.web = make_api(self.server)
        journal = self.server.journal
        shared = None if journal is None else journal.shared
        self.web.sessions.restore(self._values if shared is None else shared.in_force.values())
        self.web.start()
        return self.web.switched()

    def _hear(self, value: StoredValue) -> None:
        """Another server has kept this in our store; who has no web yet will find it there."""
        if self.web is not None:
            self.web.sessions.hear(value)

    def _no_web(self, failure: Failure) -> None:
        """No connection can go over to HTTP any more."""
        self.log.failure("no connection can go over to HTTP: the web cannot be imported", failure)
        self.server.web_channel = None

    def _listen_for(self, web: Web, place: WebPlace, reactor: Any) -> None:
        factory: IProtocolFactory = web.factory(place.names)
        if place.tls:
            assert self._renewal is not None
            factory = self._renewal.tls.over(factory, self._reactor, self.server.handshakes)
        for each in place.places:
            opened = listeners.listen(reactor, each, 0, self._options["backlog"], factory)
            assert opened is not None
            self.web_ports.append(opened)
            self._web_urls.append(url(opened, place.tls))
            self._shown_web.append(PortShown("web", listeners.shown_address(opened), place.tls))

    def _open_ports(self) -> list[PortShown]:
        """Which ports are open now."""
        return [*(self._shown_ports if self.ports else ()), *(self._shown_web if self.web_ports else ())]

    def _behind_proxies(self, factory: IProtocolFactory, trusted: Trusted) -> IProtocolFactory:
        """A factory that reads the headers of proxies first."""
        return HeaderFactory(factory, trusted, self._reactor, self._header_refused)

    def _header_refused(self, proxy: IAddress, why: str) -> None:
        self.server.headers_refused = (self.server.headers_refused or 0) + 1
        text = "{peer}: {why}; connection closed"
        self.server.notices.complain(self.log, LogLevel.warn, text, peer=shown_peer(proxy), why=why)

    # While it runs

    def hang_up(self, by: str, peer: Peer | None = None) -> None:
        """What SIGHUP asks a process for: L{reopen_log}, and L{reload}."""
        self.reopen_log()
        self.reload(by, peer)

    def reload(self, by: str = "program", peer: Peer | None = None) -> None:
        """
        Read the file of the option C{config} again, and those of TLS. If one has a mistake, the log says
        so, and what was read before stays in force.

        @param by: what asks for it, for the audit log;
        @param peer: the connection by which that came, if it is one.
        """
        if self._renewal is not None:
            self._renewal.renew()
        path = self._options["config"]
        if path is None:
            return
        try:
            self._config = read_config(path)
        except ConfigurationError as error:
            self.log.error("{error}; the settings stay as they were", error=error)
            known = self.server.setup.config
            if known is not None:
                self.server.setup.config = known._replace(error=str(error), error_at=self.server.wall_clock())
            self.server.audit.record(RELOAD, REFUSED, peer, by=by, error=str(error))
            return
        self.server.broker.operations.set_policies(self._config.policies, self.server.seconds())
        self.server.guard.replace(self._config.access)
        self.server.end_turn()
        self.scheduler.replace(self._config.schedules)
        self._config_read(by)
        self.log.info("{path} read again: {summary}", path=path, summary=self._config.summary)
        self.server.audit.record(RELOAD, DONE, peer, by=by, file=path)
        self._warn_of_config()

    def _config_read(self, by: str) -> None:
        """What stands in the operator's file is in force from now on."""
        config = self._config
        self.server.setup.config = ConfigRead(
            self._options["config"], self.server.wall_clock(), by, config.summary, config.warnings
        )

    def reopen_log(self) -> None:
        """The audit log has been moved away: go on in a new one."""
        try:
            self.server.audit.reopen()
        except ConfigurationError as error:
            self.log.error("{error}; going on in the old one", error=error)

    def _warn_of_config(self) -> None:
        for warning in self._config.warnings:
            self.log.warn("{warning}", warning=warning)

    # The end

    def drain(self) -> Deferred[None]:
        """
        Stop listening, take no new job, hand out no new background job, and wait for those that run and
        those that clients wait for. The service runs on; L{stopService} is what comes next.

        @return: a Deferred that fires with C{None} once those jobs have ended, however long that takes;
            cancelling it stops the waiting, not the draining.
        """
        self.log.info("draining: no new jobs; waiting for those that run or are waited for")
        if self._cluster is not None:
            # They could go to another server only before they had connected.
            listeners.accept_waiting(self.ports)
        self._closing_ports = self._close_ports(but_web=True)
        return self.server.drain().addCallback(self._drained)

    def _drained(self, result: None) -> None:
        left = len(self.server.broker.table)
        one = left == 1
        jobs = "1 background job" if one else f"{left} background jobs"
        if left and self._store is not None:
            self.log.info("drained; {jobs} {stay} in the store", jobs=jobs, stay="stays" if one else "stay")
        elif left:
            self.log.warn("drained; {jobs} in memory {are} given up", jobs=jobs, are="is" if one else "are")

    def shutdown(self, graceful: bool) -> None:
        """
        Have the server ended; see L{end}. One of a cluster drains in any case, for some seconds, if it does
        not drain already: what runs has time to end before another server has its jobs.

        @param graceful: L{drain} first; in a cluster for longer.
        """
        if self._cluster is not None and self.running and not (self._ending or self._drains):
            parted = self._cluster.part(self.drain(), graceful)
            self._draining = parted.addCallback(lambda parted: self.shutdown(False))
        elif not graceful:
            if not self._ending:
                self._ending = True
                self.end()
        elif not self._drains:
            # The service has it, so that nothing collects it as garbage meanwhile.
            self._draining = self.drain().addCallback(lambda drained: self.shutdown(False))

    @property
    def _drains(self) -> bool:
        return self.server.broker.dispatcher.draining

    def store_taken(self) -> None:
        """Another server has the store: this one ends, or starts anew where it is one of several."""
        if self._cluster is None or self._drains:
            self.shutdown(False)
        else:
            self._cluster.begin_anew()

    def _stop_soon(self) -> None:
        """Stop, but not in the middle of the turn that brought the command."""
        self._reactor.callLater(0, self._stop_by_itself)

    def _stop_by_itself(self) -> None:
        _ = self.stopService().addErrback(
            lambda failure: self.log.failure("the server has not ended", failure)
        )

    # Another server takes our place: L{txgear.daemon.handover.Giver}

    def offer(self) -> Offer:
        """Part of L{txgear.daemon.handover.Giver}."""
        journal = self.server.journal
        if not self.running or self._own_ports is None or self._ending or self._drains:
            raise ConfigurationError("the server there drains, or ends")
        if journal is not None and journal.unavailable is not None:
            raise ConfigurationError(f"the server there cannot use its store: {journal.unavailable}")
        return Offer(None if self._store is None else self._store.name, list(self._own_ports.sockets))

    def give_way(self, released: Callable[[], None]) -> Deferred[None]:
        """Part of L{txgear.daemon.handover.Giver}."""
        self.offer()
        left = len(self.server.broker.table)
        if left and self._store is None:
            one = left == 1
            jobs = "1 background job" if one else f"{left} background jobs"
            self.log.warn("{jobs} in memory {are} given up", jobs=jobs, are="is" if one else "are")
        self.server.audit.record(SHUTDOWN, DONE, by="handover")
        self._released = released
        return self.stopService()

    def go_on(self) -> None:
        """Part of L{txgear.daemon.handover.Giver}."""
        assert self._handover is not None
        if self._own_ports is not None:
            own, self._own_ports = self._own_ports, None
            self._handover.keep(own.sockets)
        self.start_again()

    def start_again(self) -> None:
        """Start once more, or end."""
        try:
            self.startService()
        except TxgearError:
            # The log has the reason.
            self.shutdown(False)

    def leave(self, has_pid_file: bool) -> None:
        """Part of L{txgear.daemon.handover.Giver}."""
        if self._own_ports is not None:
            own, self._own_ports = self._own_ports, None
            own.leave()
        self.shutdown(False)

    def _close_ports(self, but_web: bool = False) -> Deferred[Any]:
        """
        @param but_web: whether the web stays open: who drains a server wants to see what is left of it.
        """
        ports, self.ports = self.ports, []
        if not but_web:
            ports += self.web_ports
            self.web_ports = []
        closed: Deferred[Any] = DeferredList([maybeDeferred(port.stopListening) for port in ports])
        if self._own_ports is None or self._released is not None:
            # The sockets are kept, for the next server or for us.
            return closed
        own = self._own_ports
        if but_web:
            return closed.addCallback(lambda results: own.close(self._jobs_sockets))
        self._own_ports = None
        # One that has them already, and has not asked us to end, may take over nevertheless.
        is_passed_on = self._handover is not None and self._handover.successor is not None
        return closed.addCallback(lambda results: own.leave() if is_passed_on else own.close())

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, send the peers what is left for them, hang up, and write
        to the store what is left for that. To do it twice is to do it once.

        @return: a Deferred that fires with C{None} when all that is done. The peers have L{STOP_SECONDS}
            for it; a store that does not answer is waited for once, for its timeout.
        """
        stopped: Deferred[None] = Deferred()
        self._waiting.append(stopped)
        if self._cluster is not None:
            self._cluster.leave(bool(self.running))
        if self.running:
            super().stopService()
            _ = self._stop().addBoth(self._stopped)
        elif self._waiting == [stopped]:
            self._stopped(None)
        return stopped

    def _stopped(self, result: Any) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(result)

    @inlineCallbacks
    def _stop(self) -> Any:
        server, thread = self.server, self._thread
        self.scheduler.stop()
        server.web_channel = None
        if self.web is not None:
            self.web.stop()
        self._pushes.stop()
        if self._renewal is not None:
            self._renewal.stop()
        released = self._released
        if released is not None:
            server.give_way()
        yield self._closing_ports
        yield self._close_ports()
        if server.journal is not None:
            yield server.journal.settle()
        closed = server.close_connections()
        _ = closed.addTimeout(STOP_SECONDS, self._reactor, onTimeoutCancel=lambda result, timeout: None)
        if self._cluster is not None:
            yield self._cluster.heard(closed)
        elif released is None:
            yield closed
        if server.journal is not None:
            yield server.journal.close()
        if thread is not None:
            thread.stop()
        server.stop()
        if released is not None:
            released()
        # In a cluster others have our jobs by now, whoever does not hang up.
        yield closed
        if released is None and self._handover is not None:
            self._handover.close()
        if self._cluster is not None and self._cluster.begins_anew:
            self.log.info("all connections have ended, and txgear starts anew")
        else:
            self.log.info("txgear has ended")
