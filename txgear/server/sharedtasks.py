"""
A task in a cluster: each of the other servers does to its own jobs what is done here to ours, and says how
far it is.

What it is asked is one word, to begin, to look or to stop, by a name that this task has at all of them; see
L{txgear.cluster.carriedtasks}. The jobs of a server that ends meanwhile are another's, which may have looked
at its own before: nothing is begun there a second time, and it is told that it was not done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.python.failure import Failure as Raised

from txgear.broker.model import Peer
from txgear.broker.operators.bulkacts import STOPPED, BulkAct, Order
from txgear.broker.operators.bulkshares import Failure, Figures, Share
from txgear.broker.rights import REVIEW
from txgear.protocol.textlines import shown_word
from txgear.server.elsewhere import TASK, Elsewhere, Other, error_of
from txgear.server.visitors import is_visitor

if TYPE_CHECKING:
    from txgear.server.jobserver import JobServer

BEGIN: Final = "begin"
LOOK: Final = "look"
STOP: Final = "stop"
GONE: Final = "GONE"
"""The code of the error where the server that was asked has ended, and another one has its jobs."""


class Shared(NamedTuple):
    """
    Those who do a task as well.

    @ivar elsewhere: what asks them.
    @ivar others: who they are, each with what it does.
    """

    elsewhere: Elsewhere
    others: list[tuple[Other, Share]]


def shared(server: JobServer, peer: Peer, act: str, now: float) -> Shared | None:
    """
    Who is to do a task as well that a peer begins.

    @param act: what is to be done. Reviews are each server's own.
    @return: C{None} for nobody: what peers of other servers ask for is for this one alone.
    """
    elsewhere = server.elsewhere
    if elsewhere is None or act == REVIEW or is_visitor(peer):
        return None
    others = [(other, Share(other.name)) for other in elsewhere.others()]
    for other, share in others:
        if not other.lives:
            share.end(now, "nobody has it just now: do it again")
    return Shared(elsewhere, others) if others else None


def follow(
    server: JobServer, peer: Peer, task: BulkAct, found: Shared, changed: Callable[[BulkAct], None]
) -> None:
    """
    Have the others begin, and see how far they are until they have ended.

    @param peer: who begins it.
    @param changed: called when something of it has changed.
    """
    name = os.urandom(8).hex()
    for other, share in found.others:
        if not share.ended:
            _Following(server, found.elsewhere, other, share, task, name, changed).begin(peer)


class _Following:
    """What is done at one of the others."""

    def __init__(
        self,
        server: JobServer,
        elsewhere: Elsewhere,
        other: Other,
        share: Share,
        task: BulkAct,
        name: str,
        changed: Callable[[BulkAct], None],
    ) -> None:
        self._server = server
        self._elsewhere = elsewhere
        self._other = other
        self._share = share
        self._task = task
        self._name = name
        self._changed = changed
        self._begun = False

    def begin(self, peer: Peer) -> None:
        self._ask(peer, BEGIN, encoded(self._task.order))

    def _look(self) -> None:
        self._ask(self._task.asker, STOP if self._task.state == STOPPED else LOOK, ())

    def _ask(self, peer: Peer, do: str, parts: tuple[bytes, ...]) -> None:
        head = json.dumps({"do": do, "name": self._name, "to": self._other.key.hex()}).encode("ascii")
        asked = self._elsewhere.ask(self._other, peer, TASK, (head, *parts))
        _ = asked.addCallbacks(self._heard, self._failed).addErrback(self._is_defect)

    def _heard(self, parts: list[bytes]) -> None:
        said = json.loads(parts[0])
        share, now = self._share, self._server.seconds()
        self._begun = True
        share.figures = Figures(*said["figures"])
        share.failures = [
            Failure(handle.encode("latin-1"), code, text) for handle, code, text in said["failures"]
        ]
        share.counted = said["counted"]
        if said["state"] == STOPPED:
            share.end(now, "" if self._task.state == STOPPED else "it was stopped there")
        elif said["ended"]:
            share.end(now)
        self._tell()

    def _failed(self, failure: Raised) -> None:
        error = error_of(failure)
        is_there = any(other.key == self._other.key for other in self._elsewhere.others())
        if not self._begun or error.code == GONE or not is_there:
            self._share.end(self._server.seconds(), error.text)
        self._tell()

    def _tell(self) -> None:
        if not self._share.ended:
            self._server.looks.after_a_pause(self._look)
        self._task.changed += 1
        self._changed(self._task)

    def _is_defect(self, failure: Raised) -> None:
        """What was answered cannot be read: to ask again would bring the same."""
        self._share.end(self._server.seconds(), error_of(failure).text)
        self._tell()


# What is written


def encoded(order: Order) -> tuple[bytes, ...]:
    """What is to be done, and to which jobs, as an order has it."""
    head = {
        "act": order.act,
        "of": order.of,
        "priority": order.priority,
        "preview": order.preview,
    }
    words = b" ".join(
        b"%b=%b" % (name.encode("ascii"), shown_word(value)) for name, value in order.words.items()
    )
    return json.dumps(head).encode("ascii"), words, order.function


def told(task: BulkAct) -> bytes:
    """How far a task is, for whoever has it shared."""
    said: Mapping[str, Any] = {
        "state": task.state,
        "ended": bool(task.ended),
        "counted": task.counted,
        "figures": task.figures,
        "failures": [(each.handle.decode("latin-1"), each.code, each.text) for each in task.failures],
    }
    return json.dumps(said).encode("ascii")
