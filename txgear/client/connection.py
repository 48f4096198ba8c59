"""
A client's connection to a server: it knows which answer belongs to which request, and
which packet to which job.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

from twisted.internet.interfaces import IReactorTime

from txgear.client.job import TERMINAL, ClientJob
from txgear.client.questions import OptionQuestion, ResultQuestion
from txgear.client.requests import Request
from txgear.errors import MissingAbility, QueueError, server_error
from txgear.net.login import Login
from txgear.net.serverconnection import Limits, ServerConnection
from txgear.net.servers import Server
from txgear.protocol.constants import (
    ERROR,
    EXTENSION_OPTION,
    JOB_CREATED,
    OPTION_RES,
    RESULT,
    SHUTTING_DOWN,
    STATUS_RES,
    STATUS_RES_UNIQUE,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
)
from txgear.protocol.packets import Data

HANDLES_REMEMBERED: Final = 10_000
"""How many handles a client keeps the server of: some two megabytes."""

_WORK: Final = frozenset((WORK_DATA, WORK_WARNING, WORK_STATUS, WORK_COMPLETE, WORK_FAIL, WORK_EXCEPTION))
_ANSWERS: Final = frozenset((JOB_CREATED, STATUS_RES, STATUS_RES_UNIQUE, OPTION_RES))

MOST_REFUSALS: Final = 2
"""
Connections that may go down over the question for the extension before that is taken for the
server's answer: the first may have gone down by chance.
"""


class HandleMap:
    """Tells which server gave which handle, for the latest L{HANDLES_REMEMBERED} jobs that have not ended."""

    def __init__(self) -> None:
        self._servers: OrderedDict[bytes, Server] = OrderedDict()

    def add(self, handle: bytes, server: Server) -> None:
        """Remember a handle; the oldest one is forgotten where there are too many."""
        self._servers[handle] = server
        if len(self._servers) > HANDLES_REMEMBERED:
            self._servers.popitem(last=False)

    def remove(self, handle: bytes) -> None:
        """Forget a handle."""
        self._servers.pop(handle, None)

    def get(self, handle: bytes) -> Server | None:
        """The server that gave it."""
        return self._servers.get(handle)


class _Attached:
    """
    The jobs of one connection that have the same handle: they were submitted with the same unique.

    The server attaches the connection once for each submit, and sends each
    packet as many times, one copy after the other. The first copy is passed to all
    jobs, and the others are dropped. So all jobs get it from a server that sends only one copy, too.
    """

    __slots__ = ("_last", "_repeats", "jobs")

    def __init__(self) -> None:
        self.jobs: list[ClientJob] = []
        self._repeats = 0
        self._last: tuple[int, list[Data]] | None = None

    def is_copy(self, kind: int, arguments: list[Data]) -> bool:
        """Whether this packet is a copy, for another one of the jobs."""
        if len(self.jobs) == 1:
            return False
        packet = (kind, arguments)
        if self._repeats and self._last == packet:
            self._repeats -= 1
            return True
        self._last = packet
        self._repeats = len(self.jobs) - 1
        return False


class ClientConnection(ServerConnection):
    """
    A client's connection to a server.

    Requests are answered strictly in their order. The packets of jobs come in any order, and so do the
    answers to L{ResultQuestion}, which have a token.

    A request that needs the extension waits until the server has granted it. The server is asked for it
    when that is needed for the first time.
    """

    def __init__(
        self,
        clock: IReactorTime,
        server: Server,
        limits: Limits,
        greeting: list[bytes],
        login: Login | None,
        handles: HandleMap,
        on_ready: Callable[[ClientConnection], object],
        on_lost: Callable[[ClientConnection, list[Request], str], object],
        on_refused: Callable[[ClientConnection, Request, QueueError], object],
    ) -> None:
        """
        @param handles: gets the handles of jobs.
        @param on_ready: called when requests can be sent.
        @param on_lost: called at the end, with the requests that were not
            done, in the order in which they were sent, and the reason in words.
        @param on_refused: called with a job that was not taken because the server is about to
            end, or cannot store it, and with the server's error.
        """
        super().__init__(clock, server, limits, greeting, login)
        self._handles = handles
        self._on_ready = on_ready
        self._on_lost = on_lost
        self._on_refused = on_refused
        self._refusal: QueueError | None = None
        self._retired = False
        self._asked: deque[Request] = deque()
        self._attached: dict[bytes, _Attached] = {}
        self._questions: dict[bytes, ResultQuestion] = {}
        self._prompt_questions: set[bytes] = set()  # the tokens of those that do not wait for a job's end
        self._awaiting_extension: list[Request] = []
        self._why_not_extended: str | None = None

    def became_ready(self) -> None:
        self._on_ready(self)

    def went_down(self, reason: str) -> None:
        waiting, self._awaiting_extension = self._awaiting_extension, []
        refusal = self._refusal
        # One refusal is for all jobs that follow: a server that drains may hang up before it answers each.
        refused: list[Request] = []
        if refusal is not None:
            refused = [request for request in self._asked if request.expects == JOB_CREATED]
            self._asked = deque(request for request in self._asked if request.expects != JOB_CREATED)
        undone = self.forget()
        self._on_lost(self, [*undone, *self._not_asked(waiting, reason)], reason)
        if refusal is not None:
            for request in refused:
                self._on_refused(self, request, refusal)

    def forget(self) -> list[Request]:
        """
        Give all requests back.

        @return: the requests that were not done, in the order in which they were sent, and then
            those that were not sent yet.
        """
        asked, self._asked = self._asked, deque()
        attached, self._attached = self._attached, {}
        questions, self._questions = self._questions, {}
        unsure, self._awaiting_extension = self._awaiting_extension, []
        for handle in attached:
            self._handles.remove(handle)
        for request in unsure:
            request.server = None
        jobs = [job for group in attached.values() for job in group.jobs]
        return [*jobs, *asked, *questions.values(), *unsure]

    def retire(self) -> None:
        """Nothing new will be asked here: close the connection once nobody waits for an answer any more."""
        if not self._retired:
            self._retired = True
            for request in self._waited_for():
                request.on_finished = lambda _: self._leave_if_done()

    def _waited_for(self) -> Iterator[Request]:
        jobs = (job for group in self._attached.values() for job in group.jobs)
        requests = chain(jobs, self._asked, self._questions.values(), self._awaiting_extension)
        return (request for request in requests if not request.finished)

    def _leave_if_done(self) -> None:
        if self._retired and next(self._waited_for(), None) is None:
            self.close()

    def turn_ended(self) -> None:
        self._leave_if_done()

    def ask(self, request: Request) -> None:
        """Send a request, and wait for its answer."""
        request.server = self.server
        if request.ability and not self.extended:
            self._ask_for_extension(request)
            return
        waits = isinstance(request, ResultQuestion) and request.wait
        if not waits and not self._asked and not self._prompt_questions:
            self.waits_for_answer(True)
        if isinstance(request, ResultQuestion):
            self._questions[request.token] = request
            request.on_cancelled = self._stop_waiting
            if not waits:
                self._prompt_questions.add(request.token)
        else:
            self._asked.append(request)
        self.send(*request.chunks)

    def _next_asked(self) -> Request:
        asked = self._asked.popleft()
        self._answer_came()
        return asked

    def _answer_came(self) -> None:
        self.waits_for_answer(bool(self._asked or self._prompt_questions))

    # The extension, which not every server has

    def _ask_for_extension(self, request: Request) -> None:
        """Keep a request until the server has answered whether it has the extension."""
        if self._why_not_extended is not None:
            self._ask_without(request, self._why_not_extended)
            return
        self._awaiting_extension.append(request)
        if len(self._awaiting_extension) == 1:
            self.ask(OptionQuestion(self._granted, self._not_granted))

    def _granted(self) -> None:
        waiting, self._awaiting_extension = self._awaiting_extension, []
        with self.gathered():
            for request in waiting:
                if not request.finished:
                    self.ask(request)

    def _not_granted(self, why: str) -> None:
        self._why_not_extended = why
        waiting, self._awaiting_extension = self._awaiting_extension, []
        with self.gathered():
            for request in waiting:
                if not request.finished:
                    self._ask_without(request, why)

    def _ask_without(self, request: Request, why: str) -> None:
        if request.do_without():
            self.ask(request)
        else:
            request.failed(MissingAbility(self.server.name, request.ability, why))

    def _not_asked(self, waiting: list[Request], reason: str) -> list[Request]:
        """The connection is lost before the extension was granted: those that wait for it may try another."""
        for request in waiting:
            request.refusals += 1
            if request.refusals >= MOST_REFUSALS and not request.do_without():
                why = f"asked for it, the connection went down {MOST_REFUSALS} times ({reason})"
                request.failed(MissingAbility(self.server.name, request.ability, why))
            else:
                request.server = None
        return waiting

    def _stop_waiting(self, question: ResultQuestion) -> None:
        """Nobody waits for the end of this job any more. Asked again, the server answers at once."""
        if question.wait:
            self.send(question.packet(wait=False))

    def packet_received(self, kind: int, arguments: list[Data]) -> None:
        if kind in _WORK:
            self._work(kind, arguments)
        elif kind == RESULT:
            self._result(arguments)
        elif kind in _ANSWERS and (kind != OPTION_RES or arguments[0] == EXTENSION_OPTION):
            if kind == OPTION_RES:
                super().packet_received(kind, arguments)
            if not self._asked or self._asked[0].expects != kind:
                self.drop("answered what it was not asked")
                return
            asked = self._next_asked()
            if kind == JOB_CREATED:
                handle = bytes(arguments[0])
                self._handles.add(handle, self.server)
                if isinstance(asked, ClientJob):
                    # One that nobody waits for any more is counted too: its copies come.
                    self._attached.setdefault(handle, _Attached()).jobs.append(asked)
            asked.answered(arguments)
        elif kind == ERROR:
            error = server_error(bytes(arguments[0]), bytes(arguments[1]))
            refusal = error if isinstance(error, QueueError) else None
            if refusal is not None and refusal.text == SHUTTING_DOWN:
                self._refusal = refusal
            elif refusal is not None and refusal.code != refusal.store_code:
                refusal = None
            # Without a request an option of the greeting can be meant: such a server reports exceptions as
            # failures. Or the server ends the connection, and what was sent meanwhile is for another one.
            if self._asked:
                asked = self._next_asked()
                if refusal is not None:
                    self._on_refused(self, asked, refusal)
                else:
                    asked.failed(error)
        else:
            super().packet_received(kind, arguments)

    def _result(self, arguments: list[Data]) -> None:
        # There is none where two answers have met a question that was asked again.
        question = self._questions.pop(bytes(arguments[0]), None)
        if question is not None:
            if not question.wait:
                self._prompt_questions.remove(question.token)
                self._answer_came()
            question.answered(arguments)

    def _work(self, kind: int, arguments: list[Data]) -> None:
        # gearmand ends the handle with a NUL where it makes a failure of an exception.
        handle = bytes(arguments[0]).rstrip(b"\0")
        group = self._attached.get(handle)
        if group is None or group.is_copy(kind, arguments):
            return
        if kind in TERMINAL:
            del self._attached[handle]
            self._handles.remove(handle)
        for job in group.jobs[:]:
            job.packet(kind, arguments)
