"""
What other servers ask of this one: it looks for orders, has them carried out, and answers each when what it
has changed is in the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Final

from twisted.logger import Logger

from txgear.broker.orders import Order, Orders
from txgear.broker.records import Lease
from txgear.cluster.carrying import STATUS, Carrying, Stop, too_large
from txgear.cluster.letters import MOST_BYTES, Letter, refusal
from txgear.errors import ServerError
from txgear.interfaces import IPartedStore
from txgear.journal.errands import Pauses
from txgear.journal.timer import Timer
from txgear.server.jobserver import JobServer

LOOK_SECONDS: Final = 0.5
"""Seconds from one look for orders to the next."""
SETTLE_SECONDS: Final = 0.05
"""Seconds from one look to the next whether the store has what an order has changed."""
ASKER_SECONDS: Final = 10.0
"""Seconds after which an order is given up whose asker nobody has seen since."""


MOST_STARTED: Final = 16
"""Orders that are started at once; others follow when it is seen how large their answers are."""
MOST_HELD: Final = 32 * 1024 * 1024
"""Bytes of answers that are on their way to the store, from which on no more orders are started."""


class Begun:
    """
    An order that is being carried out.

    @ivar job: the number of the job that it is about.
    @ivar asker: the server that has given it.
    @ivar since: when it was heard of, by the clock.
    @ivar stop: ends it where nobody waits for it any more.
    @ivar answer: what has come of it; empty as long as nothing has.
    @ivar is_over: whether nobody asks for it any more.
    """

    __slots__ = ("answer", "asker", "is_over", "job", "since", "stop")

    def __init__(self, since: float) -> None:
        self.job = 0
        self.asker = b""
        self.since = since
        self.stop: Stop = lambda: None
        self.answer = b""
        self.is_over = False


class Obeying:
    """
    One server's.
    """

    log = Logger()

    def __init__(self, server: JobServer, leases: Callable[[], Collection[Lease]]) -> None:
        """
        @param leases: those of all parts, as they were seen last.
        """
        assert server.journal is not None
        self._server = server
        self._journal = server.journal
        self._clock = server.clock
        self._leases = leases
        self._carrying = Carrying(server)
        self._begun: dict[int, Begun] = {}
        # Those that are still to be started.
        self._waiting: deque[tuple[Begun, Letter]] = deque()
        self._timer = Timer(server.clock, self._look)
        self._settling = Timer(server.clock, self._settle)
        self._answering = Timer(server.clock, self._answer_again)
        self._looks, self._answers = Pauses(LOOK_SECONDS), Pauses(LOOK_SECONDS)
        self._is_answering = False
        self._stopped = True

    def start(self) -> None:
        """Look, from now on."""
        self._stopped = False
        self._look()

    def stop(self) -> None:
        """Look no more; what is under way is left as it is."""
        self._stopped = True
        self._timer.cancel()
        self._settling.cancel()
        self._answering.cancel()
        self._waiting.clear()
        begun, self._begun = self._begun, {}
        for each in begun.values():
            if not each.answer:
                each.stop()

    # Looking

    def _look(self) -> None:
        known = frozenset(self._begun)
        self._journal.errands.run(lambda store: _looked_for(store, known), self._looked, self._failed)

    def _failed(self, was_called: bool) -> None:
        if not self._stopped:
            self._timer.start(self._looks.failed(was_called))

    def _looked(self, found: Orders, asked: float, answered: float) -> None:
        self._looks.succeeded()
        if self._stopped:
            return
        for number in [number for number in self._begun if number not in found.open]:
            self._drop(number)
        self._drop_orphans()
        for order in found.orders:
            self._begin(order)
        self._settle()
        self._timer.start(0.0 if len(found.open) > len(self._begun) else LOOK_SECONDS)

    def _drop(self, number: int) -> None:
        """Nobody asks for it any more."""
        begun = self._begun.pop(number)
        begun.is_over = True
        if not begun.answer:
            begun.stop()

    def _drop_orphans(self) -> None:
        """Those whose askers are gone would stay for as long as what they wait for."""
        living = {each.server for each in self._leases()}
        last = self._clock.seconds() - ASKER_SECONDS
        for begun in self._begun.values():
            if not begun.answer and begun.since < last and begun.asker not in living:
                begun.stop()
                begun.answer = refusal(ServerError("Nobody waits for this any more", "UNKNOWN")).to_bytes()

    # Carrying out

    def _begin(self, order: Order) -> None:
        begun = self._begun[order.number] = Begun(self._clock.seconds())
        try:
            asked = Letter.from_bytes(order.asked)
            begun.job, begun.asker = asked.head["job"], bytes.fromhex(asked.head["server"])
            is_short = asked.head["kind"] == STATUS
        except Exception:
            self._is_defect(begun)
            return
        if is_short:
            self._start(begun, asked)
        else:
            self._waiting.append((begun, asked))

    def _start_some(self) -> None:
        """Start orders, as long as there is room for what comes of them."""
        held = sum(len(begun.answer) for begun in self._begun.values())
        for _ in range(MOST_STARTED if held < MOST_HELD else 0):
            if not self._waiting:
                return
            begun, asked = self._waiting.popleft()
            if not begun.is_over:
                self._start(begun, asked)
        if self._waiting:
            self._settling.start(SETTLE_SECONDS)

    def _start(self, begun: Begun, asked: Letter) -> None:
        def done(letter: Letter) -> None:
            answer = letter.to_bytes()
            begun.answer = answer if len(answer) <= MOST_BYTES else refusal(too_large()).to_bytes()
            self._settling.start(0.0)

        try:
            begun.stop = self._carrying.begin(asked, done)
        except Exception:
            self._is_defect(begun)

    def _is_defect(self, begun: Begun) -> None:
        self.log.failure("an order of another server cannot be carried out")
        error = ServerError("A defect in the server that has the job; its log has more", "DEFECT")
        begun.answer = refusal(error).to_bytes()
        self._settling.start(0.0)

    def _settle(self) -> None:
        """Start what waits, and answer those of which the store has what they have changed."""
        self._start_some()
        ready: dict[int, bytes] = {}
        for number, begun in self._begun.items():
            if not begun.answer:
                continue
            if self._journal.pending(begun.job):
                self._settling.start(SETTLE_SECONDS)
            else:
                ready[number] = begun.answer
        if ready and not self._is_answering:
            self._is_answering = True
            self._journal.errands.run(
                lambda store: _answer(store, ready), self._answered(ready), self._unanswered
            )

    def _answered(self, ready: Collection[int]) -> Callable[[None, float, float], None]:
        def done(nothing: None, asked: float, answered: float) -> None:
            self._answers.succeeded()
            self._is_answering = False
            for number in ready:
                self._begun.pop(number, None)
            if any(begun.answer for begun in self._begun.values()):
                self._settling.start(0.0)

        return done

    def _unanswered(self, was_called: bool) -> None:
        if not self._stopped:
            self._answering.start(self._answers.failed(was_called))

    def _answer_again(self) -> None:
        self._is_answering = False
        self._settle()


def _looked_for(store: IPartedStore, known: Collection[int]) -> Orders:
    return store.orders(known)


def _answer(store: IPartedStore, answers: dict[int, bytes]) -> None:
    store.answer(answers)
