"""
Carrying out what peers of other servers ask for, as if they had asked here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from txgear.broker.model import Peer, Reply
from txgear.broker.states import RUNNING
from txgear.cluster.carriedtasks import CarriedTasks
from txgear.cluster.letters import MOST_BYTES, Letter, refusal, visitor
from txgear.errors import ServerError
from txgear.protocol.constants import RESULT, TEXT
from txgear.protocol.packets import Packet
from txgear.server import elsewhere, textcommands
from txgear.server.jobserver import JobServer
from txgear.server.resultrequests import ResultRequests
from txgear.server.visitors import VisitorLine, VisitorTransport

Done = Callable[[Letter], None]
"""Called once with what has come of an order; not within the call that has begun it."""
Stop = Callable[[], None]
"""Nobody waits for an order any more."""

STATUS: Final = "status"


class Carrying:
    """
    Carries out orders, one method for each kind.
    """

    log = Logger()

    def __init__(self, server: JobServer) -> None:
        self._server = server
        self._kinds: dict[str, Callable[[Letter, Done], Stop]] = {
            STATUS: self._status,
            elsewhere.COMMAND: self._command,
            elsewhere.RESULT: self._result,
            elsewhere.HTTP: self._http,
            elsewhere.TASK: self._task,
        }
        self._tasks = CarriedTasks(server)

    def begin(self, asked: Letter, done: Done) -> Stop:
        """
        Carry out an order, in a turn of the server's.

        @return: to be called where nobody waits any more before it is done.
        """
        kind = self._kinds.get(asked.head["kind"])
        if kind is None:
            return _at_once(
                refusal(ServerError("The server that has the job does not know that", "UNKNOWN")), done
            )
        try:
            return kind(asked, done)
        except ServerError as error:
            return _at_once(refusal(error), done)

    def _visit(self, asked: Letter, heard: Callable[[Packet], None]) -> tuple[Peer, VisitorLine, Stop]:
        """Let the peer that asks be here."""
        server = self._server
        peer, line = visitor(server.guard, asked.head["who"]), VisitorLine(heard)
        server.visit(peer, line)
        return peer, line, lambda: server.disconnect(peer)

    # Kinds

    def _status(self, asked: Letter, done: Done) -> Stop:
        number = asked.head["job"]
        broker = self._server.broker

        def come(answered: bool, now: float) -> None:
            if not answered:
                done(refusal(elsewhere.not_read()))
                return
            job = broker.table.jobs.get(number)
            status = job and [int(job.state == RUNNING), *job.progress, len(job.clients)]
            done(Letter({STATUS: status}))

        broker.stock.load_handles((b":%d" % number,), come, self._server.seconds())
        return _nothing

    def _command(self, asked: Letter, done: Done) -> Stop:
        def heard(packet: Packet) -> None:
            leave()
            done(Letter({}, [bytes(packet[1])]))

        peer, _, leave = self._visit(asked, heard)
        found = textcommands.answer(self._server, peer, asked.parts[0])
        if isinstance(found, Reply):
            self._server.outbox.hold(peer, found)
        else:
            self._server.outbox.send(peer, TEXT, bytes(found))
        return leave

    def _result(self, asked: Letter, done: Done) -> Stop:
        def heard(packet: Packet) -> None:
            stop()
            parts = [bytes(each) for each in packet[1:]]
            if packet[0] == RESULT:
                done(Letter({}, parts))
            else:
                code, text = (each.decode("utf-8") for each in parts)
                done(refusal(ServerError(text, code)))

        def stop() -> None:
            requests.leave()
            leave()

        peer, line, leave = self._visit(asked, heard)
        requests = ResultRequests(self._server, peer, line)
        try:
            requests.ask(*asked.parts)
        except ServerError:
            stop()
            raise
        return stop

    def _task(self, asked: Letter, done: Done) -> Stop:
        guard = self._server.guard
        peer = visitor(guard, asked.head["who"])
        try:
            return _at_once(Letter({}, [self._tasks.carry_out(peer, asked.parts)]), done)
        finally:
            guard.left(peer)

    def _http(self, asked: Letter, done: Done) -> Stop:
        server = self._server
        if server.web_channel is None:
            raise ServerError("HTTP is not spoken by the server that has the job", "NOT_SPOKEN")
        channel = server.web_channel()
        if isinstance(channel, Deferred):
            # It is being imported.
            _ = channel.addCallback(lambda nothing: self._http_again(asked, done))
            return _nothing

        def answered(response: bytes | None) -> None:
            if response is None:
                done(refusal(too_large()))
            elif not response:
                done(refusal(elsewhere.not_answered(is_begun=True)))
            else:
                done(Letter({}, [response]))
            server.end_turn()

        peer = visitor(server.guard, asked.head["who"])
        transport = VisitorTransport(peer, server.clock, MOST_BYTES, answered)
        transport.carry(channel, asked.parts[0])
        return transport.loseConnection

    def _http_again(self, asked: Letter, done: Done) -> None:
        self.begin(asked, done)
        self._server.end_turn()


def too_large() -> ServerError:
    """The error for an answer that is too large."""
    return ServerError(
        f"The answer has over {MOST_BYTES} bytes, too many to be passed on: ask the server that has the job",
        "NOT_PASSED_ON",
    )


def _at_once(letter: Letter, done: Done) -> Stop:
    done(letter)
    return _nothing


def _nothing() -> None:
    """There is nothing to be stopped."""
