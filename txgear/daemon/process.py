"""
A process whose only service is the job server: signals, the garbage collector, the limit of descriptors, the
log file, the pid file, and the end of the reactor.
"""

from __future__ import annotations

import atexit
import gc
import os
import resource
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from txgear.broker import words
from txgear.broker.model import Peer
from txgear.broker.records import StoredValue
from txgear.broker.rights import SHUTDOWN
from txgear.daemon.handover import HandOver, Offer
from txgear.daemon.logs import LogFile
from txgear.daemon.notify import Notifier, notifier
from txgear.daemon.pidfile import PidFile
from txgear.daemon.predecessor import PidFileOffer
from txgear.daemon.service import ServerService
from txgear.daemon.startup import NotStarted, StandardError
from txgear.daemon.trim import Trimmer, give_back, keep_large
from txgear.errors import ConfigurationError
from txgear.interfaces import IJobStore
from txgear.net.ownports import OwnSocket
from txgear.security.audit import DONE

GC_THRESHOLDS: Final = (5000, 1, 4000)
"""
The thresholds of Python's cycle collector, for its three generations; its own are 700, 10 and 10.

Packets make no cycles, and jobs are not looked at (L{txgear.broker.model.Job}); each look costs time. Higher
figures for the first two save nothing more, and those say for how long the server stands still: 10,000
objects are looked through in 3 ms. With thousands of connections a look through all may take a quarter of a
second, so the third lets that be rare.
"""

SIGNAL: Final = "signal"
"""Who asked for something, in the audit log, where a signal did."""

NEEDED_DESCRIPTORS: Final = 64
"""Descriptors that a server has at least: about a dozen are its own, the others are for peers."""


class ProcessService(ServerService):
    """
    A L{ServerService} that is all that its process does, with C{twistd}'s options.
    """

    def __init__(
        self,
        *arguments: Any,
        pid_file: PidFile | None,
        notes: Sequence[str],
        stderr: StandardError,
        guard: Callable[[], None],
        environ: Mapping[str, str],
        takeover: str = "",
    ) -> None:
        """
        @param arguments: those of L{ServerService}; the options are the whole command line.
        @param pid_file: where the number of the process is to stand.
        @param notes: lines about the options, for the log and for whoever starts the server.
        @param stderr: takes these lines, and the reason why the server has not started.
        @param guard: called when the server has started; sees to it that no reader of the output can block
            it.
        @param environ: may say which service manager is to be told how the server is.
        @param takeover: the command that takes over what a gearmand has left in the store's database.
        """
        super().__init__(*arguments)
        self.end = self._reactor.stop
        self._pid_file = pid_file
        self._notes = list(notes)
        self._stderr = stderr
        self._guard = guard
        self._environ = environ
        self._takeover = takeover
        self._notifier: Notifier | None = None
        self._has_taken_over = False
        self._trimmer: Trimmer | None = None
        self._pid_file_error: ConfigurationError | None = None
        self._has_started = self._has_failed = False
        self._exit: Callable[[int], object] = os._exit
        self._log_file: LogFile | None = None

    # The start

    def privilegedStartService(self) -> None:
        """Take the pid file, still as the user who starts the server."""
        if self._pid_file is not None:
            with self._reported():
                try:
                    self._pid_file.take()
                except ConfigurationError as error:
                    if self._handover is None:
                        self.log.critical("{error}", error=error)
                        raise
                    # Perhaps it is the file of the server whose place we take.
                    self._pid_file_error = error
        super().privilegedStartService()

    def startService(self) -> None:
        """
        Start everything.

        @raise NotStarted: it cannot run as it was asked to.
        """
        with self._reported():
            super().startService()
        if not self._has_started:
            self._has_started = True
            self._started_first()
        else:
            # Of the server before there are cycles left, with all its jobs. Nobody is served yet.
            gc.collect()
            give_back()
        server = self.server
        self._trimmer = Trimmer(self._reactor, server.seconds, give_back, server.freed, server.held)
        if self._notifier is not None:
            # Nobody is served before the reactor runs.
            self._reactor.callWhenRunning(self._tell_ready)

    def _started_first(self) -> None:
        """What is done once, however often a successor fails and we go on."""
        # A daemon is another process than the one that has read the options.
        self._notifier = notifier(self._reactor, self._environ, self._doings)
        for note in self._notes:
            self.log.warn("{note}", note=note)
            self._stderr.say(note)
        self._stderr.close()
        # Before what the guard registers, and so after it in the end.
        atexit.register(self.end_of_process)
        self._guard()
        if self._pid_file is not None:
            self._reactor.addSystemEventTrigger("after", "shutdown", self._pid_file.release)

    def _inherit(self, handover: HandOver) -> list[OwnSocket]:
        """And the pid file, if it is ours as well."""
        sockets = super()._inherit(handover)
        predecessor = handover.predecessor
        self._has_taken_over = predecessor is not None
        if predecessor is not None and predecessor.pid_file is not None and self._pid_file is not None:
            offered, predecessor.pid_file = predecessor.pid_file, None
            if self._pid_file.borrow(offered.descriptor):
                self._pid_file_error = None
        if self._pid_file_error is not None:
            raise self._pid_file_error
        return sockets

    def _confirm(self) -> bool:
        if self._pid_file is None:
            return False
        borrowed = self._pid_file.is_borrowed
        self._pid_file.confirm()
        return borrowed

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
        # What that does at a SIGTERM is not to be the end of a process that dies of it, not for a moment.
        self._reactor.sigTerm = signal.getsignal(signal.SIGTERM)
        gc.set_threshold(*GC_THRESHOLDS)
        if not self._has_started:
            # What there is now is there to stay, and a look through it takes 60 ms.
            gc.collect()
            gc.freeze()
        keep_large()
        super()._start()

    def _limit_descriptors(self, wanted: int) -> None:
        """gearmand takes any number, so start scripts may have one with which nobody could connect."""
        if wanted < NEEDED_DESCRIPTORS:
            self.log.warn(
                "--file-descriptors {wanted} is too few; it is {needed} now",
                wanted=wanted,
                needed=NEEDED_DESCRIPTORS,
            )
        raise_descriptor_limit(max(wanted, NEEDED_DESCRIPTORS))

    def _restore(self, store: IJobStore) -> list[StoredValue]:
        """And look for another queue, which who came from gearmand may have forgotten."""
        values = super()._restore(store)
        table = self._options["gearmand-table"]
        if table is not None:
            # Loaded already, where it is one.
            from txgear.stores.sql import SqlStore

            if not isinstance(store, SqlStore):
                return values
            rows, taken = store.leftovers(table)
            if rows > taken:
                jobs = f"{words.number(rows, 'job')} of gearmand {words.verb(rows, 'is', 'are')}"
                done = f"{taken} of them were taken over; " if taken else ""
                self._notes.append(
                    f"{jobs} in table {table} of {store.name}; {done}stop this server and take them over:"
                    f" {self._takeover}"
                )
        return values

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Say why the server has not started to whoever starts it."""
        try:
            yield
        except ConfigurationError as error:
            if self._pid_file is not None:
                self._pid_file.release()
            self._stderr.say(str(error))
            # C{twistd} lets it through to the interpreter, and a daemon's to its parent.
            raise NotStarted("the line above says why") from error

    def _tell_ready(self) -> None:
        if self._notifier is not None and self.running:
            self._notifier.ready(os.getpid() if self._has_taken_over else None)

    def _doings(self) -> str:
        """What the server does, in a line."""
        server = self.server
        broker, journal = server.broker, server.journal
        jobs, running = len(broker.table), broker.dispatcher.running
        peers = words.number(len(broker.peers), "connection")
        counts = f"{peers}; {words.number(jobs, 'job')}, {running:,} of them running"
        if broker.dispatcher.draining:
            return f"draining: {counts}"
        if journal is not None and journal.unavailable is not None:
            return f"takes no background job, {journal.unavailable_detail}: {counts}"
        return counts

    @property
    def _goes_on(self) -> bool:
        """Whether the service is to go on, here or in another process, though it stops."""
        return self._released is not None or (self._cluster is not None and self._cluster.begins_anew)

    # Another server takes our place

    def offer(self) -> Offer:
        """As in L{ServerService}; with the pid file."""
        offer = super().offer()
        if self._pid_file is None or self._pid_file.descriptor is None:
            return offer
        return offer._replace(pid_file=PidFileOffer(self._pid_file.path, self._pid_file.descriptor))

    def start_again(self) -> None:
        """As in L{ServerService}; if that cannot be, the process ends with the status 1."""
        super().start_again()
        self._has_failed = not self.running

    def store_taken(self) -> None:
        """As in L{ServerService}; a process that ends by it has the status 1: nobody has asked for it."""
        self._has_failed = self._cluster is None
        super().store_taken()

    def end_of_process(self) -> None:
        """Give the process its status: the reactor knows none, and a late signal is to give it none."""
        for number in (signal.SIGHUP, signal.SIGUSR1):
            # Python gives all that is handled back to the system before it ends, and that lets these kill.
            signal.signal(number, signal.SIG_IGN)
        if self._has_failed:
            self._exit(1)

    def leave(self, has_pid_file: bool) -> None:
        """As in L{ServerService}."""
        if has_pid_file and self._pid_file is not None:
            self._pid_file.leave()
        if self._notifier is not None:
            self._notifier.stop()
        super().leave(has_pid_file)

    # While it runs

    def _install_signal_handlers(self) -> None:
        """
        SIGTERM is a way to end, not to die of, so the status is 0; and SIGUSR1
        is not twistd's log rotation.
        """
        for number, action in (
            (signal.SIGTERM, lambda: self._end_by_signal(False)),
            (signal.SIGINT, lambda: self._end_by_signal(False)),
            (signal.SIGUSR1, lambda: self._end_by_signal(True)),
            (signal.SIGHUP, lambda: self.hang_up(SIGNAL)),
        ):
            signal.signal(number, self._in_reactor(action))

    def _in_reactor(self, action: Callable[[], None]) -> Callable[[int, object], None]:
        return lambda number, frame: self._reactor.callFromThread(action)

    def _end_by_signal(self, graceful: bool) -> None:
        self.server.audit.record(SHUTDOWN, DONE, by=SIGNAL, arguments="graceful" if graceful else None)
        self.shutdown(graceful)

    def hang_up(self, by: str, peer: Peer | None = None) -> None:
        """As in L{ServerService}; and tell who has started the process."""
        if self._notifier is not None:
            self._notifier.reloading()
        super().hang_up(by, peer)
        self._tell_ready()

    def reopen_log(self) -> None:
        """The log files have been moved away: go on in new ones."""
        super().reopen_log()
        if self._log_file is not None:
            try:
                self._log_file.reopen()
            except ConfigurationError as error:
                self.log.error("{error}; going on in the old one", error=error)

    # The end

    def stopService(self) -> Deferred[None]:
        """As in L{ServerService}; and let the process end."""
        if self._trimmer is not None:
            self._trimmer.stop()
            self._trimmer = None
        # One that gives way is told nothing of: perhaps the next one is a process of the same service.
        if self._notifier is not None and not self._goes_on:
            self._notifier.stopping()
        return super().stopService().addCallback(self._let_process_end)

    def _let_go(self) -> None:
        if self._goes_on:
            super()._let_go()

    def _let_process_end(self, stopped: None) -> None:
        if not self._goes_on:
            # Or the end of the process would look for cycles once more: six seconds for a million jobs.
            gc.freeze()
        if self._notifier is not None and not self._goes_on:
            self._notifier.stop()
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
