"""
The clients and operators of a soak.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from soakjobs import COMPLETE, EXCEPTION, FAIL, FILLING, Attach, End, Job, Submit, Work
from soakpeers import FUNCTIONS, SHARED_UNIQUES, Peer, Question, Scene, choose, shown
from txgear.protocol import constants as c
from txgear.protocol.packets import request


class Client(Peer):
    """Submits jobs, asks about them, and leaves in one of many ways."""

    kind = "client"
    leavings: ClassVar = {"politely": 45, "walk": 20, "reset": 12, "half": 10, "tear": 9, "nonsense": 4}
    kinds: ClassVar = {c.SUBMIT_JOB: 30, c.SUBMIT_JOB_HIGH: 12, c.SUBMIT_JOB_LOW: 12, c.SUBMIT_REDUCE_JOB: 4}
    background_kinds: ClassVar = {
        c.SUBMIT_JOB_BG: 15,
        c.SUBMIT_JOB_HIGH_BG: 8,
        c.SUBMIT_JOB_LOW_BG: 8,
        c.SUBMIT_REDUCE_JOB_BACKGROUND: 4,
        c.SUBMIT_JOB_EPOCH: 7,
    }
    all_kinds: ClassVar = kinds | background_kinds

    def __init__(self, scene: Scene, lifetime: float) -> None:
        slow = scene.rng.random() < 0.05
        super().__init__(scene, lifetime, slow)
        self.attached: dict[bytes, Attach] = {}
        self.exceptions = self.rng.random() < 0.5
        if self.exceptions:
            question = Question(c.OPTION_RES, time.monotonic(), c.EXCEPTIONS_OPTION)
            self.ask(question, request(c.OPTION_REQ, c.EXCEPTIONS_OPTION))
        if slow:
            self.later(self.rng.uniform(0.5, lifetime), self._read_slowly)

    def submit_any(self) -> None:
        """Submit one job of any kind."""
        kind = choose(self.rng, self.all_kinds)
        reduce = kind in {c.SUBMIT_REDUCE_JOB, c.SUBMIT_REDUCE_JOB_BACKGROUND}
        due = self._soon() if kind == c.SUBMIT_JOB_EPOCH else 0.0
        self.submit(kind, self.scene.new_work(due, b"reducer" if reduce else b""))

    def submit_only(self, function: bytes) -> None:
        """Submit one job of this function, and leave when nothing more is to come."""
        kind = self.rng.choice((c.SUBMIT_JOB, c.SUBMIT_JOB_LOW, c.SUBMIT_JOB_BG, c.SUBMIT_JOB_EPOCH))
        due = self._soon() if kind == c.SUBMIT_JOB_EPOCH else 0.0
        self.submit(kind, self.scene.new_work_of(function, due=due))
        self.leaving = True

    def _soon(self) -> float:
        return float(int(time.time()) + self.rng.choice((1, 1, 2)))

    def submit(self, kind: int, work: Work) -> None:
        """Submit this."""
        between = [b"%d" % work.due] if work.due else [work.reducer, b""] if work.reducer else []
        submit = self.book.submitting(work, kind in self.background_kinds)
        question = Question(c.JOB_CREATED, submit.at, submit=submit)
        self.ask(question, request(kind, work.function, work.unique, *between, work.workload))

    def inquire(self) -> None:
        """Ask something that changes nothing."""
        now, draw = time.monotonic(), self.rng.random()
        if draw < 0.3:
            text = FILLING[: self.rng.randrange(1, 2000)]
            self.ask(Question(c.ECHO_RES, now, text), request(c.ECHO_REQ, text))
        elif draw < 0.8 and (job := self.book.pick_job(self.rng)) is not None:
            self.ask(Question(c.STATUS_RES, now, job.handle), request(c.GET_STATUS, job.handle))
        else:
            unique = b"shared%d" % self.rng.randrange(SHARED_UNIQUES)
            self.ask(Question(c.STATUS_RES_UNIQUE, now, unique), request(c.GET_STATUS_UNIQUE, unique))

    def _read_slowly(self) -> None:
        if not (self.leaving or self.scene.calm):
            for _ in range(self.rng.randrange(1, 4)):
                function = self.rng.choice(FUNCTIONS)
                self.submit(c.SUBMIT_JOB_HIGH, self.scene.new_work_of(function, large=True))
            self.doze(self.rng.uniform(1, 4))

    def packet(self, kind: int, arguments: list[bytes]) -> None:
        """Part of L{Peer}."""
        if kind in {c.WORK_COMPLETE, c.WORK_FAIL, c.WORK_EXCEPTION}:
            self._told(kind, *arguments)
        elif kind in {c.WORK_DATA, c.WORK_WARNING, c.WORK_STATUS}:
            self._news(kind, *arguments)
        elif (question := self.answered(kind, arguments)) is not None:
            if question.submit is not None:
                self._created(question.submit, arguments[0])
            elif kind == c.STATUS_RES and not self.forsaken:
                self.book.status_told(arguments[0], arguments[1] == b"1", question.at, self.name)
        if self.leaving and not (self.forsaken or self.gone):
            self._close_if_done()

    def _created(self, submit: Submit, handle: bytes) -> None:
        if self.forsaken:
            # It left before it was told: whether this job exists is the server's affair.
            if not submit.background:
                self.attached.setdefault(handle, Attach(Job(handle, b"", 0.0), 0.0)).count += 1
            return
        job = self.book.created(submit, handle, self.name)
        if not submit.background:
            self.attached[handle] = self.book.attach(job, self.attached.get(handle))

    def _attach_of(self, kind: int, arguments: tuple[bytes, ...]) -> Attach | None:
        attach = self.attached.get(arguments[0])
        if attach is None:
            detail = f"{self.name}: {shown(kind, list(arguments))}"
            self.book.violation("nobody hears of others' jobs", detail, self.book.jobs.get(arguments[0]))
        elif not attach.job.function:
            return None
        return attach

    def _told(self, kind: int, *arguments: bytes) -> None:
        attach = self._attach_of(kind, arguments)
        if attach is None:
            return
        name = {c.WORK_COMPLETE: COMPLETE, c.WORK_FAIL: FAIL, c.WORK_EXCEPTION: EXCEPTION}[kind]
        if kind == c.WORK_EXCEPTION and not self.exceptions:
            self.book.violation("only who asks for them gets exceptions", self.name, attach.job)
        self.book.told(attach, name, b"".join(arguments[1:]), self.name, not self.forsaken)

    def _news(self, kind: int, *arguments: bytes) -> None:
        attach = self._attach_of(kind, arguments)
        if attach is None:
            return
        if kind == c.WORK_STATUS:
            sequence, number = arguments[1], arguments[2]
        else:
            number, sequence, handle = arguments[1].split(b" ", 2)
            if handle != arguments[0]:
                detail = f"{self.name}: {handle!r}"
                self.book.violation("news are what the job's worker sent", detail, attach.job)
        self.book.news(attach, int(number), int(sequence), self.name, not self.forsaken)

    def leave(self) -> None:
        """Part of L{Peer}."""
        if self.leaving:
            return
        self.leaving = True
        way = choose(self.rng, self.leavings)
        if self.scene.calm or way == "politely":
            self._close_if_done()
        elif way in {"walk", "reset"}:
            for _ in range(self.rng.randrange(3)):
                self.submit_any()
            self._leave_half_of_a_job()
            close = partial(self.close, reset=way == "reset")
            self.later(self.rng.choice((0.0, 0.05, 0.5)) * self.rng.random(), close)
        elif way == "tear":
            self.tear(request(c.SUBMIT_JOB_BG, b"soak0", b"torn", b"this workload never arrives as a whole"))
        else:
            self.forsake(b"" if way == "half" else b"\0BAD\0\0\0\7\0\0\0\0")

    def _leave_half_of_a_job(self) -> None:
        """Share a job with somebody who does not wait for it: it is to be done although nobody does."""
        peers = list(self.scene.peers)
        for other in self.rng.choices(peers, k=5):
            if isinstance(other, Client) and other is not self and not other.leaving:
                function, unique = self.rng.choice(FUNCTIONS), b"half%d" % self.scene.works
                halves = [
                    partial(self.submit, c.SUBMIT_JOB_LOW, self.scene.new_work_of(function, unique)),
                    partial(other.submit, c.SUBMIT_JOB_LOW_BG, self.scene.new_work_of(function, unique)),
                ]
                self.rng.shuffle(halves)
                halves[0]()
                self.later(0.02, halves[1])
                return

    def _close_if_done(self) -> None:
        if not self.questions and all(attach.ended >= attach.count for attach in self.attached.values()):
            self.close()

    def left(self) -> None:
        """Part of L{Peer}."""
        for attach in self.attached.values():
            self.book.left(attach, self.name)


class Operator(Peer):
    """Sends text commands, and cancels jobs."""

    kind = "operator"
    commands: ClassVar = {
        b"status": 30,
        b"workers": 8,
        b"cancel job": 40,
        b"show jobs": 5,
        b"show unique jobs": 5,
        b"prioritystatus": 5,
        b"version": 3,
        b"nonsense": 2,
    }

    def __init__(self, scene: Scene, lifetime: float, busy: bool = True) -> None:
        super().__init__(scene, lifetime)
        self._lines: list[bytes] = []
        self._done: Callable[[list[bytes]], None] | None = None
        self._end: End | None = None
        self._command = b""
        if busy:
            self.later(0.1, self._go_on)

    def command(self, command: bytes, done: Callable[[list[bytes]], None]) -> None:
        """
        Send one command; one at a time.

        @param done: called with the lines of the answer, without a list's last one.
        """
        self._command, self._done, self._lines = command, done, []
        self.ask(Question(c.TEXT, time.monotonic()), command + b"\n")

    def _go_on(self) -> None:
        if self.leaving or self._done is not None:
            return
        command = choose(self.rng, self.commands)
        if command == b"cancel job":
            job = None if self.scene.calm else self.book.pick_job(self.rng)
            if job is not None:
                self._end = self.book.cancelling(job, self.name)
                self.command(command + b" " + job.handle, self._cancelled)
        else:
            self.command(command, self._check)
        self.later(self.rng.uniform(0.1, 0.8), self._go_on)

    def packet(self, kind: int, arguments: list[bytes]) -> None:
        """Part of L{Peer}."""
        if kind != c.TEXT or self._done is None:
            self.book.violation("answers come in order", f"{self.name}: {shown(kind, arguments)}")
            return
        self._lines.append(arguments[0])
        first = self._lines[0]
        if first.startswith((b"OK", b"ERR ")) or arguments[0] == b".":
            self.questions.clear()
            done, self._done = self._done, None
            done(self._lines if first.startswith((b"OK", b"ERR ")) else self._lines[:-1])
            if self.leaving:
                self.close()

    def _cancelled(self, lines: list[bytes]) -> None:
        end, self._end = self._end, None
        if end is not None:
            self.book.ended(end, lines[0] != b"OK")

    def _check(self, lines: list[bytes]) -> None:
        if self._command != b"status":
            return
        for line in lines:
            name, *numbers = line.split(b"\t")
            total, running, workers = map(int, numbers)
            if not 0 <= running <= total < 10**6 or not 0 <= workers < 10**6:
                self.book.violation("status counts right", f"{name!r}: {numbers}")

    def leave(self) -> None:
        """Part of L{Peer}."""
        self.leaving = True
        if self._done is None:
            self.close()
        elif not self.scene.calm and self.rng.random() < 0.3:
            self.close(reset=True)

    def left(self) -> None:
        """Part of L{Peer}."""
        if self._end is not None:
            self.book.unanswered(self._end)
