"""
The whole server as a Twisted service: what starts, in which order, and how it ends.
"""

from __future__ import annotations

import gc
import resource
import signal
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger, globalLogPublisher

from txgear import __version__, listeners
from txgear.errors import ConfigurationError
from txgear.interfaces import IProtocolModule
from txgear.jobserver import JobServer, Settings
from txgear.logs import LogFile

STOP_SECONDS: Final = 5.0
"""How long connections may take to be sent what is left, when the server stops."""

GC_THRESHOLD: Final = 100_000
"""
Objects between two looks for cycles. Jobs and packets make none, and Python's
own figure, 700, makes 3.7 microseconds of 3.1 for a job that is taken into a long queue.
"""


class ServerService(Service):
    """
    A job server that listens.

    @ivar server: the broker and what belongs to it; there from L{startService} on.
    """

    log = Logger()
    name = "txgear"

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        modules: list[IProtocolModule],
        options: Mapping[str, Any],
    ) -> None:
        """
        @param reactor: the reactor; it is stopped when the server has ended by
            a signal or a text command.
        @param settings: for all ports.
        @param modules: what is spoken, each on ports of its own.
        @param options: the whole command line, by long names.
        """
        self._reactor = reactor
        self._settings = settings
        self._modules = modules
        self._options = options
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
            store=self._options["store"],
            ports=", ".join(listeners.shown(port) for port in self._ports),
        )

    def _start(self) -> None:
        options = self._options
        if options["log-file"] is not None:
            self._log_file = LogFile(options["log-file"], self._settings.level)
            globalLogPublisher.addObserver(self._log_file)
        if options["file-descriptors"] is not None:
            raise_descriptor_limit(options["file-descriptors"])
        for option in options["ignored"]:
            self.log.info("{option} has no meaning here; it is ignored", option=option)
        # Before anybody can connect, and again when the reactor has installed its own.
        self._install_signal_handlers()
        self._reactor.callWhenRunning(self._install_signal_handlers)
        self.server = JobServer(self._reactor, self._settings)
        self.server.shutdown = self.shutdown
        try:
            self._listen()
        except ConfigurationError:
            self.server.stop()
            raise
        gc.set_threshold(GC_THRESHOLD, 20, 100)

    def _listen(self) -> None:
        places = listeners.places(self._options["listen"])
        for module in self._modules:
            factory = module.factory(self.server, self._options)
            port = self._options[module.port_option]
            # An endpoint string has a port of its own: it is the Gearman protocol's.
            wanted = [place for place in places if place.address is not None or module.port_option == "port"]
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
            (signal.SIGHUP, self.reopen_log),
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
        if left:
            self.log.warn("drained; {left} background jobs in memory are given up", left=left)
        self.shutdown(False)

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
        Stop listening, send the peers what is left for them, and hang up.

        @return: a Deferred that fires when all that is done, or after
            L{STOP_SECONDS}.
        """
        super().stopService()
        yield self._closing_ports
        yield self._close_ports()
        closed = self.server.close_connections()
        yield closed.addTimeout(STOP_SECONDS, self._reactor, onTimeoutCancel=lambda result, timeout: None)
        self.server.stop()
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
