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
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger

from txgear._version import __version__
from txgear.broker.model import Peer
from txgear.broker.records import StoredValue
from txgear.broker.rights import RELOAD, SHUTDOWN
from txgear.broker.words import number, verb
from txgear.daemon.clustered import Clustered
from txgear.daemon.config import Config, read_config
from txgear.daemon.handover import HandOver, Offer
from txgear.daemon.hosting import Hosting
from txgear.daemon.late import import_late
from txgear.daemon.openports import OpenPorts
from txgear.daemon.pushes import Pushes
from txgear.daemon.renewal import Renewal, files_of
from txgear.daemon.restore import restore
from txgear.errors import ConfigurationError, StoreError, StoreUnusable, TxgearError
from txgear.interfaces import IJobStore, IProtocolModule
from txgear.journal.journal import Journal
from txgear.journal.thread import StoreThread
from txgear.net.listeners import accept_waiting
from txgear.net.ownports import OwnSocket
from txgear.plugins.gear import gear
from txgear.protocol.constants import DEFAULT_PORT
from txgear.security.audit import DONE, REFUSED, AuditLog
from txgear.server.descriptors import Descriptors, soft_limit
from txgear.server.jobserver import JobServer
from txgear.server.settings import Settings
from txgear.server.setup import START, ConfigRead, Option, Setup, Speech

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
        self._open = OpenPorts(reactor, self._options)
        self._hosting = Hosting(reactor, self._options)
        self._pushes = Pushes()
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

    @property
    def ports(self) -> list[IListeningPort]:
        """Where it listens for jobs; nowhere before the start, and nowhere when it drains or has stopped."""
        return self._open.jobs

    @property
    def web(self) -> Web | None:
        """
        What programs and browsers see of it; C{None} where that is off, and no connection has gone over to
        HTTP.
        """
        return self._hosting.web

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
            ports=", ".join(self._open.listening),
            web="".join(f", web at {each}" for each in self._open.urls),
            always=True,
        )

    def _start(self) -> None:
        self._ending = False
        self._released = None
        self._open = OpenPorts(self._reactor, self._options)
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
        self._set_up(self.server)
        try:
            values = self._open_all()
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
        self._hosting.start(values)
        self._pushes.start()
        if self._options["config"] is not None:
            self.log.info("{path}: {summary}", path=self._options["config"], summary=self._config.summary)
            self._config_read(START)
            self._warn_of_config()
            # Without the option nothing is said of schedules: what is remembered of them stays.
            self.scheduler.start(self._config.schedules, values)
        # What is asked of the store first is read from now on.
        self.server.end_turn()

    def _set_up(self, server: JobServer) -> None:
        """Tell a new server all that it does not make itself. Nothing is open yet."""
        server.shutdown = self.shutdown
        server.store_taken = self.store_taken
        server.hang_up = partial(self.hang_up, OPERATOR)
        server.tls = None if self._renewal is None else self._renewal.tls
        server.descriptors = Descriptors(soft_limit())
        server.broker.operations.set_policies(self._config.policies, server.seconds())
        server.guard.replace(self._config.access)
        server.setup = Setup(
            self._shown,
            speeches=[
                Speech(module.name, module.description, type(module).__module__) for module in self._modules
            ],
            ports=lambda: self._open.shown,
        )
        self.scheduler = server.scheduler
        server.config = self._options["config"]
        server.listens = lambda: bool(self.ports)
        self._hosting.attach(server)

    def _open_all(self) -> list[StoredValue]:
        """
        Open the files, the store and the ports.

        @return: what the store remembers.
        @raise ConfigurationError: one of them cannot be opened. The others may be open.
        """
        path = self._options["audit-log"]
        if path is not None:
            self.server.audit = AuditLog(path, self._reactor, self.server.wall_clock)
        self._pushes.prepare(self.server, self._reactor, self._options)
        if self._handover is not None:
            return self._take_over(self._handover)
        values = [] if self._store is None else self._restore(self._store)
        self._open_ports()
        return values

    def _take_over(self, handover: HandOver) -> list[StoredValue]:
        """
        Take the place of a server that runs, if there is one. What may fail comes first, while it serves.

        @return: what the store remembers.
        """
        values: list[StoredValue] = []
        self._open_ports(self._inherit(handover))
        store = self._store
        has_ours = store is not None and handover.has_store(store.name)
        if store is not None and not has_ours:
            values = self._restore(store)
        handover.take_over()
        if store is not None and has_ours:
            values = self._restore(store)
        handover.listen()
        assert self._open.own is not None
        self._open.own.own_all()
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

    def _open_ports(self, inherited: Sequence[OwnSocket] = ()) -> None:
        """
        @param inherited: sockets that listen already; those that are asked for are used.
        """
        is_handed_on = self._handover is not None
        self._open.open_jobs(self.server, self._modules, self._over_tls, inherited if is_handed_on else None)
        self._hosting.open(self._open, self._over_tls, bool(self._config.access.rules))

    def _over_tls(self, factory: IProtocolFactory) -> IProtocolFactory:
        assert self._renewal is not None
        return self._renewal.tls.over(factory, self._reactor, self.server.handshakes)

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
            accept_waiting(self.ports)
        self._closing_ports = self._close_ports(but_web=True)
        return self.server.drain().addCallback(self._drained)

    def _drained(self, result: None) -> None:
        left = len(self.server.broker.table)
        jobs = number(left, "background job")
        if left and self._store is not None:
            self.log.info("drained; {jobs} {stay} in the store", jobs=jobs, stay=verb(left, "stays", "stay"))
        elif left:
            self.log.warn("drained; {jobs} in memory {are} given up", jobs=jobs, are=verb(left, "is", "are"))

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
        if not self.running or self._open.own is None or self._ending or self._drains:
            raise ConfigurationError("the server there drains, or ends")
        if journal is not None and journal.unavailable is not None:
            raise ConfigurationError(f"the server there cannot use its store: {journal.unavailable_detail}")
        return Offer(None if self._store is None else self._store.name, list(self._open.own.sockets))

    def give_way(self, released: Callable[[], None]) -> Deferred[None]:
        """Part of L{txgear.daemon.handover.Giver}."""
        self.offer()
        left = len(self.server.broker.table)
        if left and self._store is None:
            jobs = number(left, "background job")
            self.log.warn("{jobs} in memory {are} given up", jobs=jobs, are=verb(left, "is", "are"))
        self.server.audit.record(SHUTDOWN, DONE, by="handover")
        self._released = released
        return self.stopService()

    def go_on(self) -> None:
        """Part of L{txgear.daemon.handover.Giver}."""
        assert self._handover is not None
        if self._open.own is not None:
            self._handover.keep(self._open.own.sockets)
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
        self._open.leave()
        self.shutdown(False)

    def _close_ports(self, but_web: bool = False) -> Deferred[Any]:
        if self._released is not None:
            # The sockets are kept, for the next server or for us.
            return self._open.stop(but_web)
        # One that has them already, and has not asked us to end, may take over nevertheless.
        is_passed_on = self._handover is not None and self._handover.successor is not None
        return self._open.close(but_web, is_passed_on)

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
        self._hosting.stop()
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
        self._let_go()
        if self._cluster is not None and self._cluster.begins_anew:
            self.log.info("all connections have ended, and txgear starts anew")
        else:
            self.log.info("txgear has ended")

    def _let_go(self) -> None:
        """All has ended, but for the process."""
        self.server.broker.let_go()
