"""
The text command that says why nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from txgear.broker.diagnosis.diagnosis import diagnose, known
from txgear.broker.diagnosis.findings import Finding
from txgear.broker.model import Peer
from txgear.broker.operators.inspection import readings
from txgear.errors import ServerError
from txgear.protocol import textlines
from txgear.protocol.textlines import column, for_line, listing, row, shown_word
from txgear.server import clusterfindings
from txgear.server.jobserver import JobServer
from txgear.server.listings import Listing

PIECES: Final = 20
"""How many pieces of another list a function takes as long as here: a list of all is made by and by."""


def answer(server: JobServer, peer: Peer, words: list[bytes]) -> bytes | Listing:
    """
    What is found of one function, the worst first; without one what is wrong with all that the peer may know
    of.

    @raise ServerError: the command has more than two words, or there is no such function.
    """
    if len(words) > 2:
        return textlines.incomplete(words[0])
    if len(words) == 1:
        return Listing(PIECES * len(server.broker.functions.by_name), lambda: _survey(server, peer))
    function = known(server.broker, peer, readings(words[1]))
    if function is None:
        raise ServerError("There is no such function", "UNKNOWN_FUNCTION")
    found = diagnose(server.broker, peer, function, server.seconds(), server.trend(function.name))
    return listing(row(*_columns(finding)) for finding in found)


def _columns(finding: Finding) -> tuple[bytes, bytes, bytes]:
    return finding.severity.encode("ascii"), finding.code.encode("ascii"), for_line(finding.text)


def _survey(server: JobServer, peer: Peer) -> Iterator[bytes]:
    survey = clusterfindings.survey(server, peer)
    for _ in survey.steps():
        yield b""
    for finding in survey.server:
        yield row(column(None), *_columns(finding)) + b"\n"
    for function, found in survey.functions:
        for finding in found:
            yield row(shown_word(function.name), *_columns(finding)) + b"\n"
    if not survey.complete:
        yield b"more\n"
