"""
The workers of a soak.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Final

from soakjobs import COMPLETE, EXCEPTION, FAIL, Assignment, End, Job
from soakpeers import FUNCTIONS, Peer, Question, Scene, choose, shown
from txgear.protocol import constants as c
from txgear.protocol.packets import request


def news_of(assignment: Assignment, sequence: int) -> bytes:
    """What a worker sends as data or warning."""
    return b"%d %d %s" % (assignment.number, sequence, assignment.job.handle)


SPECIALIST_SECONDS: Final = 60.0
"""How long a specialist waits for its only job: longer than all the accidents take on a slow machine."""


class Worker(Peer):
    """
    Does jobs, and a few of them badly.

    @ivar abilities: functions with the seconds that it gives itself for a job, 0.0 for no bound.
    @ivar hand: what it is at.
    @ivar good: whether it has no bad ways at all; those with abilities of the caller's choice have none.
    """

    kind = "worker"
    ways: ClassVar = {
        "complete": 66,
        "fail": 6,
        "raise": 5,
        "report": 11,
        "take long": 4,
        "die": 2.5,
        "vanish": 0.5,
        "give back": 2,
        "end twice": 1.5,
        "end another's": 1.5,
    }

    def __init__(self, scene: Scene, lifetime: float, abilities: dict[bytes, float] | None = None) -> None:
        super().__init__(scene, lifetime)
        rng = self.rng
        self.good = good = abilities is not None
        if abilities is None:
            timed = rng.random() < 0.2
            functions = rng.sample(FUNCTIONS, rng.randrange(4, 9))
            abilities = {function: 1.0 if timed and rng.random() < 0.7 else 0.0 for function in functions}
        self.abilities = abilities
        self.timed = any(self.abilities.values())
        self.capacity = 1 if good or rng.random() < 0.8 else rng.randrange(2, 4)
        self.grab_kind = rng.choice((c.GRAB_JOB, c.GRAB_JOB_UNIQ, c.GRAB_JOB_ALL))
        self.polls = not good and rng.random() < 0.05
        self.hand: list[Assignment] = []
        self._grabbing = False
        self._errors = 0
        self._naps = 0
        self.send(request(c.SET_CLIENT_ID, self.name.replace(" ", "-").encode()))
        self.send(b"".join(self._can_do(function) for function in self.abilities))
        self._grab()

    def _can_do(self, function: bytes) -> bytes:
        timeout = self.abilities[function]
        if timeout:
            return request(c.CAN_DO_TIMEOUT, function, b"%d" % (timeout * 1000))
        return request(c.CAN_DO, function)

    def _grab(self) -> None:
        if self._grabbing or self.leaving or self.gone or len(self.hand) >= self.capacity:
            return
        self._grabbing = True
        self.ask(Question(c.JOB_ASSIGN, time.monotonic()), request(self.grab_kind))
        if not (self.good or self.scene.calm) and self.rng.random() < 0.001:
            self.close(reset=self.rng.random() < 0.5)  # with a job on its way

    def packet(self, kind: int, arguments: list[bytes]) -> None:
        """Part of L{Peer}."""
        if self.forsaken:
            return
        if kind == c.NOOP:
            self._woken()
        elif kind == c.ERROR and self.questions and self.questions[0].answer == c.ECHO_RES:
            self._errors += 1
            if arguments[0] != b"JOB_NOT_FOUND":
                self.book.violation("an error says what is wrong", f"{self.name}: {shown(kind, arguments)}")
        elif kind in {c.JOB_ASSIGN, c.JOB_ASSIGN_UNIQ, c.JOB_ASSIGN_ALL}:
            if (question := self.answered(c.JOB_ASSIGN, [b""])) is not None:
                self._assigned(question, arguments)
        elif kind == c.NO_JOB:
            if self.answered(c.JOB_ASSIGN, [b""]) is not None:
                self._grabbing = False
                self._rest()
        elif (question := self.answered(kind, arguments)) is not None:
            errors, self._errors = self._errors, 0
            if question.foreign and not errors:
                self.book.violation("only who has the job ends it", f"{self.name}: not refused")
            if question.end is not None:
                self.book.ended(question.end, errors > 0)
        if self.leaving and not self.questions and not self.hand:
            self.close()

    def _rest(self) -> None:
        if self.hand or self.leaving:
            return
        if self.polls and not self.scene.calm:
            self.later(self.rng.uniform(0.1, 0.5), self._grab)
        else:
            self._naps += 1
            self.send(request(c.PRE_SLEEP))

    def _woken(self) -> None:
        self._naps -= 1
        if self._naps < 0:
            self.book.violation("one nap, one NOOP", self.name)
        if not self.good and not self.scene.calm and self.rng.random() < 0.005:
            self.later(3.0, self._grab)  # the server has to do without it
        else:
            self._grab()

    def _assigned(self, question: Question, arguments: list[bytes]) -> None:
        self._grabbing = False
        handle, function, *rest, workload = arguments
        told: list[bytes | None] = [*rest, None, None][:2]
        assignment = self.book.assigned(
            self.name,
            handle,
            function,
            (told[0], told[1] if len(rest) > 1 or self.grab_kind != c.GRAB_JOB_ALL else b""),
            workload,
            question.at,
            lambda name: self.abilities.get(name, 0.0),
        )
        if function not in self.abilities:
            self.book.violation("a worker gets only what it can do", f"{self.name}: {function!r}")
        if assignment is None:
            self._grab()
            return
        self.hand.append(assignment)
        self._begin(assignment)
        self._grab()

    def _begin(self, assignment: Assignment) -> None:
        way = choose(self.rng, self.ways)
        if self.good or self.scene.calm:
            way = "complete"
        delay = self.rng.expovariate(1 / (0.02 if self.scene.calm else 0.1))
        if self.timed and self.rng.random() < 0.04 and not self.scene.calm:
            way, delay = "complete", self.rng.uniform(0.9, 5)
        ways: dict[str, Callable[[Assignment], None]] = {
            "complete": self._finish,
            "fail": partial(self._finish, kind=FAIL),
            "raise": partial(self._finish, kind=EXCEPTION),
            "report": self._report,
            "take long": self._take_long,
            "die": self._die,
            "vanish": self._vanish,
            "give back": self._give_back,
            "end twice": self._end_twice,
            "end another's": self._end_anothers,
        }
        self._soon(delay, assignment, ways[way])

    def _soon(self, seconds: float, assignment: Assignment, do: Callable[[Assignment], None]) -> None:
        """Go on with a job in so many seconds, if it is still this worker's then."""
        self.later(seconds, partial(self._while_in_hand, assignment, do))

    def _while_in_hand(self, assignment: Assignment, do: Callable[[Assignment], None]) -> None:
        if assignment in self.hand and not self._mute:
            do(assignment)

    def _finish(self, assignment: Assignment, kind: str = COMPLETE, hopeless: bool = False) -> None:
        """Say that a job is over, ask for an echo to learn whether that was taken, and go on."""
        self._send_end(assignment, kind, hopeless)
        if assignment in self.hand:
            self.hand.remove(assignment)
        self._grab()

    def _send_end(self, assignment: Assignment, kind: str, hopeless: bool = False) -> None:
        kinds = {COMPLETE: c.WORK_COMPLETE, FAIL: c.WORK_FAIL, EXCEPTION: c.WORK_EXCEPTION}
        end = self.book.ending(assignment, kind, hopeless)
        payload = [] if kind == FAIL else [end.payload]
        self._ask_echo(request(kinds[kind], assignment.job.handle, *payload), end)

    def _ask_echo(self, packets: bytes, end: End | None = None, foreign: bool = False) -> None:
        now = time.monotonic()
        text = b"%f" % now
        question = Question(c.ECHO_RES, now, text, end=end, foreign=foreign)
        self.ask(question, packets + request(c.ECHO_REQ, text))

    def _report(self, assignment: Assignment) -> None:
        """Send news, then go on a little later."""
        self._send_news(assignment, self.rng.randrange(1, 5))
        kind = self.rng.choice((COMPLETE, COMPLETE, COMPLETE, FAIL))
        self._soon(self.rng.uniform(0, 0.05), assignment, partial(self._finish, kind=kind))

    def _send_news(self, assignment: Assignment, count: int) -> None:
        if self.timed and self.capacity > 1:
            return  # it could be handed the same job anew while it still speaks of it as the old one
        handle, packets = assignment.job.handle, []
        for _ in range(count):
            if not assignment.news:
                assignment.first_news = time.monotonic()
            sequence = assignment.news
            assignment.news += 1
            kind = self.rng.choice((c.WORK_DATA, c.WORK_WARNING, c.WORK_STATUS))
            if kind == c.WORK_STATUS:
                packets.append(request(kind, handle, b"%d" % sequence, b"%d" % assignment.number))
            else:
                packets.append(request(kind, handle, news_of(assignment, sequence)))
        self._ask_echo(b"".join(packets))

    def _take_long(self, assignment: Assignment) -> None:
        for moment in range(self.rng.randrange(3)):
            self._soon(0.2 * moment, assignment, partial(self._send_news, count=1))
        self._soon(self.rng.uniform(0.4, 2.5), assignment, self._finish)

    def _die(self, assignment: Assignment) -> None:
        draw = self.rng.random()
        if draw < 0.4:
            self.close(reset=draw < 0.2)
        elif draw < 0.6:
            self.forsake(b"")
        else:
            self.tear(request(c.WORK_COMPLETE, assignment.job.handle, b"this result is never whole"))

    def _vanish(self, assignment: Assignment) -> None:
        """End the job and go at once: whether that arrives is anybody's guess."""
        self._send_end(assignment, COMPLETE)
        self.close(reset=self.rng.random() < 0.5)

    def _give_back(self, assignment: Assignment) -> None:
        """Say in the middle of a job that it cannot do such jobs, and end it all the same: too late."""
        if self._grabbing:
            self._finish(assignment)
            return
        function = assignment.job.function
        if self.rng.random() < 0.3:
            packets, again = request(c.RESET_ABILITIES), list(self.abilities)
        else:
            packets, again = request(c.CANT_DO, function), [function]
        self.send(packets)
        for other in [other for other in self.hand if other.job.function in again]:
            self.hand.remove(other)
            self.book.counts["given back"] += 1
            self.book.gave_back(other, "cannot do it any more")
            if self.rng.random() < 0.7:
                self._send_end(other, self.rng.choice((COMPLETE, FAIL, EXCEPTION)), hopeless=True)
        self.send(b"".join(self._can_do(name) for name in again))
        self._grab()

    def _end_twice(self, assignment: Assignment) -> None:
        self._send_end(assignment, COMPLETE)
        self._send_end(assignment, COMPLETE, hopeless=True)
        self.hand.remove(assignment)
        self._grab()

    def _end_anothers(self, assignment: Assignment) -> None:
        other = self.book.pick_job(self.rng)
        if other is not None and not self._grabbing and all(mine.job is not other for mine in self.hand):
            kind = self.rng.choice((c.WORK_COMPLETE, c.WORK_FAIL, c.WORK_EXCEPTION, c.WORK_DATA))
            text = [] if kind == c.WORK_FAIL else [b"from a stranger"]
            self.book.counts["tried to end another's job"] += 1
            self._ask_echo(request(kind, other.handle, *text), foreign=True)
        self._finish(assignment)

    def leave(self) -> None:
        """Part of L{Peer}."""
        if not self.scene.calm and self.rng.random() < 0.3:
            self.close(reset=self.rng.random() < 0.3)
        else:
            self.leave_politely()

    def leave_politely(self) -> None:
        """Leave, but end its jobs first."""
        if self.questions or self.hand:
            self.leaving = True
        else:
            self.close()

    def left(self) -> None:
        """Part of L{Peer}."""
        self.book.counts["workers lost with a job"] += bool(self.hand)
        for assignment in self.hand:
            self.book.gave_back(assignment, "gone with it")
        for question in self.questions:
            if question.end is not None:
                self.book.unanswered(question.end)
        self.hand.clear()


class Stage:
    """
    A function of its own, for one job and a few workers who all sleep when it comes.

    @ivar accidents: what happens to the workers, one after the other; whatever it
        is, the server has to wake another.
    @ivar job: the job, once a worker has it that means to do it.
    """

    when_woken: ClassVar = ("ignore", "leave", "grab and leave", "sleep again")
    with_the_job: ClassVar = ("die", "cannot", "overrun")

    def __init__(self, scene: Scene, number: int) -> None:
        self.function = b"quiet%d" % number
        self.accidents = scene.rng.sample(self.when_woken + self.with_the_job, 2)
        self.timeout = 1.0 if "overrun" in self.accidents else 0.0
        self.job: Job | None = None

    @property
    def over(self) -> bool:
        """Whether the job is done."""
        return self.job is not None and self.job.accepted is not None

    def next_accident(self, possible: tuple[str, ...]) -> str:
        """What happens now, of what is possible; maybe nothing."""
        return self.accidents.pop(0) if self.accidents and self.accidents[0] in possible else ""


class Specialist(Worker):
    """One of the workers of a L{Stage}."""

    def __init__(self, scene: Scene, stage: Stage) -> None:
        self._stage = stage
        super().__init__(scene, SPECIALIST_SECONDS, {stage.function: stage.timeout})

    def _woken(self) -> None:
        accident = self._stage.next_accident(Stage.when_woken)
        if accident == "ignore":
            self._naps -= 1
        elif accident == "leave":
            self.close(reset=self.rng.random() < 0.5)
        elif accident == "sleep again":
            self._naps -= 1
            self._rest()
        else:
            super()._woken()
            if accident:
                self.close()

    def _begin(self, assignment: Assignment) -> None:
        accident = self._stage.next_accident(Stage.with_the_job)
        if accident == "die":
            self._die(assignment)
        elif accident == "cannot":
            self.send(request(c.CANT_DO, self._stage.function))
            self.book.gave_back(assignment, "cannot do it any more")
            self.hand.remove(assignment)
            self.leaving = True
            self.later(5.0, self.close)
        elif accident == "overrun":
            self._soon(4.0, assignment, self._finish)
        else:
            self._stage.job = assignment.job
            super()._begin(assignment)
