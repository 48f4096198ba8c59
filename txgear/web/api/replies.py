"""
The broker's answers to what a request submits, and the packets of its job.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from txgear.broker.model import Job
from txgear.errors import STORE_REFUSED, STORE_UNAVAILABLE, QueueError
from txgear.protocol.constants import ERROR, JOB_CREATED
from txgear.protocol.packets import Packet
from txgear.web.request import WebRequest

_QUEUE_ERROR: Final = QueueError.default_code.encode("ascii")

Told = Callable[["QueueError | None"], None]
"""Called once: with C{None} when a job is taken, and safe on the disk where it is to be; or with why not."""


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
        self._expected: deque[Told] = deque()
        request.on_packets = self._take

    def created(self, job: Job, background: bool, told: Told) -> None:
        """
        The broker has a job: have its submitter told when that is sure.

        @param background: whether it is to outlive its client.
        """
        self._expected.append(told)
        self._server.created(self._request.peer, job, background)

    def _take(self, packets: list[Packet]) -> None:
        for index, (kind, *arguments) in enumerate(packets):
            if kind == JOB_CREATED:
                self._expected.popleft()(None)
            elif kind != ERROR:
                self.on_packet(kind, arguments)
            elif arguments[0] == _QUEUE_ERROR and self._expected:
                self._expected.popleft()(self._refused(bytes(arguments[1])))
            else:
                # It is not about a job: the peer is not served any more.
                self._request.on_packets = None
                self._request.write_packets(packets[index:])
                return

    def _refused(self, text: bytes) -> QueueError:
        """The store has not taken a job."""
        journal = self._server.journal
        gone = journal is not None and journal.unavailable is not None
        why = STORE_UNAVAILABLE if gone else STORE_REFUSED
        return QueueError(text.decode("utf-8", "replace"), why=why)
