"""
What this server asks of others for its peers: it looks at rows of theirs, and gives orders. How both get
there, and the answers back, is L{txgear.cluster.exchange}'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, fail

from txgear.broker.history import History
from txgear.broker.model import Peer
from txgear.broker.operators.inspection import readings
from txgear.broker.orders import Sighting
from txgear.broker.records import LAST_NUMBER, JobRecord, Lease
from txgear.broker.rights import READ, SEE, may
from txgear.broker.states import DONE
from txgear.broker.table import number_of_handle
from txgear.cluster.exchange import Exchange
from txgear.cluster.letters import MOST_BYTES, Letter, described
from txgear.errors import ServerError
from txgear.server.elsewhere import (
    NOT_ANSWERED,
    NOT_READ,
    OF_THE_JOB,
    PATIENCE,
    Kept,
    Other,
    Progress,
    not_answered,
    not_read,
)
from txgear.server.jobserver import JobServer

STATUS_SECONDS: Final = 2.0
"""Seconds in which a server is to say how far a job is; otherwise it does not seem to run."""


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
        self._exchange = Exchange(server.clock, server.journal.errands, chance)
        self._leases = leases
        # Whoever asks for the status of the same job gets the same answer.
        self._statuses: dict[int, list[Deferred[Progress | None]]] = {}

    def stop(self) -> None:
        """Ask nothing more; what waits fails."""
        self._exchange.stop()

    # What peers ask

    def may_have(self, word: bytes) -> bool:
        """See L{txgear.server.elsewhere.Elsewhere}."""
        number = number_of_handle(word)
        if number is None or not 0 < number <= LAST_NUMBER or self._exchange.stopped:
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

        return self._exchange.see_unique(unique).addCallback(seen)

    def handle_of(
        self, function: bytes, unique: bytes, wanted: Callable[[bytes], bool]
    ) -> Deferred[bytes | None]:
        """See L{txgear.server.elsewhere.Elsewhere}."""

        def seen(found: list[Sighting]) -> bytes | None:
            others = _others(found, function, wanted)
            best = [each for each in others if not each.record.state] or others
            return _handle(_newest(best).record) if best else None

        return self._exchange.see_unique(unique).addCallback(seen)

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
            size = history.data_size + history.result_size
            return self._exchange.read(record).addCallback(
                lambda whole: Kept(_handle(record), history.data_size, whole) if len(whole) == size else None
            )

        kept: Deferred[Kept | None] = self._exchange.see(number).addCallback(seen)
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

        passed: Deferred[list[bytes] | None] = self._exchange.see(number).addCallback(seen)
        return passed

    def others(self) -> list[Other]:
        """See L{txgear.server.elsewhere.Elsewhere}."""
        found: dict[bytes, Other] = {}
        for lease in () if self._exchange.stopped else sorted(self._leases()):
            if not lease.is_ours:
                # Each part that nobody has is one of its own.
                key = lease.server or lease.owner or b"part %d" % lease.part
                lives = bool(lease.owner)
                found[key] = Other(lease.name if lives else f"part {lease.part}", lease.part, key, lives)
        return list(found.values())

    def ask(self, other: Other, peer: Peer, kind: str, parts: Sequence[bytes]) -> Deferred[list[bytes]]:
        """See L{txgear.server.elsewhere.Elsewhere}."""
        if self._exchange.stopped:
            return fail(not_answered(False, other.name))
        head = {"kind": kind, "who": described(self._server.guard, peer), "job": 0}
        try:
            return self._order(other.part, head, parts, PATIENCE, other.name).addCallback(_parts)
        except ServerError as error:
            return fail(error)

    def _status(self, number: int) -> Deferred[Progress | None]:
        mine: Deferred[Progress | None] = Deferred()
        sharers = self._statuses.setdefault(number, [])
        sharers.append(mine)
        if len(sharers) > 1:
            return mine

        def tell(result: Any) -> None:
            for each in self._statuses.pop(number):
                each.callback(result)

        _ = self._exchange.see(number).addCallback(self._ask_status).addBoth(tell)
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

        def failed(failure: Any) -> Any:
            code = failure.value.code if failure.check(ServerError) else ""
            if code == NOT_READ:
                # What only asks leaves nobody in doubt.
                return fail(not_read())
            return known if code == NOT_ANSWERED else failure

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
        """Give an order; see L{Exchange.order}."""
        servers = [each.server for each in self._leases() if each.is_ours]
        letter = Letter({**head, "server": servers[0].hex() if servers else ""}, parts)
        return self._exchange.order(part, letter, patience, who)


def _parts(letter: Letter) -> list[bytes]:
    return list(letter.parts)


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
