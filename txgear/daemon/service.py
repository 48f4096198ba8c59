"""
The whole server as a Twisted service: what starts, in which order, and how it ends.
"""

from __future__ import annotations

import gc
import resource
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger, globalLogPublisher

from txgear._version import __version__
from txgear.broker.jobs import DEAD
from txgear.broker.records import PAUSED, JobRecord, StoredValue, by_place
from txgear.daemon.config import Config, read_config
from txgear.daemon.logs import LogFile
from txgear.errors import ConfigurationError, StoreError, StoreUnusable
from txgear.interfaces import IJobStore, IProtocolModule
from txgear.journal import NUMBERS, Journal
from txgear.journal.thread import StoreThread
from txgear.net import listeners
from txgear.protocol.textlines import shown_word
from txgear.server.descriptors import Descriptors, soft_limit
from txgear.server.jobserver import JobServer, Settings
from txgear.server.schedules import Scheduler

STOP_SECONDS: Final = 5.0
"""How long connections may take to be sent what is left, when the server stops."""

GC_THRESHOLDS: Final = (20_000, 5, 1000)
"""
The thresholds of Python's cycle collector, for its three generations; its own are 700, 10 and 10.

Jobs and packets make no cycles, and each look for them costs time: with Python's figures a job that is
taken into a long queue takes 3.7 microseconds, with these 3.1. Higher figures for the first two
save nothing more. A look through all objects makes the server stand still, for half a second where there
are two million, so the third lets that be rare.
"""

MOST_NAMED: Final = 20
"""Paused functions that the log names at the start; a command lists all."""

NEEDED_DESCRIPTORS: Final = 64
"""Descriptors that a server has at least: about a dozen are its own, the others are for peers."""

REPLAY_CHUNK: Final = 10_000
"""Jobs that are read at once when the server starts."""
REPLAY_REPORT: Final = 100_000
"""Jobs after which the log hears how far that is."""


class ServerService(Service):
    """
    A job server that listens.

    @ivar server: the broker and what belongs to it; there from L{startService} on.
    @ivar scheduler: what submits by the clock; there from L{startService} on.
    """

    log = Logger()
    name = "txgear"

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        modules: list[IProtocolModule],
        options: Mapping[str, Any],
        store: IJobStore | None = None,
        config: Config | None = None,
        wall_seconds: Callable[[], float] | None = None,
    ) -> None:
        """
        @param reactor: the reactor; it is stopped when the server has ended by
            a signal or a text command.
        @param settings: for all ports.
        @param modules: what is spoken, each on ports of its own.
        @param options: the whole command line, by long names.
        @param store: where background jobs are kept, not open yet; C{None} for in memory only.
        @param config: what the file of C{--config} says; the file is read again when SIGHUP comes.
        @param wall_seconds: reads the wall clock; by default the reactor's clock is that as well.
        """
        self._reactor = reactor
        self._settings = settings
        self._modules = modules
        self._options = options
        self._store = store
        self._config = Config() if config is None else config
        self._wall_seconds = wall_seconds
        self._thread: StoreThread | None = None
        self._ports: list[IListeningPort] = []
        self._log_file: LogFile | None = None
        self._stopping = False
        self._closing_ports: Deferred[Any] = succeed(None)

    def startService(self) -> None:
        """
        Start everything, in the order of what may fail.

        @raise ConfigurationError: it cannot run as it was asked to.
        """
        try:
            self._start()
        except ConfigurationError as error:
            self.log.critical("{error}", error=error)
            raise
        super().startService()
        self.log.info(
            "txgear {version} is ready: store {store}, listening on {ports}",
            version=__version__,
            store="memory:" if self._store is None else self._store.name,
            ports=", ".join(listeners.shown(port) for port in self._ports),
            always=True,
        )

    def _start(self) -> None:
        options = self._options
        if options["log-file"] is not None:
            self._log_file = LogFile(options["log-file"], self._settings.level)
            globalLogPublisher.addObserver(self._log_file)
        if options["file-descriptors"]:
            self._limit_descriptors(options["file-descriptors"])
        for option in options["ignored"]:
            self.log.info("{option} has no meaning here; it is ignored", option=option)
        # Before anybody can connect, and again when the reactor has installed its own.
        self._install_signal_handlers()
        self._reactor.callWhenRunning(self._install_signal_handlers)
        gc.set_threshold(*GC_THRESHOLDS)
        journal = None
        if self._store is not None:
            self._thread = StoreThread(self._reactor)
            journal = Journal(self._store, self._thread, self._reactor, self._settings.store_timeout)
        self.server = JobServer(self._reactor, self._settings, journal, self._wall_seconds)
        self.server.shutdown = self.shutdown
        self.server.descriptors = Descriptors(soft_limit())
        self.server.broker.set_policies(self._config.policies, self.server.seconds())
        self.scheduler = Scheduler(self.server)
        self.server.config = self._options["config"]
        self.server.schedules = self.scheduler.listed
        marks: list[StoredValue] = []
        try:
            if self._store is not None:
                marks = self._replay(self._store)
            self._listen()
        except ConfigurationError:
            self.server.stop()
            self._let_go_of_store()
            raise
        if options["config"] is not None:
            self.log.info("{path}: {summary}", path=options["config"], summary=self._config.summary)
            self._warn_of_config()
            # Without the option nothing is said of schedules: what is remembered of them stays.
            self.scheduler.start(self._config.schedules, marks)

    def _limit_descriptors(self, wanted: int) -> None:
        """gearmand takes any number, so start scripts may have one with which nobody could connect."""
        if wanted < NEEDED_DESCRIPTORS:
            self.log.warn(
                "--file-descriptors {wanted} is too few; it is {needed} now",
                wanted=wanted,
                needed=NEEDED_DESCRIPTORS,
            )
        raise_descriptor_limit(max(wanted, NEEDED_DESCRIPTORS))

    def _replay(self, store: IJobStore) -> list[StoredValue]:
        """
        Open the store and queue what is in it. This blocks: nobody can have connected yet.

        @return: what else is remembered.
        """
        broker = self.server.broker
        started = self.server.seconds()
        try:
            store.open()
            # Above all that are kept.
            broker.reserve(store.reserve(NUMBERS), NUMBERS)
            for record in by_place(self._kept_jobs(store)):
                broker.restore(record, started)
            broker.restored()
            marks = store.values()
            paused = [mark for mark in marks if mark.kind == PAUSED]
            for mark in paused:
                broker.restore_mark(mark, started)
        except StoreUnusable:
            raise
        except StoreError as error:
            raise ConfigurationError(f"the store {store.name}: {error}") from error
        self._say_what_is_back(self.server.seconds() - started)
        self._say_what_is_paused([mark.name for mark in paused])
        return marks

    def _say_what_is_paused(self, functions: list[bytes]) -> None:
        """Nobody wonders why their jobs wait who has read this."""
        if functions:
            more = len(functions) - MOST_NAMED
            self.log.warn(
                "paused, until `resume` is said: {functions}{more}",
                functions=" ".join(shown_word(name).decode("utf-8") for name in functions[:MOST_NAMED]),
                more=f" and {more} more" if more > 0 else "",
            )

    def _say_what_is_back(self, seconds: float) -> None:
        queued, ended = self.server.broker.jobs, self.server.broker.archive.jobs
        if not (queued or ended):
            return
        dead = sum(job.state == DEAD for job in ended.values())
        self.log.info(
            "{count} {jobs} back from the store, in {seconds:.1f} seconds{also}",
            count=len(queued),
            jobs="job is" if len(queued) == 1 else "jobs are",
            seconds=seconds,
            also=f"; ended ones that are kept: {dead} dead, {len(ended) - dead} others" if ended else "",
        )

    def _kept_jobs(self, store: IJobStore) -> Iterator[JobRecord]:
        after = count = 0
        while True:
            records = store.replay(after, REPLAY_CHUNK)
            yield from records
            count += len(records)
            if len(records) < REPLAY_CHUNK:
                return
            after = records[-1].number
            if not count % REPLAY_REPORT:
                self.log.info("{count} jobs read from the store", count=count)

    def _let_go_of_store(self) -> None:
        """The server has not started: close the store, which nobody else uses now."""
        if self._store is not None and self._thread is not None:
            self._thread.stop()
            self._store.close(None)

    def _listen(self) -> None:
        places = listeners.places(self._options["listen"])
        for module in self._modules:
            factory = module.factory(self.server, self._options)
            port = self._options[module.port_option]
            # What has a port of its own is the Gearman protocol's.
            wanted = [
                place
                for place in places
                if module.port_option == "port" or (place.address is not None and place.port is None)
            ]
            opened = [
                listeners.listen(self._reactor, place, port, self._options["backlog"], factory)
                for place in wanted or listeners.places([])
            ]
            self._ports += [port for port in opened if port is not None]
            if not any(opened):
                raise ConfigurationError(
                    f"this machine has no loopback address for {module.name}; use --listen"
                )

    def _install_signal_handlers(self) -> None:
        """
        SIGTERM is a way to end, not to die of, so the status is 0; and SIGUSR1
        is not twistd's log rotation.
        """
        for number, action in (
            (signal.SIGTERM, lambda: self.shutdown(False)),
            (signal.SIGINT, lambda: self.shutdown(False)),
            (signal.SIGUSR1, lambda: self.shutdown(True)),
            (signal.SIGHUP, self.hang_up),
        ):
            signal.signal(number, self._in_reactor(action))

    def _in_reactor(self, action: Callable[[], None]) -> Callable[[int, object], None]:
        return lambda number, frame: self._reactor.callFromThread(action)

    def shutdown(self, graceful: bool) -> None:
        """
        End the process.

        @param graceful: first stop listening, hand out no new background job,
            and wait for those that run and those that clients wait for.
        """
        if not graceful:
            if not self._stopping:
                self._stopping = True
                self._reactor.stop()
        elif not self.server.broker.draining:
            self.log.info("draining: no new jobs; waiting for those that run or are waited for")
            self._closing_ports = self._close_ports()
            self._draining = self.server.drain().addCallback(self._drained)

    def _drained(self, result: None) -> None:
        left = len(self.server.broker.jobs)
        one = left == 1
        jobs = "1 background job" if one else f"{left} background jobs"
        if left and self._store is not None:
            self.log.info("drained; {jobs} {stay} in the store", jobs=jobs, stay="stays" if one else "stay")
        elif left:
            self.log.warn("drained; {jobs} in memory {are} given up", jobs=jobs, are="is" if one else "are")
        self.shutdown(False)

    def hang_up(self) -> None:
        """What SIGHUP asks for: L{reopen_log}, and L{reload}."""
        self.reopen_log()
        self.reload()

    def reload(self) -> None:
        """
        Read the file of C{--config} again. If that has a mistake, the log says
        so, and what was read before stays in force.
        """
        path = self._options["config"]
        if path is None:
            return
        try:
            self._config = read_config(path)
        except ConfigurationError as error:
            self.log.error("{error}; the settings stay as they were", error=error)
            return
        self.server.broker.set_policies(self._config.policies, self.server.seconds())
        self.server.end_turn()
        self.scheduler.replace(self._config.schedules)
        self.log.info("{path} read again: {summary}", path=path, summary=self._config.summary)
        self._warn_of_config()

    def _warn_of_config(self) -> None:
        for warning in self._config.warnings:
            self.log.warn("{warning}", warning=warning)

    def reopen_log(self) -> None:
        """The log file has been moved away: go on in a new one."""
        if self._log_file is not None:
            try:
                self._log_file.reopen()
            except ConfigurationError as error:
                self.log.error("{error}; going on in the old one", error=error)

    def _close_ports(self) -> Deferred[Any]:
        ports, self._ports = self._ports, []
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])

    @inlineCallbacks
    def stopService(self) -> Any:
        """
        Stop listening, send the peers what is left for them, hang up, and write
        to the store what is left for that.

        @return: a Deferred that fires when all that is done. The peers have L{STOP_SECONDS}
            for it; a store that does not answer is waited for once, for its timeout.
        """
        super().stopService()
        self.scheduler.stop()
        yield self._closing_ports
        yield self._close_ports()
        journal = self.server.journal
        if journal is not None:
            yield journal.settle()
        closed = self.server.close_connections()
        yield closed.addTimeout(STOP_SECONDS, self._reactor, onTimeoutCancel=lambda result, timeout: None)
        if journal is not None:
            yield journal.close()
        if self._thread is not None:
            self._thread.stop()
        self.server.stop()
        # Or the end of the process would look for cycles once more: six seconds for a million jobs.
        gc.freeze()
        self.log.info("txgear has ended")
        if self._log_file is not None:
            globalLogPublisher.removeObserver(self._log_file)
            self._log_file.close()


def raise_descriptor_limit(wanted: int) -> None:
    """
    Let the process open that many files, the hard limit included if it must.

    @raise ConfigurationError: the system does not allow it.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"--file-descriptors {wanted}: the system allows {hard} ({error})"
        ) from error
