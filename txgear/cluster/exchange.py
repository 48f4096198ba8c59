"""
How what a server wants of others goes by way of the store: looks at their rows, orders, and the answers to
these.

All that there is to ask goes to the store in one call, and the next call waits for that one. While something
is waited for the store is asked some times a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from txgear.broker.orders import Mail, Order, Post, Sighting
from txgear.broker.records import JobRecord
from txgear.cluster.letters import MOST_BYTES, Letter
from txgear.errors import ServerError
from txgear.interfaces import IPartedStore
from txgear.journal.errands import Errands, Pauses
from txgear.journal.timer import Timer
from txgear.server.elsewhere import not_answered, not_read

POLL_SECONDS: Final = 0.2
"""Seconds from one look for answers to the next."""
PATIENT_SECONDS: Final = 1.0
"""The same where all wait for the ends of jobs, which may take long."""
RECENT_SECONDS: Final = 10.0
"""Seconds for which an answer is looked for often."""
MOST_READ: Final = 16 * 1024 * 1024
"""Bytes of results that are read in one go; one may have more."""
DOUBT_SECONDS: Final = 3.0
"""Seconds more for one that has begun, before it is said that nobody knows."""
MOST_ORDERS: Final = 1000
"""Orders of one server that wait for answers, and jobs of others that it looks for at once."""


class Given:
    """
    An order that was given.

    @ivar answer: fires with what is answered.
    @ivar since: when it was given, by the clock.
    @ivar due: when it is withdrawn, by the clock; C{None} for never.
    @ivar who: who is to carry it out, in words.
    """

    __slots__ = ("answer", "due", "since", "who")

    def __init__(self, answer: Deferred[Letter], since: float, patience: float | None, who: str) -> None:
        self.answer = answer
        self.since = since
        self.due = None if patience is None else since + patience
        self.who = who

    def fail(self, *, is_begun: bool) -> None:
        """Nothing is answered."""
        self.answer.errback(not_answered(is_begun, self.who))


class Exchange:
    """
    What is on its way to other servers and back. Whatever it promises fails with a L{ServerError} where the
    store or the other server does not answer.

    @ivar stopped: whether nothing is asked any more.
    """

    def __init__(self, clock: IReactorTime, errands: Errands, chance: Callable[[int], bytes]) -> None:
        """
        @param errands: of the store of all servers.
        @param chance: so many random bytes.
        """
        self._clock = clock
        self._errands = errands
        self._chance = chance
        # Who wants to see a job with a number, or those with a unique.
        self._numbers: dict[int, list[Deferred[list[Sighting]]]] = {}
        self._uniques: dict[bytes, list[Deferred[list[Sighting]]]] = {}
        # Done jobs whose results are to be read.
        self._results: deque[tuple[JobRecord, Deferred[bytes]]] = deque()
        self._new: list[Order] = []
        self._over: list[int] = []
        self._given: dict[int, Given] = {}
        self._timer = Timer(clock, self._exchange)
        self._pauses = Pauses(POLL_SECONDS)
        self._is_busy = self._is_resting = False
        self.stopped = False

    def stop(self) -> None:
        """Ask nothing more; what waits fails."""
        self.stopped = True
        self._timer.cancel()
        given = list(self._given.values())
        waiting: list[Deferred[Any]] = [
            each for several in (*self._numbers.values(), *self._uniques.values()) for each in several
        ]
        waiting += [read for _, read in self._results]
        self._results.clear()
        self._given.clear()
        self._numbers.clear()
        self._uniques.clear()
        for each in given:
            each.fail(is_begun=True)
        for asked in waiting:
            asked.errback(not_answered(is_begun=True))

    # What is asked

    def see(self, number: int) -> Deferred[list[Sighting]]:
        """
        Look at the job with a number.

        @return: fires with what the store has of it, which is one, or nothing.
        """
        return self._see(self._numbers, number)

    def see_unique(self, unique: bytes) -> Deferred[list[Sighting]]:
        """
        Look at the jobs with a unique.

        @return: fires with what the store has of them, in whatever part.
        """
        return self._see(self._uniques, unique)

    def _see(self, wanted: dict[Any, list[Deferred[list[Sighting]]]], what: Any) -> Deferred[list[Sighting]]:
        """Whoever looks for the same is shown the same."""
        seen: Deferred[list[Sighting]] = Deferred()
        if self.stopped:
            seen.errback(not_answered(is_begun=False))
        elif what not in wanted and len(wanted) >= MOST_ORDERS:
            seen.errback(_too_many())
        else:
            wanted.setdefault(what, []).append(seen)
            self._go()
        return seen

    def read(self, record: JobRecord) -> Deferred[bytes]:
        """
        Read the result of a job that is done.

        @param record: what was seen of it.
        @return: fires with the result; with nothing where that is gone.
        """
        read: Deferred[bytes] = Deferred()
        self._results.append((record, read))
        self._go()
        return read

    def order(self, part: int, letter: Letter, patience: float | None, who: str) -> Deferred[Letter]:
        """
        Give an order.

        @param part: whose owner is to carry it out.
        @param letter: what it is.
        @param patience: seconds in which it is to be answered; C{None} for no bound.
        @param who: who that is, in words.
        @return: fires with the answer; fails with the L{ServerError} that it says, too. To cancel it
            withdraws the order.
        @raise ServerError: it is too long, or too many wait.
        """
        asked = letter.to_bytes()
        if len(self._given) >= MOST_ORDERS:
            raise _too_many()
        if len(asked) > MOST_BYTES:
            raise ServerError(
                f"{len(asked)} bytes are too many to be passed on: ask the server that has the job",
                "NOT_PASSED_ON",
            )
        number = int.from_bytes(self._chance(8), "big") >> 1
        answer: Deferred[Letter] = Deferred(lambda cancelled: self._forget(number))
        self._given[number] = Given(answer, self._clock.seconds(), patience, who)
        self._new.append(Order(number, part, asked))
        self._go()
        return answer

    def _forget(self, number: int) -> None:
        """Nobody waits for an answer any more."""
        if self._given.pop(number, None) is not None:
            if not any(order.number == number for order in self._new):
                self._over.append(number)
            self._new = [order for order in self._new if order.number != number]
            self._go()

    # The exchange

    def _go(self) -> None:
        """There is something to ask."""
        if not (self._is_busy or self._is_resting or self.stopped):
            self._timer.cancel()
            self._exchange()

    def _exchange(self) -> None:
        self._is_resting = False
        now = self._clock.seconds()
        numbers, self._numbers = self._numbers, {}
        uniques, self._uniques = self._uniques, {}
        new, self._new = self._new, []
        over, self._over = self._over, []
        results = self._some_results()
        late = [number for number, each in self._given.items() if each.due is not None and now >= each.due]
        post = Post(
            list(numbers),
            list(uniques),
            new,
            over,
            late,
            list(self._given),
            [job.number for job, _ in results],
        )

        def exchange(store: IPartedStore) -> Mail:
            return store.exchange(post)

        def done(mail: Mail, asked: float, answered: float) -> None:
            self._is_busy = False
            self._pauses.succeeded()
            for record, read in results:
                read.callback(mail.results.get(record.number, b""))
            self._hear(numbers, uniques, mail)

        def failed(is_sent: bool) -> None:
            self._is_busy = False
            self._over += over
            for _, read in results:
                read.errback(not_read())
            self._fail(numbers, uniques, new, is_sent=is_sent)

        self._is_busy = True
        self._errands.run(exchange, done, failed)

    def _some_results(self) -> list[tuple[JobRecord, Deferred[bytes]]]:
        """The first results that are to be read, as many as fit into memory together."""
        found, size = [], 0
        while self._results and size < MOST_READ:
            found.append(self._results.popleft())
            size += found[-1][0].size
        return found

    def _hear(
        self,
        numbers: dict[int, list[Deferred[list[Sighting]]]],
        uniques: dict[bytes, list[Deferred[list[Sighting]]]],
        mail: Mail,
    ) -> None:
        for number, answer in mail.answers.items():
            if (given := self._given.pop(number, None)) is not None:
                self._over.append(number)
                _answer(given.answer, answer)
        for number in mail.withdrawn:
            if (given := self._given.pop(number, None)) is not None:
                given.fail(is_begun=False)
        self._give_up()
        if self.stopped:
            for waiting in (*numbers.values(), *uniques.values()):
                for each in waiting:
                    each.errback(not_answered(is_begun=False))
            return
        for number, waiting in numbers.items():
            for each in waiting:
                each.callback([job for job in mail.jobs if job.record.number == number])
        for unique, waiting in uniques.items():
            for each in waiting:
                each.callback([job for job in mail.jobs if job.record.unique == unique])
        self._go_on()

    def _give_up(self) -> None:
        """Wait no more for those who have begun long ago."""
        last = self._clock.seconds() - DOUBT_SECONDS
        for number, each in list(self._given.items()):
            if each.due is not None and last >= each.due:
                self._over.append(number)
                del self._given[number]
                each.fail(is_begun=True)

    def _fail(
        self,
        numbers: dict[int, list[Deferred[list[Sighting]]]],
        uniques: dict[bytes, list[Deferred[list[Sighting]]]],
        new: Sequence[Order],
        *,
        is_sent: bool,
    ) -> None:
        """
        The store does not answer.

        @param is_sent: whether it was asked: what was to be given may be there all the same, and be begun
            before it is deleted.
        """
        for order in new:
            if is_sent:
                self._over.append(order.number)
            if (given := self._given.pop(order.number, None)) is not None:
                given.answer.errback(not_read(is_begun=is_sent))
        self._give_up()
        for waiting in (*numbers.values(), *uniques.values()):
            for each in waiting:
                each.errback(not_read())
        if not self.stopped:
            # Where it is known to be away, who asks hears that at once.
            self._is_resting = is_sent
            self._timer.start(self._pauses.failed(is_sent))

    def _go_on(self) -> None:
        if self._is_busy:
            return
        if self._numbers or self._uniques or self._results or self._new or self._over:
            self._exchange()
        elif self._given:
            last = self._clock.seconds() - RECENT_SECONDS
            is_recent = any(each.since > last for each in self._given.values())
            self._timer.start(POLL_SECONDS if is_recent else PATIENT_SECONDS)


def _answer(answer: Deferred[Letter], data: bytes) -> None:
    letter = Letter.from_bytes(data)
    if (error := letter.head.get("error")) is not None:
        answer.errback(ServerError(error[1], error[0]))
    else:
        answer.callback(letter)


def _too_many() -> ServerError:
    return ServerError(
        f"{MOST_ORDERS} questions to other servers wait already: ask the server that has the job",
        "TOO_MANY_ORDERS",
    )
