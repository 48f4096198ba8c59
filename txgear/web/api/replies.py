"""
The broker's answers to what a request submits, and the packets of its job.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from txgear.broker.model import Job, Reply
from txgear.errors import STORE_REFUSED, STORE_UNAVAILABLE, QueueError
from txgear.protocol.constants import ERROR, JOB_CREATED
from txgear.protocol.packets import Packet
from txgear.web.request import WebRequest

_QUEUE_ERROR: Final = QueueError.default_code.encode("ascii")

Told = Callable[[Job, bool, "QueueError | None"], None]
"""
Called once: with the job that was submitted and C{None} when it is taken, and safe on the disk where it is to
be; or with why not. Where the store had it already as another one, that is told, and C{True}.
"""


class Replies:
    """
    Takes the packets of one request's peer. The answers to submits come in the order of the submits, and each
    goes to whoever waits for it.

    @ivar on_packet: called with all others: the type and the arguments.
    """

    def __init__(self, request: WebRequest) -> None:
        self.on_packet: Callable[[Any, list[Any]], None] = lambda kind, arguments: None
        self._request = request
        self._server = request.server
        self._expected: deque[tuple[Job, Reply | None, Told]] = deque()
        request.on_packets = self._take

    def created(self, job: Job, background: bool, told: Told) -> None:
        """
        The broker has a job: have its submitter told when that is sure.

        @param background: whether it is to outlive its client.
        """
        self._expected.append((job, job.reply, told))
        self._server.created(self._request.peer, job, background)

    def _take(self, packets: list[Packet]) -> None:
        for index, (kind, *arguments) in enumerate(packets):
            if kind == JOB_CREATED:
                job, _, told = self._expected.popleft()
                self._taken(job, told, bytes(arguments[0]))
            elif kind != ERROR:
                self.on_packet(kind, arguments)
            elif arguments[0] == _QUEUE_ERROR and self._expected:
                job, reply, told = self._expected.popleft()
                told(job, False, self._refused(reply, bytes(arguments[1])))
            else:
                # It is not about a job: the peer is not served any more.
                self._request.on_packets = None
                self._request.write_packets(packets[index:])
                return

    def _taken(self, job: Job, told: Told, handle: bytes) -> None:
        broker = self._server.broker
        if handle == job.naming % job.number:
            told(job, False, None)
        else:
            # What is not in memory any more has the other's handle.
            told(broker.table.by_handle(handle) or broker.archive.by_handle(handle) or job, True, None)

    def _refused(self, reply: Reply | None, text: bytes) -> QueueError:
        """The store has not taken a job, or there is no room for one of which it was asked."""
        journal = self._server.journal
        gone = journal is not None and journal.unavailable is not None
        why = STORE_UNAVAILABLE if gone else STORE_REFUSED
        return QueueError(text.decode("utf-8", "replace"), why=(reply and reply.why) or why)
