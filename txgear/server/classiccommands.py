"""
The reference's text commands that show something.

A long list takes many turns. What the peer may know is asked for each piece, as it may change meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator
from typing import Final

from twisted.internet.defer import Deferred

from txgear._version import __version__
from txgear.broker.model import Function, Job, Peer
from txgear.broker.operators.search import BOUNDS
from txgear.broker.ports import Found
from txgear.broker.records import InOrder
from txgear.broker.rights import SETTINGS, check, knows, meets
from txgear.protocol import textlines
from txgear.protocol.constants import PRIORITIES
from txgear.protocol.textlines import row, shown, shown_alone, shown_word
from txgear.server.jobserver import JobServer
from txgear.server.listings import AT_ONCE, Listing
from txgear.server.unfinished import not_read


def _of_functions(server: JobServer, peer: Peer, line: Callable[[Function], bytes]) -> Listing:
    functions = server.broker.functions.by_name
    return Listing(
        len(functions),
        lambda: (
            b"%s\n" % line(function) if peer.rights is None or knows(peer, function) else b""
            for function in list(functions.values())
        ),
    )


def _status(server: JobServer, peer: Peer, words: list[bytes]) -> Listing:
    return _of_functions(
        server,
        peer,
        lambda function: row(shown(function.name), function.total, function.running, len(function.workers)),
    )


def _prioritystatus(server: JobServer, peer: Peer, words: list[bytes]) -> Listing:
    return _of_functions(
        server,
        peer,
        lambda function: row(
            shown(function.name), *map(function.lanes.total_of, PRIORITIES), len(function.workers)
        ),
    )


def _workers(server: JobServer, peer: Peer, words: list[bytes]) -> Listing:
    peers = server.broker.peers

    def pieces() -> Iterator[bytes]:
        for other in reversed(list(peers)):
            if not meets(peer, other):
                yield b""
                continue
            yield b"%d %s %s :" % (
                other.descriptor,
                shown_word(other.address.encode("ascii", "replace")),
                shown_word(other.client_id) or b"-",
            )
            # One of them may do a hundred thousand functions.
            for function in reversed(list(other.abilities)):
                known = peer.rights is None or knows(peer, function)
                yield b" " + shown_word(function.name) if known else b""
            yield b"\n"

    return Listing(sum(2 + len(other.abilities) for other in peers), pieces)


def _show(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Listing:
    what = [word.lower() for word in words[1:]]
    if not what:
        return textlines.unknown_command(words[0])
    if what == [b"jobs"]:
        return _of_jobs(
            server,
            peer,
            lambda job: (
                b"%s\t%d\t%d\t%d\n" % (shown(job.handle), job.retries, not job.wanted, job.background)
            ),
        )
    if what == [b"unique", b"jobs"]:
        return _of_jobs(server, peer, lambda job: b"%s\n" % shown_alone(job.unique))
    return textlines.UNKNOWN_SHOW


def _of_jobs(server: JobServer, peer: Peer, line: Callable[[Job], bytes]) -> Listing:
    table = server.broker.table

    def shown_line(job: Job) -> bytes:
        hidden = job.ended or (peer.rights is not None and not knows(peer, job.function))
        return b"" if hidden else line(job)

    if not table.rows:
        return Listing(len(table.jobs), lambda: map(shown_line, list(table.jobs.values())))

    def pieces() -> Iterator[bytes]:
        jobs = dict(table.jobs)
        last = table.last_number
        yield from map(shown_line, jobs.values())
        yield from _of_rows(server, jobs, last, shown_line, found)

    found = Listing(max(len(table), AT_ONCE + 1), pieces)
    return found


def _of_rows(
    server: JobServer, others: Container[int], last: int, line: Callable[[Job], bytes], listing: Listing
) -> Iterator[bytes]:
    """
    Lines for all jobs that the store has, some hundred at a time.

    @param others: the numbers of those that have one.
    @param last: the highest number of those that are to have one.
    @raise ServerError: the store does not answer.
    """
    jobs, after = server.broker.table.jobs, 0
    while after < last:
        lines: list[bytes] = []
        ends: list[int] = []
        are_there: Deferred[None] = Deferred()

        def look(
            found: Found | None,
            now: float,
            lines: list[bytes] = lines,
            ends: list[int] = ends,
            are_there: Deferred[None] = are_there,
        ) -> None:
            if found is not None:
                rows = {job.number: job for job in found.jobs}
                numbers = [record.number for record in found.records]
                there = (rows.get(number) or jobs.get(number) for number in numbers if number not in others)
                lines += [line(job) for job in there if job is not None and job.number <= last]
                ends.append(numbers[-1] if len(numbers) == BOUNDS.rows else last)
            are_there.callback(None)

        server.broker.stock.peek(InOrder(after, BOUNDS.rows), look)
        # Nobody else has the journal look at what is wanted: this is no turn of any peer.
        server.end_turn()
        while not are_there.called:
            listing.waiting = are_there
            yield b""
        if not ends:
            raise not_read()
        after = ends[0]
        yield from lines


def _getpid(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    check(peer, SETTINGS)
    return textlines.ok(str(os.getpid()))


def _verbose(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    check(peer, SETTINGS)
    return textlines.ok(server.settings.level)


def _version(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:
    return textlines.ok(__version__)


COMMANDS: Final[dict[bytes, Callable[[JobServer, Peer, list[bytes]], bytes | Listing]]] = {
    b"status": _status,
    b"prioritystatus": _prioritystatus,
    b"workers": _workers,
    b"show": _show,
    b"getpid": _getpid,
    b"verbose": _verbose,
    b"version": _version,
}
"""By their first words."""
