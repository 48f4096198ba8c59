"""
Text commands that are carried out when the store has been asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from txgear.broker.model import Reply
from txgear.errors import ServerError
from txgear.protocol.constants import TEXT

if TYPE_CHECKING:
    from txgear.server.outbox import Outbox


class Unfinished(Reply):
    """
    The answer to a command that is not carried out yet. What its peer asks for behind it is not to be looked
    at before it is: a job that is cancelled is joined by no submit that follows.

    @ivar done: fires when the command has been carried out.
    """

    __slots__ = ("done",)

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.done: Deferred[None] = Deferred()

    def answer(self, outbox: Outbox, found: bytes | Reply) -> None:
        """
        The command has been carried out, unless its answer is an L{Unfinished} itself.

        @param found: what is answered.
        """
        if isinstance(found, Reply):
            outbox.wait_for(self, found)
        else:
            outbox.release(self, TEXT, found)
        if isinstance(found, Unfinished):
            _ = found.done.chainDeferred(self.done)
        else:
            self.done.callback(None)


def not_read() -> ServerError:
    """The store was asked for something in vain."""
    return ServerError("The store does not have it, or does not answer", "NOT_READ")
