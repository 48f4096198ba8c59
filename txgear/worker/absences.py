"""
The servers of a worker that are away: what it has of them goes on for as long as each waits for it, and is
offered when it is back; also to the others, where one of these may have its jobs by then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txgear.broker.words import number, verb
from txgear.net.connector import LONGEST_DELAY, Connector
from txgear.net.servers import Server
from txgear.quantities import second_words
from txgear.worker.connection import WorkerConnection
from txgear.worker.job import WorkerJob
from txgear.worker.returning import Absence
from txgear.worker.running import RunningJobs

HURRY_SECONDS: Final = 1.0
"""Seconds between two attempts to connect, at the most, while jobs of the server go on here."""
_TOO_LONG: Final = "the server was away for too long"


class Absences:
    """
    What a worker keeps of each server that is away.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        connectors: Mapping[Server, Connector[WorkerConnection]],
        jobs: RunningJobs,
        ended: Callable[[], object],
        connected: Callable[[], Iterable[WorkerConnection]],
    ) -> None:
        """
        @param connectors: connect to the servers. They hurry as long as something is kept of theirs.
        @param jobs: runs the jobs; those that go on no more are given up there.
        @param ended: called when nothing is kept of a server any more.
        @param connected: what leads to all servers that are there.
        """
        self._connected = connected
        self._clock = clock
        self._connectors = connectors
        self._jobs = jobs
        self._ended = ended
        self._kept: dict[Server, Absence] = {}

    def __contains__(self, server: Server) -> bool:
        """Whether something is kept of this server."""
        return server in self._kept

    def claims(self, server: Server) -> tuple[Mapping[bytes, int], Collection[bytes]]:
        """
        What is kept of a server, as it is told.

        @return: the attempt of each job, by its handle; and the handles of those of which the server has data
            or warnings.
        """
        absence = self._kept.get(server)
        return ({}, ()) if absence is None else (absence.claims, absence.parts)

    def begin(self, connection: WorkerConnection) -> None:
        """A connection has ended whose server waits for what the worker has: keep that, if there is any."""
        server = connection.server
        absence = self._kept.get(server)
        if absence is None:
            absence = Absence(self._give_up_soon)
        connection.leave_to(absence)
        if absence:
            self._kept[server] = absence
            if absence.timer is not None:
                absence.timer.cancel()
            absence.moves = connection.offers
            absence.timer = self._clock.callLater(connection.grace, self._overdue, server)
            self._connectors[server].patience = HURRY_SECONDS
            self.log.info(
                "{jobs} of {server} {go} on for {grace}",
                jobs=number(len(absence), "job"),
                server=server.name,
                go=verb(len(absence), "goes", "go"),
                grace=second_words(connection.grace),
            )
            self._offer()

    def _offer(self) -> None:
        """Offer what others may take to all of them."""
        offers = {
            handle: attempt for absence in self._kept.values() for handle, attempt in absence.offers.items()
        }
        for connection in self._connected():
            connection.offer(offers)

    def lost_again(self, server: Server) -> None:
        """A connection has ended before the server has said what is still the worker's."""
        absence = self._kept.get(server)
        if absence is not None and absence.is_over:
            self.end(server, _TOO_LONG)

    def _overdue(self, server: Server) -> None:
        absence = self._kept[server]
        absence.timer = None
        connection = self._connectors[server].connection
        if connection is not None and connection.awaits_welcome and not connection.closing:
            absence.is_over = True
        else:
            self.end(server, _TOO_LONG)

    def welcomed(self, connection: WorkerConnection, held: Collection[bytes]) -> None:
        """
        A server says what is still the worker's: that goes on over the new connection.

        @param held: the handles.
        """
        absence = self._kept.get(connection.server)
        if not set(held) <= (set() if absence is None else absence.claims.keys()):
            # Since it was told. The server would wait for it for good: on the next connection it hears it.
            connection.drop("gives back what has been given up meanwhile")
            return
        if absence is None:
            self._offer()
            return
        offered = len(absence)
        for job in absence.deliver(connection, held, not connection.offers):
            connection.take_back(job)
        self.log.info(
            "{server} takes {count} of {jobs} from before",
            server=connection.server.name,
            count=len(held),
            jobs=number(offered, "job"),
        )
        if connection.offers and absence and not absence.is_over:
            # Nobody may have them yet, as the server that it was has let go of them.
            self._offer()
        else:
            self.end(connection.server, "the server was away, and has given it to others")

    def returned(self, connection: WorkerConnection, held: Collection[bytes]) -> None:
        """
        A server has jobs from another one by now that are still the worker's: they go on over its connection.

        @param held: their handles.
        """
        if not set(held) <= {handle for absence in self._kept.values() for handle in absence.offers}:
            connection.drop("gives back what has been given up meanwhile")
            return
        for server, absence in list(self._kept.items()):
            if mine := absence.offers.keys() & held:
                self.log.info(
                    "{server} has {jobs} of {former} now, which {go} on",
                    server=connection.server.name,
                    jobs=number(len(mine), "job"),
                    former=server.name,
                    go=verb(len(mine), "goes", "go"),
                )
                for job in absence.deliver(connection, mine, False):
                    connection.take_back(job)
                if not absence:
                    self.end(server, "another server has it")
        self._offer()

    def end(self, server: Server, why: str) -> None:
        """
        Keep nothing of a server any more: its jobs that go on are given up.

        @param why: in words.
        """
        absence = self._kept.pop(server)
        if absence.timer is not None:
            absence.timer.cancel()
        if server in self._connectors:
            self._connectors[server].patience = LONGEST_DELAY
        for job in absence.running:
            self._jobs.give_up(job, why)
        self._offer()
        self._ended()

    def end_all(self, why: str) -> None:
        """The same for all servers."""
        for server in list(self._kept):
            self.end(server, why)

    def _give_up_soon(self, job: WorkerJob, why: str) -> None:
        self._clock.callLater(0, lambda: None if job.gone else self._jobs.give_up(job, why))
