"""
A child of a runtime: a worker that does the jobs of its group, with connections of its own, and a line to the
supervisor.

It is told its task first. Then it loads the code, connects, and says that it is ready once a server has seen
it ask for work. When the supervisor is gone, it finishes its jobs and leaves.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from io import TextIOWrapper
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from txgear.errors import ConfigurationError
from txgear.net.monotonic import use_monotonic_clock
from txgear.protocol.textlines import text
from txgear.runtime.birth import CONTROL, PAGE, show_title
from txgear.runtime.config import GroupTable
from txgear.runtime.control import (
    Answer,
    Asked,
    ControlEnd,
    ControlError,
    Failed,
    FailJobs,
    Leave,
    Leaving,
    Left,
    Lines,
    Loaded,
    Ready,
    Task,
    ToChild,
    cut,
    first_message,
    line,
)
from txgear.runtime.loglines import JobLines, start_log
from txgear.runtime.loglines import Lines as LogLines
from txgear.runtime.peers import peer_arguments
from txgear.runtime.processes import STDERR, STDOUT
from txgear.runtime.slots import JobSlots, page_slots
from txgear.runtime.status import StatusPage
from txgear.runtime.workshop import build
from txgear.worker import Refused, Worker

TURN_SECONDS: Final = 1.0
"""How often a child writes on its page that its event loop turns."""
LONGEST_STOP: Final = 2_000_000.0
"""Seconds that jobs may go on when a child leaves: the supervisor says when it has been too long."""
ASKED_SECONDS: Final = 9.0
"""How long the supervisor may take to answer; an operator waits for ten seconds."""
SUPERVISORS: Final = ("grow", "shrink", "restart")
"""Words of operators that the supervisor heeds."""
SUPERVISOR_GONE: Final = "the supervisor of the runtime was gone, and the job had not ended in time"
FAILED: Final = 1
"""The exit status of a child that could not begin to work."""


class Child:
    """
    The worker of one task.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        control: socket.socket,
        lines: Lines,
        page: int,
        task: Task,
        worker: Worker,
        silence: Callable[[], object] = lambda: None,
    ) -> None:
        """
        @param lines: where what the supervisor has said is read on.
        @param page: the descriptor of the page.
        @param worker: has no functions yet.
        @param silence: called when nobody reads any more what is written to the standard output and error.
        """
        self._reactor = reactor
        self._task = task
        self._worker = worker
        self._silence = silence
        self._slots = JobSlots(StatusPage(page, page_slots(self._group.concurrency)))
        self._is_leaving = False
        self._answers: dict[int, Deferred[Answer]] = {}
        self._asked = 0
        self._turning = LoopingCall(self._turn)
        self._turning.clock = reactor
        self._control = ControlEnd(reactor, control, lines, self.received, self._supervisor_gone)

    @property
    def _group(self) -> GroupTable:
        return self._task.table.group[self._task.group]

    def start(self) -> None:
        """
        Load the code, and begin to work.

        @raise Exception: the code cannot be loaded.
        """
        lines = JobLines(self._task.table.log_jobs == "all")
        build(self._reactor, self._group, self._worker, [self._slots, lines])
        for word in SUPERVISORS:
            self._worker.on_word(word, partial(self._ask, word))
        self._worker.on_word("stop", self._stop_word)
        self._control.send(Loaded([text(name) for name in self._worker.functions]))
        _ = self._turning.start(TURN_SECONDS)
        _ = self._worker.when_ready().addCallback(self._is_ready)
        self._worker.startService()

    def _turn(self) -> None:
        self._slots.turn(self._worker.ready)

    def _is_ready(self, _: None) -> None:
        # The supervisor is to find the same on the page.
        self._turn()
        self._control.send(Ready())

    def failed(self, reason: str) -> None:
        """It cannot work: say so, and end."""
        self._control.send(Failed(cut(reason)))
        self._end()

    # What it is told

    def received(self, message: Any) -> None:
        """The supervisor says something."""
        if isinstance(message, Leave):
            self._leave()
        elif isinstance(message, FailJobs):
            self._leave()
            self._worker.fail_jobs(message.reason)
        elif isinstance(message, Answer):
            answered = self._answers.pop(message.number, None)
            if answered is not None:
                answered.callback(message)

    def _supervisor_gone(self, reason: str) -> None:
        seconds = self._task.table.stop_timeout
        self._silence()
        self.log.error("the supervisor is gone; jobs in hand have {seconds:g} s", seconds=seconds)
        self._reactor.callLater(seconds, self._worker.fail_jobs, SUPERVISOR_GONE)
        self._leave()

    def terminated(self) -> None:
        """Somebody has sent SIGTERM to this process alone."""
        if not self._is_leaving:
            self._control.send(Leaving(for_good=False))
            self._leave()

    def _stop_word(self, _: bytes) -> str:
        if self._is_leaving:
            raise Refused("It leaves already")
        self._control.send(Leaving(for_good=True))
        # The server is to have its answer first.
        self._reactor.callLater(0, self._leave)
        return "It leaves when its jobs are done, and nobody takes its place"

    def _ask(self, word: str, _: bytes) -> Deferred[str]:
        self._asked += 1
        number = self._asked
        answered: Deferred[Answer] = Deferred(lambda _: self._answers.__delitem__(number))
        self._answers[number] = answered
        self._control.send(Asked(number, word))
        return answered.addTimeout(ASKED_SECONDS, self._reactor).addCallback(_heeded)

    # Its end

    def _leave(self) -> None:
        if not self._is_leaving:
            self._is_leaving = True
            _ = self._worker.stopService().addCallback(self._left)

    def _left(self, _: object) -> None:
        self._control.send(Left())
        self._end()

    def _end(self) -> None:
        self._control.close()
        self._reactor.callLater(0, self._reactor.stop)


def _heeded(answer: Answer) -> str:
    if not answer.done:
        raise Refused(answer.text)
    return answer.text


def main() -> None:
    """The program of a child that is an interpreter of its own."""
    control = socket.socket(fileno=CONTROL)
    # What the child starts is to have neither.
    for descriptor in (CONTROL, PAGE):
        os.set_inheritable(descriptor, False)
    sys.exit(work(control, PAGE))


def work(control: socket.socket, page: int) -> int:
    """
    Get a task, and do jobs until it is over. There must be no reactor and no thread yet.

    @param control: its end of the line to the supervisor.
    @param page: the descriptor of its page.
    @return: the exit status.
    """
    lines = Lines(ToChild)
    try:
        task, *more = first_message(control, lines)
    except ControlError:
        # The supervisor has gone before it had anything to say.
        return FAILED
    assert isinstance(task, Task)
    reactor = _prepare(task)
    log_lines = start_log(sys.stdout, task.table.log, task.id)
    try:
        worker = Worker(
            reactor,
            **peer_arguments(task.table),
            concurrency=task.table.group[task.group].concurrency,
            id=task.id,
            key=task.key,
            group=task.group,
            runtime=task.runtime,
            stop_timeout=LONGEST_STOP,
        )
    except (ConfigurationError, ValueError) as error:
        control.sendall(line(Failed(cut(str(error)))))
        return FAILED
    child = Child(reactor, control, lines, page, task, worker, write_nowhere)
    status = 0

    def start() -> None:
        nonlocal status
        if not _begin(child, reactor, log_lines):
            status = FAILED
            return
        for message in more:
            child.received(message)

    reactor.callWhenRunning(start)
    reactor.run()
    return status


def _prepare(task: Task) -> Any:
    """
    Make the process what a task wants.

    @return: its reactor, which is installed now.
    """
    show_title(f"txgear runtime: {task.id}")
    if nice := task.table.group[task.group].nice:
        os.nice(nice)
    use_path(task.table.path)
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    # What is written to standard error is then what somebody has to say who cannot use the log any more.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    return reactor


def _begin(child: Child, reactor: Any, log_lines: LogLines) -> bool:
    """
    Begin to work, in the reactor's first turn.

    @return: whether it has; otherwise the supervisor is told why not, and the child ends.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        # A terminal's, and what is meant for the supervisor.
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(child.terminated))
    try:
        child.start()
        log_lines.take_over_logging()
    except ConfigurationError as error:
        child.failed(str(error))
    except BaseException as error:
        traceback.print_exc()
        child.failed(f"{type(error).__name__}: {error}")
    else:
        return True
    return False


def write_nowhere() -> None:
    """Nobody reads what is written any more: a function that writes something is not to fail for that."""
    with open(os.devnull, "wb") as nothing:
        for output in (STDOUT, STDERR):
            os.dup2(nothing.fileno(), output)


def use_path(folders: Sequence[str]) -> None:
    """Look for modules in these folders first."""
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]


if __name__ == "__main__":
    main()
