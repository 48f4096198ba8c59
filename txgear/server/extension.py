"""
Requests of this server only, for peers that have asked for C{txgear-1}: jobs with settings of their own,
results that are fetched later (L{txgear.server.resultrequests}), and workers that beat and can be steered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger, LogLevel

from txgear.broker.about import About
from txgear.broker.history import MOST_TEXT
from txgear.broker.model import Peer
from txgear.broker.operators.load import load
from txgear.errors import ArgumentTooLarge, InvalidArgument
from txgear.policies import FORMER_NAMES, former_names
from txgear.protocol.constants import (
    FUNCTION_LOAD,
    FUNCTION_LOADS,
    GET_RESULT,
    GRAB_JOB_OPTIONS,
    JOB_ASSIGN_OPTIONS,
    NO_JOB,
    STEERED,
    SUBMIT_JOB_OPTIONS,
    WORK_BEAT,
    WORK_RETRY,
    WORKER_GONE,
    WORKER_OFFER,
    WORKER_STATE,
    WORKER_WELCOME,
)
from txgear.protocol.hello import Hello, Welcome, is_key, read_hello, read_offer
from txgear.protocol.packets import Data
from txgear.protocol.textlines import for_line, shown, text
from txgear.quantities import MOST_SECONDS
from txgear.server.jobserver import JobServer
from txgear.server.resultrequests import ResultRequests
from txgear.server.steering import read_state
from txgear.server.submitoptions import read_options

if TYPE_CHECKING:
    from txgear.net.stream import Stream

MOST_LOADS: Final = 1000
"""Functions that one FUNCTION_LOAD asks about at the most: these take some milliseconds."""


log = Logger()

_SECONDS: Final = re.compile(rb"[0-9]{1,12}(\.[0-9]{1,9})?")


class Extension:
    """
    What one peer asks for beyond the classic protocol. The caller sees to it that the peer has asked for
    C{txgear-1}.

    @ivar results: its requests for results.
    """

    def __init__(self, server: JobServer, peer: Peer, stream: Stream) -> None:
        """
        @param stream: leads to the peer.
        """
        self._said_hello = False
        self._offered: Mapping[bytes, int] = {}
        self._server = server
        self._broker = server.broker
        self._peer = peer
        self._stream = stream
        self._send = partial(server.outbox.send, peer)
        self.results = ResultRequests(server, peer, stream)

    # Clients

    def _submit(self, function: bytes, unique: bytes, options: bytes, workload: Data) -> None:
        order = read_options(options)
        if order.due:
            self._server.wall_clock()
        job = self._broker.submit(
            self._peer,
            function,
            unique,
            workload,
            self._server.seconds(),
            order.priority,
            order.background,
            order.due,
            settings=order.settings or None,
            delay=order.delay,
            trace=order.trace,
        )
        self._server.created(self._peer, job, order.background)
        for former in former_names(order.settings):
            self._server.notices.emit_once(
                log,
                LogLevel.warn,
                "{address} ({client_id}) sets {former} for a job, which is called {name} now;"
                " both names are taken, and this is said once",
                address=self._peer.address,
                client_id=shown(self._peer.client_id).decode("utf-8"),
                former=former,
                name=FORMER_NAMES[former],
            )

    def _get_result(self, token: bytes, handle: bytes, function: bytes, unique: bytes, wait: bytes) -> None:
        self.results.ask(token, handle, function, unique, wait)

    # Workers

    def _grab(self) -> int:
        job = self._broker.grab(self._peer, self._server.seconds())
        if job is None:
            self._send(NO_JOB)
            return 0
        history = job.history
        overdue = job.due if history is None else history.overdue
        options = b'{"attempt":%d,"lease":%.9g,"timeout":%.9g}' % (
            job.retries + 1,
            0.0 if history is None else history.lease,
            overdue - job.since if overdue else 0.0,
        )
        if history is not None and history.trace is not None:
            options = b'%s,"trace":%s}' % (options[:-1], history.trace.to_bytes())
        self._send(
            JOB_ASSIGN_OPTIONS, job.handle, job.function.name, job.unique, job.reducer, options, job.workload
        )
        return job.size

    def _beat(self, handle: bytes) -> None:
        self._broker.reports.beat(self._peer, handle.removesuffix(b"\0"), self._server.seconds())

    def _state(self, options: bytes) -> None:
        state = read_state(options.removesuffix(b"\0"))
        peer = self._peer
        if peer.about is None:
            peer.about = About()
        peer.about.state = state
        if state.paused != peer.paused:
            self._broker.dispatcher.set_paused(peer, state.paused, self._server.seconds())

    def hello(self, data: Data) -> Deferred[None] | None:
        """
        A worker says who it is, and what it has.

        @return: fires when it has been welcomed, where the store is asked for something of that; what it has
            sent behind this is not for before. C{None} where it has been welcomed.
        """
        hello = read_hello(bytes(data))
        if self._said_hello:
            raise InvalidArgument("A worker says hello once on a connection")
        self._said_hello = True
        stock, now = self._broker.stock, self._server.seconds()
        if not stock.lacks(hello.jobs):
            self._greet(hello, now)
            return None
        greeted: Deferred[None] = Deferred()

        def come(answered: bool, later: float) -> None:
            if not self._stream.closing:
                self._greet(hello, later)
            greeted.callback(None)

        stock.load_handles(hello.jobs, come, now)
        return greeted

    def _greet(self, hello: Hello, now: float) -> None:
        peer, absences = self._peer, self._broker.absences
        former = absences.peer(hello.key)
        held = absences.greet(peer, hello.key, hello.jobs, hello.parts, now)
        about = peer.about = peer.about or About()
        about.id, about.host, about.pid = hello.id, hello.host, hello.pid
        about.version, about.group, about.started = hello.version, hello.group, hello.started
        offers = self._server.cluster is not None
        if offers:
            # A part that another server has let go of may have them.
            passed = {*held, *hello.parts}
            left = {handle: attempt for handle, attempt in hello.jobs.items() if handle not in passed}
            absences.offer(peer, left, now)
        self._send(WORKER_WELCOME, Welcome(absences.grace, frozenset(held), offers).to_bytes())
        if former is not None and former.connected:
            self._server.notices.complain(
                log,
                LogLevel.info,
                "{peer}: the worker has another connection now; this one is closed",
                peer=for_line(former.name).decode("utf-8"),
            )

    def _offer(self, data: Data) -> None:
        jobs = read_offer(bytes(data))

        def come(answered: bool, now: float) -> None:
            absences = self._broker.absences
            if self._offered is not jobs or self._stream.closing:
                return
            if held := absences.offer(self._peer, jobs, now):
                self._send(WORKER_WELCOME, Welcome(absences.grace, frozenset(held), True).to_bytes())

        if not self._said_hello:
            raise InvalidArgument("A worker says hello before it offers anything")
        self._offered = jobs
        self._broker.stock.load_handles(jobs, come, self._server.seconds())

    def _gone(self, key: bytes, words: Data) -> None:
        word = text(key)
        if not is_key(word):
            raise InvalidArgument("key: 32 hexadecimal digits are wanted, in small letters")
        # Of UTF-8 that is as much as is kept.
        self._broker.absences.gone(word, bytes(words)[: 4 * MOST_TEXT], self._server.seconds())

    def _retry(self, handle: bytes, seconds: bytes, reason: Data) -> None:
        if not _SECONDS.fullmatch(seconds) or (delay := float(seconds)) > MOST_SECONDS:
            raise InvalidArgument("seconds: a number is wanted, such as 90 or 0.5, up to ten years")
        self._broker.reports.work_retry(self._peer, handle, delay, reason, self._server.seconds())

    def _load(self, names: Data) -> int:
        asked = bytes(names).split(b"\0") if names else []
        if len(asked) > MOST_LOADS:
            raise ArgumentTooLarge(f"{len(asked)} functions are over the limit of {MOST_LOADS}")
        functions, now = self._broker.functions, self._server.seconds()
        # One that is named again costs nothing more.
        loads = {name: load(functions, self._peer, name, now) for name in dict.fromkeys(asked)}
        answer = json.dumps([loads[name] for name in asked], separators=(",", ":")).encode("ascii")
        self._send(FUNCTION_LOADS, answer)
        return len(answer)

    def _steered(self, number: bytes, outcome: bytes, said: Data) -> None:
        self._server.steering.answer(self._peer, number, outcome, said)

    requests: ClassVar[dict[int, Callable[..., int | None]]] = {
        SUBMIT_JOB_OPTIONS: _submit,
        GET_RESULT: _get_result,
        GRAB_JOB_OPTIONS: _grab,
        WORK_BEAT: _beat,
        WORKER_STATE: _state,
        FUNCTION_LOAD: _load,
        STEERED: _steered,
        WORKER_GONE: _gone,
        WORK_RETRY: _retry,
        WORKER_OFFER: _offer,
    }
    """What each type of packet asks for; see L{txgear.server.gear.GearProtocol.requests}."""
