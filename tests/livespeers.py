"""The peers of the second crash test: clients, workers and an operator, each a thread with a plain socket.

They use what has a policy in :data:`CONFIG`, and the server's own packets beside the classic ones.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from typing import Final, NamedTuple

from crashbook import OTHER
from crashpeers import FILLING, Crowd, Gone, Line
from livesbook import (
    DEAD,
    DONE,
    EXCEPTION,
    FAIL,
    FORGOTTEN,
    KEPT,
    LIVE,
    REQUEUED,
    VANISHED,
    LifeBook,
    Past,
    Plan,
    Reading,
    Row,
    Story,
)
from wirepeer import P, packet

# The server's own packets.
SUBMIT_JOB_OPTIONS: Final = 0x54580001
GET_RESULT: Final = 0x54580002
RESULT: Final = 0x54580003
GRAB_JOB_OPTIONS: Final = 0x54580004
JOB_ASSIGN_OPTIONS: Final = 0x54580005

# Some of its jobs fail once or more; all fail always; what they bring is kept; a unique stays taken; what
# holds is said with each submit; of schedules, without a unique and with one.
FLAKY: Final = b"flaky"
DOOMED: Final = b"doomed"
FRUITFUL: Final = b"fruitful"
ONCE: Final = b"once"
OWN: Final = b"own"
TICKS: Final = b"ticks"
SINGLE: Final = b"single"
FUNCTIONS: Final = (ONCE, OWN, DOOMED, FRUITFUL, FLAKY)

RETRIES: Final = {FLAKY: 3, DOOMED: 1, FRUITFUL: 2, ONCE: 2}

CONFIG: Final = """\
[[function]]
name = "flaky"
retries = 3
backoff = "200ms"

[[function]]
name = "doomed"
retries = 1
backoff = { kind = "exponential", first = "100ms", most = "1s", jitter = 0.5 }

[[function]]
name = "fruitful"
retries = 2
backoff = 0
results = "1d"

[[function]]
name = "once"
retries = 2
backoff = "100ms"
unique_for = "1d"

[[schedule]]
name = "ticks"
cron = "* * * * *"
function = "ticks"

[[schedule]]
name = "single"
cron = "* * * * *"
function = "single"
unique = "the only one"
"""

#: Fails more often than it may.
ALWAYS: Final = 1000

#: Rows of a page at the most.
PAGE: Final = 200


class Wishes:
    """What one client asks for."""

    def __init__(self, randomness: random.Random, numbers: Iterator[int]) -> None:
        self._random = randomness
        self._numbers = numbers

    def plan(self) -> tuple[Plan, bytes]:
        """A new job, and the packet that submits it."""
        function = self._random.choices(FUNCTIONS, (3, 4, 2, 5, 6))[0]
        unique = b"%s-%d" % (function, next(self._numbers))
        workload = unique + b"\0" + self._filling()
        retries = RETRIES.get(function)
        kept = function == FRUITFUL
        kind = self._random.choice((P.SUBMIT_JOB_HIGH_BG, P.SUBMIT_JOB_BG, P.SUBMIT_JOB_LOW_BG))
        data = packet(kind, function, unique, workload)
        if retries is None:
            retries, kept = self._random.randrange(3), self._random.random() < 0.5
            settings = {"retries": retries, "backoff": "150ms", **({"results": "1d"} if kept else {})}
            data = packet(SUBMIT_JOB_OPTIONS, function, unique, json.dumps(settings).encode(), workload)
        fails = ALWAYS
        if function == ONCE:
            fails = self._random.randrange(retries + 1)
        elif function != DOOMED:
            fails = self._random.choice((0, 0, 1, 2, retries, retries + 1))
        known = kept or function == ONCE
        return Plan(
            function, unique, workload, fails, retries, known, brought(workload) if kept else None
        ), data

    def _filling(self) -> bytes:
        size = self._random.choice((0, 10, 100, 1000, 10_000))
        if self._random.random() < 0.01:
            size = 200_000
        start = self._random.randrange(len(FILLING) - size)
        return FILLING[start : start + size]


def brought(workload: bytes) -> tuple[bytes, bytes]:
    """What a worker makes of a workload: what it sends before the result, and that; either may be empty."""
    chosen = blake2b(workload, digest_size=16).digest()
    data = workload[: len(workload) // 2] if chosen[0] % 2 else b""
    return data, chosen + workload[::-1] if chosen[1] % 4 else b""


class OwnLine(Line):
    """A connection on which the server's own packets are spoken."""

    def __init__(self, port: int, greeting: bytes = b"") -> None:
        super().__init__(port, packet(P.OPTION_REQ, b"txgear-1") + greeting)
        try:
            answer = self.read()
            if answer != (P.OPTION_RES, b"txgear-1"):
                raise AssertionError(f"txgear-1 was answered with {answer}")
        except BaseException:
            self.close()
            raise


def client(port: int, book: LifeBook, wishes: Wishes, chance: random.Random, at_once: int) -> None:
    """Submit so many jobs at once, some of them a second time; read the answers, and again."""
    line = OwnLine(port)
    try:
        while True:
            asks: list[tuple[Story, bytes, bool]] = []
            for _ in range(at_once):
                story = book.again() if chance.random() < 0.1 else None
                if story is not None:
                    asks.append((story, again(story), False))
                else:
                    plan, data = wishes.plan()
                    asks.append((book.asking(plan), data, True))
            line.send(b"".join(data for _, data, _ in asks))
            for story, _, first in asks:
                kind, body = line.read()
                if kind == P.JOB_CREATED:
                    book.answered(story, body, first)
                else:
                    book.wrong(OTHER, f"{story} was answered with {kind} {body[:200]!r}")
            time.sleep(0.02 * at_once)
    finally:
        line.close()


def again(story: Story) -> bytes:
    """The packet that asks for a job once more."""
    return packet(P.SUBMIT_JOB_BG, story.plan.function, story.plan.unique, story.plan.workload)


class Hand:
    """One worker's connection."""

    def __init__(self, port: int, book: LifeBook, name: bytes, own: bool, *functions: bytes) -> None:
        """
        :param own: whether it grabs with the server's own packets.
        """
        greeting = [packet(P.SET_CLIENT_ID, name), *(packet(P.CAN_DO, function) for function in functions)]
        self.line = (OwnLine if own else Line)(port, b"".join(greeting))
        self.name = name
        self._book = book
        self._grab = packet(GRAB_JOB_OPTIONS if own else P.GRAB_JOB_UNIQ)

    def grab(self) -> Story:
        """The next job, however long that takes."""
        while True:
            self.line.send(self._grab)
            kind, body = self.line.read()
            while kind == P.NOOP:
                kind, body = self.line.read()
            if kind == P.JOB_ASSIGN_UNIQ:
                handle, _, unique, workload = body.split(b"\0", 3)
                return self._book.assigned(self, handle, unique, workload, 0)
            if kind == JOB_ASSIGN_OPTIONS:
                handle, _, unique, _, options, workload = body.split(b"\0", 5)
                return self._book.assigned(self, handle, unique, workload, json.loads(options)["attempt"])
            if kind != P.NO_JOB:
                raise AssertionError(f"a grab was answered with {kind} {body[:200]!r}")
            self.line.send(packet(P.PRE_SLEEP))
            self.line.read()

    def end(self, story: Story, chance: random.Random) -> None:
        """Do the attempt: it fails if the job is to fail that often."""
        attempt = story.now.attempts + 1
        data, result = brought(story.plan.workload)
        parts = [data[:7], data[7:]] if data else []
        said = b"".join(packet(P.WORK_DATA, story.handle, part) for part in parts)
        if attempt > story.plan.fails:
            step = self._book.stepping(story, DONE)
            said += packet(P.WORK_COMPLETE, story.handle, result)
        elif chance.random() < 0.5:
            step = self._book.stepping(story, FAIL, self.name)
            said += packet(P.WORK_FAIL, story.handle)
        else:
            text = b"attempt %d of %s came to nothing" % (attempt, story.plan.unique)
            step = self._book.stepping(story, EXCEPTION, self.name, text)
            said += packet(P.WORK_EXCEPTION, story.handle, text)
        self.line.send(said)
        step.at = time.monotonic()


def worker(
    port: int, book: LifeBook, functions: Sequence[bytes], name: bytes, own: bool, chance: random.Random
) -> None:
    """Do jobs."""
    hand = Hand(port, book, name, own, *functions)
    try:
        while True:
            story = hand.grab()
            time.sleep(0.002)
            hand.end(story, chance)
    finally:
        hand.line.close()


def mortal(port: int, book: LifeBook, functions: Sequence[bytes], name: bytes, chance: random.Random) -> None:
    """Do some jobs, die with another one, and come again; never for the jobs whose uniques stay taken."""
    while True:
        hand = Hand(port, book, name, True, *(function for function in functions if function != ONCE))
        try:
            while chance.random() < 0.8:
                hand.end(hand.grab(), chance)
                time.sleep(0.01)
            step = book.stepping(hand.grab(), VANISHED, name)
        finally:
            hand.line.close()
        step.at = time.monotonic()


def operator(port: int, book: LifeBook, chance: random.Random) -> None:
    """Requeue some of the dead, and drop some."""
    line = Line(port)
    try:
        while True:
            time.sleep(0.03)
            story = book.some_dead()
            if story is None:
                continue
            kind, word = ((REQUEUED, b"requeue"), (FORGOTTEN, b"forget"))[chance.random() < 0.3]
            step = book.stepping(story, kind)
            answer = line.word(b"%s job %s" % (word, story.handle))
            step.at = time.monotonic()
            if answer != b"OK":
                book.wrong(OTHER, f"{word!r} of {story} was answered with {answer!r}")
    finally:
        line.close()


def workers(crowd: Crowd, port: int, book: LifeBook, seed: str, idle: bytes = b"") -> None:
    """Start those who do the jobs, but for those of one function."""
    functions = [function for function in FUNCTIONS if function != idle]
    parts: list[Callable[[random.Random], None]] = [
        partial(worker, port, book, functions, b"hand-1", True),
        partial(worker, port, book, functions, b"hand-2", True),
        partial(worker, port, book, functions, b"hand-3", False),
        partial(mortal, port, book, functions, b"mortal"),
    ]
    for number, part in enumerate(parts):
        crowd.start(partial(part, random.Random(f"{seed} worker {number}")))


def load(port: int, book: LifeBook, numbers: Iterator[int], seed: str, idle: bytes) -> Crowd:
    """Clients, workers that can do what they ask for, and an operator.

    :param idle: a function without workers, whose jobs stay as they were submitted or requeued.
    """
    crowd = Crowd(book)
    for number, at_once in enumerate((1, 2, 8)):
        wishes = Wishes(random.Random(f"{seed} wishes {number}"), numbers)
        chance = random.Random(f"{seed} client {number}")
        crowd.start(partial(client, port, book, wishes, chance, at_once))
    workers(crowd, port, book, seed, idle)
    crowd.start(partial(operator, port, book, random.Random(f"{seed} operator")))
    return crowd


# What the server says of its jobs


#: The commands that list jobs, and where in their rows the unique and the number of attempts are, if it is.
_LISTS: Final = {LIVE: (b"jobs", 7, 5), DEAD: (b"dead", 5, 3), KEPT: (b"kept", 6, 0)}


def listed(line: Line, places: Sequence[str] = (LIVE, DEAD, KEPT)) -> list[Row]:
    """The jobs that the server knows in these places, but for those of schedules."""
    found = []
    for place in places:
        command, unique, attempts = _LISTS[place]
        after = b"0"
        while after:
            rows = [row.split(b"\t") for row in line.lines(b"%s after=%s limit=%d" % (command, after, PAGE))]
            after = rows.pop()[1] if rows and rows[-1][0] == b"next" else b""
            found += [
                Row(row[0], row[unique], place, int(row[attempts]) if attempts else None)
                for row in rows
                if row[1] not in (TICKS, SINGLE)
            ]
    return found


def read(line: Line, handle: bytes) -> Reading:
    """All that the server says of one job's attempts."""
    attempts, past, stable = 0, [], []
    for row in line.lines(b"job " + handle):
        words = row.split(b"\t")
        if words[0] == b"attempts":
            attempts = int(words[1])
        elif words[0] in (b"created", b"setting"):
            stable.append(row)
        elif words[0] == b"attempt":
            stable.append(row)
            _, _, _, reason, worker, text = words
            past.append(Past(reason, worker, b"" if text == b"-" else text))
    return Reading(attempts, tuple(past), tuple(stable))


class Brought(NamedTuple):
    """An answer to a question for a result."""

    handle: bytes
    outcome: bytes
    size: bytes
    data: bytes


def results(line: Line, questions: Sequence[tuple[bytes, bytes, bytes]]) -> list[Brought]:
    """
    :param questions: handle, function and unique each.
    :return: the answers in the order of the questions.
    """
    found: dict[int, Brought] = {}
    for start in range(0, len(questions), PAGE):
        part = list(enumerate(questions))[start : start + PAGE]
        line.send(b"".join(packet(GET_RESULT, b"%d" % number, *words, b"0") for number, words in part))
        for _ in part:
            kind, body = line.read()
            if kind != RESULT:
                raise Gone(f"a question for a result was answered with {kind} {body[:200]!r}")
            token, *words = body.split(b"\0", 4)
            found[int(token)] = Brought(*words)
    return [found[number] for number in range(len(questions))]
