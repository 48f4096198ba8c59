"""
What this server asks of others for its peers: it looks at rows of theirs, gives orders, and waits for the
answers.

All that there is to ask goes to the store in one call, and the next call waits for that one. While something
is waited for the store is asked some times a second.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, fail

from txgear.broker.history import History
from txgear.broker.model import Peer
from txgear.broker.operators.inspection import readings
from txgear.broker.orders import Mail, Order, Post, Sighting
from txgear.broker.records import LAST_NUMBER, JobRecord, Lease
from txgear.broker.rights import READ, SEE, may
from txgear.broker.states import DONE
from txgear.broker.table import number_of_handle
from txgear.cluster.letters import MOST_BYTES, Letter, described
from txgear.errors import ServerError
from txgear.interfaces import IPartedStore
from txgear.journal.timer import Timer
from txgear.server.elsewhere import OF_THE_JOB, PATIENCE, Kept, Other, Progress, not_answered, not_read
from txgear.server.jobserver import JobServer

POLL_SECONDS: Final = 0.2
"""Seconds from one look for answers to the next."""
PATIENT_SECONDS: Final = 1.0
"""The same where all wait for the ends of jobs, which may take long."""
RECENT_SECONDS: Final = 10.0
"""Seconds for which an answer is looked for often."""
MOST_READ: Final = 16 * 1024 * 1024
"""Bytes of results that are read in one go; one may have more."""
STATUS_SECONDS: Final = 2.0
"""Seconds in which a server is to say how far a job is; otherwise it does not seem to run."""
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


class Asking:
    """
    Part of L{txgear.server.elsewhere.Elsewhere}, for which it is.
    """

    def __init__(
        self,
        server: JobServer,
        leases: Callable[[], Collection[Lease]],
        chance: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """
        @param leases: those of all parts, as they were seen last.
        @param chance: so many random bytes.
        """
        assert server.journal is not None
        self._server = server
        self._clock = server.clock
        self._errands = server.journal.errands
        self._leases = leases
        self._chance = chance
        # Who wants to see a job with a number, or those with a unique.
        self._numbers: dict[int, list[Deferred[list[Sighting]]]] = {}
        self._uniques: dict[bytes, list[Deferred[list[Sighting]]]] = {}
        # Whoever asks for the status of the same job gets the same answer.
        self._statuses: dict[int, list[Deferred[Progress | None]]] = {}
        # Done jobs whose results are to be read.
        self._results: deque[tuple[JobRecord, Deferred[bytes]]] = deque()
        self._new: list[Order] = []
        self._over: list[int] = []
        self._given: dict[int, Given] = {}
        self._timer = Timer(server.clock, self._exchange)
        self._is_busy = False
        self._stopped = False

    def stop(self) -> None:
        """Ask nothing more; what waits fails."""
        self._stopped = True
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

    # What peers ask

    def may_have(self, word: bytes) -> bool:
        """See L{txgear.server.elsewhere.Elsewhere}."""
        number = number_of_handle(word)
        if number is None or not 0 < number <= LAST_NUMBER or self._stopped:
            return False
        broker = self._server.broker
        if number in broker.table.jobs or number in broker.archive.jobs:
            return False
        return not any(each.is_ours and each.first <= number < each.end for each in self._leases())

    def status(self, handle: bytes) -> Deferred[Progress | None]:
        """See L{txgear.server.elsewhere.Elsewhere}."""
        number = number_of_handle(handle)
        assert number is not None

        def named(found: Progress | None) -> Progress | None:
            return found if found is not None and found.handle in _handles(handle) else None

        return self._status(number).addCallback(named)

    def status_of_unique(self, unique: bytes, wanted: Callable[[bytes], bool]) -> Deferred[Progress | None]:
        """See L{txgear.server.elsewhere.Elsewhere}."""

        def seen(found: list[Sighting]) -> Deferred[Progress | None] | None:
            live = [each for each in _others(found, b"", wanted) if not each.record.state]
            return self._status(_newest(live).record.number) if live else None

        return self._see(self._uniques, unique).addCallback(seen)

    def handle_of(
        self, function: bytes, unique: bytes, wanted: Callable[[bytes], bool]
    ) -> Deferred[bytes | None]:
        """See L{txgear.server.elsewhere.Elsewhere}."""

        def seen(found: list[Sighting]) -> bytes | None:
            others = _others(found, function, wanted)
            best = [each for each in others if not each.record.state] or others
            return _handle(_newest(best).record) if best else None

        return self._see(self._uniques, unique).addCallback(seen)

    def result(self, word: bytes, peer: Peer) -> Deferred[Kept | None]:
        """See L{txgear.server.elsewhere.Elsewhere}."""
        number = number_of_handle(word)
        assert number is not None

        def seen(found: list[Sighting]) -> Any:
            record = next(
                (each.record for each in _others(found) if _handle(each.record) in _handles(word)), None
            )
            if record is None or record.state != DONE or not 0 <= record.size <= MOST_BYTES:
                return None
            if not (may(peer, SEE, record.function) and may(peer, READ, record.function)):
                return None
            try:
                history = History.from_bytes(record.history or b"{}")
            except ValueError:
                # Its server says what is to be said of that.
                return None
            if not history.complete:
                return None
            read: Deferred[bytes] = Deferred()
            self._results.append((record, read))
            self._go()
            size = history.data_size + history.result_size
            return read.addCallback(
                lambda whole: Kept(_handle(record), history.data_size, whole) if len(whole) == size else None
            )

        kept: Deferred[Kept | None] = self._see(self._numbers, number).addCallback(seen)
        return kept

    def pass_on(
        self, word: bytes, peer: Peer, kind: str, parts: Sequence[bytes], *, wait: float | None = 0.0
    ) -> Deferred[list[bytes] | None]:
        """See L{txgear.server.elsewhere.Elsewhere}."""
        number = number_of_handle(word)
        assert number is not None
        head = {"kind": kind, "who": described(self._server.guard, peer)}

        def seen(found: list[Sighting]) -> Any:
            others = [each for each in _others(found) if _handle(each.record) in _handles(word)]
            if not others:
                return None
            patience = None if wait is None else PATIENCE + wait
            return self._order_about(others[0], head, parts, patience).addCallback(_parts)

        passed: Deferred[list[bytes] | None] = self._see(self._numbers, number).addCallback(seen)
        return passed

    def others(self) -> list[Other]:
        """See L{txgear.server.elsewhere.Elsewhere}."""
        found: dict[bytes, Other] = {}
        for lease in () if self._stopped else sorted(self._leases()):
            if not lease.is_ours:
                # Each part that nobody has is one of its own.
                key = lease.server or lease.owner or b"part %d" % lease.part
                lives = bool(lease.owner)
                found[key] = Other(lease.name if lives else f"part {lease.part}", lease.part, key, lives)
        return list(found.values())

    def ask(self, other: Other, peer: Peer, kind: str, parts: Sequence[bytes]) -> Deferred[list[bytes]]:
        """See L{txgear.server.elsewhere.Elsewhere}."""
        if self._stopped:
            return fail(not_answered(False, other.name))
        head = {"kind": kind, "who": described(self._server.guard, peer), "job": 0}
        try:
            return self._order(other.part, head, parts, PATIENCE, other.name).addCallback(_parts)
        except ServerError as error:
            return fail(error)

    # Looking

    def _see(self, wanted: dict[Any, list[Deferred[list[Sighting]]]], what: Any) -> Deferred[list[Sighting]]:
        """Look at a job, or at those with a unique."""
        seen: Deferred[list[Sighting]] = Deferred()
        if self._stopped:
            seen.errback(not_answered(is_begun=False))
        elif what not in wanted and len(wanted) >= MOST_ORDERS:
            seen.errback(_too_many())
        else:
            wanted.setdefault(what, []).append(seen)
            self._go()
        return seen

    def _status(self, number: int) -> Deferred[Progress | None]:
        mine: Deferred[Progress | None] = Deferred()
        sharers = self._statuses.setdefault(number, [])
        sharers.append(mine)
        if len(sharers) > 1:
            return mine

        def tell(result: Any) -> None:
            for each in self._statuses.pop(number):
                each.callback(result)

        _ = self._see(self._numbers, number).addCallback(self._ask_status).addBoth(tell)
        return mine

    def _ask_status(self, found: list[Sighting]) -> Deferred[Progress | None] | None:
        others = _others(found)
        if not others or others[0].record.state:
            return None
        record = others[0].record
        known = Progress(_handle(record), record.function)

        def answered(letter: Letter) -> Progress | None:
            progress: list[int] | None = letter.head["status"]
            return None if progress is None else Progress(*known[:2], bool(progress[0]), *progress[1:])

        def failed(failure: Any) -> Progress:
            if failure.check(ServerError) is None or failure.value.code != not_answered(False).code:
                return failure  # type: ignore[no-any-return]
            return known

        asked = self._order_about(others[0], {"kind": "status"}, (), STATUS_SECONDS)
        return asked.addCallbacks(answered, failed)

    # Orders

    def _order_about(
        self, sighting: Sighting, head: dict[str, Any], parts: Sequence[bytes], patience: float | None
    ) -> Deferred[Letter]:
        """Give an order that is about a job."""
        return self._order(sighting.part, {**head, "job": sighting.record.number}, parts, patience)

    def _order(
        self,
        part: int,
        head: dict[str, Any],
        parts: Sequence[bytes],
        patience: float | None,
        who: str = OF_THE_JOB,
    ) -> Deferred[Letter]:
        """
        Give an order.

        @param part: whose owner is to carry it out.
        @param patience: seconds in which it is to be answered; C{None} for no bound.
        @param who: who that is, in words.
        """
        servers = [each.server for each in self._leases() if each.is_ours]
        letter = Letter({**head, "server": servers[0].hex() if servers else ""}, parts).to_bytes()
        if len(self._given) >= MOST_ORDERS:
            raise _too_many()
        if len(letter) > MOST_BYTES:
            raise ServerError(
                f"{len(letter)} bytes are too many to be passed on: ask the server that has the job",
                "NOT_PASSED_ON",
            )
        number = int.from_bytes(self._chance(8), "big") >> 1
        answer: Deferred[Letter] = Deferred(lambda cancelled: self._forget(number))
        self._given[number] = Given(answer, self._clock.seconds(), patience, who)
        self._new.append(Order(number, part, letter))
        self._go()
        return answer

    def _forget(self, number: int) -> None:
        """Nobody waits for an answer any more."""
        if self._given.pop(number, None) is not None:
            if not any(order.number == number for order in self._new):
                self._over.append(number)
            self._new = [order for order in self._new if order.number != number]
            self._go()

    def _go(self) -> None:
        """There is something to ask."""
        if not (self._is_busy or self._stopped):
            self._timer.cancel()
            self._exchange()

    def _exchange(self) -> None:
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

        def done(mail: Mail, asked: float, answered: float) -> None:
            self._is_busy = False
            for record, read in results:
                read.callback(mail.results.get(record.number, b""))
            self._hear(numbers, uniques, mail)

        def failed() -> None:
            self._is_busy = False
            self._over += over
            for _, read in results:
                read.errback(not_read())
            self._fail(numbers, uniques, new)

        self._is_busy = True
        self._errands.run(lambda store: _exchanged(store, post), done, failed)

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
        if self._stopped:
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
    ) -> None:
        """The store does not answer."""
        for order in new:
            # It may be there all the same.
            self._over.append(order.number)
            if (given := self._given.pop(order.number, None)) is not None:
                given.answer.errback(not_read())
        self._give_up()
        for waiting in (*numbers.values(), *uniques.values()):
            for each in waiting:
                each.errback(not_read())
        if not self._stopped:
            self._timer.start(POLL_SECONDS)

    def _go_on(self) -> None:
        if self._is_busy:
            return
        if self._numbers or self._uniques or self._results or self._new or self._over:
            self._exchange()
        elif self._given:
            last = self._clock.seconds() - RECENT_SECONDS
            is_recent = any(each.since > last for each in self._given.values())
            self._timer.start(POLL_SECONDS if is_recent else PATIENT_SECONDS)


def _exchanged(store: IPartedStore, post: Post) -> Mail:
    return store.exchange(post)


def _answer(answer: Deferred[Letter], data: bytes) -> None:
    letter = Letter.from_bytes(data)
    if (error := letter.head.get("error")) is not None:
        answer.errback(ServerError(error[1], error[0]))
    else:
        answer.callback(letter)


def _parts(letter: Letter) -> list[bytes]:
    return list(letter.parts)


def _too_many() -> ServerError:
    return ServerError(
        f"{MOST_ORDERS} questions to other servers wait already: ask the server that has the job",
        "TOO_MANY_ORDERS",
    )


def _handle(record: JobRecord) -> bytes:
    return b"%b:%d" % (record.prefix, record.number)


def _handles(word: bytes) -> list[bytes]:
    """The handles that a word may mean; see L{txgear.broker.table.job_of_handle}."""
    return [handle for each in readings(word) for handle in (each, each.partition(b"//")[2])]


def _others(
    found: Sequence[Sighting], function: bytes = b"", wanted: Callable[[bytes], bool] = lambda name: True
) -> list[Sighting]:
    """Those that another server has."""
    return [
        each
        for each in found
        if each.part
        and not each.is_ours
        and function in (b"", each.record.function)
        and wanted(each.record.function)
    ]


def _newest(found: Sequence[Sighting]) -> Sighting:
    return max(found, key=lambda each: each.record.number)
