"""
A job that a worker has been given by a server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from json import loads
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from txgear.net.arguments import Workload, result_bytes
from txgear.net.servers import Server
from txgear.protocol.constants import (
    HEADER_SIZE,
    REQUEST_MAGIC,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.protocol.packets import PIECES_FROM, Decoder, large, pack_header
from txgear.protocol.traces import Trace

BEATS: Final = 3
"""How many beats a worker sends in the time of a lease: two of three may be late."""
SHORTEST_BEAT: Final = 0.1
"""Seconds between two beats at the least, however short a lease is."""


class JobConnection(Protocol):
    """The connection that a job came over, as far as the job needs it."""

    @property
    def server(self) -> Server:
        """Where it leads."""

    @property
    def decoder(self) -> Decoder:
        """Knows how large a packet may be."""

    @property
    def welcomed(self) -> bool:
        """Whether the server has answered who the worker is: it knows the newer packets."""

    def send(self, *chunks: bytes) -> None:
        """Write these."""

    def send_part(self, job: WorkerJob, chunks: list[bytes]) -> None:
        """Write data or a warning of a job."""

    def finish(self, job: WorkerJob, chunks: list[bytes]) -> None:
        """Write the packet that ends a job."""

    def beat(self, job: WorkerJob) -> None:
        """Tell the server that a job goes on."""

    def gathered(self) -> AbstractContextManager[None]:
        """What is sent within leaves in one write."""

    def write_gathered(self) -> None:
        """Write what has been gathered so far, although more will be."""

    def release(self, job: WorkerJob) -> None:
        """The job is not under way any more."""

    def when_caught_up(self, call: Callable[[], object]) -> None:
        """Call this when all that was written has left, at once if it has; never if the connection ends."""


class WorkerJob:
    """
    A job that was grabbed: the argument of a worker's function.

    What it sends once the job is L{gone} is dropped.

    @ivar handle: the server's handle for it.
    @ivar function: the function's name.
    @ivar unique: the unique; empty if there is none, or an old server does not send it.
    @ivar workload: the bytes that the client sent.
    @ivar reducer: the function that takes the parts of a partitioned job; empty for all others.
    @ivar server: the name of the server it came from.
    @ivar attempt: which attempt at this job it is, 1 for the first; 0 where the server does not send it.
    @ivar lease: seconds that the server waits for a sign of life of the job, 0.0 for no bound. The
        worker beats by itself, as long as the job has not ended.
    @ivar timeout: seconds that this attempt may take, 0.0 for no bound or where the server
        does not send it.
    @ivar trace: where the client says that the work on the job belongs; C{None} where it does not say that.
    @ivar gone: true once the server waits for this job no more: its time was
        up, somebody cancelled it, the connection was lost for too long, or the worker
        had to stop. A function in a thread may look at it from time to time, and return.
    @ivar why_gone: the reason of that, in words; empty before, and for a job that has ended.
    """

    # What few jobs ever set costs the others nothing.
    attempt: int = 0
    lease: float = 0.0
    timeout: float = 0.0
    trace: Trace | None = None
    gone: bool = False
    why_gone: str = ""
    # The rest is the worker's.
    running: Deferred[Any] | None = None
    timer: IDelayedCall | None = None
    next_beat: IDelayedCall | None = None
    from_thread: Callable[..., object] | None = None
    parts: bool = False
    parts_read: tuple[int, int] = (0, 0)
    _unsent: Sequence[Deferred[None]] = ()

    def __init__(
        self,
        connection: JobConnection,
        handle: bytes,
        function: bytes,
        unique: bytes,
        reducer: bytes,
        workload: bytes,
    ) -> None:
        self.handle = handle
        self.function = function
        self.unique = unique
        self.reducer = reducer
        self.workload = workload
        self.server = connection.server.name
        self.connection = connection

    # For users

    def json(self) -> Any:
        """
        The workload, read as JSON.

        @raise ValueError: it is none.
        """
        return loads(self.workload)

    def send_data(self, data: Workload | str) -> None:
        """
        Send a part of the result ahead. The result itself does not repeat it.

        @param data: text is sent as UTF-8.
        @raise ValueError: it does not fit a packet.
        @raise TypeError: it is neither text nor bytes.
        """
        self._send_part(WORK_DATA, data)

    def send_warning(self, data: Workload | str) -> None:
        """
        Send a warning; the job goes on.

        @param data: text is sent as UTF-8.
        @raise ValueError: it does not fit a packet.
        @raise TypeError: it is neither text nor bytes.
        """
        self._send_part(WORK_WARNING, data)

    def set_status(self, numerator: int, denominator: int) -> None:
        """
        Report the job's progress: C{numerator} of C{denominator}, whole numbers. Clients in C read them into
        32 bits.

        @raise TypeError: one is no number.
        """
        chunks = self.packet(WORK_STATUS, [self.handle, b"%d" % numerator], b"%d" % denominator)
        if self.from_thread is None:
            self.send(chunks)
        else:
            self.from_thread(self.send, chunks)

    def when_sent(self) -> Deferred[None]:
        """
        Wait until the connection has taken all that was sent over it. A job that sends much waits for
        this from time to time, and takes no more memory than the server lets it. Not for functions in a
        thread.

        @return: fires at once if nothing waits. It never fires where the job is given up meanwhile.
        """
        sent: Deferred[None] = Deferred(lambda _: None)
        self._unsent = [*(each for each in self._unsent if not each.called), sent]
        self._fire_when_sent(sent)
        return sent

    def _fire_when_sent(self, sent: Deferred[None]) -> None:
        self.connection.when_caught_up(lambda: None if sent.called else sent.callback(None))

    def _send_part(self, kind: int, data: Workload | str) -> None:
        chunks = self.packet(kind, [self.handle], result_bytes(data))
        if self.from_thread is None:
            self.send_part(chunks)
        else:
            self.from_thread(self.send_part, chunks)

    # For the worker

    def packet(self, kind: int, arguments: list[bytes], data: bytes) -> list[bytes]:
        """
        A packet about this job, as chunks. A server drops a connection over one
        that is too large, and gives the job to the next worker, and so on.

        @raise ValueError: it is larger than the worker's C{max_packet}.
        """
        chunks = large(REQUEST_MAGIC, kind, arguments, data)
        self._check_size(sum(map(len, chunks)) - HEADER_SIZE, data)
        return chunks

    def completed(self, result: bytes) -> list[bytes]:
        """
        The packet that ends this job with a result. It is the same as L{packet} makes, in less time.

        @raise ValueError: as for L{packet}.
        """
        handle = self.handle
        size = len(handle) + 1 + len(result)
        self._check_size(size, result)
        head = b"%b%b\0" % (pack_header(REQUEST_MAGIC, WORK_COMPLETE, size), handle)
        return [head + result] if size <= PIECES_FROM else [head, result]

    def _check_size(self, size: int, data: bytes) -> None:
        limit = self.connection.decoder.limit
        if size > limit:
            raise ValueError(f"{len(data)} bytes do not fit a packet of {limit} bytes")

    def send(self, chunks: list[bytes]) -> None:
        """Send a packet about this job, unless it is gone."""
        if not self.gone:
            self.connection.send(*chunks)

    def send_part(self, chunks: list[bytes]) -> None:
        """Send data or a warning, unless the job is gone."""
        if not self.gone:
            self.parts = True
            self.connection.send_part(self, chunks)

    def finish(self, chunks: list[bytes]) -> None:
        """Send the packet that ends the job, unless it is gone. Then it is."""
        if not self.gone:
            self.connection.finish(self, chunks)
        self.end()

    def go_on(self, connection: JobConnection) -> None:
        """The job has another connection from now on."""
        self.connection = connection
        for sent in self._unsent:
            self._fire_when_sent(sent)

    def beat(self, clock: IReactorTime, spent: float = 0.0) -> None:
        """
        From now on until L{end} send the server signs of life, as often as the lease demands.

        @param spent: seconds since the last one, or since the job came.
        """
        pause = max(self.lease / BEATS, SHORTEST_BEAT)
        self.next_beat = clock.callLater(max(pause - spent, 0.0), self._beat, clock)

    def _beat(self, clock: IReactorTime) -> None:
        self.connection.beat(self)
        self.beat(clock)

    def end(self) -> None:
        """The job has ended, or is given up: send nothing more about it."""
        self.gone = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.next_beat is not None:
            self.next_beat.cancel()
            self.next_beat = None
        self.connection.release(self)
